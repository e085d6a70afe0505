"""What the webhook left out is read back: once for many hints, at the vendor's pace, and not for ever."""

from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.exc import OperationalError
from tests_town import NOW, arrive, rows, run, settle_in, town

from gateway.api import (
    ApiError,
    ApiFailure,
    ApiSettings,
    RateLimit,
    Ticket,
    TicketCreated,
    TicketRef,
    hookimpl,
)
from gateway.pipeline.collect import Collected, collect
from gateway.runtime import Runtime
from gateway.store import deliveries as inbox
from gateway.store.tables import attempts, deliveries, events, tickets


class Desk:
    """A vendor that is read from; it answers as told."""

    def __init__(self) -> None:
        self.read: list[str] = []
        self.answers: dict[str, Any] = {}
        self.rate = RateLimit(calls=1000, seconds=1, concurrency=3)

    def module(self) -> Any:
        @hookimpl
        def collect_ticket(ref: TicketRef) -> Any:
            self.read.append(ref.id)
            answer = self.answers.get(ref.id, whole(ref.id))
            if isinstance(answer, Exception):
                raise answer
            return answer

        @hookimpl
        def connect_api() -> ApiSettings:
            return ApiSettings(base_url="http://127.0.0.1:1", rate=self.rate)

        return town(collect_ticket=collect_ticket, connect_api=connect_api)


def whole(id_: str) -> Any:
    ref = TicketRef("desk", id_)
    ticket = Ticket(ref=ref, subject=f"whole {id_}", remote_updated_at=NOW)
    event = TicketCreated(id=f"created:{id_}", occurred_at=NOW, ticket=ticket, complete=True)
    return {"events": [event.to_json()]}


@pytest.fixture
def desk(gateway: Runtime) -> Desk:
    made = Desk()
    settle_in(gateway, made.module())
    return made


def hint(gateway: Runtime, subject: str = "7") -> int:
    return arrive(gateway, subject=subject, thin=True)


def told(gateway: Runtime, subject: str = "7") -> int:
    """A webhook that said something itself, and whose ticket a rule wants to see whole."""
    event = TicketCreated(
        id="part", occurred_at=NOW, ticket=Ticket(ref=TicketRef("desk", subject), subject="part")
    )
    id_ = arrive(gateway, event, subject=subject)
    with gateway.db.begin() as db:
        db.execute(update(deliveries).where(deliveries.c.id == id_).values(reading="wanted"))
    return id_


def read(gateway: Runtime, *ids: int) -> Collected:
    return collect(gateway, "acme", "desk", list(ids))


def later(gateway: Runtime, **span: float) -> None:
    moment = gateway.clock() + timedelta(**span)
    gateway.clock = lambda: moment


def states(gateway: Runtime) -> list[tuple[str, str | None]]:
    return [(row.state, row.reading) for row in rows(gateway, deliveries)]


# --- once for many ----------------------------------------------------------------------------------------------


def test_many_hints_about_one_ticket_are_one_reading(gateway, desk):
    ids = [hint(gateway) for _ in range(20)]
    outcome = read(gateway, ids[3])
    assert desk.read == ["7"]
    assert sorted(outcome.ready) == ids, "also those that nobody asked for"
    assert states(gateway) == [("received", "shared")] * 19 + [("received", "done")]
    run(gateway, *outcome.ready)
    assert [row.state for row in rows(gateway, deliveries)] == ["decided"] * 20
    assert [row.body["subject"] for row in rows(gateway, tickets)] == ["whole 7"]
    notes = [row.notes["said"] for row in rows(gateway, deliveries)[:-1]]
    assert set(notes) == {"answered by a later reading of the same ticket"}


def test_tickets_are_read_each_for_itself(gateway, desk):
    ids = [hint(gateway, str(n)) for n in range(6)]
    assert sorted(read(gateway, *ids).ready) == ids
    assert sorted(desk.read) == [str(n) for n in range(6)]


def test_what_was_read_is_not_read_again(gateway, desk):
    id_ = hint(gateway)
    read(gateway, id_)
    assert read(gateway, id_) == Collected()
    assert desk.read == ["7"]


