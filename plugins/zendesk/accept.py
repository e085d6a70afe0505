"""Is it Zendesk, and which ticket is it about?

https://developer.zendesk.com/documentation/webhooks/verifying/
"""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from gateway.api import Connection, Verified, Webhook, WebhookRejected, fresh, same

if TYPE_CHECKING:
    from . import Settings

SIGNATURE = "x-zendesk-webhook-signature"
TIMESTAMP = "x-zendesk-webhook-signature-timestamp"
INVOCATION = "x-zendesk-webhook-invocation-id"

TEST_SECRET = "dGhpc19zZWNyZXRfaXNfZm9yX3Rlc3Rpbmdfb25seQ=="  # noqa: S105
"""Public: Zendesk signs its "Test webhook" with it, before the webhook exists and has a secret of its own."""

TICKET_SUBJECT = "zen:ticket:"
_DECIMAL = re.compile(r"[0-9]{1,20}")
_PLAIN = re.compile(r"[\x21-\x7e]{1,200}")


def sign(sent_at: str, body: bytes, secret: str) -> str:
    """What Zendesk puts in its signature header.

    `sent_at` is the timestamp header as text. The secret looks like base64 and is used as it is, undecoded.
    """
    message = sent_at.encode("utf-8", "replace") + body
    return base64.b64encode(hmac.digest(secret.encode(), message, hashlib.sha256)).decode()


def verify(webhook: Webhook, connection: "Connection[Settings]") -> Verified:
    """Raises WebhookRejected. A body that cannot be read is no reason to: it is kept, and parked later."""
    settings = connection.settings
    try:
        claimed, sent_at = webhook.headers[SIGNATURE], webhook.headers[TIMESTAMP]
    except KeyError as missing:
        raise WebhookRejected(f"no {missing} header") from None
    _check_signature(claimed, sent_at, webhook.body, _secrets(settings))
    moment = _moment(sent_at)
    fresh(moment, webhook.received_at, timedelta(seconds=settings.tolerance_seconds))

    body = readable(webhook.body)
    account = body.get("account_id")
    if settings.account_id is not None and account is not None and str(account) != str(settings.account_id):
        raise WebhookRejected("signed, but by another Zendesk account than this connection's account_id")
    return Verified(
        delivery_id=delivery_id(webhook, body), sent_at=moment, subject=ticket_id(body), thin=_is_thin(body)
    )


def readable(body: bytes) -> dict[str, Any]:
    """The JSON object in the body; empty for anything else."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}


def is_envelope(body: dict[str, Any]) -> bool:
    """An event subscription's body, as opposed to what an admin wrote into a trigger's template."""
    named = (body.get("type"), body.get("id"))
    return all(isinstance(name, str) and _PLAIN.fullmatch(name) for name in named)


def ticket_id(body: dict[str, Any]) -> str | None:
    """The ticket that an envelope or a trigger's body is about."""
    if not is_envelope(body):
        return decimal(body.get("ticket_id"))
    subject = body.get("subject")
    if isinstance(subject, str) and subject.startswith(TICKET_SUBJECT):
        return decimal(subject.removeprefix(TICKET_SUBJECT))
    detail = body.get("detail")
    if body["type"].startswith("zen:event-type:ticket.") and isinstance(detail, dict):
        return decimal(detail.get("id"))
    return None


def decimal(value: object) -> str | None:
    """A Zendesk id as text, whether it came as a number or as text; None for anything else."""
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    return text if _DECIMAL.fullmatch(text) else None


def delivery_id(webhook: Webhook, body: dict[str, Any]) -> str:
    """The event's id is signed and the same on every retry; a trigger's body has none, so the (unsigned)
    invocation id stands in, and without that the ticket, its time and the body itself."""
    if is_envelope(body):
        return str(body["id"])
    invocation = webhook.headers.get(INVOCATION, "")
    if _PLAIN.fullmatch(invocation):
        return invocation
    moment = body.get("updated_at")
    parts = (ticket_id(body), moment if isinstance(moment, str) and _PLAIN.fullmatch(moment) else None)
    return ":".join([*(part or "-" for part in parts), hashlib.sha256(webhook.body).hexdigest()])


def _secrets(settings: "Settings") -> Iterable[str]:
    yield from (secret.get_secret_value() for secret in settings.signing_secret)
    if settings.accept_test_secret:
        yield TEST_SECRET


def _check_signature(claimed: str, sent_at: str, body: bytes, secrets: Iterable[str]) -> None:
    given = claimed.encode("utf-8", "replace")
    matches = [same(given, sign(sent_at, body, secret)) for secret in secrets]
    if not any(matches):
        raise WebhookRejected("wrong signature")


def _moment(sent_at: str) -> datetime:
    try:
        moment = datetime.fromisoformat(sent_at)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise WebhookRejected(f"the {TIMESTAMP} header is not an ISO 8601 time") from None


def _is_thin(body: dict[str, Any]) -> bool:
    """A trigger's values are display text and cannot be believed; a comment may come without its text."""
    if not is_envelope(body):
        return ticket_id(body) is not None
    if body["type"] != "zen:event-type:ticket.comment_added":
        return False
    change = body.get("event")
    comment = change.get("comment") if isinstance(change, dict) else None
    return isinstance(comment, dict) and not comment.get("body")
