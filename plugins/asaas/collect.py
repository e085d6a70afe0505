"""How does a payment stand, and whose is it?  https://docs.asaas.com/reference/recuperar-uma-unica-cobranca"""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from gateway.api import JSON, ApiClient, ApiError, ApiFailure, TicketRef

SAO_PAULO = ZoneInfo("America/Sao_Paulo")
PAGE = 100
MOST_PAGES = 50
_CUSTOMER_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")

CHANGES: tuple[dict[str, str], ...] = (
    {"field": "dateCreated[ge]"},
    {"field": "paymentDate[ge]"},
    {"field": "dueDate[ge]", "status": "OVERDUE"},
)
"""Asaas cannot list by last change; what was made, paid or fell due since then is what matters."""


def payment(ref: TicketRef, api: ApiClient) -> JSON:
    """The payment and its customer. A customer that is gone is null; raises ApiError for everything else."""
    found = api.get(f"/payments/{quote(ref.id, safe='')}").body
    return {"payment": found, "customer": _customer(found, api)}


def changed(since: datetime, api: ApiClient) -> Iterator[TicketRef]:
    """Payments that were made, paid or fell due since that day, each once."""
    if api.connection.settings.api_key is None:
        return
    day = since.astimezone(SAO_PAULO).date().isoformat()
    seen: set[str] = set()
    for change in CHANGES:
        query = {name: value for name, value in change.items() if name != "field"} | {change["field"]: day}
        for id_ in _pages(query, api):
            if id_ not in seen:
                seen.add(id_)
                yield TicketRef(api.connection.name, id_)


def _pages(query: dict[str, str], api: ApiClient) -> Iterator[str]:
    for number in range(MOST_PAGES):
        page = api.get("/payments", **query, limit=PAGE, offset=number * PAGE).body
        yield from (each["id"] for each in page["data"])
        if not page.get("hasMore"):
            return


def _customer(found: Any, api: ApiClient) -> JSON:
    customer = found.get("customer") if isinstance(found, dict) else None
    if not isinstance(customer, str) or not _CUSTOMER_ID.fullmatch(customer):
        return None
    try:
        return api.get(f"/customers/{customer}").body
    except ApiError as error:
        if error.failure is ApiFailure.MISSING:
            return None
        raise
