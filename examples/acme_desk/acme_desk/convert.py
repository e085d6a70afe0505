"""Acme Desk's words for things, and ours; which events does a case that was read back stand for?

https://acme-desk.example/developers/cases
"""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gateway.api import (
    JSON,
    Comment,
    Connection,
    Contact,
    Event,
    Person,
    Priority,
    Snapshot,
    Status,
    Ticket,
    TicketCreated,
    TicketRef,
    UnreadableWebhook,
    Webhook,
    changes,
)

from . import marker

if TYPE_CHECKING:
    from . import Settings

STATES = {"open": Status.OPEN, "waiting": Status.PENDING, "done": Status.RESOLVED}
PRIORITIES = {1: Priority.LOW, 2: Priority.NORMAL, 3: Priority.HIGH}


def events(
    webhook: Webhook, collected: JSON, before: Snapshot | None, connection: "Connection[Settings]"
) -> list[Event]:
    if collected is None:
        raise UnreadableWebhook("Acme Desk: the hint names no case, so nothing could be read back")
    try:
        after = snapshot(collected, connection)
        opener = Person(id=collected["opened_by"])
        found = changes(before, after, seen_at=webhook.received_at)
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise UnreadableWebhook(f"Acme Desk: the case has another shape: {error!r}") from error
    # Who changed a state or a label is not told; who opened the case and who wrote a note is.
    return [
        event.model_copy(update={"actor": opener}) if isinstance(event, TicketCreated) else event
        for event in found
    ]


def snapshot(case: JSON, connection: "Connection[Settings]") -> Snapshot:
    """Another shape raises KeyError, TypeError or ValueError."""
    number, customer = int(case["number"]), case["customer"]
    ticket = Ticket(
        ref=TicketRef(connection.name, str(number)),
        subject=case["title"],
        description=marker.without(case["text"]),
        status=STATES.get(case["state"]),
        remote_status=case["state"],
        priority=PRIORITIES.get(case["prio"]),
        remote_priority=str(case["prio"]),
        contact=Contact(
            id=customer["mail"],
            name=customer["name"],
            email=customer["mail"],
            phones=(customer["phone"],) if customer["phone"] else (),
        ),
        assignee=Person(id=case["agent"], is_agent=True) if case["agent"] else None,
        team=case["queue"],
        tags=frozenset(case["labels"]),
        url=f"https://{connection.settings.company}.acme-desk.example/cases/{number}",
        remote_created_at=_moment(case["opened"]),
        remote_updated_at=_moment(case["touched"]),
    )
    return Snapshot(ticket=ticket, comments=tuple(_comment(note, number) for note in case["notes"]))


def _comment(note: JSON, number: int) -> Comment:
    return Comment(
        id=f"{number}:{int(note['no'])}",  # notes count from 1 in every case
        body=marker.without(note["text"]),
        author=Person(id=note["by"], is_agent=note["staff"]),
        is_private=note["internal"],
        created_at=_moment(note["at"]),
    )


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
