"""What is one part of a conversation's or ticket's history: words, a new assignee, another state?

Replies that assign come as assignments, notes that close as closings: so the words decide whether it is a comment,
not the part's type.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from gateway.api import Attachment, Comment, Person, Status

from .envelope import ident, moment
from .wording import html, name, text

CUSTOMERS = frozenset({"user", "lead", "contact", "visitor"})
AGENTS = frozenset({"admin"})

# Parts that tell of the system, also where they have words (channel_and_reply_time_expectation has).
SYSTEM = frozenset({
    "attribute_collected", "channel_and_reply_time_expectation", "company_updated",
    "conversation_attribute_updated_by_admin", "conversation_attribute_updated_by_user",
    "conversation_attribute_updated_by_workflow", "conversation_tags_updated", "language_detection_details",
    "operator_workflow_event", "priority_changed", "ticket_attribute_updated_by_admin",
    "ticket_state_updated_by_admin", "title_changed",
})  # fmt: skip
SYSTEM_PREFIXES = ("custom_action_", "participant_")

# What a part of this type did to the conversation's state.
STATES = {
    "assign_and_reopen": "open",
    "assign_and_unsnooze": "open",
    "away_mode_assignment_and_reopen": "open",
    "close": "closed",
    "closed": "closed",
    "note_and_close": "closed",
    "note_and_reopen": "open",
    "note_and_unsnooze": "open",
    "open": "open",
    "opened": "open",
    "snooze": "snoozed",
    "snoozed": "snoozed",
    "timer_unsnooze": "open",
    "unsnoozed": "open",
}
STATUSES = {"open": Status.OPEN, "snoozed": Status.ON_HOLD, "closed": Status.CLOSED}


def listed(holder: object, name: str) -> list[dict[str, Any]]:
    """The objects of a list that Intercom wraps as `{"type": "x.list", "<name>": [...]}`, or leaves bare."""
    rows = holder.get(name) if isinstance(holder, dict) else holder
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def person(author: object) -> Person | None:
    """Whoever wrote it. Fin and other automatons (`bot`, `team`) are neither agents nor customers."""
    if not isinstance(author, dict):
        return None
    author_id = ident(author.get("id"))
    if author_id is None:
        return None
    kind = author.get("type")
    known: dict[str, Any] = {"id": author_id, "name": name(author.get("name"))}
    if isinstance(author.get("email"), str) and author["email"]:
        known["email"] = author["email"]
    return Person(**known, is_agent=True if kind in AGENTS else False if kind in CUSTOMERS else None)


def kind_of(part: Mapping[str, Any]) -> str:
    return str(part.get("part_type") or "")


def is_system(part: Mapping[str, Any]) -> bool:
    return kind_of(part) in SYSTEM or kind_of(part).startswith(SYSTEM_PREFIXES)


def is_assignment(part: Mapping[str, Any]) -> bool:
    return "assign" in kind_of(part)


def is_state_change(part: Mapping[str, Any]) -> bool:
    """Of a conversation, or a ticket's: at a ticket's creation one comes whose states are the same."""
    return kind_of(part) in STATES or is_ticket_state_change(part)


def is_ticket_state_change(part: Mapping[str, Any]) -> bool:
    before, after = part.get("previous_ticket_state"), part.get("ticket_state")
    if before is not None and after is not None:
        return bool(before != after)
    return kind_of(part).startswith("ticket_state_updated")


def is_initial_state(part: Mapping[str, Any]) -> bool:
    before, after = part.get("previous_ticket_state"), part.get("ticket_state")
    return before is not None and before == after


def comment(part: Mapping[str, Any]) -> Comment | None:
    """The words in it; None where a person would see none. Raises ValueError or TypeError for no shape of theirs."""
    part_id = ident(part.get("id"))
    words, files = text(part.get("body")), attachments(part.get("attachments"))
    if part_id is None or is_system(part) or not (words or files or part.get("redacted")):
        return None
    return Comment(
        id=part_id,
        body=words,
        html=html(part.get("body")),
        author=person(part.get("author")),
        is_private=kind_of(part).startswith("note"),
        created_at=created_at(part),
        attachments=files,
    )


def comments(rows: Iterable[Mapping[str, Any]]) -> tuple[Comment, ...]:
    return tuple(found for row in rows if (found := comment(row)) is not None)


def created_at(part: Mapping[str, Any]) -> datetime | None:
    return moment(part.get("created_at"))


def attachments(rows: object) -> tuple[Attachment, ...]:
    return tuple(
        Attachment(
            name=name(row.get("name")) or "attachment",
            url=row["url"] if isinstance(row.get("url"), str) else None,
            content_type=row["content_type"] if isinstance(row.get("content_type"), str) else None,
        )
        for row in listed(rows, "attachments")
    )


def heard(said_so: Iterable[Comment], own_ids: frozenset[str]) -> dict[str, Any]:
    """Who was heard when, by all the comments there are. What we wrote ourselves is no agent's answer."""
    public = [c for c in said_so if not c.is_private and c.author and c.author.id not in own_ids]
    by_agents = [c.created_at for c in public if c.author and c.author.is_agent]
    by_customers = [c.created_at for c in public if c.author and c.author.is_agent is False]
    return {
        "first_agent_comment_at": min(filter(None, by_agents), default=None),
        "last_agent_comment_at": max(filter(None, by_agents), default=None),
        "last_customer_comment_at": max(filter(None, by_customers), default=None),
    }
