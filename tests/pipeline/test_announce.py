"""Notices through the outbox: sent, paced, tried again, and never repeated without saying so."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import update
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from tests_town import NOW, arrive, rows, rule, run, settle_in

from gateway import jobs
from gateway.api import Notify, Ticket, TicketCreated, TicketRef
from gateway.pipeline.announce import COPIES, announce
from gateway.pipeline.execute import Sent
from gateway.runtime import Runtime
from gateway.store import actions, tables, tenants
from gateway.testing import serving


class Receiver:
    def __init__(self) -> None:
        self.got: list[Any] = []
        self.answers: list[Response] = []
        self.url = ""

    async def take(self, request: Request) -> Response:
        self.got.append({"path": request.url.path, **json.loads(await request.body())})
        return self.answers.pop(0) if self.answers else PlainTextResponse("ok")

    @property
    def titles(self) -> list[str]:
        return [told["title"] for told in self.got]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    with serving(Starlette(routes=[Route("/{path:path}", made.take, methods=["POST"])])) as url:
        made.url = url.replace("http", "json", 1)
        yield made


@pytest.fixture
def town(gateway: Runtime, receiver: Receiver) -> Runtime:
    """A rule tells channel `ops` of every new ticket, or those named by its tags. There are `ops` and `sales`."""

    def telling(event: Any, facts: Any) -> Any:
        for channel in event.ticket.tags or ("ops",):
            yield Notify(channel=channel, title=event.id, body="corpo", reason="r")

    settle_in(gateway, rules={"telling": rule("telling", telling)})
    with gateway.db.begin() as db:
        for name in ("ops", "sales"):
            tenants.save_channel(db, "acme", name, f"{receiver.url}/{name}-secret", gateway.keyring)
        tenants.changed(db, ["channels"])
    return gateway


def tell(gateway: Runtime, id_: str = "1", *channels: str) -> UUID:
    """A ticket was opened; the newest notice of it."""
    tags = {"tags": frozenset(channels)} if channels else {}
    ticket = Ticket(ref=TicketRef("desk", id_), subject="s", **tags)  # type: ignore[arg-type]
    run(gateway, arrive(gateway, TicketCreated(id=f"t{id_}", occurred_at=NOW, ticket=ticket), subject=id_))
    found: UUID = rows(gateway, tables.actions)[-1].id
    return found


def send(gateway: Runtime) -> Sent:
    """All that is due."""
    with gateway.db.begin() as db:
        due = actions.overdue(db, gateway.clock(), timedelta(0), 100)
    return announce(gateway, 1, "acme", [row.id for row in due])


def later(gateway: Runtime, seconds: float) -> None:
    moment = gateway.clock() + timedelta(seconds=seconds)
    gateway.clock = lambda: moment


def state(gateway: Runtime) -> Any:
    return rows(gateway, tables.actions)[-1]


def test_a_notice_goes_the_way_of_every_action(town: Runtime, receiver: Receiver) -> None:
    id_ = tell(town)
    jobs.enqueue_execute(town, "acme", "", [id_])
    jobs.drain(town)
    assert state(town).state == "done"
    assert receiver.got[0]["path"] == "/ops-secret"
    assert (receiver.got[0]["title"], receiver.got[0]["message"]) == ("t1", "corpo")
    (attempt,) = rows(town, tables.attempts)
    assert (attempt.action_id, attempt.outcome, attempt.connection) == (id_, "done", "")
    (call,) = attempt.calls
    assert call["status"] == 200
    assert "secret" not in json.dumps(attempt.calls)


def test_a_channel_that_is_not_there_ends_it_and_says_what_to_do(town: Runtime) -> None:
    tell(town, "1", "lost")
    assert send(town).states == {"dead": 1}
    assert (
        state(town).error == "channel 'lost' does not exist or is not usable; mend it, then retry this action"
    )


def test_a_channel_that_was_mended_gets_it_by_a_retry(town: Runtime, receiver: Receiver) -> None:
    receiver.answers = [PlainTextResponse("no_service", 404)]
    id_ = tell(town)
    assert send(town).states == {"dead": 1}
    assert "no_service" in state(town).error
    with town.db.begin() as db:
        actions.retry_together(db, [id_], town.clock())
    assert send(town).states == {"done": 1}


def test_a_failure_that_may_pass_is_tried_again_and_shown(town: Runtime, receiver: Receiver) -> None:
    receiver.answers = [PlainTextResponse("busy", 503)]
    tell(town)
    assert send(town).states == {"pending": 1}
    row = state(town)
    assert "busy" in row.error
    assert row.not_before > town.clock()
    later(town, 10)
    assert send(town).states == {"done": 1}
    assert [told["message"] for told in receiver.got] == ["corpo", "corpo"], "it surely did not arrive before"


def test_one_that_was_interrupted_says_that_it_may_be_a_repetition(town: Runtime, receiver: Receiver) -> None:
    id_ = tell(town)
    with town.db.begin() as db:
        db.execute(update(tables.actions).values(state="executing", worker=99, attempts=1, started_at=NOW))
        assert actions.reclaim(db, NOW + timedelta(hours=1), timedelta(0), timedelta(0), 10) == 1
    later(town, 3600)
    assert announce(town, 1, "acme", [id_]).states == {"done": 1}
    assert receiver.got[0]["message"] == "corpo\n\n(Talvez repetido: um envio anterior foi interrompido.)"


def test_one_that_may_have_arrived_is_sent_only_so_often(town: Runtime, receiver: Receiver) -> None:
    tell(town, "1", "ops")
    with town.db.begin() as db:
        tenants.save_channel(db, "acme", "ops", f"{receiver.url}/ops", town.keyring)
        tenants.changed(db, ["ops"])
    town.http = _Deaf()  # type: ignore[assignment]
    for _ in range(COPIES - 1):
        assert send(town).states == {"pending": 1}
        later(town, 600)
    assert send(town).states == {"dead": 1}
    assert state(town).error.endswith("; it may have arrived all the same")
    assert (state(town).attempts, state(town).uncertain) == (COPIES, True)


class _Deaf:
    """Takes what is sent and never answers."""

    def build_request(self, *_: Any, **__: Any) -> Any:
        return None

    def send(self, *_: Any, **__: Any) -> Any:
        raise httpx.ReadTimeout("never answered")


def test_a_channel_is_told_at_its_pace_and_in_order(town: Runtime, receiver: Receiver) -> None:
    for number in range(8):
        tell(town, str(number))
    sent = send(town)
    assert sent.states == {"done": 5, "pending": 3}
    assert receiver.titles == [f"t{number}" for number in range(5)]
    assert len({at for _, at in sent.again}) == 1, "all of them come back when the next one may go"


def test_a_channel_that_asks_for_time_keeps_no_other_waiting(town: Runtime, receiver: Receiver) -> None:
    receiver.answers = [PlainTextResponse("wait", 429, {"Retry-After": "30"})]
    tell(town, "1", "ops")
    assert send(town).states == {"pending": 1}
    assert (state(town).not_before - town.clock()).total_seconds() >= 30
    tell(town, "2", "ops")
    assert send(town).states == {"pending": 1}, "the whole channel waits as long as it was asked to"
    tell(town, "3", "sales")
    assert send(town).states == {"done": 1}
    assert [told["path"] for told in receiver.got] == ["/ops-secret", "/sales-secret"]