def test_each_reading_is_kept_as_an_attempt(gateway, desk):
    id_ = hint(gateway)
    read(gateway, id_)
    (row,) = rows(gateway, attempts)
    assert (row.connection, row.delivery_id, row.action_id, row.outcome, row.error) == (
        "desk",
        id_,
        None,
        "done",
        None,
    )


def test_what_was_read_is_kept_so_that_a_replay_needs_no_vendor(gateway, desk):
    run(gateway, *read(gateway, hint(gateway)).ready)
    assert rows(gateway, deliveries)[0].collected == whole("7")


# --- the vendor's pace ------------------------------------------------------------------------------------------


def test_beyond_the_budget_they_take_turns_at_the_vendors_pace(gateway, desk):
    desk.rate = RateLimit(calls=6, seconds=60, concurrency=1)
    ids = [hint(gateway, str(n)) for n in range(20)]
    outcome = read(gateway, *ids)
    assert len(outcome.ready) == 6
    assert outcome.waiting == 14
    turns = sorted(row.not_before for row in rows(gateway, deliveries) if row.reading == "wanted")
    gaps = [after - before for before, after in pairwise(turns)]
    assert set(gaps) == {timedelta(seconds=10)}, "one every ten seconds is what the vendor allows"
    assert turns[0] >= NOW + timedelta(seconds=10)
    assert {row.attempts for row in rows(gateway, deliveries)} == {0}, "to wait one's turn is no attempt"


def test_hints_about_one_ticket_wait_together(gateway, desk):
    desk.rate = RateLimit(calls=1, seconds=60, concurrency=1)
    ids = [hint(gateway, subject) for subject in ("1", "2", "3", "2", "3")]
    outcome = read(gateway, *ids)
    assert (outcome.ready, outcome.waiting) == ([ids[0]], 2)
    by_subject: dict[str, set[Any]] = {}
    for row in rows(gateway, deliveries)[1:]:
        by_subject.setdefault(row.subject, set()).add(row.not_before)
    assert {len(moments) for moments in by_subject.values()} == {1}


def test_with_no_budget_at_all_nobody_is_asked(gateway, desk):
    desk.rate = RateLimit(calls=1, seconds=3600, concurrency=1)
    read(gateway, hint(gateway, "1"))
    second = hint(gateway, "2")
    connection = gateway.directory.known.connection("acme", "desk")
    gateway.governor(connection, gateway.api_settings(connection)).take(1)
    assert read(gateway, second).waiting == 1
    assert desk.read == ["1"]
    assert rows(gateway, deliveries)[1].not_before > NOW + timedelta(minutes=55)


# --- failures ---------------------------------------------------------------------------------------------------


def test_a_vendor_that_is_down_is_asked_again_later_and_later_and_the_error_is_kept(gateway, desk):
    desk.answers["7"] = ApiError(ApiFailure.UNAVAILABLE, "answered 503")
    ids = [hint(gateway), hint(gateway)]
    waits = []
    for attempt in range(1, 5):
        assert read(gateway, *ids) == Collected()
        row = rows(gateway, deliveries)[0]
        assert (row.state, row.reading, row.attempts, row.error) == (
            "received",
            "wanted",
            attempt,
            "answered 503",
        )
        waits.append(row.not_before - gateway.clock())
        later(gateway, seconds=waits[-1].total_seconds())
    assert waits == sorted(waits)
    assert waits[-1] > 5 * waits[0]
    del desk.answers["7"]
    assert sorted(read(gateway, *ids).ready) == ids
    assert rows(gateway, deliveries)[1].error is None
    assert [row.outcome for row in rows(gateway, attempts)] == ["unavailable"] * 4 + ["done"]


def test_one_ticket_that_fails_holds_no_other_up(gateway, desk):
    desk.answers["2"] = ApiError(ApiFailure.UNAVAILABLE, "answered 503")
    desk.answers["3"] = ZeroDivisionError("oops")
    ids = [hint(gateway, str(n)) for n in range(5)]
    assert sorted(read(gateway, *ids).ready) == [ids[0], ids[1], ids[4]]


def test_after_a_day_hints_are_parked_with_the_last_error(gateway, desk):
    desk.answers["7"] = ApiError(ApiFailure.UNAVAILABLE, "answered 503")
    id_ = hint(gateway)
    later(gateway, hours=25)
    assert read(gateway, id_) == Collected()
    assert [(row.state, row.error) for row in rows(gateway, deliveries)] == [("parked", "answered 503")]


