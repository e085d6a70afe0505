"""What happened, in our words, when Zendesk tells of an event?

https://developer.zendesk.com/api-reference/webhooks/event-types/ticket-events/
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from gateway.api import (
    JSON,
    Comment,
    CommentCreated,
    Connection,
    Contact,
    ContactUpdated,
    Event,
    Person,
    Snapshot,
    Ticket,
    TicketAssigned,
    TicketCreated,
    TicketDeleted,
    TicketEvent,
    TicketMerged,
    TicketRef,
    TicketStatusChanged,
    TicketTagged,
    TicketUpdated,
    UnreadableWebhook,
    Unrecognized,
    Webhook,
    changes,
)

from .accept import decimal, delivery_id, is_envelope, readable, ticket_id
from .collect import (
    ARCHIVED,
    GONE,
    STATUSES,
    field_names,
    instant,
    is_staff,
    lower,
    person_of,
    read_snapshot,
    read_ticket,
    tags_of,
    text,
)

if TYPE_CHECKING:
    from . import Settings

PREFIX = "zen:event-type:"

# Changes without an event of their own: what happened -> the field of ours, or Zendesk's name for it.
UPDATES = {
    "attachment_linked_to_comment": "comments",
    "attachment_redacted_from_comment": "comments",
    "brand_changed": "brand",
    "comment_made_private": "comments",
    "comment_redacted": "comments",
    "csat_received": "csat",
    "csat_requested": "csat",
    "custom_status_changed": "custom_status",
    "description_changed": "description",
    "email_ccs_changed": "email_ccs",
    "external_id_changed": "external_id",
    "followers_changed": "followers",
    "form_changed": "form",
    "next_sla_breach_changed": "next_sla_breach",
    "ola_policy_changed": "ola_policy",
    "organization_changed": "organization",
    "priority_changed": "priority",
    "problem_link_changed": "problem",
    "requester_changed": "contact",
    "schedule_changed": "schedule",
    "sla_policy_changed": "sla_policy",
    "subject_changed": "subject",
    "submitter_changed": "submitter",
    "task_due_at_changed": "due_at",
    "type_changed": "type",
    "undeleted": "deleted",
}

# Where an event's `current` belongs in a ticket: the change is news even where the envelope's detail is not.
CURRENT = {
    "agent_assignment_changed": "assignee_id",
    "description_changed": "description",
    "group_assignment_changed": "group_id",
    "priority_changed": "priority",
    "requester_changed": "requester_id",
    "status_changed": "status",
    "subject_changed": "subject",
    "task_due_at_changed": "due_at",
    "type_changed": "type",
}

CONTACT_CHANGES = {
    "created", "details_changed", "identity_changed", "identity_created", "identity_deleted", "name_changed",
}  # fmt: skip

E = TypeVar("E", bound=TicketEvent)


def events(
    webhook: Webhook, collected: JSON | None, before: Snapshot | None, connection: "Connection[Settings]"
) -> list[Event]:
    """Raises UnreadableWebhook for a body that is neither an envelope nor names a `ticket_id`."""
    try:
        return list(_events(webhook, collected, before, connection))
    except KeyError as missing:
        raise UnreadableWebhook(f"Zendesk: {missing} is missing from what was sent") from missing
    except (AttributeError, OverflowError, TypeError, ValueError) as error:
        raise UnreadableWebhook(f"Zendesk: not a shape it ever sends ({type(error).__name__})") from error


def _events(
    webhook: Webhook, collected: JSON | None, before: Snapshot | None, connection: "Connection[Settings]"
) -> Iterable[Event]:
    body = readable(webhook.body)
    users = {str(user["id"]): user for user in (collected or {}).get("users") or ()}
    snapshot = read_snapshot(collected, before, connection) if collected else None
    if is_envelope(body):
        return _told(webhook, body, users, snapshot, before, connection)

    subject = ticket_id(body)
    actor = _actor(body.get("actor_id"), users)
    if snapshot is not None:
        return changes(before, snapshot, seen_at=webhook.received_at, actor=actor)
    if subject is None:
        raise UnreadableWebhook("Zendesk: neither an event envelope nor a trigger's JSON with a ticket_id")
    # The ticket could not be read back, and a trigger's own values are display text: only the hint remains.
    hint = TicketUpdated(
        id=f"hint@{delivery_id(webhook, body)}:{subject}",
        occurred_at=webhook.received_at,
        actor=actor,
        ticket=Ticket(ref=TicketRef(connection.name, subject)),
    )
    return [hint]


# --- an event envelope --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Notice:
    """One ticket event, read: what was done to which ticket, and what its events have in common.

    `ticket` is what the envelope says of the ticket, or all of it where it was read back (`complete`).
    """

    id: str
    action: str
    change: Mapping[str, Any]
    at: datetime
    actor: Person | None
    told: Ticket
    snapshot: Snapshot | None
    before: Ticket | None
    fields: Mapping[str, str]
    own_ids: frozenset[str]

    @property
    def ticket_id(self) -> str:
        return self.told.ref.id

    def event(
        self, kind: type[E], fact: str | None = None, told: Mapping[str, Any] | None = None, **more: Any
    ) -> E:
        """`fact` names what happened where other notices tell it too; `told` fills gaps in the ticket."""
        ticket = self.snapshot.ticket if self.snapshot else self.told
        return kind(
            **{
                "id": fact or self.id,
                "occurred_at": self.at,
                "actor": self.actor,
                "ticket": Ticket(**{**(told or {}), **ticket.known()}),
                **({"comments": self.snapshot.comments, "complete": True} if self.snapshot else {}),
                **more,
            }
        )


def _told(
    webhook: Webhook, body: Mapping[str, Any], users: Mapping[str, Any], snapshot: Snapshot | None,
    before: Snapshot | None, connection: "Connection[Settings]",
) -> Iterable[Event]:  # fmt: skip
    kind = body["type"].removeprefix(PREFIX)
    at = instant(body["time"]) if body.get("time") else webhook.received_at
    detail, change = body.get("detail") or {}, body.get("event") or {}
    actor = _actor(detail.get("actor_id"), users)
    resource, _, action = kind.partition(".")
    if resource == "ticket" and (action in UPDATES or action in OWN_EVENTS):
        subject = ticket_id(dict(body))
        if subject is None:
            raise KeyError("subject")
        ref = TicketRef(connection.name, subject)
        old = before.ticket if before else None
        now = {CURRENT[action]: change["current"]} if action in CURRENT and "current" in change else {}
        told = read_ticket({**detail, **now}, ref, users, old, connection.settings)
        fields = field_names(connection.settings)
        own_ids = connection.settings.own_ids()
        notice = Notice(body["id"], action, change, at, actor, told, snapshot, old, fields, own_ids)
        return OWN_EVENTS.get(action, _updated)(notice)
    if resource == "user" and action in CONTACT_CHANGES and not is_staff(detail):
        contact = _contact(detail, change, action)
        return [ContactUpdated(id=body["id"], occurred_at=at, actor=actor, contact=contact)]
    return [Unrecognized(id=body["id"], occurred_at=at, actor=actor, remote_kind=kind)]


def _updated(notice: Notice) -> list[Event]:
    told = {"deleted": False} if notice.action == "undeleted" else {}
    return [notice.event(TicketUpdated, told=told, changed=(UPDATES[notice.action],))]


def _created(notice: Notice) -> list[Event]:
    """Whether the first comment comes as an event of its own too is not documented: it counts once."""
    at = notice.told.remote_created_at or notice.at
    created: list[Event] = [notice.event(TicketCreated, f"created:{notice.ticket_id}", occurred_at=at)]
    first = notice.snapshot.comments[:1] if notice.snapshot else ()
    return created + [_commented(notice, comment) for comment in first]


def _comment_added(notice: Notice) -> list[Event]:
    said = notice.change["comment"]
    comment_id = decimal(said["id"])
    if comment_id is None:
        raise KeyError("comment.id")
    for comment in notice.snapshot.comments if notice.snapshot else ():
        if comment.id == comment_id:
            return [_commented(notice, comment)]
    comment = Comment(
        id=comment_id,
        body=said.get("body") or "",
        author=_author(said.get("author") or {}) or notice.actor,
        is_private=said.get("is_public") is not True,
        created_at=notice.at,
    )
    return [_commented(notice, comment)]


def _commented(notice: Notice, comment: Comment) -> CommentCreated:
    return notice.event(
        CommentCreated,
        f"comment@{comment.id}:{notice.ticket_id}",
        told=_heard(comment, notice),
        occurred_at=comment.created_at or notice.at,
        actor=comment.author or notice.actor,
        comment=comment,
    )


def _heard(comment: Comment, notice: Notice) -> dict[str, Any]:
    """Who spoke last, as one more comment tells it; who spoke first only where all earlier ones are known."""
    author = comment.author
    if comment.is_private or author is None or author.is_agent is None or author.id in notice.own_ids:
        return {}
    if not author.is_agent:
        return {"last_customer_comment_at": comment.created_at}
    known = notice.before.known() if notice.before else {}
    first = known.get("first_agent_comment_at", comment) is None
    return {
        "last_agent_comment_at": comment.created_at,
        **({"first_agent_comment_at": comment.created_at} if first else {}),
    }


def _status_changed(notice: Notice) -> list[Event]:
    old, new = (lower(notice.change.get(side)) for side in ("previous", "current"))
    if new in GONE:
        return _deleted(notice)
    if new == ARCHIVED:  # a closed ticket that was put away: nothing that a rule would call a new status
        return [notice.event(TicketUpdated, changed=(ARCHIVED,))]
    moments = {"solved": "resolved_at", "closed": "closed_at"}
    changed = notice.event(
        TicketStatusChanged,
        told={moments[new]: notice.at} if new in moments else {},
        old=STATUSES.get(old or ""),
        new=STATUSES.get(new or ""),
        old_remote=old,
        new_remote=new,
    )
    return [changed]


def _assigned(notice: Notice) -> list[Event]:
    return [notice.event(TicketAssigned, assignee=notice.told.assignee, team=notice.told.team)]


def _tagged(notice: Notice) -> list[Event]:
    added, removed = tags_of(notice.change.get("tags_added")), tags_of(notice.change.get("tags_removed"))
    old = notice.before.known() if notice.before else {}
    told = {"tags": (old["tags"] - removed) | added} if "tags" in old else {}
    return [notice.event(TicketTagged, told=told, added=added, removed=removed)]


def _custom_field_changed(notice: Notice) -> list[Event]:
    field_id = decimal(notice.change["custom_field"]["id"])
    if field_id is None:
        raise KeyError("custom_field.id")
    current = notice.change.get("current")
    if isinstance(current, dict):  # a lookup field tells the id of what it points at
        current = current.get("value", current.get("id"))
    old = notice.before.known() if notice.before else {}
    told = {"remote_fields": {**old.get("remote_fields", {}), field_id: current}}
    if field_id in notice.fields:
        told["custom_fields"] = {**old.get("custom_fields", {}), notice.fields[field_id]: current}
    return [notice.event(TicketUpdated, told=told, changed=("custom_fields",))]


def _merged(notice: Notice) -> list[Event]:
    target = decimal(notice.change["target_ticket_id"])
    if target is None:
        raise KeyError("target_ticket_id")
    into = TicketRef(notice.told.ref.connection, target)
    fact = f"merged@{target}:{notice.ticket_id}"
    return [notice.event(TicketMerged, fact, told={"merged_into": target}, into=into)]


def _deleted(notice: Notice) -> list[Event]:
    gone = notice.event(TicketDeleted, f"deleted:{notice.ticket_id}")
    return [gone.model_copy(update={"ticket": gone.ticket.model_copy(update={"deleted": True})})]


OWN_EVENTS: dict[str, Callable[[Notice], list[Event]]] = {
    "agent_assignment_changed": _assigned,
    "comment_added": _comment_added,
    "created": _created,
    "custom_field_changed": _custom_field_changed,
    "group_assignment_changed": _assigned,
    "marked_as_spam": _deleted,
    "merged": _merged,
    "permanently_deleted": _deleted,
    "soft_deleted": _deleted,
    "status_changed": _status_changed,
    "tags_changed": _tagged,
}


# --- the people in it --------------------------------------------------------------------------------------


def _contact(detail: Mapping[str, Any], change: Mapping[str, Any], action: str) -> Contact:
    """A user event has "" for an e-mail that is not there, and no phone but in an identity."""
    known: dict[str, Any] = {"id": decimal(detail["id"])}
    known |= {key: detail[key] for key in ("name", "email") if detail.get(key)}
    if action == "name_changed" and change.get("current"):
        known["name"] = change["current"]
    identity = change.get("identity") or {}
    if action != "identity_deleted" and identity.get("type") == "phone_number" and identity.get("value"):
        known["phones"] = (identity["value"],)
    return Contact(**known)


def _author(author: Mapping[str, Any]) -> Person | None:
    author_id, staff = decimal(author.get("id")), author.get("is_staff")
    if author_id is None:
        return None
    return Person(
        id=author_id, name=text(author.get("name")), is_agent=staff if isinstance(staff, bool) else None
    )


def _actor(actor_id: object, users: Mapping[str, Any]) -> Person | None:
    """Zendesk writes null, 0 or "" for nobody; its own doings have the id -1, which is nobody either."""
    known = decimal(actor_id)
    if known is None or known == "0":
        return None
    return person_of(known, users) or Person(id=known)
