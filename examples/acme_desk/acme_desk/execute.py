"""How are our actions done at Acme Desk, how is one found that was done already, what do its errors mean?

https://acme-desk.example/developers/cases
"""

from typing import Any
from urllib.parse import quote

from gateway.api import (
    JSON,
    Action,
    AddComment,
    AddTags,
    Answer,
    ApiClient,
    ApiError,
    ApiFailure,
    AssignTo,
    Contact,
    CreateTicket,
    Priority,
    Receipt,
    RemoveTags,
    SaveContact,
    SetPriority,
    SetStatus,
    Status,
    TicketAction,
    html_to_text,
)

from . import collect, marker

STATES = {
    Status.NEW: "open",
    Status.OPEN: "open",
    Status.PENDING: "waiting",
    Status.ON_HOLD: "waiting",
    Status.RESOLVED: "done",
    Status.CLOSED: "done",
}
PRIORITIES = {Priority.LOW: 1, Priority.NORMAL: 2, Priority.HIGH: 3, Priority.URGENT: 3}

LOCKED = 423  # an agent has the case open; a minute later it may be free


def perform(action: Action, api: ApiClient) -> Receipt | None:
    """Raises ApiError. Absolute changes may be sent twice; a new case and a note must not be."""
    match action:
        case CreateTicket():
            opened = api.call("POST", "/cases", json=_new_case(action)).body
            return Receipt(remote_id=str(opened["number"]))
        case AddComment(ticket=ref):
            note = {"text": marker.marked(_text(action), action.id), "internal": action.is_private}
            written = api.call("POST", f"/cases/{ref.id}/notes", json=note).body
            return Receipt(remote_id=f"{ref.id}:{written['no']}")
        case SaveContact(contact=contact):
            api.call("PUT", _customer_path(contact), json=_customer(contact), repeatable=True)
            return Receipt(remote_id=contact.email)
        case TicketAction(ticket=ref):
            # Labels that are sent replace those that are there.
            stored = collect.case(ref, api) if isinstance(action, AddTags | RemoveTags) else {}
            wanted = _wanted(action, stored)
            if wanted is None:
                return None
            api.call("PUT", f"/cases/{ref.id}", json=wanted, repeatable=True)
            return Receipt()
        case _:
            return None


def find(action: Action, api: ApiClient) -> Receipt | None:
    """What was opened or written by its mark, the rest by the state that was wanted."""
    match action:
        case CreateTicket():
            found = api.get("/cases", search=marker.mark(action.id)).body["cases"]
            return Receipt(remote_id=str(found[0]["number"])) if found else None
        case AddComment(ticket=ref):
            for note in collect.case(ref, api)["notes"]:
                if marker.mark(action.id) in note["text"]:
                    return Receipt(remote_id=f"{ref.id}:{note['no']}")
            return None
        case SaveContact(contact=contact):
            try:
                stored = api.get(_customer_path(contact)).body
            except ApiError as error:
                if error.failure is not ApiFailure.MISSING:
                    raise
                return None
            is_so = _customer(contact).items() <= stored.items()
            return Receipt(remote_id=contact.email) if is_so else None
        case TicketAction(ticket=ref) if _wanted(action, {"labels": []}) is not None:
            stored = collect.case(ref, api)
            wanted = _wanted(action, stored) or {}
            return Receipt() if all(stored[name] == value for name, value in wanted.items()) else None
        case _:
            return None


def explain(response: Answer) -> ApiError | None:
    if response.status == LOCKED:
        return ApiError(ApiFailure.CONFLICT, "an agent has the case open", status=LOCKED, retry_after=60)
    return None


def _new_case(action: CreateTicket) -> dict[str, JSON]:
    return {
        "title": action.subject,
        "text": marker.marked(_plain(action.description, action.is_html), action.id),
        "customer": _customer(action.contact) if action.contact else None,
        "labels": sorted(action.tags),
        "prio": PRIORITIES[action.priority or Priority.NORMAL],
        "agent": action.assignee,
        "queue": action.team,
    }


def _wanted(action: TicketAction, stored: Any) -> dict[str, JSON] | None:
    """What the case shall be; None = Acme Desk has nothing of the kind."""
    match action:
        case SetStatus(status=status) if status in STATES:
            return {"state": STATES[status]}
        case SetPriority(priority=priority):
            return {"prio": PRIORITIES[priority]}
        case AssignTo(assignee=assignee, team=team):
            return {"agent": assignee, **({"queue": team} if team else {})}
        case AddTags(tags=tags):
            return {"labels": sorted({*stored["labels"], *tags})}
        case RemoveTags(tags=tags):
            return {"labels": sorted(set(stored["labels"]) - set(tags))}
        case _:
            return None


def _customer_path(contact: Contact) -> str:
    if not contact.email:
        raise ApiError(ApiFailure.REFUSED, "Acme Desk: a customer needs an e-mail")
    return f"/customers/{quote(contact.email, safe='@')}"


def _customer(contact: Contact) -> dict[str, JSON]:
    phone = contact.phones[0] if contact.phones else None
    known = {"name": contact.name, "mail": contact.email, "phone": phone}
    return {name: value for name, value in known.items() if value}


def _text(action: AddComment) -> str:
    return _plain(action.body, action.is_html)


def _plain(text: str, is_html: bool) -> str:
    return html_to_text(text) if is_html else text
