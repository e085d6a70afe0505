"""Which work is queued, who takes it, and what is done about work that was left behind?

The row in PostgreSQL is the truth, the RQ job only a hint: its arguments are ids, as JSON. Redis may lose every key at
any time; the sweep finds the rows and hints again.
"""

import secrets
import signal
import threading
from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from redis import Redis
from redis.exceptions import RedisError
from rq import Queue, RateLimit
from rq.cron import CronJob, CronScheduler
from rq.exceptions import DuplicateJobError
from rq.job import Job
from rq.rate_limit import RateLimitRegistry
from rq.scheduler import RQScheduler
from rq.serializers import JSONSerializer
from rq.worker import DequeueStrategy

from gateway import metrics, sources
from gateway.model.event import TimerFired
from gateway.model.ticket import TicketRef
from gateway.pipeline import announce as announcing
from gateway.pipeline import collect as collecting
from gateway.pipeline import decide as deciding
from gateway.pipeline import execute as executing
from gateway.pipeline import reconcile as reconciling
from gateway.runtime import Runtime
from gateway.store import actions, deliveries, timers
from gateway.store.deliveries import Stored
from gateway.workers import (
    IN_HAND,
    SILENT,
    STOP_SIGNALS,
    Caller,
    InProcessWorker,
    MainWorker,
    Worker,
    heard_of,
)

log = structlog.get_logger(__name__)

DECIDE, COLLECT, EXECUTE, UPKEEP, RECONCILE = QUEUES = (
    "decide", "collect", "execute", "upkeep", "reconcile",
)  # fmt: skip
OURS, CALLS, LOOKS = (DECIDE, UPKEEP), (COLLECT, EXECUTE), (RECONCILE,)
"""What never waits for a vendor, what may, and what waits until nobody else wants the vendor."""
DECIDE_BATCH = 50
TIMEOUT = 180
WORKER_TTL = 60
"""Seconds: a worker asks for jobs anew at least this often, so a dead socket does not keep it silent."""
SWEEP_SECONDS = 5
WATCH_SECONDS = 20
GRACE = timedelta(seconds=10)
SWEEP_LIMIT = 2_000
BUSY = 20
"""With so many jobs in a queue its rows are not forgotten, only waiting."""
CALLERS = 4
"""Threads of a worker process that call vendors."""


_worker: Worker | None = None


def become_worker(runtime: Runtime) -> Worker:
    """Jobs of this process use `runtime` from now on."""
    global _worker
    _worker = Worker(runtime)
    return _worker


def _me() -> Worker:
    if _worker is None:
        raise RuntimeError("jobs run in a gateway worker: start one with `gateway worker`")
    return _worker


# --- the jobs ---------------------------------------------------------------------------------------------------


def decide(ids: list[int]) -> None:
    """Convert and decide these deliveries."""
    runtime = _me().runtime
    with metrics.flushed(runtime.redis):
        outcome = deciding.decide(runtime, ids)
        metrics.count("decided", outcome.decided)
        metrics.count("parked", outcome.parked)
        for (tenant, connection), waiting in outcome.collect.items():
            enqueue_collect(runtime, tenant, connection, waiting)
        for (tenant, connection), found in outcome.execute.items():
            enqueue_execute(runtime, tenant, connection, found)
        if outcome.raised:
            enqueue_decide(runtime, outcome.raised)


def collect(tenant: str, connection: str, ids: list[int]) -> None:
    """Read back the tickets of these deliveries, then have them decided."""
    runtime = _me().runtime
    with metrics.flushed(runtime.redis):
        outcome = collecting.collect(runtime, tenant, connection, ids)
        metrics.count("collected", len(outcome.ready))
        metrics.count("governor_waits", outcome.waiting, stage="collect")
        if outcome.ready:
            enqueue_decide(runtime, outcome.ready)


def execute(tenant: str, connection: str, ids: list[str]) -> None:
    """Carry out these actions of one connection; notices, which go to channels, have none."""
    me = _me()
    with metrics.flushed(me.runtime.redis):
        with me.accountable() as number:
            wanted = [UUID(id_) for id_ in ids]
            if connection:
                sent = executing.execute(me.runtime, number, tenant, connection, wanted)
            else:
                sent = announcing.announce(me.runtime, number, tenant, wanted)
        for state, number in sent.states.items():
            metrics.count("attempts", number, state=state)
        metrics.count("governor_waits", sent.waiting, stage="execute")
        if sent.follow:
            enqueue_execute(me.runtime, tenant, connection, sent.follow)
        if sent.raised:
            enqueue_decide(me.runtime, sent.raised)
        for seconds, waiting in sent.soon(me.runtime.clock()).items():
            enqueue_execute(me.runtime, tenant, connection, waiting, delay=timedelta(seconds=seconds))


