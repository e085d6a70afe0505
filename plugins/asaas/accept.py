"""Is it Asaas, and which payment is it about?

https://docs.asaas.com/docs/sobre-os-webhooks (a token in a header; nothing is signed)
"""

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from gateway.api import Verified, Webhook, WebhookRejected, same

from .words import FACTS

if TYPE_CHECKING:
    from . import Settings

TOKEN = "asaas-access-token"  # noqa: S105 - a header's name
PAYMENT_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")
DELIVERY_ID_LENGTH = 300
TEST_AGENT = "_hmlg"
TEST_HOST = "sandbox.asaas.com"
REAL_HOST = "www.asaas.com"


def verify(webhook: Webhook, settings: "Settings") -> Verified:
    """Raises WebhookRejected. A body that cannot be read is no reason to: it is kept, and parked later.

    The id of a notice is `evt_`, the md5 of its kind, `&` and a number: only the whole of it names the notice.
    """
    claimed = webhook.headers.get(TOKEN)
    if not claimed:
        raise WebhookRejected(f"no {TOKEN} header: set a token in the webhook's form at Asaas")
    matches = [same(claimed, token.get_secret_value()) for token in settings.access_token]
    if not any(matches):
        raise WebhookRejected("wrong token")
    body = readable(webhook.body)
    told = body.get("id")
    named = isinstance(told, str) and 0 < len(told) <= DELIVERY_ID_LENGTH
    subject, kind = payment_id(body), body.get("event")
    return Verified(
        delivery_id=told if named else None,
        subject=subject,
        thin=settings.api_key is not None
        and subject is not None
        and isinstance(kind, str)
        and kind in FACTS
        and foreign_mode(webhook, body, is_sandbox=settings.sandbox) is None,
    )


def readable(body: bytes) -> dict[str, Any]:
    """The JSON object in the body; empty for anything else."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}


def payment_id(body: dict[str, Any]) -> str | None:
    payment = body.get("payment")
    found = payment.get("id") if isinstance(payment, dict) else None
    return found if isinstance(found, str) and PAYMENT_ID.fullmatch(found) else None


def foreign_mode(webhook: Webhook, body: dict[str, Any], *, is_sandbox: bool) -> str | None:
    """`sandbox` or `production`, where it is plain that the notice is of the one and the connection of the other.

    The sandbox calls itself `Asaas_Hmlg` and its invoices lie at another host; the body has no flag.
    """
    payment = body.get("payment")
    url = payment.get("invoiceUrl") if isinstance(payment, dict) else None
    host = _host(url) if isinstance(url, str) else None
    if is_sandbox:
        return "production" if host == REAL_HOST else None
    told = TEST_AGENT in webhook.headers.get("user-agent", "").lower() or host == TEST_HOST
    return "sandbox" if told else None


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
