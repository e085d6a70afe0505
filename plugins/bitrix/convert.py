"""Which events does a webhook stand for, or a thing that was read back?

https://apidocs.bitrix24.com/api-reference/events/
"""

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from gateway.api import JSON, Connection, Event, Snapshot, UnreadableWebhook, Unrecognized, Webhook

from . import calls, cards, chats, tasks
from .accept import THIN, event_code, sent_at, subject
from .forms import Tree, parsed

if TYPE_CHECKING:
    from . import Settings

CHAT_EVENTS = {"ONOPENLINEMESSAGEADD", "ONOPENLINEMESSAGEUPDATE", "ONIMCONNECTORMESSAGEADD"}


def events(
    webhook: Webhook, collected: JSON, before: Snapshot | None, connection: "Connection[Settings]"
) -> list[Event]:
    """Raises UnreadableWebhook for what is in no shape that Bitrix24 is known to send."""
    try:
        if collected is not None:
            return list(_read(collected, webhook, before, connection))
        return list(_told(parsed(webhook.body), webhook, before, connection))
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise UnreadableWebhook(f"Bitrix24: {error!r}") from error


def _read(
    collected: JSON, webhook: Webhook, before: Snapshot | None, connection: "Connection[Settings]"
) -> Iterable[Event]:
    match collected["kind"]:
        case "task":
            return tasks.events(collected, webhook, before, connection)
        case "chat" | "session":
            return chats.events(collected, webhook, before, connection)
        case "deal":
            return cards.deal(collected, webhook, connection)
        case "contact":
            return cards.contact(collected, webhook, connection)
        case "timeline":
            return cards.timeline(collected, webhook, connection)
        case other:
            raise ValueError(f"what was read back is of no known kind: {other!r}")


def _told(
    body: Tree, webhook: Webhook, before: Snapshot | None, connection: "Connection[Settings]"
) -> Iterable[Event]:
    code, about = event_code(body), subject(body)
    if not code:
        raise ValueError("no event is named")
    if code == "ONVOXIMPLANTCALLEND":
        return [calls.ended(body, webhook, connection)]
    if code == "ONTASKDELETE" and about is not None:
        return [tasks.deleted(about, webhook, connection)]
    if code == "ONSESSIONFINISH":
        return chats.finished(body, webhook, before, connection)
    if code in CHAT_EVENTS and about is None:
        return chats.messages(body, webhook, connection)
    if code in THIN:
        raise ValueError(f"{code} is about {about or 'nothing that it names'}, which was not read back")
    return [_unrecognized(code, body, webhook)]


def _unrecognized(code: str, body: Tree, webhook: Webhook) -> Unrecognized:
    digest = hashlib.sha256(webhook.body).hexdigest()
    return Unrecognized(
        id=f"unrecognized:{digest}",
        occurred_at=sent_at(body) or webhook.received_at,
        remote_kind=code[:100],
    )
