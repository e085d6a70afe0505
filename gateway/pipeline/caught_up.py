"""Was this webhook told already, by the reading that stood in for it while it did not come?

A reading tells by what it changed: comments and the creation as the same facts as a webhook does, but a change of the
status, say, under a name of its own. So up to the vendor's time of such a reading, everything else is told.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection as Database
from sqlalchemy import Row

from gateway.model.event import CommentCreated, Event, TicketCreated, TicketEvent
from gateway.store import reconciliations
from gateway.store.reconciliations import ORIGIN, Name
from gateway.store.tickets import Key

from .world import Told

SAME_FACT = (TicketCreated, CommentCreated)
"""Told under the same name by whoever tells it."""


@dataclass(slots=True)
class CaughtUp:
    """What one batch learns by reconciliation, and what of its webhooks was so learned before."""

    _readings: dict[Key, tuple[datetime, int]] = field(default_factory=dict)
    _missed: Counter[Name] = field(default_factory=Counter)

    def note(self, row: Row[Any], items: Sequence[Told]) -> None:
        """A reading of ours tells these."""
        if row.origin != ORIGIN:
            return
        for item in items:
            if isinstance(item.event, TicketEvent) and item.after and item.after.updated_at:
                self._readings[item.event.tenant, item.event.ticket.ref] = (item.after.updated_at, row.id)

    def told(
        self, db: Database, told: Mapping[int, Sequence[Told]], id_of: Callable[[Event], UUID]
    ) -> dict[UUID, int]:
        """Of these events, by delivery, those that a reading told; and which one."""
        late = [
            (delivery, item, item.event)
            for delivery, items in told.items()
            for item in items
            if isinstance(item.event, TicketEvent) and _is_late(item, item.event)
        ]
        if not late:
            return {}
        keys = {(event.tenant, event.ticket.ref) for _, _, event in late}
        stored = reconciliations.caught(db, keys)
        readings = {key: (row.up_to, row.delivery_id) for key, row in stored.items()} | self._readings
        found = {}
        for delivery, item, event in late:
            up_to, by = readings.get((event.tenant, event.ticket.ref), (None, None))
            if up_to is not None and by is not None and by != delivery and _within(item, event, up_to):
                found[id_of(event)] = by
        return found

    def count(self, row: Row[Any], decided: Iterable[Told]) -> None:
        """What a reading of ours tells that nobody had told, and that we did not do ourselves, is a lost webhook."""
        if row.origin == ORIGIN and any(not item.event.ours for item in decided):
            self._missed[row.tenant, row.connection] += 1

    def flush(self, db: Database, now: datetime) -> None:
        reconciliations.missed(db, self._missed, now)
        reconciliations.catch_up(
            db,
            [
                {
                    "tenant": tenant, "connection": ref.connection, "ticket_id": ref.id, "up_to": up_to,
                    "delivery_id": delivery, "made_at": now,
                }
                for (tenant, ref), (up_to, delivery) in self._readings.items()
            ],
        )  # fmt: skip


def with_overtaken(news: Sequence[Event], whole: Sequence[Event]) -> list[Event]:
    """`news`, what changed since the ticket was last known; and of `whole`, what the reading tells to one who never
    heard of the ticket, the creation and the comments: later webhooks may have overtaken one that never came.

    Those that were told before are known by their names.
    """
    named = {event.id for event in news}
    return [*(e for e in whole if isinstance(e, SAME_FACT) and e.id not in named), *news]


def _is_late(item: Told, event: TicketEvent) -> bool:
    """Nothing that is newer than all we know can have been read before."""
    newest = item.before.updated_at if item.before else None
    return newest is not None and _told_at(event) <= newest and not isinstance(event, SAME_FACT)


def _within(item: Told, event: TicketEvent, up_to: datetime) -> bool:
    """In the very second of the reading it depends on whether it contradicts what was read."""
    at = _told_at(event)
    if at != up_to or item.before is None or item.after is None:
        return at < up_to
    after = item.after.ticket
    return all(getattr(after, field) == value for field, value in item.before.ticket.known().items())


def _told_at(event: TicketEvent) -> datetime:
    return event.ticket.remote_updated_at or event.occurred_at
