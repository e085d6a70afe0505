"""Does Movidesk keep what every vendor promises?"""

from pathlib import Path

from gateway_plugins import movidesk
from gateway_plugins.movidesk.sandbox import create_app

from gateway.api import Connection, Status, Webhook
from gateway.testing import VendorConformance

FIXTURES = Path(__file__).parent / "fixtures"


class TestConformance(VendorConformance):
    vendor = movidesk
    signs = False
    samples = {
        "number": b'{"Id": 8017, "Subject": "Boleto", "Status": null}',
        "text": b'{"Ticket": {"Id": "8017"}}',
        "another": b'{"TicketId": 8018}',
        "nothing": b"{}",
    }
    unsupported = {
        "stale": "Movidesk sends no time",
        "replayed": "Movidesk names no delivery; every hint leads to one reading, which tells nothing new",
        "unknown": "a hint does not say what happened",
    }
    becomes = {Status.ON_HOLD: Status.PENDING}

    opening = {
        "subject": "Boleto", "description": "Cadê?", "tags": ["cobranca"],
        "client": {"name": "Rui Lima", "email": "rui@customer.example", "phone": "11987650000"},
    }  # fmt: skip
    changes = (
        {"status": "Em atendimento", "urgency": "Alta", "tags": ["cobranca", "um"]},
        {"status": "Resolvido", "urgency": "Baixa", "tags": ["dois"]},
    )
    comment = {"comment": {"body": "Ainda espero", "public": True}}

    assignee = "ag-9"
    team = "GR"
    fields = {"order": "A-77"}

    def connection(self, base_url):
        settings = {
            "base_url": base_url, "subdomain": "acme", "person_id": "gateway", "default_client_id": "cli-77",
            "custom_fields": {"order": {"id": 13485, "rule": 21751}},
            "token": "sandbox-token", "hook_key": ["new-hook-key", "old-hook-key"],
        }  # fmt: skip
        return Connection("acme", "desk", "movidesk", movidesk.Settings.model_validate(settings))

    def create_app(self, *, limited):
        return create_app() if limited else create_app(calls_per_minute=1_000_000)

    def signed(self, body, at):
        return Webhook({}, body, {"key": "new-hook-key"}, at)
