"""Is it Stripe, and which payment is it about?  https://docs.stripe.com/webhooks#verify-manually"""

import hashlib
import hmac
import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from gateway.api import Verified, Webhook, WebhookRejected, fresh, same

from .payments import payment_id
from .words import FACTS

if TYPE_CHECKING:
    from . import Settings

SIGNATURE = "stripe-signature"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOST_SIGNATURES = 20
_UNIX_SECONDS = re.compile(r"[0-9]{1,11}")
_EVENT_ID = re.compile(r"[A-Za-z0-9_-]{1,200}")


def sign(seconds: str, body: bytes, secret: str) -> str:
    """What Stripe puts after `v1=`. The secret is the key as it is, `whsec_` and all, and not base64."""
    return hmac.new(secret.encode(), seconds.encode() + b"." + body, hashlib.sha256).hexdigest()


def verify(webhook: Webhook, settings: "Settings") -> Verified:
    """Any `v1` may match any secret; `v0` and what else there is do not count. Raises WebhookRejected.

    With a key for the API, an event about money that names no invoice is a hint: since version 2025-03-31 only the
    API tells of which invoice it was the payment.
    """
    seconds, claims = _read_header(webhook.headers.get(SIGNATURE))
    matches = [
        same(claim, sign(seconds, webhook.body, secret.get_secret_value()))
        for claim in claims
        for secret in settings.signing_secret
    ]
    if not any(matches):
        raise WebhookRejected("wrong signature")
    sent_at = EPOCH + timedelta(seconds=int(seconds))
    fresh(sent_at, webhook.received_at)
    event = readable(webhook.body)
    told, subject = event.get("id"), subject_of(event)
    return Verified(
        delivery_id=told if isinstance(told, str) and _EVENT_ID.fullmatch(told) else None,
        sent_at=sent_at,
        subject=subject,
        thin=settings.api_key is not None
        and subject is not None
        and subject.startswith("pi_")
        and event["data"]["object"].get("object") != "checkout.session"
        and event.get("livemode") is settings.livemode,
    )


def readable(body: bytes) -> dict[str, Any]:
    """The JSON object in the body; empty for anything else."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}


def subject_of(event: dict[str, Any]) -> str | None:
    """The payment that an event is about which tells of one."""
    kind, data = event.get("type"), event.get("data")
    if not isinstance(kind, str) or kind not in FACTS or not isinstance(data, dict):
        return None
    told = data.get("object")
    return payment_id(told) if isinstance(told, dict) else None


def _read_header(header: str | None) -> tuple[str, list[str]]:
    """The time and the signatures of `t=...,v1=...,v1=...`."""
    if not header:
        raise WebhookRejected(f"no {SIGNATURE} header")
    pairs = [part.strip().partition("=") for part in header.split(",")]
    times = [value for name, _, value in pairs if name == "t"]
    claims = [value for name, _, value in pairs if name == "v1"]
    if len(times) != 1 or not _UNIX_SECONDS.fullmatch(times[0]):
        raise WebhookRejected(f"the {SIGNATURE} header has no time, or more than one")
    if not claims:
        raise WebhookRejected(f"the {SIGNATURE} header has no v1 signature")
    return times[0], claims[:MOST_SIGNATURES]
