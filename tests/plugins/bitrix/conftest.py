"""What do the tests of this vendor share? Its fixtures, read as webhooks, and connections to portals."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from gateway_plugins import bitrix

from gateway.api import Connection, Webhook

FIXTURES = Path(__file__).parent / "fixtures"
RECEIVED = datetime(2026, 9, 14, 2, 40, 2, tzinfo=UTC)  # two seconds after the `ts` of the fixtures
WEBHOOK_TOKEN = "outgoingwebhooktoken000000000001"
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
