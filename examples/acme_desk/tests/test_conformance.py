"""Does Acme Desk keep what every vendor promises?"""

from datetime import datetime
from typing import Any

from gateway.api import Connection, Priority, Status, Webhook
from gateway.testing import VendorConformance
from starlette.types import ASGIApp

import acme_desk
from acme_desk.sandbox import create_app

KEY = "a-key-in-the-address"


class TestConformance(VendorConformance):
    vendor = acme_desk
    signs = False
    samples = {"hint": b'{"case": 31}', "another": b'{"case": 32}', "of-nothing": b"{}"}
    unsupported = {
        "stale": "hints carry no time",
        "replayed": "hints carry no id; one reading answers them all",
        "unknown": "hints do not say what happened",
        "SetFields": "Acme Desk has no custom fields",
    }
    becomes = {
        Status.NEW: Status.OPEN,
        Status.ON_HOLD: Status.PENDING,
        Status.CLOSED: Status.RESOLVED,
        Status.CANCELED: None,
        Priority.URGENT: Priority.HIGH,
    }

    opening = {
        "title": "Boleto", "text": "Cadê?", "labels": ["cobranca"],
        "customer": {"name": "Rui Lima", "mail": "rui@customer.example"},
    }  # fmt: skip
    changes = (
        {"state": "waiting", "prio": 3, "labels": ["cobranca", "um"]},
        {"state": "done", "prio": 1, "labels": ["dois"]},
    )
    comment = {"note": {"text": "Ainda espero", "by": "customer"}}
    resolution = 0.01

    assignee = "bia"
    team = "suporte"

    def connection(self, base_url: str) -> Connection[Any]:
        settings = acme_desk.Settings.model_validate({
            "base_url": f"{base_url}/api", "company": "loja", "password": "sandbox-password", "hook_key": KEY,
        })  # fmt: skip
        return Connection("acme", "cases", "acme_desk", settings)

    def create_app(self, *, limited: bool) -> ASGIApp:
        return create_app(calls_per_second=5 if limited else None)

    def signed(self, body: bytes, at: datetime) -> Webhook:
        return Webhook({}, body, {"key": KEY}, at)

    def ticket_id(self, answer: Any) -> str:
        return str(answer["number"])
