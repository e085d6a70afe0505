"""What may a rule know when it is asked, and what may it answer?"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from gateway.calendar import Calendar

from .action import Action
from .customer import Customer
from .errors import CollectFirst
from .event import Event
from .person import Contact
from .record import Instant, Record
from .reference import Reference
from .said import said
from .scope import Scope, folded
from .template import render
from .ticket import Comment, Ticket, TicketRef
from .transcript import transcribed


class Tenant(Record):
    """One company. `timezone` is an IANA name, `locale` is `pt-BR` or `en`."""

    id: str
    name: str
    locale: str = "pt-BR"
    timezone: str = "America/Sao_Paulo"


class Past(Record):
    """An action that we decided on the same ticket before, and what became of it. It is `uncertain` when its answer
    was lost: then it may have been carried out, whatever its state."""

    rule: str
    action: Action
    state: str
    uncertain: bool = False
    decided_at: Instant
    finished_at: Instant | None = None
    remote_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything that a rule may look at. Rules get facts, never services: so they stay pure.

    `ticket` is the ticket *as it will be* once all that we already decided is carried out, so a rule that looks
    before it acts never acts twice. `before` is what was known before this event. `linked` are the tickets tied
    to this ticket or to the customer. `past` are our own earlier actions on this ticket, oldest first.
    `connections` maps the tenant's connections to their vendors, `mapped_fields` to the custom fields they have.
    `find_references` is what `references_in` asks, `spell_tag` what `tagged` asks. `linked_comments` and
    `linked_past` are to the linked tickets what `comments` and `past` are to this one.
    """

    tenant: Tenant
    now: datetime
    settings: Any = None
    ticket: Ticket | None = None
    before: Ticket | None = None
    comments: tuple[Comment, ...] = ()
    complete: bool = False
    contact: Contact | None = None
    customer: Customer | None = None
    linked: tuple[Ticket, ...] = ()
    links: frozenset[str] = frozenset()
    past: tuple[Past, ...] = ()
    calendar: Calendar = field(default_factory=Calendar)
    connections: Mapping[str, str] = field(default_factory=dict)
    mapped_fields: Mapping[str, frozenset[str]] = field(default_factory=dict)
    collectable: bool = True
    find_references: Callable[[str], Sequence[Reference]] | None = None
    spell_tag: Callable[[str, str], str] | None = None
    linked_comments: Mapping[TicketRef, tuple[Comment, ...]] = field(default_factory=dict)
    linked_past: Mapping[TicketRef, tuple[Past, ...]] = field(default_factory=dict)

    def full_ticket(self) -> Ticket:
        """The ticket with every field and all its comments known.

        Raises CollectFirst when it is known only in part; the core then reads it back and asks again.
        """
        if self.ticket is None:
            raise LookupError("this event is not about a ticket")
        if not self.complete and self.collectable and not self.ticket.ref.is_planned:
            raise CollectFirst(self.ticket.ref)
        return self.ticket

    def references_in(self, text: str | None) -> tuple[Reference, ...]:
        """What the links in `text` point at, in any of the tenant's connections; each once, in order."""
        if not text or self.find_references is None:
            return ()
        return tuple(dict.fromkeys(self.find_references(text)))

    def outside(self, scope: Scope, ticket: Ticket) -> str | None:
        """Why the ticket is out of a rule's scope, in words for an admin; None when the rule may look at it."""
        return scope.admits(
            ticket, locale=self.tenant.locale, partial=self.collectable and not self.complete,
            spell=lambda tag: self.spelled(ticket.ref.connection, tag),
        )  # fmt: skip

    def spelled(self, connection: str, tag: str) -> str:
        """The tag as it is kept at this connection's desk."""
        return self.spell_tag(connection, tag) if self.spell_tag else tag

    def tagged(self, ticket: Ticket, tag: str) -> str | None:
        """The tag as the ticket has it, if it has it: as its desk spells it, compared without accents and case."""
        wanted = folded(self.spelled(ticket.ref.connection, tag))
        return next((worn for worn in sorted(ticket.tags) if folded(worn) == wanted), None)

    def said(self, event: Event | None = None) -> tuple[Comment, ...]:
        """What people wrote on the ticket, in order, with the comment of `event`; not what we wrote ourselves."""
        return said(self.comments, self.past, event)

    def said_on(self, linked: TicketRef) -> tuple[Comment, ...]:
        """The same of a linked ticket, as far as it is known."""
        return said(self.linked_comments.get(linked, ()), self.linked_past.get(linked, ()))

    def transcribed(self, comment: Comment) -> str:
        """A message as it is copied to another desk, in the tenant's language and time zone."""
        return transcribed(comment, self.calendar, self.tenant.locale)

    def render(self, template: str, *, is_html: bool = False, **context: Any) -> str:
        """Fill a message template from the settings, in the tenant's locale and time zone."""
        return render(
            template, is_html=is_html, tenant=self.tenant, ticket=self.ticket, customer=self.customer,
            now=self.calendar.local(self.now), **context,
        )  # fmt: skip


class Skip(Record):
    """The rule looked and did nothing; `reason` says why, in words an admin understands."""

    reason: str


class RuleInfo(Record):
    """How a rule presents itself. Titles and descriptions by locale (`pt-BR` and `en`)."""

    title: dict[str, str]
    description: dict[str, str]
    enabled: bool = False
    hears_ours: bool = False


class RuleSettings(BaseModel):
    """Parent of every rule's `Settings`: unknown settings are refused when saved."""

    model_config = {"frozen": True, "extra": "forbid"}


class Decision(Record):
    """What one rule answered to one event."""

    rule: str
    actions: tuple[Action, ...] = ()
    skipped: tuple[str, ...] = ()
    error: str | None = None
