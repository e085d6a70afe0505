"""Freshdesk's words for things, and ours; which events does a ticket that was read back stand for?

https://developers.freshdesk.com/api/#ticket_attributes. Only what was collected is believed: a webhook's own values
are labels in the account's language, and may come 95 minutes late.
"""

import hashlib
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from email.utils import parseaddr
from typing import TYPE_CHECKING, Any

from gateway.api import (
    JSON,
    Attachment,
    Comment,
    CommentCreated,
    Connection,
    Contact,
    Event,
    Person,
    Priority,
    Snapshot,
    Ticket,
    TicketAssigned,
    TicketCreated,
    TicketDeleted,
    TicketEvent,
    TicketRef,
    TicketStatusChanged,
    TicketUpdated,
    UnreadableWebhook,
    Unrecognized,
    Webhook,
    changes,
    html_to_text,
    sanitised,
)

from . import marker
from .collect import instant
from .hint import Change, Hint, decimal, read

if TYPE_CHECKING:
    from . import AccountStatus, Settings

PRIORITIES = {
    1: (Priority.LOW, "Low"), 2: (Priority.NORMAL, "Medium"), 3: (Priority.HIGH, "High"),
    4: (Priority.URGENT, "Urgent"),
}  # fmt: skip
CHANNELS = {
    1: "email", 2: "web", 3: "phone", 4: "forum", 5: "twitter", 6: "facebook", 7: "chat", 8: "mobihelp",
    9: "form", 10: "outbound_email", 11: "ecommerce", 12: "bot", 13: "whatsapp",
}  # fmt: skip
TIMES = {"created_at": "remote_created_at", "updated_at": "remote_updated_at", "due_by": "due_at"}
STATS = {"resolved_at": "resolved_at", "closed_at": "closed_at"}
KEPT = (
    "association_type",
    "company_id",
    "email_config_id",
    "form_id",
    "is_escalated",
    "product_id",
    "source",
)
"""Members without a word of ours, kept in `remote_fields` under their own."""

SURVEY, FORWARD = 6, 8  # source of a conversation: feedback on a survey; sent on to a third party
SAME_MOMENT = timedelta(seconds=2)


def events(
    webhook: Webhook, collected: JSON | None, before: Snapshot | None, connection: "Connection[Settings]"
) -> list[Event]:
    """Raises UnreadableWebhook for a body that is no JSON object and names no ticket, and for a reading of
    another shape."""
    hint = read(webhook.body)
    if collected is None:
        return [_told(webhook, hint, connection)]
    try:
        after = snapshot(collected, before, connection)
        actor = _last_actor(before, after, connection.settings)
        found = changes(before, after, seen_at=webhook.received_at, actor=actor)
        if before is not None and _is_older(after, before):
            return [event for event in found if isinstance(event, CommentCreated)]
        if before is None and hint.change is not None:
            found += _first_news(hint.change, after, connection.settings)
        if _is_ours(collected["ticket"]):
            own = Person(id=connection.settings.agent_id, is_agent=True)
            found = [_by(event, own) if isinstance(event, TicketCreated) else event for event in found]
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise UnreadableWebhook(
            f"Freshdesk: the ticket that was read back has another shape ({type(error).__name__})"
        ) from error
    return list(found)


def _told(webhook: Webhook, hint: Hint, connection: "Connection[Settings]") -> Event:
    """What is left where nothing was read back."""
    at, digest = webhook.received_at, hashlib.sha256(webhook.body).hexdigest()[:32]
    if hint.ticket_id is None and hint.kind is None:
        raise UnreadableWebhook("Freshdesk: no JSON object, and no ticket_id in it")
    if hint.ticket_id is None:
        return Unrecognized(
            id=f"told@{digest}@{at.isoformat()}", occurred_at=at, remote_kind=hint.kind or "?"
        )
    ref = TicketRef(connection.name, hint.ticket_id)
    if hint.deletes:
        return TicketDeleted(id=f"deleted:{ref.id}", occurred_at=at, ticket=Ticket(ref=ref, deleted=True))
    return TicketUpdated(
        id=f"hint@{digest}@{at.isoformat()}:{ref.id}", occurred_at=at, ticket=Ticket(ref=ref)
    )


def _is_older(after: Snapshot, before: Snapshot) -> bool:
    """A reading that was overtaken by a later one: the fields it differs in are no news, what was said is."""
    then, now = before.ticket.remote_updated_at, after.ticket.remote_updated_at
    return then is not None and now is not None and now < then


