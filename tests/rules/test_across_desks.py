"""Over real sockets: Intercom, Freshdesk and Bitrix24 with the rules between them; nothing twice, nothing back."""

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from gateway_plugins.bitrix import sandbox as bitrix
from gateway_plugins.bitrix.desk import MEMBER_ID
from gateway_plugins.freshdesk import sandbox as freshdesk
from gateway_plugins.intercom import sandbox as intercom
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from tests_town import rows

from gateway.api import Connection, Tenant, Webhook
from gateway.clock import utc_now
from gateway.pipeline.accept import admit
from gateway.pipeline.collect import collect
from gateway.pipeline.decide import decide
from gateway.pipeline.execute import execute
from gateway.runtime import Runtime
from gateway.store import actions as outbox
from gateway.store import deliveries, tenants
from gateway.store.tables import actions
from gateway.testing import serving

PORTAL = "acme.bitrix24.com.br"
RULES: dict[str, dict[str, Any]] = {
    "require_bitrix_link": {"connection": "bitrix"},
    "auto_tag": {},
    "escalate": {
        "from_connection": "chat",
        "to_connection": "support",
        "from_team": "Chat",
        "to_team": "Suporte",
    },
}


class Street:
    """A tenant whose chat, support and portal are sandboxes that tell what happens. Nothing runs by itself."""

    def __init__(self, gateway: Runtime, urls: dict[str, str], heard: list[tuple[str, Webhook]]) -> None:
        self.gateway, self.heard = gateway, heard
        self.http = {
            name: httpx.Client(base_url=url, trust_env=False, timeout=10) for name, url in urls.items()
        }
        self.now = utc_now()
        gateway.clock = lambda: self.now
        connected = {
            "chat": ("intercom", {
                "app_id": "abc123", "admin_id": "700", "access_token": "sandbox-token", "base_url": urls["chat"],
                "client_secret": "sandbox-secret", "custom_fields": {"bitrix_link": "Bitrix"},
                "teams": {"Chat": "802", "Suporte": "801"},
            }),
            "support": ("freshdesk", {
                "subdomain": "acme", "agent_id": "43000001", "api_key": "sandbox-key",
                "hook_key": "sandbox-hook-key", "base_url": f"{urls['support']}/api/v2",
                "groups": {"Suporte": 8001}, "settle_seconds": 0,
            }),
            "bitrix": ("bitrix", {
                "portal_host": PORTAL, "user_id": 15, "webhook_secret": "sandbox-secret", "member_id": MEMBER_ID,
                "application_token": "sandbox-application-token", "base_url": f"{urls['bitrix']}/rest",
            }),
        }  # fmt: skip
        with gateway.db.begin() as db:
            tenants.save_tenant(db, Tenant(id="acme", name="Acme Ltda"))
            for name, (vendor, settings) in connected.items():
                model = gateway.registry.vendor_info(vendor).settings.model_validate(settings)
                tenants.save_connection(db, Connection("acme", name, vendor, model), gateway.keyring)
            for name in gateway.registry.rules:
                tenants.save_rule(db, "acme", name, enabled=name in RULES, settings=RULES.get(name, {}))
            tenants.changed(db, ["settled in"])

    def someone(self, desk: str, path: str, **given: Any) -> Any:
        """A person does this at the desk; then everything runs until all is quiet."""
        answer = self.http[desk].post(f"/_sandbox/human/{path}", json=given).raise_for_status()
        self.run()
        return answer.json() if answer.content else None

    def run(self) -> None:
        for _ in range(30):
            if not self._hear() + self._send():
                return
        pytest.fail("it never ends: a loop")

    def everything(self, desk: str) -> list[Any]:
        return list(self.http[desk].get("/_sandbox/tickets").json())

    def _hear(self) -> int:
        deadline = time.monotonic() + 10
        while self._on_their_way() and time.monotonic() < deadline:
            time.sleep(0.005)
        taken = [self.heard.pop(0) for _ in range(len(self.heard))]
        self.now = max(self.now, utc_now())
        with self.gateway.db.begin() as db:
            company = self.gateway.directory.current(db).companies["acme"]
            arrivals = [
                admit(self.gateway.registry, webhook, company.connections[name]) for name, webhook in taken
            ]
            stored = [row.id for arrival in arrivals for row in deliveries.insert(db, [arrival])]
        self._decide(stored)
        return len(taken)

    def _on_their_way(self) -> int:
        return sum(http.get("/_sandbox/webhooks").json()["waiting"] for http in self.http.values())

    def _decide(self, ids: list[int]) -> None:
        for _ in range(5):
            for name in self.http:
                collect(self.gateway, "acme", name, ids)
            if not decide(self.gateway, ids).collect:
                return

    def _send(self) -> int:
        with self.gateway.db.begin() as db:
            due = [row for row in outbox.overdue(db, self.now, timedelta(0), 100) if row.connection]
        for name in {row.connection for row in due}:
            ids = [row.id for row in due if row.connection == name]
            sent = execute(self.gateway, 1, "acme", name, ids)
            self._decide(sent.raised)
            if sent.again or not sent.states:  # what was interrupted may be looked for a little later
                self.now = max([self.now + timedelta(seconds=5), *(at for _, at in sent.again)])
        return len(due)


