"""What happened between two looks at the same ticket?"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from .event import (
    CommentCreated,
    TicketAssigned,
    TicketCreated,
    TicketDeleted,
    TicketEvent,
    TicketMerged,
    TicketStatusChanged,
    TicketTagged,
    TicketUpdated,
)
from .person import Person
from .ticket import Snapshot, Ticket, TicketRef

FRESH = timedelta(days=1)
"""A ticket first seen later than this after its creation is not announced as new."""

PLAIN_FIELDS = (
    "subject", "description", "priority", "remote_priority", "type", "contact", "custom_fields", "channel",
    "due_at", "snoozed_until",
)  # fmt: skip


def changes(
    before: Snapshot | None, after: Snapshot, *, seen_at: datetime, actor: Person | None = None
) -> list[TicketEvent]:
    """The events that lead from `before` to `after`, oldest first; every event's id names the fact.

    `seen_at` is when the notice came (it decides only whether a ticket never seen before is new). `actor` is who
    made the last change, where the vendor says; a comment's own author always wins for the comment.
    """
    return list(_changes(before, after, seen_at, actor))


def _changes(
    before: Snapshot | None, after: Snapshot, seen_at: datetime, actor: Person | None
) -> Iterator[TicketEvent]:
    new = after.ticket
    at = new.remote_updated_at or seen_at
    stamp = at.isoformat()

    def common(name: str) -> dict[str, object]:
        return {
            "id": f"{name}:{new.ref.id}", "occurred_at": at, "actor": actor,
            "ticket": new, "comments": after.comments, "complete": True,
        }  # fmt: skip

    old = before.ticket if before else None
    if old is None:
        created = new.remote_created_at or at
        if seen_at - created <= FRESH:
            yield TicketCreated(**{**common("created"), "occurred_at": created})  # type: ignore[arg-type]
        else:
            yield TicketUpdated(**common(f"updated@{stamp}"))  # type: ignore[arg-type]

    known = {comment.id for comment in before.comments} if before else set()
    for comment in after.comments:
        written = comment.created_at or at
        if comment.id in known or (old is None and seen_at - written > FRESH):
            continue
        known.add(comment.id)
        author = comment.author or actor
        yield CommentCreated(
            **{**common(f"comment@{comment.id}"), "occurred_at": written, "actor": author},  # type: ignore[arg-type]
            comment=comment,
        )

    if old is None:
        return
    yield from _field_changes(old, new, common, stamp)


def _field_changes(old: Ticket, new: Ticket, common, stamp: str) -> Iterator[TicketEvent]:  # type: ignore[no-untyped-def]  # noqa: ANN001
    def differs(field: str) -> bool:
        both = old.model_fields_set & new.model_fields_set
        return field in both and getattr(old, field) != getattr(new, field)

    if differs("status") or differs("remote_status"):
        yield TicketStatusChanged(
            **common(f"status@{stamp}@{new.remote_status or new.status}"),
            old=old.status, new=new.status, old_remote=old.remote_status, new_remote=new.remote_status,
        )  # fmt: skip
    if (differs("assignee") and _id(old.assignee) != _id(new.assignee)) or differs("team"):
        yield TicketAssigned(
            **common(f"assigned@{stamp}@{_id(new.assignee)}@{new.team}"), assignee=new.assignee, team=new.team
        )
    if differs("tags"):
        yield TicketTagged(
            **common(f"tagged@{stamp}@{','.join(sorted(new.tags))}"),
            added=new.tags - old.tags, removed=old.tags - new.tags,
        )  # fmt: skip
    if new.merged_into and new.merged_into != old.merged_into:
        into = TicketRef(new.ref.connection, new.merged_into)
        yield TicketMerged(**common(f"merged@{new.merged_into}"), into=into)
    if new.deleted and not old.deleted:
        yield TicketDeleted(**common("deleted"))
    changed = tuple(field for field in PLAIN_FIELDS if differs(field))
    first_reading = bool(new.model_fields_set - old.model_fields_set)
    if changed or first_reading:
        yield TicketUpdated(**common(f"updated@{stamp}@{','.join(changed)}"), changed=changed)


def _id(person: Person | None) -> str | None:
    return person.id if person else None
