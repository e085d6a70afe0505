"""How are our actions done at Freshdesk, and how is it seen that one was done already?

https://developers.freshdesk.com/api/. No write has an idempotency key. A PUT sets only what it names, but a list
that it names is replaced.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

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
    CreateTicket,
    Priority,
    Receipt,
    RemoveTags,
    SaveContact,
    SetFields,
    SetPriority,
    SetStatus,
    Status,
    TicketAction,
    folded,
    html_to_text,
    sanitised,
    text_to_html,
)

from . import collect, contacts, marker
from .hint import decimal

if TYPE_CHECKING:
    from . import Settings

OPEN, PORTAL = 2, 2  # status and source of a ticket that we open
PRIORITIES = {Priority.LOW: 1, Priority.NORMAL: 2, Priority.HIGH: 3, Priority.URGENT: 4}
LAST_FIXED_STATUS = 5
LONGEST_SUBJECT = 255
LONGEST_TAG = 32
NEWEST_PAGES = 3  # of a hundred tickets: an interrupted creation is looked for among the newest


def normal_tag(tag: str) -> str:
    """The tag as Freshdesk keeps it: a comma would end it, and it is no longer than 32 characters."""
    return " ".join(tag.replace(",", " ").split())[:LONGEST_TAG].rstrip()


def perform(action: Action, api: ApiClient) -> Receipt | None:
    """Raises ApiError. What sets a value may be repeated; what adds something has no key and never is."""
    settings: Settings = api.connection.settings
    match action:
        case CreateTicket():
            return _create(action, api)
        case AddComment():
            return _comment(action, api)
        case AddTags() | RemoveTags():
            _merge_tags(action, api)
        case SetStatus() | SetPriority() | AssignTo() | SetFields():
            wanted = _wanted(action, api)
            if wanted is None:
                return None
            api.call("PUT", f"/tickets/{action.ticket.id}", json=wanted, repeatable=True)
        case SaveContact(contact=contact):
            return Receipt(remote_id=contacts.save(contact, api))
        case _:
            return None
    return Receipt(url=settings.ticket_url(action.ticket.id))


def found(action: Action, api: ApiClient) -> Receipt | None:
    """Saving a contact again does no harm, so that is not looked for."""
    settings: Settings = api.connection.settings
    match action:
        case CreateTicket() if action.id:
            return _found_ticket(action, api)
        case AddComment() if action.id:
            return _found_comment(action, api)
        case TicketAction(ticket=ref) if not isinstance(action, AddComment):
            ticket = collect.read(ref.id, api)
            return Receipt(url=settings.ticket_url(ref.id)) if _is_done(action, ticket, api) else None
        case _:
            return None


# --- a new ticket -------------------------------------------------------------------------------------------


def _create(action: CreateTicket, api: ApiClient) -> Receipt:
    settings: Settings = api.connection.settings
    tags = [*_tags(action.tags), *([marker.tag(action.id)] if action.id else [])]
    ticket: dict[str, JSON] = {
        "subject": action.subject[:LONGEST_SUBJECT],
        "description": _html(action.description, action.is_html),
        "status": OPEN,
        "priority": PRIORITIES[action.priority or Priority.LOW],
        "source": PORTAL,
        "type": action.type or settings.default_type,
        "tags": tags,
        "group_id": _group(action.team, settings),
        "responder_id": _agent(action.assignee, api),
        "custom_fields": _custom_fields(action.custom_fields, settings),
        "product_id": settings.product_id,
        "email_config_id": settings.email_config_id,
        **contacts.requester(action.contact, api),
    }
    sent = {name: value for name, value in ticket.items() if value not in (None, [], {})}
    ticket_id = _new_id(api.call("POST", "/tickets", json=sent), "ticket")
    return Receipt(remote_id=ticket_id, url=settings.ticket_url(ticket_id))


def _found_ticket(action: CreateTicket, api: ApiClient) -> Receipt | None:
    """By the tag it was created with: among the newest tickets, as the search is minutes behind, then there."""
    settings: Settings = api.connection.settings
    mark = marker.tag(action.id)
    newest = collect.pages(api, "/tickets", order_by="created_at", order_type="desc")
    rows = [row for _, page in zip(range(NEWEST_PAGES), newest, strict=False) for row in page]
    matching = [row for row in rows if mark in (row.get("tags") or ())]
    if not matching:
        answer = api.get("/search/tickets", query=f"\"tag:'{mark}'\"").body
        matching = (answer.get("results") or []) if isinstance(answer, dict) else []
    if not matching:
        return None
    ticket_id = str(matching[0]["id"])
    return Receipt(remote_id=ticket_id, url=settings.ticket_url(ticket_id))


# --- what is said on a ticket -------------------------------------------------------------------------------


def _comment(action: AddComment, api: ApiClient) -> Receipt:
    """A public comment is a reply, which is e-mailed to the requester."""
    settings: Settings = api.connection.settings
    path, html = f"/tickets/{action.ticket.id}", _html(action.body, action.is_html)
    if action.is_private:
        marked = html + marker.hidden(action.id) if action.id else html
        answer = api.call("POST", f"{path}/notes", json={"body": marked, "private": True})
    else:
        marked = marker.wrapped(html, action.id) if action.id else html
        answer = api.call("POST", f"{path}/reply", json={"body": marked})
    comment_id = _new_id(answer, "note" if action.is_private else "reply")
    return Receipt(remote_id=comment_id, url=settings.ticket_url(action.ticket.id))


def _found_comment(action: AddComment, api: ApiClient) -> Receipt | None:
    """By its marker; a comment of ours that lost every marker, by its words."""
    settings: Settings = api.connection.settings
    rows = collect.conversations(f"/tickets/{action.ticket.id}", api)
    words = html_to_text(_html(action.body, action.is_html)).split()

    def unmarked(row: Mapping[str, Any], text: str) -> bool:
        ours = decimal(row.get("user_id")) == settings.agent_id
        alike = (row.get("private") is not False) == action.is_private
        return ours and alike and not marker.is_in(text) and (row.get("body_text") or "").split() == words

    texts = [(row, f"{row.get('body') or ''} {row.get('body_text') or ''}") for row in rows]
    for row in [
        *(row for row, text in texts if marker.names(text, action.id)),
        *(row for row, text in texts if unmarked(row, text)),
    ]:
        return Receipt(remote_id=str(row["id"]), url=settings.ticket_url(action.ticket.id))
    return None


def _html(text: str, is_html: bool) -> str:
    return sanitised(text) if is_html else text_to_html(text)


def _new_id(answer: Answer, what: str) -> str:
    """Raises ApiError where the answer does not say the id: it may be there, so it must be looked for."""
    new = decimal(answer.body.get("id")) if isinstance(answer.body, dict) else None
    if new is None:
        raise ApiError(
            ApiFailure.UNANSWERED,
            f"Freshdesk did not say the new {what}'s id",
            status=answer.status,
            uncertain=True,
        )
    return new


# --- a ticket that exists -----------------------------------------------------------------------------------


def _merge_tags(action: AddTags | RemoveTags, api: ApiClient) -> None:
    """The list is replaced: read, merged and written.

    The core does one action of a ticket at a time, over all its processes, so none of ours comes in between. A
    person still may, and Freshdesk has no conditional write: so the list is read right before it is written, it
    is not written where nothing is missing, and a write whose answer was lost is not repeated with a list that
    is old by then: the next attempt reads again.
    """
    present = list(collect.read(action.ticket.id, api).get("tags") or ())
    merged = _merged(action, present)
    if merged != present:
        api.call("PUT", f"/tickets/{action.ticket.id}", json={"tags": merged}, repeatable=False)


def _merged(action: AddTags | RemoveTags, present: list[str]) -> list[str]:
    """Upper and lower case are one tag; the ticket's own spelling stays."""
    named = {folded(tag): tag for tag in _tags(action.tags)}
    if isinstance(action, RemoveTags):
        return [tag for tag in present if folded(tag) not in named]
    have = {folded(tag) for tag in present}
    return [*present, *(tag for key, tag in named.items() if key not in have)]


