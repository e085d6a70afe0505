"""What came in, what was decided and what became of it? Read for people: nothing here writes.

Lists come newest first, a page at a time: `before` is the last id (or seq) of the page before.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, Select, literal, or_, select, tuple_, union

from .tables import actions, attempts, deliveries, events, incidents, tenants, timers
from .tables import rule_settings as rule_rows

DELIVERY = tuple(
    deliveries.c[name]
    for name in (
        "id", "tenant", "connection", "origin", "subject", "state", "reading", "received_at", "decided_at",
        "not_before", "attempts", "duplicates", "error",
    )
)  # fmt: skip
"""What a list shows of a delivery: all but what it said."""

ACTION = tuple(
    actions.c[name]
    for name in (
        "seq", "id", "tenant", "connection", "delivery_id", "rule", "kind", "ticket_id", "key", "state",
        "attempts", "created_at", "not_before", "finished_at", "reason", "error",
    )
)  # fmt: skip


# --- deliveries ---------------------------------------------------------------------------------------------


def deliveries_page(
    db: Connection, *, tenant: str | None = None, connection: str | None = None, state: str | None = None,
    before: int | None = None, limit: int = 50,
) -> list[Row[Any]]:  # fmt: skip
    """Deliveries, newest first."""
    d = deliveries.c
    page = select(*DELIVERY).order_by(d.id.desc()).limit(limit)
    for column, wanted in ((d.tenant, tenant), (d.connection, connection), (d.state, state)):
        if wanted is not None:
            page = page.where(column == wanted)
    if before is not None:
        page = page.where(d.id < before)
    return list(db.execute(page))


def deliveries_of_ticket(
    db: Connection, tenant: str, connection: str, ticket: str, *, state: str | None = None,
    before: int | None = None, limit: int = 50,
) -> list[Row[Any]]:  # fmt: skip
    """Deliveries that told something new about this ticket, and those about it that wait or are parked."""
    d, e = deliveries.c, events.c
    about = (d.tenant == tenant, d.connection == connection, d.subject == ticket)
    ids = union(
        select(e.delivery_id.label("id")).where(
            e.tenant == tenant, e.connection == connection, e.ticket_id == ticket
        ),
        select(d.id).where(*about, d.state == "received"),
        select(d.id).where(*about, d.state == "parked"),
    ).subquery()
    page = select(*DELIVERY).where(d.id.in_(select(ids.c.id))).order_by(d.id.desc()).limit(limit)
    if state is not None:
        page = page.where(d.state == state)
    if before is not None:
        page = page.where(d.id < before)
    return list(db.execute(page))


def delivery(db: Connection, id_: int, tenant: str | None = None) -> Row[Any] | None:
    """The whole row."""
    found = select(deliveries).where(deliveries.c.id == id_)
    if tenant is not None:
        found = found.where(deliveries.c.tenant == tenant)
    return db.execute(found).one_or_none()


def deliveries_by_id(db: Connection, ids: Iterable[int]) -> list[Row[Any]]:
    """Oldest first."""
    found = select(*DELIVERY).where(deliveries.c.id.in_(list(ids))).order_by(deliveries.c.id)
    return list(db.execute(found))


def delivery_by_key(db: Connection, tenant: str, key: str, names: Iterable[str]) -> int | None:
    """The delivery that was stored under this dedup key in one of these connections."""
    d = deliveries.c
    found = select(d.id).where(d.tenant == tenant, d.connection.in_(list(names)), d.dedup_key == key)
    return db.execute(found.limit(1)).scalar()


def parked_ids(db: Connection, tenant: str, connection: str | None = None) -> list[int]:
    """The tenant's parked deliveries, oldest first."""
    d = deliveries.c
    found = select(d.id).where(d.tenant == tenant, d.state == "parked").order_by(d.id)
    return list(
        db.execute(found if connection is None else found.where(d.connection == connection)).scalars()
    )


def waits_behind(db: Connection, row: Row[Any]) -> int | None:
    """The oldest waiting delivery about the same ticket, if that is another one."""
    d = deliveries.c
    if row.subject is None:
        return None
    ahead = (
        select(d.id)
        .where(d.tenant == row.tenant, d.connection == row.connection, d.subject == row.subject)
        .where(d.state == "received", d.id < row.id)
        .order_by(d.id)
        .limit(1)
    )
    return db.execute(ahead).scalar()


def events_of(db: Connection, delivery_id: int) -> list[Row[Any]]:
    """The events that this delivery told first, in the order in which they happened."""
    e = events.c
    found = select(events).where(e.delivery_id == delivery_id).order_by(e.occurred_at, e.fact)
    return list(db.execute(found))


def events_by_id(db: Connection, ids: Iterable[UUID]) -> dict[UUID, Row[Any]]:
    rows = db.execute(select(events).where(events.c.id.in_(list(ids))))
    return {row.id: row for row in rows}


# --- actions ------------------------------------------------------------------------------------------------


def actions_page(
    db: Connection, *, tenant: str | None = None, connection: str | None = None, state: str | None = None,
    ticket: str | None = None, before: int | None = None, limit: int = 50,
) -> list[Row[Any]]:  # fmt: skip
    """Actions, newest first; paged by `seq`. A `ticket` needs its tenant and connection.

    Where no tenant is given, each tenant's newest are read by that tenant's index, and merged.
    """
    a = actions.c
    conditions = [
        column == wanted
        for column, wanted in ((a.connection, connection), (a.state, state), (a.ticket_id, ticket))
        if wanted is not None
    ]
    if before is not None:
        conditions.append(a.seq < before)
    if tenant is not None:
        return list(
            db.execute(
                select(*ACTION).where(a.tenant == tenant, *conditions).order_by(a.seq.desc()).limit(limit)
            )
        )
    own = (
        select(*ACTION)
        .where(a.tenant == tenants.c.id, *conditions)
        .order_by(a.seq.desc())
        .limit(limit)
        .correlate(tenants)
        .lateral("own")
    )
    page = (
        select(*own.c).select_from(tenants.join(own, literal(True))).order_by(own.c.seq.desc()).limit(limit)
    )
    return list(db.execute(page))


