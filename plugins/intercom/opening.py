"""How is a ticket or conversation opened once, where nothing keeps it from being opened twice?

https://developers.intercom.com/docs/references/rest-api/api.intercom.io/tickets/createticket
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.api import (
    JSON,
    ApiClient,
    ApiError,
    ApiFailure,
    CreateTicket,
    Receipt,
    TicketKind,
    html_to_text,
)

from . import changes, marker, people, tags
from .collect import path, search
from .envelope import TICKET, ident
from .people import Recipient
from .reading import DESCRIPTION, TITLE, opening_message
from .wording import text, written

if TYPE_CHECKING:
    from . import Settings

LOOKED_AT = 150  # newest tickets of the same contact, among which an interrupted attempt is looked for

IN_APP = ("in_app", "inapp")
"""The description of the API has the first word, recordings of it the second."""


@dataclass(frozen=True, slots=True)
class Rest:
    """What is done once it is open, each step looked at before it is done again."""

    tags: tuple[str, ...]
    writes: tuple[changes.Change, ...]


def create(action: CreateTicket, api: ApiClient) -> Receipt:
    """Whatever could be refused is looked up first, so that nothing is opened that cannot be finished."""
    settings: Settings = api.connection.settings
    changes.named(action.custom_fields, settings)
    changes.assignments("", action.assignee, action.team, api)
    tag_ids = [tags.identified(tag, api) for tag in tags.wanted(action.tags).values()]
    to = people.recipient(action.contact, api)
    if _is_ticket(action, settings):
        opened = TICKET + _ticket(action, to, api)
    elif settings.open_as == "contact":
        opened = _as_contact(action, to, api)
    else:
        opened = _as_admin(action, to, api)
    for change in _rest(opened, action, api):
        api.call(change.method, change.path, json=change.body)
    tags.add(opened, tag_ids, api)
    return receipt(opened, settings)


def find(action: CreateTicket, api: ApiClient) -> Receipt | None:
    """An earlier attempt's, by our mark or, where Intercom dropped it, by the same words; and finished, where it
    was interrupted between two steps."""
    settings: Settings = api.connection.settings
    to = people.find(action.contact, api) if action.contact else None
    if to is None:
        return None
    for source in _of_contact(to, action, api):
        if _is_it(source, action, settings):
            opened = ("" if not _is_ticket(action, settings) else TICKET) + str(ident(source["id"]))
            _finish(opened, action, api)
            return receipt(opened, settings)
    return None


def receipt(ref_id: str, settings: "Settings") -> Receipt:
    return Receipt(remote_id=ref_id, url=settings.inbox_url(ref_id.removeprefix(TICKET)))


def _is_ticket(action: CreateTicket, settings: "Settings") -> bool:
    return settings.ticket_type_id is not None and action.ticket_kind is not TicketKind.CONVERSATION


# --- opening ------------------------------------------------------------------------------------------------


def _ticket(action: CreateTicket, to: Recipient, api: ApiClient) -> str:
    settings: Settings = api.connection.settings
    assignment: dict[str, JSON] = {}
    if action.team:
        assignment["team_assignee_id"] = changes.team_id(action.team, settings)
    if action.assignee:
        assignment["admin_assignee_id"] = changes.admin_id(action.assignee, api)
    body: dict[str, JSON] = {
        "ticket_type_id": settings.ticket_type_id,
        "contacts": [{"id": to.id}],
        "ticket_attributes": {
            TITLE: action.subject,
            DESCRIPTION: _description(action) + marker.text(action.id),
            **changes.named(action.custom_fields, settings),
            **changes.priority_attribute(action.priority, settings),
        },
    }
    if assignment:
        body["assignment"] = assignment
    return _named(api.call("POST", "/tickets", json=body).body, "id")


def _as_contact(action: CreateTicket, to: Recipient, api: ApiClient) -> str:
    """As if the contact had written: plain text, HTML is not taken."""
    body = {"from": {"type": to.role, "id": to.id}, "body": _message(action) + marker.text(action.id)}
    return _named(api.call("POST", "/conversations", json=body).body, "conversation_id")


def _as_admin(action: CreateTicket, to: Recipient, api: ApiClient) -> str:
    """We write to the contact; the conversation is there at once, not only when the contact answers."""
    settings: Settings = api.connection.settings
    body: dict[str, JSON] = {
        "from": {"type": "admin", "id": int(settings.admin_id)},
        "to": {"type": to.role, "id": to.id},
        "body": written(_message(action), False, marker.text(action.id)),
        "create_conversation_without_contact_reply": True,
    }
    refused: ApiError | None = None
    for word in IN_APP:
        try:
            answer = api.call("POST", "/messages", json={"message_type": word, **body})
        except ApiError as error:
            if error.failure is not ApiFailure.REFUSED:
                raise
            refused = refused or error
        else:
            return _named(answer.body, "conversation_id")
    assert refused is not None  # noqa: S101 - each word was refused
    raise refused


def _named(answer: JSON, field: str) -> str:
    found = ident(answer.get(field)) if isinstance(answer, dict) else None
    if found is None:
        raise ApiError(
            ApiFailure.UNANSWERED, f"Intercom did not say the {field} of what was opened", uncertain=True
        )
    return found


def _message(action: CreateTicket) -> str:
    return f"{action.subject}\n\n{_description(action)}".strip()


def _description(action: CreateTicket) -> str:
    return html_to_text(action.description) if action.is_html else action.description


# --- finishing ----------------------------------------------------------------------------------------------


def _rest(opened: str, action: CreateTicket, api: ApiClient) -> list[changes.Change]:
    """A ticket is opened with everything but its tags, a conversation with nothing but its words."""
    if opened.startswith(TICKET):
        return []
    settings: Settings = api.connection.settings
    given = {
        **changes.named(action.custom_fields, settings),
        **changes.priority_attribute(action.priority, settings),
    }
    found = changes.attributes(opened, given, settings) if given else []
    if action.assignee or action.team:
        found += changes.assignments(opened, action.assignee, action.team, api)
    return found


def _finish(opened: str, action: CreateTicket, api: ApiClient) -> None:
    source = api.get(path(opened)).body
    for change in changes.outstanding(_rest(opened, action, api), source):
        api.call(change.method, change.path, json=change.body)
    present = tags.on(source).values()
    absent = [tag for key, tag in tags.wanted(action.tags).items() if key not in present]
    tags.add(opened, [tags.identified(tag, api) for tag in absent], api)


# --- finding ------------------------------------------------------------------------------------------------


def _of_contact(to: Recipient, action: CreateTicket, api: ApiClient) -> Iterator[dict[str, Any]]:
    kind = "tickets" if _is_ticket(action, api.connection.settings) else "conversations"
    query = {"field": "contact_ids", "operator": "=", "value": to.id}
    return search(api, kind, query, pages=1, size=LOOKED_AT)


def _is_it(source: Mapping[str, Any], action: CreateTicket, settings: "Settings") -> bool:
    if _is_ticket(action, settings):
        given = source.get("ticket_attributes") or {}
        body, words = str(given.get(DESCRIPTION) or ""), _description(action)
        if given.get(TITLE) != action.subject:
            return False
    else:
        body, words = str(opening_message(source).get("body") or ""), _message(action)
    if marker.is_in(body):
        return marker.text(action.id) in body
    return text(body).split() == words.split()
