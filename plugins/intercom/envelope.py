"""What does a notification say of itself: its topic, and the thing that it is about?

https://developers.intercom.com/docs/webhooks/webhook-notifications
"""

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from .topics import ALIASES

TICKET = "ticket:"
"""Prefix of an Intercom ticket's id in a TicketRef; a conversation's id goes bare."""

MILLISECONDS = 100_000_000_000
"""No time in seconds is as large as this for the next three thousand years."""

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PLAIN = re.compile(r"[\x21-\x7e]{1,200}")


def _not_json(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


_DECODER = json.JSONDecoder(parse_constant=_not_json)


def readable(body: bytes) -> dict[str, Any]:
    """The JSON object in the body; empty for anything else."""
    try:
        parsed = _DECODER.decode(body.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}


def topic_of(body: Mapping[str, Any]) -> str | None:
    """The topic, in the words of API 2.x; None where there is none."""
    topic = body.get("topic")
    if not isinstance(topic, str) or not _PLAIN.fullmatch(topic):
        return None
    return ALIASES.get(topic, topic)


def item_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """`data.item`, whatever is in it; empty where it is no object."""
    data = body.get("data")
    item = data.get("item") if isinstance(data, dict) else None
    return item if isinstance(item, dict) else {}


def is_about_ticket(topic: str | None, item: Mapping[str, Any]) -> bool:
    """An Intercom ticket, as opposed to a conversation. The topic says; where it is new to us, the item does."""
    named = topic or ""
    return named.startswith("ticket.") or (
        not named.startswith("conversation") and str(item.get("type") or "").startswith("ticket")
    )


def is_about_conversation(topic: str | None, item: Mapping[str, Any]) -> bool:
    named = topic or ""
    return named.startswith("conversation") or (
        not named.startswith(("ticket.", "contact.")) and item.get("type") == "conversation"
    )


def ticket_in(item: Mapping[str, Any]) -> Mapping[str, Any]:
    """The ticket itself: bare, or beside the part that the notification is about."""
    nested = item.get("ticket")
    return nested if isinstance(nested, dict) else item


def model_in(item: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What `conversation.contact.attached` leaks: an internal model, which only tells which conversation it is."""
    wrapped = item.get("conversation")
    model = wrapped.get("model") if isinstance(wrapped, dict) else None
    return model if isinstance(model, dict) else None


def subject_of(topic: str | None, item: Mapping[str, Any]) -> str | None:
    """The id that a TicketRef has: of the conversation, or `ticket:` and the ticket's (never its `ticket_id`,
    which is the number that people see)."""
    if is_about_ticket(topic, item):
        ticket_id = ident(ticket_in(item).get("id"))
        return TICKET + ticket_id if ticket_id else None
    if not is_about_conversation(topic, item):
        return None
    # A deleted conversation has no id but a conversation_id.
    named = ident(item.get("id")) or ident(item.get("conversation_id"))
    return named or ident((model_in(item) or {}).get("id"))


def delivery_id(raw: bytes, body: Mapping[str, Any]) -> str:
    """The notification's id, which is signed and the same on the retry; a ping has none."""
    named = body.get("id")
    if isinstance(named, str) and _PLAIN.fullmatch(named):
        return named
    return hashlib.sha256(raw).hexdigest()


def ident(value: object) -> str | None:
    """An Intercom id as text, whether it came as a number or as text; None for nobody (`"0"`) and for no id."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    text = str(value)
    return text if text != "0" and _ID.fullmatch(text) else None


def instant(value: object) -> datetime:
    """Seconds since 1970, or ISO 8601 as contacts have it in webhooks. Raises ValueError, OverflowError, OSError or
    TypeError."""
    if isinstance(value, str) and not value.isdecimal():
        read = datetime.fromisoformat(value)
        return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    seconds = float(value)  # type: ignore[arg-type]
    return datetime.fromtimestamp(seconds / 1000 if seconds > MILLISECONDS else seconds, UTC)


def moment(value: object) -> datetime | None:
    """The same; null, 0 and "" are no time."""
    return instant(value) if value else None
