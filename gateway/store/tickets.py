"""What is known of each ticket: its snapshot, its comments, and what it is tied to."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, and_, delete, or_, select, text, tuple_
from sqlalchemy.dialects.postgresql import insert

from gateway.model.ticket import Comment, Ticket, TicketRef

from .tables import comments, links, tickets

Key = tuple[str, TicketRef]
"""Tenant and ticket."""


def load(db: Connection, keys: Iterable[Key]) -> dict[Key, Row[Any]]:
    wanted = [(tenant, ref.connection, ref.id) for tenant, ref in keys]
    if not wanted:
        return {}
    t = tickets.c
    rows = db.execute(select(tickets).where(tuple_(t.tenant, t.connection, t.id).in_(wanted)))
    return {(row.tenant, TicketRef(row.connection, row.id)): row for row in rows}


def load_comments(db: Connection, keys: Iterable[Key]) -> dict[Key, tuple[Comment, ...]]:
    """Oldest first."""
    wanted = [(tenant, ref.connection, ref.id) for tenant, ref in keys]
    if not wanted:
        return {}
    c = comments.c
    found: dict[Key, list[Comment]] = {}
    rows = db.execute(
        select(c.tenant, c.connection, c.ticket_id, c.body)
        .where(tuple_(c.tenant, c.connection, c.ticket_id).in_(wanted))
        .order_by(c.created_at.nulls_first(), c.id)
    )
    for row in rows:
        key = (row.tenant, TicketRef(row.connection, row.ticket_id))
        found.setdefault(key, []).append(Comment.model_validate(row.body))
    return {key: tuple(values) for key, values in found.items()}


def save(db: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows of tenant, connection, id, body, complete, updated_at, seen_at; the caller decided what is newest."""
    if rows:
        statement = insert(tickets)
        new = statement.excluded
        db.execute(
            statement.on_conflict_do_update(
                index_elements=["tenant", "connection", "id"],
                set_={
                    "body": new.body,
                    "complete": new.complete,
                    "updated_at": new.updated_at,
                    "seen_at": new.seen_at,
                },
            ),
            list(rows),
        )


def save_planned(db: Connection, found: Iterable[tuple[str, Ticket]], now: datetime) -> None:
    """Tickets (each with its tenant) that are to be created again; what is known already stays as it is."""
    rows = [
        {
            "tenant": tenant, "connection": ticket.ref.connection, "id": ticket.ref.id,
            "body": ticket.to_json(), "complete": False, "updated_at": now, "seen_at": now,
        }
        for tenant, ticket in found
    ]  # fmt: skip
    if rows:
        db.execute(insert(tickets).on_conflict_do_nothing(), rows)


def save_comments(db: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        statement = insert(comments)
        db.execute(
            statement.on_conflict_do_update(
                index_elements=["tenant", "connection", "ticket_id", "id"],
                set_={"body": statement.excluded.body},
            ),
            list(rows),
        )


def load_links(db: Connection, names: Iterable[tuple[str, str]]) -> list[tuple[str, str, str]]:
    """(tenant, source, target) of every link that touches one of these (tenant, name)."""
    wanted = list(names)
    if not wanted:
        return []
    li = links.c
    rows = db.execute(
        select(li.tenant, li.source, li.target).where(
            or_(tuple_(li.tenant, li.source).in_(wanted), tuple_(li.tenant, li.target).in_(wanted))
        )
    )
    return [(row.tenant, row.source, row.target) for row in rows]


def save_links(db: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        db.execute(insert(links).on_conflict_do_nothing(), list(rows))


def settle(
    db: Connection, tenant: str, created: Iterable[tuple[TicketRef, TicketRef]], now: datetime
) -> None:
    """Planned tickets exist now, as real ones: whatever spoke of the first speaks of the second from here on."""
    given = [
        {
            "tenant": tenant, "connection": planned.connection, "planned": planned.id, "real": real.id,
            "planned_name": str(planned), "real_name": str(real), "now": now,
        }
        for planned, real in created
    ]  # fmt: skip
    for statement in _SETTLE if given else ():
        db.execute(statement, given)


_SETTLE = (
    text("""
        INSERT INTO tickets (tenant, connection, id, body, complete, updated_at, seen_at)
        SELECT tenant, connection, :real, jsonb_set(body, '{ref,id}', to_jsonb(CAST(:real AS text))), false,
               updated_at, :now
        FROM tickets WHERE tenant = :tenant AND connection = :connection AND id = :planned
        ON CONFLICT DO NOTHING
    """),
    text("DELETE FROM tickets WHERE tenant = :tenant AND connection = :connection AND id = :planned"),
    text("""
        INSERT INTO links (tenant, source, target, relation, made_at)
        SELECT tenant, CASE WHEN source = :planned_name THEN :real_name ELSE source END,
               CASE WHEN target = :planned_name THEN :real_name ELSE target END, relation, made_at
        FROM links WHERE tenant = :tenant AND (source = :planned_name OR target = :planned_name)
        ON CONFLICT DO NOTHING
    """),
    text("DELETE FROM links WHERE tenant = :tenant AND (source = :planned_name OR target = :planned_name)"),
    text("""
        UPDATE actions SET ticket_id = :real, body = jsonb_set(body, '{ticket,id}', to_jsonb(CAST(:real AS text)))
        WHERE tenant = :tenant AND connection = :connection AND ticket_id = :planned AND kind <> 'create_ticket'
    """),
    text("""
        UPDATE actions SET ticket_id = :real
        WHERE tenant = :tenant AND connection = :connection AND ticket_id = :planned AND kind = 'create_ticket'
    """),
    text("""
        UPDATE timers SET ticket_id = :real
        WHERE tenant = :tenant AND connection = :connection AND ticket_id = :planned
    """),
)


def forget_planned(db: Connection, tenant: str, planned: TicketRef) -> None:
    """The ticket will not be created after all: rules must no longer count on it."""
    t = tickets.c
    db.execute(
        delete(tickets).where(
            and_(t.tenant == tenant, t.connection == planned.connection, t.id == planned.id)
        )
    )


def parsed(row: Row[Any]) -> Ticket:
    return Ticket.model_validate(row.body)


_LOCK = text("""
    SELECT count(pg_advisory_xact_lock(key)) FROM (
        SELECT DISTINCT hashtextextended(name, 7271) AS key
        FROM unnest(CAST(:names AS text[])) AS held (name) ORDER BY key
    ) AS ordered
""")


def lock(db: Connection, names: Iterable[str]) -> None:
    """Hold these names until the transaction ends; always taken in one order, so two holders never wait in a ring."""
    if wanted := sorted(set(names)):
        db.execute(_LOCK, {"names": wanted})