def _first_news(change: Change, after: Snapshot, settings: "Settings") -> Iterator[TicketEvent]:
    """The change that a ticket was first heard of by: there is nothing yet that a reading could be compared
    with. Told only where the ticket still is as the change left it."""
    ticket = after.ticket
    at = ticket.remote_updated_at
    if at is None or ticket.remote_created_at == at:
        return
    told: dict[str, Any] = {
        "occurred_at": at, "ticket": ticket, "comments": after.comments, "complete": True,
    }  # fmt: skip
    stamp, place = at.isoformat(), ticket.ref.id
    new = decimal(change.new)
    if change.field == "status" and new and _status(int(new), {}, settings)[1] is ticket.status is not None:
        from_id = decimal(change.old)
        label, status = _status(int(from_id), {}, settings) if from_id else (None, None)
        yield TicketStatusChanged(
            **told, id=f"status@{stamp}@{ticket.remote_status or ticket.status}:{place}",
            old=status, new=ticket.status, old_remote=label, new_remote=ticket.remote_status,
        )  # fmt: skip
    elif change.field == "responder_id" and new == (ticket.assignee.id if ticket.assignee else None):
        yield TicketAssigned(
            **told, id=f"assigned@{stamp}@{new}@{ticket.team}:{place}",
            assignee=ticket.assignee, team=ticket.team,
        )  # fmt: skip


def _by(event: TicketEvent, actor: Person) -> TicketEvent:
    return event.model_copy(update={"actor": actor})


def _is_ours(ticket: JSON) -> bool:
    """We opened it: who did is not told otherwise."""
    return any(marker.is_tag(tag) for tag in ticket.get("tags") or ())


def _last_actor(before: Snapshot | None, after: Snapshot, settings: "Settings") -> Person | None:
    """Who changed a field is not told; whoever wrote something new in the same moment did.

    Never we ourselves: an agent's change right after our note would pass for an echo and be left alone.
    """
    known = {comment.id for comment in before.comments} if before else set()
    newest = after.comments[-1] if after.comments else None
    updated = after.ticket.remote_updated_at
    if newest is None or newest.id in known or newest.created_at is None or updated is None:
        return None
    if newest.author is None or newest.author.id in settings.own_ids():
        return None
    return newest.author if abs(updated - newest.created_at) <= SAME_MOMENT else None


# --- the ticket ---------------------------------------------------------------------------------------------


def snapshot(collected: JSON, before: Snapshot | None, connection: "Connection[Settings]") -> Snapshot:
    """Raises ValueError, LookupError, TypeError or AttributeError for a shape that is no Freshdesk ticket."""
    found, settings = collected["ticket"], connection.settings
    rows = collected.get("conversations") or ()
    comments = tuple(_comment(row, found, settings) for row in rows if row.get("source") != SURVEY)
    ticket = _ticket(found, collected.get("statuses") or {}, before, connection)
    return Snapshot(ticket=ticket.model_copy(update=_heard(comments, settings.own_ids())), comments=comments)


def _ticket(
    found: JSON, labels: dict[str, str], before: Snapshot | None, connection: "Connection[Settings]"
) -> Ticket:
    settings, old = connection.settings, before.ticket if before else None
    ticket_id = decimal(found["id"])
    if ticket_id is None:
        raise ValueError("id")
    known: dict[str, Any] = {
        "url": settings.ticket_url(ticket_id),
        "deleted": bool(found.get("deleted") or found.get("spam")),
    }
    for name in ("subject", "type"):
        if name in found:
            known[name] = found[name]
    if "description_text" in found or "description" in found:
        text = found.get("description_text") or html_to_text(found.get("description") or "")
        known["description"] = marker.without(text).strip()
    if "status" in found:
        known["remote_status"], known["status"] = _status(found["status"], labels, settings)
    if "priority" in found:
        usual = (None, None if found["priority"] is None else str(found["priority"]))
        known["priority"], known["remote_priority"] = PRIORITIES.get(found["priority"], usual)
    if "requester_id" in found or "requester" in found:
        known["contact"] = _contact(found, old)
    if "responder_id" in found:
        agent = decimal(found["responder_id"])
        known["assignee"] = (settings.agent(agent) or Person(id=agent, is_agent=True)) if agent else None
    if "group_id" in found:
        known["team"] = _team(decimal(found["group_id"]), settings)
    if "tags" in found:
        known["tags"] = frozenset(str(tag) for tag in found["tags"] or () if not marker.is_tag(tag))
    if "source" in found:
        known["channel"] = CHANNELS.get(found["source"], str(found["source"]))
    remote = found.get("custom_fields") or {}
    if "custom_fields" in found:
        names = settings.custom_fields.items()
        known["custom_fields"] = {ours: remote[theirs] for ours, theirs in names if theirs in remote}
    known["remote_fields"] = {name: found[name] for name in KEPT if found.get(name) is not None} | remote
    known |= {name: moment(found[theirs]) for theirs, name in TIMES.items() if theirs in found}
    stats = found.get("stats") or {}
    known |= {name: moment(stats[theirs]) for theirs, name in STATS.items() if theirs in stats}
    return Ticket(ref=TicketRef(connection.name, ticket_id), **known)


