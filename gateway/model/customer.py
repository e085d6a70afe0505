"""Who pays us, for what, and what else happened to them outside a ticket?"""

from datetime import date

from .person import Contact
from .record import JSON, Instant, Record


class Payment(Record):
    """Money that came, or did not. `amount_minor` is in the currency's smallest unit (centavos).

    `id` is the same however many notices speak of this payment. `reference` is the key that the company
    itself gave to the provider (a deal, an order). `connection` is stamped by the core: two providers may count
    their payments alike.
    """

    id: str
    connection: str = ""
    amount_minor: int | None = None
    currency: str = "BRL"
    status: str | None = None
    method: str | None = None
    reference: str | None = None
    plan: str | None = None
    products: tuple[str, ...] = ()
    paid_at: Instant | None = None
    due_on: date | None = None
    url: str | None = None

    def __str__(self) -> str:
        return f"payment:{self.connection}/{self.id}" if self.connection else f"payment:{self.id}"


class Invoice(Record):
    id: str
    amount_minor: int | None = None
    currency: str = "BRL"
    due_on: date | None = None
    paid: bool = False
    url: str | None = None


class Deal(Record):
    id: str
    title: str | None = None
    stage: str | None = None
    amount_minor: int | None = None
    currency: str = "BRL"
    products: tuple[str, ...] = ()
    owner: str | None = None
    url: str | None = None


class Appointment(Record):
    id: str
    starts_at: Instant | None = None
    ends_at: Instant | None = None
    analyst: str | None = None
    title: str | None = None


class FollowUp(Record):
    id: str
    owner: str | None = None
    product: str | None = None
    booked_at: Instant | None = None
    contacted: bool = False
    quoted: bool = False
    tag: str | None = None


class FormSubmission(Record):
    id: str
    form: str | None = None
    answers: dict[str, JSON] = {}


class Call(Record):
    id: str
    direction: str | None = None
    phone: str | None = None
    answered: bool | None = None
    seconds: int | None = None


class Usage(Record):
    feature: str
    count: int
    product: str | None = None
    period_end: Instant | None = None


class Customer(Record):
    """The paying client, across systems. `id` is ours; found again by document, e-mail or phone."""

    id: str = ""
    name: str | None = None
    document: str | None = None
    email: str | None = None
    phones: tuple[str, ...] = ()
    plan: str | None = None
    segment: str | None = None
    mrr_minor: int | None = None
    employees: int | None = None
    products: tuple[str, ...] = ()
    stage: str | None = None
    owner: str | None = None
    city: str | None = None
    invoices: tuple[Invoice, ...] = ()
    appointments: tuple[Appointment, ...] = ()
    follow_ups: tuple[FollowUp, ...] = ()
    usage: tuple[Usage, ...] = ()
    custom_fields: dict[str, JSON] = {}

    def __str__(self) -> str:
        return f"customer:{self.id}"

    def as_contact(self) -> Contact:
        """The same person as a ticket desk would file them."""
        return Contact(name=self.name, email=self.email, phones=self.phones, document=self.document)
