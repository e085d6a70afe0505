"""Is it them? By whichever proof the connection asks for; Standard Webhooks, as Svix and many others sign, is here.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import binascii
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import standardwebhooks
from pydantic import SecretStr

from gateway.api import Verified, Webhook, WebhookRejected, fresh, same

from .proof import Basic, Hmac, Key, Proof, StandardWebhooks, key_bytes
from .signature import verify_basic, verify_hmac, verify_key

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FAMILIES = ("webhook-", "svix-")
"""The standard's names for the headers, and those of Svix, whose algorithm it is."""

ID_LENGTH = 200
KEY_BYTES = range(24, 65)
_UNIX_SECONDS = re.compile(r"\d{1,11}", re.ASCII)


class Message(NamedTuple):
    """What the three headers say. `signatures` are as they came, one entry a signing secret."""

    id: str
    sent_at: datetime
    signatures: tuple[str, ...]


def prove(webhook: Webhook, proof: Proof, secrets: tuple[SecretStr, ...]) -> Verified:
    """Raises WebhookRejected."""
    match proof:
        case StandardWebhooks():
            return verify(webhook, secrets)
        case Hmac():
            return verify_hmac(webhook, proof, secrets)
        case Basic():
            return verify_basic(webhook, proof, secrets)
        case Key():
            return verify_key(webhook, proof, secrets)


def verify(webhook: Webhook, secrets: tuple[SecretStr, ...]) -> Verified:
    """Any of the signatures may match any of the secrets. Raises WebhookRejected.

    The library computes the signature; the comparison is ours because the library's own `verify` reads the
    wall clock, which a replay or a test cannot set, and lets a malformed entry escape as a ValueError.
    """
    message = read_headers(webhook.headers)
    try:
        body = webhook.body.decode()
        expected = [sign(message.id, message.sent_at, body, secret.get_secret_value()) for secret in secrets]
        matches = [same(claimed, ours) for claimed in message.signatures for ours in expected]
    except ValueError:
        raise WebhookRejected("the body or a header is not UTF-8 text") from None
    if not any(matches):
        raise WebhookRejected("wrong signature")
    fresh(message.sent_at, webhook.received_at)
    return Verified(delivery_id=message.id, sent_at=message.sent_at)


def read_headers(headers: Mapping[str, str]) -> Message:
    """The message's id, time and claims, of whichever family of headers is there. Raises WebhookRejected."""
    for family in FAMILIES:
        if f"{family}id" in headers:
            break
    else:
        raise WebhookRejected("no webhook-id header")
    delivery_id, claims = headers[f"{family}id"], headers.get(f"{family}signature", "").split()
    seconds = headers.get(f"{family}timestamp", "")
    if not 0 < len(delivery_id) <= ID_LENGTH or not claims:
        raise WebhookRejected(f"{family}id or {family}signature is empty, or the id too long")
    if not _UNIX_SECONDS.fullmatch(seconds):
        raise WebhookRejected(f"{family}timestamp is not Unix seconds")
    return Message(delivery_id, EPOCH + timedelta(seconds=int(seconds)), tuple(claims))


def sign(delivery_id: str, sent_at: datetime, body: str, secret: str) -> str:
    """What the sender puts in the signature header: `v1,` and base64 (the sandbox uses it too)."""
    return standardwebhooks.Webhook(secret).sign(delivery_id, sent_at, body)


def check_secrets(proof: Proof, secrets: tuple[SecretStr, ...]) -> None:
    """Refuse secrets with which this proof can never be right. Raises ValueError without telling them."""
    for secret in secrets:
        if isinstance(proof, StandardWebhooks):
            check_secret(secret)
        elif isinstance(proof, Hmac):
            key_bytes(secret.get_secret_value(), proof.secret_encoding)
        if not secret.get_secret_value():
            raise ValueError("secret: is empty")


def check_secret(secret: SecretStr) -> SecretStr:
    """Refuse a secret that no sender of the standard would use. Raises ValueError without telling it."""
    text = secret.get_secret_value().removeprefix("whsec_")
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("a signing secret is `whsec_` and base64 text") from None
    if len(key) not in KEY_BYTES:
        raise ValueError(f"a signing secret holds 24 to 64 bytes, this one {len(key)}")
    return secret
