"""Does an HMAC of the sender's own making, a password or a key prove that it is them?"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from pydantic import SecretStr

from gateway.api import Verified, Webhook, WebhookRejected, check_key, fresh, same

from .proof import Basic, Hmac, Key, Timestamp, key_bytes, pieces

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECONDS_FROM = 10**11
MOST_SIGNATURES = 20


def verify_hmac(webhook: Webhook, proof: Hmac, secrets: tuple[SecretStr, ...]) -> Verified:
    """Any signature that is there may match any secret and any of the manifests. Raises WebhookRejected."""
    header = _header(webhook, proof.header)
    stamp = _stamp(webhook, proof.timestamp, header)
    claims = _parts(header, proof.part) if proof.part else [header]
    claims = [claim.removeprefix(proof.prefix) for claim in claims if claim.startswith(proof.prefix)]
    manifests = [_manifest(webhook, manifest, stamp) for manifest in proof.manifests]
    matches = [
        same(_comparable(claim, proof), sign(message, proof, secret))
        for claim in claims[:MOST_SIGNATURES]
        for message in manifests
        for secret in secrets
    ]
    if not any(matches):
        raise WebhookRejected("wrong signature")
    name = _content(webhook) if proof.covers_body else None
    if proof.timestamp is None:
        return Verified(delivery_id=name)
    sent_at = _moment(stamp, proof.timestamp)
    if proof.timestamp.tolerance_seconds is not None:
        fresh(sent_at, webhook.received_at, timedelta(seconds=proof.timestamp.tolerance_seconds))
    return Verified(delivery_id=name, sent_at=sent_at)


def sign(message: bytes, proof: Hmac, secret: SecretStr) -> str:
    """The signature alone, without prefix; hexadecimal digits are small."""
    key = key_bytes(secret.get_secret_value(), proof.secret_encoding)
    digest = hmac.new(key, message, proof.algorithm).digest()
    return digest.hex() if proof.encoding == "hex" else base64.b64encode(digest).decode()


def verify_basic(webhook: Webhook, proof: Basic, secrets: tuple[SecretStr, ...]) -> Verified:
    """User and password are both compared, whichever is wrong. Raises WebhookRejected."""
    user, _, password = _decoded(webhook, "authorization").partition(":")
    right_user = same(user, proof.user)
    matches = [same(password, secret.get_secret_value()) for secret in secrets]
    if not (any(matches) and right_user):
        raise WebhookRejected("wrong user or password")
    return Verified(delivery_id=_content(webhook))


def verify_key(webhook: Webhook, proof: Key, secrets: tuple[SecretStr, ...]) -> Verified:
    """Raises WebhookRejected."""
    if proof.header is None:
        check_key(webhook, secrets)
        return Verified(delivery_id=_content(webhook))
    header = _header(webhook, proof.header)
    scheme, _, rest = header.partition(" ")
    claims = [header]
    if scheme.lower() == "bearer":
        claims.append(rest)
    if scheme.lower() == "basic":
        decoded = _decoded(webhook, proof.header)
        claims += [rest, decoded, *decoded.split(":", 1)]
    matches = [same(claim, secret.get_secret_value()) for claim in claims if claim for secret in secrets]
    if not any(matches):
        raise WebhookRejected("wrong key")
    return Verified(delivery_id=_content(webhook))


def _content(webhook: Webhook) -> str:
    """Where nothing names the message, what it says does: the same words again are the same message."""
    return hashlib.sha256(webhook.body).hexdigest()


def _header(webhook: Webhook, name: str) -> str:
    if not webhook.headers.get(name):
        raise WebhookRejected(f"no {name} header")
    return webhook.headers[name]


def _parts(header: str, name: str) -> list[str]:
    """`a` and `b` of `t=1,v1=a,v1=b` for the name `v1`."""
    pairs = (part.strip().partition("=") for part in header.split(","))
    return [value for key, _, value in pairs if key == name]


def _stamp(webhook: Webhook, place: Timestamp | None, header: str) -> str:
    """The timestamp as it was written, which is how it was signed."""
    if place is None:
        return ""
    if place.header is not None:
        return _header(webhook, place.header)
    found = _parts(header, place.part or "")
    if len(found) != 1 or not found[0]:
        raise WebhookRejected(f"the signature's header has no part {place.part}=, or more than one")
    return found[0]


def _moment(stamp: str, place: Timestamp) -> datetime:
    try:
        if place.unit == "iso":
            told = datetime.fromisoformat(stamp)
            return told.replace(tzinfo=UTC) if told.tzinfo is None else told.astimezone(UTC)
        if not (stamp.isascii() and stamp.isdigit()):
            raise ValueError("not digits")
        number = int(stamp)
        in_milliseconds = place.unit == "milliseconds" or (
            place.unit == "either" and number >= MILLISECONDS_FROM
        )
        return EPOCH + timedelta(milliseconds=number if in_milliseconds else number * 1000)
    except (ValueError, OverflowError):
        raise WebhookRejected(f"the timestamp is not {place.unit}") from None


def _manifest(webhook: Webhook, manifest: Iterable[str], stamp: str) -> bytes:
    """What the sender should have signed; a piece whose value did not come is left out whole."""
    signed = b""
    for text in manifest:
        values = [
            _value(webhook, piece.what, piece.name, stamp) if piece.what else piece.text.encode()
            for piece in pieces(text)
        ]
        lowered = [piece.lower for piece in pieces(text)]
        if None not in values:
            signed += b"".join(
                value.lower() if low else value
                for value, low in zip(values, lowered, strict=True)
                if value is not None
            )
    return signed


def _value(webhook: Webhook, what: str, name: str, stamp: str) -> bytes | None:
    if what == "body":
        return webhook.body
    if what == "timestamp":
        return stamp.encode("utf-8", "replace")
    found = webhook.headers.get(name.lower()) if what == "header" else webhook.query.get(name)
    return found.encode("utf-8", "replace") if found else None


def _comparable(claim: str, proof: Hmac) -> str:
    return claim.lower() if proof.encoding == "hex" else claim


def _decoded(webhook: Webhook, header: str) -> str:
    scheme, _, credentials = _header(webhook, header).partition(" ")
    if scheme.lower() != "basic":
        raise WebhookRejected(f"the {header} header is not HTTP Basic")
    try:
        return base64.b64decode(credentials, validate=True).decode()
    except (binascii.Error, ValueError):
        raise WebhookRejected(f"the {header} header is not HTTP Basic") from None
