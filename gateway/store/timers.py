"""What shall come back later, and when? Rows, not sleeping processes: exact after any downtime."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert

from .tables import timers


def start(db: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Rows of tenant, key, rule, at, connection, ticket_id, payload, changed_at. A known key is moved."""
    if rows:
        statement = insert(timers)
        new = statement.excluded
        moved = {
            name: new[name] for name in ("rule", "at", "connection", "ticket_id", "payload", "changed_at")
        }
        db.execute(
            statement.on_conflict_do_update(
                index_elements=["tenant", "key"], set_={**moved, "state": "waiting"}
            ),
            [{**row, "state": "waiting"} for row in rows],
        )


def cancel(db: Connection, names: Sequence[tuple[str, str]], now: datetime) -> None:
    """By (tenant, key)."""
    if names:
        db.execute(
            update(timers)
            .where(tuple_(timers.c.tenant, timers.c.key).in_(list(names)), timers.c.state == "waiting")
            .values(state="canceled", changed_at=now)
        )


def take_due(db: Connection, now: datetime, limit: int) -> list[Row[Any]]:
    """Timers whose time has come, marked as fired; the caller raises their events in the same transaction."""
    due = (
        select(timers.c.tenant, timers.c.key)
        .where(timers.c.state == "waiting", timers.c.at <= now)
        .order_by(timers.c.at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    fired = (
        update(timers)
        .where(tuple_(timers.c.tenant, timers.c.key).in_(due))
        .values(state="fired", changed_at=now)
        .returning(timers)
    )
    return sorted(db.execute(fired).all(), key=lambda row: row.at)
