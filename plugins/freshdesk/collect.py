"""What does Freshdesk's API tell of a ticket, and which tickets changed?

https://developers.freshdesk.com/api/#view_a_ticket
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from gateway.api import JSON, Answer, ApiClient, ApiError, ApiFailure, ChangedRef, TicketRef

if TYPE_CHECKING:
    from . import Settings

PAGE = 100
MAX_PAGES = 300  # more are refused
INCLUDES = "requester,company,stats"  # each counts as one more call
SECOND = timedelta(seconds=1)


def ticket(ref: TicketRef, api: ApiClient) -> JSON:
    """`{"ticket": ..., "conversations": [...], "statuses": {"8": "Agendado"}}`; `statuses` only where the ticket
    has one that neither Freshdesk's defaults nor the connection's settings name.

    Raises ApiError; a ticket that was deleted for good, or that our agent may not see, is MISSING.
    """
    path = f"/tickets/{ref.id}"
    try:
        shown = one(api.get(path, include=INCLUDES), f"ticket {ref.id}")
    except ApiError as error:
        if error.failure is not ApiFailure.MISSING:
            raise
        path = f"/tickets/archived/{ref.id}"
        shown = one(api.get(path), f"ticket {ref.id}")
    return {
        "ticket": shown,
        "conversations": conversations(path, api),
        "statuses": _labels(shown.get("status"), api),
    }


def read(ticket_id: str, api: ApiClient) -> dict[str, Any]:
    """The ticket alone, as it is now. Raises ApiError."""
    return one(api.get(f"/tickets/{ticket_id}"), f"ticket {ticket_id}")


def one(answer: Answer, what: str) -> dict[str, Any]:
    """The object that was asked for; an empty answer means the same as 404."""
    if not isinstance(answer.body, dict) or not answer.body:
        raise ApiError(ApiFailure.MISSING, f"Freshdesk gave no {what}", status=answer.status)
    return answer.body


def conversations(path: str, api: ApiClient) -> list[dict[str, Any]]:
    """All replies and notes of the ticket, oldest first; of an archived one as far as they can be read."""
    try:
        rows = [row for page in pages(api, f"{path}/conversations") for row in page]
    except ApiError as error:
        if error.failure is not ApiFailure.MISSING or "archived" not in path:
            raise
        rows = []
    return sorted(
        rows, key=lambda row: (str(row.get("created_at")), row["id"])
    )  # their order is not promised


def pages(api: ApiClient, path: str, **params: Any) -> Iterator[list[dict[str, Any]]]:
    """The pages of a list, as long as there is a next one."""
    for number in range(1, MAX_PAGES + 1):
        answer = api.get(path, **params, per_page=PAGE, page=number)
        yield rows_of(answer)
        if not _has_next(answer):
            return


def rows_of(answer: Answer) -> list[dict[str, Any]]:
    return [row for row in answer.body if isinstance(row, dict)] if isinstance(answer.body, list) else []


def _has_next(answer: Answer) -> bool:
    return 'rel="next"' in answer.headers.get("link", "") or len(rows_of(answer)) >= PAGE


def changed(since: datetime, api: ApiClient) -> Iterator[TicketRef]:
    """Each ticket that changed after `since`, once: live ones, then deleted ones.

    The list of deleted ones is not documented to go with a time; where that is refused, they are not told.
    """
    seen: set[str] = set()
    yield from _changed(since, api, seen)
    try:
        yield from _changed(since, api, seen, filter="deleted")
    except ApiError as error:
        if error.failure is not ApiFailure.REFUSED:
            raise


def _changed(since: datetime, api: ApiClient, seen: set[str], **only: str) -> Iterator[TicketRef]:
    """Page after page from the last time that was seen. Counting pages would skip a ticket whenever one of an
    earlier page changes meanwhile and moves to the end; within one second there is no other way."""
    start, number = since - SECOND, 1
    while number <= MAX_PAGES:
        answer = api.get(
            "/tickets", updated_since=written(start), order_by="updated_at", order_type="asc",
            per_page=PAGE, page=number, **only,
        )  # fmt: skip
        rows = rows_of(answer)
        for row in rows:
            ticket_id = str(row["id"])
            if ticket_id not in seen and instant(row["updated_at"]) > since - SECOND:
                seen.add(ticket_id)
                yield ChangedRef(api.connection.name, ticket_id, instant(row["updated_at"]))
        if not rows or not _has_next(answer):
            return
        last = instant(rows[-1]["updated_at"]) - SECOND
        start, number = (last, 1) if last > start else (start, number + 1)


def _labels(status: Any, api: ApiClient) -> dict[str, str]:
    """The account's labels by id, if this status is not known without them."""
    settings: Settings = api.connection.settings
    if any(known.id == status for known in settings.all_statuses().values()):
        return {}
    try:
        return status_labels(api)
    except ApiError as error:
        if error.failure not in {ApiFailure.REFUSED, ApiFailure.MISSING, ApiFailure.UNAUTHORIZED}:
            raise
    return {}


def status_labels(api: ApiClient) -> dict[str, str]:
    """By id, as agents read them: `{"2": ["Open", "Being Processed"]}` holds the customers' label too."""
    for field in rows_of(api.get("/ticket_fields")):
        choices = field.get("choices")
        if field.get("name") == "status" and isinstance(choices, dict):
            return {
                str(id_): str(label[0] if isinstance(label, list) else label)
                for id_, label in choices.items()
            }
    return {}


def instant(value: str) -> datetime:
    """`2022-11-16T16:03:17Z`, in old accounts with another offset."""
    moment = datetime.fromisoformat(value)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def written(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
