"""Is every list served by an index, however much was stored, and does it list the right rows?"""

import re
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, create_engine, event, text

from gateway.store import condition, history

FILL = """
    INSERT INTO tenants (id, name, locale, timezone)
    SELECT 't' || n, 't', 'en', 'UTC' FROM generate_series(0, 199) n;
    INSERT INTO deliveries (tenant, connection, dedup_key, received_at, subject, thin, query, headers, body, trace_id,
                            state, not_before, origin)
    SELECT 't' || n % 200, 'c' || n % 3, n::text, now(), (n % 500)::text, false, '{}', '{}', '', '',
           CASE WHEN n % 7000 = 1 THEN 'parked' WHEN n % 1000 = 2 THEN 'received' ELSE 'decided' END, now(), 'webhook'
    FROM generate_series(1, 20000) n;
    INSERT INTO events (id, tenant, connection, delivery_id, ticket_id, kind, fact, occurred_at, recorded_at, ours,
                        body, decisions)
    SELECT gen_random_uuid(), tenant, connection, id, subject, 'ticket.updated', id::text, now(), now(), false,
           '{}', '[]'
    FROM deliveries WHERE state = 'decided';
    INSERT INTO actions (id, tenant, connection, event_id, delivery_id, rule, ordinal, kind, ticket_id, body, reason,
                         trace_id, state, not_before, created_at)
    SELECT gen_random_uuid(), tenant, connection, gen_random_uuid(), id, 'r', 0, 'add_comment', subject, '{}', '', '',
           CASE WHEN id % 1000 = 3 THEN 'dead' WHEN id % 1000 = 4 THEN 'pending' ELSE 'done' END, now(), now()
    FROM deliveries;
    INSERT INTO attempts (tenant, connection, action_id, delivery_id, started_at, seconds, outcome, calls)
    SELECT tenant, connection, id, delivery_id, now(), 0, 'done', '[]' FROM actions;
    INSERT INTO timers (tenant, key, rule, at, state, changed_at)
    SELECT tenant, id::text, 'r', now(), CASE WHEN id % 1000 = 5 THEN 'waiting' ELSE 'fired' END, now() FROM deliveries;
    ANALYZE
"""


@pytest.fixture
def db(database_url: str) -> Iterator[Connection]:
    engine = create_engine(database_url.replace("postgresql://", "postgresql+psycopg://", 1))
    with engine.connect() as db:
        for statement in FILL.split(";\n"):
            db.execute(text(statement))
        db.commit()
        yield db
    engine.dispose()


@pytest.fixture
def plans(db: Connection) -> Callable[[Callable[[], Any]], str]:
    """The plans of all statements that a call makes."""

    def of(call: Callable[[], Any]) -> str:
        told: list[str] = []

        def explain(cursor: Any, statement: str, parameters: Any) -> None:
            cursor.execute(f"EXPLAIN {statement}", parameters)
            told.extend(row[0] for row in cursor.fetchall())

        def before(_: Any, cursor: Any, statement: str, parameters: Any, *__: Any) -> None:
            explain(cursor, statement, parameters)

        event.listen(db.engine, "before_cursor_execute", before)
        try:
            call()
        finally:
            event.remove(db.engine, "before_cursor_execute", before)
        assert told
        return "\n".join(told)

    return of


WANTED: dict[str, tuple[Callable[[Connection], Any], str]] = {
    "all deliveries": (lambda db: history.deliveries_page(db), "pk_deliveries"),
    "a tenant's deliveries": (lambda db: history.deliveries_page(db, tenant="t1"), "ix_deliveries_tenant_id"),
    "a tenant's parked ones": (
        lambda db: history.deliveries_page(db, tenant="t1", state="parked"), "ix_deliveries_parked"
    ),
    "all parked ones": (lambda db: history.deliveries_page(db, state="parked"), "ix_deliveries_parked"),
    "all waiting ones": (
        lambda db: history.deliveries_page(db, state="received"), "ix_deliveries_(waiting|lane)"
    ),
    "a ticket's deliveries": (
        lambda db: history.deliveries_of_ticket(db, "t1", "c1", "1"), "ix_events_ticket.*ix_deliveries_lane"
    ),
    "parked ids": (lambda db: history.parked_ids(db, "t1"), "ix_deliveries_parked"),
    "events of a delivery": (lambda db: history.events_of(db, 7), "ix_events_delivery_id"),
    "a tenant's actions": (lambda db: history.actions_page(db, tenant="t1"), "ix_actions_tenant_seq"),
    "all actions": (lambda db: history.actions_page(db), "ix_actions_tenant_seq"),
    "all dead actions": (lambda db: history.actions_page(db, state="dead"), "ix_actions_stopped"),
    "a ticket's actions": (
        lambda db: history.actions_page(db, tenant="t1", connection="c1", ticket="1"), "ix_actions_lane"
    ),
    "actions of a delivery": (lambda db: history.actions_of(db, 7), "ix_actions_delivery_id"),
    "stopped ids": (lambda db: history.stopped_ids(db, "t1", "dead"), "ix_actions_stopped"),
    "attempts of an action": (lambda db: history.attempts_of_actions(db, [UUID(int=1)]), "ix_attempts_action_id"),
    "readings of a delivery": (lambda db: history.readings_of(db, 7), "ix_attempts_(delivery_id|action_id)"),
    "timers that wait": (lambda db: history.waiting_timers(db), "ix_timers_due"),
    "what stopped": (condition.stopped_counts, "ix_deliveries_parked.*ix_actions_stopped"),
    "what is due": (condition.oldest_due, "ix_deliveries_(waiting|lane).*ix_actions_waiting.*ix_timers_due"),
}  # fmt: skip
SMALL = {"tenants"}


def test_every_list_is_served_by_its_index(db: Connection, plans: Any) -> None:
    found = {what: plans(lambda call=call: call(db)) for what, (call, _) in WANTED.items()}
    assert {
        what: plan for what, plan in found.items() if not re.search(WANTED[what][1], plan, re.DOTALL)
    } == {}
    scanned = {what: set(re.findall(r"Seq Scan on (\w+)", plan)) - SMALL for what, plan in found.items()}
    assert {what for what, tables in scanned.items() if tables} == set()


def test_the_newest_of_all_tenants_are_the_newest(db: Connection) -> None:
    everything = history.actions_page(db, limit=7)
    assert [row.delivery_id for row in everything] == list(range(20000, 19993, -1))
    rest = history.actions_page(db, before=everything[-1].seq, limit=3)
    assert [row.delivery_id for row in rest] == [19993, 19992, 19991]
    dead = history.actions_page(db, state="dead", limit=2)
    assert [row.delivery_id for row in dead] == [19003, 18003]


def test_a_tickets_deliveries_are_its_own(db: Connection) -> None:
    found = history.deliveries_of_ticket(db, "t1", "c1", "1", limit=1000)
    assert {(row.tenant, row.connection, row.subject) for row in found} == {("t1", "c1", "1")}
    assert {row.state for row in found} == {"decided", "parked"}
    waiting = history.deliveries_of_ticket(db, "t2", "c2", "2", state="received")
    assert waiting
    assert all(row.subject == "2" for row in waiting)
