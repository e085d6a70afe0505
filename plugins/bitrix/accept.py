"""Is it Bitrix24, and what is it about?

https://apidocs.bitrix24.com/api-reference/events/safe-event-handlers.html: nothing is signed; the body carries
the application token of the outgoing webhook. What its `auth` block says of addresses is never used.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gateway.api import Connection, Verified, Webhook, WebhookRejected, check_key, same

from .forms import Tree, Unreadable, at, items, parsed, text_at, without_secrets

if TYPE_CHECKING:
    from . import Settings

MOST_DIGITS = 19


def verify(webhook: Webhook, connection: "Connection[Settings]") -> Verified:
    """Raises WebhookRejected. A portal may have several outgoing webhooks, each with a token of its own."""
    settings = connection.settings
    if settings.hook_key is not None:
        check_key(webhook, settings.hook_key)
    try:
        body = parsed(webhook.body)
    except Unreadable as error:
        raise WebhookRejected(str(error)) from None
    claimed = text_at(body, "auth", "application_token")
    if claimed is None:
        raise WebhookRejected("no auth[application_token] in the body")
    matches = [same(claimed, token.get_secret_value()) for token in settings.application_token]
    if not any(matches):
        raise WebhookRejected("wrong application token")
    member = text_at(body, "auth", "member_id") or ""
    if settings.member_id is not None and not same(member, settings.member_id):
        raise WebhookRejected("the right token, but another portal than this connection's member_id")
    return Verified(
        delivery_id=None,  # there is none, and `ts` has no finer grain than two changes may have
        sent_at=sent_at(body),
        subject=subject(body),
        thin=is_thin(body),
        kept=without_secrets(webhook.body),
    )


def event_code(body: Tree) -> str:
    """Documented in capitals, yet some pages print `onCrmTimelineCommentAdd`."""
    return (text_at(body, "event") or "").upper()


def decimal(value: object) -> str | None:
    """An id as text; None for anything else, and for 0, which stands for nobody."""
    text = value if isinstance(value, str) else str(value) if isinstance(value, int) else ""
    plain = text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS
    return text.lstrip("0") or None if plain else None


def parted(id_: str) -> tuple[str, str]:
    """Kind and id of a TicketRef's id: `deal:1234`; a bare number is a task's."""
    kind, colon, rest = id_.partition(":")
    return (kind, rest) if colon else ("task", id_)


def sent_at(body: Tree) -> datetime | None:
    """The moment of sending from Bitrix24's queue, not that of the change."""
    seconds = decimal(text_at(body, "ts"))
    try:
        return datetime.fromtimestamp(int(seconds), UTC) if seconds else None
    except (ValueError, OverflowError, OSError):
        return None


# --- what it is about -------------------------------------------------------------------------------------------


def _field(body: Tree) -> str | None:
    """`FIELDS[ID]`, or `ID` alone, as the pages on timeline comments have it."""
    return decimal(at(body, "data", "FIELDS", "ID")) or decimal(at(body, "data", "ID"))


def _task(body: Tree) -> str | None:
    data = at(body, "data")
    return decimal(at(data, "FIELDS_AFTER", "ID")) or decimal(at(data, "FIELDS_BEFORE", "ID"))


def _commented_task(body: Tree) -> str | None:
    """`FIELDS_AFTER[ID]` is the comment's id in the old card and 0 in the new one."""
    data = at(body, "data")
    return decimal(at(data, "FIELDS_AFTER", "TASK_ID")) or decimal(at(data, "FIELDS_BEFORE", "TASK_ID"))


def chats(body: Tree) -> list[str]:
    """The chats, each once, that an open-line event is about, by the portal's own id."""
    data = at(body, "data")
    found = [decimal(at(each, "chat", "id")) for each in items(at(data, "DATA"))]
    found += [decimal(at(each, "im", "chat_id")) for each in items(at(data, "MESSAGES"))]
    return list(dict.fromkeys(filter(None, found)))


def _chat(body: Tree) -> str | None:
    """None when it is about several: then the messages are taken as the body tells them."""
    found = chats(body)
    return found[0] if len(found) == 1 else None


Finder = Callable[[Tree], str | None]

THIN: dict[str, tuple[str, Finder]] = {
    "ONCRMDEALADD": ("deal", _field),
    "ONCRMDEALUPDATE": ("deal", _field),
    "ONCRMDEALMOVETOCATEGORY": ("deal", _field),
    "ONCRMCONTACTADD": ("contact", _field),
    "ONCRMCONTACTUPDATE": ("contact", _field),
    "ONCRMTIMELINECOMMENTADD": ("timeline", _field),
    "ONTASKADD": ("task", _task),
    "ONTASKUPDATE": ("task", _task),
    "ONTASKCOMMENTADD": ("task", _commented_task),
    "ONTASKCOMMENTUPDATE": ("task", _commented_task),
    "ONTASKCOMMENTDELETE": ("task", _commented_task),
    "ONSESSIONSTART": ("chat", _chat),
    "ONOPENLINEMESSAGEADD": ("chat", _chat),
    "ONOPENLINEMESSAGEUPDATE": ("chat", _chat),
    "ONIMCONNECTORMESSAGEADD": ("chat", _chat),
}
"""Events that name a thing and say (nearly) nothing of it: it is read back."""

TOLD: dict[str, tuple[str, Finder]] = {
    "ONTASKDELETE": ("task", _task),
    "ONSESSIONFINISH": ("chat", _chat),
}
"""Events that say all there is, about a thing whose order matters."""


def is_thin(body: Tree) -> bool:
    return event_code(body) in THIN and subject(body) is not None


def subject(body: Tree) -> str | None:
    """What it is about, as a TicketRef's id."""
    kind, find = (THIN | TOLD).get(event_code(body), ("", None))
    id_ = find(body) if find else None
    return f"{kind}:{id_}" if id_ else None
