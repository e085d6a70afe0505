"""The outbox and its ledger: what was decided, what became of it, and may it be sent now?

States: `pending` -> `executing` -> `done`, or `dead` (given up, error kept), `unsupported` (the vendor cannot),
`held` (over the ticket's budget), `canceled` (its ticket was deleted). Core actions are `done` in the transaction
that decided them.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Integer, Row, bindparam, case, func, or_, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert as upsert

from gateway.model.action import CreateTicket, parse_action
from gateway.model.expected import planned
from gateway.model.facts import Past
from gateway.model.ticket import TicketRef

from .database import storable
from .rows import among, one_of, packed, put
from .tables import actions, attempts, incidents
from .tickets import Key, of_tickets, save_planned

LIVING = 7_273
"""Class of the advisory locks that workers hold for as long as they live."""

STOPPED = ("dead", "held", "unsupported")
"""States that only a person ends."""

MAX_PAST = 200
"""Of each ticket's earlier actions, so many of the newest are facts."""


def load_past(db: Connection, keys: Iterable[Key]) -> dict[Key, list[Past]]:
    """Our earlier actions on these tickets, oldest first."""
    wanted = of_tickets(keys)
    if not wanted:
        return {}
    found: dict[Key, list[Past]] = {}
    for row in db.execute(_PAST, packed(wanted) | {"most": MAX_PAST}):
        found.setdefault((row.tenant, TicketRef(row.connection, row.ticket_id)), []).append(_past(row))
    return found


_found = among(actions, "tenant", "connection", "ticket_id").subquery()
_rank = func.row_number().over(
    partition_by=(_found.c.tenant, _found.c.connection, _found.c.ticket_id), order_by=_found.c.seq.desc()
)
_newest = select(_found, _rank.label("rank")).subquery()
_PAST = select(_newest).where(_newest.c.rank <= bindparam("most", type_=Integer)).order_by(_newest.c.seq)


def _past(row: Row[Any]) -> Past:
    return Past(
        rule=row.rule,
        action=parse_action(row.body),
        state=row.state,
        uncertain=row.uncertain,
        decided_at=row.created_at,
        finished_at=row.finished_at,
        remote_id=(row.receipt or {}).get("remote_id"),
    )


def created_by_key(
    db: Connection, keys: Iterable[tuple[str, str, str]], *, hold: bool = False
) -> dict[tuple[str, str, str], str]:
    """By (tenant, connection, key), the id of the ticket that a `CreateTicket` of that key made or will make.

    With `hold` a ticket that is still to come stays so until this transaction ends; or what is decided about it
    meanwhile would come too late for `tickets.settle`, and wait for ever.
    """
    wanted = _keyed(keys)
    rows = db.execute(_BY_KEY, packed(wanted)).all() if wanted else []
    if rows and hold:
        rows = db.execute(_HELD, {"ids": [row.id for row in rows]}).all()
    return {(row.tenant, row.connection, row.key): row.ticket_id for row in rows}


def given_up(db: Connection, keys: Iterable[tuple[str, str, str]]) -> set[tuple[str, str, str]]:
    """Of these (tenant, connection, key), those whose ticket will not be created unless somebody retries."""
    rows = db.execute(_BY_KEY, packed(_keyed(keys)))
    return {(row.tenant, row.connection, row.key) for row in rows if row.state in STOPPED}


def _keyed(keys: Iterable[tuple[str, str, str]]) -> list[dict[str, str]]:
    return [{"tenant": tenant, "connection": name, "key": key} for tenant, name, key in set(keys)]


_BY_KEY = among(actions, "tenant", "connection", "key")
_HELD = select(actions).where(one_of(actions.c.id)).order_by(actions.c.seq).with_for_update(read=True)


