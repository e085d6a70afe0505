"""A decision becomes a vendor's answer, once and only once."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from secrets import token_urlsafe
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.event import listens_for
from sqlalchemy.exc import OperationalError
from tests_town import NOW, arrive, rows, rule, run, settle_in, town

from gateway.api import (
    AddComment,
    AddTags,
    ApiError,
    ApiFailure,
    ApiSettings,
    CreateTicket,
    LinkTickets,
    RateLimit,
    Receipt,
    Ticket,
    TicketCreated,
    TicketRef,
    hookimpl,
)
from gateway.pipeline.execute import WORTH_A_THREAD, execute
from gateway.runtime import Runtime
from gateway.store import actions as outbox
from gateway.store.tables import actions, attempts, links, tickets

REF = TicketRef("desk", "7")
SHORT, LONG = timedelta(seconds=30), timedelta(seconds=90)


class Vendor:
    """Answers as told, and remembers what it was asked."""

    def __init__(self) -> None:
        self.done: list[Any] = []
        self.looked: list[Any] = []
        self.answers: list[Any] = []
        self.effect: Receipt | None = None
        self.rate = RateLimit(calls=1000, seconds=1, concurrency=1)
        self.base_url = "http://127.0.0.1:1"

    def module(self) -> Any:
        @hookimpl
        def execute_action(action: Any) -> Receipt | None:
            self.done.append(action)
            answer = self.answers.pop(0) if self.answers else Receipt(remote_id=f"r{len(self.done)}")
            if isinstance(answer, Exception):
                raise answer
            return answer

        @hookimpl
        def find_effect(action: Any) -> Receipt | None:
            self.looked.append(action)
            return self.effect

        @hookimpl
        def connect_api() -> ApiSettings:
            return ApiSettings(base_url=self.base_url, rate=self.rate)

        return town(execute_action=execute_action, find_effect=find_effect, connect_api=connect_api)


@pytest.fixture
def vendor() -> Vendor:
    return Vendor()


@pytest.fixture
def decided(gateway: Runtime, vendor: Vendor) -> Any:
    """Have a rule answer these actions to one event, and give the ids of what may be sent."""

    def deciding(*found: Any) -> list[Any]:
        settle_in(gateway, vendor.module(), {"told": rule("told", lambda e, f: found)})
        event = TicketCreated(id="created:7", occurred_at=NOW, ticket=Ticket(ref=REF, remote_updated_at=NOW))
        run(gateway, arrive(gateway, event, subject="7"))
        return [row.id for row in rows(gateway, actions) if row.state == "pending"]

    return deciding


def send(gateway: Runtime, ids: list[Any]) -> Any:
    return execute(gateway, 1, "acme", "desk", ids)


def later(gateway: Runtime, **span: float) -> None:
    moment = gateway.clock() + timedelta(**span)
    gateway.clock = lambda: moment


def tag(name: str = "x") -> AddTags:
    return AddTags(ticket=REF, tags=(name,), reason="r")


def test_a_done_action_keeps_its_receipt(gateway, vendor, decided):
    ids = decided(tag())
    assert send(gateway, ids).states == {"done": 1}
    (row,) = rows(gateway, actions)
    assert (row.state, row.receipt, row.attempts, row.finished_at) == ("done", {"remote_id": "r1"}, 1, NOW)
    assert vendor.done[0].id == str(row.id), "the plugin gets the ledger's id, to use as key or marker"


def test_what_is_done_is_never_sent_again(gateway, vendor, decided):
    ids = decided(tag())
    send(gateway, ids)
    send(gateway, ids)
    assert len(vendor.done) == 1


def test_the_actions_of_one_ticket_go_out_in_order(gateway, vendor, decided):
    ids = decided(tag("a"), tag("b"), tag("c"))
    send(gateway, list(reversed(ids)))
    assert [action.tags for action in vendor.done] == [("a",), ("b",), ("c",)]


def test_a_failed_action_holds_back_the_later_ones_of_its_ticket(gateway, vendor, decided):
    vendor.answers = [ApiError(ApiFailure.UNAVAILABLE, "503")]
    ids = decided(tag("a"), tag("b"))
    send(gateway, ids)
    assert [row.state for row in rows(gateway, actions)] == ["pending", "pending"]
    assert len(vendor.done) == 1
    assert send(gateway, ids[1:]).states == {}, "the second waits although it is due"
    later(gateway, minutes=1)
    send(gateway, ids)
    assert [row.state for row in rows(gateway, actions)] == ["done", "done"]
    assert [row.attempts for row in rows(gateway, actions)] == [2, 1]


def test_a_refusal_is_final_and_keeps_its_error(gateway, vendor, decided):
    vendor.answers = [ApiError(ApiFailure.REFUSED, "422 no such field")]
    send(gateway, decided(tag()))
    (row,) = rows(gateway, actions)
    assert (row.state, row.error) == ("dead", "422 no such field")


def test_waiting_for_our_turn_is_no_attempt(gateway, vendor, decided):
    vendor.answers = [ApiError(ApiFailure.THROTTLED, "wait", retry_after=30)]
    sent = send(gateway, decided(tag()))
    (row,) = rows(gateway, actions)
    assert (row.state, row.attempts) == ("pending", 0)
    assert NOW + timedelta(seconds=30) <= row.not_before <= NOW + timedelta(seconds=33)
    assert list(sent.soon(NOW)) == [pytest.approx(31, abs=2)]


def test_an_unanswered_action_is_looked_for_before_it_is_sent_again(gateway, vendor, decided):
    vendor.answers = [ApiError(ApiFailure.UNANSWERED, "no answer", uncertain=True)]
    ids = decided(tag())
    send(gateway, ids)
    vendor.effect = Receipt(remote_id="found")
    later(gateway, minutes=5)
    send(gateway, ids)
    (row,) = rows(gateway, actions)
    assert (row.state, row.receipt) == ("done", {"remote_id": "found"})
    assert (len(vendor.done), len(vendor.looked)) == (1, 1)


def test_an_unanswered_action_without_effect_is_sent_again(gateway, vendor, decided):
    vendor.answers = [ApiError(ApiFailure.UNANSWERED, "no answer", uncertain=True)]
    ids = decided(tag())
    send(gateway, ids)
    later(gateway, minutes=5)
    send(gateway, ids)
    assert (len(vendor.done), len(vendor.looked)) == (2, 1)
    assert rows(gateway, actions)[0].state == "done"


def test_an_action_whose_worker_died_is_taken_back_and_looked_for(gateway, vendor, decided):
    ids = decided(tag())
    with gateway.db.begin() as db:
        outbox.claim(db, "acme", "desk", ids, 10, 4711, NOW)
    with gateway.db.begin() as db:
        assert outbox.reclaim(db, NOW, SHORT, LONG, 100) == 1
    assert send(gateway, ids).states == {}, "a call of the dead worker may still be on its way"
    later(gateway, minutes=2)
    send(gateway, ids)
    assert len(vendor.looked) == 1
    assert rows(gateway, actions)[0].state == "done"


def test_an_action_of_a_living_worker_is_not_taken_back(gateway, vendor, decided):
    ids = decided(tag())
    with gateway.db.connect() as alive:
        alive.exec_driver_sql(f"SELECT pg_advisory_lock({outbox.LIVING}, 4711)")
        with gateway.db.begin() as db:
            outbox.claim(db, "acme", "desk", ids, 10, 4711, NOW)
        with gateway.db.begin() as db:
            assert outbox.reclaim(db, NOW, SHORT, LONG, 100) == 0
        alive.invalidate()


def test_what_a_reclaimed_worker_still_reports_changes_nothing(gateway, decided):
    ids = decided(tag())
    with gateway.db.begin() as db:
        outbox.claim(db, "acme", "desk", ids, 10, 1, NOW)
        outbox.reclaim(db, NOW, SHORT, LONG, 10)
        report = {
            "id_": ids[0], "state": "dead", "not_before": NOW, "uncertain": False, "receipt": None,
            "error": "late", "finished_at": NOW, "given_back": 0,
        }  # fmt: skip
        outbox.finish(db, [report])
    assert rows(gateway, actions)[0].state == "pending"


def test_what_the_vendor_cannot_do_is_unsupported(gateway, vendor, decided):
    vendor.answers = [None]
    send(gateway, decided(tag()))
    assert (rows(gateway, actions)[0].state, rows(gateway, actions)[0].error) == (
        "unsupported", "town does not support add_tags",
    )  # fmt: skip


def test_a_plugin_with_a_bug_ends_the_action_with_the_reason(gateway, vendor, decided):
    vendor.answers = [KeyError("bug")]
    send(gateway, decided(tag()))
    (row,) = rows(gateway, actions)
    assert row.state == "dead"
    assert "town plugin failed: KeyError('bug')" in row.error


def test_a_created_ticket_takes_the_place_of_the_planned_one(gateway, vendor, decided):
    create = CreateTicket(
        connection="desk", key="k", subject="S", description="D", tags=("core",), reason="r"
    )
    link = LinkTickets(left=str(create.ticket), right="customer:c1", reason="r")
    ids = decided(create, link, AddComment(ticket=create.ticket, body="first", reason="r"))
    vendor.answers = [Receipt(remote_id="99")]
    sent = send(gateway, ids)
    assert len(vendor.done) == 1, "the comment waits for its ticket"
    comment = next(row for row in rows(gateway, actions) if row.kind == "add_comment")
    assert (comment.ticket_id, comment.body["ticket"]["id"]) == ("99", "99")
    assert sent.follow == [comment.id]
    assert {(row.id, row.body["ref"]["id"]) for row in rows(gateway, tickets)} == {("7", "7"), ("99", "99")}
    assert [row.source for row in rows(gateway, links)] == ["ticket:desk:99"]
    send(gateway, sent.follow)
    assert vendor.done[-1].ticket == TicketRef("desk", "99")


def test_what_waits_for_a_ticket_that_is_refused_ends_with_it(gateway, vendor, decided):
    create = CreateTicket(connection="desk", key="k", subject="S", description="D", reason="r")
    ids = decided(create, AddComment(ticket=create.ticket, body="first", reason="r"))
    vendor.answers = [ApiError(ApiFailure.REFUSED, "no such team")]
    send(gateway, ids)
    assert [row.state for row in rows(gateway, actions)] == ["dead", "dead"]
    assert rows(gateway, actions)[1].error == "its ticket was not created: no such team"
    assert [row.id for row in rows(gateway, tickets)] == ["7"], "rules must not count on it any longer"


def test_beyond_the_budget_nothing_is_claimed(gateway, vendor, decided):
    vendor.rate = RateLimit(calls=1, seconds=3600, concurrency=1)
    ids = decided(tag("a"), AddTags(ticket=TicketRef("desk", "8"), tags=("b",), reason="r"))
    api = gateway.api_settings(gateway.directory.known.connection("acme", "desk"))
    gateway.governor(gateway.directory.known.connection("acme", "desk"), api).take(1)
    sent = send(gateway, ids)
    assert (sent.waiting, vendor.done) == (2, [])
    assert {row.state for row in rows(gateway, actions)} == {"pending"}
    assert min(row.not_before for row in rows(gateway, actions)) > NOW


def test_the_actions_of_a_removed_connection_end_with_a_reason(gateway, decided):
    ids = decided(tag())
    gateway.directory.known = type(gateway.directory.known)(gateway.directory.known.version, {})
    send(gateway, ids)
    (row,) = rows(gateway, actions)
    assert row.state == "dead"
    assert "'desk' does not exist" in row.error


def test_after_a_day_it_is_given_up(gateway, vendor, decided):
    ids = decided(tag())
    with gateway.db.begin() as db:
        db.execute(update(actions).values(created_at=NOW - timedelta(hours=25)))
    vendor.answers = [ApiError(ApiFailure.UNAVAILABLE, "still 503")]
    send(gateway, ids)
    assert rows(gateway, actions)[0].state == "dead"


def test_dead_actions_come_back_when_asked_and_are_looked_for_first(gateway, vendor, decided):
    vendor.answers = [ApiError(ApiFailure.REFUSED, "typo")]
    ids = decided(tag())
    send(gateway, ids)
    with gateway.db.begin() as db:
        outbox.retry(db, ids, NOW)
    send(gateway, ids)
    assert rows(gateway, actions)[0].state == "done"
    assert len(vendor.looked) == 1
    assert rows(gateway, attempts) == [], "no call was made over HTTP by this vendor"


@pytest.mark.parametrize("failure", [ApiFailure.REFUSED, ApiFailure.UNAVAILABLE])
def test_an_error_may_quote_whatever_a_vendor_answers(gateway, vendor, decided, failure):
    vendor.answers = [ApiError(failure, "answered: nul \x00 and half a pair \ud800")]
    send(gateway, decided(tag()))
    (row,) = rows(gateway, actions)
    assert row.state in {"dead", "pending"}
    assert row.error == "answered: nul \ufffd and half a pair ?"


def test_an_answer_that_cannot_be_stored_takes_no_other_with_it(gateway, vendor, decided):
    create = CreateTicket(connection="desk", key="k", subject="S", description="D", reason="r")
    ids = decided(tag("a"), create, AddComment(ticket=create.ticket, body="b", reason="r"))
    vendor.answers = [Receipt(remote_id=token_urlsafe(6000)), Receipt(remote_id="1")]
    sent = send(gateway, ids)
    assert sent.states == {"done": 1, "dead": 1}
    done, lost, waiting = rows(gateway, actions)
    assert (done.state, done.receipt) == ("done", {"remote_id": "1"})
    assert (lost.state, lost.uncertain) == ("dead", True)
    assert lost.error.startswith("what the vendor answered cannot be stored: index row size")
    assert waiting.state == "dead"


def test_a_receipt_of_odd_characters_is_kept(gateway, vendor, decided):
    vendor.answers = [Receipt(remote_id="1\x00\ud800")]
    send(gateway, decided(tag()))
    assert rows(gateway, actions)[0].receipt == {"remote_id": "1\ufffd?"}


def test_what_waits_for_a_ticket_whose_id_was_not_said_ends_with_the_reason(gateway, vendor, decided):
    create = CreateTicket(connection="desk", key="k", subject="S", description="D", reason="r")
    ids = decided(create, AddComment(ticket=create.ticket, body="first", reason="r"))
    vendor.answers = [Receipt()]
    send(gateway, ids)
    assert [row.state for row in rows(gateway, actions)] == ["done", "dead"]
    assert rows(gateway, actions)[1].error == "its ticket was created, but the vendor did not say its id"
    assert [row.id for row in rows(gateway, tickets)] == ["7"], "rules must not count on it any longer"


def test_an_action_that_this_version_cannot_read_ends_alone(gateway, vendor, decided):
    ids = decided(tag("a"), AddTags(ticket=TicketRef("desk", "8"), tags=("b",), reason="r"))
    with gateway.db.begin() as db:
        db.execute(
            update(actions).where(actions.c.ticket_id == "7").values(body={"kind": "dance", "id": "x"})
        )
    assert send(gateway, ids).states == {"dead": 1, "done": 1}
    assert "dance" in rows(gateway, actions)[0].error


def test_a_connection_whose_address_is_no_address_says_so(gateway, vendor, decided):
    ids = decided(tag())
    vendor.base_url = "http://desk:port"
    send(gateway, ids)
    (row,) = rows(gateway, actions)
    assert row.state == "dead"
    assert "base_url" in row.error


@pytest.mark.parametrize("after", ["actions.key = sent.key", "FOR SHARE"])
def test_an_action_decided_while_its_ticket_is_being_created_is_about_the_real_one(
    gateway, vendor, decided, after
):
    """The ticket becomes real between the look for it, or the hold on it, and the commit of what was decided."""
    create = CreateTicket(connection="desk", key="k", subject="S", description="D", reason="r")
    ids = decided(create)
    note = AddComment(ticket=create.ticket, body="later", reason="r")
    settle_in(gateway, vendor.module(), {"noting": rule("noting", lambda e, f: [note])})
    later_event = TicketCreated(id="created:8", occurred_at=NOW, ticket=Ticket(ref=TicketRef("desk", "8")))
    id_ = arrive(gateway, later_event, subject="8")
    looked, sent = threading.Event(), threading.Event()
    vendor.answers = [Receipt(remote_id="99")]

    @listens_for(gateway.db, "after_cursor_execute")
    def between(conn, cursor, statement, parameters, context, executemany):
        if after in statement and threading.current_thread().name == "deciding":
            looked.set()
            sent.wait(0.5)

    deciding = threading.Thread(target=run, args=(gateway, id_), name="deciding")
    deciding.start()
    in_time = looked.wait(5)
    send(gateway, ids)
    sent.set()
    deciding.join()
    assert in_time
    comment = next(row for row in rows(gateway, actions) if row.kind == "add_comment")
    assert (comment.ticket_id, comment.body["ticket"]["id"]) == ("99", "99")


class Watched(list[Any]):
    """Notes in which thread, and beside how many others, each action is carried out; waits as told."""

    def __init__(self, wait: Callable[[int], object]) -> None:
        super().__init__()
        self.wait = wait
        self.threads: list[str] = []
        self.beside: list[int] = []
        self._busy = 0
        self._lock = threading.Lock()

    def append(self, action: Any) -> None:
        with self._lock:
            self._busy += 1
            self.beside.append(self._busy)
            self.threads.append(threading.current_thread().name)
            number = len(self.threads)
        self.wait(number)
        with self._lock:
            self._busy -= 1
            super().append(action)


def of_tickets(number: int) -> list[AddTags]:
    return [AddTags(ticket=TicketRef("desk", str(n)), tags=("x",), reason="r") for n in range(number)]


def test_tickets_of_a_quick_vendor_are_worked_on_one_at_a_time(gateway, vendor, decided, monkeypatch):
    monkeypatch.setattr("gateway.pipeline.execute.WORTH_A_THREAD", 60)  # on a busy machine nobody is quick
    vendor.rate = RateLimit(calls=1000, seconds=1, concurrency=3)
    vendor.done = watched = Watched(wait=lambda number: None)
    assert send(gateway, decided(*of_tickets(5))).states == {"done": 5}
    assert watched.beside == [1] * 5
    assert set(watched.threads[1:]) == {threading.current_thread().name}, "a thread for the first, to time it"


def test_tickets_of_a_slow_vendor_are_worked_on_side_by_side_as_far_as_it_allows(gateway, vendor, decided):
    """Also beside the first, which may hang for longer than anything may be begun after it."""
    together = threading.Barrier(3)
    vendor.rate = RateLimit(calls=1000, seconds=1, concurrency=3)
    vendor.done = watched = Watched(wait=lambda number: together.wait(5))
    assert send(gateway, decided(*of_tickets(6))).states == {"done": 6}
    assert max(watched.beside) == 3
    assert threading.current_thread().name not in watched.threads


def test_a_vendor_that_becomes_slow_gets_threads(gateway, vendor, decided, monkeypatch):
    monkeypatch.setattr("gateway.pipeline.execute.WORTH_A_THREAD", 0.2)
    together = threading.Barrier(3)
    vendor.rate = RateLimit(calls=1000, seconds=1, concurrency=3)
    vendor.done = watched = Watched(
        wait=lambda number: time.sleep(0.6) if number == 2 else number > 2 and together.wait(5)
    )
    assert send(gateway, decided(*of_tickets(8))).states == {"done": 8}
    assert watched.beside[:2] == [1, 1]
    assert max(watched.beside) == 3


def test_one_ticket_needs_no_thread_however_slow_the_vendor(gateway, vendor, decided):
    vendor.rate = RateLimit(calls=1000, seconds=1, concurrency=3)
    vendor.done = watched = Watched(wait=lambda number: time.sleep(2 * WORTH_A_THREAD))
    assert send(gateway, decided(tag("a"), tag("b"))).states == {"done": 2}
    assert set(watched.threads) == {threading.current_thread().name}


def test_a_slow_vendor_that_allows_one_call_at_a_time_gets_one(gateway, vendor, decided):
    vendor.rate = RateLimit(calls=1000, seconds=1, concurrency=1)
    vendor.done = watched = Watched(wait=lambda number: time.sleep(2 * WORTH_A_THREAD))
    assert send(gateway, decided(*of_tickets(3))).states == {"done": 3}
    assert watched.beside == [1] * 3


def test_what_goes_to_a_vendor_that_only_sends_is_unsupported(gateway, vendor, decided):
    ids = decided(tag())
    module = vendor.module()
    del vars(module)["connect_api"]
    settle_in(gateway, module)
    send(gateway, ids)
    (row,) = rows(gateway, actions)
    assert (row.state, row.error) == ("unsupported", "town only sends webhooks; it has no API to call")


def test_only_short_waits_are_queued_the_sweep_sees_to_the_others(gateway, vendor, decided):
    vendor.answers = [ApiError(ApiFailure.THROTTLED, "wait", retry_after=300)]
    sent = send(gateway, decided(tag()))
    assert len(sent.again) == 1
    assert sent.soon(NOW) == {}
    assert list(sent.soon(NOW + timedelta(minutes=10))) == [1], "what is due is due in a second"


def test_a_store_that_goes_away_before_the_answer_is_recorded_leaves_the_action_to_be_looked_for(
    gateway, vendor, decided, monkeypatch
):
    ids = decided(tag())

    def gone(*_: Any) -> None:
        raise OperationalError("update", {}, Exception("server closed the connection"))

    monkeypatch.setattr(outbox, "finish", gone)
    with pytest.raises(OperationalError):
        send(gateway, ids)
    monkeypatch.undo()
    assert rows(gateway, actions)[0].state == "executing"
    with gateway.db.begin() as db:
        assert outbox.reclaim(db, NOW + LONG, SHORT, LONG, 10) == 1
    later(gateway, minutes=5)
    vendor.effect = Receipt(remote_id="found")
    send(gateway, ids)
    assert rows(gateway, actions)[0].receipt == {"remote_id": "found"}
    assert len(vendor.done) == 1
