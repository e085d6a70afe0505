"""The row is the truth and the job a hint: what is queued, what is found again, and what fires late."""

import json
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from rq.job import Job
from rq.rate_limit import RateLimitRegistry
from rq.registry import ScheduledJobRegistry
from rq.serializers import JSONSerializer
from sqlalchemy import text, update
from tests_town import NOW, arrive, rows, rule, settle_in, town

from gateway import jobs, metrics
from gateway.api import (
    AddTags,
    ApiError,
    ApiFailure,
    ApiSettings,
    CancelTimer,
    RateLimit,
    Receipt,
    StartTimer,
    Ticket,
    TicketCreated,
    TicketRef,
    hookimpl,
)
from gateway.jobs import COLLECT, DECIDE, EXECUTE, GRACE, QUEUES, RECONCILE, UPKEEP
from gateway.runtime import Runtime, connect_redis
from gateway.store.deliveries import Stored
from gateway.store.tables import actions, deliveries, events, timers
from gateway.workers import SILENT, Worker

REF = TicketRef("desk", "7")
DAY = timedelta(days=1)


def created(id_: str = "7") -> TicketCreated:
    ticket = Ticket(ref=TicketRef("desk", id_), subject=f"s{id_}", remote_updated_at=NOW)
    return TicketCreated(id=f"created:{id_}", occurred_at=NOW, ticket=ticket, complete=True)


class Desk:
    """A vendor that can be read from and written to."""

    def __init__(self) -> None:
        self.done: list[Any] = []
        self.read: list[str] = []
        self.answers: list[Any] = []

    def module(self) -> Any:
        @hookimpl
        def collect_ticket(ref: TicketRef) -> Any:
            self.read.append(ref.id)
            return {"events": [created(ref.id).to_json()]}

        @hookimpl
        def execute_action(action: Any) -> Receipt:
            if self.answers:
                raise self.answers.pop(0)
            self.done.append(action)
            return Receipt(remote_id=f"r{len(self.done)}")

        @hookimpl
        def connect_api() -> ApiSettings:
            return ApiSettings(base_url="http://127.0.0.1:1", rate=RateLimit(100, 1.0, concurrency=1))

        return town(collect_ticket=collect_ticket, execute_action=execute_action, connect_api=connect_api)


def tagging(event: Any, facts: Any) -> Any:
    if event.kind == "ticket.created":
        yield AddTags(ticket=event.ticket.ref, tags=("seen",), reason="r")


@pytest.fixture
def desk(gateway: Runtime) -> Desk:
    made = Desk()
    settle_in(gateway, made.module(), {"tagging": rule("tagging", tagging)})
    return made


@pytest.fixture
def me(gateway: Runtime) -> Iterator[Worker]:
    with closing(jobs.become_worker(gateway)) as worker:
        yield worker


def later(gateway: Runtime, span: timedelta) -> None:
    moment = gateway.clock() + span
    gateway.clock = lambda: moment


def queued(gateway: Runtime, name: str) -> list[tuple[str, Any]]:
    """The jobs that wait in a queue: function and arguments."""
    return [(job.func_name, list(job.args)) for job in jobs.queue(gateway.redis, name).jobs]


def stored(*ids: int, thin: bool = False, duplicate: bool = False) -> list[Stored]:
    return [Stored(id_, "acme", "desk", thin, duplicate) for id_ in ids]


def states(gateway: Runtime, table: Any) -> list[str]:
    return [row.state for row in rows(gateway, table)]


# --- queueing ---------------------------------------------------------------------------------------------------


def test_a_group_is_one_job_by_stage_and_connection(gateway, desk):
    others = [Stored(9, "acme", "other", thin=True, duplicate=False)]
    jobs.enqueue_stored(gateway, [*stored(1, 2), *stored(3, thin=True), *stored(4, duplicate=True), *others])
    assert queued(gateway, DECIDE) == [("gateway.jobs.decide", [[1, 2]])]
    assert sorted(queued(gateway, COLLECT), key=str) == [
        ("gateway.jobs.collect", ["acme", "desk", [3]]), ("gateway.jobs.collect", ["acme", "other", [9]]),
    ]  # fmt: skip


