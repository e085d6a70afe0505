"""Which change of a conversation or ticket brings it to what an action wants, and is it so already?

https://developers.intercom.com/docs/references/rest-api/api.intercom.io/conversations/manageconversation
https://developers.intercom.com/docs/references/rest-api/api.intercom.io/tickets/updateticket
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from gateway.api import (
    JSON,
    ApiClient,
    ApiError,
    ApiFailure,
    AssignTo,
    Priority,
    SetFields,
    SetPriority,
    SetStatus,
    Status,
)

from .envelope import TICKET, ident, moment
from .parts import listed

if TYPE_CHECKING:
    from . import Settings

STATES = {
    Status.NEW: "open",
    Status.OPEN: "open",
    Status.PENDING: "snoozed",
    Status.ON_HOLD: "snoozed",
    Status.RESOLVED: "closed",
    Status.CLOSED: "closed",
}
CATEGORIES = {
    Status.NEW: "submitted",
    Status.OPEN: "in_progress",
    Status.PENDING: "waiting_on_customer",
    Status.RESOLVED: "resolved",
}
NOBODY = "0"


@dataclass(frozen=True, slots=True)
class Change:
    """One write. `shows` is what a reading has once it is done, by the name of the field there."""

    method: str
    path: str
    body: dict[str, JSON]
    shows: Mapping[str, JSON]

    def is_done(self, source: Mapping[str, Any]) -> bool:
        return all(_shown(source, name) == value for name, value in self.shows.items())


def needed(
    action: SetStatus | SetPriority | AssignTo | SetFields, source: Mapping[str, Any] | None, api: ApiClient
) -> list[Change] | None:
    """The writes, in order; None = Intercom cannot do that. `source` is what was read, where it is needed.

    Raises ApiError REFUSED for a team, a state or a field that the connection does not know.
    """
    settings: Settings = api.connection.settings
    is_ticket = action.ticket.id.startswith(TICKET)
    match action:
        case SetStatus() if is_ticket:
            return ticket_status(action, source or {}, api)
        case SetStatus():
            return conversation_state(action, settings)
        case AssignTo():
            return assignments(action.ticket.id, action.assignee, action.team, api)
        case SetFields(fields=fields):
            return attributes(action.ticket.id, named(fields, settings), settings)
        case SetPriority(priority=priority):
            given = priority_attribute(priority, settings)
            return attributes(action.ticket.id, given, settings) if given else None


def conversation_state(action: SetStatus, settings: "Settings") -> list[Change] | None:
    """`remote_status` may be a state of theirs, or the time until which to snooze."""
    label = (action.remote_status or "").strip()
    until = _time(label)
    word = "snoozed" if until else label.casefold() or STATES.get(action.status)
    if word is None:
        return None
    by: dict[str, JSON] = {"admin_id": settings.admin_id}
    bodies: dict[str, dict[str, JSON]] = {
        "open": {"message_type": "open", **by},
        "closed": {"message_type": "close", "type": "admin", **by},
        "snoozed": {"message_type": "snoozed", **by, "snoozed_until": until or _later(settings)},
    }
    if word not in bodies:
        raise ApiError(ApiFailure.REFUSED, f"Intercom: a conversation has no state {label!r}")
    return [Change("POST", f"/conversations/{action.ticket.id}/parts", bodies[word], {"state": word})]


def ticket_status(action: SetStatus, source: Mapping[str, Any], api: ApiClient) -> list[Change] | None:
    """A state of the ticket's own type; `remote_status` is its label or id. Closed and snoozed are no states."""
    settings: Settings = api.connection.settings
    label = (action.remote_status or "").strip()
    until = _time(label)
    reopened: dict[str, JSON] = {"open": True} if source.get("open") is False else {}
    if until or (not label and action.status is Status.ON_HOLD):
        body = {"snoozed_until": until or _later(settings), **reopened}
        return [_update(action.ticket.id, body, {"snoozed": True}, settings)]
    if not label and action.status is Status.CLOSED:
        return [_update(action.ticket.id, {"open": False}, {"open": False}, settings)]
    if not label and action.status not in CATEGORIES:
        return None
    state_id = _state_id(label or CATEGORIES[action.status], source, api)
    shows = {"ticket_state": state_id, **reopened}
    return [_update(action.ticket.id, {"ticket_state_id": state_id, **reopened}, shows, settings)]


def _state_id(word: str, source: Mapping[str, Any], api: ApiClient) -> str:
    kind = str((source.get("ticket_type") or {}).get("id"))
    states = [
        state
        for state in listed(api.get("/ticket_states").body, "data")
        if not state.get("archived")
        and any(str(found.get("id")) == kind for found in listed(state.get("ticket_types"), "data"))
    ]
    for name in ("id", "internal_label", "external_label", "category"):
        for state in states:
            if str(state.get(name)).casefold() == word.casefold():
                return str(state["id"])
    raise ApiError(ApiFailure.REFUSED, f"Intercom: tickets of this type have no state {word!r}")


