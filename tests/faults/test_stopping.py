"""Asked to stop, with SIGTERM: does a process finish what it has in hand, lose nothing, and exit with 0 in time?"""

import signal
import time
from contextlib import closing

import psutil
import pytest

from gateway import jobs
from gateway.runtime import Runtime
from gateway.store.tables import actions
from gateway.workers import STOP_SIGNALS, MainWorker

from .machine import tell, until
from .outside import Desk, Vendor, payment
from .town import Process, Town

pytestmark = pytest.mark.slow


def test_a_server_answers_what_it_has_accepted_and_exits_with_0(town: Town) -> None:
    assert town.server
    vendor = Vendor(town.url, concurrency=32)
    with vendor.sending([(f"msg_{number}", payment(number)) for number in range(400)], 400):
        time.sleep(0.4)
        assert town.server.stop() == 0
        town.start_server()
    assert len(vendor.acknowledged) == 400
    assert not [status for status in vendor.statuses if status.startswith("5")], "nobody was turned away"


def test_a_worker_stops_at_once_whenever_it_is_asked(town: Town) -> None:
    """Also in the middle of its start, when signals pass from our hands into RQ's."""
    workers = [town.start_worker() for _ in range(6)]
    until(lambda: any(started(worker) for worker in workers), "the first one is there")
    *some, last = workers
    for worker in some:
        began = time.monotonic()
        code = worker.stop(timeout=10)
        assert code in {0, -signal.SIGTERM}, "the signal's own end is for one that has not begun"
        assert time.monotonic() - began < 5
    until(lambda: started(last), "the last one is there")
    assert last.stop(timeout=10) == 0, "this one had begun"


def test_signals_are_left_as_they_were_once_no_job_is_taken(gateway: Runtime) -> None:
    before = [signal.getsignal(number) for number in STOP_SIGNALS]
    jobs.drain(gateway)
    assert [signal.getsignal(number) for number in STOP_SIGNALS] == before


def test_a_stop_that_came_before_the_first_job_is_heard(gateway: Runtime) -> None:
    gateway.stopping.set()
    began = time.monotonic()
    with closing(jobs.become_worker(gateway)) as me:
        jobs._take_jobs(me, MainWorker, jobs.OURS).work(max_idle_time=10)
    assert time.monotonic() - began < 3


def test_a_worker_finishes_the_call_in_hand(town: Town, zendesk: Desk) -> None:
    zendesk.misbehave(kind="slow", seconds=4, method="POST")
    worker = town.start_worker()
    Vendor(town.url).send([(f"msg_{number}", payment(number)) for number in range(40)])
    until(lambda: zendesk.calls("POST"), "a call is under way")
    began = time.monotonic()
    assert worker.stop() == 0
    tell(f"stopped after {time.monotonic() - began:.1f} s")
    states = {row.state for row in town.rows(actions, actions.c.kind == "create_ticket")}
    assert "executing" not in states, "what was begun is recorded, the rest handed back"
    done = len(zendesk.tickets)
    assert len(town.rows(actions, actions.c.state == "done", actions.c.kind == "create_ticket")) == done
    zendesk.behave()
    town.start_worker()
    town.settle(30)
    assert sorted(zendesk.subjects().values()) == [1] * 40


@pytest.mark.parametrize("store", ["valkey", "postgres"])
def test_a_worker_without_a_store_exits_with_0(town: Town, store: str) -> None:
    worker = town.start_worker()
    until(lambda: started(worker), "the worker is there")
    town.machine.kill(store)
    time.sleep(2.5)
    assert worker.popen.poll() is None
    assert worker.stop() == 0


@pytest.mark.parametrize("store", ["valkey", "postgres"])
def test_a_server_without_a_store_exits_with_0(town: Town, store: str) -> None:
    assert town.server
    Vendor(town.url).send([("msg_1", payment(1))])
    town.machine.kill(store)
    time.sleep(1)
    assert town.server.stop() == 0


def started(worker: Process) -> bool:
    """It holds its lock: from then on it takes jobs."""
    return psutil.Process(worker.popen.pid).num_threads() > 1
