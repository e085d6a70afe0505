"""What is a conversation or a ticket of theirs, in our words, in whichever generation of their API it is told?

https://developers.intercom.com/docs/references/rest-api/api.intercom.io/conversations
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from gateway.api import (
    Comment,
    Connection,
    Contact,
    Person,
    Priority,
    Snapshot,
    Status,
    Ticket,
    TicketKind,
    TicketRef,
)

from . import marker
from .envelope import TICKET, ident, moment
from .parts import CUSTOMERS, STATUSES, attachments, comments, heard, listed, person
from .wording import first_words, html, name, text

if TYPE_CHECKING:
    from . import Settings

PRIORITIES = {"priority": Priority.HIGH, "not_priority": Priority.NORMAL}
CATEGORIES = {
    "submitted": Status.OPEN,
    "in_progress": Status.OPEN,
    "waiting_on_customer": Status.PENDING,
    "resolved": Status.RESOLVED,
}
TITLE, DESCRIPTION = "_default_title_", "_default_description_"
CHANNELS = {"conversation": "messenger"}


def snapshot(collected: Mapping[str, Any], connection: "Connection[Settings]") -> Snapshot:
    """What `collect_ticket` gave, in our words. Another shape raises KeyError, TypeError or ValueError."""
    people = collected.get("contacts") or []
    if "ticket" in collected:
        source = collected["ticket"]
        read = ticket(source, connection, None)
        said_so = comments(history(source))
    else:
        source = collected["conversation"]
        read = conversation(source, connection, None)
        opening = first_comment(source, connection.settings)
        said_so = ((opening,) if opening else ()) + comments(history(source))
    known: dict[str, Any] = heard(said_so, connection.settings.own_ids())
    if people:
        known["contact"] = contact(people[0], connection.settings)
    return Snapshot(ticket=read.model_copy(update=known), comments=said_so)


def history(source: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The parts of a conversation or ticket, as far as this telling has them."""
    for kind in ("conversation_parts", "ticket_parts"):
        if kind in source:
            return listed(source[kind], kind)
    return []


# --- a conversation -----------------------------------------------------------------------------------------


def conversation(
    source: Mapping[str, Any], connection: "Connection[Settings]", before: Ticket | None
) -> Ticket:
    """Only what `source` says is set. API 2.x and 1.x (`user`, `assignee`, `conversation_message`) are read alike."""
    settings = connection.settings
    conversation_id = ident(source["id"])
    if conversation_id is None:
        raise ValueError("a conversation without an id")
    known: dict[str, Any] = {
        "ref": TicketRef(connection.name, conversation_id),
        "kind": TicketKind.CONVERSATION,
        "url": settings.inbox_url(conversation_id),
        **_moments(source),
        **_opening(source),
        **_state(source),
        **_priority(source.get("priority")),
        **_assigned(source, settings, before),
    }
    if (person_told := _contact(source, before)) is not None:
        known["contact"] = person_told
    if "tags" in source:
        known["tags"] = tag_names(source["tags"])
    if isinstance(source.get("custom_attributes"), dict):
        known |= fields(source["custom_attributes"], settings)
    return Ticket(**known)


def first_comment(source: Mapping[str, Any], settings: "Settings") -> Comment | None:
    """The message that the conversation began with. Its id counts apart from those of the parts, and before them: a
    bot answers within the same second, which is as fine as Intercom tells the time, and then ids decide."""
    message = opening_message(source)
    words, files = text(message.get("body")), attachments(message.get("attachments"))
    message_id = ident(message.get("id"))
    if message_id is None or not (words or files):
        return None
    return Comment(
        id=f"0-source-{message_id}",
        body=words,
        html=html(message.get("body")),
        author=opening_author(source, settings),
        created_at=moment(source.get("created_at")),
        attachments=files,
    )


def opening_message(source: Mapping[str, Any]) -> Mapping[str, Any]:
    for kind in ("source", "conversation_message"):
        if isinstance(source.get(kind), dict):
            return source[kind]  # type: ignore[no-any-return]
    return {}


def opening_author(source: Mapping[str, Any], settings: "Settings") -> Person | None:
    """Who opened it. What we open bears our mark, also where the customer is named as its author."""
    message, given = opening_message(source), source.get("ticket_attributes")
    description = given.get(DESCRIPTION) if isinstance(given, dict) else None
    if marker.is_in(f"{message.get('body')} {description}"):
        return Person(id=settings.admin_id, is_agent=True)
    return person(message.get("author"))


