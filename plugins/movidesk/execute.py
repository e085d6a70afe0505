"""Our actions as Movidesk calls, and their effects found again.

https://atendimento.movidesk.com/kb/article/256. Answers are 200 also for what is new; those to a PATCH say
nothing. Lists that are sent replace the stored ones, except `actions`: one without id is added.
"""

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
    TicketAction,
    html_to_text,
    text_to_html,
)

from . import collect, convert, fields, marker, persons
from .convert import INTERNAL, PUBLIC

if TYPE_CHECKING:
    from . import Settings

MAX_SUBJECT = 350
LOOKED_AT = 3  # own actions whose HTML is asked for one by one, where a ticket does not bring it


def perform(action: Action, api: ApiClient) -> Receipt | None:
    settings: Settings = api.connection.settings
    match action:
        case CreateTicket():
            return _create(action, api)
        case AddComment(ticket=ticket):
            _once(api, "PATCH", {"actions": [_message(action, settings)]}, id=ticket.id)
        case SetStatus(ticket=ticket) | SetPriority(ticket=ticket):
            _patch(api, ticket.id, difference(action, {}, settings))
        case AssignTo(ticket=ticket):
            _assign(action, api)
        case AddTags(ticket=ticket) | RemoveTags(ticket=ticket) | SetFields(ticket=ticket):
            if isinstance(action, SetFields):
                fields.check(action.fields, settings.custom_fields)
            changed = difference(action, collect.read(ticket.id, api), settings)
            if changed:
                _patch(api, ticket.id, changed)
        case SaveContact(contact=contact):
            return Receipt(remote_id=persons.save(contact, action.id, api))
        case _:
            return None
    return Receipt(url=settings.ticket_url(ticket.id))


def _patch(api: ApiClient, ticket_id: str, body: JSON) -> None:
    """An absolute change, which may be sent twice."""
    api.call("PATCH", "/tickets", params={"id": ticket_id}, json=body, repeatable=True)


def _once(api: ApiClient, method: str, body: JSON, **params: str) -> Answer:
    """A call that must not take effect twice.

    Movidesk reads from replicas that are seconds to minutes behind. So when the answer was lost, the next
    attempt, which looks for the effect first, must not come before they have caught up.
    """
    try:
        return api.call(method, "/tickets", params=params, json=body, repeatable=False)
    except ApiError as error:
        if not error.uncertain:
            raise
        raise _unsure(error, api.connection.settings) from error


def _unsure(error: ApiError, settings: "Settings") -> ApiError:
    wait = max(error.retry_after or 0.0, settings.replica_lag_seconds)
    return ApiError(error.failure, str(error), status=error.status, retry_after=wait, uncertain=True)


def _create(action: CreateTicket, api: ApiClient) -> Receipt:
    settings: Settings = api.connection.settings
    fields.check(action.custom_fields, settings.custom_fields)
    we = {"id": settings.person_id}
    body: dict[str, Any] = {
        "type": PUBLIC,
        "subject": action.subject[:MAX_SUBJECT],
        "createdBy": we,
        "actions": [{
            "type": PUBLIC if settings.public_description else INTERNAL,
            "description": _html(action.description, action.is_html),
            "createdBy": we,
        }],
        "tags": [*action.tags, marker.tag(action.id)],
    }  # fmt: skip
    if action.type:
        body["category"] = action.type
    if action.priority:
        body["urgency"] = _urgency(action.priority, settings)
    if settings.service_id:
        body["serviceFirstLevelId"] = settings.service_id
    if action.custom_fields:
        body["customFieldValues"] = fields.replaced((), action.custom_fields, settings.custom_fields) or []
    if action.assignee:
        body["owner"] = {"id": action.assignee}
        body["ownerTeam"] = action.team or _team_of(action.assignee, None, api)
    elif action.team:
        body["ownerTeam"] = action.team
    body["clients"] = [{"id": persons.client_of(action, api)}]
    created = _once(api, "POST", body).body
    if not isinstance(created, dict) or not created.get("id"):
        raise _unsure(ApiError(ApiFailure.UNANSWERED, "Movidesk did not say the new ticket's id"), settings)
    return Receipt(remote_id=str(created["id"]), url=settings.ticket_url(str(created["id"])))


def _message(action: AddComment, settings: "Settings") -> JSON:
    return {
        "type": INTERNAL if action.is_private else PUBLIC,
        "description": _html(action.body, action.is_html) + marker.hidden(action.id),
        "createdBy": {"id": settings.person_id},
    }


def _html(text: str, is_html: bool) -> str:
    return text if is_html else text_to_html(text)


def _urgency(priority: Priority, settings: "Settings") -> str:
    for label, ours in settings.urgencies.items():
        if ours is priority:
            return label
    raise ApiError(
        ApiFailure.REFUSED, f"no urgency of Movidesk stands for {priority}: add its label to `urgencies`"
    )