def assignments(ref_id: str, assignee: str | None, team: str | None, api: ApiClient) -> list[Change]:
    """Team and teammate are two places, and each keeps what the other gets. Nobody named = no teammate; the team
    keeps it. The teammate comes last: a team may give it to somebody of its own."""
    settings: Settings = api.connection.settings
    slots = [("team", team_id(team, settings))] if team else []
    slots += [("admin", admin_id(assignee, api))] if assignee else []
    return [_assignment(ref_id, kind, to, settings) for kind, to in slots or [("admin", NOBODY)]]


def _assignment(ref_id: str, kind: str, to: str, settings: "Settings") -> Change:
    shows = {f"{kind}_assignee_id": None if to == NOBODY else to}
    if ref_id.startswith(TICKET):
        return _update(ref_id, {"assignee_id": to}, shows, settings)
    body: dict[str, JSON] = {
        "message_type": "assignment", "type": kind, "admin_id": settings.admin_id, "assignee_id": to,
    }  # fmt: skip
    return Change("POST", f"/conversations/{ref_id}/parts", body, shows)


def team_id(team: str, settings: "Settings") -> str:
    found = settings.teams.get(team, team)
    if found.isdecimal():
        return found
    raise ApiError(ApiFailure.REFUSED, f"Intercom: team {team!r} is not in the connection's `teams`")


def admin_id(assignee: str, api: ApiClient) -> str:
    """By id; or by e-mail, among the workspace's teammates."""
    if assignee.isdecimal():
        return assignee
    for found in listed(api.get("/admins").body, "admins"):
        if "@" in assignee and str(found.get("email")).casefold() == assignee.casefold():
            return str(found["id"])
    raise ApiError(ApiFailure.REFUSED, f"Intercom: assignee {assignee!r} is no teammate's id or e-mail")


def attributes(ref_id: str, given: Mapping[str, JSON], settings: "Settings") -> list[Change]:
    shows = {f"attribute {name}": value for name, value in given.items()}
    if ref_id.startswith(TICKET):
        return [_update(ref_id, {"ticket_attributes": dict(given)}, shows, settings)]
    return [Change("PUT", f"/conversations/{ref_id}", {"custom_attributes": dict(given)}, shows)]


def named(fields: Mapping[str, JSON], settings: "Settings") -> dict[str, JSON]:
    """By Intercom's names. Raises ApiError REFUSED for a field that is not mapped."""
    unknown = sorted(name for name in fields if name not in settings.custom_fields)
    if unknown:
        what = ", ".join(unknown)
        raise ApiError(ApiFailure.REFUSED, f"Intercom: not in the connection's `custom_fields`: {what}")
    return {settings.custom_fields[name]: value for name, value in fields.items()}


def priority_attribute(priority: Priority | None, settings: "Settings") -> dict[str, JSON]:
    """Empty where no attribute stands for the priority: the API cannot set a conversation's own."""
    if priority is None or settings.priority_attribute is None or priority not in settings.priorities:
        return {}
    return {settings.priority_attribute: settings.priorities[priority]}


def _update(ref_id: str, body: Mapping[str, JSON], shows: Mapping[str, JSON], settings: "Settings") -> Change:
    """A change of a ticket; there `admin_id` is a number."""
    ticket_id = ref_id.removeprefix(TICKET)
    return Change("PUT", f"/tickets/{ticket_id}", {**body, "admin_id": int(settings.admin_id)}, shows)


def _shown(source: Mapping[str, Any], name: str) -> Any:
    """A field of a reading, in the form that `shows` has it."""
    if name.startswith("attribute "):
        for holder in ("custom_attributes", "ticket_attributes"):
            if isinstance(source.get(holder), dict):
                return source[holder].get(name.removeprefix("attribute "))
        return None
    if name.endswith("_assignee_id"):
        return ident(source.get(name))
    if name == "ticket_state":
        state = source.get(name)
        return str(state.get("id")) if isinstance(state, dict) else None
    if name == "snoozed":
        until, changed = moment(source.get("snoozed_until")), moment(source.get("updated_at"))
        return bool(until and changed and until > changed)
    return source.get(name)


def outstanding(found: Iterable[Change], source: Mapping[str, Any]) -> list[Change]:
    return [change for change in found if not change.is_done(source)]


def _time(label: str) -> int | None:
    try:
        moment_told = datetime.fromisoformat(label)
    except ValueError:
        return None
    return int(moment_told.timestamp())


def _later(settings: "Settings") -> int:
    return int(time.time() + settings.snooze_hours * 3600)
