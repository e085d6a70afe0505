"""A vendor is dead, or slow: does anybody else notice?"""

import pytest

from gateway.store.tables import actions

from .machine import free_port, tell, until
from .outside import Desk, Vendor, desk, payment, subject
from .town import Town

pytestmark = pytest.mark.slow


def waits(town: Town, healthy: Desk, name: str, seconds: int = 10) -> list[float]:
    """Two payments a second of a company whose desk is well: seconds from the 2xx to the ticket, of each, in order."""
    vendor = Vendor(town.url)
    names = [f"{name}_{number}" for number in range(seconds * 2)]
    vendor.send([(told, payment(told)) for told in names], per_second=2)
    until(lambda: {subject(told) for told in names} <= set(healthy.subjects()), "all tickets are there", 60)
    opened = healthy.opened()
    return sorted(opened[subject(told)] - vendor.acknowledged[told] for told in names)


def workers_at_work(town: Town, healthy: Desk) -> None:
    """Two, of which one at least has shown it; their start is not what is measured."""
    for _ in range(2):
        town.start_worker()
    waits(town, healthy, "start", 1)


def undelayed(before: list[float], beside: list[float], seconds: float) -> bool:
    """Whether nobody waited for a vendor that takes so long: half of that would be seen, however busy the machine
    was already before. One of them may have had bad luck."""
    tell(f"before {before[len(before) // 2]:.2f} s, at most {before[-1]:.2f} s; "
         f"beside it {beside[len(beside) // 2]:.2f} s, at most {beside[-1]:.2f} s")  # fmt: skip
    return beside[-2] < before[-1] + seconds / 2


def test_a_dead_vendor_delays_no_other(town: Town, zendesk: Desk) -> None:
    town.configure(f"http://127.0.0.1:{free_port()}", tenant="dead")
    workers_at_work(town, zendesk)
    before = waits(town, zendesk, "before")
    Vendor(town.url, tenant="dead").send([(f"msg_{number}", payment(number)) for number in range(150)])
    assert undelayed(before, waits(town, zendesk, "beside"), 10)
    of_dead = town.rows(actions, actions.c.tenant == "dead", actions.c.kind == "create_ticket")
    assert {row.state for row in of_dead} <= {"pending", "executing"}, (
        "they wait for it, and none is given up"
    )
    assert len(of_dead) == 150


@pytest.mark.parametrize("seconds", [3, 15])
def test_a_slow_vendor_delays_no_other(town: Town, zendesk: Desk, seconds: float) -> None:
    with desk() as slow:
        slow.misbehave(kind="slow", seconds=seconds)
        town.configure(slow.url, tenant="slow")
        workers_at_work(town, zendesk)
        before = waits(town, zendesk, "before")
        Vendor(town.url, tenant="slow").send([(f"msg_{number}", payment(number)) for number in range(150)])
        until(lambda: slow.calls("POST") >= 8, "it has its hands full")
        assert undelayed(before, waits(town, zendesk, "beside"), seconds)
        slow.behave()
        town.settle(60)
        assert sorted(slow.subjects().values()) == [1] * 150


def test_a_steady_stream_uses_all_that_a_connection_may_do_at_a_time(town: Town, zendesk: Desk) -> None:
    """A job of one action each would leave most of it unused while its call is waited for."""
    workers_at_work(town, zendesk)
    zendesk.misbehave(kind="slow", seconds=0.5)
    Vendor(town.url).send([(f"msg_{number}", payment(number)) for number in range(150)], per_second=10)
    backlog = town.unfinished()["pending"]
    tell(f"{backlog} of 150 wait after 15 s at 10 a second, each 0.5 s at the vendor")
    assert backlog < 75, "one at a time for each of its two jobs would leave 90"
    town.settle(30)
