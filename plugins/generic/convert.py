"""What do they tell us? JSON of any shape, by the tenant's mapping."""

import hashlib
import json
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from gateway.api import JSON, Event, UnreadableWebhook, Unrecognized, Webhook, WebhookRejected

from .accept import read_headers
from .expression import search
from .mapping import EventMapping, events_in

MAX_DEPTH = 64
KIND_LENGTH = 100
KIND_KEYS = ("type", "event")


def events(
    webhook: Webhook, mappings: tuple[EventMapping, ...], *, every: bool, connection: str
) -> list[Event]:
    """What the mappings make of the body; one `unrecognized` where none fits. Raises UnreadableWebhook."""
    document = read(webhook.body)
    told_at = sent_at(webhook)
    return events_in(document, mappings, every=every, told_at=told_at, connection=connection) or [
        Unrecognized(
            id=f"unrecognized:{_name(webhook)}",
            occurred_at=told_at,
            remote_kind=_remote_kind(document),
        )
    ]


def read(body: bytes) -> dict[str, JSON]:
    """The JSON object in `body`, free of what cannot be stored or searched. Raises UnreadableWebhook."""
    try:
        document = json.loads(body.decode(), parse_constant=_refuse)
        checked = _checked(document, 0)
    except (ValueError, RecursionError) as error:
        raise UnreadableWebhook(f"the body is not usable JSON: {error}") from None
    if not isinstance(checked, dict):
        raise UnreadableWebhook("the body is JSON, but not an object")
    return checked


def subject(body: bytes, expression: str | None) -> str | None:
    """The id of the ticket that the body is about, if it says; a body that cannot be read is parked later."""
    if expression is None:
        return None
    try:
        found = search(expression, read(body))
    except (UnreadableWebhook, ValueError):
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
