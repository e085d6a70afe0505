"""What do Freshdesk's tests share? Settings, fixtures by event, and a sandbox behind a real socket."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from gateway_plugins import freshdesk
from gateway_plugins.freshdesk import convert
from gateway_plugins.freshdesk.sandbox import create_app

from gateway.api import Action, ApiClient, Connection, RateLimit, Receipt, Snapshot, TicketRef, Webhook
from gateway.testing import api_for, serving

FIXTURES = Path(__file__).parent / "fixtures"
SEEN = datetime(2026, 11, 21, 14, 10, 2, tzinfo=UTC)
PLENTY = RateLimit(calls=100_000, seconds=60)
SETTINGS: dict[str, Any] = {
    "subdomain": "acme",
    "agent_id": "43000001",
    "api_key": "sandbox-key",
    "hook_key": ["new-key", "old-key"],
    "groups": {"Suporte": 8001, "Financeiro": 8002},
    "agents": {"Ana Dias": 43000002, "ana.dias@desk.example": 43000002},
    "statuses": {"Aguardando peça": {"id": 7, "means": "on_hold"}},
    "custom_fields": {"phone": "cf_phone", "plan": "cf_plan", "seats": "cf_seats"},
}


def connect(**settings: Any) -> Connection[freshdesk.Settings]:
    given = freshdesk.Settings.model_validate(SETTINGS | settings)
    return Connection("acme", "fd", "freshdesk", given)


@dataclass
class Sandbox:
    """The fake, its address, a client of ours, and what people do in it."""

    app: Any
    url: str
    api: ApiClient
    http: httpx.Client

    def open(self, **given: Any) -> TicketRef:
        return TicketRef("fd", str(self._posted("/_sandbox/human/tickets", given)["id"]))

    def change(self, ref: TicketRef, **given: Any) -> Any:
        return self._posted(f"/_sandbox/human/tickets/{ref.id}", given)

    def say(self, ref: TicketRef, body: str, **how: Any) -> Any:
        return self.change(ref, comment={"body": body, **how})["conversations"][-1]

    def misbehave(self, **fault: Any) -> None:
        self.http.post("/_sandbox/misbehave", json=fault).raise_for_status()

    def tickets(self) -> list[Any]:
        return self.http.get("/_sandbox/tickets").json()

    def ticket(self, ref: TicketRef) -> Any:
        return next(ticket for ticket in self.tickets() if str(ticket["id"]) == ref.id)

    def contacts(self) -> list[Any]:
        return self.http.get("/_sandbox/contacts").json()

    def calls(self) -> list[tuple[str, str]]:
        return [(call["method"], call["path"].removeprefix("/api/v2")) for call in self.app.calls]

    def do(self, action: Action) -> Receipt | None:
        return freshdesk.execute_action(action=action, api=self.api)

    def found(self, action: Action) -> Receipt | None:
        return freshdesk.find_effect(action=action, api=self.api)

    def collect(self, ref: TicketRef) -> Any:
        return freshdesk.collect_ticket(ref=ref, api=self.api)

    def snapshot(self, ref: TicketRef, before: Snapshot | None = None) -> Snapshot:
        return convert.snapshot(self.collect(ref), before, self.api.connection)

    def _posted(self, path: str, given: Any) -> Any:
        return self.http.post(path, json=given).raise_for_status().json()


@pytest.fixture(scope="session")
def fixture() -> Callable[[str], bytes]:
    return lambda name: (FIXTURES / name).read_bytes()


@pytest.fixture
def collected() -> dict[str, Any]:
    answer: dict[str, Any] = json.loads((FIXTURES / "collected.json").read_bytes())
    return answer


@pytest.fixture(scope="session")
def connection() -> Connection[Any]:
    return connect()


@pytest.fixture(scope="session")
def connected() -> Callable[..., Connection[Any]]:
    return connect


@pytest.fixture(scope="session")
def hook() -> Callable[..., Webhook]:
    def make(
        body: bytes = b"", *, key: str | None = "new-key", received_at: datetime = SEEN, **headers: str
    ) -> Webhook:
        return Webhook(headers, body, {"key": key} if key else {}, received_at)

    return make


class Stage:
    """One address, behind which each test puts a sandbox of its own: starting a server takes longer than a test."""

    app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


@pytest.fixture(scope="session")
def stages() -> Iterator[list[tuple[Stage, str]]]:
    """Two of them: some tests want two sandboxes at a time."""
    first, second = Stage(), Stage()
    with serving(first) as one, serving(second) as other:
        yield [(first, one), (second, other)]


@pytest.fixture
def sandbox_with(stages: list[tuple[Stage, str]]) -> Callable[..., Any]:
    """A context manager: `with sandbox_with(html="plain") as sandbox`; without the rate limits unless told."""
    free = list(stages)

    @contextmanager
    def running(
        *, settings: dict[str, Any] | None = None, rate: RateLimit | None = PLENTY, **options: Any
    ) -> Iterator[Sandbox]:
        stage, url = free.pop()
        stage.app = create_app(**({"calls_per_minute": None} | options))
        with httpx.Client(base_url=url, trust_env=False) as http:
            connection = connect(base_url=f"{url}/api/v2", **(settings or {}))
            yield Sandbox(stage.app, url, api_for(freshdesk, connection, rate=rate), http)
        free.append((stage, url))

    return running


@pytest.fixture
def sandbox(sandbox_with: Callable[..., Any]) -> Iterator[Sandbox]:
    with sandbox_with() as running:
        yield running