def reconcile(tenant: str, connection: str) -> None:
    """Compare what we know with what the vendor lists as changed, and have read what is missing."""
    runtime = _me().runtime
    with metrics.flushed(runtime.redis):
        look = reconciling.reconcile(runtime, tenant, connection)
        if look is not None and look.queued:
            metrics.count("reconciled", len(look.queued))
            enqueue_collect(runtime, tenant, connection, look.queued)


def watch() -> None:
    """See to what nobody tells: vendors whose turn it is to be asked what changed, and sources that have gone quiet."""
    runtime = _me().runtime
    for tenant, connection in reconciling.due(runtime):
        enqueue_reconcile(runtime, tenant, connection)
    sources.watch(runtime)


def sweep() -> None:
    """Find rows that were left behind, fire timers that are due, take back what dead workers held."""
    runtime = _me().runtime
    now = runtime.clock()
    shortest = timedelta(seconds=runtime.settings.reclaim_seconds)
    with runtime.db.begin() as db:
        claimants = actions.claimants(db)
    spared = heard_of(runtime.redis, claimants)
    with runtime.db.begin() as db:
        reclaimed = actions.reclaim(db, now, shortest, 3 * shortest, SWEEP_LIMIT, spared)
    release_stale_slots(runtime.redis)
    raised = fire_timers(runtime)
    if raised:
        enqueue_decide(runtime, raised)
    busy = {name for name in QUEUES if queue(runtime.redis, name).count >= BUSY}
    late, late_actions = [], []
    with runtime.db.begin() as db:
        if not {DECIDE, COLLECT} <= busy:
            found = deliveries.overdue(db, now, GRACE, SWEEP_LIMIT)
            late = [row for row in found if (COLLECT if row.reading == "wanted" else DECIDE) not in busy]
        if EXECUTE not in busy:
            late_actions = actions.overdue(db, now, timedelta(0), SWEEP_LIMIT)
    in_line = in_line_for(runtime.redis, COLLECT, (row for row in late if row.reading == "wanted"))
    late = [row for row in late if row.reading != "wanted" or (row.tenant, row.connection) not in in_line]
    in_line = in_line_for(runtime.redis, EXECUTE, late_actions)
    late_actions = [row for row in late_actions if (row.tenant, row.connection) not in in_line]
    if late or reclaimed:
        log.info("swept", deliveries=len(late), actions=len(late_actions), reclaimed=reclaimed)
    hint_all(runtime, late, late_actions)


def in_line_for(redis: Redis, stage: str, rows: Iterable[Any]) -> set[tuple[str, str]]:
    """Of the connections of these rows, those of which a job waits for its slot already.

    It takes along what it can, and the next sweep hints at the rest: with a job for each row at each sweep, a vendor
    that is slow all day would fill Redis.
    """
    connections = {(row.tenant, row.connection) for row in rows}
    return {
        (tenant, name)
        for tenant, name in connections
        if RateLimitRegistry(f"{stage}:{tenant}:{name}", redis).get_rate_limited_job_count()
    }


def hint_all(runtime: Runtime, late: Iterable[Any], late_actions: Iterable[Any]) -> None:
    """Jobs for these rows, by stage and connection."""
    ready: list[int] = []
    unread: dict[tuple[str, str], list[int]] = {}
    for row in late:
        if row.reading == "wanted":
            unread.setdefault((row.tenant, row.connection), []).append(row.id)
        else:
            ready.append(row.id)
    pending: dict[tuple[str, str], list[UUID]] = {}
    for row in late_actions:
        pending.setdefault((row.tenant, row.connection), []).append(row.id)
    # Few of them, each alone: one that kills its worker must not take the same neighbours with it for ever.
    enqueue_decide(runtime, ready, batch=1 if len(ready) <= DECIDE_BATCH else DECIDE_BATCH)
    for (tenant, connection), ids in unread.items():
        enqueue_collect(runtime, tenant, connection, ids)
    for (tenant, connection), found in pending.items():
        enqueue_execute(runtime, tenant, connection, found)


