"""Asked to stop, with SIGTERM: does a process finish what it has in hand, lose nothing, and exit with 0 in time?"""

import time

import psutil
import pytest

from gateway.store.tables import actions

from .town import Desk, Process, Town, Vendor, payment, until


def test_a_server_answers_what_it_has_accepted_and_exits_with_0(town: Town) -> None:
    assert town.server
    vendor = Vendor(town.url, concurrency=32)
    with vendor.sending([(f"msg_{number}", payment(number)) for number in range(400)], 400):
        time.sleep(0.4)
        assert town.server.stop() == 0
        town.start_server()
    assert len(vendor.acknowledged) == 400
    assert not [status for status in vendor.statuses if status.startswith("5")], "nobody was turned away"


def test_an_idle_worker_exits_with_0(town: Town) -> None:
    worker = town.start_worker()
    until(lambda: started(worker), "the worker is there")
    began = time.monotonic()
    assert worker.stop() == 0
    assert time.monotonic() - began < 5


def test_a_worker_finishes_the_call_in_hand(town: Town, zendesk: Desk) -> None:
    zendesk.misbehave(kind="slow", seconds=4, method="POST")
    worker = town.start_worker()
    Vendor(town.url).send([(f"msg_{number}", payment(number)) for number in range(40)])
    until(lambda: zendesk.calls("POST"), "a call is under way")
    began = time.monotonic()
    assert worker.stop() == 0
    print(f"\nstopped after {time.monotonic() - began:.1f} s")
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