def test_a_large_group_is_several_jobs(gateway, desk):
    jobs.enqueue_decide(gateway, list(range(120)))
    assert [len(args[0]) for _, args in queued(gateway, DECIDE)] == [50, 50, 20]
    jobs.enqueue_decide(gateway, [])
    assert len(queued(gateway, DECIDE)) == 3


def test_jobs_are_ids_as_json_and_nothing_is_pickled(gateway, desk, me):
    """A pickle in Redis would let whoever can write to Redis run code in a worker."""
    jobs.enqueue_decide(gateway, [1])
    jobs.enqueue_collect(gateway, "acme", "desk", [2])
    jobs.enqueue_execute(gateway, "acme", "desk", [uuid4()])
    jobs.enqueue_execute(gateway, "acme", "desk", [uuid4()], delay=timedelta(seconds=30))
    assert _schedule_once(gateway)
    kept = [key for key in gateway.redis.keys("rq:job:*") if gateway.redis.type(key) == b"hash"]
    assert len(kept) == 5
    for key in kept:
        data = zlib.decompress(gateway.redis.hget(key, "data"))
        function, _, arguments, keywords = json.loads(data)
        assert function.startswith("gateway.jobs.")
        assert keywords == {}
        assert isinstance(arguments, list)


def _schedule_once(gateway: Runtime) -> Job:
    return jobs.Sweep(UPKEEP, func=jobs.sweep, interval=1).enqueue(gateway.redis)


def test_while_redis_is_away_a_hint_is_lost_and_nothing_else(gateway, desk):
    gateway.redis = connect_redis("redis://127.0.0.1:1")
    id_ = arrive(gateway, created(), subject="7")
    jobs.enqueue_stored(gateway, stored(id_))
    jobs.enqueue_stored(gateway, stored(id_, thin=True))
    jobs.enqueue_execute(gateway, "acme", "desk", [uuid4()], delay=timedelta(seconds=1))
    assert states(gateway, deliveries) == ["received"]


# --- in order ---------------------------------------------------------------------------------------------------


def test_from_the_inbox_to_the_vendor(gateway, desk):
    told, hinted = arrive(gateway, created("7"), subject="7"), arrive(gateway, subject="8", thin=True)
    jobs.enqueue_stored(gateway, [*stored(told), *stored(hinted, thin=True)])
    jobs.drain(gateway)
    assert states(gateway, deliveries) == ["decided", "decided"]
    assert states(gateway, actions) == ["done", "done"]
    assert desk.read == ["8"]
    assert sorted(action.ticket.id for action in desk.done) == ["7", "8"]
    assert [queued(gateway, name) for name in QUEUES] == [[]] * len(QUEUES)


def test_a_job_that_comes_twice_does_nothing_twice(gateway, desk):
    id_ = arrive(gateway, created(), subject="7")
    for _ in range(3):
        jobs.enqueue_stored(gateway, stored(id_))
    jobs.drain(gateway)
    (action,) = rows(gateway, actions)
    jobs.enqueue_execute(gateway, "acme", "desk", [action.id, action.id])
    jobs.drain(gateway)
    assert len(desk.done) == 1


def test_a_job_for_rows_that_are_gone_is_nothing(gateway, desk):
    jobs.enqueue_decide(gateway, [10**9])
    jobs.enqueue_collect(gateway, "nobody", "nowhere", [10**9])
    jobs.enqueue_execute(gateway, "nobody", "nowhere", [uuid4()])
    jobs.drain(gateway)
    assert [queued(gateway, name) for name in QUEUES] == [[]] * len(QUEUES)


def test_jobs_run_in_a_worker_only(gateway, monkeypatch):
    monkeypatch.setattr(jobs, "_worker", None)
    with pytest.raises(RuntimeError, match="gateway worker"):
        jobs.decide([1])


def test_what_was_done_is_counted(gateway, desk):
    id_ = arrive(gateway, created(), subject="7")
    jobs.enqueue_stored(gateway, stored(id_))
    jobs.drain(gateway)
    counts = metrics.read(gateway.redis)
    assert counts["decided", ()] == 1
    assert counts["attempts", (("state", "done"),)] == 1


