"""What does the sandbox's search find? The filters that Intercom takes, and its cursors.

https://developers.intercom.com/docs/references/rest-api/api.intercom.io/conversations/searchconversations
"""

import base64
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from .refusal import Refusal

DAY = 86_400
MOST_FILTERS = 15
TIMES = frozenset({"created_at", "updated_at", "snoozed_until"})

OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda found, value: _same(found, value),
    "!=": lambda found, value: not _same(found, value),
    "IN": lambda found, value: any(_same(found, one) for one in value),
    ">": lambda found, value: found is not None and found >= value,
    "<": lambda found, value: found is not None and found <= value,
    "~": lambda found, value: str(value).casefold() in str(found).casefold(),
}


class Finder:
    """`lag` in seconds: what changed more recently is not in the index yet."""

    def __init__(self, lag: float, by_day: bool, largest_page: int) -> None:
        self.lag, self.by_day, self.largest_page = lag, by_day, largest_page

    def answer(
        self, kind: str, field: str, rows: list[dict[str, Any]], asked: Mapping[str, Any]
    ) -> dict[str, Any]:
        query = asked.get("query")
        if not isinstance(query, dict):
            raise Refusal(400, "parameter_invalid", "Query is missing", "query")
        _check(query)
        indexed = [row for row in rows if self.lag == 0 or row["updated_at"] <= time.time() - self.lag]
        found = sorted(
            (row for row in indexed if self._meets(row, query)),
            key=lambda row: row["updated_at"],
            reverse=True,
        )
        paging = asked.get("pagination") or {}
        size = min(int(paging.get("per_page", 20)), self.largest_page)
        start = int(base64.b64decode(paging.get("starting_after") or "MA=="))
        pages: dict[str, Any] = {
            "type": "pages", "page": start // size + 1, "per_page": size,
            "total_pages": max(math.ceil(len(found) / size), 1),
        }  # fmt: skip
        if start + size < len(found):
            cursor = base64.b64encode(str(start + size).encode()).decode()
            pages["next"] = {"per_page": size, "starting_after": cursor}
        return {"type": kind, field: found[start : start + size], "total_count": len(found), "pages": pages}

    def _meets(self, row: Mapping[str, Any], query: Mapping[str, Any]) -> bool:
        operator, value = str(query["operator"]), query["value"]
        if operator in ("AND", "OR"):
            return (all if operator == "AND" else any)(self._meets(row, part) for part in value)
        field = str(query["field"])
        if field in TIMES and self.by_day:
            # "> the 5th, 9:00" begins on the 6th
            value = value // DAY * DAY + (DAY if operator == ">" else 0)
        if field == "contact_ids":
            return any(OPERATORS[operator](contact["id"], value) for contact in row["contacts"]["contacts"])
        return OPERATORS[operator](_value(row, field), value)


def _check(query: Mapping[str, Any]) -> None:
    operator, value = query.get("operator"), query.get("value")
    if operator in ("AND", "OR"):
        if not isinstance(value, list) or len(value) > MOST_FILTERS:
            raise Refusal(400, "parameter_invalid", f"At most {MOST_FILTERS} filters are allowed", "query")
        for part in value:
            _check(part)
    elif operator not in OPERATORS or "field" not in query:
        raise Refusal(400, "parameter_invalid", "Operator is invalid", "operator")


def _value(row: Mapping[str, Any], field: str) -> Any:
    for step in field.split("."):
        row = row.get(step) if isinstance(row, Mapping) else None  # type: ignore[assignment]
    return row


def _same(found: object, value: object) -> bool:
    return str(found).casefold() == str(value).casefold()
