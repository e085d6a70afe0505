"""A store goes away while webhooks come in: what do vendors hear, and is everything done once it is back?"""

import os
import signal
import time

import httpx
import pytest
from redis import Redis

from gateway import jobs
from gateway.store.tables import deliveries

from .machine import tell, until
from .outside import Desk, Vendor, payment, signed, subject
from .town import Town

pytestmark = pytest.mark.slow


def post(town: Town, id_: str, body: bytes) -> httpx.Response:
    return httpx.post(f"{town.url}/hooks/acme/pay", content=body, headers=signed(id_, body), timeout=12)


def stored(town: Town) -> set[str]:
    return {row.dedup_key for row in town.rows(deliveries)}


@pytest.mark.parametrize("seconds", [6, pytest.param(60, marks=pytest.mark.slow)])
def test_without_redis_webhooks_are_accepted_and_done_soon_after_it_is_back(
    town: Town, zendesk: Desk, seconds: int
) -> None:
    workers = [town.start_worker(), town.start_worker()]
    vendor = Vendor(town.url)
    vendor.send([("msg_before", payment("before"))])
    town.settle(20)
    town.machine.kill("valkey")
    vendor.send([(f"msg_{number}", payment(number)) for number in range(seconds * 5)], per_second=5)
    assert vendor.statuses == {"202": seconds * 5 + 1}, "no webhook waits for Redis, or is refused"
    assert vendor.slowest < 3
    town.machine.start("valkey")
    recovery = town.settle(40)
    tell(f"Redis was away for {seconds} s; everything was done {recovery:.1f} s after it was back")
    assert set(zendesk.subjects()) == {subject(n) for n in ["before", *range(seconds * 5)]}
    assert recovery < 25
    assert [worker.popen.poll() for worker in workers] == [None, None], "nobody had to restart them"


def test_without_postgres_nothing_is_acknowledged_and_vendors_are_told_to_come_again(
    town: Town, zendesk: Desk
) -> None:
    workers = [town.start_worker(), town.start_worker()]
    assert post(town, "msg_1", payment(1)).status_code == 202
    town.settle(20)
    town.machine.kill("postgres")
    for number in (2, 3):
        answer = post(town, f"msg_{number}", payment(number))
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "30"
        assert "delivery" not in answer.json()
    assert httpx.get(f"{town.url}/healthz").status_code == 200, "the process itself is well"
    assert httpx.get(f"{town.url}/readyz", timeout=15).status_code == 503
    town.machine.start("postgres")
    assert stored(town) == {"msg_1"}, "what was refused is not there"
    until(lambda: post(town, "msg_2", payment(2)).status_code == 202, "webhooks are accepted again", 10)
    town.settle(30)
    assert set(zendesk.subjects()) == {subject(1), subject(2)}
    assert [worker.popen.poll() for worker in workers] == [None, None], "nobody had to restart them"


def test_without_postgres_jobs_stay_in_the_queue(town: Town, zendesk: Desk) -> None:
    """They would all fail within a second, and be missed until a sweep finds their rows."""
    town.start_worker()
    assert post(town, "msg_1", payment(1)).status_code == 202
    town.settle(20)
    with Redis.from_url(town.machine.redis_url) as redis:
        waiting = jobs.queue(redis, jobs.DECIDE)
        town.machine.kill("postgres")
        for number in range(100):
            waiting.enqueue("gateway.jobs.decide", [number])
        time.sleep(4)
        assert 80 < waiting.count < 100
        town.machine.start("postgres")
        until(lambda: waiting.count == 0, "they are done now", 10)


def test_a_server_that_starts_without_postgres_refuses_until_it_is_there(town: Town) -> None:
    assert town.server
    town.server.kill()
    town.machine.kill("postgres")
    town.start_server()
    assert post(town, "msg_1", payment(1)).status_code == 503
    town.machine.start("postgres")
    until(lambda: post(town, "msg_1", payment(1)).status_code == 202, "webhooks are accepted", 10)


def test_a_server_that_starts_without_redis_accepts(town: Town, zendesk: Desk) -> None:
    assert town.server
    town.server.kill()
    town.machine.kill("valkey")
    town.start_server()
    assert post(town, "msg_1", payment(1)).status_code == 202
    town.machine.start("valkey")
    town.start_worker()
    town.settle(30)
    assert set(zendesk.subjects()) == {subject(1)}


def test_a_redis_that_hangs_is_as_good_as_none(town: Town, zendesk: Desk) -> None:
    """Not dead but silent, as behind a network that swallows everything."""
    valkey = town.machine.running["valkey"]
    town.start_worker()
    assert post(town, "msg_0", payment(0)).status_code == 202
    town.settle(20)
    os.kill(valkey.pid, signal.SIGSTOP)
    try:
        vendor = Vendor(town.url)
        vendor.send([(f"msg_{number}", payment(number)) for number in range(1, 31)], per_second=5)
        assert vendor.statuses == {"202": 30}
        assert vendor.slowest < 3
        assert httpx.get(f"{town.url}/readyz", timeout=15).status_code == 503
        assert town.server
    finally:
        os.kill(valkey.pid, signal.SIGCONT)
    town.settle(40)
    assert set(zendesk.subjects()) == {subject(n) for n in range(31)}


def test_queues_that_were_lost_are_filled_again_from_the_rows(town: Town, zendesk: Desk) -> None:
    Vendor(town.url).send([(f"msg_{number}", payment(number)) for number in range(120)])
    town.machine.kill("valkey")
    town.machine.wipe_valkey()
    town.machine.start("valkey")
    town.start_worker()
    recovery = town.settle(40)
    tell(f"120 webhooks whose jobs were lost were done after {recovery:.1f} s")
    assert len(zendesk.subjects()) == 120
