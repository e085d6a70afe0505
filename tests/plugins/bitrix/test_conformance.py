"""Bitrix24 keeps what every vendor promises, with the comments of its tasks in either card."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from gateway_plugins import bitrix
from gateway_plugins.bitrix.desk import MEMBER_ID
from gateway_plugins.bitrix.sandbox import create_app

from gateway.api import Action, AddComment, Connection, Priority, Status, TicketRef, Webhook
from gateway.testing.acting import ActionTests
from gateway.testing.conformance import VendorConformance
from gateway.testing.under_test import VendorUnderTest

FIXTURES = Path(__file__).parent / "fixtures"
TOKEN = "outgoingwebhooktoken000000000001"
SENT_BY_WEBHOOK = {
    path.name.removesuffix(".form.txt"): path.read_bytes()
    for path in sorted(FIXTURES.glob("*.form.txt"))
    if TOKEN.encode() in path.read_bytes()
}


class Portal(VendorUnderTest):
    vendor = bitrix
    samples = SENT_BY_WEBHOOK
    unknown = SENT_BY_WEBHOOK["ONCRMACTIVITYADD"]
    signs = False
    unsupported: ClassVar[dict[str, str]] = {
        "stale": "nothing is signed: whoever has an old body has the token, and can write a new one",
        "replayed": "a delivery has no name, and `ts` is no finer than two changes may lie apart",
    }
    becomes: ClassVar[dict[Any, Any]] = {
        Status.PENDING: Status.ON_HOLD,
        Status.CANCELED: None,
        Priority.URGENT: Priority.HIGH,
    }
    opening: ClassVar[dict[str, Any]] = {
        "kind": "task", "title": "Implantar Ana", "status": 3, "description": "[b]Plano Pro[/b]",
        "contact": {"name": "Ana", "phone": "(11) 99999-0000"},
    }  # fmt: skip
    changes = ({"status": 4, "tags": ["vip"], "priority": 2}, {"status": 6, "tags": ["novo"], "priority": 0})
    comment: ClassVar[dict[str, Any]] = {"comment": "Falei com a Ana"}
    assignee = "22"
    team = "Suporte"
    fields: ClassVar[dict[str, Any]] = {"plan": "pro"}
    card = "new"

    def connection(self, base_url: str) -> Connection[bitrix.Settings]:
        settings = bitrix.Settings(
            portal_host="acme.bitrix24.com.br",
            base_url=f"{base_url}/rest",
            user_id=15,
            member_id=MEMBER_ID,
            webhook_secret="portal-secret-1",
            application_token=[TOKEN, "another-token-of-this-portal"],
            groups={"Suporte": 31},
            custom_fields={"plan": {"task": "UF_AUTO_1"}},
        )
        return Connection("acme", "b24", "bitrix", settings)

    def signed(self, body: bytes, at: datetime) -> Webhook:
        headers = {"content-type": "application/x-www-form-urlencoded"}
        return Webhook(headers, body, received_at=at)

    def create_app(self, *, limited: bool) -> Any:
        return create_app(
            webhook_secret="portal-secret-1", application_token=TOKEN, limited=limited, task_card=self.card
        )

    def actions(self, ticket: TicketRef) -> Iterator[Action]:
        """No customer reads a task, so its comments are private ones, whatever was asked for."""
        for action in super().actions(ticket):
            yield action.model_copy(update={"is_private": True}) if isinstance(action, AddComment) else action


class TestConformance(Portal, VendorConformance):
    pass


class TestActionsWithTheOldCard(Portal, ActionTests):
    """Comments of tasks are a forum there; nothing else is different."""

    card = "old"
