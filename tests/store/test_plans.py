"""Is every query of the data path served by an index, however much was stored?"""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, event, text

from gateway.model.ticket import TicketRef
from gateway.store import (
    actions,
    contacts,
    customers,
    database,
    deliveries,
    endings,
    events,
    reconciliations,
    tenants,
    tickets,
    timers,
    traffic,
)
from gateway.store.deliveries import Arrival

NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
AGO = timedelta(seconds=10)
IDS = [UUID(int=n) for n in range(50)]
REF = TicketRef("c1", "1")

FILL = """
    INSERT INTO deliveries (tenant, connection, dedup_key, received_at, subject, thin, reading, query, headers, body,
                            trace_id, state, not_before)
    SELECT 't' || n % 20, 'c' || n % 3, n::text, now(), (n % 500)::text, false,
           CASE WHEN n % 1000 = 2 THEN 'wanted' END, '{}', '{}', '', '',
           CASE WHEN n % 7000 = 1 THEN 'parked' WHEN n % 1000 < 3 THEN 'received' ELSE 'decided' END, now()
    FROM generate_series(1, 20000) n;
    INSERT INTO events (id, tenant, connection, delivery_id, ticket_id, kind, fact, occurred_at, recorded_at, ours,
                        body, decisions)
    SELECT gen_random_uuid(), tenant, connection, id, subject, 'ticket.updated', id::text, now(), now(), false,
           '{}', '[]' FROM deliveries;
    INSERT INTO actions (id, tenant, connection, event_id, delivery_id, rule, ordinal, kind, ticket_id, key, body,
                         reason, trace_id, state, not_before, created_at, started_at)
    SELECT gen_random_uuid(), tenant, connection, gen_random_uuid(), id, 'r', 0, 'add_comment', subject,
           CASE WHEN id % 4 = 0 THEN id::text END,
           '{"kind": "cancel_timer", "key": "k", "reason": "r"}', '', '',
           CASE WHEN id % 1000 = 3 THEN 'dead' WHEN id % 1000 < 6 THEN 'pending' WHEN id % 2000 = 7 THEN 'executing'
                ELSE 'done' END, now(), now(), now() FROM deliveries;
    INSERT INTO attempts (tenant, connection, action_id, delivery_id, started_at, seconds, outcome, calls)
    SELECT tenant, connection, id, delivery_id, now(), 0, 'done', '[]' FROM actions;
    INSERT INTO tickets (tenant, connection, id, body, complete, seen_at)
    SELECT 't' || n % 20, 'c' || n % 3, n::text, '{}', true, now() FROM generate_series(1, 20000) n;
    INSERT INTO comments (tenant, connection, ticket_id, id, body)
    SELECT tenant, connection, id, 'c' || n, '{"id": "c", "body": "x"}' FROM tickets, generate_series(1, 2) n;
    INSERT INTO links (tenant, source, target, relation, made_at)
    SELECT tenant, 'ticket:' || connection || ':' || id, 'customer:' || id, 'about', now() FROM tickets;
    INSERT INTO links (tenant, source, target, relation, made_at)
    SELECT 't1', 'ticket:c9:' || n, 'payment:' || n, 'about', now() FROM generate_series(1, 20000) n;
    INSERT INTO customers (tenant, id, body, updated_at) SELECT tenant, id, '{}', now() FROM tickets;
    INSERT INTO customer_keys (tenant, key, customer_id) SELECT tenant, 'email:' || id, id FROM tickets;
    INSERT INTO contact_keys (tenant, key, connection, contact_id)
    SELECT tenant, 'email:' || id, connection, 'k' || id FROM tickets;
    INSERT INTO timers (tenant, key, rule, at, connection, ticket_id, state, changed_at)
    SELECT tenant, id, 'r', now(), connection, id, CASE WHEN id::int % 1000 = 5 THEN 'waiting' ELSE 'fired' END, now()
    FROM tickets;
    INSERT INTO incidents (tenant, kind, subject, message, opened_at, last_at, closed_at)
    SELECT tenant, 'action_budget', id, '', now(), now(), now() FROM tickets;
    INSERT INTO reconciliations (tenant, connection, began_at, looked_until, next_at)
    SELECT 't' || n, 'c1', now(), now(), now() FROM generate_series(1, 5000) n;
    INSERT INTO caught_up (tenant, connection, ticket_id, up_to, delivery_id, made_at)
    SELECT tenant, connection, id, now(), 1, now() FROM tickets;
    INSERT INTO bookmarks (name, counted, seen) SELECT 'b' || n, 0, 0 FROM generate_series(1, 2000) n;
    INSERT INTO bookmarks (name, counted, seen) VALUES ('traffic', 19900, 19990);
    INSERT INTO config_changes (changes) SELECT '[]' FROM generate_series(1, 5000);
    ANALYZE
"""


