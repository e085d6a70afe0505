"""Real processes keep the schedule: the vendor is asked what changed, and a stop is not kept waiting by that."""

import time

import pytest

from gateway.store.tables import reconciliations

from .machine import until
from .outside import Desk
from .town import Town

pytestmark = pytest.mark.slow


def test_a_worker_asks_the_vendor_by_itself(town: Town, zendesk: Desk) -> None:
    town.start_worker()

    def looked() -> bool:
        with town.db.connect() as db:
            rows = db.execute(reconciliations.select()).all()
        return [(row.connection, row.error) for row in rows if row.finished_at] == [("desk", None)]

    until(looked, "the list was gone through", 60)
    assert zendesk.calls("GET") == 1


def test_a_look_that_is_held_back_keeps_no_stop_waiting(town: Town, zendesk: Desk) -> None:
    zendesk.misbehave(kind="status", status=429, retry_after=30, path="/api/v2/incremental")
    worker = town.start_worker()
    until(lambda: zendesk.calls("GET"), "the vendor was asked", 60)
    time.sleep(1)
    began = time.monotonic()
    assert worker.stop() == 0
    assert time.monotonic() - began < 8