@pytest.fixture
def street(gateway: Runtime) -> Iterator[Street]:
    heard: list[tuple[str, Webhook]] = []

    async def hear(request: Request) -> Response:
        told = Webhook(dict(request.headers), await request.body(), dict(request.query_params), utc_now())
        heard.append((request.path_params["name"], told))
        return Response(status_code=202)

    with (
        serving(intercom.create_app(calls_per_minute=None)) as chat,
        serving(freshdesk.create_app(calls_per_minute=None)) as support,
        serving(bitrix.create_app(limited=False)) as portal,
        serving(Starlette(routes=[Route("/{name}", hear, methods=["POST"])])) as ears,
    ):
        opened = Street(gateway, {"chat": chat, "support": support, "bitrix": portal}, heard)
        for name, http in opened.http.items():
            http.post("/_sandbox/webhooks", json={"url": f"{ears}/{name}"}).raise_for_status()
        yield opened
        for http in opened.http.values():
            http.close()


def texts(rows_: list[Any]) -> list[str]:
    return [str(row.get("body_text") or row.get("body") or "") for row in rows_]


@pytest.mark.parametrize("dropping", [False, True])
def test_a_conversation_is_tagged_linked_escalated_and_answered(street: Street, dropping: bool) -> None:
    if dropping:  # each desk acts once more without answering
        for name, path in (("chat", "/conversations"), ("support", "/api/v2/tickets"), ("bitrix", "/rest")):
            fault = {"kind": "drop", "times": 1, "method": "POST", "path": path}
            street.http[name].post("/_sandbox/misbehave", json=fault).raise_for_status()
    deal = street.someone("bitrix", "tickets", kind="deal", title="Plano Pro")["id"]
    link = f"https://{PORTAL}/crm/deal/details/{deal.removeprefix('deal:')}/"
    talk = street.someone("chat", "tickets", body="Quero a segunda via do boleto")["id"]

    def says(body: str, *, kind: str = "comment", **who: Any) -> None:
        street.someone("chat", f"tickets/{talk}", message_type=kind, body=body, **who)

    def conversation() -> Any:
        return next(row for row in street.everything("chat") if row["id"] == talk)

    def noted() -> list[str]:
        parts = conversation()["conversation_parts"]["conversation_parts"]
        return [part["body"] for part in parts if part["part_type"] == "note"]

    def tags() -> set[str]:
        return {tag["name"] for tag in conversation()["tags"]["tags"]}

    assert tags() == {"financeiro"}
    says("Bom dia, já verifico", type="admin")
    assert tags() == {"financeiro", "sem-bitrix"}
    assert len(noted()) == 1
    says(link, kind="note", type="admin")
    assert tags() == {"financeiro"}
    assert conversation()["custom_attributes"]["Bitrix"] == link
    (told_deal,) = [row for row in street.everything("bitrix") if row["ref"] == deal]
    assert len(told_deal["timeline"]) == 1

    says("/escalar boleto não abre", kind="note", type="admin")
    (ticket,) = street.everything("support")
    assert "segunda via do boleto" in ticket["description_text"]
    assert "escalar" not in ticket["description_text"]
    assert {"escalado", "financeiro"} <= set(ticket["tags"])
    assert len(ticket["conversations"]) == 1, "the reason, privately"
    assert str(ticket["id"]) in noted()[-1]

    says("Conseguiram?", type="user")
    street.someone("support", f"tickets/{ticket['id']}", comment={"body": "Segue o novo boleto"})
    street.someone("support", f"tickets/{ticket['id']}", status=4)
    (ticket,) = street.everything("support")
    assert sum("Conseguiram?" in text for text in texts(ticket["conversations"])) == 1
    notes = noted()
    assert sum("Segue o novo boleto" in note for note in notes) == 1
    assert len([note for note in notes if "Bom dia" not in note]) == 6, notes
    assert "resolvido-suporte" in tags()
    assert "sem-bitrix" not in ticket["tags"], "the conversation it comes from is linked"
    assert len(street.everything("support")) == 1
    assert {row.state for row in rows(street.gateway, actions)} == {"done"}