def _opening(source: Mapping[str, Any]) -> dict[str, Any]:
    message = opening_message(source)
    if not message and "title" not in source:
        return {}
    words = text(message.get("body"))
    subject = name(source.get("title")) or text(message.get("subject")) or first_words(words)
    known: dict[str, Any] = {"subject": subject}
    if "body" in message:
        known["description"] = words or None
    told = source.get("channel")
    word = told.get("current") if isinstance(told, dict) else message.get("type")
    if isinstance(word, str) and "source" in source:
        known["channel"] = CHANNELS.get(word, word)
    return known


def _state(source: Mapping[str, Any]) -> dict[str, Any]:
    """A snoozed conversation is `open` too, so the state counts; API 1.x often has nothing but `open`."""
    state = source.get("state")
    if not isinstance(state, str):
        if not isinstance(source.get("open"), bool):
            return {}
        state = ("snoozed" if source.get("snoozed_until") else "open") if source["open"] else "closed"
    return {"remote_status": state, **({"status": STATUSES[state]} if state in STATUSES else {})}


def _priority(word: object) -> dict[str, Any]:
    if not isinstance(word, str):
        return {}
    return {"priority": PRIORITIES.get(word), "remote_priority": word}


def _assigned(source: Mapping[str, Any], settings: "Settings", before: Ticket | None) -> dict[str, Any]:
    known: dict[str, Any] = {}
    old = source.get("assignee")
    if isinstance(old, dict):  # API 1.x: one place for an admin or a team
        return assigned(old, source, settings, before)
    if "admin_assignee_id" in source:
        known["assignee"] = _agent(ident(source["admin_assignee_id"]), source, before)
    if "team_assignee_id" in source:
        team = ident(source["team_assignee_id"])
        known["team"] = settings.team_name(team) if team else None
    return known


def assigned(
    to: Mapping[str, Any], source: Mapping[str, Any], settings: "Settings", before: Ticket | None
) -> dict[str, Any]:
    """`{"type": "admin" | "team" | "nobody_admin", "id"}`: what it says of assignee and team."""
    kind, to_id = str(to.get("type") or ""), ident(to.get("id"))
    if kind == "team":
        return {"team": settings.team_name(to_id) if to_id else None}
    if kind == "admin":
        named = person(to)
        return {"assignee": named if named and named.name else _agent(to_id, source, before)}
    return {"assignee": None} if kind.startswith("nobody") else {}


def _agent(agent: str | None, source: Mapping[str, Any], before: Ticket | None) -> Person | None:
    """An id is all that is told; the name is where the same person wrote, or where we heard it before."""
    if agent is None:
        return None
    for part in history(source):
        writer = person(part.get("author"))
        if writer and writer.id == agent and writer.is_agent:
            return writer
    old = before.assignee if before else None
    return old if old and old.id == agent else Person(id=agent, is_agent=True)


def _contact(source: Mapping[str, Any], before: Ticket | None) -> Contact | None:
    """The first contact: an id, and what the authors beside it tell. None = nothing is said of one."""
    old_style = source.get("user")
    people = listed(source.get("contacts"), "contacts")
    authors = [
        author
        for author in (
            old_style,
            opening_message(source).get("author"),
            *(part.get("author") for part in history(source)),
        )
        if isinstance(author, dict) and author.get("type") in CUSTOMERS
    ]
    first = people[0] if people else next(iter(authors), None)
    contact_id = ident(first.get("id")) if first else None
    if contact_id is None:
        return None
    known: dict[str, Any] = {"id": contact_id}
    for author in authors:
        if ident(author.get("id")) == contact_id:
            known |= {key: author[key] for key in ("name", "email") if _text(author.get(key))}
    old = before.contact if before else None
    if old and old.id == contact_id:  # what is told must not make us forget the phone of the same person
        return Contact(**{**old.known(), **known})
    return Contact(**known)


# --- a ticket -----------------------------------------------------------------------------------------------


