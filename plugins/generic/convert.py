"""What do they tell us? JSON of any shape, by the tenant's mapping."""

import hashlib
import json
import math
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from gateway.api import JSON, Event, Snapshot, UnreadableWebhook, Unrecognized, Webhook, WebhookRejected

from .accept import read_headers
from .expression import holds, search
from .form import read_form
from .mapping import GATEWAY, events_in, fitting

if TYPE_CHECKING:
    from .settings import Inbound

MAX_DEPTH = 64
KIND_LENGTH = 100
KIND_KEYS = ("type", "event")


def events(
    webhook: Webhook, collected: JSON | None, before: Snapshot | None, inbound: "Inbound", connection: str
) -> list[Event]:
    """What the mappings make of the body and of what was read back; one `unrecognized` where none fits.

    Raises UnreadableWebhook.
    """
    document = document_of(webhook, collected, inbound.body)
    told_at = sent_at(webhook)
    if mappings := fitting(document, inbound.events, every=inbound.all):
        return events_in(document, mappings, told_at=told_at, connection=connection, before=before)
    kind = _remote_kind(document)
    return [Unrecognized(id=f"unrecognized:{_name(webhook)}", occurred_at=told_at, remote_kind=kind)]


def document_of(webhook: Webhook, collected: JSON | None, encoding: str) -> dict[str, JSON]:
    """What expressions look at: the body's fields, and under `gateway` what came beside them.

    A body is empty where only a ticket was read back. Raises UnreadableWebhook.
    """
    body = {} if collected is not None and not webhook.body else read(webhook.body, encoding)
    beside = {"collected": collected, "headers": dict(webhook.headers), "query": dict(webhook.query)}
    return {**body, GATEWAY: beside}


def read(body: bytes, encoding: str = "json") -> dict[str, JSON]:
    """The object in `body`, free of what cannot be stored or searched. Raises UnreadableWebhook."""
    try:
        document = (
            read_form(body) if encoding == "form" else json.loads(body.decode(), parse_constant=_refuse)
        )
        checked = _checked(document, 0)
    except (ValueError, RecursionError) as error:
        kind = "form fields" if encoding == "form" else "JSON"
        raise UnreadableWebhook(f"the body is not usable {kind}: {error}") from None
    if not isinstance(checked, dict):
        raise UnreadableWebhook("the body is JSON, but not an object")
    return checked


def told(webhook: Webhook, inbound: "Inbound") -> tuple[str | None, str | None, bool]:
    """The ticket that the body is about, its own name for this delivery, and whether it only hints.

    A body that cannot be read is parked later.
    """
    hint = inbound.collect.hint if inbound.collect else False
    if inbound.subject is None and inbound.delivery is None and not isinstance(hint, str):
        return None, None, hint
    try:
        document = document_of(webhook, None, inbound.body)
    except UnreadableWebhook:
        return None, None, False
    only_hints = holds(hint, document) if isinstance(hint, str) else hint
    return _text_at(inbound.subject, document), _text_at(inbound.delivery, document), only_hints


def _text_at(expression: str | None, document: JSON) -> str | None:
    try:
        found = search(expression, document) if expression is not None else None
    except ValueError:
        return None
    return (
        str(found) if isinstance(found, str | int) and not isinstance(found, bool) and found != "" else None
    )


def sent_at(webhook: Webhook) -> datetime:
    """When the message says it was sent; when it came, where the headers do not say."""
    try:
        return read_headers(webhook.headers).sent_at
    except WebhookRejected:
        return webhook.received_at


def _name(webhook: Webhook) -> str:
    try:
        return read_headers(webhook.headers).id
    except WebhookRejected:
        return hashlib.sha256(webhook.body).hexdigest()


def _remote_kind(document: Mapping[str, JSON]) -> str:
    named = (document[key] for key in KIND_KEYS if isinstance(document.get(key), str) and document[key])
    return next(named, "unknown")[:KIND_LENGTH]


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON number")


def _checked(value: Any, depth: int) -> Any:
    """The same value without NUL characters, which PostgreSQL's JSON cannot hold. Raises ValueError."""
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    match value:
        case dict():
            return {_checked(key, depth): _checked(each, depth + 1) for key, each in value.items()}
        case list():
            return [_checked(each, depth + 1) for each in value]
        case str():
            value.encode()  # half of a surrogate pair is no text: UnicodeEncodeError is a ValueError
            return value.replace("\0", "")
        case float() if not math.isfinite(value):
            raise ValueError("a number is out of range")
    return value
