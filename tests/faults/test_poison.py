"""A delivery that is poison for whoever decides it: it never ends, or it kills. Who suffers?"""

import re
import signal
import threading
import time
from typing import Any

import pytest
from tests_town import NOW, arrive, rows, rule, run, settle_in, town

from gateway import jobs
from gateway.api import hookimpl
from gateway.model.event import TicketCreated
from gateway.model.facts import Skip
from gateway.model.ticket import Ticket, TicketRef
from gateway.pipeline import convert, decide
from gateway.runtime import Runtime
from gateway.store.tables import deliveries, events
from gateway.timelimit import Stuck, thinking


def created(id_: str, subject: str) -> TicketCreated:
    ticket = Ticket(ref=TicketRef("desk", id_), subject=subject)
    return TicketCreated(id=f"created:{id_}", connection="desk", occurred_at=NOW, ticket=ticket)


def backtrack(subject: str) -> None:
    """What a careless pattern does with the right text: it would take longer than the universe has."""
    re.fullmatch(r"(a+)+b", subject)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decide, "PATIENCE", 0.3)
    monkeypatch.setattr(convert, "PATIENCE", 0.3)


def test_a_rule_that_never_ends_has_failed_and_the_others_are_asked(gateway: Runtime) -> None:
    def careless(event: Any, facts: Any) -> Any:
        backtrack(event.ticket.subject)
        yield Skip(reason="looked at")

    def careful(event: Any, facts: Any) -> Any:
        yield Skip(reason="looked at")

    settle_in(gateway, rules={"careless": rule("careless", careless), "careful": rule("careful", careful)})
    ids = [
        arrive(gateway, created(name, text), subject=name)
        for name, text in (("1", "Olá"), ("2", "a" * 60), ("3", "Olá"))
    ]
    run(gateway, *ids)
    told = {
        row.ticket_id: {answer["rule"]: answer for answer in row.decisions} for row in rows(gateway, events)
    }
    assert [row.state for row in rows(gateway, deliveries)] == ["decided"] * 3
    assert told["2"]["careless"]["error"] == "Stuck: no answer within 0.3 s"
    assert told["2"]["careful"]["skipped"] == ["looked at"]
    assert told["1"]["careless"]["skipped"] == told["3"]["careless"]["skipped"] == ["looked at"]


def test_a_delivery_whose_conversion_never_ends_is_parked_alone(gateway: Runtime) -> None:
    honest = town()

    def convert_webhook(webhook: Any, collected: Any) -> Any:
        backtrack(webhook.body.decode())
        return honest.convert_webhook(webhook, collected)

    settle_in(gateway, town(convert_webhook=hookimpl(convert_webhook)))
    good = arrive(gateway, created("1", "Olá"), subject="1")
    bad = arrive(gateway, body=b"a" * 60)
    run(gateway, good, bad)
    states = {row.id: (row.state, row.error) for row in rows(gateway, deliveries)}
    assert states[good] == ("decided", None)
    assert states[bad][0] == "parked"
    assert "no answer within 0.3 s" in states[bad][1]


def test_the_limit_is_the_inner_ones_and_the_outer_one_goes_on() -> None:
    began = time.monotonic()
    with pytest.raises(Stuck, match=r"within 0\.5 s"):
        think_within_limits()
    assert 0.4 < time.monotonic() - began < 2
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def think_within_limits() -> None:
    with thinking(0.5):
        for _ in range(3):
            with pytest.raises(Stuck, match=r"within 0\.1 s"), thinking(0.1):
                time.sleep(5)
        time.sleep(5)


def test_a_rule_that_swallows_every_exception_is_stopped_too() -> None:
    def stubborn() -> None:
        while True:
            try:
                time.sleep(5)
            except Exception:  # noqa: BLE001 - that is the point
                continue

    with pytest.raises(Stuck), thinking(0.1):
        stubborn()


def test_a_job_that_takes_too_long_ends_and_its_deliveries_wait(
    gateway: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time is not that of one delivery: none is parked for it, and none tried once more without a limit."""
    monkeypatch.setattr(jobs, "TIMEOUT", 1)
    monkeypatch.setattr(decide.Batch, "run", lambda *_: time.sleep(30))
    settle_in(gateway)
    jobs.enqueue_decide(gateway, [arrive(gateway, created("1", "Olá"), subject="1")])
    began = time.monotonic()
    jobs.drain(gateway)
    assert time.monotonic() - began < 10
    assert [row.state for row in rows(gateway, deliveries)] == ["received"]


def test_there_is_no_limit_outside_the_main_thread() -> None:
    ended = threading.Event()

    def think() -> None:
        with thinking(0.01):
            time.sleep(0.1)
        ended.set()

    thread = threading.Thread(target=think)
    thread.start()
    thread.join()
    assert ended.is_set()


def test_what_a_sweep_finds_left_behind_is_decided_one_by_one_unless_it_is_much(gateway: Runtime) -> None:
    """A delivery that kills its worker takes none of its neighbours with it for ever."""
    settle_in(gateway)
    for number in range(3):
        arrive(gateway, created(str(number), "Olá"), subject=str(number))
    waiting = rows(gateway, deliveries)
    jobs.hint_all(gateway, waiting, [])
    assert [job.args for job in jobs.queue(gateway.redis, jobs.DECIDE).jobs] == [
        [[row.id]] for row in waiting
    ]
    jobs.queue(gateway.redis, jobs.DECIDE).empty()
    jobs.hint_all(gateway, waiting * 20, [])
    assert [len(job.args[0]) for job in jobs.queue(gateway.redis, jobs.DECIDE).jobs] == [50, 10]
