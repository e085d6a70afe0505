"""What do the tests of this vendor share? Its fixtures, read as webhooks, connections, and a workspace to act in."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from gateway_plugins import intercom
from gateway_plugins.intercom.reading import snapshot
from gateway_plugins.intercom.sandbox import create_app

from gateway.api import Action, Connection, RateLimit, Receipt, Snapshot, TicketRef, Webhook
from gateway.testing import api_for, serving

FIXTURES = Path(__file__).parent / "fixtures"
RECEIVED = datetime(2025, 11, 21, 14, 10, 2, tzinfo=UTC)
PLENTY = RateLimit(calls=10_000, seconds=60)


def connect(tenant: str = "t1", **settings: Any) -> Connection[intercom.Settings]:
    given = {
        "app_id": "abc123",
        "admin_id": "700",
        "access_token": "a-token",
        "client_secret": "a-secret",
        **settings,
    }
    return Connection(tenant, "ic", "intercom", intercom.Settings(**given))


@pytest.fixture(scope="session")
def connected() -> Callable[..., Connection[intercom.Settings]]:
    return connect


@pytest.fixture(scope="session")
def connection() -> Connection[intercom.Settings]:
    return connect(custom_fields={"order": "Order"}, teams={"Suporte": "801"}, document_attribute="cpf")


@pytest.fixture(scope="session")
def told() -> Callable[..., Webhook]:
    """The webhook of that fixture, or of that body; with changes to its item."""

    def webhook(name: str | bytes, **changes: Any) -> Webhook:
        body = name if isinstance(name, bytes) else (FIXTURES / f"{name}.json").read_bytes()
        if changes:
            read = json.loads(body)
            read["data"]["item"] |= changes
            body = json.dumps(read).encode()
        return Webhook(headers={}, body=body, received_at=RECEIVED)

    return webhook


@pytest.fixture
def collected() -> Callable[[str], dict[str, Any]]:
    return lambda kind: json.loads((FIXTURES / f"collected.{kind}.json").read_bytes())


class Desk:
    """A sandbox over a real socket, with a client of ours and a person's hands."""

    def __init__(self, url: str, connection: Connection[intercom.Settings]) -> None:
        self.url, self.connection = url, connection
        self.api = api_for(intercom, connection, rate=PLENTY)
        self.http = httpx.Client(base_url=url, trust_env=False, timeout=10)

    def person_opens(self, **given: Any) -> TicketRef:
        answer = self.http.post("/_sandbox/human/tickets", json=given).raise_for_status()
        return TicketRef("ic", answer.json()["id"])

    def person_changes(self, ref: TicketRef, **change: Any) -> None:
        self.http.post(f"/_sandbox/human/tickets/{ref.id}", json=change).raise_for_status()

    def everything(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.http.get("/_sandbox/tickets").json()
        return found

    def source(self, ref: TicketRef) -> dict[str, Any]:
        wanted = ref.id.removeprefix("ticket:")
        return next(row for row in self.everything() if row["id"] == wanted)

    def parts(self, ref: TicketRef) -> list[dict[str, Any]]:
        source = self.source(ref)
        kind = f"{source['type']}_parts"
        found: list[dict[str, Any]] = source[kind][kind]
        return found

    def calls(self) -> list[str]:
        return [f"{call['method']} {call['path']}" for call in self.http.get("/_sandbox/calls").json()]

    def misbehave(self, **fault: Any) -> None:
        self.http.post("/_sandbox/misbehave", json=fault).raise_for_status()

    def behave(self) -> None:
        self.http.delete("/_sandbox/misbehave").raise_for_status()

    def read(self, ref: TicketRef) -> Snapshot:
        return snapshot(intercom.collect_ticket(ref=ref, api=self.api), self.connection)

    def do(self, action: Action) -> Receipt | None:
        return intercom.execute_action(action=action, api=self.api)

    def found(self, action: Action) -> Receipt | None:
        return intercom.find_effect(action=action, api=self.api)


@pytest.fixture
def open_desk() -> Iterator[Callable[..., Desk]]:
    """Opens workspaces: `open_desk({"ticket_type_id": "29"}, search_lag=1)`."""
    served: list[tuple[Any, Desk]] = []

    def desk(settings: dict[str, Any] | None = None, **app: Any) -> Desk:
        server = serving(create_app(**{"calls_per_minute": None, **app}))
        url = server.__enter__()
        given = {
            "base_url": url, "access_token": "sandbox-token", "client_secret": "sandbox-secret",
            "custom_fields": {"order": "Order", "phone": "Phone"}, "teams": {"Suporte": "801", "Chat": "802"},
            "search_lag_seconds": 0,
        }  # fmt: skip
        opened = Desk(url, connect(**{**given, **(settings or {})}))
        served.append((server, opened))
        return opened

    yield desk
    for server, opened in served:
        opened.http.close()
        server.__exit__(None, None, None)


@pytest.fixture
def desk(open_desk: Callable[..., Desk]) -> Desk:
    return open_desk({"ticket_type_id": "29"})
