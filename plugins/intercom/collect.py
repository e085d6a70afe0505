"""What does Intercom's API tell of a conversation or ticket beyond the notification, and which changed?

https://developers.intercom.com/docs/references/rest-api/api.intercom.io/conversations/retrieveconversation
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from gateway.api import JSON, ApiClient, ApiError, ApiFailure, ChangedRef, TicketRef

from .envelope import TICKET, ident, instant
from .parts import listed

PAGE_SIZE = 150
MAX_PAGES = 1_000
OVERLAP = timedelta(minutes=10)
"""The index that searches lags minutes behind, so every look overlaps the one before."""

DAY = timedelta(days=1)
"""Searches may cut a time down to the day, in the workspace's time zone: so we ask for a day more, and look."""


def path(ref_id: str) -> str:
    """Where the API has it: tickets go by their id, never by the number that people see."""
    if ref_id.startswith(TICKET):
        return f"/tickets/{ref_id.removeprefix(TICKET)}"
    return f"/conversations/{ref_id}"


def ticket(ref: TicketRef, api: ApiClient) -> JSON:
    """`{"conversation" | "ticket": {...}, "contacts": [...]}`, with the newest 500 parts and the first contact.

    Raises ApiError; a deleted conversation is MISSING.
    """
    source = api.get(path(ref.id)).body
    kind = "ticket" if ref.id.startswith(TICKET) else "conversation"
    people = listed(source.get("contacts"), "contacts")
    contact_id = ident(people[0].get("id")) if people else None
    return {kind: source, "contacts": [found] if (found := _contact(contact_id, api)) else []}


def _contact(contact_id: str | None, api: ApiClient) -> JSON:
    if contact_id is None:
        return None
    try:
        return api.get(f"/contacts/{contact_id}").body
    except ApiError as error:
        if error.failure is not ApiFailure.MISSING:
            raise
    return None  # deleted since, or merged


def changed(since: datetime, api: ApiClient) -> Iterator[TicketRef]:
    """Each conversation and ticket that changed after `since`, once."""
    earliest = int((since - OVERLAP).timestamp())
    asked = int((since - OVERLAP - DAY).timestamp())
    query = {"field": "updated_at", "operator": ">", "value": asked}
    seen: set[str] = set()
    for kind, prefix in (("conversations", ""), ("tickets", TICKET)):
        for found in search(api, kind, query):
            found_id = ident(found.get("id"))
            if found_id is None or (found.get("updated_at") or earliest) < earliest:
                continue
            if prefix + found_id not in seen:
                seen.add(prefix + found_id)
                yield _listed(api.connection.name, prefix + found_id, found.get("updated_at"))


def _listed(connection: str, ref_id: str, updated_at: JSON) -> TicketRef:
    return (
        ChangedRef(connection, ref_id, instant(updated_at)) if updated_at else TicketRef(connection, ref_id)
    )


def search(
    api: ApiClient, kind: str, query: Mapping[str, Any], *, pages: int = MAX_PAGES, size: int = PAGE_SIZE
) -> Iterator[dict[str, Any]]:
    """What a search finds, by cursor. `pages.next` is null or absent at the end; old lists had a URL there."""
    paging: dict[str, Any] = {"per_page": size}
    for _ in range(pages):
        asked = {"query": dict(query), "pagination": paging}
        page = api.call("POST", f"/{kind}/search", json=asked, repeatable=True).body
        yield from listed(page, "data" if "data" in page else kind)
        following = (page.get("pages") or {}).get("next")
        cursor = following.get("starting_after") if isinstance(following, dict) else None
        if not cursor or cursor == paging.get("starting_after"):
            return
        paging = {"per_page": size, "starting_after": cursor}
