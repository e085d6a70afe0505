"""What is known of each ticket: its snapshot, its comments, and what it is tied to."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, and_, delete, text, union

from gateway.model.ticket import Comment, Ticket, TicketRef

from .rows import among, packed, put
from .tables import comments, links, tickets

Key = tuple[str, TicketRef]
"""Tenant and ticket."""


def load(db: Connection, keys: Iterable[Key]) -> dict[Key, Row[Any]]:
    wanted = [{"tenant": tenant, "connection": ref.connection, "id": ref.id} for tenant, ref in set(keys)]
    if not wanted:
        return {}
    rows = db.execute(_LOAD, packed(wanted))
    return {(row.tenant, TicketRef(row.connection, row.id)): row for row in rows}


_LOAD = among(tickets, "tenant", "connection", "id")


def load_comments(db: Connection, keys: Iterable[Key]) -> dict[Key, tuple[Comment, ...]]:
    """Oldest first."""
    wanted = of_tickets(keys)
    if not wanted:
        return {}
    found: dict[Key, list[Comment]] = {}
    for row in db.execute(_LOAD_COMMENTS, packed(wanted)):
        key = (row.tenant, TicketRef(row.connection, row.ticket_id))
        found.setdefault(key, []).append(Comment.model_validate(row.body))
    return {key: tuple(values) for key, values in found.items()}


def of_tickets(keys: Iterable[Key]) -> list[dict[str, str]]:
    """The keys of what belongs to these tickets."""
    return [
        {"tenant": tenant, "connection": ref.connection, "ticket_id": ref.id} for tenant, ref in set(keys)
    ]


_said = among(comments, "tenant", "connection", "ticket_id")
_LOAD_COMMENTS = _said.order_by(_said.selected_columns.created_at.nulls_first(), _said.selected_columns.id)


def save(db: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows of tenant, connection, id, body, complete, updated_at, seen_at; the caller decided what is newest."""
    if rows:
        db.execute(_SAVE, packed(rows))


_NEW = put(tickets, "tenant", "connection", "id", "body", "complete", "updated_at", "seen_at")
_SAVE = _NEW.on_conflict_do_update(
    index_elements=["tenant", "connection", "id"],
    set_={name: _NEW.excluded[name] for name in ("body", "complete", "updated_at", "seen_at")},
)


def save_planned(db: Connection, found: Iterable[tuple[str, Ticket]], now: datetime) -> None:
    """Tickets (each with its tenant) that are to be created again; what is known already stays as it is."""
    rows = [
        {
            "tenant": tenant, "connection": ticket.ref.connection, "id": ticket.ref.id,
            "body": ticket.to_json(), "complete": False, "updated_at": None, "seen_at": now,
        }
        for tenant, ticket in found
    ]  # fmt: skip
    if rows:
        db.execute(_NEW.on_conflict_do_nothing(), packed(rows))


def save_comments(db: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        db.execute(_SAVE_COMMENTS, packed(rows))


_fresh = put(comments, "tenant", "connection", "ticket_id", "id", "body", "created_at")
_SAVE_COMMENTS = _fresh.on_conflict_do_update(
    index_elements=["tenant", "connection", "ticket_id", "id"], set_={"body": _fresh.excluded.body}
)


def load_links(db: Connection, names: Iterable[tuple[str, str]]) -> list[tuple[str, str, str]]:
    """(tenant, source, target) of every link that touches one of these (tenant, name)."""
    wanted = [{"tenant": tenant, "source": name, "target": name} for tenant, name in set(names)]
    if not wanted:
        return []
    return [(row.tenant, row.source, row.target) for row in db.execute(_LOAD_LINKS, packed(wanted))]


_LOAD_LINKS = union(among(links, "tenant", "source"), among(links, "tenant", "target"))


def save_links(db: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        db.execute(_SAVE_LINKS, packed(rows))


_SAVE_LINKS = put(links, "tenant", "source", "target", "relation", "made_at").on_conflict_do_nothing()


def settle(
    db: Connection, tenant: str, created: Iterable[tuple[TicketRef, TicketRef]], now: datetime
) -> None:
    """Planned tickets exist now, as real ones: whatever spoke of the first speaks of the second from here on."""
    sent = [
        {
            "connection": planned.connection, "planned": planned.id, "id": real.id, "planned_name": str(planned),
            "name": str(real),
        }
        for planned, real in created
    ]  # fmt: skip
    if sent:
        db.execute(_SETTLE, {"tenant": tenant, "now": now} | packed(sent))


_SETTLE = text("""
    WITH sent AS (
        SELECT * FROM json_to_recordset(CAST(:rows AS json)) AS sent (
            connection text, planned text, id text, planned_name text, name text)
    ), plans AS (
        DELETE FROM tickets t USING sent
        WHERE t.tenant = :tenant AND t.connection = sent.connection AND t.id = sent.planned
        RETURNING t.connection, sent.id, t.body, t.updated_at
    ), real AS (
        INSERT INTO tickets (tenant, connection, id, body, complete, updated_at, seen_at)
        SELECT :tenant, connection, id, jsonb_set(body, '{ref,id}', to_jsonb(id)), false, updated_at, :now FROM plans
        ON CONFLICT DO NOTHING
    ), sources AS (
        DELETE FROM links l USING sent WHERE l.tenant = :tenant AND l.source = sent.planned_name RETURNING l.*
    ), targets AS (
        DELETE FROM links l USING sent WHERE l.tenant = :tenant AND l.target = sent.planned_name RETURNING l.*
    ), relinked AS (
        INSERT INTO links (tenant, source, target, relation, made_at)
        SELECT :tenant, coalesce(s.name, l.source), coalesce(t.name, l.target), l.relation, l.made_at
        FROM (SELECT * FROM sources UNION SELECT * FROM targets) AS l
             LEFT JOIN sent s ON s.planned_name = l.source LEFT JOIN sent t ON t.planned_name = l.target
        ON CONFLICT DO NOTHING
    ), told AS (
        UPDATE actions a SET ticket_id = sent.id, body = CASE WHEN a.kind = 'create_ticket' THEN a.body
               ELSE jsonb_set(a.body, '{ticket,id}', to_jsonb(sent.id)) END
        FROM sent WHERE a.tenant = :tenant AND a.connection = sent.connection AND a.ticket_id = sent.planned
    )
    UPDATE timers t SET ticket_id = sent.id FROM sent
    WHERE t.tenant = :tenant AND t.connection = sent.connection AND t.ticket_id = sent.planned
          AND t.state = 'waiting'
""")


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
