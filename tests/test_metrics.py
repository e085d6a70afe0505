"""What all processes did, summed up in Redis, and what Prometheus gets to see."""

import threading
from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis
from sqlalchemy import create_engine, update
from tests_town import NOW, arrive, rows, settle_in

from gateway import metrics
from gateway.api import Ticket, TicketCreated, TicketRef
from gateway.runtime import Runtime, connect_redis
from gateway.store import actions, reconciliations
from gateway.store.tables import deliveries
from gateway.testing import serving
from gateway.web.app import App


@pytest.fixture(autouse=True)
def nothing_counted() -> Iterator[None]:
    """The counters of a process are its own for as long as it lives."""
    metrics._counts.clear()
    yield
    metrics._counts.clear()


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with connect_redis(redis_url) as connected:
        yield connected


# --- counters ---------------------------------------------------------------------------------------------------


def test_counts_are_summed_by_name_and_labels(redis):
    metrics.count("received")
    metrics.count("received", 4)
    metrics.count("attempts", state="done")
    metrics.count("attempts", 2, state="dead", stage="x")
    metrics.count("nothing", 0)
    metrics.flush(redis)
    assert metrics.read(redis) == {
        ("received", ()): 5,
        ("attempts", (("state", "done"),)): 1,
        ("attempts", (("stage", "x"), ("state", "dead"))): 2,
    }


def test_what_was_handed_over_is_not_counted_again(redis):
    metrics.count("received")
    metrics.flush(redis)
    metrics.flush(redis)
    metrics.count("received")
    metrics.flush(redis)
    assert metrics.read(redis)["received", ()] == 2


def test_while_redis_is_away_nothing_is_lost(redis):
    metrics.count("received", 3)
    with connect_redis("redis://127.0.0.1:1") as away:
        metrics.flush(away)
        metrics.count("received")
        metrics.flush(away)
    metrics.flush(redis)
    assert metrics.read(redis)["received", ()] == 4


def test_threads_lose_no_count(redis):
    def counting() -> None:
        for n in range(500):
            metrics.count("received")
            if n % 100 == 0:
                metrics.flush(redis)

    threads = [threading.Thread(target=counting) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    metrics.flush(redis)
    assert metrics.read(redis)["received", ()] == 2000


def test_work_that_fails_is_counted_all_the_same(redis):
    def failing() -> None:
        with metrics.flushed(redis):
            metrics.count("decided")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    assert metrics.read(redis)["decided", ()] == 1


# --- what Prometheus sees ---------------------------------------------------------------------------------------


def scraped(url: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    answer = httpx.get(f"{url}/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_rows_that_wait_are_counted_by_state_with_the_age_of_the_oldest(gateway: Runtime):
    settle_in(gateway)
    event = TicketCreated(id="f", occurred_at=NOW, ticket=Ticket(ref=TicketRef("desk", "7")))
    arrive(gateway, event, subject="7")
    arrive(gateway, subject="8", thin=True)
    with gateway.db.begin() as db:
        parked = arrive(gateway, event)
        db.execute(update(deliveries).where(deliveries.c.id == parked).values(state="parked"))
    metrics.count("received", 3)
    metrics.count("refused", 2, reason="proof")
    with serving(App(gateway)) as url:
        found = scraped(url)
    assert found["gateway_received_total", ()] == 3
    assert found["gateway_refused_total", (("reason", "proof"),)] == 2
    assert found["gateway_decided_total", ()] == 0, "a counter is there before anything was counted"
    assert found["gateway_up", (("store", "postgresql"),)] == found["gateway_up", (("store", "redis"),)] == 1
    states = {dict(labels)["state"]: n for (name, labels), n in found.items() if name == "gateway_rows"
              and dict(labels)["what"] == "deliveries"}  # fmt: skip
    assert states == {"decide": 1, "wanted": 1, "parked": 1}
    assert found["gateway_oldest_seconds", (("state", "decide"), ("what", "deliveries"))] > 0
    assert found["gateway_jobs_queued", (("queue", "decide"),)] == 0
    assert len(rows(gateway, deliveries)) == 3


@pytest.mark.parametrize("away", ["redis", "postgresql"])
def test_a_store_that_is_away_is_said_to_be_and_hides_nothing_of_the_other(gateway: Runtime, away: str):
    settle_in(gateway)
    with serving(App(gateway)) as url:
        real_redis, real_db = gateway.redis, gateway.db
        if away == "redis":
            gateway.redis = connect_redis("redis://127.0.0.1:1")
        else:
            gateway.db = create_engine("postgresql+psycopg://postgres@127.0.0.1:1/x")
        found = scraped(url)
        gateway.redis, gateway.db = real_redis, real_db
    up = {dict(labels)["store"]: value for (name, labels), value in found.items() if name == "gateway_up"}
    assert up == {"redis": away != "redis", "postgresql": away != "postgresql"}
    assert any(name == "gateway_rows" for name, _ in found) == (away == "redis")
    assert any(name == "gateway_received_total" for name, _ in found) == (away == "postgresql")


def test_no_tenant_and_no_secret_is_in_the_metrics(gateway: Runtime):
    settle_in(gateway, names=("desk", "confidential-name"))
    with serving(App(gateway)) as url:
        httpx.post(f"{url}/hooks/acme/confidential-name", params={"key": "town-key"}, content=b"{}")
        text = httpx.get(f"{url}/metrics").text
    assert "town-key" not in text
    assert "confidential-name" not in text


def test_what_never_came_is_told_by_vendor(gateway: Runtime):
    settle_in(gateway, names=("desk", "other"))
    now = gateway.clock()
    with gateway.db.begin() as db:
        reconciliations.meet(
            db, [("acme", "desk"), ("acme", "other"), ("acme", "gone")], now - timedelta(hours=2)
        )
        reconciliations.missed(db, {("acme", "desk"): 3, ("acme", "other"): 2, ("acme", "gone"): 7}, now)
        actions.open_incident(
            db, tenant="acme", kind="quiet_source", subject="other", message="quiet", now=now
        )
    with serving(App(gateway)) as url:
        found = scraped(url)
    town = (("vendor", "town"),)
    assert found["gateway_missed_webhooks", town] == 5
    assert found["gateway_reconciled_seconds", town] == 7200
    assert found["gateway_quiet_sources", town] == 1