# --- found again ------------------------------------------------------------------------------------------------


def test_when_redis_forgot_everything_the_sweep_finds_every_stage(gateway, desk, me):
    told, hinted = arrive(gateway, created("7"), subject="7"), arrive(gateway, subject="8", thin=True)
    jobs.enqueue_stored(gateway, [*stored(told), *stored(hinted, thin=True)])
    gateway.redis.flushall()
    jobs.sweep()
    assert queued(gateway, DECIDE) == queued(gateway, COLLECT) == [], "they have not waited for long"
    later(gateway, GRACE)
    jobs.sweep()
    assert queued(gateway, DECIDE) == [("gateway.jobs.decide", [[told]])]
    assert queued(gateway, COLLECT) == [("gateway.jobs.collect", ["acme", "desk", [hinted]])]
    jobs.collect("acme", "desk", [hinted])
    jobs.decide([told, hinted])
    gateway.redis.flushall()
    jobs.sweep()
    [(_, (tenant, connection, ids))] = queued(gateway, EXECUTE)
    assert (tenant, connection, set(ids)) == ("acme", "desk", {str(row.id) for row in rows(gateway, actions)})
    jobs.drain(gateway)
    assert states(gateway, actions) == ["pending"] * 2, "how much was asked of the vendor is forgotten too"
    time.sleep(1.2)  # until nothing can be of the window that was forgotten
    later(gateway, timedelta(seconds=2))
    jobs.become_worker(gateway)
    jobs.sweep()
    jobs.drain(gateway)
    assert states(gateway, actions) == ["done", "done"]


def test_a_swept_row_is_hinted_once_per_grace(gateway, desk, me):
    arrive(gateway, created(), subject="7")
    later(gateway, GRACE)
    for _ in range(3):
        jobs.sweep()
    assert len(queued(gateway, DECIDE)) == 1


def waiting_for_a_slot(gateway: Runtime, stage: str) -> int:
    return RateLimitRegistry(f"{stage}:acme:desk", gateway.redis).get_rate_limited_job_count()


def test_hints_do_not_pile_up_while_a_vendor_is_slow(gateway, desk, me):
    """Two jobs are at it, and one waits: all that is left behind meanwhile needs no further one."""
    for number in range(4):
        arrive(gateway, created(str(number)), subject=str(number))
        arrive(gateway, subject=f"1{number}", thin=True)
    jobs.decide([row.id for row in rows(gateway, deliveries) if not row.thin])
    for _ in range(5):
        later(gateway, GRACE)
        jobs.sweep()
        time.sleep(0.001)  # a job's place in the line is a moment
    assert len(queued(gateway, EXECUTE)) == 2
    assert len(queued(gateway, COLLECT)) == 1
    assert waiting_for_a_slot(gateway, EXECUTE) == waiting_for_a_slot(gateway, COLLECT) == 1
    jobs.drain(gateway)
    assert states(gateway, actions) == ["done"] * len(rows(gateway, actions))
    later(gateway, GRACE)
    jobs.become_worker(gateway)
    jobs.sweep()
    jobs.drain(gateway)
    assert set(states(gateway, deliveries)) == {"decided"}


@pytest.mark.parametrize(("busy", "hinted"), [(DECIDE, COLLECT), (COLLECT, DECIDE)])
def test_rows_whose_queue_is_long_are_waiting_and_not_forgotten(gateway, desk, me, busy, hinted):
    arrive(gateway, created("7"), subject="7")
    arrive(gateway, subject="8", thin=True)
    for _ in range(jobs.BUSY):
        jobs.queue(gateway.redis, busy).enqueue("gateway.jobs.decide", [])
    later(gateway, GRACE)
    jobs.sweep()
    assert len(queued(gateway, busy)) == jobs.BUSY
    assert len(queued(gateway, hinted)) == 1


def test_what_a_dead_worker_had_in_hand_is_taken_back(gateway, desk, me):
    jobs.decide([arrive(gateway, created(), subject="7")])
    with gateway.db.begin() as db:
        db.execute(update(actions).values(state="executing", worker=5, started_at=NOW))
    gateway.redis.flushall()
    later(gateway, timedelta(minutes=2))
    jobs.sweep()
    (row,) = rows(gateway, actions)
    assert (row.state, row.uncertain, row.error) == ("pending", True, "the worker died while it was sending")
    later(gateway, timedelta(minutes=2))
    jobs.sweep()
    jobs.drain(gateway)
    assert states(gateway, actions) == ["done"]