def _wanted(action: SetStatus | SetPriority | AssignTo | SetFields, api: ApiClient) -> dict[str, JSON] | None:
    """What the ticket shall be, in the fields of an update."""
    settings: Settings = api.connection.settings
    match action:
        case SetStatus():
            number = _status(action, api)
            return None if number is None else {"status": number}
        case SetPriority(priority=priority):
            return {"priority": PRIORITIES[priority]}
        case SetFields(fields=fields):
            return {"custom_fields": _custom_fields(fields, settings)}
        case AssignTo(assignee=assignee, team=None):
            return {"responder_id": _agent(assignee, api)}  # without one, the group keeps the ticket
        case AssignTo(assignee=assignee, team=team):
            return {"responder_id": _agent(assignee, api), "group_id": _group(team, settings)}


def _is_done(action: Action, ticket: Mapping[str, Any], api: ApiClient) -> bool:
    match action:
        case AddTags() | RemoveTags():
            present = list(ticket.get("tags") or ())
            return _merged(action, present) == present
        case SetStatus() | SetPriority() | AssignTo() | SetFields():
            wanted = _wanted(action, api)
            if wanted is None:
                return False
            fields = wanted.pop("custom_fields", {})
            held = ticket.get("custom_fields") or {}
            return all(name in ticket and ticket[name] == value for name, value in wanted.items()) and all(
                name in held and held[name] == value for name, value in fields.items()
            )
        case _:
            return False


