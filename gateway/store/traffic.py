"""How many webhooks came from which connection in which hour?

Counted after the fact, by the ids of the inbox: whoever accepts a webhook has no time for it.
"""

from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from .reconciliations import Name
from .tables import bookmarks, deliveries, traffic

KEPT = timedelta(weeks=5)

COUNTED, JUDGED = "traffic", "habits"
"""Bookmarks: up to which delivery was counted, and up to which hour (since 1970) sources were judged."""

_COUNT = text("""
    INSERT INTO traffic (hour, tenant, connection, number)
    SELECT date_trunc('hour', received_at, 'UTC'), tenant, connection, count(*) FROM deliveries
    WHERE id > :counted AND id <= :seen AND origin = 'webhook' AND received_at > :since
    GROUP BY 1, 2, 3
    ON CONFLICT (hour, tenant, connection) DO UPDATE SET number = traffic.number + excluded.number
    RETURNING tenant, connection
""")


def count(db: Connection, now: datetime) -> set[Name]:
    """Add what was stored up to the look before: those transactions are over, whatever order their ids have.

    Returns the connections from which something came.
    """
    b = bookmarks.c
    newest = select(func.coalesce(func.max(deliveries.c.id), 0)).scalar_subquery()
    db.execute(insert(bookmarks).values(name=COUNTED, counted=0, seen=newest).on_conflict_do_nothing())
    row = db.execute(select(b.counted, b.seen).where(b.name == COUNTED).with_for_update()).one()
    came = {
        (told.tenant, told.connection)
        for told in db.execute(_COUNT, {"counted": row.counted, "seen": row.seen, "since": now - KEPT})
    }
    db.execute(update(bookmarks).where(b.name == COUNTED).values(counted=row.seen, seen=newest))
    return came


def is_new_hour(db: Connection, now: datetime) -> bool:
    """Whether this hour's judgement is still to be made; then it is this caller's."""
    hour = int(now.timestamp()) // 3600
    statement = insert(bookmarks).values(name=JUDGED, counted=hour, seen=hour)
    made = db.execute(
        statement.on_conflict_do_update(
            index_elements=["name"],
            set_={"counted": statement.excluded.counted, "seen": statement.excluded.seen},
            where=bookmarks.c.counted < hour,
        ).returning(bookmarks.c.counted)
    )
    return made.one_or_none() is not None


def forget(db: Connection, now: datetime) -> None:
    db.execute(delete(traffic).where(traffic.c.hour < now - KEPT))


def by_hour(db: Connection, since: datetime) -> dict[Name, dict[datetime, int]]:
    """By connection, what came in which hour."""
    t = traffic.c
    found: dict[Name, dict[datetime, int]] = {}
    for row in db.execute(select(traffic).where(t.hour >= since)):
        found.setdefault((row.tenant, row.connection), {})[row.hour] = row.number
    return found


def between(db: Connection, name: Name, start: datetime, end: datetime) -> int:
    """How many came from this connection in the hours that began then."""
    t = traffic.c
    found = select(func.coalesce(func.sum(t.number), 0)).where(
        t.hour >= start, t.hour < end, t.tenant == name[0], t.connection == name[1]
    )
    return int(db.execute(found).scalar_one())


def newest(db: Connection, name: Name) -> datetime | None:
    """The last hour in which something came from this connection."""
    t = traffic.c
    found = select(func.max(t.hour)).where(t.tenant == name[0], t.connection == name[1])
    moment: datetime | None = db.execute(found).scalar()
    return moment
