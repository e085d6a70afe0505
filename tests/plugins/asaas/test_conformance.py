"""Does Asaas keep what every system that tells and is read promises?"""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from gateway_plugins import asaas
from gateway_plugins.asaas.accept import TOKEN
from gateway_plugins.asaas.sandbox import create_app
from starlette.types import ASGIApp

from gateway.api import Connection, Webhook
from gateway.testing import ReaderConformance

FIXTURES = Path(__file__).parent / "fixtures"
SECRET = "token-of-the-webhook-0123456789abcdef"


class TestConformance(ReaderConformance):
    vendor = asaas
    signs = False
    samples = {path.stem: path.read_bytes() for path in sorted(FIXTURES.glob("*.json"))}
    unknown = json.dumps(
        {"id": "evt_1&1", "event": "PAYMENT_SUNG_ABOUT", "payment": {"id": "pay_1"}}
    ).encode()
    unsupported = {"stale": "Asaas signs no time"}
    people = "/_sandbox/human/payments"
    opening = {"value": 990.0, "customer": {"name": "Ana Exemplo", "email": "ana@example.com"}}
    changes = ({"event": "PAYMENT_CONFIRMED"}, {"event": "PAYMENT_REFUNDED"})

    def connection(self, base_url: str) -> Connection[Any]:
        settings = asaas.Settings.model_validate({
            "base_url": base_url, "access_token": [SECRET, "the-token-before-0123456789abcdefgh"],
            "api_key": "sandbox-api-key",
        })  # fmt: skip
        return Connection("acme", "asaas", "asaas", settings)

    def create_app(self, *, limited: bool) -> ASGIApp:
        return create_app(access_token=SECRET, limited=limited)

    def signed(self, body: bytes, at: datetime) -> Webhook:
        return Webhook({TOKEN: SECRET, "user-agent": "Asaas/3.0"}, body, received_at=at)
