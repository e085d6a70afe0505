"""Does one more event cost more when a million are stored already?"""

import argparse
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from statistics import median

from sqlalchemy import text

from bench import report, webhooks
from bench.installation import Installation, installation, small_server
from bench.report import Line
from gateway import runtime
from gateway.clock import utc_now
from gateway.model.webhook import Webhook
from gateway.pipeline import decide as deciding
from gateway.pipeline import execute as executing
from gateway.pipeline.accept import admit
from gateway.runtime import Runtime
from gateway.store import database, deliveries

MUST, DREAM = 1.25, 1.05
FEW, MANY = 10_000, 1_000_000
BATCH = 50
ROUNDS = 40
WARM = 5
STAGES = ("ingest", "decide", "execute")

FILL = {
    "attempts": """
        INSERT INTO attempts (tenant, connection, action_id, delivery_id, started_at, seconds, outcome, calls)
        SELECT tenant, connection, gen_random_uuid(), n, started_at, seconds, outcome, calls
        FROM attempts, generate_series(1, :rows) n
    """,
    "deliveries": """
        INSERT INTO deliveries (tenant, connection, dedup_key, received_at, sent_at, subject, thin, query, headers,
                                body, trace_id, state, not_before, notes, decided_at)
        SELECT tenant, connection, 'old-' || n, at, at, subject, thin, query, headers, body, trace_id, state, at,
               notes, at
        FROM deliveries, LATERAL (
            SELECT n, received_at - n * interval '3 seconds' AS at FROM generate_series(1, :rows) n
        ) s
    """,
    "actions": """
        INSERT INTO actions (id, tenant, connection, event_id, delivery_id, rule, ordinal, kind, ticket_id, key, body,
                             reason, trace_id, state, attempts, not_before, started_at, receipt, created_at,
                             finished_at)
        SELECT gen_random_uuid(), tenant, connection, gen_random_uuid(), n, rule, ordinal, kind, 'old-' || n,
               'old-' || n, body, reason, trace_id, 'done', 1, at, at, '{"remote_id": "1"}', at, at
        FROM actions, LATERAL (
            SELECT n, created_at - n * interval '3 seconds' AS at FROM generate_series(1, :rows) n
        ) s
        WHERE kind = 'create_ticket'
    """,
    "events": """
        INSERT INTO events SELECT gen_random_uuid(), tenant, connection, n, ticket_id, kind, 'old-' || n,
                                  occurred_at - n * interval '3 seconds',
                                  recorded_at - n * interval '3 seconds', ours, body, decisions
        FROM events, generate_series(1, :rows) n
    """,
    "links": """
        INSERT INTO links
        SELECT tenant, 'ticket:zendesk:old-' || n, 'customer:old-' || n, relation, made_at
        FROM (SELECT * FROM links LIMIT 1) one, generate_series(1, :rows) n
    """,
    "tickets": """
        INSERT INTO tickets SELECT tenant, connection, 'old-' || n, body, complete, updated_at, seen_at
        FROM tickets, generate_series(1, :rows) n
    """,
    "customer_keys": """
        INSERT INTO customer_keys SELECT tenant, 'email:old-' || n || '@padaria.example', 'old-' || n
        FROM customer_keys, generate_series(1, :rows) n
    """,
    "customers": """
        INSERT INTO customers SELECT tenant, 'old-' || n, body, updated_at FROM customers, generate_series(1, :rows) n
    """,
}
"""By table, the longest first: one real event and all that came of it, over again, as large as it was."""

SPARED = text("""
    SELECT indexname, indexdef FROM pg_indexes
    WHERE schemaname = 'public' AND tablename = :table AND indexname NOT IN (SELECT conname FROM pg_constraint)
""")


@dataclass(slots=True)
class History:
    """A database with so many events in it, and what each batch took, in seconds a stage."""

    gateway: Runtime
    rows: int
    size: int = 0
    seconds: dict[str, list[float]] = field(default_factory=lambda: {stage: [] for stage in STAGES})

    def event(self, *stages: str) -> float:
        """Microseconds for one event, the median batch."""
        sums = [sum(parts) for parts in zip(*(self.seconds[stage] for stage in stages), strict=True)]
        return float(median(sums)) / BATCH * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--few", type=int, default=FEW)
    parser.add_argument("--many", type=int, default=MANY)
    given = parser.parse_args()
    with installation() as place, small_server("sink", place.folder) as sink, ExitStack() as stack:
        few, many = (
            stack.enter_context(history(place, sink.url, name, rows))
            for name, rows in (("few", given.few), ("many", given.many))
        )
        report.progress(f"{ROUNDS} batches of {BATCH} events in each, in turn")
        for turn in range(WARM + ROUNDS):
            for each in (few, many) if turn % 2 else (many, few):
                one_batch(each, keep=turn >= WARM)
    shown(few, many)