def add(db: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Into the outbox; what is there already (same id, or same key of a new ticket) stays as it is."""
    if rows:
        db.execute(_ADD, packed({"error": None, **row} for row in rows))


_ADD = put(
    actions, "id", "tenant", "connection", "event_id", "delivery_id", "rule", "ordinal", "kind", "ticket_id", "key",
    "body", "reason", "trace_id", "state", "not_before", "error", "created_at", "finished_at",
).on_conflict_do_nothing()  # fmt: skip


def claim(
    db: Connection,
    tenant: str,
    connection: str,
    ids: Sequence[UUID],
    limit: int,
    worker: int,
    now: datetime,
    settles: timedelta = timedelta(0),
) -> list[Row[Any]]:
    """Mark up to `limit` sendable actions as executing and return them, oldest first.

    Sendable: pending, due, not interrupted less than `settles` ago, its ticket exists, and every earlier
    unfinished action on the same ticket goes along. Claims of one connection take turns, so no ticket is ever
    worked on twice at the same time.
    """
    db.execute(
        select(func.pg_advisory_xact_lock(func.hashtextextended(f"claim:{tenant}:{connection}", 7_271)))
    )
    a, other = actions.c, actions.alias()
    o = other.c

    def ready(c: Any) -> Any:
        settled = or_(~c.uncertain, c.started_at.is_(None), c.started_at <= now - settles)
        return c.id.in_(list(ids)) & (c.not_before <= now) & settled

    blocked = (
        select(o.id)
        .where(o.tenant == a.tenant, o.connection == a.connection, o.ticket_id == a.ticket_id)
        .where(or_(o.state == "executing", (o.state == "pending") & (o.seq < a.seq) & ~ready(o)))
        .correlate(actions)
        .exists()
    )
    sendable = (
        select(a.id)
        .where(
            a.tenant == tenant,
            a.connection == connection,
            a.state == "pending",
            ready(a),
            or_(a.kind == "create_ticket", a.ticket_id.is_(None), ~a.ticket_id.startswith("+")),
            or_(a.ticket_id.is_(None), ~blocked),
        )
        .order_by(a.seq)
        .limit(limit)
    )
    claimed = (
        update(actions)
        .where(a.id.in_(sendable))
        .values(state="executing", started_at=now, worker=worker, attempts=a.attempts + 1)
        .returning(actions)
    )
    return sorted(db.execute(claimed).all(), key=lambda row: row.seq)


def with_others(
    db: Connection, tenant: str, connection: str, ids: Sequence[UUID], now: datetime, limit: int
) -> list[UUID]:
    """These actions, and up to `limit` in all whatever else is due on the connection: calls that wait side by side
    cost no more time than one."""
    if len(ids) >= limit:
        return list(ids)
    a = actions.c
    due = (
        select(a.id)
        .where(a.tenant == tenant, a.connection == connection, a.state == "pending", a.not_before <= now)
        .where(or_(a.kind == "create_ticket", a.ticket_id.is_(None), ~a.ticket_id.startswith("+")))
        .order_by(a.not_before)
        .limit(limit)
    )
    return list(dict.fromkeys([*ids, *db.scalars(due)]))[:limit]


def finish(db: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Rows of id, state, not_before, uncertain, receipt, error, finished_at, attempts (given back when not sent).

    Only an action that is still executing is changed: a sweep may have reclaimed it meanwhile.
    """
    if rows:
        db.execute(_FINISH, packed(rows))


_FINISH = text("""
    WITH sent AS MATERIALIZED (
        SELECT * FROM json_to_recordset(CAST(:rows AS json)) AS sent (
            id uuid, state text, not_before timestamptz, uncertain boolean, receipt jsonb, error text,
            finished_at timestamptz, given_back smallint)
    ), held AS MATERIALIZED (
        SELECT a.id FROM actions a WHERE a.id IN (SELECT id FROM sent) AND a.state = 'executing'
        ORDER BY a.seq FOR UPDATE  -- as everybody locks them
    )
    UPDATE actions a
    SET state = sent.state, not_before = sent.not_before, uncertain = sent.uncertain, receipt = sent.receipt,
        error = sent.error, finished_at = sent.finished_at, attempts = a.attempts - sent.given_back
    FROM sent JOIN held ON held.id = sent.id WHERE a.id = sent.id
""")


def waiting_on(db: Connection, tenant: str, connection: str, ticket_ids: Sequence[str]) -> list[UUID]:
    """Pending actions on these tickets, oldest first."""
    if not ticket_ids:
        return []
    a = actions.c
    rows = db.execute(
        select(a.id)
        .where(
            a.tenant == tenant, a.connection == connection, a.ticket_id.in_(ticket_ids), a.state == "pending"
        )
        .order_by(a.seq)
    )
    return [row.id for row in rows]


def add_attempts(db: Connection, rows: Sequence[dict[str, Any]]) -> None:
    if rows:
        db.execute(_ATTEMPTED, packed(rows))


_ATTEMPTED = put(
    attempts, "tenant", "connection", "action_id", "delivery_id", "started_at", "seconds", "outcome", "error", "calls"
)  # fmt: skip


def end_dependents(db: Connection, tenant: str, planned: TicketRef, error: str, now: datetime) -> None:
    """What waited for a ticket that will not be created is given up with it."""
    a = actions.c
    db.execute(
        update(actions)
        .where(a.tenant == tenant, a.connection == planned.connection, a.ticket_id == planned.id)
        .where(a.kind != "create_ticket", a.state == "pending")
        .values(state="dead", error=storable(error), finished_at=now)
    )


def retry(db: Connection, ids: Sequence[UUID], now: datetime) -> list[Row[Any]]:
    """Dead, held and unsupported actions back into the outbox; the first look is for an earlier effect."""
    a = actions.c
    back = (
        update(actions)
        .where(a.id.in_(list(ids)), a.state.in_(STOPPED))
        .values(
            state="pending",
            not_before=now,
            error=None,
            finished_at=None,
            uncertain=case((a.attempts > 0, True), else_=a.uncertain),
            attempts=0,
        )
        .returning(a.id, a.tenant, a.connection, a.kind, a.ticket_id)
    )
    return list(db.execute(back))


def retryable(db: Connection, ids: Iterable[UUID]) -> list[Row[Any]]:
    """Those of these actions that have stopped, oldest first, with what has to be retried along with them.

    That is: with a ticket's creation the actions that died for want of the ticket; with those, the creation.
    """
    a = actions.c
    columns = (a.id, a.seq, a.tenant, a.connection, a.kind, a.ticket_id, a.key, a.state, a.error, a.body)
    chosen = db.execute(select(*columns).where(a.id.in_(list(ids)), a.state.in_(STOPPED))).all()
    to_come = {
        (row.tenant, row.connection, row.ticket_id) for row in chosen if (row.ticket_id or "").startswith("+")
    }
    found: dict[UUID, Any] = {row.id: row for row in chosen}
    if to_come:
        of_them = tuple_(a.tenant, a.connection, a.ticket_id).in_(list(to_come))
        lost = or_(a.state == "dead", (a.kind == "create_ticket") & a.state.in_(STOPPED))
        found |= {row.id: row for row in db.execute(select(*columns).where(of_them, lost))}
    return sorted(found.values(), key=lambda row: row.seq)


def retry_together(db: Connection, ids: Iterable[UUID], now: datetime) -> list[Row[Any]]:
    """Retry these and what belongs to them (see `retryable`); rules count on the tickets to come again."""
    rows = retryable(db, ids)
    back = {row.id for row in retry(db, [row.id for row in rows], now)}
    again = [row for row in rows if row.id in back]
    to_come = [row for row in again if row.kind == "create_ticket" and row.ticket_id.startswith("+")]
    save_planned(db, ((row.tenant, planned(CreateTicket.model_validate(row.body))) for row in to_come), now)
    return again


_RECLAIM = text("""
    UPDATE actions SET state = 'pending', uncertain = true, worker = NULL,
           not_before = greatest(:now, started_at + CASE
               WHEN pg_postmaster_start_time() > started_at THEN CAST(:longest AS interval)
               ELSE CAST(:shortest AS interval) END),
           error = 'the worker died while it was sending'
    WHERE id IN (
        SELECT id FROM actions
        WHERE state = 'executing' AND coalesce(worker, 0) <> ALL (CAST(:spared AS integer[])) AND NOT EXISTS (
            SELECT FROM pg_locks
            WHERE locktype = 'advisory' AND classid = :living AND objid = actions.worker AND granted
        ) LIMIT :limit FOR UPDATE SKIP LOCKED
    )
""")


def claimants(db: Connection) -> list[int]:
    """The numbers under which actions are being executed."""
    a = actions.c
    return list(db.scalars(select(a.worker).where(a.state == "executing", a.worker.is_not(None)).distinct()))


def reclaim(
    db: Connection,
    now: datetime,
    shortest: timedelta,
    longest: timedelta,
    limit: int,
    spared: Iterable[int] = (),
) -> int:
    """Take back actions whose worker is gone. Nobody knows whether they took effect, so they are looked for first.

    `spared` are numbers of workers that were heard of otherwise: they have lost their lock, but not their life.

    Not before `shortest` after they were claimed; and not before `longest` if PostgreSQL was restarted since, for
    then the worker may have lost only its lock, not its life, and a call of its may still be on its way.
    """
    given = {
        "now": now, "shortest": shortest, "longest": longest, "limit": limit, "living": LIVING,
        "spared": list(spared),
    }  # fmt: skip
    return db.execute(_RECLAIM, given).rowcount


def overdue(db: Connection, now: datetime, grace: timedelta, limit: int) -> list[Row[Any]]:
    """Waiting actions that no job has taken for `grace`; the next sweep leaves them alone for as long again."""
    a = actions.c
    late = (
        select(a.id)
        .where(a.state == "pending", a.not_before <= now - grace)
        .where(or_(a.kind == "create_ticket", a.ticket_id.is_(None), ~a.ticket_id.startswith("+")))
        .order_by(a.not_before, a.seq)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    found = db.execute(
        update(actions)
        .where(a.id.in_(late))
        .values(not_before=now)
        .returning(a.id, a.tenant, a.connection, a.seq)
    )
    return sorted(found, key=lambda row: row.seq)


def give_back(db: Connection, ids: Sequence[UUID], until: datetime) -> None:
    """Not our turn yet: wait until then, without counting an attempt."""
    a = actions.c
    db.execute(update(actions).where(a.id.in_(list(ids)), a.state == "pending").values(not_before=until))


def end(db: Connection, ids: Sequence[UUID], state: str, error: str, now: datetime) -> None:
    """Pending actions that will never be sent."""
    a = actions.c
    db.execute(
        update(actions)
        .where(a.id.in_(list(ids)), a.state == "pending")
        .values(state=state, error=storable(error), finished_at=now)
    )


def open_incident(
    db: Connection, *, tenant: str, kind: str, subject: str, message: str, now: datetime
) -> None:
    """Make something visible that a person should look at; the same thing again only counts up."""
    i = incidents.c
    db.execute(
        upsert(incidents)
        .values(tenant=tenant, kind=kind, subject=subject, message=message, opened_at=now, last_at=now)
        .on_conflict_do_update(
            index_elements=["tenant", "kind", "subject"],
            index_where=i.closed_at.is_(None),
            set_={"last_at": now, "count": i.count + 1, "message": message},
        )
    )
