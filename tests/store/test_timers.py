"""Timers are rows: started, moved, canceled, and taken once when they are due."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, select

from gateway.store import database, timers
from gateway.store.tables import timers as rows

NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = database.engine(database_url)
    yield made
    made.dispose()


@pytest.fixture
def db(engine: Engine) -> Iterator[Connection]:
    with engine.connect() as connection:
        yield connection


def timer(key: str, minutes: int = 0, **other: Any) -> dict[str, Any]:
    return {
        "tenant": "acme", "key": key, "rule": "r", "at": NOW + timedelta(minutes=minutes), "connection": None,
        "ticket_id": None, "payload": {}, "changed_at": NOW, **other,
    }  # fmt: skip


def taken(db: Connection, minutes: int = 0, limit: int = 100) -> list[str]:
    return [row.key for row in timers.take_due(db, NOW + timedelta(minutes=minutes), limit)]


def states(db: Connection) -> dict[str, str]:
    return {row.key: row.state for row in db.execute(select(rows))}


def test_they_are_taken_when_they_are_due_oldest_first_and_once(db):
    timers.start(db, [timer("late", -5), timer("now"), timer("soon", 1), timer("oldest", -9)])
    assert taken(db) == ["oldest", "late", "now"]
    assert taken(db) == []
    assert taken(db, minutes=1) == ["soon"]
    assert set(states(db).values()) == {"fired"}


def test_what_was_taken_says_all_that_was_started(db):
    timers.start(db, [timer("t", connection="desk", ticket_id="7", payload={"n": 1}, rule="mine")])
    (row,) = timers.take_due(db, NOW, 100)
    assert (row.tenant, row.key, row.rule, row.at) == ("acme", "t", "mine", NOW)
    assert (row.connection, row.ticket_id, row.payload) == ("desk", "7", {"n": 1})


def test_starting_a_key_again_moves_it_also_after_it_has_fired(db):
    timers.start(db, [timer("t", 1, payload={"n": 1})])
    timers.start(db, [timer("t", 5, payload={"n": 2})])
    assert taken(db, minutes=4) == []
    assert taken(db, minutes=5) == ["t"]
    timers.start(db, [timer("t", 9)])
    assert taken(db, minutes=9) == ["t"]


def test_a_canceled_timer_does_not_fire_unless_it_is_started_again(db):
    timers.start(db, [timer("a"), timer("b"), timer("b", tenant="other")])
    timers.cancel(db, [("acme", "b"), ("acme", "none")], NOW)
    assert taken(db) == ["a", "b"]
    timers.cancel(db, [("acme", "a")], NOW)
    assert states(db)["a"] == "fired", "what has fired cannot be canceled any more"
    timers.start(db, [timer("b")])
    assert taken(db) == ["b"]


def test_no_more_are_taken_than_asked_for(db):
    timers.start(db, [timer(f"t{n}", -n) for n in range(5)])
    assert taken(db, limit=2) == ["t4", "t3"]


def test_two_sweeps_at_once_take_different_ones(engine):
    with engine.begin() as db:
        timers.start(db, [timer(f"t{n}") for n in range(50)])
    found: list[list[str]] = []

    def taking() -> None:
        with engine.begin() as db:
            found.append(taken(db, limit=20))

    threads = [threading.Thread(target=taking) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    keys = [key for part in found for key in part]
    assert len(keys) == len(set(keys))
    with engine.begin() as db:
        keys += taken(db)
    assert sorted(keys) == sorted(f"t{n}" for n in range(50))


def test_nothing_to_start_or_cancel_is_nothing(db):
    timers.start(db, [])
    timers.cancel(db, [], NOW)
    assert states(db) == {}
