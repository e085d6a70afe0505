"""What do Movidesk's tests share? Settings, fixtures by event, and a sandbox behind a real socket."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from gateway_plugins import movidesk
from gateway_plugins.movidesk.sandbox import create_app

from gateway.api import ApiClient, Connection, RateLimit, Webhook
from gateway.testing import api_for, serving

FIXTURES = Path(__file__).parent / "fixtures"
SEEN = datetime(2025, 3, 10, 13, 6, tzinfo=UTC)
SETTINGS: dict[str, Any] = {
    "subdomain": "acme",
    "person_id": "gateway",
    "token": "sandbox-token",
    "hook_key": ["new-key", "old-key"],
    "custom_fields": {
        "phone": {"id": 13485, "rule": 21751},
        "plan": {"id": 13486, "rule": 21751, "kind": "items"},
    },
}


def connect(**settings: Any) -> Connection[Any]:
    return Connection("acme", "desk", "movidesk", movidesk.Settings.model_validate(SETTINGS | settings))


@dataclass
class Sandbox:
    """The fake, its address, a client of ours, and what people do in it."""

    app: Any
    url: str
    api: ApiClient
    http: httpx.Client

    def open(self, **given: Any) -> Any:
        return self._posted(
            "/_sandbox/human/tickets", {"subject": "Ajuda", "description": "Não abre"} | given
        )

    def change(self, ticket_id: str, **given: Any) -> Any:
        return self._posted(f"/_sandbox/human/tickets/{ticket_id}", given)

    def misbehave(self, **fault: Any) -> None:
        self.http.post("/_sandbox/misbehave", json=fault).raise_for_status()

    def tickets(self) -> list[Any]:
        return self.http.get("/_sandbox/tickets").json()

    def calls(self) -> list[tuple[str, str]]:
        return [(call["method"], call["path"]) for call in self.app.calls]

    def _posted(self, path: str, given: Any) -> Any:
        return self.http.post(path, json=given).raise_for_status().json()


@pytest.fixture(scope="session")
def fixture() -> Callable[[str], Any]:
    return lambda name: json.loads((FIXTURES / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def connection() -> Connection[Any]:
    return connect()


@pytest.fixture(scope="session")
def connected() -> Callable[..., Connection[Any]]:
    return connect


@pytest.fixture(scope="session")
def hook() -> Callable[..., Webhook]:
    def make(body: bytes = b"", *, key: str | None = "new-key", received_at: datetime = SEEN) -> Webhook:
        return Webhook({}, body, {"key": key} if key else {}, received_at)

    return make


@pytest.fixture
def sandbox_with() -> Callable[..., Any]:
    """A context manager: `with sandbox_with(reasons=...) as sandbox`; without the rate limits unless told."""

    @contextmanager
    def running(
        *, settings: dict[str, Any] | None = None, rate: RateLimit | None = None, **options: Any
    ) -> Iterator[Sandbox]:
        app = create_app(**({"calls_per_minute": 1_000_000} | options))
        with serving(app) as url, httpx.Client(base_url=url, trust_env=False) as http:
            api = api_for(
                movidesk, connect(base_url=url, **(settings or {})), rate=rate or RateLimit(100_000, 1)
            )
            yield Sandbox(app, url, api, http)

    return running


@pytest.fixture
def sandbox(sandbox_with: Callable[..., Any]) -> Iterator[Sandbox]:
    with sandbox_with() as running:
        yield running
