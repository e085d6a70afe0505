"""What do the tests of this vendor share? Its fixtures, read as webhooks, connections to accounts, and a desk."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from gateway_plugins import zendesk
from gateway_plugins.zendesk.collect import read_snapshot
from gateway_plugins.zendesk.sandbox import create_app

from gateway.api import Action, Connection, RateLimit, Receipt, Snapshot, TicketRef, Webhook
from gateway.testing import api_for, serving

FIXTURES = Path(__file__).parent / "fixtures"
PLENTY = RateLimit(calls=10_000, seconds=60)
RECEIVED = datetime(2026, 11, 21, 14, 10, 2, tzinfo=UTC)


def connect(**settings: Any) -> Connection[zendesk.Settings]:
    given = {"subdomain": "acme", "oauth_token": "a-token", "signing_secret": "a-secret", **settings}
    return Connection("t1", "zd", "zendesk", zendesk.Settings(**given))


@pytest.fixture(scope="session")
def connected() -> Callable[..., Connection[zendesk.Settings]]:
    return connect


@pytest.fixture(scope="session")
def connection() -> Connection[zendesk.Settings]:
    return connect(
        account_id=9001001,
        user_id="90001",
        custom_fields={"order": 360001, "plan": 360002},
        groups={"Suporte": 8001},
    )


@pytest.fixture(scope="session")
def told() -> Callable[..., Webhook]:
    """The webhook of that fixture, or of that body; with changes to the top level of its JSON."""

    def webhook(name: str | bytes, **changes: Any) -> Webhook:
        body = name if isinstance(name, bytes) else (FIXTURES / f"{name}.json").read_bytes()
        if changes:
            body = json.dumps({**json.loads(body), **changes}).encode()
        return Webhook(headers={}, body=body, received_at=RECEIVED)

    return webhook


@pytest.fixture
def collected() -> dict[str, Any]:
    answer: dict[str, Any] = json.loads((FIXTURES / "collected.json").read_bytes())
    return answer


class Desk:
    """A sandbox over a real socket, with a client of ours and a person's hands."""

    def __init__(self, url: str, connection: Connection[zendesk.Settings]) -> None:
        self.url, self.connection = url, connection
        self.api = api_for(zendesk, connection, rate=PLENTY)
        self.http = httpx.Client(base_url=url, trust_env=False, timeout=10)

    def person_opens(self, **ticket: Any) -> TicketRef:
        asker = {"name": "Ana Lima", "email": "ana@customer.example"}
        given = {"subject": "Invoice", "description": "Where is it?", "requester": asker, **ticket}
        return TicketRef("zd", str(self._posted("/_sandbox/human/tickets", given)["ticket"]["id"]))

    def person_changes(self, ref: TicketRef, **change: Any) -> Any:
        return self._posted(f"/_sandbox/human/tickets/{ref.id}", change)["ticket"]

    def tickets(self) -> Any:
        return self.http.get("/_sandbox/tickets").json()

    def ticket(self, ref: TicketRef) -> Any:
        return next(ticket for ticket in self.tickets() if str(ticket["id"]) == ref.id)

    def calls(self) -> list[tuple[str, str]]:
        return [(call["method"], call["path"]) for call in self.http.get("/_sandbox/calls").json()]

    def misbehave(self, **fault: Any) -> None:
        self.http.post("/_sandbox/misbehave", json=fault).raise_for_status()

    def collect(self, ref: TicketRef) -> Any:
        return zendesk.collect_ticket(ref=ref, api=self.api)

    def snapshot(self, ref: TicketRef) -> Snapshot:
        return read_snapshot(self.collect(ref), None, self.connection)

    def do(self, action: Action) -> Receipt | None:
        return zendesk.execute_action(action=action, api=self.api)

    def found(self, action: Action) -> Receipt | None:
        return zendesk.find_effect(action=action, api=self.api)

    def _posted(self, path: str, given: Any) -> Any:
        return self.http.post(path, json=given).raise_for_status().json()


@pytest.fixture
def open_desk(connected: Callable[..., Connection[zendesk.Settings]]) -> Iterator[Callable[..., Desk]]:
    """Opens desks: `open_desk(calls_per_minute=None)`."""
    with ExitStack() as opened:

        def desk(settings: dict[str, Any] | None = None, **app: Any) -> Desk:
            url = opened.enter_context(serving(create_app(**{"calls_per_minute": None, **app})))
            given = {
                "base_url": f"{url}/api/v2", "oauth_token": "sandbox-token", "signing_secret": "sandbox-secret",
                "custom_fields": {"order": 360001, "phone": 360002}, "groups": {"Financeiro": 8002},
                "user_id": "90001",
            }  # fmt: skip
            desk = Desk(url, connected(**{**given, **(settings or {})}))
            opened.enter_context(desk.http)
            return desk

        yield desk


@pytest.fixture
def desk(open_desk: Callable[..., Desk]) -> Desk:
    return open_desk()
