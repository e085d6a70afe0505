"""Is it them? The comparisons that every vendor's proof needs, in constant time on raw bytes."""

import base64
import hmac
from collections.abc import Iterable
from datetime import datetime, timedelta

from pydantic import SecretStr

from gateway.model.errors import WebhookRejected
from gateway.model.webhook import Webhook

TOLERANCE = timedelta(minutes=5)


def same(claimed: str | bytes, expected: str | bytes) -> bool:
    """Equal, found out in a time that tells nothing about where they differ."""
    return hmac.compare_digest(_raw(claimed), _raw(expected))


def check_key(webhook: Webhook, keys: Iterable[SecretStr]) -> None:
    """For vendors that sign nothing: `?key=`, header `X-Gateway-Key`, or the password of HTTP Basic.

    Every key is compared, whichever matches. Raises WebhookRejected.
    """
    claimed = webhook.query.get("key") or webhook.headers.get("x-gateway-key") or _basic_password(webhook)
    if not claimed:
        raise WebhookRejected("no key: expected ?key=, header X-Gateway-Key or an HTTP Basic password")
    matches = [same(claimed, key.get_secret_value()) for key in keys]
    if not any(matches):
        raise WebhookRejected("wrong key")


def fresh(sent_at: datetime, received_at: datetime, tolerance: timedelta = TOLERANCE) -> None:
    """Raises WebhookRejected when `sent_at` is further than `tolerance` from `received_at`, on either side."""
    if abs(received_at - sent_at) > tolerance:
        raise WebhookRejected(f"stale: sent at {sent_at.isoformat()}")


def _raw(value: str | bytes) -> bytes:
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value


def _basic_password(webhook: Webhook) -> str | None:
    scheme, _, credentials = webhook.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(credentials, validate=True).decode()
    except ValueError:  # not base64, not ASCII, or not UTF-8 inside
        return None
    return decoded.partition(":")[2] or None
