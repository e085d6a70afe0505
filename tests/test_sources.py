"""Sources: counted after the fact, judged once an hour, and an alarm that ends by itself."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests_town import rows, settle_in

from gateway import sources
from gateway.doctor import of_installation
from gateway.habits import WEEK
from gateway.runtime import Runtime
from gateway.store import deliveries, traffic
from gateway.store.deliveries import Arrival
from gateway.store.tables import incidents
from gateway.store.tables import traffic as hours

NOW = datetime(2026, 3, 4, 15, 10, tzinfo=UTC)  # a Wednesday, in the middle of an hour
HOUR = timedelta(hours=1)
KEYS = itertools.count()


@pytest.fixture
def town(gateway: Runtime) -> Runtime:
    settle_in(gateway, names=("desk", "chat"))
    gateway.clock = lambda: NOW
    return gateway


def come(gateway: Runtime, number: int, at: datetime, connection: str = "desk") -> None:
    """So many webhooks, stored at this time."""
    arrivals = [
        Arrival("acme", connection, str(next(KEYS)), at, None, None, False, {}, {}, b"", "t")
        for _ in range(number)
    ]
    with gateway.db.begin() as db:
        deliveries.insert(db, arrivals)


def count(gateway: Runtime) -> set[tuple[str, str]]:
    with gateway.db.begin() as db:
        return traffic.count(db, gateway.clock())


def habit(gateway: Runtime, connection: str = "desk", each: int = 25) -> None:
    """The same number in each of the last hours, for five weeks."""
    first = NOW.replace(minute=0) - 4 * WEEK - 80 * HOUR
    told = [
        {"hour": first + n * HOUR, "tenant": "acme", "connection": connection, "number": each}
        for n in range(int((NOW - first) / HOUR) - 1)
    ]
    with gateway.db.begin() as db:
        db.execute(hours.insert(), told)


def opened(gateway: Runtime) -> list[Any]:
    return [row for row in rows(gateway, incidents) if row.closed_at is None]


# --- counting ---------------------------------------------------------------------------------------------------


def test_webhooks_are_counted_by_hour_each_once(town: Runtime) -> None:
    come(town, 3, NOW - HOUR)
    come(town, 2, NOW)
    come(town, 1, NOW, "chat")
    assert count(town) == {("acme", "desk"), ("acme", "chat")}
    come(town, 4, NOW)
    assert count(town) == set(), "their transactions may not be over: they are counted the next time"
    assert count(town) == {("acme", "desk")}
    assert count(town) == set()
    with town.db.connect() as db:
        found = traffic.by_hour(db, NOW - 5 * HOUR)
    now = NOW.replace(minute=0)
    assert found == {("acme", "desk"): {now - HOUR: 3, now: 6}, ("acme", "chat"): {now: 1}}


def test_what_we_raise_ourselves_comes_from_no_source(town: Runtime) -> None:
    with town.db.begin() as db:
        deliveries.raise_event(
            db, tenant="acme", connection="desk", dedup_key="k", subject=None, event={}, trace_id="t", now=NOW
        )
    assert count(town) == set()


def test_old_counts_are_forgotten(town: Runtime) -> None:
    come(town, 1, NOW - timedelta(weeks=6))
    assert count(town) == set()
    habit(town)
    with town.db.begin() as db:
        traffic.forget(db, NOW + timedelta(days=1))
    assert len(rows(town, hours)) < 28 * 24 + 80


# --- judging ----------------------------------------------------------------------------------------------------


def test_a_source_that_goes_quiet_is_an_incident_until_it_is_heard_of_again(town: Runtime) -> None:
    habit(town)
    sources.watch(town)
    (alarm,) = opened(town)
    assert (alarm.kind, alarm.subject) == ("quiet_source", "desk")
    assert alarm.message.startswith(
        "desk has gone quiet: no webhook in the last hour, where about 25 are usual at this time of the week."
    )
    sources.watch(town)
    assert opened(town)[0].count == 1, "once an hour is enough"
    come(town, 1, NOW)
    sources.watch(town)
    sources.watch(town)
    assert opened(town) == []


def test_it_is_visible_where_people_look(town: Runtime) -> None:
    habit(town)
    sources.watch(town)
    shown = sources.described(town, ("acme", "desk"))
    assert shown["last_24_hours"] == 25 * 22
    assert shown["same_a_week_ago"] == 25 * 24
    assert shown["last_hour_with_webhooks"] == NOW.replace(minute=0) - 2 * HOUR
    assert "has gone quiet" in str(shown["quiet"])
    found = [finding for finding in of_installation(town, offline=True) if finding.name == "source"]
    assert [finding.level for finding in found] == ["warn"]
    assert "acme/desk has gone quiet" in found[0].text


def test_a_source_that_sends_as_usual_raises_nothing(town: Runtime) -> None:
    habit(town)
    come(town, 25, NOW - HOUR)
    count(town)
    sources.watch(town)
    assert opened(town) == []
    names = [finding.name for finding in of_installation(town, offline=True)]
    assert "sources" in names


def test_a_connection_that_was_removed_is_missed_by_nobody(town: Runtime) -> None:
    habit(town, "gone")
    sources.watch(town)
    assert opened(town) == []


def test_on_a_public_holiday_silence_is_no_news(town: Runtime) -> None:
    tiradentes = datetime(2026, 4, 21, 15, 10, tzinfo=UTC)
    for week in range(5):
        with town.db.begin() as db:
            told = [
                {"hour": tiradentes.replace(minute=0) - week * WEEK - n * HOUR, "tenant": "acme",
                 "connection": "desk", "number": 25}
                for n in range(1, 24) if week or n > 2
            ]  # fmt: skip
            db.execute(hours.insert(), told)
    town.clock = lambda: tiradentes
    sources.watch(town)
    assert opened(town) == []