def test_there_is_only_ever_one_sweep(gateway, desk):
    for _ in range(5):
        _schedule_once(gateway)
    assert queued(gateway, UPKEEP) == [("gateway.jobs.sweep", [])]
    gateway.redis.delete("gateway:sweep")
    _schedule_once(gateway)
    assert len(queued(gateway, UPKEEP)) == 1, "also when the last one still waits"
    jobs.drain(gateway)
    gateway.redis.delete("gateway:sweep")
    _schedule_once(gateway)
    assert len(queued(gateway, UPKEEP)) == 1, "and again once it is done"


def test_a_vendor_whose_turn_it_is_is_asked_and_what_was_lost_is_read(gateway, me):
    made = Desk()

    @hookimpl
    def list_changed() -> Any:
        return [TicketRef("desk", "7")]

    vendor = made.module()
    vendor.list_changed = list_changed
    settle_in(gateway, vendor, {"tagging": rule("tagging", tagging)})
    jobs.watch()
    assert queued(gateway, RECONCILE) == [("gateway.jobs.reconcile", ["acme", "desk"])]
    jobs.watch()
    assert len(queued(gateway, RECONCILE)) == 1, "once each turn"
    jobs.drain(gateway)
    assert made.read == ["7"]
    assert states(gateway, deliveries) == ["decided"]
    assert metrics.read(gateway.redis)["reconciled", ()] == 1


# --- timers -----------------------------------------------------------------------------------------------------


def test_timers_fire_late_after_downtime_exactly_once_and_through_the_same_rules(gateway, me):
    heard: list[Any] = []

    def timing(event: Any, facts: Any) -> Any:
        if event.kind == "ticket.created":
            yield StartTimer(key="a", at=NOW + timedelta(hours=1), ticket=REF, payload={"n": 1}, reason="r")
            yield StartTimer(key="b", at=NOW + timedelta(hours=2), reason="r")
            yield StartTimer(key="moot", at=NOW + timedelta(hours=1), reason="r")
            yield StartTimer(key="far", at=NOW + 30 * DAY, reason="r")
            yield CancelTimer(key="moot", reason="r")
        elif event.kind == "timer.fired":
            heard.append((event.key, event.due_at, event.occurred_at, event.payload, facts.now))
            if event.ticket:
                yield AddTags(ticket=event.ticket, tags=("late",), reason="r")

    desk = Desk()
    settle_in(gateway, desk.module(), {"timing": rule("timing", timing)})
    jobs.decide([arrive(gateway, created(), subject="7")])
    jobs.sweep()
    assert heard == [], "not before their time"
    later(gateway, 7 * DAY)
    gateway.redis.flushall()
    for _ in range(2):
        jobs.sweep()
        jobs.drain(gateway)
        jobs.become_worker(gateway)
    first, second = NOW + timedelta(hours=1), NOW + timedelta(hours=2)
    assert heard == [("a", first, first, {"n": 1}, NOW + 7 * DAY), ("b", second, second, {}, NOW + 7 * DAY)]
    assert [action.tags for action in desk.done] == [("late",)]
    assert {row.key: row.state for row in rows(gateway, timers)} == {
        "a": "fired",
        "b": "fired",
        "far": "waiting",
    }
    fired = [row for row in rows(gateway, events) if row.kind == "timer.fired"]
    assert {(row.connection, row.ticket_id) for row in fired} == {("desk", "7"), ("", None)}


def test_a_timer_whose_hint_got_lost_is_a_delivery_like_any_other(gateway, desk, me):
    with gateway.db.begin() as db:
        db.execute(timers.insert().values(
            tenant="acme", key="t", rule="r", at=NOW, payload={}, state="waiting", changed_at=NOW
        ))  # fmt: skip
    jobs.sweep()
    gateway.redis.flushall()
    later(gateway, GRACE)
    jobs.sweep()
    jobs.drain(gateway)
    assert [row.kind for row in rows(gateway, events)] == ["timer.fired"]
    assert [row.origin for row in rows(gateway, deliveries)] == ["core"]


