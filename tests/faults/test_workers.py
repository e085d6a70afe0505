"""Workers die, or live through the death of a store: who takes over, how soon, and what is left behind?"""

import time
from contextlib import closing
from typing import Any

import psutil
import pytest
from rq.rate_limit import RateLimitRegistry

from gateway import jobs
from gateway.runtime import Runtime
from gateway.store.tables import actions, attempts
from gateway.workers import IN_HAND

from .machine import tell, until
from .outside import Desk, Vendor, payment, subject
from .town import Chaos, Town

Slot = tuple[RateLimitRegistry, str, str]


def test_a_worker_killed_between_the_answer_and_our_commit_leaves_one_ticket(
    town: Town, zendesk: Desk
) -> None:
    zendesk.misbehave(kind="slow", seconds=3, method="POST")  # acts at once, answers late
    worker = town.start_worker()
    Vendor(town.url).send([("msg_1", payment(1))])
    until(lambda: zendesk.tickets, "the vendor has acted")
    town.kill_worker(worker)
    assert [row.state for row in creations(town)] == ["executing"], "we do not know that it did"
    town.start_worker()
    town.settle(30)
    assert zendesk.subjects() == {subject(1): 1}
    assert zendesk.calls("POST") == 1, "it was looked for and found, not sent again"
    assert [row.state for row in creations(town)] == ["done"]
    assert creations(town)[0].receipt["remote_id"] == str(zendesk.tickets[0]["id"])
    assert [row.outcome for row in town.rows(attempts) if row.action_id] == ["found"]


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["a postgres backend", "postgres"])
def test_a_worker_that_only_lost_its_session_is_not_taken_for_dead(
    town: Town, zendesk: Desk, loss: str
) -> None:
    """Its call is on its way, and the vendor has not acted yet: nobody would find anything there."""
    zendesk.forget_keys()
    zendesk.act_late(12)
    workers = [town.start_worker(), town.start_worker()]
    Vendor(town.url).send([("msg_1", payment(1))])
    until(lambda: zendesk.calls("POST"), "a call is on its way")
    Chaos(town, seed=1).strike(loss)
    town.settle(40)
    assert [row.state for row in creations(town)] == ["done"]
    assert zendesk.subjects() == {subject(1): 1}
    assert zendesk.calls("POST") == 1
    assert [worker.popen.poll() for worker in workers] == [None, None]


def test_a_worker_killed_while_the_vendor_turns_it_away_leaves_one_ticket_too(
    town: Town, zendesk: Desk
) -> None:
    zendesk.misbehave(kind="status", status=503, retry_after=1)
    worker = town.start_worker()
    Vendor(town.url).send([("msg_1", payment(1))])
    until(lambda: [row for row in creations(town) if row.state == "executing"], "a call is under way")
    town.kill_worker(worker)
    zendesk.behave()
    town.start_worker()
    town.settle(60)
    assert zendesk.subjects() == {subject(1): 1}


@pytest.mark.slow
def test_dead_workers_do_not_keep_their_connection_from_the_living(town: Town, zendesk: Desk) -> None:
    """RQ lets two jobs of a connection run at a time: two that died must not count."""
    zendesk.misbehave(kind="slow", seconds=20, times=2, method="POST")
    doomed = [town.start_worker(), town.start_worker()]
    vendor = Vendor(town.url)
    vendor.send([("msg_0", payment(0))])
    until(lambda: zendesk.calls("POST") == 1, "one has a call in hand")
    vendor.send([("msg_1", payment(1))])
    until(lambda: zendesk.calls("POST") == 2, "and so has the other")
    for worker in doomed:
        town.kill_worker(worker)
    vendor.send([(f"msg_{number}", payment(number)) for number in range(2, 20)])
    town.start_worker()
    began = time.monotonic()
    until(lambda: len(zendesk.tickets) == 20, "the others' tickets are there", 60)
    tell(f"a connection whose slots were all held by the dead went on after {time.monotonic() - began:.1f} s")
    town.settle(30)
    assert sorted(zendesk.subjects().values()) == [1] * 20