def _status(action: SetStatus, api: ApiClient) -> int | None:
    settings: Settings = api.connection.settings
    named = settings.all_statuses()
    label = (action.remote_status or "").strip()
    if not label:
        # Open, Pending, Resolved and Closed are in every account; then comes what this one has of its own
        ranked = sorted(named.values(), key=lambda status: status.id > LAST_FIXED_STATUS)
        meant = (action.status, Status.OPEN) if action.status is Status.NEW else (action.status,)
        return next((status.id for word in meant for status in ranked if status.means is word), None)
    for name, status in named.items():
        if folded(name) == folded(label):
            return status.id
    if decimal(label):
        return int(label)
    for number, name in collect.status_labels(api).items():
        if folded(name) == folded(label):
            return int(number)
    raise ApiError(ApiFailure.REFUSED, f"Freshdesk: the account has no ticket status {label!r}")


def _group(team: str | None, settings: "Settings") -> int | None:
    if team is None:
        return None
    if team in settings.groups:
        return settings.groups[team]
    if decimal(team):
        return int(team)
    raise ApiError(ApiFailure.REFUSED, f"Freshdesk: team {team!r} is not in the connection's `groups`")


def _agent(assignee: str | None, api: ApiClient) -> int | None:
    settings: Settings = api.connection.settings
    if assignee is None:
        return None
    if assignee in settings.agents:
        return settings.agents[assignee]
    if decimal(assignee):
        return int(assignee)
    if "@" in assignee:
        for agent in collect.rows_of(api.get("/agents", email=assignee.lower())):
            return int(agent["id"])
    raise ApiError(
        ApiFailure.REFUSED,
        f"Freshdesk: {assignee!r} is no agent: give an id, an e-mail, or a name in the connection's `agents`",
    )


def _custom_fields(fields: Mapping[str, JSON], settings: "Settings") -> dict[str, JSON]:
    """By our name, or by Freshdesk's own."""
    names = {name: settings.custom_fields.get(name, name) for name in fields}
    unknown = sorted(name for name, theirs in names.items() if not theirs.startswith("cf_"))
    if unknown:
        raise ApiError(
            ApiFailure.REFUSED, f"Freshdesk: not in the connection's `custom_fields`: {', '.join(unknown)}"
        )
    return {names[name]: value for name, value in fields.items()}


def _tags(tags: Iterable[str]) -> list[str]:
    return [tag for tag in dict.fromkeys(map(normal_tag, tags)) if tag]
