"""Did we do this ourselves? So that what we wrote does not come back as news."""

from collections.abc import Iterable
from datetime import timedelta

from .action import (
    AddComment,
    AddTags,
    AssignTo,
    CreateTicket,
    RemoveTags,
    SetFields,
    SetPriority,
    SetStatus,
)
from .event import CommentCreated, Event, TicketAssigned, TicketStatusChanged, TicketTagged, TicketUpdated
from .facts import Past
from .scope import folded
from .text import html_to_text
from .ticket import Status

SENT = frozenset({"executing", "done"})
FIELDS = frozenset({"custom_fields", "priority", "remote_priority"})
UNTOUCHED = timedelta(seconds=2)
"""A ticket last changed so soon after it was opened is still as it was opened."""


def is_ours(event: Event, own_ids: frozenset[str], past: Iterable[Past]) -> bool:
    """True when our own user did it, or when it is exactly what one of our actions on this ticket wrote."""
    author = event.comment.author if isinstance(event, CommentCreated) else event.actor
    if author is not None and author.id in own_ids:
        return True
    return any(_wrote(entry, event) for entry in past if entry.state in SENT or entry.uncertain)


def _wrote(entry: Past, event: Event) -> bool:
    match event, entry.action:
        case CommentCreated(comment=comment), AddComment() as ours:
            if entry.remote_id is not None and entry.remote_id == comment.id:
                return True
            written = _body(ours)
            return written != "" and comment.is_private == ours.is_private and _words(comment.body) == written
        case TicketStatusChanged(new=new), SetStatus(status=status):
            return new == status and _recent(entry, event)
        case TicketStatusChanged(old=Status.NEW, old_remote=None, new=new), CreateTicket():
            return new is Status.OPEN  # so its desk opened it, and nobody saw it as anything else
        case TicketTagged(added=added, removed=removed), AddTags(tags=tags) | CreateTicket(tags=tags):
            return not removed and bool(added) and _plain(added) <= _plain(tags)
        case TicketTagged(added=added, removed=removed), RemoveTags(tags=tags):
            return not added and bool(removed) and _plain(removed) <= _plain(tags)
        case TicketAssigned(team=team), AssignTo(team=ours, assignee=assignee):
            person = event.assignee.id if event.assignee else None
            as_asked = team == ours if assignee is None and ours is not None else person == assignee
            return as_asked and _recent(entry, event)
        case TicketUpdated(changed=changed), SetFields() | SetPriority():
            return bool(changed) and FIELDS.issuperset(changed) and _recent(entry, event)
        case TicketUpdated(ticket=ticket), CreateTicket():  # first read after our creation was recorded
            opened, touched = ticket.remote_created_at, ticket.remote_updated_at
            return opened is not None and touched is not None and touched - opened < UNTOUCHED
    return False


def _recent(entry: Past, event: Event) -> bool:
    """A value may be set again by a person later on; only what happened right around our write is an echo."""
    written = entry.finished_at or entry.decided_at
    return abs((event.occurred_at - written).total_seconds()) < 120


def _plain(tags: Iterable[str]) -> set[str]:
    """Vendors allow different characters in tags: `Novo Cliente` may come back as `novo_cliente`."""
    return {"".join(filter(str.isalnum, folded(tag))) for tag in tags}


def _body(action: AddComment) -> str:
    return _words(html_to_text(action.body) if action.is_html else action.body)


def _words(text: str) -> str:
    return " ".join(text.split())
