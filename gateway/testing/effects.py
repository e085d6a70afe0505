"""Does a reading of a ticket show what an action was to do, once, and nothing undone beside it?"""

from collections.abc import Iterable, Mapping
from typing import Any

from gateway.model.action import (
    Action,
    AddComment,
    AddTags,
    AssignTo,
    CreateTicket,
    RemoveTags,
    SetFields,
    SetPriority,
    SetStatus,
)
from gateway.model.scope import folded
from gateway.model.text import html_to_text
from gateway.pipeline.world import Known


def assert_effect(action: Action, before: Known | None, after: Known, becomes: Mapping[Any, Any]) -> None:
    """`before` is what a reading showed before the action, if the ticket was there; `becomes` is the vendor's."""
    ticket = after.ticket
    match action:
        case CreateTicket():
            assert ticket.subject == action.subject
            assert plain(action.tags) <= plain(ticket.tags)
            assert ticket.contact is not None or action.contact is None, "the contact is lost"
        case AddComment():
            same = [comment for comment in after.comments if _words(comment.body) == _text(action)]
            assert len(same) == 1, f"{len(same)} comments say it"
            assert same[0].is_private == action.is_private
        case SetStatus(status=status):
            assert ticket.status == becomes.get(status, status)
        case SetPriority(priority=priority):
            assert ticket.priority == becomes.get(priority, priority)
        case AssignTo(assignee=assignee, team=team):
            assert assignee is None or (ticket.assignee is not None and ticket.assignee.id == assignee)
            assert team is None or ticket.team == team
        case AddTags(tags=tags):
            assert plain(tags) <= plain(ticket.tags)
        case RemoveTags(tags=tags):
            assert plain(tags).isdisjoint(plain(ticket.tags))
        case SetFields(fields=fields):
            assert fields.items() <= ticket.custom_fields.items()
    if before is not None:
        _assert_nothing_else_lost(action, before, after)


def _assert_nothing_else_lost(action: Action, before: Known, after: Known) -> None:
    """What a vendor's write replaces as a whole, such as its list of tags, must have been read and merged first."""
    removed = plain(action.tags) if isinstance(action, RemoveTags) else set()
    assert plain(before.ticket.tags) - removed <= plain(after.ticket.tags), "other tags are lost"
    assert {comment.id for comment in before.comments} <= {comment.id for comment in after.comments}
    written = action.fields if isinstance(action, SetFields) else {}
    for name, value in before.ticket.custom_fields.items():
        assert name in written or after.ticket.custom_fields.get(name) == value, f"the field {name} is lost"


def plain(tags: Iterable[str]) -> set[str]:
    """Vendors allow different characters in tags; see `gateway.model.echo`."""
    return {"".join(filter(str.isalnum, folded(tag))) for tag in tags}


def _text(action: AddComment) -> str:
    return _words(html_to_text(action.body) if action.is_html else action.body)


def _words(text: str) -> str:
    return " ".join(text.split())
