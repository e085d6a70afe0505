"""How far has each connection been compared with its vendor, and what had never been told?"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, cast, delete, func, or_, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert

from gateway.model.ticket import TicketRef

from .database import storable
from .rows import packed
from .tables import Moment, caught_up, deliveries, reconciliations, tickets
from .tickets import Key

Name = tuple[str, str]
"""Tenant and connection."""

ORIGIN = "reconcile"
"""Of the deliveries that stand for a webhook which never came."""

LONGEST_RUN = timedelta(minutes=30)
"""A look that began before that has died with its worker."""

KEPT = timedelta(days=30)
"""For so long a late webhook is recognised as told already."""


def meet(db: Connection, names: Iterable[Name], now: datetime) -> None:
    """From now on these connections are looked at."""
    rows = [
        {"tenant": tenant, "connection": connection, "began_at": now, "looked_until": now, "next_at": now}
        for tenant, connection in sorted(names)
    ]
    if rows:
        db.execute(insert(reconciliations).on_conflict_do_nothing(), rows)


def due(db: Connection, every: Mapping[Name, timedelta], now: datetime) -> list[Name]:
    """Of these connections, each looked at `every` so long, those whose turn it is; their next turn is then set.

    A connection that is new here has its first turn at once; what happened before is not looked for.
    """
    r = reconciliations.c
    if not every:
        return []
    known = {(row.tenant, row.connection) for row in db.execute(select(r.tenant, r.connection))}
    meet(db, every.keys() - known, now)
    rows = db.execute(
        select(r.tenant, r.connection)
        .where(tuple_(r.tenant, r.connection).in_(list(every)), r.next_at <= now)
        .order_by(r.next_at)
        .with_for_update(skip_locked=True)
    ).all()
    found = [(row.tenant, row.connection) for row in rows]
    for name in found:
        db.execute(_one(name).values(next_at=now + every[name]))
    return found


def begin(db: Connection, name: Name, lookback: timedelta, now: datetime) -> datetime | None:
    """From when on the connection is to be looked at: `lookback` before where the last look ended, but not before the
    first; None while somebody else looks at it."""
    r = reconciliations.c
    free = or_(r.started_at.is_(None), r.started_at < now - LONGEST_RUN)
    begun = _one(name).where(free).values(started_at=now).returning(r.began_at, r.looked_until)
    row = db.execute(begun).one_or_none()
    return max(row.began_at, row.looked_until - lookback) if row is not None else None


def finish(
    db: Connection, name: Name, *, now: datetime, listed: int, queued: int, looked_until: datetime | None,
    next_at: datetime | None, error: str | None,
) -> None:  # fmt: skip
    """`looked_until` is None when the look came to no end; `next_at` when the next turn stays as it is."""
    values: dict[str, Any] = {
        "started_at": None, "listed": listed, "queued": queued, "error": storable(error)[:2000] if error else None,
    }  # fmt: skip
    if looked_until is not None:
        values |= {"looked_until": looked_until, "finished_at": now}
    if next_at is not None:
        values["next_at"] = next_at
    db.execute(_one(name).values(**values))


def missed(db: Connection, counts: Mapping[Name, int], now: datetime) -> None:
    """So many webhooks turn out never to have come."""
    for name, number in sorted(counts.items()):
        db.execute(_one(name).values(missed=reconciliations.c.missed + number, missed_at=now))


def _one(name: Name) -> Any:
    r = reconciliations.c
    return update(reconciliations).where(r.tenant == name[0], r.connection == name[1])


def all_of(db: Connection) -> list[Row[Any]]:
    """Every connection that was ever looked at."""
    r = reconciliations.c
    return list(db.execute(select(reconciliations).order_by(r.tenant, r.connection)))


def of(db: Connection, name: Name) -> Row[Any] | None:
    r = reconciliations.c
    found = select(reconciliations).where(r.tenant == name[0], r.connection == name[1])
    return db.execute(found).one_or_none()


# --- what is known, and what is on its way ----------------------------------------------------------------------


def known(db: Connection, name: Name, ids: Collection[str]) -> dict[str, Row[Any]]:
    """By id, `updated_at` (the vendor's time of the newest that we know), `seen_at` (ours) and `opened_at` of these
    tickets."""
    t = tickets.c
    opened_at = cast(t.body["remote_created_at"].astext, Moment).label("opened_at")
    found = select(t.id, t.updated_at, t.seen_at, opened_at).where(
        t.tenant == name[0], t.connection == name[1], t.id.in_(list(ids))
    )
    rows: Iterable[Any] = db.execute(found)
    return {row.id: row for row in rows}


def underway(db: Connection, name: Name, ids: Collection[str]) -> set[str]:
    """Those of these tickets about which something waits in the inbox."""
    d = deliveries.c
    found = select(d.subject).where(
        d.tenant == name[0], d.connection == name[1], d.subject.in_(list(ids)), d.state == "received"
    )
    return set(db.scalars(found))


def waiting(db: Connection, name: Name) -> int:
    """How many of our own hints about this connection were not decided yet."""
    d = deliveries.c
    found = select(func.count()).where(
        d.tenant == name[0], d.connection == name[1], d.state == "received", d.origin == ORIGIN
    )
    return db.execute(found).scalar_one()


_HINT = text("""
    INSERT INTO deliveries (tenant, connection, dedup_key, origin, received_at, sent_at, subject, thin, reading, query,
                            headers, body, trace_id, state, not_before)
    SELECT :tenant, :connection, dedup_key, :origin, :now, sent_at, subject, true, 'wanted', '{}', '{}', '', trace_id,
           'received', :now
    FROM json_to_recordset(CAST(:rows AS json)) AS sent (
        dedup_key text, sent_at timestamptz, subject text, trace_id text)
    ON CONFLICT (tenant, connection, dedup_key) DO NOTHING
    RETURNING id
""")


def hint(db: Connection, name: Name, rows: Iterable[Mapping[str, Any]], now: datetime) -> list[int]:
    """Thin deliveries of our own, each of dedup_key, sent_at (the vendor's time), subject and trace_id. The same change
    is hinted at once, ever."""
    given = {"tenant": name[0], "connection": name[1], "origin": ORIGIN, "now": now, **packed(rows)}
    return list(db.scalars(_HINT, given))


# --- what late webhooks will tell again -------------------------------------------------------------------------


def catch_up(db: Connection, rows: Iterable[Mapping[str, Any]]) -> None:
    """Rows of tenant, connection, ticket_id, up_to, delivery_id, made_at: all changes until then are told."""
    for row in sorted(rows, key=lambda row: (row["tenant"], row["connection"], row["ticket_id"])):
        statement = insert(caught_up).values(**row)
        new = statement.excluded
        db.execute(
            statement.on_conflict_do_update(
                index_elements=["tenant", "connection", "ticket_id"],
                set_={"up_to": new.up_to, "delivery_id": new.delivery_id, "made_at": new.made_at},
                where=caught_up.c.up_to <= new.up_to,
            )
        )


def caught(db: Connection, keys: Iterable[Key]) -> dict[Key, Row[Any]]:
    """By ticket, `up_to` and the `delivery_id` that told."""
    wanted = [(tenant, ref.connection, ref.id) for tenant, ref in keys]
    if not wanted:
        return {}
    c = caught_up.c
    rows = db.execute(select(caught_up).where(tuple_(c.tenant, c.connection, c.ticket_id).in_(wanted)))
    return {(row.tenant, TicketRef(row.connection, row.ticket_id)): row for row in rows}


def forget(db: Connection, now: datetime) -> None:
    """What no webhook can be that late for."""
    db.execute(delete(caught_up).where(caught_up.c.made_at < now - KEPT))
