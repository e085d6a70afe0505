"""What do we know about the tickets and customers of one batch? Loaded at once, changed in memory, written at once."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import Connection as Database

from gateway.model.action import Action, CreateTicket, LinkTickets, SaveCustomer
from gateway.model.customer import Customer
from gateway.model.event import Event, TicketDeleted, TicketEvent, TicketMerged
from gateway.model.expected import planned
from gateway.model.facts import Past
from gateway.model.person import Contact
from gateway.model.record import merged
from gateway.model.ticket import Comment, Snapshot, Ticket, TicketRef
from gateway.store import actions, customers, tickets
from gateway.store.tickets import Key


@dataclass(frozen=True, slots=True)
class Known:
    """What we know of one ticket at one moment. `complete` = it was read back whole."""

    ticket: Ticket
    comments: tuple[Comment, ...] = ()
    complete: bool = False
    updated_at: datetime | None = None

    @property
    def snapshot(self) -> Snapshot:
        return Snapshot(ticket=self.ticket, comments=self.comments)


@dataclass(slots=True)
class Told:
    """One event on its way through a batch, with what was known before and after it."""

    event: Event
    before: Known | None = None
    after: Known | None = None


def learned(known: Known | None, event: TicketEvent) -> Known:
    """What we know once `event` is taken in. The newest vendor time wins, whatever the order of arrival; our own word
    has none, so whatever its desk tells of a ticket is newer."""
    told_at = event.ticket.remote_updated_at or (None if event.ours else event.occurred_at)
    ticket = event.ticket
    if isinstance(event, TicketDeleted):
        ticket = ticket.model_copy(update={"deleted": True})
    elif isinstance(event, TicketMerged) and event.into is not None:
        ticket = ticket.model_copy(update={"merged_into": event.into.id})
    news = event.comments
    if (comment := getattr(event, "comment", None)) is not None and comment not in news:
        news = (*news, comment)
    if known is None:
        return Known(ticket, _by_time({c.id: c for c in news}), event.complete, told_at)
    stale = known.updated_at is not None and (told_at is None or told_at < known.updated_at)
    ticket = merged(ticket, known.ticket) if stale else merged(known.ticket, ticket)
    comments = known.comments
    if news and set(news) - set(comments):
        ours = {c.id: c for c in comments}
        theirs = {c.id: c for c in news}
        comments = _by_time(theirs | ours if stale else ours | theirs)
    newest = known.updated_at if stale else told_at
    return Known(ticket, comments, known.complete or event.complete, newest)


def _by_time(comments: dict[str, Comment]) -> tuple[Comment, ...]:
    dated = sorted(
        (c for c in comments.values() if c.created_at is not None), key=lambda c: (c.created_at, c.id)
    )
    return (*(c for c in comments.values() if c.created_at is None), *dated)


@dataclass(frozen=True, slots=True)
class Aside:
    """What a rehearsal must not see: our actions, by id, and links, by (tenant, source, target)."""

    actions: frozenset[str] = frozenset()
    links: frozenset[tuple[str, str, str]] = frozenset()


NOTHING = Aside()


@dataclass(slots=True)
class World:
    """The part of the store that one batch looks at and changes. Every read is one query for the whole batch."""

    db: Database
    aside: Aside = NOTHING
    tickets: dict[Key, Known] = field(default_factory=dict)
    past: dict[Key, list[Past]] = field(default_factory=dict)
    links: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    customers: dict[tuple[str, str], Customer] = field(default_factory=dict)
    customer_ids: dict[tuple[str, str], str] = field(default_factory=dict)
    met: set[tuple[str, str]] = field(default_factory=set)
    _asked: set[Any] = field(default_factory=set)

    def need_tickets(self, keys: Iterable[Key]) -> None:
        new = set(keys) - self._asked
        self._asked |= new
        rows = tickets.load(self.db, new)
        comments = tickets.load_comments(self.db, rows)
        for key, past in actions.load_past(self.db, new).items():
            self.past[key] = [entry for entry in past if entry.action.id not in self.aside.actions]
        for key, row in rows.items():
            self.tickets[key] = Known(
                tickets.parsed(row), comments.get(key, ()), row.complete, row.updated_at or None
            )

    def need_customers(self, names: Iterable[tuple[str, str]]) -> None:
        """By (tenant, key), those that are known."""
        new = set(names) - self._asked
        self._asked |= new
        self.customer_ids.update(customers.find(self.db, new))
        ids = {
            (tenant, self.customer_ids[tenant, key])
            for tenant, key in new
            if (tenant, key) in self.customer_ids
        }
        self._load_customers(ids)

    def need_links(self, names: Iterable[tuple[str, str]]) -> None:
        """All that is tied to these (tenant, name), and to the tickets so found; and those tickets and customers."""
        first = self._follow(names)
        self._follow((tenant, name) for tenant, name in first if name.startswith("ticket:"))
        everything = first | {
            (tenant, other) for tenant, name in first for other in self.links.get((tenant, name), ())
        }
        self.need_tickets((tenant, ref) for tenant, name in everything if (ref := ref_of(name)) is not None)
        self._load_customers(
            (tenant, name.removeprefix("customer:"))
            for tenant, name in everything
            if name.startswith("customer:")
        )

    def _follow(self, names: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
        wanted = {(tenant, name) for tenant, name in names if ("links", tenant, name) not in self._asked}
        self._asked |= {("links", tenant, name) for tenant, name in wanted}
        found = set()
        for tenant, source, target in set(tickets.load_links(self.db, wanted)) - self.aside.links:
            self.tie(tenant, source, target)
            found |= {(tenant, source), (tenant, target)}
        return found - wanted

    def _load_customers(self, ids: Iterable[tuple[str, str]]) -> None:
        new = {(tenant, id_) for tenant, id_ in ids if (tenant, id_) not in self.customers}
        self.customers.update(customers.load(self.db, new))

    def tie(self, tenant: str, left: str, right: str) -> None:
        self.links.setdefault((tenant, left), set()).add(right)
        self.links.setdefault((tenant, right), set()).add(left)

    def survivor(self, tenant: str, ref: TicketRef) -> TicketRef:
        """The ticket that this one was merged into, or into which that one was, as far as they are known here."""
        passed = {ref}
        while (known := self.tickets.get((tenant, ref))) is not None and known.ticket.merged_into:
            ref = TicketRef(ref.connection, known.ticket.merged_into)
            if ref in passed:  # two tickets that say so of each other
                break
            passed.add(ref)
        return ref

    def customer_of(self, tenant: str, person: Customer | Contact | None) -> Customer | None:
        """The stored customer that this person is, by the strongest key that is known."""
        for key in customers.keys_of(person) if person else ():
            if id_ := self.customer_ids.get((tenant, key)):
                return self.customers.get((tenant, id_))
        return None

    def tied(self, tenant: str, seeds: Iterable[str]) -> tuple[frozenset[str], tuple[Ticket, ...]]:
        """Names tied to these within two steps, and the tickets among those within one."""
        near = {other for seed in seeds for other in self.links.get((tenant, seed), ())}
        refs = sorted(ref for name in near if (ref := ref_of(name)) is not None)
        far = {other for ref in refs for other in self.links.get((tenant, str(ref)), ())}
        found = (self.tickets.get((tenant, ref)) for ref in refs)
        return frozenset(near | far), tuple(known.ticket for known in found if known is not None)

    def meet(self, event: Event, told: Customer, namespace: UUID) -> Customer:
        """The stored customer, with what `event` tells of them; a new one if nobody by these keys is known."""
        known = self.customer_of(event.tenant, told)
        news = {
            name: value
            for name, value in told.known().items()
            if value not in (None, (), "") and name != "id"
        }
        if known is None:
            fact = f"customer:{event.tenant}:{event.connection}:{event.id}"
            known = Customer(id=str(uuid5(namespace, fact)))
        customer = known.model_copy(update=news)
        self._keep(event.tenant, customer)
        return customer

    def foresee(self, tenant: str, rule: str, action: Action, now: datetime) -> None:
        """Take in what was decided just now, so that the next event of the batch is judged by it."""
        match action:
            case CreateTicket() if (tenant, action.ticket) not in self.tickets:
                self.tickets[tenant, action.ticket] = Known(planned(action))
            case LinkTickets(left=left, right=right):
                self.tie(tenant, left, right)
            case SaveCustomer(customer=customer):
                known = self.customers.get((tenant, customer.id))
                self._keep(tenant, merged(known, customer) if known else customer)
        ref = getattr(action, "ticket", None)
        if isinstance(ref, TicketRef) and not action.core:
            entry = Past(rule=rule, action=action, state="pending", decided_at=now)
            self.past.setdefault((tenant, ref), []).append(entry)

    def _keep(self, tenant: str, customer: Customer) -> None:
        self.customers[tenant, customer.id] = customer
        self.met.add((tenant, customer.id))
        for key in customers.keys_of(customer):
            self.customer_ids.setdefault((tenant, key), customer.id)


def ref_of(name: str) -> TicketRef | None:
    """The ticket that `str(TicketRef)` named, if it is one."""
    kind, _, rest = name.partition(":")
    connection, _, id_ = rest.partition(":")
    return TicketRef(connection, id_) if kind == "ticket" and id_ else None
