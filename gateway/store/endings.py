"""What becomes of all that hangs on a ticket that is no more: merged into another one, or deleted?"""

from datetime import datetime

from sqlalchemy import Connection, text

from gateway.model.ticket import TicketRef

from .database import storable

_MOVE = text("""
    WITH sources AS (
        DELETE FROM links l WHERE l.tenant = :tenant AND l.source = :name RETURNING l.*
    ), targets AS (
        DELETE FROM links l WHERE l.tenant = :tenant AND l.target = :name AND l.source <> :name RETURNING l.*
    ), relinked AS (
        INSERT INTO links (tenant, source, target, relation, made_at)
        SELECT :tenant, :new_name, target, relation, made_at FROM sources WHERE target NOT IN (:name, :new_name)
        UNION
        SELECT :tenant, source, :new_name, relation, made_at FROM targets WHERE source <> :new_name
        ON CONFLICT DO NOTHING
    ), held AS MATERIALIZED (
        SELECT a.id FROM actions a
        WHERE a.tenant = :tenant AND a.connection = :connection AND a.ticket_id = :id AND a.state = 'pending'
              AND a.kind <> 'create_ticket'
        ORDER BY a.seq FOR UPDATE  -- as everybody locks them
    ), moved AS (
        UPDATE actions a SET connection = :new_connection, ticket_id = :new_id,
               body = jsonb_set(a.body, '{ticket}', jsonb_build_object(
                   'connection', CAST(:new_connection AS text), 'id', CAST(:new_id AS text)))
        FROM held WHERE held.id = a.id
    )
    UPDATE timers t SET connection = :new_connection, ticket_id = :new_id
    WHERE t.tenant = :tenant AND t.connection = :connection AND t.ticket_id = :id AND t.state = 'waiting'
""")


def merge(db: Connection, tenant: str, old: TicketRef, into: TicketRef) -> None:
    """Links, timers that wait and actions that were not begun follow to the surviving ticket."""
    if old == into:
        return
    given = {
        "tenant": tenant, "name": str(old), "new_name": str(into), "connection": old.connection, "id": old.id,
        "new_connection": into.connection, "new_id": into.id,
    }  # fmt: skip
    db.execute(_MOVE, given)


_END = text("""
    WITH unlinked AS (
        DELETE FROM links l WHERE l.tenant = :tenant AND (l.source = :name OR l.target = :name)
    ), held AS MATERIALIZED (
        SELECT a.id FROM actions a
        WHERE a.tenant = :tenant AND a.connection = :connection AND a.ticket_id = :id AND a.state = 'pending'
        ORDER BY a.seq FOR UPDATE
    ), canceled AS (
        UPDATE actions a SET state = 'canceled', error = :why, finished_at = :now FROM held WHERE held.id = a.id
    )
    UPDATE timers t SET state = 'canceled', changed_at = :now
    WHERE t.tenant = :tenant AND t.connection = :connection AND t.ticket_id = :id AND t.state = 'waiting'
""")


def delete(db: Connection, tenant: str, ref: TicketRef, why: str, now: datetime) -> None:
    """Links end, timers do not fire, and actions that were not begun are canceled, with the reason."""
    given = {
        "tenant": tenant, "name": str(ref), "connection": ref.connection, "id": ref.id, "why": storable(why),
        "now": now,
    }  # fmt: skip
    db.execute(_END, given)
