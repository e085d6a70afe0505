"""What do the tests of this vendor share? Its fixtures, read as webhooks, and connections to accounts."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from gateway_plugins import zendesk

from gateway.api import Connection, Webhook

FIXTURES = Path(__file__).parent / "fixtures"
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
