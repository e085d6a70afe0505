"""What is a task of Bitrix24, with its comments, in our words?

https://apidocs.bitrix24.com/api-reference/tasks/fields.html. Comments are a forum in the old card and a chat in the new
one (module tasks 25.700.0): the same task has one or the other.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from gateway.api import (
    JSON,
    Comment,
    Connection,
    Event,
    Person,
    Priority,
    Snapshot,
    Status,
    Ticket,
    TicketCreated,
    TicketDeleted,
    TicketKind,
    TicketRef,
    TicketStatusChanged,
    Webhook,
    changes,
)

from . import words
from .accept import decimal
from .links import url_of
from .markup import to_text

if TYPE_CHECKING:
    from . import Settings

STATUSES = {
    "1": Status.NEW,  # only in very old data, like 7
    "2": Status.NEW,  # "pending": nobody has begun
    "3": Status.OPEN,
    "4": Status.RESOLVED,  # done, and waits for whoever gave it
    "5": Status.CLOSED,
    "6": Status.ON_HOLD,
    "7": Status.CANCELED,
}
PRIORITIES = {"0": Priority.LOW, "1": Priority.NORMAL, "2": Priority.HIGH}
TIMES = {
    "createdDate": "remote_created_at",
    "changedDate": "remote_updated_at",
    "closedDate": "closed_at",
    "deadline": "due_at",
}
KEPT = ("subStatus", "groupId", "ufCrmTask", "chatId")
"""Members without a word of ours, kept in `remote_fields` under their own."""


def events(
    collected: JSON, webhook: Webhook, before: Snapshot | None, connection: "Connection[Settings]"
) -> Iterator[Event]:
    """What is new since `before`, each with whoever did it as far as Bitrix24 says."""
    found, settings = collected["task"], connection.settings
    after = snapshot(collected, connection)
    last = words.person(found.get("changedBy"))
    if last is not None and last.id in settings.own_ids():
        last = None  # somebody else's change right before ours would pass for an echo
    for event in changes(before, after, seen_at=webhook.received_at, actor=last):
        if isinstance(event, TicketCreated):
            yield event.model_copy(update={"actor": _named(found, "creator", "createdBy")})
        elif isinstance(event, TicketStatusChanged):
            yield event.model_copy(update={"actor": words.person(found.get("statusChangedBy")) or last})
        else:
            yield event


def deleted(id_: str, webhook: Webhook, connection: "Connection[Settings]") -> TicketDeleted:
    """There is nothing left to be read."""
    ref = TicketRef(connection.name, id_)
    ticket = Ticket(ref=ref, kind=TicketKind.TASK, deleted=True)
    return TicketDeleted(id=f"deleted:{id_}", occurred_at=webhook.received_at, ticket=ticket)


def snapshot(collected: JSON, connection: "Connection[Settings]") -> Snapshot:
    """Raises ValueError, LookupError, TypeError or AttributeError for a shape that is no task."""
    found = collected["task"]
    ticket = _ticket(found, collected.get("contact"), connection)
    if "messages" in collected:
        comments = _chat(collected["messages"], collected.get("users") or ())
    else:
        comments = _forum(ticket.ref.id, collected.get("comments") or ())
    return Snapshot(ticket=ticket, comments=tuple(comments))


def _ticket(found: dict[str, Any], contact: JSON, connection: "Connection[Settings]") -> Ticket:
    settings = connection.settings
    id_ = f"task:{int(found['id'])}"
    known: dict[str, Any] = {"url": url_of(id_, settings.portal_url()), "subject": found.get("title")}
    if "description" in found:
        is_html = found.get("descriptionInBbcode") == "N"
        known["description"] = to_text(found["description"], is_html=is_html)
    if "status" in found:
        known |= {"remote_status": str(found["status"]), "status": STATUSES.get(str(found["status"]))}
    if "priority" in found:
        known |= {
            "remote_priority": str(found["priority"]),
            "priority": PRIORITIES.get(str(found["priority"])),
        }
    if "responsibleId" in found:
        known["assignee"] = _named(found, "responsible", "responsibleId")
    if "groupId" in found:
        known["team"] = _team(found["groupId"], settings)
    if "tags" in found:
        known["tags"] = frozenset(tags(found))
    if (person := words.contact(contact, settings)) is not None:
        known["contact"] = person
    known |= {name: words.instant(found[theirs]) for theirs, name in TIMES.items() if theirs in found}
    known["custom_fields"] = words.own_fields(found, settings.fields_of("task"))
    known["remote_fields"] = {
        name: words.plain(found[name]) for name in KEPT if found.get(name) not in words.EMPTY
    }
    return Ticket(ref=TicketRef(connection.name, id_), kind=TicketKind.TASK, **known)


def tags(found: dict[str, Any]) -> list[str]:
    """A map by id, `{"17": {"id": 17, "title": "vip"}}`, an empty list when there are none; names in old versions."""
    given = found.get("tags") or ()
    entries = given.values() if isinstance(given, dict) else given
    return [str(each.get("title") if isinstance(each, dict) else each) for each in entries]


def _team(group: JSON, settings: "Settings") -> str | None:
    known = decimal(group)
    names = {str(id_): name for name, id_ in settings.groups.items()}
    return names.get(known, known) if known else None


def _named(found: dict[str, Any], member: str, id_: str) -> Person | None:
    named = found.get(member)
    return words.person(found.get(id_), name=named.get("name") if isinstance(named, dict) else None)


def _forum(task: str, comments: Iterable[JSON]) -> Iterator[Comment]:
    for each in sorted(comments, key=lambda each: int(each["ID"])):
        yield Comment(
            id=f"{task}:{int(each['ID'])}",
            body=to_text(each.get("POST_MESSAGE")),
            author=words.person(each.get("AUTHOR_ID"), name=each.get("AUTHOR_NAME")),
            is_private=True,
            created_at=words.instant(each.get("POST_DATE")),
        )


def _chat(messages: Iterable[JSON], users: Iterable[JSON]) -> Iterator[Comment]:
    """Without what the system itself says there ("X changed the deadline")."""
    names = {str(user.get("id")): user.get("name") for user in users}
    for each in messages:
        author = words.person(each.get("author_id"), name=names.get(str(each.get("author_id"))))
        if author is None:
            continue
        yield Comment(
            id=f"message:{int(each['id'])}",
            body=to_text(each.get("text")),
            author=author,
            is_private=True,
            created_at=words.instant(each.get("date")),
        )