def fire_timers(runtime: Runtime) -> list[int]:
    """Every timer whose time has come goes through the inbox, in the same transaction that marks it as fired."""
    now = runtime.clock()
    raised = []
    with runtime.db.begin() as db:
        for row in timers.take_due(db, now, SWEEP_LIMIT):
            ref = TicketRef(row.connection, row.ticket_id) if row.ticket_id else None
            event = TimerFired(
                id=f"timer:{row.key}@{row.at.isoformat()}", occurred_at=row.at, key=row.key, rule=row.rule,
                due_at=row.at, payload=row.payload, ticket=ref, connection=row.connection or "",
            )  # fmt: skip
            raised.append(
                deliveries.raise_event(
                    db, tenant=row.tenant, connection=row.connection or "", dedup_key=event.id,
                    subject=row.ticket_id, event=event.to_json(), trace_id=secrets.token_hex(16), now=now,
                )
            )  # fmt: skip
    return [id_ for id_ in raised if id_ is not None]


# --- queueing ---------------------------------------------------------------------------------------------------


def queue(redis: Redis, name: str) -> Queue:
    return Queue(name, connection=redis, serializer=JSONSerializer, default_timeout=TIMEOUT)


def enqueue_stored(runtime: Runtime, stored: Sequence[Stored]) -> None:
    """Jobs for a group that was just committed."""
    unread: dict[tuple[str, str], list[int]] = {}
    ready: list[int] = []
    for item in stored:
        if item.duplicate:
            continue
        if item.thin:
            unread.setdefault((item.tenant, item.connection), []).append(item.id)
        else:
            ready.append(item.id)
    enqueue_decide(runtime, ready)
    for (tenant, connection), ids in unread.items():
        enqueue_collect(runtime, tenant, connection, ids)


def enqueue_decide(runtime: Runtime, ids: Sequence[int], *, batch: int = DECIDE_BATCH) -> None:
    for start in range(0, len(ids), batch):
        _enqueue(runtime, DECIDE, "gateway.jobs.decide", [list(ids[start : start + batch])])


def enqueue_collect(runtime: Runtime, tenant: str, connection: str, ids: Sequence[int]) -> None:
    limit = RateLimit(f"{COLLECT}:{tenant}:{connection}", 1)
    _enqueue(runtime, COLLECT, "gateway.jobs.collect", [tenant, connection, list(ids)], limit)


def enqueue_reconcile(runtime: Runtime, tenant: str, connection: str) -> None:
    limit = RateLimit(f"{RECONCILE}:{tenant}:{connection}", 1)
    _enqueue(runtime, RECONCILE, "gateway.jobs.reconcile", [tenant, connection], limit)


def enqueue_execute(
    runtime: Runtime, tenant: str, connection: str, ids: Sequence[UUID], *, delay: timedelta | None = None
) -> None:
    limit = RateLimit(f"{EXECUTE}:{tenant}:{connection}", 2)
    for start in range(0, len(ids), executing.BATCH):
        batch = [str(id_) for id_ in ids[start : start + executing.BATCH]]
        _enqueue(runtime, EXECUTE, "gateway.jobs.execute", [tenant, connection, batch], limit, delay)


def _enqueue(
    runtime: Runtime, name: str, job: str, args: list[Any], limit: RateLimit | None = None,
    delay: timedelta | None = None,
) -> None:  # fmt: skip
    """A hint that gets lost is found again by the sweep, so Redis being away stops nothing."""
    options = {
        "args": args, "result_ttl": 0, "failure_ttl": 3600, "rate_limit": limit, "description": job,
    }  # fmt: skip
    try:
        if delay is None:
            queue(runtime.redis, name).enqueue(job, **options)
        else:
            queue(runtime.redis, name).enqueue_in(delay, job, **options)
    except RedisError as error:
        log.warning("hint_lost", queue=name, error=str(error))


def release_stale_slots(redis: Redis) -> None:
    """A connection's slot belongs to a job that waits in its queue or that a worker says it has in hand.

    Whatever else holds one was lost between the two, or died with its worker or with Redis, and must not keep the
    connection waiting until RQ notices.
    """
    for limited in RateLimitRegistry.all(redis):
        held: Any = redis.zrange(limited.allowed_key, 0, -1, withscores=True)
        now = redis.time()[0]
        for job_id, since in held:
            id_ = job_id.decode()
            if now - since < SILENT or redis.exists(IN_HAND + id_):
                continue
            of_job: Any = redis.hmget(Job.key_for(id_), "status", "origin")
            status, origin = of_job
            if status != b"queued" or id_ not in queue(redis, origin.decode()).job_ids:
                limited.release_and_enqueue(id_)


