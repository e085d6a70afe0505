"""A sandbox's webhooks arrive signed, in order, and are sent again as a vendor would."""

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.testing import Outbox, serving


class Receiver:
    def __init__(self) -> None:
        self.got: list[tuple[bytes, str]] = []
        self.statuses: list[int] = []

    async def receive(self, request: Request) -> Response:
        self.got.append((await request.body(), request.headers.get("x-signature", "")))
        return Response(status_code=self.statuses.pop(0) if self.statuses else 202)


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
def url(receiver: Receiver) -> Iterator[str]:
    with serving(Starlette(routes=[Route("/hook", receiver.receive, methods=["POST"])])) as base:
        yield f"{base}/hook"


@pytest.fixture
def outbox(url: str) -> Outbox:
    outbox = Outbox(lambda body: {"X-Signature": f"of {len(body)}"}, retry_seconds=0.01)
    outbox.targets.append(url)
    return outbox


def test_webhooks_arrive_signed_and_in_order(outbox, receiver):
    for number in range(20):
        outbox.send(b"%d" % number)
    assert outbox.wait(10)
    assert receiver.got == [(b"%d" % number, f"of {len(str(number))}") for number in range(20)]
    assert outbox.sent == {"202": 20}


def test_sending_does_not_wait_for_the_receiver(outbox):
    outbox.targets[:] = ["http://127.0.0.1:9/hook"] * 3
    started = time.monotonic()
    outbox.send(b"{}")
    assert time.monotonic() - started < 0.5
    assert outbox.wait(10)


def test_it_tries_again_on_429_and_503_but_not_on_401(outbox, receiver):
    receiver.statuses = [503, 429, 202, 401]
    outbox.send(b"first")
    outbox.send(b"second")
    assert outbox.wait(10)
    assert [body for body, _ in receiver.got] == [b"first", b"first", b"first", b"second"]
    assert outbox.sent == {"503": 1, "429": 1, "202": 1, "401": 1}


def test_it_gives_up_after_a_few_tries(outbox, receiver):
    receiver.statuses = [503] * 9
    outbox.send(b"{}")
    assert outbox.wait(10)
    assert outbox.sent == {"503": 4, "given up": 1}


def test_an_unreachable_target_does_not_stop_the_next(outbox, receiver):
    outbox.targets.insert(0, "http://127.0.0.1:9/hook")
    outbox.send(b"{}")
    assert outbox.wait(10)
    assert outbox.sent == {"unreachable": 4, "given up": 1, "202": 1}


def test_it_starts_again_after_it_fell_idle(outbox, receiver):
    outbox.send(b"first")
    assert outbox.wait(10)
    time.sleep(0.7)
    outbox.send(b"second")
    assert outbox.wait(10)
    assert len(receiver.got) == 2


def test_waiting_may_be_in_vain(outbox, receiver, monkeypatch):
    monkeypatch.setattr(outbox, "_retry_seconds", 0.3)
    receiver.statuses = [503]
    outbox.send(b"{}")
    assert outbox.wait(0.05) is False
    assert outbox.wait(10) is True


def test_targets_are_registered_over_http(url, receiver):
    outbox = Outbox()
    with serving(Starlette(routes=outbox.routes())) as base, httpx.Client(base_url=base) as http:
        assert http.post("/_sandbox/webhooks", json={"url": url}).status_code == 201
        http.post("/_sandbox/webhooks", json={"url": url})
        outbox.send(b"{}")
        assert outbox.wait(10)
        shown: dict[str, Any] = http.get("/_sandbox/webhooks").json()
        assert shown == {"targets": [url], "sent": {"202": 1}, "waiting": 0}
        http.delete("/_sandbox/webhooks")
        assert outbox.targets == []
