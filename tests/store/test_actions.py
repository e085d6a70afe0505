"""The outbox: who may send what, when, and what becomes of the rest."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, Engine, select, update

from gateway.model.action import AddTags, CreateTicket, SaveContact
from gateway.model.person import Contact
from gateway.model.ticket import TicketRef
from gateway.store import actions as outbox
from gateway.store import database
from gateway.store.tables import actions, incidents

NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
REF = TicketRef("desk", "7")


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = database.engine(database_url, pool_size=8)
    yield made
    made.dispose()


@pytest.fixture
def db(engine: Engine) -> Iterator[Connection]:
    with engine.connect() as connection:
        yield connection


def row(action: Any, **other: Any) -> dict[str, Any]:
    ref = getattr(action, "ticket", None)
    id_ = uuid4()
    return {
        "id": id_, "tenant": "acme", "connection": "desk", "event_id": UUID(int=1), "delivery_id": 1, "rule": "r",
        "ordinal": 0, "kind": action.kind, "ticket_id": ref.id if ref else None, "key": getattr(action, "key", None),
        "body": action.model_copy(update={"id": str(id_)}).to_json(), "reason": "r", "trace_id": "t",
        "state": "pending", "error": None, "not_before": NOW, "created_at": NOW, "finished_at": None, **other,
    }  # fmt: skip


def tag(name: str = "x", ticket: str = "7") -> AddTags:
    return AddTags(ticket=TicketRef("desk", ticket), tags=(name,), reason="r")


def create(key: str = "k", **other: Any) -> CreateTicket:
    return CreateTicket(connection="desk", key=key, subject="S", description="D", reason="r", **other)


def add(db: Connection, *rows: dict[str, Any]) -> list[UUID]:
    for each in rows:
        outbox.add(db, [each])
    return [each["id"] for each in rows]


def claim(db: Connection, ids: list[UUID], limit: int = 100, now: datetime = NOW, **other: Any) -> list[UUID]:
    return [each.id for each in outbox.claim(db, "acme", "desk", ids, limit, 5, now, **other)]


def states(db: Connection) -> list[str]:
    return [each.state for each in db.execute(select(actions).order_by(actions.c.seq))]


# --- the ledger -------------------------------------------------------------------------------------------------


def test_the_same_decision_is_written_once(db):
    one = row(tag())
    add(db, one, one | {"reason": "again"})
    assert [each.reason for each in db.execute(select(actions))] == ["r"]


def test_one_key_creates_one_ticket_ever(db):
    first, _ = add(db, row(create()), row(create(priority="high")))
    assert [each.id for each in db.execute(select(actions))] == [first]
    add(db, row(create(), connection="other"), row(create(), tenant="other"))
    assert len(states(db)) == 3


def test_of_a_long_past_the_newest_are_facts(db, monkeypatch):
    monkeypatch.setattr(outbox, "MAX_PAST", 3)
    add(db, *(row(tag(str(n))) for n in range(5)), row(tag("other", "8")), row(tag("theirs"), tenant="other"))
    found = outbox.load_past(db, [("acme", REF), ("acme", TicketRef("desk", "none"))])
    assert [entry.action.tags for entry in found["acme", REF]] == [("2",), ("3",), ("4",)]
    assert list(found) == [("acme", REF)]
    assert outbox.load_past(db, []) == {}


def test_the_past_says_what_became_of_it(db):
    add(db, row(tag(), state="done", finished_at=NOW))
    db.execute(update(actions).values(receipt={"remote_id": "r1"}))
    (entry,) = outbox.load_past(db, [("acme", REF)])["acme", REF]
    assert (entry.state, entry.remote_id, entry.decided_at, entry.finished_at) == ("done", "r1", NOW, NOW)
    assert not entry.uncertain
    db.execute(update(actions).values(state="pending", uncertain=True))
    (entry,) = outbox.load_past(db, [("acme", REF)])["acme", REF]
    assert entry.uncertain, "its answer was lost: it may be done"


# --- claiming ---------------------------------------------------------------------------------------------------


def test_what_is_claimed_is_being_worked_on_and_claimed_by_nobody_else(db):
    ids = add(db, row(tag("a")), row(tag("b")))
    assert claim(db, list(reversed(ids))) == ids, "oldest first"
    assert claim(db, ids) == []
    for each in db.execute(select(actions)):
        assert (each.state, each.worker, each.attempts, each.started_at) == ("executing", 5, 1, NOW)


@pytest.mark.parametrize(
    "other",
    [{"state": "done"}, {"state": "dead"}, {"state": "held"}, {"tenant": "other"}, {"connection": "other"},
     {"not_before": NOW + timedelta(seconds=1)}, {"ticket_id": "+k"}],
)  # fmt: skip
def test_what_is_over_elsewhere_not_due_or_without_its_ticket_is_not_claimed(db, other):
    assert claim(db, add(db, row(tag(), **other))) == []


def test_a_creation_and_what_is_about_no_ticket_need_none(db):
    contact = SaveContact(connection="desk", contact=Contact(name="Dona"), reason="r")
    ids = add(db, row(create()), row(contact), row(contact))
    assert claim(db, ids) == ids


def test_an_earlier_action_on_the_same_ticket_goes_first(db):
    first, second, other = add(db, row(tag("a")), row(tag("b")), row(tag("c", "8")))
    assert claim(db, [second, other]) == [other], "the first was not asked for"
    assert claim(db, [first, second], limit=1) == [first]
    assert claim(db, [second]) == [], "the first is being worked on"
    db.execute(update(actions).where(actions.c.id == first).values(state="dead"))
    assert claim(db, [second]) == [second], "the first is over"


def test_an_earlier_action_that_must_wait_holds_the_later_ones_back(db):
    first, second = add(db, row(tag("a"), not_before=NOW + timedelta(minutes=1)), row(tag("b")))
    assert claim(db, [first, second]) == []
    assert claim(db, [first, second], now=NOW + timedelta(minutes=1)) == [first, second]


def test_an_interrupted_action_waits_until_its_effect_can_be_seen_and_the_later_ones_with_it(db):
    settles = timedelta(minutes=1)
    first, second = add(db, row(tag("a")), row(tag("b")))
    db.execute(update(actions).where(actions.c.id == first).values(uncertain=True, started_at=NOW))
    assert claim(db, [first, second], now=NOW + settles / 2, settles=settles) == []
    assert claim(db, [first, second], now=NOW + settles, settles=settles) == [first, second]


def test_who_claims_at_once_gets_different_actions(engine):
    with engine.begin() as db:
        ids = add(db, *(row(tag(str(n), str(n % 7))) for n in range(60)))
    found: list[list[UUID]] = []

    def claiming() -> None:
        with engine.begin() as db:
            found.append(claim(db, ids, limit=20))

    threads = [threading.Thread(target=claiming) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    claimed = [id_ for part in found for id_ in part]
    assert len(claimed) == len(set(claimed))
    with engine.connect() as db:
        working = db.execute(
            select(actions.c.ticket_id, actions.c.id).where(actions.c.state == "executing")
        ).all()
    by_claim = [{each.ticket_id for each in working if each.id in part} for part in found if part]
    assert sum(map(len, by_claim)) == len(set().union(*by_claim)), "no ticket is worked on by two"


# --- ends and waits ---------------------------------------------------------------------------------------------


def finished(id_: UUID, state: str = "done", **other: Any) -> dict[str, Any]:
    return {
        "id": id_, "state": state, "not_before": NOW, "uncertain": False, "receipt": None, "error": None,
        "finished_at": NOW, "given_back": 0, **other,
    }  # fmt: skip


def test_only_who_still_has_it_in_hand_may_finish_it(db):
    mine, reclaimed = add(db, row(tag("a")), row(tag("b", "8")))
    claim(db, [mine, reclaimed])
    db.execute(update(actions).where(actions.c.id == reclaimed).values(state="pending"))
    outbox.finish(db, [finished(mine), finished(reclaimed)])
    assert states(db) == ["done", "pending"]


def test_what_was_not_sent_is_no_attempt(db):
    (id_,) = add(db, row(tag()))
    claim(db, [id_])
    outbox.finish(db, [finished(id_, "pending", given_back=1, finished_at=None)])
    assert db.execute(select(actions.c.attempts)).scalar() == 0


def test_giving_back_and_ending_touch_only_what_waits(db):
    waiting, working = add(db, row(tag("a")), row(tag("b", "8")))
    claim(db, [working])
    outbox.give_back(db, [waiting, working], NOW + timedelta(minutes=1))
    outbox.end(db, [waiting, working], "dead", "gone \x00", NOW)
    assert [(each.state, each.error) for each in db.execute(select(actions).order_by(actions.c.seq))] == [
        ("dead", "gone \ufffd"), ("executing", None),
    ]  # fmt: skip


def test_what_waits_for_a_ticket_ends_with_it_and_its_creation_does_not(db):
    add(db, row(create()), row(tag("a", "+k")), row(tag("b", "+k"), state="done"), row(tag("c", "+other")))
    outbox.end_dependents(db, "acme", TicketRef("desk", "+k"), "no such team", NOW)
    assert states(db) == ["pending", "dead", "done", "pending"]


def test_only_what_can_be_sent_is_overdue_and_each_once_per_grace(db):
    grace = timedelta(seconds=10)
    late = NOW - grace
    ids = add(
        db, row(tag("a"), not_before=late), row(create(), not_before=late), row(tag("b", "+k"), not_before=late),
        row(tag("c", "8")), row(tag("d", "9"), state="dead", not_before=late),
    )  # fmt: skip
    assert [each.id for each in outbox.overdue(db, NOW, grace, 100)] == ids[:2]
    assert outbox.overdue(db, NOW + grace / 2, grace, 100) == []
    assert len(outbox.overdue(db, NOW + grace, grace, 100)) == 3


# --- retrying ---------------------------------------------------------------------------------------------------


def test_only_what_has_stopped_comes_back_and_is_looked_for_if_it_was_sent(db):
    ids = add(
        db, row(tag("a"), state="dead", error="x", finished_at=NOW), row(tag("b", "8"), state="held"),
        row(tag("c", "9"), state="unsupported"), row(tag("d", "10"), state="done"), row(tag("e", "11")),
    )  # fmt: skip
    db.execute(update(actions).where(actions.c.id == ids[0]).values(attempts=3))
    later = NOW + timedelta(hours=1)
    assert {each.id for each in outbox.retry(db, ids, later)} == set(ids[:3])
    rows = db.execute(select(actions).order_by(actions.c.seq)).all()
    assert [(each.state, each.uncertain) for each in rows] == [
        ("pending", True), ("pending", False), ("pending", False), ("done", False), ("pending", False),
    ]  # fmt: skip
    assert (rows[0].attempts, rows[0].error, rows[0].finished_at, rows[0].not_before) == (
        0,
        None,
        None,
        later,
    )


def test_a_ticket_and_what_died_for_want_of_it_come_back_together(db):
    created, comment, other = add(
        db, row(create(), state="dead"), row(tag("a", "+k"), state="dead"), row(tag("b"), state="dead")
    )
    for chosen in ([created], [comment]):
        assert [each.id for each in outbox.retryable(db, chosen)] == [created, comment]
    assert [each.id for each in outbox.retry_together(db, [comment], NOW)] == [created, comment]
    assert states(db) == ["pending", "pending", "dead"]
    assert outbox.retry_together(db, [comment], NOW) == []
    assert [each.id for each in outbox.retry_together(db, [other], NOW)] == [other]


# --- incidents --------------------------------------------------------------------------------------------------


def test_the_same_trouble_again_only_counts_up_until_it_is_closed(db):
    told = {"tenant": "acme", "kind": "action_budget", "subject": str(REF)}
    for minute in range(3):
        outbox.open_incident(db, **told, message=f"m{minute}", now=NOW + timedelta(minutes=minute))
    (incident,) = db.execute(select(incidents))
    assert (incident.count, incident.message, incident.opened_at) == (3, "m2", NOW)
    assert incident.last_at == NOW + timedelta(minutes=2)
    db.execute(update(incidents).values(closed_at=NOW))
    outbox.open_incident(db, **told, message="again", now=NOW)
    assert [each.count for each in db.execute(select(incidents).order_by(incidents.c.id))] == [3, 1]