@pytest.fixture
def db(database_url: str) -> Iterator[Connection]:
    engine = database.engine(database_url)
    with engine.connect() as db:
        for statement in FILL.split(";\n"):
            db.execute(text(statement))
        db.commit()
        yield db
    engine.dispose()


def arrival(n: int) -> Arrival:
    return Arrival("t1", "c1", str(n), NOW, None, "1", False, {}, {}, b"", "t")


def finished(id_: UUID) -> dict[str, Any]:
    return {
        "id": id_, "state": "done", "not_before": NOW, "uncertain": False, "receipt": None, "error": None,
        "finished_at": NOW, "given_back": 0,
    }  # fmt: skip


QUERIES: dict[str, Callable[[Connection], Any]] = {
    "storing, all of it known": lambda db: deliveries.insert(db, [arrival(n) for n in range(1, 400, 60)]),
    "an event of ours": lambda db: deliveries.raise_event(
        db, tenant="t1", connection="c1", dedup_key="k", subject=None, event={}, trace_id="t", now=NOW
    ),
    "the lanes of a batch": lambda db: deliveries.lanes_of(db, range(1, 51)),
    "what waits in lanes": lambda db: deliveries.take(db, [("t1", "c1", str(n)) for n in range(50)], [1, 2]),
    "what waits for a reading": lambda db: deliveries.unread(db, "t1", "c1", range(1, 51)),
    "a batch is decided": lambda db: deliveries.decided(
        db, [{"id": n, "notes": {}, "decided_at": NOW} for n in range(1, 9)]
    ),
    "parking": lambda db: deliveries.park(db, [1, 2], "x", NOW),
    "postponing": lambda db: deliveries.postpone(db, [1, 2], NOW, "x", count=True),
    "a replay": lambda db: deliveries.replay(db, [1, 2], NOW),
    "deliveries left behind": lambda db: deliveries.overdue(db, NOW, AGO, 2000),
    "facts that are known": lambda db: events.known(db, IDS),
    "tickets": lambda db: tickets.load(db, [("t1", TicketRef("c1", str(n))) for n in range(50)]),
    "their comments": lambda db: tickets.load_comments(
        db, [("t1", TicketRef("c1", str(n))) for n in range(50)]
    ),
    "links from either end": lambda db: tickets.load_links(db, [("t1", f"customer:{n}") for n in range(50)]),
    "a planned ticket settles": lambda db: tickets.settle(db, "t1", [(TicketRef("c1", "+k"), REF)], NOW),
    "customers by what they are known by": lambda db: customers.find(
        db, [("t1", f"email:{n}") for n in range(50)]
    ),
    "customers": lambda db: customers.load(db, [("t1", str(n)) for n in range(50)]),
    "earlier actions": lambda db: actions.load_past(db, [("t1", TicketRef("c1", str(n))) for n in range(20)]),
    "tickets by key": lambda db: actions.created_by_key(
        db, [("t1", "c1", str(n)) for n in range(50)], hold=True
    ),
    "keys given up": lambda db: actions.given_up(db, [("t1", "c1", str(n)) for n in range(50)]),
    "claiming": lambda db: actions.claim(db, "t1", "c1", IDS, 100, 1, NOW),
    "what else is due": lambda db: actions.with_others(db, "t1", "c1", IDS[:1], NOW, 100),
    "who claims": actions.claimants,
    "finishing": lambda db: actions.finish(db, [finished(id_) for id_ in IDS[:3]]),
    "giving back": lambda db: actions.give_back(db, IDS, NOW),
    "what waits for a ticket": lambda db: actions.waiting_on(db, "t1", "c1", [str(n) for n in range(50)]),
    "what ends with a ticket": lambda db: actions.end_dependents(db, "t1", REF, "x", NOW),
    "actions left behind": lambda db: actions.overdue(db, NOW, AGO, 2000),
    "actions of dead workers": lambda db: actions.reclaim(db, NOW, AGO, AGO, 2000),
    "timers that are due": lambda db: timers.take_due(db, NOW, 2000),
    "timers canceled": lambda db: timers.cancel(db, [("t1", "1"), ("t1", "2")], NOW),
    "an incident again": lambda db: actions.open_incident(
        db, tenant="t1", kind="action_budget", subject="1", message="x", now=NOW
    ),
    "what is known of listed tickets": lambda db: reconciliations.known(
        db, ("t1", "c1"), [str(n) for n in range(50)]
    ),
    "what is on its way": lambda db: reconciliations.underway(db, ("t1", "c1"), [str(n) for n in range(50)]),
    "hints that wait": lambda db: reconciliations.waiting(db, ("t1", "c1")),
    "a hint": lambda db: reconciliations.hint(
        db, ("t1", "c1"), [{"dedup_key": "reconcile:1", "sent_at": NOW, "subject": "1", "trace_id": "t"}], NOW
    ),
    "who was caught up with": lambda db: reconciliations.caught(
        db, [("t1", TicketRef("c1", str(n))) for n in range(50)]
    ),
    "a look begins": lambda db: reconciliations.begin(db, ("t1", "c1"), AGO, NOW),
    "counting what came": lambda db: traffic.count(db, NOW),
    "who else is known by the same": lambda db: contacts.meet(
        db, [{"tenant": "t1", "key": f"email:{n}", "connection": "c1", "contact_id": "x"} for n in range(50)]
    ),
    "what hangs on a merged ticket": lambda db: endings.merge(db, "t1", REF, TicketRef("c1", "2")),
    "what hangs on a deleted ticket": lambda db: endings.delete(db, "t1", REF, "x", NOW),
    "the newest configuration": tenants.version,
}


