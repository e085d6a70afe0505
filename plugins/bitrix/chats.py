"""What is a chat of an open line in our words, and when is its conversation over?

https://apidocs.bitrix24.com/api-reference/imopenlines/openlines/ : one chat a customer and channel, in which one
session follows the other. The chat is the conversation; that a session ended is told by ONSESSIONFINISH alone.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from gateway.api import (
    JSON,
    Comment,
    CommentCreated,
    Connection,
    Event,
    Person,
    Snapshot,
    Status,
    Ticket,
    TicketKind,
    TicketRef,
    TicketStatusChanged,
    Webhook,
    changes,
)

from . import words
from .accept import decimal, sent_at
from .forms import Tree, at, items, text_at
from .links import url_of
from .markup import to_text

if TYPE_CHECKING:
    from . import Settings

SESSION = "session"
"""Our name, in `remote_fields`, of the session that was last heard of."""


def events(
    collected: JSON, webhook: Webhook, before: Snapshot | None, connection: "Connection[Settings]"
) -> list[Event]:
    return list(changes(before, snapshot(collected, before, connection), seen_at=webhook.received_at))


def snapshot(collected: JSON, before: Snapshot | None, connection: "Connection[Settings]") -> Snapshot:
    """Raises ValueError, LookupError, TypeError or AttributeError for a shape that is no chat."""
    dialog, history = collected["dialog"], collected.get("history") or {}
    comments = tuple(_comments(history))
    fields = _fields(dialog, history)
    known: dict[str, Any] = {
        "subject": dialog.get("name") or dialog.get("title"),
        "channel": fields.get("connector"),
        "remote_fields": fields,
        "url": url_of(f"chat:{int(dialog['id'])}", connection.settings.portal_url()),
    }
    if not _is_over(before, fields.get(SESSION)):
        known |= {"status": Status.OPEN, "remote_status": "open"}
    if (person := words.contact(collected.get("contact"), connection.settings)) is not None:
        known["contact"] = person
    if dated := [comment.created_at for comment in comments if comment.created_at is not None]:
        known["remote_updated_at"] = max(dated)
    if created := words.instant(dialog.get("date_create")):
        known["remote_created_at"] = created
    known |= _heard(comments)
    ref = TicketRef(connection.name, f"chat:{int(dialog['id'])}")
    return Snapshot(ticket=Ticket(ref=ref, kind=TicketKind.CONVERSATION, **known), comments=comments)


def _fields(dialog: Mapping[str, Any], history: Mapping[str, Any]) -> dict[str, JSON]:
    """`entity_id` is `connector|line|chat there|user there`, `entity_data_1` has the session in its sixth part."""
    connector, line, outer_chat, outer_user, *_ = [
        *str(dialog.get("entity_id") or "").split("|"),
        "",
        "",
        "",
        "",
    ]
    binding = [*str(dialog.get("entity_data_1") or "").split("|"), "", "", "", "", "", ""]
    found = {
        "connector": connector, "line": line, "external_chat": outer_chat, "external_user": outer_user,
        SESSION: decimal(binding[5]) or decimal(history.get("sessionId")),
        "cards": str(dialog.get("entity_data_2") or ""),
    }  # fmt: skip
    return {name: value for name, value in found.items() if value}


def _is_over(before: Snapshot | None, session: JSON) -> bool:
    """A message may be read back after the end of its session was told; a later session opens the chat again."""
    if before is None or before.ticket.status is not Status.CLOSED:
        return False
    ended = decimal(before.ticket.remote_fields.get(SESSION))
    return ended is None or session is None or int(session) <= int(ended)


def _comments(history: Mapping[str, Any]) -> Iterator[Comment]:
    """`message` is a map by id; sender 0 is the system. Only users say of themselves that they are customers."""
    messages, users = history.get("message") or {}, history.get("users") or {}
    listed = messages.values() if isinstance(messages, dict) else messages
    people = users if isinstance(users, dict) else {str(user.get("id")): user for user in users}
    for each in sorted(listed, key=lambda each: int(each["id"])):
        sender = each.get("senderid", each.get("senderId"))
        if (author := _author(sender, people)) is None:
            continue
        yield Comment(
            id=f"message:{int(each['id'])}",
            body=to_text(each.get("text")),
            author=author,
            created_at=words.instant(each.get("date")),
        )


def _author(sender: JSON, people: Mapping[str, Any]) -> Person | None:
    user = people.get(str(sender))
    user = user if isinstance(user, Mapping) else {}
    return words.person(
        sender, name=user.get("name"), is_agent=user.get("connector") not in (True, "Y", "true")
    )


def _heard(comments: Iterable[Comment]) -> dict[str, datetime]:
    """Who was heard when."""
    agents: list[datetime] = []
    customers: list[datetime] = []
    for comment in comments:
        if comment.created_at is not None and comment.author is not None:
            (agents if comment.author.is_agent else customers).append(comment.created_at)
    found: dict[str, datetime] = {}
    if agents:
        found |= {"first_agent_comment_at": min(agents), "last_agent_comment_at": max(agents)}
    if customers:
        found["last_customer_comment_at"] = max(customers)
    return found


def finished(
    body: Tree, webhook: Webhook, before: Snapshot | None, connection: "Connection[Settings]"
) -> Iterator[Event]:
    """ONSESSIONFINISH says all there is. The end of a session before the present one is no news."""
    told = items(at(body, "data", "DATA"))
    if not told:
        raise ValueError("no session in DATA")
    at_ = sent_at(body) or webhook.received_at
    for each in told:
        chat, session = decimal(at(each, "chat", "id")), decimal(at(each, "session", "id"))
        if chat is None:
            raise ValueError("a session without its chat")
        ref = TicketRef(connection.name, f"chat:{chat}")
        old = before.ticket if before is not None and before.ticket.ref == ref else None
        fields = dict(old.remote_fields) if old else {}
        if session and int(decimal(fields.get(SESSION)) or 0) > int(session):
            continue
        ticket = Ticket(
            ref=ref,
            kind=TicketKind.CONVERSATION,
            status=Status.CLOSED,
            remote_status="closed",
            closed_at=at_,
            remote_fields=fields | ({SESSION: session} if session else {}),
        )
        yield TicketStatusChanged(
            id=f"closed:chat:{chat}@{session or at_.isoformat()}",
            occurred_at=at_,
            ticket=ticket,
            old=old.status if old else None,
            new=Status.CLOSED,
            new_remote="closed",
        )


def messages(body: Tree, webhook: Webhook, connection: "Connection[Settings]") -> Iterator[Event]:
    """A notice about several chats at once, of which none is read back: what it tells itself."""
    at_ = sent_at(body) or webhook.received_at
    for chat, id_, text, user, is_agent in _told(body):
        ref = TicketRef(connection.name, f"chat:{chat}")
        author = words.person(user, is_agent=is_agent)
        if author is None:
            continue
        yield CommentCreated(
            id=f"comment@message:{id_}:{ref.id}",
            occurred_at=at_,
            actor=author,
            ticket=Ticket(ref=ref, kind=TicketKind.CONVERSATION),
            comment=Comment(id=f"message:{id_}", body=to_text(text), author=author, created_at=at_),
        )


def _told(body: Tree) -> Iterator[tuple[str, str, str | None, str | None, bool | None]]:
    """(chat, message, text, user, is_agent) of open-line and of connector events. The latter are always an
    operator's; the former do not say whose they are."""
    data = at(body, "data")
    for each in items(at(data, "DATA")):
        chat, message = decimal(at(each, "chat", "id")), decimal(at(each, "message", "id"))
        if chat and message and text_at(each, "message", "system") != "Y":
            yield chat, message, text_at(each, "message", "text"), text_at(each, "message", "user_id"), None
    for each in items(at(data, "MESSAGES")):
        chat, message = decimal(at(each, "im", "chat_id")), decimal(at(each, "im", "message_id"))
        if chat and message:
            yield chat, message, text_at(each, "message", "text"), text_at(each, "message", "user_id"), True
