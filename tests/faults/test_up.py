"""`gateway up` has everything in its hands: is what dies started again, and does nothing outlive it?"""

import os
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .machine import until
from .outside import Desk, Vendor, payment, subject
from .town import Household

pytestmark = pytest.mark.slow


@pytest.fixture
def household(zendesk: Desk) -> Iterator[Household]:
    """`gateway up` on a data dir of its own, configured."""
    with tempfile.TemporaryDirectory(prefix="gateway-up-") as folder:
        house = Household(Path(folder))
        try:
            house.start()
            house.configure(zendesk.url)
            yield house
        finally:
            house.end()


def test_whatever_dies_under_it_is_started_again_and_nothing_is_lost(
    household: Household, zendesk: Desk
) -> None:
    vendor = Vendor(household.url)
    with vendor.sending([(f"msg_{number}", payment(number)) for number in range(200)], 10):
        for name in ("server", "worker", "postgres", "valkey-server", "worker", "keeper"):
            time.sleep(2.0)
            os.kill(household.pid_of(name), signal.SIGKILL)
    household.settle(90)
    assert zendesk.subjects() == {subject(number): 1 for number in range(200)}
    assert household.stop() == 0
    assert household.processes() == []


def test_nothing_outlives_it_when_it_is_killed(household: Household) -> None:
    assert len(household.processes()) >= 6
    household.kill()
    until(lambda: not household.processes(), "all of it is gone", 30)
