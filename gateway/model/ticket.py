"""What is a ticket, a conversation or a task, whichever desk it lives at?"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pydantic import field_serializer

from .person import Contact, Person
from .record import JSON, Instant, Record


@dataclass(frozen=True, slots=True, order=True)
class TicketRef:
    """Names a ticket everywhere: which connection of the tenant, and its id there.

    An id that starts with `+` names a ticket that one of our own actions is still to create: the rest is
    that `CreateTicket`'s `key`. The core puts the real id in its place as soon as the vendor gives one.
    """

    connection: str
    id: str

    def __str__(self) -> str:
        return f"ticket:{self.connection}:{self.id}"

    @property
    def is_planned(self) -> bool:
        return self.id.startswith("+")


@dataclass(frozen=True, slots=True, eq=False)
class ChangedRef(TicketRef):
    """A ticket that its vendor lists as changed, and when that was: else the same as the plain TicketRef, and equal to
    it."""

    changed_at: datetime

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TicketRef):
            return NotImplemented
        return (self.connection, self.id) == (other.connection, other.id)

    def __hash__(self) -> int:
        return hash((self.connection, self.id))


class Status(StrEnum):
    NEW = "new"
    OPEN = "open"
    PENDING = "pending"  # waits for the customer
    ON_HOLD = "on_hold"  # waits for us or a third party
    RESOLVED = "resolved"
    CLOSED = "closed"
    CANCELED = "canceled"

    @property
    def is_over(self) -> bool:
        return self in {Status.RESOLVED, Status.CLOSED, Status.CANCELED}


class Priority(StrEnum):
    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"
    URGENT = "urgent"


class TicketKind(StrEnum):
    TICKET = "ticket"
    CONVERSATION = "conversation"
    TASK = "task"


class Attachment(Record):
    name: str
    url: str | None = None
    content_type: str | None = None


class Comment(Record):
    """A reply or a note. `body` is plain text; `html` is what the vendor showed, sanitised, if it had any."""

    id: str
    body: str
    html: str | None = None
    author: Person | None = None
    is_private: bool = False
    created_at: Instant | None = None
    attachments: tuple[Attachment, ...] = ()


class Ticket(Record):
    """A ticket as far as it is known: a field that was not set is unknown, not empty.

    `status`, `priority` are our words, `remote_*` the vendor's own. `custom_fields` are named by the tenant's
    mapping, `remote_fields` by the vendor. `assignee` and `team` are what the vendor identifies them by.
    """

    ref: TicketRef
    kind: TicketKind = TicketKind.TICKET
    subject: str | None = None
    description: str | None = None
    status: Status | None = None
    remote_status: str | None = None
    priority: Priority | None = None
    remote_priority: str | None = None
    type: str | None = None
    contact: Contact | None = None
    assignee: Person | None = None
    team: str | None = None
    tags: frozenset[str] = frozenset()
    custom_fields: dict[str, JSON] = {}
    remote_fields: dict[str, JSON] = {}
    channel: str | None = None
    url: str | None = None
    remote_created_at: Instant | None = None
    remote_updated_at: Instant | None = None
    resolved_at: Instant | None = None
    closed_at: Instant | None = None
    due_at: Instant | None = None
    waiting_since: Instant | None = None
    snoozed_until: Instant | None = None
    merged_into: str | None = None
    first_agent_comment_at: Instant | None = None
    last_agent_comment_at: Instant | None = None
    last_customer_comment_at: Instant | None = None
    deleted: bool = False

    @field_serializer("tags", when_used="json")
    def _sorted(self, tags: frozenset[str]) -> list[str]:
        return sorted(tags)

    @property
    def is_open(self) -> bool:
        return not self.deleted and not (self.status is not None and self.status.is_over)


class Snapshot(Record):
    """A ticket with everything said on it, as it was read back from its desk at one moment."""

    ticket: Ticket
    comments: tuple[Comment, ...] = ()