def action(db: Connection, id_: UUID, tenant: str | None = None) -> Row[Any] | None:
    """The whole row."""
    found = select(actions).where(actions.c.id == id_)
    if tenant is not None:
        found = found.where(actions.c.tenant == tenant)
    return db.execute(found).one_or_none()


def actions_by_id(db: Connection, ids: Iterable[UUID]) -> dict[UUID, Row[Any]]:
    return {row.id: row for row in db.execute(select(actions).where(actions.c.id.in_(list(ids))))}


def actions_of(db: Connection, delivery_id: int) -> list[Row[Any]]:
    """Everything that this delivery led to, in the order of the decisions."""
    found = select(actions).where(actions.c.delivery_id == delivery_id).order_by(actions.c.seq)
    return list(db.execute(found))


def stopped_ids(db: Connection, tenant: str, state: str, connection: str | None = None) -> list[UUID]:
    """The tenant's actions that stopped in this state, oldest first."""
    a = actions.c
    found = select(a.id).where(a.tenant == tenant, a.state == state).order_by(a.seq)
    return list(
        db.execute(found if connection is None else found.where(a.connection == connection)).scalars()
    )


def obstacles(db: Connection, rows: Iterable[Row[Any]]) -> dict[UUID, Row[Any]]:
    """By pending action, what must be over first: its ticket's creation, or what was decided on it before."""
    found: dict[UUID, Row[Any]] = {}
    for row in rows:
        if row.state != "pending" or row.ticket_id is None:
            continue
        ahead = _creation(row) if row.ticket_id.startswith("+") else _unfinished_before(row)
        first = db.execute(ahead).first()
        if first is not None and first.id != row.id:
            found[row.id] = first
    return found


def _creation(row: Row[Any]) -> Select[Any]:
    a = actions.c
    mine = (a.tenant == row.tenant, a.connection == row.connection, a.key == row.ticket_id[1:])
    return select(a.id, a.kind, a.state, a.delivery_id).where(*mine)


def _unfinished_before(row: Row[Any]) -> Select[Any]:
    a = actions.c
    return (
        select(a.id, a.kind, a.state, a.delivery_id)
        .where(a.tenant == row.tenant, a.connection == row.connection, a.ticket_id == row.ticket_id)
        .where(or_(a.state == "executing", (a.state == "pending") & (a.seq < row.seq)), a.id != row.id)
        .order_by(a.seq)
        .limit(1)
    )


def attempts_of_actions(db: Connection, ids: Iterable[UUID]) -> dict[UUID, list[Row[Any]]]:
    """By action, every attempt to carry it out, oldest first."""
    t = attempts.c
    found: dict[UUID, list[Row[Any]]] = {}
    for row in db.execute(select(attempts).where(t.action_id.in_(list(ids))).order_by(t.id)):
        found.setdefault(row.action_id, []).append(row)
    return found


def readings_of(db: Connection, delivery_id: int) -> list[Row[Any]]:
    """Every attempt to read this delivery's ticket back, oldest first."""
    t = attempts.c
    found = select(attempts).where(t.delivery_id == delivery_id, t.action_id.is_(None)).order_by(t.id)
    return list(db.execute(found))


# --- incidents and timers -----------------------------------------------------------------------------------


def incidents_page(
    db: Connection,
    *,
    tenant: str | None = None,
    closed: bool = False,
    before: int | None = None,
    limit: int = 50,
) -> list[Row[Any]]:
    """What a person should look at, newest first: the open ones, or with `closed` all of them."""
    i = incidents.c
    page = select(incidents).order_by(i.id.desc()).limit(limit)
    if not closed:
        page = page.where(i.closed_at.is_(None))
    if tenant is not None:
        page = page.where(i.tenant == tenant)
    if before is not None:
        page = page.where(i.id < before)
    return list(db.execute(page))


def waiting_timers(
    db: Connection, *, tenant: str | None = None, until: datetime | None = None, limit: int = 50
) -> list[Row[Any]]:
    """Timers that have not fired, the next one first; with `until` only those due by then."""
    t = timers.c
    page = select(timers).where(t.state == "waiting").order_by(t.at).limit(limit)
    if tenant is not None:
        page = page.where(t.tenant == tenant)
    if until is not None:
        page = page.where(t.at <= until)
    return list(db.execute(page))


def timers_named(db: Connection, names: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Row[Any]]:
    """By (tenant, key)."""
    wanted = list(names)
    if not wanted:
        return {}
    t = timers.c
    rows = db.execute(select(timers).where(tuple_(t.tenant, t.key).in_(wanted)))
    return {(row.tenant, row.key): row for row in rows}


def as_dict(row: Row[Any]) -> dict[str, Any]:
    return dict(row._mapping)


def as_dicts(rows: Sequence[Row[Any]]) -> list[dict[str, Any]]:
    return [as_dict(row) for row in rows]


def rule_settings(db: Connection, tenant: str, rule: str) -> dict[str, Any]:
    """What the tenant has set for the rule, as it is stored; empty where nothing was."""
    r = rule_rows.c
    found = db.execute(select(r.settings).where(r.tenant == tenant, r.rule == rule)).scalar()
    return dict(found or {})
