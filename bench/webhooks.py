"""Which webhooks are sent, signed as their vendors sign them, and how must the tenant be set up to take them?"""

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import gateway_plugins.generic.accept as standard
import gateway_plugins.zendesk.accept as zendesk
from gateway_plugins.generic.sandbox import PAYMENT_MAPPING

from bench.servers import conversation
from gateway.model.connection import Connection
from gateway.model.facts import Tenant
from gateway.runtime import Runtime
from gateway.store import tenants

TENANT = "bench"
SIGNING_SECRET = base64.b64encode(b"only for the benchmark's zendesk").decode()
STANDARD_SECRET = "whsec_" + base64.b64encode(b"only for the benchmark's payment").decode()
CLIENT_SECRET = "only-for-the-benchmarks-intercom"
HOOK_KEY = "only-for-the-benchmark"

Signed = tuple[dict[str, str], bytes]
"""Headers and body."""


@dataclass(frozen=True, slots=True)
class Vendor:
    """`made(nonce, number)` is one webhook; no two of a run are about the same fact."""

    made: Callable[[str, int], Signed]
    settings: Mapping[str, Any]
    query: str = ""


def zendesk_event(nonce: str, number: int) -> Signed:
    """A Zendesk event webhook, HMAC-SHA256, as long as an Intercom notification of a new conversation."""
    now = datetime.fromtimestamp(time.time(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    body = _json({
        "account_id": 22129848,
        "detail": {
            "actor_id": "8447388090494", "created_at": now, "id": str(1_000_000 + number),
            "priority": "NORMAL", "requester_id": "8447388090495", "status": "OPEN",
            "subject": "Preciso de ajuda com o boleto em aberto", "tags": [], "updated_at": now,
        },
        "event": {"current": "OPEN", "previous": "NEW"},
        "id": f"{nonce}-{number}",
        "subject": f"zen:ticket:{1_000_000 + number}",
        "time": now,
        "type": "zen:event-type:ticket.status_changed",
        "zendesk_event_version": "2022-11-06",
    })  # fmt: skip
    signature = zendesk.sign(now, body, SIGNING_SECRET)
    return {zendesk.SIGNATURE: signature, zendesk.TIMESTAMP: now}, body


def intercom_notification(nonce: str, number: int) -> Signed:
    """What the peers are sent, and the gateway once it has that plugin. X-Hub-Signature, HMAC-SHA1."""
    body = _json({
        "type": "notification_event", "app_id": "x", "id": f"notif_{nonce}-{number}",
        "topic": "conversation.user.created",
        "data": {
            "type": "notification_event_data",
            "item": {
                "type": "conversation", "id": str(215_468_744 + number), "created_at": 1_700_000_000,
                "source": {
                    "type": "conversation", "id": "1", "delivered_as": "customer_initiated", "subject": "",
                    "body": "<p>Preciso de ajuda com o boleto em aberto</p>",
                    "author": {
                        "type": "user", "id": f"{nonce}-{number}", "name": "Maria",
                        "email": f"{nonce}-{number}@example.com",
                    },
                },
                "tags": {"type": "tag.list", "tags": []},
            },
        },
    })  # fmt: skip
    digest = hmac.new(CLIENT_SECRET.encode(), body, hashlib.sha1).hexdigest()
    return {"X-Hub-Signature": f"sha1={digest}"}, body


def escalation(nonce: str, number: int) -> Signed:
    """Intercom tells of a new conversation that already has the tag which asks for a ticket at the other desk."""
    id_ = f"{int(nonce, 16)}{number:06}"
    body = _json({
        "type": "notification_event", "app_id": "x", "id": f"notif_{nonce}-{number}",
        "topic": "conversation.user.created",
        "data": {"type": "notification_event_data", "item": conversation(id_)},
    })  # fmt: skip
    digest = hmac.new(CLIENT_SECRET.encode(), body, hashlib.sha1).hexdigest()
    return {"X-Hub-Signature": f"sha1={digest}"}, body


def payment(nonce: str, number: int) -> Signed:
    """A confirmed payment by Standard Webhooks; every one is another customer's."""
    sent_at = datetime.fromtimestamp(int(time.time()), UTC)
    name = f"{nonce}-{number}"
    body = _json({
        "type": "payment.confirmed",
        "timestamp": sent_at.isoformat(),
        "data": {
            "id": f"pay-{name}", "status": "received", "amount": 990.0, "currency": "BRL", "method": "boleto",
            "installments": 1, "invoice": f"https://pay.example/i/pay-{name}", "plan": "Pro",
            "products": ["Fiscal", "Folha"], "reference": f"deal-{number}", "paid_at": "2026-09-13 20:59:00",
            "customer": {
                "name": f"Padaria Exemplo {number}", "email": f"{name}@padaria.example", "city": "Campinas",
                "state": "SP",
            },
        },
    })  # fmt: skip
    headers = {
        "webhook-id": f"msg-{name}",
        "webhook-timestamp": str(int(sent_at.timestamp())),
        "webhook-signature": standard.sign(f"msg-{name}", sent_at, body.decode(), STANDARD_SECRET),
    }
    return headers, body


def movidesk_hint(nonce: str, number: int) -> Signed:
    """A Movidesk trigger: unsigned, it says only which ticket has changed. Five tell of each ticket."""
    return {}, _json({"Id": FIRST_TICKET + number // HINTS_PER_TICKET, "Event": f"{nonce}-{number}"})


HINTS_PER_TICKET = 5
FIRST_TICKET = 50_812
"""The number of the Movidesk sandbox's first ticket."""

VENDORS: dict[str, Vendor] = {
    "zendesk": Vendor(
        zendesk_event,
        {
            "subdomain": "bench", "oauth_token": "sandbox-token", "signing_secret": SIGNING_SECRET,
            "groups": {"GR": 8001}, "calls_per_minute": 10_000,
        },
    ),
    "generic": Vendor(payment, {**PAYMENT_MAPPING, "secret": STANDARD_SECRET}),
    "intercom": Vendor(
        intercom_notification,
        {
            "app_id": "x", "admin_id": "1", "access_token": "sandbox-token", "client_secret": CLIENT_SECRET,
            "calls_per_minute": 1_000_000,
        },
    ),
    "movidesk": Vendor(
        movidesk_hint,
        {"subdomain": "bench", "person_id": "gateway", "token": "sandbox-token", "hook_key": HOOK_KEY},
        query=f"?key={HOOK_KEY}",
    ),
}  # fmt: skip
"""Another vendor is one more entry; its name is then a choice of `--vendor`."""

MADE = {**{name: vendor.made for name, vendor in VENDORS.items()}, "escalation": escalation}
"""What may be sent: a vendor's webhook, or that of a story."""


OTHERS: Mapping[str, Mapping[str, Any]] = {
    "freshdesk": {
        "subdomain": "bench", "agent_id": "1", "api_key": "sandbox-key", "hook_key": HOOK_KEY,
        "calls_per_minute": 100_000,
    },
    "bitrix": {
        "portal_host": "bench.bitrix24.com.br", "user_id": 15, "webhook_secret": "sandbox-secret",
        "application_token": "sandbox-application-token",
    },
}  # fmt: skip
"""Settings of vendors that send nothing here, and are there for the rules that want them."""

UNDISTURBED = {"reconcile_minutes": 0}
"""Nobody looks for lost webhooks meanwhile."""

RULES: Mapping[str, Any] = {
    "core_ticket_on_payment": {"connection": "zendesk"},
    "require_phone": {},
    "auto_tag": {},
    "require_bitrix_link": {"connection": "bitrix", "channel": None},
    "escalate": {"from_connection": "intercom", "to_connection": "freshdesk"},
}
"""The five, so that each is asked about everything; of what is sent here only some concerns more than one."""


def path_of(vendor: str) -> str:
    """Where this vendor's webhooks go; the connection is named after it."""
    return f"/hooks/{TENANT}/{vendor}{VENDORS[vendor].query}"


def rendered(what: str, path: str, count: int) -> list[bytes]:
    """Whole HTTP/1.1 requests, ready to be written to a socket."""
    nonce = secrets.token_hex(4)
    return [_request(path, *MADE[what](nonce, number)) for number in range(count)]


def configure(gateway: Runtime, base_urls: Mapping[str, str | None], rules: Mapping[str, Any]) -> None:
    """A tenant with a connection for each of these vendors, and these rules switched on with their settings."""
    with gateway.db.begin() as db:
        tenants.save_tenant(db, Tenant(id=TENANT, name="Bench Ltda"))
        for vendor, base_url in base_urls.items():
            model = gateway.registry.vendor_info(vendor).settings
            where = {"base_url": base_url} if base_url else {}
            given = OTHERS[vendor] if vendor in OTHERS else VENDORS[vendor].settings
            settings = model.model_validate({**given, **where, **UNDISTURBED})
            tenants.save_connection(db, Connection(TENANT, vendor, vendor, settings), gateway.keyring)
        for rule, chosen in rules.items():
            tenants.save_rule(db, TENANT, rule, enabled=True, settings=chosen)
        tenants.changed(db, ["set up"])


def _request(path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    lines = [
        f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json",
        f"Content-Length: {len(body)}", *(f"{name}: {value}" for name, value in headers.items()),
    ]  # fmt: skip
    return "\r\n".join((*lines, "", "")).encode() + body


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
