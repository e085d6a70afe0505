"""Is it Intercom, and is it this workspace?

https://developers.intercom.com/docs/webhooks/setting-up-webhooks (the HEAD that probes the address has no proof
and needs none: the core answers it)
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from gateway.api import Connection, Verified, Webhook, WebhookRejected, same

from .envelope import delivery_id, ident, instant, item_of, model_in, readable, subject_of, topic_of
from .topics import RE_READ

if TYPE_CHECKING:
    from . import Settings

SIGNATURE = "x-hub-signature"


def sign(body: bytes, secret: str) -> str:
    """What Intercom puts in `X-Hub-Signature`: HMAC-SHA1 of the raw body, by the app's client secret."""
    return f"sha1={hmac.digest(secret.encode(), body, hashlib.sha1).hex()}"


def verify(webhook: Webhook, connection: "Connection[Settings]") -> Verified:
    """Raises WebhookRejected. A body that cannot be read is no reason to: it is kept, and parked later.

    There is no signed time that could be too old: a replay is known by its notification's id.
    """
    settings = connection.settings
    claimed = webhook.headers.get(SIGNATURE)
    if not claimed:
        raise WebhookRejected(f"no {SIGNATURE} header")
    given = claimed.encode("utf-8", "replace")
    matches = [same(given, sign(webhook.body, key.get_secret_value())) for key in settings.client_secret]
    if not any(matches):
        raise WebhookRejected("wrong signature")

    body = readable(webhook.body)
    app_id = body.get("app_id")
    if app_id is not None and app_id != settings.app_id:
        raise WebhookRejected("signed, but by another workspace than this connection's app_id")
    topic, item = topic_of(body), item_of(body)
    return Verified(
        delivery_id=delivery_id(webhook.body, body),
        sent_at=_sent_at(body),
        subject=subject_of(topic, item),
        thin=topic in RE_READ or (ident(item.get("id")) is None and model_in(item) is not None),
    )


def _sent_at(body: Mapping[str, Any]) -> datetime | None:
    try:
        return instant(body.get("created_at"))
    except (ValueError, OverflowError, OSError, TypeError):
        return None