def shown(few: History, many: History) -> None:
    def line(what: str, *stages: str, aim: bool = False) -> Line:
        before, after = few.event(*stages), many.event(*stages)
        ratio = after / before
        aims = (f"<= {MUST}", f"<= {DREAM}", ratio <= MUST) if aim else ("", "", None)
        return Line(what, f"{before:,.0f} us", f"{after:,.0f} us", f"{ratio:.2f}", *aims)

    report.show(
        f"growth ({few.rows:,} against {many.rows:,} stored events)",
        [
            line("one event: ingest + decide", "ingest", "decide", aim=True),
            line("  ingest", "ingest"),
            line("  decide", "decide"),
            line("  and execute (HTTP call included)", "execute"),
        ],
        [
            f"medians of {ROUNDS} batches of {BATCH} payments each, in turn, one thread; each opens a ticket",
            f"databases of {few.size >> 20:,} and {many.size >> 20:,} MB; shared_buffers 64 MB, fsync on",
        ],
    )


@contextmanager
def history(place: Installation, sink: str, name: str, rows: int) -> Iterator[History]:
    """A database of its own on the same server, filled, analysed and vacuumed."""
    chosen, url = place.runtime.settings, _create_database(place.runtime, name)
    keys = tuple(place.env["GATEWAY_SECRET_KEYS"].split(","))
    with runtime.Closing(runtime.start(chosen, url, place.env["GATEWAY_REDIS_URL"], keys)) as gateway:
        database.migrate(gateway.db)
        webhooks.configure(
            gateway,
            {"generic": None, "zendesk": f"{sink}/api/v2"},
            {"core_ticket_on_payment": {"connection": "zendesk"}},
        )
        started = time.monotonic()
        told = History(gateway, rows)
        one_batch(told, keep=False, size=1)
        with ThreadPoolExecutor(2) as both_cores:
            list(both_cores.map(lambda table: fill(gateway, table, rows), FILL))
        with gateway.db.connect().execution_options(isolation_level="AUTOCOMMIT") as db:
            for statement in ("VACUUM ANALYZE", "CHECKPOINT"):
                db.execute(text(statement))
            told.size = db.execute(text("SELECT pg_database_size(current_database())")).scalar_one()
        report.progress(
            f"{rows:,} events and all that came of them: stored in {time.monotonic() - started:.0f} s"
        )
        yield told


def fill(gateway: Runtime, table: str, rows: int) -> None:
    """Indexes that no constraint needs are built afterwards, or this alone would take minutes."""
    with gateway.db.begin() as db:
        for setting in ("maintenance_work_mem = '256MB'", "synchronous_commit = off"):
            db.execute(text(f"SET LOCAL {setting}"))
        spared = db.execute(SPARED, {"table": table}).all()
        for index in spared:
            db.execute(text(f"DROP INDEX {index.indexname}"))
        db.execute(text(FILL[table]), {"rows": rows})
        for index in spared:
            db.execute(text(index.indexdef))


def one_batch(told: History, *, keep: bool, size: int = BATCH) -> None:
    """New payments of new customers: stored together, decided together, sent together."""
    gateway = told.gateway
    with gateway.db.begin() as db:
        connection = gateway.directory.current(db).connection(webhooks.TENANT, "generic")
    nonce = f"{told.rows}-{time.monotonic_ns()}"
    if connection is None:
        raise RuntimeError("the tenant is not configured")
    made = [webhooks.payment(nonce, number) for number in range(size)]
    marks = [time.perf_counter()]
    arrivals = [
        admit(gateway.registry, Webhook(headers, body, {}, utc_now()), connection) for headers, body in made
    ]
    with gateway.db.begin() as db:
        stored = deliveries.insert(db, arrivals)
    marks.append(time.perf_counter())
    outcome = deciding.decide(gateway, [item.id for item in stored])
    marks.append(time.perf_counter())
    for (tenant, name), ids in outcome.execute.items():
        sent = executing.execute(gateway, 1, tenant, name, ids)
    marks.append(time.perf_counter())
    if outcome.decided != size or sent.states != {"done": size}:
        raise RuntimeError(f"not all was done: {outcome.decided} decided, {sent.states} of {size}")
    if keep:
        for stage, before, after in zip(STAGES, marks, marks[1:], strict=False):
            told.seconds[stage].append(after - before)


def _create_database(gateway: Runtime, name: str) -> str:
    url = gateway.db.url
    with gateway.db.connect().execution_options(isolation_level="AUTOCOMMIT") as db:
        db.execute(text(f"CREATE DATABASE {name}"))
    return url.set(drivername="postgresql", database=name).render_as_string(hide_password=False)


if __name__ == "__main__":
    main()