def plans_of(db: Connection, call: Callable[[Connection], Any]) -> str:
    """The plans of all statements that a call makes; what it changes is rolled back."""
    told: list[str] = []

    def explain(_: Any, cursor: Any, statement: str, parameters: Any, __: Any, executemany: bool) -> None:
        cursor.execute(f"EXPLAIN {statement}", parameters[0] if executemany else parameters)
        told.extend(row[0] for row in cursor.fetchall())

    event.listen(db.engine, "before_cursor_execute", explain)
    try:
        call(db)
    finally:
        event.remove(db.engine, "before_cursor_execute", explain)
        db.rollback()
    assert told
    return "\n".join(told)


INDEXES = {
    "deliveries left behind": "ix_deliveries_waiting",
    "what waits in lanes": "ix_deliveries_lane",
    "actions left behind": "ix_actions_waiting",
    "actions of dead workers": "ix_actions_executing",
    "earlier actions": "ix_actions_lane",
    "timers that are due": "ix_timers_due",
    "links from either end": "(?=.*pk_links)(?=.*ix_links_target)",
    "tickets by key": "uq_actions_key",
}


def test_no_query_of_the_data_path_reads_a_whole_table(db):
    found = {what: plans_of(db, call) for what, call in QUERIES.items()}
    assert {what: plan for what, plan in found.items() if re.search(r"Seq Scan on (?!pg_)\w", plan)} == {}
    wrong = {
        what: found[what] for what, index in INDEXES.items() if not re.search(index, found[what], re.DOTALL)
    }
    assert wrong == {}, "what is asked over and over has an index of its own"
