"""Does the generic plugin keep what every vendor promises, for a system that is known by its settings alone?"""

import json
from datetime import datetime
from typing import Any, ClassVar
from uuid import NAMESPACE_URL, uuid5

from gateway_plugins import generic
from gateway_plugins.generic import accept
from gateway_plugins.generic.desk import AGENT, SNAPSHOT
from gateway_plugins.generic.sandbox import DESK_SETTINGS, PAYMENT_MAPPING, SECRET, TOKEN, create_app
from starlette.types import ASGIApp

from gateway.api import Connection, Webhook
from gateway.testing import VendorConformance

PAYMENT: dict[str, Any] = PAYMENT_MAPPING["sample"]
TICKET = {
    "id": "T-1", "title": "Não imprime", "text": "...", "state": "aberto", "level": "3", "owner": None,
    "group": None, "labels": ["vip"], "fields": {"plano": "Pro"},
    "contact": {"nome": "Ana", "email": "ana@example.com"},
    "created_at": "2026-09-14T00:00:00+00:00", "updated_at": "2026-09-14T00:01:00+00:00", "changed_by": AGENT,
}  # fmt: skip


class TestConformance(VendorConformance):
    vendor = generic
    samples: ClassVar = {
        "payment": json.dumps(PAYMENT).encode(),
        "ticket": json.dumps({"type": "ticket.changed", "ticket": TICKET, "comments": []}).encode(),
    }
    unknown = b'{"type": "something.new", "data": {}}'
    unsupported: ClassVar = {}
    repeatable: ClassVar = {
        "AddComment": "the same Idempotency-Key is the same comment",
        "AddTags": "a tag that is there is not added twice",
        "RemoveTags": "a tag that is gone is not removed twice",
        "SaveContact": "a PUT of the same contact changes nothing",
    }
    opening: ClassVar = {
        "title": "Não imprime",
        "text": "...",
        "labels": ["novo-cliente"],
        "fields": {"setor": "RH"},
    }
    changes: ClassVar = (
        {"state": "aguardando", "level": "4", "add_labels": ["a"]},
        {"state": "resolvido", "level": "1", "add_labels": ["b"], "remove_labels": ["a"]},
    )
    comment: ClassVar = {"comment": {"text": "Já liguei para a cliente"}}
    resolution = 0.01
    assignee = "bia"
    team = "GR"
    fields: ClassVar = {"plan": "Pro"}

    def connection(self, base_url: str) -> Connection[Any]:
        events = [*PAYMENT_MAPPING["events"], SNAPSHOT]
        told = {**DESK_SETTINGS, "events": events, "secret": SECRET, "api_token": TOKEN, "base_url": base_url}
        return Connection("acme", "erp", "generic", generic.Settings.model_validate(told))

    def signed(self, body: bytes, at: datetime) -> Webhook:
        sent_at = at.replace(microsecond=0)
        name = f"msg_{uuid5(NAMESPACE_URL, body.hex()).hex}"
        headers = {"webhook-id": name, "webhook-timestamp": str(int(sent_at.timestamp()))}
        try:
            signature = accept.sign(name, sent_at, body.decode(), SECRET)
        except UnicodeDecodeError:  # the standard signs text: nobody could have sent this
            signature = "v1,none"
        return Webhook({**headers, "webhook-signature": signature}, body, received_at=at)

    def create_app(self, *, limited: bool) -> ASGIApp:
        return create_app(limited=limited)

    def look(self, api: Any) -> None:
        api.get("/tickets")