def test_a_ticket_that_is_not_there_is_looked_for_again_until_every_replica_has_it(gateway, desk):
    desk.answers["7"] = ApiError(ApiFailure.MISSING, "answered 404")
    id_ = hint(gateway)
    assert read(gateway, id_) == Collected()
    assert rows(gateway, deliveries)[0].not_before == NOW + timedelta(seconds=15)
    later(gateway, minutes=11)
    read(gateway, id_)
    assert [(row.state, row.error) for row in rows(gateway, deliveries)] == [("parked", "answered 404")]


def test_what_a_webhook_said_itself_is_decided_when_the_ticket_is_gone(gateway, desk):
    desk.answers["7"] = ApiError(ApiFailure.MISSING, "answered 404")
    said, hinted = told(gateway), hint(gateway)
    later(gateway, minutes=11)
    assert read(gateway, said, hinted).ready == [said]
    assert states(gateway) == [("received", "missing"), ("parked", "wanted")]
    run(gateway, said)
    assert rows(gateway, deliveries)[0].state == "decided"
    assert [row.fact for row in rows(gateway, events)] == ["part"]


def test_a_store_that_goes_away_while_a_reading_is_kept_parks_nothing(gateway, desk, monkeypatch):
    id_ = hint(gateway)

    def gone(*_: Any) -> None:
        raise OperationalError("update", {}, Exception("server closed the connection"))

    monkeypatch.setattr(inbox, "keep_reading", gone)
    with pytest.raises(OperationalError):
        read(gateway, id_)
    assert states(gateway) == [("received", "wanted")]


def test_a_refusal_is_final(gateway, desk):
    desk.answers["7"] = ApiError(ApiFailure.REFUSED, "answered 400")
    read(gateway, hint(gateway))
    assert [(row.state, row.error) for row in rows(gateway, deliveries)] == [("parked", "answered 400")]


def test_a_plugin_with_a_bug_parks_and_is_named(gateway, desk):
    desk.answers["7"] = KeyError("tickets")
    read(gateway, hint(gateway))
    assert rows(gateway, deliveries)[0].error == "town plugin failed: KeyError('tickets')"
    assert rows(gateway, attempts)[0].outcome == "failed"


@pytest.mark.parametrize("odd", [{"n": float("nan")}, {"n": {1, 2}}])
def test_an_answer_that_cannot_be_stored_is_not_asked_for_again_for_ever(gateway, desk, odd):
    desk.answers["7"] = odd
    one, other = hint(gateway), hint(gateway, "8")
    assert read(gateway, one, other).ready == [other]
    row = rows(gateway, deliveries)[0]
    assert row.state == "parked"
    assert row.error.startswith("what the vendor answered cannot be stored")


def test_odd_characters_in_an_answer_are_no_reason_to_refuse_it(gateway, desk):
    desk.answers["7"] = whole("7") | {"note": "nul \x00 and half a pair \ud800"}
    assert len(read(gateway, hint(gateway)).ready) == 1


# --- vendors that cannot be read --------------------------------------------------------------------------------


def test_where_nothing_can_be_read_hints_are_parked_and_the_rest_is_decided(gateway):
    settle_in(gateway, town())
    hinted, said = hint(gateway), told(gateway)
    assert read(gateway, hinted, said).ready == [said]
    assert states(gateway) == [("parked", "wanted"), ("received", "missing")]
    assert rows(gateway, deliveries)[0].error == "connection 'desk' cannot read tickets back"


def test_a_removed_connection_reads_nothing(gateway, desk):
    id_ = arrive(gateway, subject="7", thin=True, connection="gone")
    assert collect(gateway, "acme", "gone", [id_]) == Collected()
    assert rows(gateway, deliveries)[0].error == "connection 'gone' cannot read tickets back"
    assert desk.read == []


def test_a_process_that_is_to_stop_begins_no_reading(gateway, desk):
    id_ = hint(gateway)
    gateway.stopping.set()
    assert read(gateway, id_) == Collected()
    assert (desk.read, states(gateway)) == ([], [("received", "wanted")])
