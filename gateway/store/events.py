"""What happened, and what every rule answered to it."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, select

from .rows import one_of, packed, put
from .tables import events


def known(db: Connection, ids: Iterable[UUID]) -> dict[UUID, int]:
    """Facts that were decided before, and by which delivery."""
    wanted = list(ids)
    if not wanted:
        return {}
    return {row.id: row.delivery_id for row in db.execute(_KNOWN, {"ids": wanted})}


_KNOWN = select(events.c.id, events.c.delivery_id).where(one_of(events.c.id))


def add(db: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """A fact that is there already keeps its first telling; a replay only brings the newer answers."""
    newest = {row["id"]: row for row in rows}
    if newest:
        db.execute(_ADD, packed(newest.values()))


_new = put(
    events, "id", "tenant", "connection", "delivery_id", "ticket_id", "kind", "fact", "occurred_at", "recorded_at",
    "ours", "body", "decisions",
)  # fmt: skip
_ADD = _new.on_conflict_do_update(index_elements=["id"], set_={"decisions": _new.excluded.decisions})
