"""The inbox: what is stored once, what comes out in which order, and who may take it."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from secrets import token_urlsafe
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, select, update

from gateway.store import database, deliveries
from gateway.store.database import storable, to_text
from gateway.store.deliveries import MAX_LANE, Arrival
from gateway.store.tables import deliveries as inbox

NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
GRACE = timedelta(seconds=10)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = database.engine(database_url)
    yield made
    made.dispose()


@pytest.fixture
def db(engine: Engine) -> Iterator[Connection]:
    with engine.connect() as connection:
        yield connection


def arrival(key: str, **other: Any) -> Arrival:
    usual = Arrival(
        "acme", "desk", key, NOW, None, "7", False, {}, {"content-type": "application/json"}, b"{}", "t"
    )
    return replace(usual, **other)


def rows(db: Connection) -> list[Any]:
    return list(db.execute(select(inbox).order_by(inbox.c.id)))


# --- storing ----------------------------------------------------------------------------------------------------


def test_a_group_is_answered_in_its_own_order(db):
    keys = [f"k{n}" for n in range(40)]
    stored = deliveries.insert(db, [arrival(key, connection="ab"[n % 2]) for n, key in enumerate(keys)])
    assert not any(item.duplicate for item in stored)
    by_id = {row.id: row for row in rows(db)}
    assert [by_id[item.id].dedup_key for item in stored] == keys
    assert [item.connection for item in stored] == ["ab"[n % 2] for n in range(40)]
    assert [item.id for item in stored] == sorted(item.id for item in stored), "the order of arrival is kept"


def test_everything_about_it_is_kept(db):
    sent = NOW - timedelta(seconds=3)
    deliveries.insert(
        db, [arrival("k", sent_at=sent, query={"a": "ç"}, headers={"x": "y"}, body=b"\x00\xff")]
    )
    (row,) = rows(db)
    assert (row.tenant, row.connection, row.subject, row.origin) == ("acme", "desk", "7", "webhook")
    assert (row.received_at, row.sent_at, row.not_before) == (NOW, sent, NOW)
    assert (row.query, row.headers, row.body) == ({"a": "ç"}, {"x": "y"}, b"\x00\xff")
    assert (row.state, row.attempts, row.duplicates, row.reading) == ("received", 0, 0, None)


@pytest.mark.parametrize(
    ("thin", "subject", "reading"), [(True, "7", "wanted"), (True, None, None), (False, "7", None)]
)
def test_a_hint_about_a_ticket_wants_a_reading(db, thin, subject, reading):
    deliveries.insert(db, [arrival("k", thin=thin, subject=subject)])
    assert rows(db)[0].reading == reading


def test_a_known_key_is_a_duplicate_of_the_first_and_is_counted(db):
    (first,) = deliveries.insert(db, [arrival("k")])
    for _ in range(3):
        (again,) = deliveries.insert(db, [arrival("k", body=b"other")])
        assert (again.id, again.duplicate) == (first.id, True)
    (row,) = rows(db)
    assert (row.duplicates, row.body) == (3, b"{}")


def test_copies_within_one_group_are_one_row_and_all_are_counted(db):
    stored = deliveries.insert(db, [arrival("a"), arrival("b"), arrival("a"), arrival("a"), arrival("b")])
    assert [item.duplicate for item in stored] == [False, False, True, True, True]
    assert stored[0].id == stored[2].id == stored[3].id
    assert stored[1].id == stored[4].id
    assert [(row.dedup_key, row.duplicates) for row in rows(db)] == [("a", 2), ("b", 1)]


def test_a_group_may_be_new_and_known_at_once(db):
    deliveries.insert(db, [arrival("old")])
    stored = deliveries.insert(db, [arrival("new"), arrival("old"), arrival("new"), arrival("old")])
    assert [item.duplicate for item in stored] == [False, True, True, True]
    assert [(row.dedup_key, row.duplicates) for row in rows(db)] == [("old", 2), ("new", 1)]


def test_a_key_is_one_connections_own(db):
    others = [arrival("k"), arrival("k", connection="other"), arrival("k", tenant="other")]
    assert not any(item.duplicate for item in deliveries.insert(db, others))


def test_two_servers_that_store_the_same_at_once_store_it_once(engine):
    told = [arrival(f"k{n % 20}") for n in range(40)]
    found: list[Any] = []

    def store() -> None:
        with engine.begin() as db:
            found.extend(deliveries.insert(db, told))

    threads = [threading.Thread(target=store) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(not item.duplicate for item in found) == 20
    with engine.connect() as db:
        assert sum(row.duplicates for row in rows(db)) == 100
        assert len(rows(db)) == 20


# --- odd characters ---------------------------------------------------------------------------------------------


ODD = "a\x00b\ud800c\udfffç😀"
CLEAN = "a\ufffdb?c?ç😀"


def test_what_postgresql_refuses_is_taken_out_of_every_text(db):
    told = arrival(ODD, subject=ODD, query={ODD: ODD}, headers={"x": ODD})
    (stored,) = deliveries.insert(db, [told])
    (again,) = deliveries.insert(db, [told])
    assert (again.id, again.duplicate) == (stored.id, True)
    (row,) = rows(db)
    assert (row.dedup_key, row.subject, row.query, row.headers) == (
        CLEAN,
        CLEAN,
        {CLEAN: CLEAN},
        {"x": CLEAN},
    )


def test_a_name_too_long_for_an_index_is_shortened_and_still_its_own(db):
    one, two = token_urlsafe(6000), token_urlsafe(6000)
    told = [arrival(one), arrival(two), arrival(one), arrival("k", subject=one)]
    assert [item.duplicate for item in deliveries.insert(db, told)] == [False, False, True, False]
    assert deliveries.insert(db, [arrival(two)])[0].duplicate
    assert rows(db)[2].subject is None, "no ticket has such an id"


@given(st.text())
def test_text_that_can_be_kept_is_left_alone(text):
    kept = storable(text)
    assert "\0" not in kept
    assert kept.encode("utf-8", "strict").decode() == kept
    if "\0" not in text and not any(0xD800 <= ord(c) < 0xE000 for c in text):
        assert kept == text


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
    )
)
def test_json_is_the_same_but_for_what_postgresql_refuses(value):
    text = to_text(value)
    assert "\\u0000" not in text
    assert text.encode()
    if "\\u0000" not in json.dumps(value) and "\\ud" not in json.dumps(value):
        assert json.loads(text) == value


def test_json_that_only_looks_like_a_null_character_is_left_alone(db):
    deliveries.insert(db, [arrival("k", headers={"x": "\\u0000", "y": "\\\\u0000"})])
    assert rows(db)[0].headers == {"x": "\\u0000", "y": "\\\\u0000"}


# --- our own events ---------------------------------------------------------------------------------------------


def raised(db: Connection, key: str, event: Any) -> int | None:
    return deliveries.raise_event(
        db, tenant="acme", connection="desk", dedup_key=key, subject="7", event=event, trace_id="t", now=NOW
    )


def test_an_event_of_ours_is_put_in_once_per_key(db):
    id_ = raised(db, "timer:a\x00", {"note": ODD})
    assert raised(db, "timer:a\x00", {"note": "other"}) is None
    (row,) = rows(db)
    assert (row.id, row.origin, row.subject, row.state) == (id_, "core", "7", "received")
    assert json.loads(row.body) == {"note": CLEAN}


# --- taking -----------------------------------------------------------------------------------------------------


def store(db: Connection, *arrivals: Arrival) -> list[int]:
    return [item.id for item in deliveries.insert(db, arrivals)]


def test_a_lane_is_taken_whole_and_oldest_first(db):
    seven = store(db, arrival("a"), arrival("b"))
    store(db, arrival("c", subject="8"), arrival("d", connection="other"))
    (loose,) = store(db, arrival("e", subject=None))
    lanes, alone = deliveries.lanes_of(db, [seven[1], loose, 10**9])
    assert (lanes, alone) == ([("acme", "desk", "7")], [loose])
    assert [row.id for row in deliveries.take(db, lanes, alone)] == [*seven, loose]


def test_what_is_decided_or_parked_is_taken_no_more(db):
    one, two, three = store(db, arrival("a"), arrival("b"), arrival("c", subject=None))
    deliveries.decided(db, [{"id": one, "notes": {}, "decided_at": NOW}])
    deliveries.park(db, [two, three], "broken\x00", NOW)
    assert deliveries.lanes_of(db, [one, two, three]) == ([], [])
    assert deliveries.take(db, [("acme", "desk", "7")], [three]) == []
    assert [(row.state, row.error) for row in rows(db)] == [
        ("decided", None), ("parked", "broken\ufffd"), ("parked", "broken\ufffd"),
    ]  # fmt: skip


def test_a_long_lane_is_taken_piece_by_piece(db):
    store(db, *(arrival(f"k{n}") for n in range(MAX_LANE + 5)))
    taken = deliveries.take(db, [("acme", "desk", "7")], [])
    assert [row.dedup_key for row in taken] == [f"k{n}" for n in range(MAX_LANE)]


def test_a_loose_delivery_that_another_holds_is_left_to_it(engine):
    with engine.begin() as db:
        (id_,) = store(db, arrival("k", subject=None))
    with engine.begin() as mine, engine.begin() as theirs:
        assert len(deliveries.take(mine, [], [id_])) == 1
        assert deliveries.take(theirs, [], [id_]) == []


def test_a_replay_brings_back_what_was_over_and_nothing_else(db):
    one, two, three = store(db, arrival("a"), arrival("b"), arrival("c"))
    deliveries.decided(db, [{"id": one, "notes": {"said": "x"}, "decided_at": NOW}])
    deliveries.park(db, [two], "broken", NOW)
    later = NOW + timedelta(hours=1)
    assert sorted(deliveries.replay(db, [one, two, three], later)) == [one, two]
    assert [(row.state, row.error, row.notes) for row in rows(db)] == [
        ("received", None, {"replay": True}), ("received", None, {"replay": True}), ("received", None, None),
    ]  # fmt: skip


# --- readings ---------------------------------------------------------------------------------------------------


def test_one_reading_answers_every_hint_about_its_ticket(db):
    ids = store(
        db, *(arrival(f"k{n}", thin=True) for n in range(3)), arrival("other", thin=True, subject="8")
    )
    (group,) = deliveries.unread(db, "acme", "desk", [ids[1]]).values()
    assert [row.id for row in group] == ids[:3]
    deliveries.keep_reading(db, group, {"ticket": 7})
    assert [(row.reading, row.collected) for row in rows(db)] == [
        ("shared", None), ("shared", None), ("done", {"ticket": 7}), ("wanted", None),
    ]  # fmt: skip


def test_a_webhook_that_said_something_itself_keeps_its_own_copy(db):
    told, hint, last = store(db, arrival("a"), arrival("b", thin=True), arrival("c", thin=True))
    deliveries.want_reading(db, [told])
    (group,) = deliveries.unread(db, "acme", "desk", [hint]).values()
    deliveries.keep_reading(db, group, {"ticket": 7})
    assert {row.id: row.reading for row in rows(db)} == {told: "done", hint: "shared", last: "done"}


def test_postponing_counts_only_attempts(db):
    (id_,) = store(db, arrival("k", thin=True))
    deliveries.postpone(db, [id_], NOW + timedelta(minutes=1), None, count=False)
    assert (rows(db)[0].attempts, rows(db)[0].error) == (0, None)
    deliveries.postpone(db, [id_], NOW + timedelta(minutes=2), "x" * 5000, count=True)
    (row,) = rows(db)
    assert (row.attempts, len(row.error), row.not_before) == (1, 2000, NOW + timedelta(minutes=2))


# --- left behind ------------------------------------------------------------------------------------------------


def test_only_what_waited_longer_than_the_grace_is_overdue(db):
    late, fresh = store(db, arrival("a", received_at=NOW - GRACE), arrival("b", received_at=NOW - GRACE / 2))
    assert [row.id for row in deliveries.overdue(db, NOW, GRACE, 100)] == [late]
    assert deliveries.overdue(db, NOW + GRACE / 4, GRACE, 100) == [], "it is left alone for as long again"
    later = NOW + GRACE
    assert [row.id for row in deliveries.overdue(db, later, GRACE, 100)] == [late, fresh]


def test_what_is_over_or_postponed_is_never_overdue(db):
    over, parked, waiting = store(db, *(arrival(key, received_at=NOW - GRACE * 9) for key in "abc"))
    deliveries.decided(db, [{"id": over, "notes": {}, "decided_at": NOW}])
    deliveries.park(db, [parked], "x", NOW)
    deliveries.postpone(db, [waiting], NOW + timedelta(minutes=1), None, count=False)
    assert deliveries.overdue(db, NOW + GRACE, GRACE, 100) == []


def test_two_sweeps_at_once_find_different_rows(engine):
    with engine.begin() as db:
        store(db, *(arrival(f"k{n}", received_at=NOW - GRACE) for n in range(6)))
    with engine.begin() as mine, engine.begin() as theirs:
        first = {row.id for row in deliveries.overdue(mine, NOW, GRACE, 3)}
        second = {row.id for row in deliveries.overdue(theirs, NOW, GRACE, 100)}
    assert (len(first), len(second), first & second) == (3, 3, set())


def test_a_row_changed_meanwhile_is_not_decided_over(db):
    (id_,) = store(db, arrival("k"))
    deliveries.park(db, [id_], "broken", NOW)
    deliveries.decided(db, [{"id": id_, "notes": {}, "decided_at": NOW}])
    deliveries.keep_missing(db, [id_])
    db.execute(update(inbox).values(attempts=0))
    assert [(row.state, row.reading) for row in rows(db)] == [("parked", None)]