def _status(number: JSON, labels: dict[str, str], settings: "Settings") -> "tuple[str, Any]":
    """Its label, where one is known, and our word for it. A custom status has no word of ours but by the
    settings."""
    named: dict[str, AccountStatus] = settings.all_statuses()
    for label, status in named.items():
        if status.id == number:
            return label, status.means
    label = str(labels.get(str(number), number))
    return label, None


def _team(group: str | None, settings: "Settings") -> str | None:
    return next((name for name, id_ in settings.groups.items() if str(id_) == group), group)


def _contact(found: JSON, old: Ticket | None) -> Contact | None:
    requester = found.get("requester") or {}
    contact_id = decimal(found.get("requester_id") or requester.get("id"))
    if contact_id is None:
        return None
    if not requester:  # an id alone must not make us forget the name and phone of the same person
        stored = old.contact if old else None
        return stored if stored and stored.id == contact_id else Contact(id=contact_id)
    phones = dict.fromkeys(filter(None, (requester.get("phone"), requester.get("mobile"))))
    return Contact(
        id=contact_id, name=requester.get("name"), email=requester.get("email"), phones=tuple(phones),
        company=(found.get("company") or {}).get("name"),
    )  # fmt: skip


# --- what was said on it ------------------------------------------------------------------------------------


def _comment(row: JSON, ticket: JSON, settings: "Settings") -> Comment:
    html = marker.without(row.get("body") or "")
    text = row.get("body_text")
    comment_id = decimal(row["id"])
    if comment_id is None:
        raise ValueError("id")
    return Comment(
        id=comment_id,
        body=marker.without(text).strip() if text else html_to_text(html),
        html=sanitised(html) if html else None,
        author=_author(row, ticket, settings),
        # what is not plainly public stays inside; what was sent on to somebody else is no answer either
        is_private=row.get("private") is not False or row.get("source") == FORWARD,
        created_at=moment(row.get("created_at")),
        attachments=tuple(
            Attachment(
                name=str(file.get("name") or file.get("id")),
                url=file.get("attachment_url"),
                content_type=file.get("content_type"),
            )
            for file in row.get("attachments") or ()
        ),
    )


def _author(row: JSON, ticket: JSON, settings: "Settings") -> Person | None:
    """What an automation said is neither an agent's nor a customer's word, unless it acts as us."""
    author = decimal(row.get("user_id"))
    if author is None:
        return None
    agent = settings.agent(author)
    if (row.get("automation_id") or row.get("auto_response")) and author != settings.agent_id:
        return Person(id=author)
    if agent is not None or row.get("incoming") is not True:
        return agent or Person(id=author, is_agent=True)
    requester = ticket.get("requester") or {}
    if decimal(ticket.get("requester_id") or requester.get("id")) == author:
        phones = dict.fromkeys(filter(None, (requester.get("phone"), requester.get("mobile"))))
        return Person(
            id=author, name=requester.get("name"), email=requester.get("email"), phones=tuple(phones),
            is_agent=False,
        )  # fmt: skip
    name, email = parseaddr(row.get("from_email") or "")
    return Person(id=author, name=name or None, email=email or None, is_agent=False)


def _heard(comments: Iterable[Comment], own_ids: frozenset[str]) -> dict[str, Any]:
    """Who was heard when. What we wrote ourselves is no agent's answer."""
    public = [c for c in comments if not c.is_private and c.author and c.author.id not in own_ids]
    by_agents = [c.created_at for c in public if c.author and c.author.is_agent]
    by_customers = [c.created_at for c in public if c.author and c.author.is_agent is False]
    return {
        "first_agent_comment_at": min(filter(None, by_agents), default=None),
        "last_agent_comment_at": max(filter(None, by_agents), default=None),
        "last_customer_comment_at": max(filter(None, by_customers), default=None),
    }


def moment(value: JSON) -> datetime | None:
    return instant(value) if value else None
