"""The world around the gateway: vendors that send webhooks until they get a 2xx, and a desk that takes tickets."""

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import gateway_plugins.generic.sandbox as payments
import gateway_plugins.zendesk.sandbox as zendesk
import httpx
from gateway_plugins.generic import accept

from gateway.testing import serving


class Vendor:
    """What a vendor sends: signed webhooks, each tried again until it gets a 2xx. Runs in a thread of its own."""

    def __init__(
        self, url: str, *, tenant: str = "acme", concurrency: int = 16, patience: float = 10.0
    ) -> None:
        self.target = f"{url}/hooks/{tenant}/pay"
        self.acknowledged: dict[str, float] = {}
        """By webhook-id, the moment of its 2xx in seconds since the epoch."""
        self.deliveries: dict[str, int] = {}
        self.statuses: Counter[str] = Counter()
        self.slowest = 0.0
        self._concurrency = concurrency
        self._patience = patience
        self._stopped = threading.Event()

    def send(self, webhooks: Sequence[tuple[str, bytes]], *, per_second: float | None = None) -> None:
        """Send all of them, and come back when each was acknowledged (or `give_up` was called)."""
        asyncio.run(self._send_all(webhooks, per_second))

    @contextmanager
    def sending(self, webhooks: Sequence[tuple[str, bytes]], per_second: float) -> Iterator[threading.Thread]:
        """Send in the background for as long as this is entered, then until all are acknowledged."""
        thread = threading.Thread(
            target=self.send, args=(webhooks,), kwargs={"per_second": per_second}, daemon=True
        )
        thread.start()
        try:
            yield thread
            while thread.is_alive():
                acknowledged = len(self.acknowledged)
                thread.join(60)
                moved = len(self.acknowledged) > acknowledged or not thread.is_alive()
                assert moved, f"not all were acknowledged: {self.statuses}"
        finally:
            self.give_up()

    def give_up(self) -> None:
        self._stopped.set()

    async def _send_all(self, webhooks: Sequence[tuple[str, bytes]], per_second: float | None) -> None:
        turns = asyncio.Semaphore(self._concurrency)
        began = time.monotonic()
        async with (
            httpx.AsyncClient(timeout=self._patience, trust_env=False) as http,
            asyncio.TaskGroup() as group,
        ):
            for number, (id_, body) in enumerate(webhooks):
                if per_second is not None:
                    await asyncio.sleep(max(0.0, began + number / per_second - time.monotonic()))
                await turns.acquire()
                task = group.create_task(self._until_acknowledged(http, id_, body))
                task.add_done_callback(lambda _: turns.release())

    async def _until_acknowledged(self, http: httpx.AsyncClient, id_: str, body: bytes) -> None:
        while not self._stopped.is_set():
            began = time.monotonic()
            try:
                answer = await http.post(self.target, content=body, headers=signed(id_, body))
            except httpx.TransportError as error:
                self.statuses[type(error).__name__] += 1
            else:
                self.statuses[str(answer.status_code)] += 1
                if answer.is_success:
                    self.slowest = max(self.slowest, time.monotonic() - began)
                    self.acknowledged[id_] = time.time()
                    self.deliveries[id_] = answer.json()["delivery"]
                    return
            await asyncio.sleep(0.3)


def signed(id_: str, body: bytes) -> dict[str, str]:
    """Today's headers for this body."""
    now = datetime.fromtimestamp(int(time.time()), UTC)
    return {
        "content-type": "application/json",
        "webhook-id": id_,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": accept.sign(id_, now, body.decode(), payments.SECRET),
    }


def payment(number: int | str, kind: str = "payment.confirmed", **told: object) -> bytes:
    """A payment of a customer of its own."""
    data = {
        "id": f"pay_{number}", "amount": 990.0, "plan": "Pro",
        "customer": {"name": f"Cliente {number}", "email": f"cliente{number}@example.com"}, **told,
    }  # fmt: skip
    moment = datetime.fromtimestamp(time.time(), UTC).isoformat()
    return json.dumps({"type": kind, "timestamp": moment, "data": data}).encode()


def subject(number: int | str) -> str:
    return f"CORE - Cliente {number}"


class Desk:
    """The Zendesk sandbox, in this process."""

    def __init__(self, app: Any, url: str) -> None:
        self.app = app
        self.url = url

    @property
    def tickets(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = httpx.get(f"{self.url}/_sandbox/tickets", timeout=30).json()
        return found

    def opened(self) -> dict[str, float]:
        """By subject, when a ticket was opened, in seconds since the epoch."""
        calls = [
            call["at"]
            for call in list(self.app.calls)
            if call["method"] == "POST" and call["path"].startswith("/api/v2/tickets")
        ]
        return dict(zip((ticket["subject"] for ticket in self.tickets), calls, strict=True))

    def subjects(self) -> Counter[str]:
        return Counter(ticket["subject"] for ticket in self.tickets)

    def misbehave(self, **how: object) -> None:
        httpx.post(f"{self.url}/_sandbox/misbehave", json=how).raise_for_status()

    def forget_keys(self) -> None:
        """From now on it overlooks the header by which a repeated request is recognised."""
        self._wrap(
            lambda scope: [(key, value) for key, value in scope["headers"] if key != b"idempotency-key"]
        )

    def act_late(self, seconds: float) -> None:
        """From now on it lets a call wait for so long before it does anything about it."""
        self._wrap(lambda scope: scope["headers"], seconds)

    def _wrap(self, headers: Callable[[Any], Any], seconds: float = 0.0) -> None:
        inner = self.app.app

        async def changed(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http" and scope["method"] == "POST":
                await asyncio.sleep(seconds)
                scope = {**scope, "headers": headers(scope)}
            await inner(scope, receive, send)

        self.app.app = changed

    def behave(self) -> None:
        httpx.delete(f"{self.url}/_sandbox/misbehave").raise_for_status()

    def human(self, ticket: int | None = None, **told: object) -> dict[str, Any]:
        """A person opens a ticket, or changes this one."""
        path = "/_sandbox/human/tickets" + (f"/{ticket}" if ticket else "")
        answer: dict[str, Any] = (
            httpx.post(f"{self.url}{path}", json=told).raise_for_status().json()["ticket"]
        )
        return answer

    def has_told_all(self) -> bool:
        return httpx.get(f"{self.url}/_sandbox/webhooks").json()["waiting"] == 0

    def calls(self, method: str) -> int:
        return sum(1 for call in list(self.app.calls) if call["method"] == method)


@contextmanager
def desk(**how: Any) -> Iterator[Desk]:
    app = zendesk.create_app(calls_per_minute=None, **how)
    with serving(app) as url:
        yield Desk(app, url)
