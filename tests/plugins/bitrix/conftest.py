"""What do the tests of this vendor share? Its fixtures, read as webhooks, and connections to portals."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from gateway_plugins import bitrix
from gateway_plugins.bitrix.desk import MEMBER_ID
from gateway_plugins.bitrix.sandbox import create_app

from gateway.api import Action, ApiClient, Connection, Event, RateLimit, Receipt, TicketRef, Webhook
from gateway.clock import utc_now
from gateway.testing import api_for, serving

FIXTURES = Path(__file__).parent / "fixtures"
RECEIVED = datetime(2026, 9, 14, 0, 0, 2, tzinfo=UTC)  # two seconds after the `ts` of the fixtures
WEBHOOK_TOKEN = "outgoingwebhooktoken000000000001"
PLENTY = RateLimit(100_000, 1)
APP_TOKEN = "applicationtoken0000000000000001"


def connect(**settings: Any) -> Connection[bitrix.Settings]:
    given = {
        "portal_host": "acme.bitrix24.com.br", "user_id": 15, "webhook_secret": "portal-secret-1",
        "application_token": [WEBHOOK_TOKEN, APP_TOKEN], **settings,
    }  # fmt: skip
    return Connection("t1", "b24", "bitrix", bitrix.Settings(**given))


@pytest.fixture(scope="session")
def connected() -> Callable[..., Connection[bitrix.Settings]]:
    return connect


@pytest.fixture(scope="session")
def connection() -> Connection[bitrix.Settings]:
    return connect()


@pytest.fixture(scope="session")
def told() -> Callable[..., Webhook]:
    """The webhook of that fixture, or of that body, with these parts replaced."""

    def webhook(name: str | bytes, *changes: tuple[str, str], **more: Any) -> Webhook:
        body = name if isinstance(name, bytes) else (FIXTURES / f"{name}.form.txt").read_bytes()
        for old, new in changes:
            assert old.encode() in body, old
            body = body.replace(old.encode(), new.encode())
        headers = {"content-type": "application/x-www-form-urlencoded"}
        return Webhook(headers=headers, body=body, received_at=RECEIVED, **more)

    return webhook


@dataclass
class Sandbox:
    """The fake portal, a client of ours, and what people do in it."""

    app: Any
    connection: Connection[bitrix.Settings]
    http: httpx.Client

    def api(self, *, limited: bool = False) -> ApiClient:
        return api_for(bitrix, self.connection, rate=None if limited else PLENTY)

    def open(self, **given: Any) -> Any:
        """Gives the id, as a TicketRef has it, with everything else."""
        return self._posted("/_sandbox/human/tickets", given)

    def change(self, id_: str, **given: Any) -> Any:
        return self._posted(f"/_sandbox/human/tickets/{id_}", given)

    def call(self, **given: Any) -> Any:
        return self._posted("/_sandbox/human/calls", given)

    def misbehave(self, **fault: Any) -> None:
        self.http.post("/_sandbox/misbehave", json=fault).raise_for_status()

    def ticket(self, id_: str) -> Any:
        (found,) = [each for each in self.http.get("/_sandbox/tickets").json() if each["ref"] == id_]
        return found

    def do(self, action: Action) -> Receipt | None:
        return bitrix.execute_action(action=action, api=self.api())

    def find(self, action: Action) -> Receipt | None:
        return bitrix.find_effect(action=action, api=self.api())

    def read(self, id_: str) -> Any:
        return bitrix.collect_ticket(ref=TicketRef("b24", id_), api=self.api())

    def events(self, id_: str, before: Any = None) -> list[Event]:
        """What a reading tells, as if a webhook had just named it."""
        webhook = Webhook({}, b"", received_at=utc_now())
        return bitrix.convert_webhook(
            webhook=webhook, collected=self.read(id_), before=before, connection=self.connection
        )

    def methods(self) -> list[str]:
        return [call["path"].rpartition("/")[2] for call in self.app.calls]

    def _posted(self, path: str, given: Any) -> Any:
        return self.http.post(path, json=given).raise_for_status().json()


@pytest.fixture(scope="session")
def sandbox_with() -> Callable[..., Any]:
    """A context manager: `with sandbox_with(task_card="old") as sandbox`; without the rate limit unless told."""

    @contextmanager
    def running(settings: dict[str, Any] | None = None, **options: Any) -> Iterator[Sandbox]:
        app = create_app(**{"limited": False, "webhook_secret": "portal-secret-1", **options})
        with serving(app) as url, httpx.Client(base_url=url, trust_env=False) as http:
            given = {"base_url": f"{url}/rest", "member_id": MEMBER_ID, **(settings or {})}
            yield Sandbox(app, connect(**given), http)

    return running


@pytest.fixture(scope="module")
def portal(sandbox_with: Callable[..., Any]) -> Iterator[Sandbox]:
    settings = {
        "application_token": "sandbox-application-token",
        "deal_tag_field": "UF_CRM_TAGS",
        "groups": {"Suporte": 31},
        "custom_fields": {
            "ticket_url": {"deal": "UF_CRM_TICKET_URL", "task": "UF_AUTO_1"},
            "plan": {"deal": "UF_CRM_PLAN"},
            "document": {"contact": "UF_CRM_CPF"},
        },
    }
    with sandbox_with(settings) as running:
        yield running


@pytest.fixture
def sandbox(portal: Sandbox) -> Sandbox:
    """One socket for all tests of a module, and behind it a portal in which nothing has happened yet."""
    portal.app.app = create_app(limited=False, webhook_secret="portal-secret-1").app
    portal.app.calls.clear()
    portal.http.delete("/_sandbox/misbehave")
    return portal