@pytest.fixture
def slot(gateway: Runtime) -> Slot:
    """Two jobs of a connection that may run one at a time, since a minute ago: the one let in, the one waiting."""
    for id_ in (1, 2):
        jobs.enqueue_collect(gateway, "acme", "desk", [id_])
    limited = RateLimitRegistry("collect:acme:desk", connection=gateway.redis)
    (first,), (second,) = limited.get_allowed_job_ids(), limited.get_rate_limited_job_ids()
    gateway.redis.zincrby(limited.allowed_key, -60, first)
    return limited, first, second


def test_a_job_that_waits_in_its_queue_keeps_its_slot(gateway: Runtime, slot: Slot) -> None:
    limited, first, _ = slot
    jobs.release_stale_slots(gateway.redis)
    assert limited.get_allowed_job_ids() == [first]


def test_a_job_that_was_taken_and_never_begun_loses_its_slot(gateway: Runtime, slot: Slot) -> None:
    """The worker was killed between RQ's pop and its first note of the job."""
    limited, first, second = slot
    assert gateway.redis.lpop("rq:queue:collect") == first.encode()
    jobs.release_stale_slots(gateway.redis)
    assert limited.get_allowed_job_ids() == [second]


def test_a_job_that_a_worker_has_in_hand_keeps_its_slot_though_postgres_was_away(
    gateway: Runtime, slot: Slot
) -> None:
    limited, first, second = slot
    gateway.redis.lpop("rq:queue:collect")
    gateway.redis.hset(f"rq:job:{first}", mapping={"status": "started", "worker_name": "gateway-1-abc"})
    with closing(jobs.become_worker(gateway)) as me:
        me.alive()
        me.begin(first)
        me.report()
        me.close()  # as PostgreSQL's death does
        me.alive()
        jobs.release_stale_slots(gateway.redis)
        assert limited.get_allowed_job_ids() == [first]
    gateway.redis.delete(f"{IN_HAND}{first}")  # nothing more is heard of it
    jobs.release_stale_slots(gateway.redis)
    assert limited.get_allowed_job_ids() == [second]


def test_a_sweep_that_died_with_its_worker_makes_way_for_the_next(gateway: Runtime) -> None:
    cron = jobs.Sweep(jobs.UPKEEP, func=jobs.sweep, interval=1)

    def due() -> None:
        gateway.redis.delete("gateway:sweep")
        cron.enqueue(gateway.redis)

    due()
    due()
    assert jobs.queue(gateway.redis, jobs.UPKEEP).job_ids == ["sweep"], "one that waits is enough"
    gateway.redis.lpop("rq:queue:upkeep")
    with closing(jobs.become_worker(gateway)) as me:
        me.begin("sweep")
        me.report()
        due()
        due()
        assert jobs.queue(gateway.redis, jobs.UPKEEP).job_ids == [], "and so is one that somebody has in hand"
        gateway.redis.delete(f"{IN_HAND}sweep")  # nothing more is heard of it
        due()
        due()
        assert jobs.queue(gateway.redis, jobs.UPKEEP).job_ids == ["sweep"]


@pytest.mark.slow
def test_workers_live_through_the_death_of_either_store(town: Town, zendesk: Desk) -> None:
    workers = [town.start_worker(), town.start_worker()]
    vendor = Vendor(town.url)
    sent = 0
    for turn, store in enumerate(["valkey", "postgres", "valkey", "postgres"]):
        vendor.send([(f"msg_{n}", payment(n)) for n in range(sent, sent + 20)])
        sent += 20
        time.sleep(0.2 * turn)
        town.machine.kill(store)
        town.machine.start(store)
    town.settle(60)
    assert sorted(zendesk.subjects().values()) == [1] * sent
    assert [worker.popen.poll() for worker in workers] == [None, None]
    threads = [psutil.Process(worker.popen.pid).num_threads() for worker in workers]
    assert max(threads) <= 8, f"threads are left behind: {threads}"


def creations(town: Town) -> list[Any]:
    return town.rows(actions, actions.c.kind == "create_ticket")
