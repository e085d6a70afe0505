"""What happened? Named in the past tense, `object.verb`, whichever system told us."""

from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import Field, TypeAdapter, field_serializer

from .customer import Appointment, Call, Customer, Deal, FormSubmission, Payment, Usage
from .person import Contact, Person
from .record import JSON, Instant, Record
from .ticket import Comment, Status, Ticket, TicketRef


class Event(Record):
    """Something that happened.

    `id` names the *fact*, not the notice: a vendor that tells the same fact twice, in two shapes or under two
    delivery ids, gives the same `id` both times, and the fact is decided once. It need only be unique within
    the connection. `tenant`, `connection` and `ours` are stamped by the core; a converter leaves them out.
    """

    kind: str
    id: str
    occurred_at: Instant
    tenant: str = ""
    connection: str = ""
    actor: Person | None = None
    ours: bool = False

    about_ticket: ClassVar[bool] = False


class TicketEvent(Event):
    """Something that happened to a ticket. `ticket` is what the notice says of it: perhaps only in part.

    `comments` and `complete` are filled by a converter that was given the collected ticket.
    """

    ticket: Ticket
    comments: tuple[Comment, ...] = ()
    complete: bool = False

    about_ticket: ClassVar[bool] = True


class TicketCreated(TicketEvent):
    kind: Literal["ticket.created"] = "ticket.created"


class TicketUpdated(TicketEvent):
    """Some field changed that has no event of its own; `changed` names it (empty = first full reading)."""

    kind: Literal["ticket.updated"] = "ticket.updated"
    changed: tuple[str, ...] = ()


class TicketStatusChanged(TicketEvent):
    """`old` is None where the vendor does not say and nothing was known."""

    kind: Literal["ticket.status_changed"] = "ticket.status_changed"
    old: Status | None = None
    new: Status | None = None
    old_remote: str | None = None
    new_remote: str | None = None


class TicketAssigned(TicketEvent):
    kind: Literal["ticket.assigned"] = "ticket.assigned"
    assignee: Person | None = None
    team: str | None = None


class TicketTagged(TicketEvent):
    kind: Literal["ticket.tagged"] = "ticket.tagged"
    added: frozenset[str] = frozenset()
    removed: frozenset[str] = frozenset()

    @field_serializer("added", "removed", when_used="json")
    def _sorted(self, tags: frozenset[str]) -> list[str]:
        return sorted(tags)


class TicketMerged(TicketEvent):
    kind: Literal["ticket.merged"] = "ticket.merged"
    into: TicketRef | None = None


class TicketDeleted(TicketEvent):
    kind: Literal["ticket.deleted"] = "ticket.deleted"


class CommentCreated(TicketEvent):
    kind: Literal["comment.created"] = "comment.created"
    comment: Comment


class ContactUpdated(Event):
    kind: Literal["contact.updated"] = "contact.updated"
    contact: Contact


class CustomerEvent(Event):
    """Something that happened to a customer outside any ticket; the core finds the customer by it."""

    customer: Customer | None = None


class PaymentEvent(CustomerEvent):
    payment: Payment


class PaymentConfirmed(PaymentEvent):
    kind: Literal["payment.confirmed"] = "payment.confirmed"


class PaymentOverdue(PaymentEvent):
    kind: Literal["payment.overdue"] = "payment.overdue"


class PaymentReversed(PaymentEvent):
    kind: Literal["payment.reversed"] = "payment.reversed"


class DealEvent(CustomerEvent):
    deal: Deal


class DealWon(DealEvent):
    kind: Literal["deal.won"] = "deal.won"


class DealLost(DealEvent):
    kind: Literal["deal.lost"] = "deal.lost"


class DealUpdated(DealEvent):
    kind: Literal["deal.updated"] = "deal.updated"


class FormRequested(CustomerEvent):
    kind: Literal["form.requested"] = "form.requested"
    form: FormSubmission
    ticket: TicketRef | None = None


class FormSubmitted(CustomerEvent):
    kind: Literal["form.submitted"] = "form.submitted"
    form: FormSubmission
    ticket: TicketRef | None = None


class AppointmentEvent(CustomerEvent):
    appointment: Appointment
    ticket: TicketRef | None = None


class AppointmentScheduled(AppointmentEvent):
    kind: Literal["appointment.scheduled"] = "appointment.scheduled"


class AppointmentRescheduled(AppointmentEvent):
    kind: Literal["appointment.rescheduled"] = "appointment.rescheduled"


class AppointmentCancelled(AppointmentEvent):
    kind: Literal["appointment.cancelled"] = "appointment.cancelled"


class AppointmentContacted(AppointmentEvent):
    kind: Literal["appointment.contacted"] = "appointment.contacted"


class AppointmentFinished(AppointmentEvent):
    kind: Literal["appointment.finished"] = "appointment.finished"


class OnboardingFinished(CustomerEvent):
    kind: Literal["onboarding.finished"] = "onboarding.finished"
    ticket: TicketRef | None = None


class CallEnded(CustomerEvent):
    kind: Literal["call.ended"] = "call.ended"
    call: Call


class CustomerUpdated(CustomerEvent):
    kind: Literal["customer.updated"] = "customer.updated"
    customer: Customer


class UsageReported(CustomerEvent):
    kind: Literal["usage.reported"] = "usage.reported"
    usage: Usage


class TimerFired(Event):
    """A timer that a rule started has come due. `due_at` is when it should have fired."""

    kind: Literal["timer.fired"] = "timer.fired"
    key: str
    rule: str
    due_at: Instant
    payload: dict[str, JSON] = {}
    ticket: TicketRef | None = None


class Unrecognized(Event):
    """Authentic, readable, but of a kind we have no word for: kept, shown, and otherwise left alone."""

    kind: Literal["unrecognized"] = "unrecognized"
    remote_kind: str


AnyEvent = Annotated[
    TicketCreated | TicketUpdated | TicketStatusChanged | TicketAssigned | TicketTagged | TicketMerged
    | TicketDeleted | CommentCreated | ContactUpdated | PaymentConfirmed | PaymentOverdue | PaymentReversed
    | DealWon | DealLost | DealUpdated | FormRequested | FormSubmitted | AppointmentScheduled
    | AppointmentRescheduled | AppointmentCancelled | AppointmentContacted | AppointmentFinished
    | OnboardingFinished | CallEnded | CustomerUpdated | UsageReported | TimerFired | Unrecognized,
    Field(discriminator="kind"),
]  # fmt: skip

_event: TypeAdapter[Any] = TypeAdapter(AnyEvent)

EVENT_KINDS: tuple[str, ...] = tuple(
    sorted(member.model_fields["kind"].default for member in get_args(get_args(AnyEvent)[0]))
)


def parse_event(data: JSON) -> Event:
    """The event that `event.model_dump(mode="json")` described. Raises pydantic.ValidationError."""
    event: Event = _event.validate_python(data)
    return event