def test_two_sweeps_at_once_fire_a_timer_once(gateway, desk):
    with gateway.db.begin() as db:
        for n in range(20):
            db.execute(timers.insert().values(
                tenant="acme", key=f"t{n}", rule="r", at=NOW, payload={}, state="waiting", changed_at=NOW
            ))  # fmt: skip
    threads = [threading.Thread(target=jobs.fire_timers, args=(gateway,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(rows(gateway, deliveries)) == 20


# --- short waits ------------------------------------------------------------------------------------------------


def test_a_short_wait_is_kept_by_the_schedule_and_not_by_the_sweep(gateway, desk):
    desk.answers = [ApiError(ApiFailure.THROTTLED, "wait", retry_after=1)]
    jobs.enqueue_stored(gateway, stored(arrive(gateway, created(), subject="7")))
    jobs.drain(gateway)
    waiting = ScheduledJobRegistry(queue=jobs.queue(gateway.redis, EXECUTE))
    assert waiting.count == 1
    later(gateway, timedelta(seconds=2))
    me = jobs.become_worker(gateway)
    schedule = threading.Thread(target=jobs._keep_schedule, args=(me,))
    schedule.start()
    deadline = time.monotonic() + 10
    while not queued(gateway, EXECUTE) and time.monotonic() < deadline:
        time.sleep(0.1)
    gateway.stopping.set()
    schedule.join()
    gateway.stopping.clear()
    assert len(queued(gateway, EXECUTE)) == 1
    chores = [("gateway.jobs.sweep", []), ("gateway.jobs.watch", [])]
    assert sorted(queued(gateway, UPKEEP)) == chores, "it keeps the chores too"
    jobs.drain(gateway)
    assert states(gateway, actions) == ["done"]
    assert waiting.count == 0


# --- who is alive -----------------------------------------------------------------------------------------------


def holders(gateway: Runtime) -> set[int]:
    with gateway.db.connect() as db:
        return set(
            db.execute(text("SELECT objid FROM pg_locks WHERE locktype = 'advisory' AND granted")).scalars()
        )


def test_a_worker_is_known_by_a_lock_that_it_takes_anew_when_it_was_lost(gateway, me):
    first = me.alive()
    assert me.alive() == first
    assert first in holders(gateway)
    with gateway.db.begin() as db:
        db.execute(
            text("""
                SELECT pg_terminate_backend(pid, 5000) FROM pg_locks
                WHERE locktype = 'advisory' AND objid = :number AND pid <> pg_backend_pid()
            """),
            {"number": first},
        )
    second = me.alive()
    assert second != first
    assert first not in holders(gateway)
    assert second in holders(gateway)
    me.close()
    deadline = time.monotonic() + 10  # PostgreSQL notices a moment later
    while second in holders(gateway):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_slot_whose_holder_is_heard_of_no_more_is_given_to_the_next(gateway, desk):
    """Killed without a word: the job that held the slot is gone, and the next one waits for it."""
    jobs.enqueue_collect(gateway, "acme", "desk", [arrive(gateway, subject="7", thin=True)])
    jobs.enqueue_collect(gateway, "acme", "desk", [arrive(gateway, subject="8", thin=True)])
    first = jobs.queue(gateway.redis, COLLECT).pop_job_id()
    assert first is not None
    assert queued(gateway, COLLECT) == [], "the second waits for the slot"
    jobs.release_stale_slots(gateway.redis)
    assert queued(gateway, COLLECT) == [], "the first may still be at work"
    Job.fetch(first, connection=gateway.redis, serializer=JSONSerializer).set_status("started")
    for key in gateway.redis.scan_iter("rq:*"):
        if gateway.redis.type(key) == b"zset" and gateway.redis.zscore(key, first) is not None:
            gateway.redis.zadd(key, {first: time.time() - SILENT - 1})
    jobs.release_stale_slots(gateway.redis)
    assert [args[2] for _, args in queued(gateway, COLLECT)] == [[2]]
