"""Does Stripe keep what every system that tells and is read promises?"""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from gateway_plugins import stripe
from gateway_plugins.stripe.accept import SIGNATURE, sign
from gateway_plugins.stripe.sandbox import SECRET, create_app
from starlette.types import ASGIApp

from gateway.api import Connection, Webhook
from gateway.testing import ReaderConformance

FIXTURES = Path(__file__).parent / "fixtures"


class TestConformance(ReaderConformance):
    vendor = stripe
    samples = {path.stem: path.read_bytes() for path in sorted(FIXTURES.glob("*.json"))}
    unknown = json.dumps({**json.loads(samples["invoice.paid"]), "type": "invoice.sung_about"}).encode()
    unsupported = {"list_changed": "the key of the API is optional; Stripe itself tries for three days"}
    people = "/_sandbox/human/payments"
    opening = {"amount": 99000, "invoice": True, "customer": {"name": "Ana", "email": "ana@example.com"}}
    changes = ({"do": "pay"}, {"do": "refund"})

    def connection(self, base_url: str) -> Connection[Any]:
        settings = stripe.Settings.model_validate({
            "base_url": base_url, "signing_secret": [SECRET, "whsec_before"], "api_key": "sandbox-api-key",
        })  # fmt: skip
        return Connection("acme", "stripe", "stripe", settings)

    def create_app(self, *, limited: bool) -> ASGIApp:
        return create_app(limited=limited)

    def signed(self, body: bytes, at: datetime) -> Webhook:
        seconds = str(int(at.timestamp()))
        return Webhook({SIGNATURE: f"t={seconds},v1={sign(seconds, body, SECRET)}"}, body, received_at=at)
