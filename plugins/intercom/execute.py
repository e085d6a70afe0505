"""How are our actions done at Intercom, and how is it seen that one was done already?

There is no idempotency key, so no write is ever repeated without a look: not in place, and not later
(https://developers.intercom.com/docs/references/rest-api/api.intercom.io).
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gateway.api import (
    Action,
    AddComment,
    AddTags,
    ApiClient,
    AssignTo,
    CreateTicket,
    Receipt,
    RemoveTags,
    SaveContact,
    SetFields,
    SetPriority,
    SetStatus,
    html_to_text,
)

from . import changes, marker, opening, parts, people, tags
from .collect import path
from .envelope import TICKET, ident
from .reading import history, newest
from .wording import written

if TYPE_CHECKING:
    from . import Settings


def perform(action: Action, api: ApiClient) -> Receipt | None:
    """Raises ApiError."""
    match action:
        case CreateTicket():
            return opening.create(action, api)
        case AddComment():
            return _comment(action, api)
        case AddTags(ticket=ticket):
            tags.add(ticket.id, tags.missing(ticket.id, action.tags, api), api)
        case RemoveTags(ticket=ticket):
            tags.remove(ticket.id, action.tags, api)
        case (
            SetStatus(ticket=ticket)
            | SetPriority(ticket=ticket)
            | AssignTo(ticket=ticket)
            | SetFields(ticket=ticket)
        ):
            if not _change(action, api):
                return None
        case SaveContact(contact=contact):
            return Receipt(remote_id=people.save(contact, api))
        case _:
            return None
    return _receipt(None, ticket.id, api)


def find_effect(action: Action, api: ApiClient) -> Receipt | None:
    """Saving a contact again does no harm, nor does a ticket's tag, which no reading shows: they are not looked for."""
    match action:
        case CreateTicket():
            return opening.find(action, api)
        case AddComment():
            return _find_comment(action, api)
        case AddTags(ticket=ticket) | RemoveTags(ticket=ticket) if not ticket.id.startswith(TICKET):
            present = set(tags.on(api.get(path(ticket.id)).body).values())
            wanted = tags.wanted(action.tags).keys()
            is_so = wanted <= present if isinstance(action, AddTags) else wanted.isdisjoint(present)
            return _receipt(None, ticket.id, api) if is_so else None
        case (
            SetStatus(ticket=ticket)
            | SetPriority(ticket=ticket)
            | AssignTo(ticket=ticket)
            | SetFields(ticket=ticket)
        ):
            source = api.get(path(ticket.id)).body
            found = changes.needed(action, source, api)
            is_so = found is not None and not changes.outstanding(found, source)
            return _receipt(None, ticket.id, api) if is_so else None
        case _:
            return None


def _change(action: SetStatus | SetPriority | AssignTo | SetFields, api: ApiClient) -> bool:
    """False = Intercom cannot do it. Of several writes, those that are done already are left out."""
    is_ticket_status = isinstance(action, SetStatus) and action.ticket.id.startswith(TICKET)
    source = api.get(path(action.ticket.id)).body if is_ticket_status else None
    found = changes.needed(action, source, api)
    if found is None:
        return False
    if len(found) > 1:
        found = changes.outstanding(found, api.get(path(action.ticket.id)).body)
    for change in found:
        api.call(change.method, change.path, json=change.body)
    return True


# --- a comment ----------------------------------------------------------------------------------------------


def _comment(action: AddComment, api: ApiClient) -> Receipt:
    settings: Settings = api.connection.settings
    mark = marker.text(action.id) if action.is_private or settings.mark_replies else ""
    body = {
        "message_type": "note" if action.is_private else "comment",
        "type": "admin",
        "admin_id": settings.admin_id,
        "body": written(action.body, action.is_html, mark),
    }
    answer = api.call("POST", f"{path(action.ticket.id)}/reply", json=body).body
    if action.ticket.id.startswith(TICKET):  # it answers with the part, a conversation with the whole
        return _receipt(ident(answer.get("id")), action.ticket.id, api)
    return _receipt(_ours(action, answer, settings), action.ticket.id, api)


def _find_comment(action: AddComment, api: ApiClient) -> Receipt | None:
    part_id = _ours(action, api.get(path(action.ticket.id)).body, api.connection.settings)
    return _receipt(part_id, action.ticket.id, api) if part_id else None


def _ours(action: AddComment, source: Mapping[str, Any], settings: "Settings") -> str | None:
    """The part that this action wrote: by its mark or, where there is none at all, by the same words."""
    mark = marker.text(action.id)
    words = (html_to_text(action.body) if action.is_html else action.body).split()
    for part in newest(history(source)):
        comment = parts.comment(part)
        author = comment.author if comment else None
        if comment is None or author is None or author.id != settings.admin_id or not author.is_agent:
            continue
        body = str(part.get("body") or "")
        is_same = comment.body.split() == words and comment.is_private == action.is_private
        if mark in body or (is_same and not marker.is_in(body)):
            return comment.id
    return None


def _receipt(remote_id: str | None, ref_id: str, api: ApiClient) -> Receipt:
    settings: Settings = api.connection.settings
    return Receipt(remote_id=remote_id, url=settings.inbox_url(ref_id.removeprefix(TICKET)))