# --- the worker process -----------------------------------------------------------------------------------------


def work(runtime: Runtime) -> None:
    """Take jobs until SIGTERM; the job in hand is finished first. Comes back after Redis was away."""
    me = become_worker(runtime)
    for number in STOP_SIGNALS:
        signal.signal(number, lambda *_: runtime.stopping.set())
    threading.Thread(target=_keep_schedule, args=(me,), daemon=True, name="schedule").start()
    for caller in range(CALLERS):
        threading.Thread(target=_work, args=(me, Caller, CALLS), daemon=True, name=f"caller-{caller}").start()
    threading.Thread(target=_work, args=(me, Caller, LOOKS), daemon=True, name="reconciler").start()
    _work(me, MainWorker, OURS)
    me.rest()


def _work(me: Worker, kind: type[InProcessWorker], names: Sequence[str]) -> None:
    while not me.runtime.stopping.is_set():
        try:
            _take_jobs(me, kind, names).work(
                logging_level="WARNING", dequeue_strategy=DequeueStrategy.ROUND_ROBIN
            )
        except Exception as error:  # noqa: BLE001 - a worker outlives whatever happens to its stores
            log.warning("worker_waits", error=first_line(error))
        me.runtime.stopping.wait(1.0)


def drain(runtime: Runtime) -> None:
    """Do all that is queued now, in this process, and come back (for tests and tools)."""
    with closing(become_worker(runtime)) as me:
        _take_jobs(me, MainWorker, QUEUES).work(burst=True, logging_level="WARNING")


def _take_jobs(me: Worker, kind: type[InProcessWorker], names: Sequence[str]) -> InProcessWorker:
    if kind is MainWorker:
        me.alive()
    redis = me.runtime.queues
    return kind(
        [queue(redis, name) for name in names],
        connection=redis,
        serializer=JSONSerializer,
        worker_ttl=WORKER_TTL,
        name=f"gateway-{secrets.token_hex(6)}",
        default_result_ttl=0,
        log_job_description=False,
        me=me,
    )


class Chore(CronJob):
    """RQ's own cron job would be pickled and would pile up; this one is JSON, and there is only ever one of a name."""

    chore: str
    seconds: int

    def enqueue(self, connection: Redis) -> Job:
        if connection.set(f"gateway:{self.chore}", 1, nx=True, px=self.seconds * 1000 - 500):
            upkeep = queue(connection, UPKEEP)
            options: dict[str, Any] = {"job_id": self.chore, "result_ttl": 0, "failure_ttl": self.seconds}
            try:
                return upkeep.enqueue(f"gateway.jobs.{self.chore}", unique=True, **options)
            except DuplicateJobError:
                self._make_way(upkeep)
        return Job(connection=connection, serializer=JSONSerializer)

    def _make_way(self, upkeep: Queue) -> None:
        """One that died with its worker would stand in the way of all later ones."""
        earlier = upkeep.fetch_job(self.chore)
        waits = self.chore in upkeep.job_ids
        if earlier is not None and not waits and not upkeep.connection.exists(IN_HAND + self.chore):
            earlier.delete()


class Sweep(Chore):
    chore = "sweep"
    seconds = SWEEP_SECONDS


class Watch(Chore):
    chore = "watch"
    seconds = WATCH_SECONDS


def _keep_schedule(me: Worker) -> None:
    """Every worker keeps the schedule; Redis sees to it that each thing happens once."""
    runtime = me.runtime
    cron = CronScheduler(connection=runtime.redis, logging_level="WARNING")
    cron.get_jobs().extend([Sweep(UPKEEP, func=sweep, interval=1), Watch(UPKEEP, func=watch, interval=5)])
    later = RQScheduler([EXECUTE], connection=runtime.redis, interval=1, serializer=JSONSerializer)
    while not runtime.stopping.wait(1.0):
        try:
            me.report()
            cron.enqueue_jobs()
            if later.acquire_locks():  # type: ignore[no-untyped-call]
                later.prepare_registries()
                later.enqueue_scheduled_jobs()  # type: ignore[no-untyped-call]
        except RedisError as error:
            log.debug("schedule_waits", error=str(error))
        except Exception:  # without this thread nothing that was left behind is ever found
            log.exception("schedule_failed")


def first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