def ticket(source: Mapping[str, Any], connection: "Connection[Settings]", before: Ticket | None) -> Ticket:
    """Only what `source` says is set: beside a part it may be no more than the id."""
    settings = connection.settings
    ticket_id = ident(source["id"])
    if ticket_id is None:
        raise ValueError("a ticket without an id")
    known: dict[str, Any] = {
        "ref": TicketRef(connection.name, TICKET + ticket_id),
        "kind": TicketKind.TICKET,
        "url": settings.inbox_url(ticket_id),
        **_moments(source),
        **_category(source),
        **_assigned(source, settings, before),
    }
    if (person_told := _contact(source, before)) is not None:
        known["contact"] = person_told
    kind = source.get("ticket_type")
    if isinstance(kind, dict) and name(kind.get("name")):
        known["type"] = name(kind.get("name"))
    if isinstance(source.get("channel"), str):
        known["channel"] = CHANNELS.get(source["channel"], source["channel"])
    if isinstance(source.get("ticket_attributes"), dict):
        given = source["ticket_attributes"]
        if TITLE in given:
            known["subject"] = name(text(given[TITLE]))
        if DESCRIPTION in given:
            known["description"] = text(given[DESCRIPTION]) or None
        known |= fields({key: given[key] for key in given if key not in (TITLE, DESCRIPTION)}, settings)
    return Ticket(**known)


def _category(source: Mapping[str, Any]) -> dict[str, Any]:
    """`open: false` closes whatever the state is; a time to come back at is a snooze, as long as it is not past."""
    state = source.get("ticket_state")
    known: dict[str, Any] = {}
    if isinstance(state, str):  # before API 2.11
        state = {"category": state}
    if isinstance(state, dict):
        category = state.get("category")
        label = name(state.get("internal_label")) or name(category)
        known["remote_status"] = label
        if category in CATEGORIES:
            known["status"] = CATEGORIES[category]
    if source.get("open") is False:
        known["status"] = Status.CLOSED
    elif source.get("open") is True and _is_snoozed(source):
        known["status"] = Status.ON_HOLD
    return known


def _is_snoozed(source: Mapping[str, Any]) -> bool:
    until, changed = moment(source.get("snoozed_until")), moment(source.get("updated_at"))
    return until is not None and changed is not None and until > changed


# --- both ---------------------------------------------------------------------------------------------------


def contact(source: Mapping[str, Any], settings: "Settings") -> Contact:
    """A contact as REST or a webhook has it (or a user of API 1.x); only what it says is set."""
    known: dict[str, Any] = {"id": ident(source.get("id"))}
    for key in ("name", "email"):
        if key in source:
            known[key] = _text(source[key])
    if "phone" in source:
        known["phones"] = (source["phone"],) if _text(source["phone"]) else ()
    attributes = source.get("custom_attributes")
    if isinstance(attributes, dict):
        known["custom_fields"] = attributes
    document = _document(source, settings.document_attribute)
    if document:
        known["document"] = document
    return Contact(**known)


def _document(source: Mapping[str, Any], attribute: str | None) -> str | None:
    if attribute is None:
        return None
    holder = source if attribute == "external_id" else source.get("custom_attributes")
    value = holder.get(attribute) if isinstance(holder, dict) else None
    return "".join(filter(str.isdecimal, str(value))) or None if value else None


def fields(given: Mapping[str, Any], settings: "Settings") -> dict[str, Any]:
    """Attributes by Intercom's names and by the tenant's; and the priority, where one of them stands for it."""
    known: dict[str, Any] = {
        "remote_fields": dict(given),
        "custom_fields": {
            ours: given[theirs] for ours, theirs in settings.custom_fields.items() if theirs in given
        },
    }
    word = given.get(settings.priority_attribute) if settings.priority_attribute else None
    if word is not None:
        words = {value: ours for ours, value in settings.priorities.items()}
        known |= {"priority": words.get(str(word)), "remote_priority": str(word)}
    return known


def tag_names(holder: object) -> frozenset[str]:
    return frozenset(found for row in listed(holder, "tags") if (found := name(row.get("name"))))


def _moments(source: Mapping[str, Any]) -> dict[str, Any]:
    named = {"created_at": "remote_created_at", "updated_at": "remote_updated_at"}
    if "updated_at" in source or "created_at" in source:
        named |= {"snoozed_until": "snoozed_until", "waiting_since": "waiting_since"}
    return {ours: moment(source[theirs]) for theirs, ours in named.items() if theirs in source}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def newest(parts: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The newest first, whatever the order they came in."""
    return sorted(parts, key=lambda part: (part.get("created_at") or 0, str(part.get("id"))), reverse=True)
