"""What shall be done? Imperative, flat, JSON-able, each with the reason for it."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, TypeAdapter

from .customer import Customer
from .person import Contact
from .record import JSON, Instant, Record
from .ticket import Priority, Status, TicketKind, TicketRef


class Action(Record):
    """One thing to do. `reason` is shown to admins. `id` is the ledger's and is stamped by the core;
    plugins use it as idempotency key or plant it as a marker."""

    kind: str
    id: str = ""
    reason: str

    core: ClassVar[bool] = False
    """True for what the core does itself, inside the deciding transaction."""


class TicketAction(Action):
    """Something done to one ticket at its vendor."""

    ticket: TicketRef


class CreateTicket(Action):
    """Open a ticket. `key` names it before it exists: `TicketRef(connection, "+" + key)` in later actions
    means this ticket. Within a tenant and connection one key creates one ticket, ever. When it is `awaited`,
    `ticket.created` (ours) comes back as soon as it exists, with its real id and its address."""

    kind: Literal["create_ticket"] = "create_ticket"
    connection: str
    key: str
    subject: str
    description: str
    is_html: bool = False
    ticket_kind: TicketKind = TicketKind.TICKET
    contact: Contact | None = None
    team: str | None = None
    assignee: str | None = None
    tags: tuple[str, ...] = ()
    priority: Priority | None = None
    type: str | None = None
    custom_fields: dict[str, JSON] = {}
    awaited: bool = False

    @property
    def ticket(self) -> TicketRef:
        return TicketRef(self.connection, "+" + self.key)


class AddComment(TicketAction):
    kind: Literal["add_comment"] = "add_comment"
    body: str
    is_html: bool = False
    is_private: bool = True


class SetStatus(TicketAction):
    """`remote_status` is the vendor's own label, where the exact one matters; it wins over `status`."""

    kind: Literal["set_status"] = "set_status"
    status: Status
    remote_status: str | None = None


class SetPriority(TicketAction):
    kind: Literal["set_priority"] = "set_priority"
    priority: Priority


class AssignTo(TicketAction):
    """`assignee` and `team` as the vendor identifies them; both None = unassign."""

    kind: Literal["assign_to"] = "assign_to"
    assignee: str | None = None
    team: str | None = None


class AddTags(TicketAction):
    kind: Literal["add_tags"] = "add_tags"
    tags: tuple[str, ...]


class RemoveTags(TicketAction):
    kind: Literal["remove_tags"] = "remove_tags"
    tags: tuple[str, ...]


class SetFields(TicketAction):
    """Custom fields by the tenant's names for them."""

    kind: Literal["set_fields"] = "set_fields"
    fields: dict[str, JSON]


class SaveContact(Action):
    kind: Literal["save_contact"] = "save_contact"
    connection: str
    contact: Contact


class LinkTickets(Action):
    """Tie two things together: `str(TicketRef)`, `str(customer)`, `str(payment)` or any `kind:…` text."""

    kind: Literal["link_tickets"] = "link_tickets"
    left: str
    right: str
    relation: str = "about"

    core: ClassVar[bool] = True


class SaveCustomer(Action):
    """Fields of `customer` that are set replace the stored ones."""

    kind: Literal["save_customer"] = "save_customer"
    customer: Customer

    core: ClassVar[bool] = True


class StartTimer(Action):
    """Come back as `timer.fired` at `at`. Starting a `key` again moves it."""

    kind: Literal["start_timer"] = "start_timer"
    key: str
    at: Instant
    payload: dict[str, JSON] = {}
    ticket: TicketRef | None = None

    core: ClassVar[bool] = True


class CancelTimer(Action):
    kind: Literal["cancel_timer"] = "cancel_timer"
    key: str

    core: ClassVar[bool] = True


class RaiseEvent(Action):
    """Say that something happened; `event` is an event's JSON (`event.model_dump(mode="json")`)."""

    kind: Literal["raise_event"] = "raise_event"
    event: dict[str, JSON]

    core: ClassVar[bool] = True


class Notify(Action):
    """Tell people, over one of the tenant's channels."""

    kind: Literal["notify"] = "notify"
    channel: str
    title: str
    body: str


AnyAction = Annotated[
    CreateTicket | AddComment | SetStatus | SetPriority | AssignTo | AddTags | RemoveTags | SetFields
    | SaveContact | LinkTickets | SaveCustomer | StartTimer | CancelTimer | RaiseEvent | Notify,
    Field(discriminator="kind"),
]  # fmt: skip

_action: TypeAdapter[Any] = TypeAdapter(AnyAction)


def parse_action(data: JSON) -> Action:
    """The action that `action.model_dump(mode="json")` described. Raises pydantic.ValidationError."""
    action: Action = _action.validate_python(data)
    return action
