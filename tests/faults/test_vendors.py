"""A vendor is dead, or slow: does anybody else notice?"""

import pytest

from gateway.store.tables import actions

from .machine import free_port, tell, until
from .outside import Desk, Vendor, desk, payment, subject
from .town import Town

pytestmark = pytest.mark.slow


def waits(town: Town, healthy: Desk, seconds: int) -> list[float]:
    """Two payments a second of a company whose desk is well: seconds from the 2xx to the ticket, of each."""
    vendor = Vendor(town.url)
    vendor.send([(f"msg_{number}", payment(number)) for number in range(seconds * 2)], per_second=2)
    until(lambda: len(healthy.tickets) == seconds * 2, "all of the healthy company's tickets are there", 30)
    opened = healthy.opened()
    return [opened[subject(number)] - vendor.acknowledged[f"msg_{number}"] for number in range(seconds * 2)]


def test_a_dead_vendor_delays_no_other(town: Town, zendesk: Desk) -> None:
    town.configure(f"http://127.0.0.1:{free_port()}", tenant="dead")
    for _ in range(2):
        town.start_worker()
    Vendor(town.url, tenant="dead").send([(f"msg_{number}", payment(number)) for number in range(150)])
    found = waits(town, zendesk, 10)
    tell(f"beside a dead vendor: {sorted(found)[len(found) // 2]:.2f} s, at most {max(found):.2f} s")
    assert max(found) < 5
    of_dead = town.rows(actions, actions.c.tenant == "dead", actions.c.kind == "create_ticket")
    assert {row.state for row in of_dead} <= {"pending", "executing"}, (
        "they wait for it, and none is given up"
    )
    assert len(of_dead) == 150


@pytest.mark.parametrize("seconds", [3, pytest.param(15, marks=pytest.mark.slow)])
def test_a_slow_vendor_delays_no_other(town: Town, zendesk: Desk, seconds: float) -> None:
    with desk() as slow:
        slow.misbehave(kind="slow", seconds=seconds)
        town.configure(slow.url, tenant="slow")
        for _ in range(2):
            town.start_worker()
        Vendor(town.url, tenant="slow").send([(f"msg_{number}", payment(number)) for number in range(150)])
        until(lambda: slow.calls("POST") >= 8, "it has its hands full")
        found = waits(town, zendesk, 10)
        tell(f"beside a slow vendor: {sorted(found)[len(found) // 2]:.2f} s, at most {max(found):.2f} s")
        assert max(found) < 5
        slow.behave()
        town.settle(60)
        assert sorted(slow.subjects().values()) == [1] * 150


def test_a_steady_stream_uses_all_that_a_connection_may_do_at_a_time(town: Town, zendesk: Desk) -> None:
    """A job of one action each would leave most of it unused while its call is waited for."""
    zendesk.misbehave(kind="slow", seconds=0.5)
    for _ in range(2):
        town.start_worker()
    Vendor(town.url).send([(f"msg_{number}", payment(number)) for number in range(150)], per_second=10)
    backlog = town.unfinished()["pending"]
    tell(f"{backlog} of 150 wait after 15 s at 10 a second, each 0.5 s at the vendor")
    assert backlog < 40
    town.settle(30)
