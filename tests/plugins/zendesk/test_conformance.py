"""Does Zendesk keep what every vendor promises?"""

import json
from pathlib import Path

from gateway_plugins import zendesk
from gateway_plugins.zendesk.accept import SIGNATURE, TIMESTAMP, sign
from gateway_plugins.zendesk.sandbox import create_app

from gateway.api import Connection, Status, Webhook
from gateway.testing import VendorConformance

FIXTURES = Path(__file__).parent / "fixtures"
SECRET = "sandbox-secret"


class TestConformance(VendorConformance):
    vendor = zendesk
    samples = {
        path.stem: path.read_bytes() for path in sorted(FIXTURES.glob("*.json")) if path.stem != "collected"
    }
    unknown = json.dumps(
        {**json.loads(samples["created"]), "type": "zen:event-type:ticket.sung_about"}
    ).encode()
    becomes = {Status.NEW: Status.OPEN, Status.CANCELED: None}
    repeatable = {"SaveContact": "it is matched by e-mail, document or id, and written whole"}

    opening = {
        "subject": "Boleto", "description": "Cadê?", "tags": ["cobranca"],
        "requester": {"name": "Rui Lima", "email": "rui@customer.example"},
    }  # fmt: skip
    changes = (
        {"status": "pending", "priority": "high", "tags": ["cobranca", "um"]},
        {"status": "solved", "priority": "low", "tags": ["dois"]},
    )
    comment = {"comment": {"body": "Ainda espero", "public": True, "author": "requester"}}

    assignee = "80005"
    team = "Financeiro"
    fields = {"order": "A-77"}

    def connection(self, base_url):
        settings = zendesk.Settings(
            base_url=f"{base_url}/api/v2", subdomain="acme", account_id=9001001, user_id="90001",
            oauth_token="sandbox-token", signing_secret=SECRET, groups={"Financeiro": 8002},
            custom_fields={"order": 360001},
        )  # fmt: skip
        return Connection("acme", "zd", "zendesk", settings)

    def create_app(self, *, limited):
        return create_app(export_delay=0) if limited else create_app(calls_per_minute=None, export_delay=0)

    def signed(self, body, at):
        sent_at = at.isoformat()
        return Webhook({SIGNATURE: sign(sent_at, body, SECRET), TIMESTAMP: sent_at}, body, received_at=at)

    def ticket_id(self, answer):
        return str(answer["ticket"]["id"])
