"""Does Freshdesk keep what every vendor promises?"""

from datetime import datetime
from pathlib import Path
from typing import Any

from gateway_plugins import freshdesk
from gateway_plugins.freshdesk.sandbox import create_app

from gateway.api import Connection, Status, Webhook
from gateway.testing import VendorConformance

FIXTURES = Path(__file__).parent / "fixtures"


class TestConformance(VendorConformance):
    vendor = freshdesk
    samples = {
        path.stem: path.read_bytes()
        for path in sorted(FIXTURES.iterdir())
        if path.stem not in ("collected", "without_ticket")
    }
    unknown = (FIXTURES / "without_ticket.json").read_bytes()
    signs = False
    unsupported = {
        "stale": "automations send no time",
        "replayed": "automations send no delivery id; a hint that is told again leads to one reading more",
    }
    becomes = {Status.NEW: Status.OPEN, Status.CANCELED: None}
    repeatable = {"SaveContact": "a person is looked up before anything is written, and only what differs is"}

    opening = {"subject": "Invoice", "description": "Where is it?", "email": "rui@cliente.example"}
    changes = (
        {"status": 3, "priority": 3, "tags": ["billing"], "responder_id": 43000002},
        {"status": 4, "priority": 1, "tags": ["vip"], "responder_id": 43000003, "group_id": 8002},
    )
    comment = {"comment": {"body": "Obrigado", "customer": True}}

    assignee = "43000002"
    team = "Financeiro"
    fields = {"phone": "+551135550199", "plan": "Pro"}

    def connection(self, base_url: str) -> Connection[Any]:
        return Connection("acme", "fd", "freshdesk", freshdesk.Settings.model_validate({
            "base_url": f"{base_url}/api/v2", "subdomain": "acme", "agent_id": "43000001",
            "api_key": "sandbox-key", "hook_key": "sandbox-hook-key", "groups": {"Financeiro": 8002},
            "custom_fields": {"phone": "cf_phone", "plan": "cf_plan"},
        }))  # fmt: skip

    def signed(self, body: bytes, at: datetime) -> Webhook:
        return Webhook({"x-gateway-key": "sandbox-hook-key"}, body, received_at=at)

    def create_app(self, *, limited: bool) -> Any:
        return create_app(calls_per_minute=200 if limited else None)
