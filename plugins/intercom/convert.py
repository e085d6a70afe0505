"""What happened, in our words, when Intercom notifies us?

https://developers.intercom.com/docs/webhooks/webhook-notifications
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from gateway.api import (
    JSON,
    Connection,
    ContactUpdated,
    Event,
    Snapshot,
    TicketAssigned,
    TicketCreated,
    TicketStatusChanged,
    UnreadableWebhook,
    Unrecognized,
    Webhook,
    changes,
)

from . import notice, parts, reading, topics
from .envelope import delivery_id, instant, item_of, readable, subject_of, topic_of

if TYPE_CHECKING:
    from . import Settings


def events(
    webhook: Webhook, collected: JSON | None, before: Snapshot | None, connection: "Connection[Settings]"
) -> list[Event]:
    """Raises UnreadableWebhook for a body that is no notification."""
    try:
        found = {event.id: event for event in _events(webhook, collected, before, connection)}
        return list(found.values())
    except KeyError as missing:
        raise UnreadableWebhook(f"Intercom: {missing} is missing from what was sent") from missing
    except (AttributeError, OSError, OverflowError, TypeError, ValueError) as error:
        raise UnreadableWebhook(f"Intercom: not a shape it ever sends ({type(error).__name__})") from error


def _events(
    webhook: Webhook, collected: JSON | None, before: Snapshot | None, connection: "Connection[Settings]"
) -> Iterable[Event]:
    body = readable(webhook.body)
    topic, item = topic_of(body), item_of(body)
    snapshot = reading.snapshot(collected, connection) if collected else None
    if snapshot is not None and (topic is None or topic in topics.RE_READ):
        return _noticed(before, snapshot, collected or {}, webhook, connection)
    if topic is None:
        raise UnreadableWebhook("Intercom: no notification, it has no topic")
    if topic == topics.PING:
        return []
    at = instant(body["created_at"]) if body.get("created_at") else webhook.received_at
    named = delivery_id(webhook.body, body)
    if topic in topics.CONTACTS:
        return [_contact(item, at, connection)]
    if topic not in topics.ABOUT_TICKETS:
        return [Unrecognized(id=named, occurred_at=at, remote_kind=topic)]
    subject = subject_of(topic, item)
    if subject is None:
        raise KeyError("id")
    return _told(notice.read(topic, named, at, item, subject, snapshot, before, connection))


def _told(told: notice.Notice) -> Iterable[Event]:
    if told.topic in topics.CREATED:
        return notice.created(told)
    if told.topic in topics.DELETED:
        return [notice.deleted(told)]
    if told.topic in topics.TAGGED:
        return [notice.tagged(told)]
    if told.topic in topics.REDACTED:
        return [notice.redacted(told)]
    if told.topic in topics.UPDATES:
        return [notice.updated(told, topics.UPDATES[told.topic])]
    return notice.told_by_parts(told)


def _noticed(
    before: Snapshot | None, after: Snapshot, collected: Mapping[str, Any], webhook: Webhook,
    connection: "Connection[Settings]",
) -> Iterator[Event]:  # fmt: skip
    """What changed since we last looked, each fact under the name that a notification gives it."""
    source = collected.get("conversation") or collected.get("ticket") or {}
    rows = reading.newest(row for row in reading.history(source) if _is_new(row, before))
    states = [row for row in rows if parts.is_state_change(row)]
    assignments = [row for row in rows if parts.is_assignment(row)]
    for event in changes(before, after, seen_at=webhook.received_at):
        match event:
            case TicketStatusChanged() if states:
                yield event.model_copy(update=_recorded("status", states[0], after))
            case TicketAssigned() if assignments:
                yield event.model_copy(update=_recorded("assigned", assignments[0], after))
            case TicketCreated():
                opener = reading.opening_author(source, connection.settings)
                yield event.model_copy(update={"actor": opener})
            case _:
                yield event


def _is_new(part: Mapping[str, Any], before: Snapshot | None) -> bool:
    seen, at = before.ticket.remote_updated_at if before else None, parts.created_at(part)
    return seen is None or at is None or at >= seen


def _recorded(name: str, part: Mapping[str, Any], after: Snapshot) -> dict[str, Any]:
    found = {"id": notice.fact(name, part, after.ticket.ref), "actor": parts.person(part.get("author"))}
    return found | ({"occurred_at": at} if (at := parts.created_at(part)) else {})


def _contact(item: Mapping[str, Any], at: datetime, connection: "Connection[Settings]") -> Event:
    """One change may be told under two topics (updated, e-mail updated): the same contact is the same news."""
    holder = item.get("contact")
    source = holder if isinstance(holder, dict) else item
    told = reading.contact(source, connection.settings)
    if told.id is None:
        raise KeyError("id")
    shown = json.dumps([source.get("updated_at"), told.to_json()], sort_keys=True, default=str)
    digest = hashlib.sha256(shown.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return ContactUpdated(id=f"contact@{told.id}@{digest}", occurred_at=at, contact=told)
