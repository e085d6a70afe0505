"""Movidesk's words for things, and ours; which events does a ticket that was read back stand for?

https://atendimento.movidesk.com/kb/article/256. Only what was collected is believed: the webhook's own body
has zeros where nothing was loaded, and names neither the event nor the time.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from gateway.api import (
    JSON,
    Attachment,
    Comment,
    Connection,
    Contact,
    Event,
    Person,
    Priority,
    Snapshot,
    Status,
    Ticket,
    TicketCreated,
    TicketRef,
    UnreadableWebhook,
    Webhook,
    changes,
    html_to_text,
    sanitised,
)

from . import fields, marker

if TYPE_CHECKING:
    from . import Settings

STATUSES = {
    "New": Status.NEW,
    "InAttendance": Status.OPEN,
    "InAttention": Status.OPEN,  # what the English page of the documentation calls it
    "Stopped": Status.PENDING,  # or on hold: by the tenant's label or justification, see `status`
    "Resolved": Status.RESOLVED,
    "Closed": Status.CLOSED,
    "Canceled": Status.CANCELED,
}
CHANNELS = {
    1: "web", 2: "web", 3: "email", 4: "trigger", 5: "chat", 6: "chat", 7: "email", 8: "form", 9: "api",
    10: "scheduled", 11: "jira", 12: "redmine", 13: "phone", 14: "phone", 15: "phone", 16: "phone",
    17: "remote_access", 18: "whatsapp", 19: "movidesk", 20: "chat", 21: "phone", 22: "messenger",
    23: "whatsapp", 24: "chat", 25: "whatsapp",
}  # fmt: skip
TIMES = {
    "createdDate": "remote_created_at",
    "lastUpdate": "remote_updated_at",
    "resolvedIn": "resolved_at",
    "closedIn": "closed_at",
    "slaSolutionDate": "due_at",
}
KEPT = ("protocol", "justification", "serviceFirstLevel", "serviceFirstLevelId", "type")
"""Members without a word of ours, kept in `remote_fields` under their own."""

AGENT, CLIENT = 1, 2  # profileType; 3 is both
INTERNAL, PUBLIC = 1, 2  # type, of a ticket and of an action
SAME_MOMENT = timedelta(seconds=2)


def events(
    webhook: Webhook, collected: JSON, before: Snapshot | None, connection: "Connection[Settings]"
) -> list[Event]:
    if collected is None:
        raise UnreadableWebhook("Movidesk: the body names no ticket, so nothing could be read back")
    try:
        after = snapshot(collected, connection)
        found = changes(
            before, after, seen_at=webhook.received_at, actor=_last_actor(before, after, connection.settings)
        )
        opener = _author(collected["ticket"].get("createdBy"), set())
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise UnreadableWebhook(
            f"Movidesk: the ticket that was read back has another shape: {error!r}"
        ) from error
    return [
        event.model_copy(update={"actor": opener}) if isinstance(event, TicketCreated) else event
        for event in found
    ]


def snapshot(collected: JSON, connection: "Connection[Settings]") -> Snapshot:
    """Raises ValueError, LookupError, TypeError or AttributeError for a shape that is no Movidesk ticket."""
    found, settings = collected["ticket"], connection.settings
    actions = sorted(found.get("actions") or (), key=lambda action: int(action["id"]))
    return Snapshot(
        ticket=_ticket(found, actions, collected.get("person"), connection.name, settings),
        comments=tuple(_comments(found, actions)),
    )


def _ticket(found: JSON, actions: list[JSON], person: JSON, connection: str, settings: "Settings") -> Ticket:
    ticket_id = str(int(found["id"]))
    known: dict[str, Any] = {"url": settings.ticket_url(ticket_id)}
    if "subject" in found:
        known["subject"] = found["subject"]
    if "category" in found:
        known["type"] = found["category"]
    if actions:
        known["description"] = _texts(actions[0])[0]
    if "status" in found:
        known |= {"remote_status": found["status"], "status": status(found, settings)}
    if "urgency" in found:
        known |= {"remote_priority": found["urgency"], "priority": _priority(found["urgency"], settings)}
    if "clients" in found:
        known["contact"] = _contact(found["clients"], person)
    if "owner" in found:
        known["assignee"] = _agent(found["owner"])
    if "ownerTeam" in found:
        known["team"] = found["ownerTeam"]
    if "tags" in found:
        known["tags"] = frozenset(tag for tag in found["tags"] or () if not marker.is_tag(tag))
    if "origin" in found:
        known["channel"] = CHANNELS.get(found["origin"], str(found["origin"]))
    if "isDeleted" in found:
        known["deleted"] = bool(found["isDeleted"])
    ours, others = fields.by_name(found.get("customFieldValues") or (), settings.custom_fields)
    if "customFieldValues" in found:
        known["custom_fields"] = ours
    known["remote_fields"] = {name: found[name] for name in KEPT if found.get(name) is not None} | others
    known |= {name: instant(found[theirs]) for theirs, name in TIMES.items() if theirs in found}
    return Ticket(ref=TicketRef(connection, ticket_id), **known)


def status(found: JSON, settings: "Settings") -> Status | None:
    """By `baseStatus`, which admins cannot rename; by the label where it is missing. A `Stopped` ticket waits
    for us when it has the label or the justification that the settings give to `on_hold` alone."""
    label = found.get("status")
    base = found.get("baseStatus")
    labels = {name: ours for ours, name in reversed(settings.statuses.items())}
    ours = labels.get(label) if base is None else STATUSES.get(base)
    if ours is not Status.PENDING:
        return ours
    on_hold = settings.justifications.get(Status.ON_HOLD.value)
    if labels.get(label) is Status.ON_HOLD or (on_hold and found.get("justification") == on_hold):
        return Status.ON_HOLD
    return Status.PENDING


def _priority(urgency: str | None, settings: "Settings") -> Priority | None:
    labels = {label.casefold(): ours for label, ours in settings.urgencies.items()}
    return labels.get(urgency.casefold()) if urgency else None


def _contact(clients: list[JSON] | None, person: JSON) -> Contact | None:
    if not clients:
        return None
    client = clients[0]
    known: dict[str, Any] = {
        "id": str(client["id"]), "name": client.get("businessName"), "email": client.get("email"),
        "company": (client.get("organization") or {}).get("businessName"),
        "phones": tuple(dict.fromkeys(filter(None, [client.get("phone"), *phones(person or {})]))),
    }  # fmt: skip
    if person:
        known["email"] = known["email"] or next(iter(emails(person)), None)
        known["document"] = "".join(filter(str.isdecimal, person.get("cpfCnpj") or "")) or None
    return Contact(**known)


def phones(person: JSON) -> list[str]:
    """As they are written there, the default first. `contacts` may also hold Skype names."""
    found = [one for one in person.get("contacts") or () if (one.get("contactType") or "").lower() != "skype"]
    return [one["contact"] for one in _default_first(found) if one.get("contact")]


def emails(person: JSON) -> list[str]:
    return [one["email"] for one in _default_first(person.get("emails") or ()) if one.get("email")]


def _default_first(entries: Iterable[JSON]) -> list[JSON]:
    return sorted(entries, key=lambda entry: not entry.get("isDefault"))


def _comments(found: JSON, actions: list[JSON]) -> Iterator[Comment]:
    """All actions but the opening one. Ids count per ticket, so a comment's id has the ticket's in front."""
    client_ids = {str(client.get("id")) for client in found.get("clients") or ()}
    for action in actions[1:]:
        if action.get("isDeleted"):
            continue
        body, html = _texts(action)
        yield Comment(
            id=comment_id(found["id"], action["id"]),
            body=body,
            html=html,
            author=_author(action.get("createdBy"), client_ids),
            # what is not plainly public stays inside; an internal ticket shows the client nothing
            is_private=action.get("type") != PUBLIC or found.get("type") == INTERNAL,
            created_at=instant(action.get("createdDate")),
            attachments=tuple(map(_attachment, action.get("attachments") or ())),
        )


def comment_id(ticket_id: JSON, action_id: JSON) -> str:
    return f"{int(ticket_id)}:{int(action_id)}"


def _texts(action: JSON) -> tuple[str, str | None]:
    """Plain text and safe HTML, without our marker. `description` is plain text in what is read."""
    html = action.get("htmlDescription")
    if html:
        unmarked = marker.without(html)
        return html_to_text(unmarked), sanitised(unmarked)
    return marker.without(action.get("description") or "").strip(), None


def _attachment(attachment: JSON) -> Attachment:
    path = attachment.get("path") or ""  # usually a hash, whose public address is not documented
    return Attachment(
        name=attachment.get("fileName") or path, url=path if path.startswith("https://") else None
    )


def _author(created_by: JSON, client_ids: set[str]) -> Person | None:
    if not created_by or created_by.get("id") is None:
        return None  # triggers and the system itself
    person_id, profile = str(created_by["id"]), created_by.get("profileType")
    if person_id in client_ids or profile == CLIENT:
        is_agent: bool | None = False
    else:
        is_agent = True if profile in {AGENT, AGENT | CLIENT} else None
    return Person(
        id=person_id, name=created_by.get("businessName"), email=created_by.get("email"), is_agent=is_agent,
        phones=tuple(filter(None, [created_by.get("phone")])),
    )  # fmt: skip


def _agent(owner: JSON) -> Person | None:
    if not owner or owner.get("id") is None:
        return None
    return Person(
        id=str(owner["id"]), name=owner.get("businessName"), email=owner.get("email"), is_agent=True
    )


def _last_actor(before: Snapshot | None, after: Snapshot, settings: "Settings") -> Person | None:
    """Movidesk does not say who changed a field; whoever wrote an action in the same moment did.

    Never we ourselves: an agent's change right after our comment would pass for an echo and be left alone.
    """
    known = {comment.id for comment in before.comments} if before else set()
    newest = after.comments[-1] if after.comments else None
    updated = after.ticket.remote_updated_at
    if newest is None or newest.id in known or newest.created_at is None or updated is None:
        return None
    if newest.author is None or newest.author.id in settings.own_ids():
        return None
    return newest.author if abs(updated - newest.created_at) <= SAME_MOMENT else None


def instant(written: str | None) -> datetime | None:
    """`2025-03-10T13:05:09.1234567`: seven decimals, no zone, in UTC. Year 1 is .NET's "never"."""
    if not written:
        return None
    moment = datetime.fromisoformat(written)
    if moment.year == 1:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
