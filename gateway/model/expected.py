"""How will the ticket look once everything that we decided has been carried out?"""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from .action import Action, AddTags, AssignTo, CreateTicket, RemoveTags, SetFields, SetPriority, SetStatus
from .facts import Past
from .person import Person
from .ticket import Status, Ticket

UNDERWAY = frozenset({"pending", "executing"})

SKEW = timedelta(seconds=5)
"""A vendor's clock may be this far from ours."""


def expected(ticket: Ticket, past: Iterable[Past]) -> Ticket:
    """`ticket` with our own actions laid over it: those underway, and those done after it was last seen."""
    changes: dict[str, Any] = {}
    for entry in past:
        if entry.state in UNDERWAY or (entry.state == "done" and _unseen(ticket, entry)):
            _lay(changes, ticket, entry.action)
    return ticket.model_copy(update=changes) if changes else ticket


def _unseen(ticket: Ticket, entry: Past) -> bool:
    seen = ticket.remote_updated_at
    return seen is None or (entry.finished_at or entry.decided_at) > seen - SKEW


def _lay(changes: dict[str, Any], ticket: Ticket, action: Action) -> None:
    def now(field: str) -> Any:
        return changes.get(field, getattr(ticket, field))

    match action:
        case AddTags(tags=tags):
            changes["tags"] = now("tags") | frozenset(tags)
        case RemoveTags(tags=tags):
            changes["tags"] = now("tags") - frozenset(tags)
        case SetStatus(status=status, remote_status=label):
            changes["status"] = status
            if label is not None:
                changes["remote_status"] = label
        case SetPriority(priority=priority):
            changes["priority"] = priority
        case AssignTo(assignee=assignee, team=team):
            changes["assignee"] = Person(id=assignee) if assignee else None
            if team is not None:
                changes["team"] = team
        case SetFields(fields=fields):
            changes["custom_fields"] = {**now("custom_fields"), **fields}


def planned(action: CreateTicket) -> Ticket:
    """The ticket that this action will create; what its desk will choose is unknown."""
    chosen: dict[str, Any] = {}
    if action.priority is not None:
        chosen["priority"] = action.priority
    if action.type is not None:
        chosen["type"] = action.type
    if action.assignee is not None:
        chosen["assignee"] = Person(id=action.assignee)
    return Ticket(
        ref=action.ticket,
        kind=action.ticket_kind,
        subject=action.subject,
        description=action.description,
        status=Status.NEW,
        contact=action.contact,
        team=action.team,
        tags=frozenset(action.tags),
        custom_fields=action.custom_fields,
        **chosen,
    )