def _assign(action: AssignTo, api: ApiClient) -> None:
    """An agent goes with a team of theirs. A team without an agent wants `owner: null`, which not every
    tenant's Movidesk takes: then the team goes alone."""
    ticket_id, team = action.ticket.id, action.team
    if action.assignee and not team:
        team = _team_of(action.assignee, ticket_id, api)
    changed = difference(action.model_copy(update={"team": team}), {}, api.connection.settings)
    try:
        _patch(api, ticket_id, changed)
    except ApiError as error:
        if error.failure is not ApiFailure.REFUSED or action.assignee or not team:
            raise
        _patch(api, ticket_id, {"ownerTeam": team})


def _team_of(agent: str, ticket_id: str | None, api: ApiClient) -> str | None:
    """The agent's only team; of several, the one where the ticket already is."""
    teams = collect.one(api.get("/persons", id=agent), f"person {agent}").get("teams") or [None]
    if len(teams) > 1 and ticket_id:
        current = collect.read(ticket_id, api).get("ownerTeam")
        if current in teams:
            return str(current)
    return str(teams[0]) if teams[0] else None


def difference(action: Action, stored: JSON, settings: "Settings") -> dict[str, JSON]:
    """The body that brings a ticket from `stored` to what the action wants; empty = nothing is left to do."""
    match action:
        case SetStatus(status=status):
            label = action.remote_status or settings.statuses[status]
            # only together: one without the other is refused
            wanted = {"status": label, "justification": settings.justification(status, label)}
            return wanted if any((stored.get(name, "") or None) != wanted[name] for name in wanted) else {}
        case SetPriority(priority=priority):
            urgency = _urgency(priority, settings)
            return {"urgency": urgency} if stored.get("urgency") != urgency else {}
        case AssignTo(assignee=assignee, team=team):
            current = (stored.get("owner") or {}).get("id") if "owner" in stored else ""
            same_team = stored.get("ownerTeam", "") == team or (assignee and not team)
            if current == assignee and same_team:
                return {}
            return {"owner": {"id": assignee} if assignee else None, "ownerTeam": team}
        case AddTags(tags=tags):
            present = stored.get("tags") or []
            missing = [tag for tag in dict.fromkeys(tags) if tag not in present]
            return {"tags": [*present, *missing]} if missing else {}
        case RemoveTags(tags=tags):
            present = stored.get("tags") or []
            left = [tag for tag in present if tag not in tags]
            return {"tags": left} if left != present else {}
        case SetFields(fields=wanted_fields):
            values = fields.replaced(
                stored.get("customFieldValues") or (), wanted_fields, settings.custom_fields
            )
            return {} if values is None else {"customFieldValues": values}
        case _:
            raise TypeError(f"{action.kind} is no absolute change")


def found(action: Action, api: ApiClient) -> Receipt | None:
    """Absolute changes may be repeated: theirs are found by the state that they wanted."""
    settings: Settings = api.connection.settings
    match action:
        case CreateTicket():
            return _found_ticket(action, api)
        case AddComment():
            return _found_comment(action, api)
        case SaveContact(contact=contact):
            person = persons.stored(contact, api)
            if person is None or persons.difference(contact, person, api):
                return None
            return Receipt(remote_id=str(person["id"]))
        case TicketAction(ticket=ticket):
            if difference(action, collect.read(ticket.id, api), settings):
                return None
            return Receipt(url=settings.ticket_url(ticket.id))
        case _:
            return None


def _found_ticket(action: CreateTicket, api: ApiClient) -> Receipt | None:
    """By the tag it was created with; for some minutes the replica that lists may not know of it yet."""
    rows = collect.listed(
        api, "/tickets", where=f"tags/any(x: x eq {collect.quoted(marker.tag(action.id))})", select="id",
        orderby="id asc", top=1,
    )  # fmt: skip
    if not rows:
        return None
    ticket_id = str(rows[0]["id"])
    return Receipt(remote_id=ticket_id, url=api.connection.settings.ticket_url(ticket_id))


def _found_comment(action: AddComment, api: ApiClient) -> Receipt | None:
    """By its hidden text; where Movidesk kept none at all, by its words."""
    settings: Settings = api.connection.settings
    ticket_id = action.ticket.id
    read = collect.read(ticket_id, api)
    ours = [
        entry
        for entry in sorted(read.get("actions") or (), key=lambda entry: -int(entry["id"]))
        if str((entry.get("createdBy") or {}).get("id")) == settings.person_id
    ]
    mark, words = marker.text(action.id), _words(html_to_text(_html(action.body, action.is_html)))
    for number, entry in enumerate(ours):
        html = entry.get("htmlDescription")
        if not html and number < LOOKED_AT:
            html = _html_of(entry["id"], ticket_id, api)
        text = f"{html or ''} {entry.get('description') or ''}"
        lost_mark = not marker.is_in(text) and _words(entry.get("description") or "") == words
        if mark in text or lost_mark:
            return Receipt(
                remote_id=convert.comment_id(read["id"], entry["id"]), url=settings.ticket_url(ticket_id)
            )
    return None


def _html_of(action_id: JSON, ticket_id: str, api: ApiClient) -> str:
    try:
        return api.get("/tickets/htmldescription", id=ticket_id, actionId=action_id).text
    except ApiError as error:
        if error.failure is not ApiFailure.MISSING:
            raise
    return ""


def _words(text: str) -> list[str]:
    return text.split()
