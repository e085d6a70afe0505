"""Does Intercom keep what every vendor promises, in its conversations and in its tickets?"""

import json
from pathlib import Path

from gateway_plugins import intercom
from gateway_plugins.intercom.accept import SIGNATURE, sign
from gateway_plugins.intercom.sandbox import create_app

from gateway.api import Connection, CreateTicket, Priority, SetStatus, Status, Webhook
from gateway.testing import VendorConformance
from gateway.testing.acting import ActionTests
from gateway.testing.failing import FailureTests
from gateway.testing.telling import TellingTests
from gateway.testing.under_test import ACTIONS, VendorUnderTest

FIXTURES = Path(__file__).parent / "fixtures"
SECRET = "sandbox-secret"
ANA = {"email": "ana@customer.example", "name": "Ana Lima"}


class Conversations(VendorUnderTest):
    vendor = intercom
    samples = {
        path.stem: path.read_bytes()
        for path in sorted(FIXTURES.glob("*.json"), key=lambda path: path.stat().st_size)
        if not path.stem.startswith("collected")
    }
    unknown = json.dumps({**json.loads(samples["ping"]), "topic": "conversation.admin.danced"}).encode()
    unsupported = {"stale": "no time is signed; a replay is known by its notification's id"}
    becomes = {
        Status.NEW: Status.OPEN, Status.PENDING: Status.ON_HOLD, Status.RESOLVED: Status.CLOSED,
        Status.CANCELED: None,
    }  # fmt: skip
    repeatable = {
        "SaveContact": "somebody with this e-mail or external id is there once, and is written whole"
    }

    opening = {"contact": ANA, "body": "Cadê o boleto?", "tags": ["cobranca"]}
    changes = (
        {"message_type": "snoozed", "snoozed_until": 2_000_000_000},
        {"message_type": "close"},
    )
    comment = {"message_type": "comment", "type": "user", "body": "Ainda espero"}

    assignee = "702"
    team = "Suporte"
    fields = {"order": "A-77"}
    settings = {}

    def connection(self, base_url):
        settings = intercom.Settings(
            base_url=base_url, app_id="abc123", admin_id="700", access_token="sandbox-token", client_secret=SECRET,
            custom_fields={"order": "Order"}, teams={"Suporte": "801"}, priority_attribute="Prioridade",
            priorities={Priority.LOW: "Baixa", Priority.NORMAL: "Normal", Priority.HIGH: "Alta", Priority.URGENT: "Já"},
            calls_per_minute=600, **self.settings,
        )  # fmt: skip
        return Connection("acme", "ic", "intercom", settings)

    def create_app(self, *, limited):
        """Without the topics of contacts: of those, nothing tells who made the change."""
        return create_app(calls_per_minute=600 if limited else None, topics="conversation")

    def actions(self, ticket):
        """A conversation is open from the start: so it is put on hold."""
        for action in super().actions(ticket):
            yield (
                action.model_copy(update={"status": Status.ON_HOLD})
                if isinstance(action, SetStatus)
                else action
            )

    def signed(self, body, at):
        return Webhook({SIGNATURE: sign(body, SECRET)}, body, received_at=at)


class TestConversations(Conversations, VendorConformance):
    """All of it."""


class TestFirstGeneration(Conversations, TellingTests):
    """What is told in the shapes of API 1.x."""

    examples = 20

    def create_app(self, *, limited):
        del limited
        return create_app(calls_per_minute=None, topics="conversation", webhooks="1.4")


class TestTickets(Conversations, TellingTests, ActionTests, FailureTests):
    """A ticket's tags are shown by no reading: that they are set is proved in test_execute."""

    test_the_rate_limit_is_honoured = None
    test_a_tag_comes_back_as_it_is_spelled = None
    examples = 20
    becomes = {Status.NEW: Status.OPEN, Status.CANCELED: None}
    settings = {"ticket_type_id": "29"}
    opening = {"contact": ANA, "ticket_type_id": "29", "ticket_attributes": {"_default_title_": "Boleto"}}
    changes = ({"ticket_state_id": "4503"}, {"open": False})

    def actions(self, ticket):
        for action in super().actions(ticket):
            yield action.model_copy(update={"tags": ()}) if isinstance(action, CreateTicket) else action

    def pytest_generate_tests(self, metafunc):
        if "kind" in metafunc.fixturenames:
            metafunc.parametrize("kind", [kind for kind in ACTIONS if kind not in ("AddTags", "RemoveTags")])
            return
        super().pytest_generate_tests(metafunc)

    def create_app(self, *, limited):
        del limited
        return create_app(calls_per_minute=None, topics="ticket.")
