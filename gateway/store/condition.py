"""Is anything stuck, late or unreadable in the store? What a doctor asks, and counts."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Text, and_, func, literal, or_, select, text

from .actions import STOPPED
from .tables import actions, channels, connections, deliveries, incidents, timers

WORKING = 7_274
"""Class of the advisory locks that worker processes hold for as long as they live."""

_LIVING = text("""
    SELECT count(DISTINCT objid) FROM pg_locks
    WHERE locktype = 'advisory' AND classid = :living AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
""")


def sealed(db: Connection) -> list[tuple[str, bytes]]:
    """Every sealed secret of the configuration, by what it belongs to."""
    rows: list[tuple[str, bytes]] = []
    for kind, table in (("connection", connections), ("channel", channels)):
        found = select(table.c.tenant, table.c.name, table.c.secrets).order_by(table.c.tenant, table.c.name)
        rows += [(f"{kind} {row.tenant}/{row.name}", row.secrets) for row in db.execute(found)]
    return rows


def stopped_counts(db: Connection) -> list[Row[Any]]:
    """(tenant, what, state, number) of everything that somebody must look at."""
    d, a = deliveries.c, actions.c
    parked = (
        select(d.tenant, literal("deliveries", Text).label("what"), d.state, func.count().label("number"))
        .where(d.state == "parked")
        .group_by(d.tenant, d.state)
    )
    stopped = (
        select(a.tenant, literal("actions", Text).label("what"), a.state, func.count().label("number"))
        .where(a.state.in_(STOPPED))
        .group_by(a.tenant, a.state)
    )
    return [*db.execute(parked), *db.execute(stopped)]


def oldest_due(db: Connection) -> dict[str, datetime | None]:
    """Since when the oldest row that could be worked on waits, by `deliveries`, `actions`, `timers`."""
    d, a, t = deliveries.c, actions.c, timers.c
    sendable = or_(a.kind == "create_ticket", a.ticket_id.is_(None), ~a.ticket_id.startswith("+"))
    oldest = {
        "deliveries": select(func.min(d.not_before)).where(d.state == "received"),
        "actions": select(func.min(a.not_before)).where(a.state == "pending", sendable),
        "timers": select(func.min(t.at)).where(t.state == "waiting"),
    }
    return {what: db.execute(query).scalar() for what, query in oldest.items()}


def open_incidents(db: Connection) -> int:
    found = select(func.count()).select_from(incidents).where(incidents.c.closed_at.is_(None))
    return db.execute(found).scalar_one()


def clock(db: Connection) -> datetime:
    """What time PostgreSQL has."""
    now: datetime = db.execute(select(func.clock_timestamp())).scalar_one()
    return now


def server_version(db: Connection) -> str:
    return str(db.execute(select(func.current_setting("server_version"))).scalar_one())


def living_workers(db: Connection) -> int:
    """Workers that are alive: each holds a lock for as long as it can reach this database."""
    found: int = db.execute(_LIVING, {"living": WORKING}).scalar_one()
    return found


def stranded(db: Connection, limit: int = 20) -> list[Row[Any]]:
    """(tenant, creation, waiting) of tickets that will not be created, but are waited for."""
    a, creation = actions.c, actions.alias()
    c = creation.c
    same = and_(c.tenant == a.tenant, c.connection == a.connection, c.key == func.substr(a.ticket_id, 2))
    found = (
        select(a.tenant, c.id.label("creation"), func.count().label("waiting"))
        .join(creation, same)
        .where(a.state == "pending", a.ticket_id.startswith("+"), a.kind != "create_ticket")
        .where(c.state.in_(STOPPED))
        .group_by(a.tenant, c.id)
        .limit(limit)
    )
    return list(db.execute(found))
