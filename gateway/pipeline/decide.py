"""What follows from what happened? Facts, rules, decisions and outbox rows, in one transaction."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID, uuid5

import structlog
from sqlalchemy import Connection as Database
from sqlalchemy import Row
from sqlalchemy.exc import DBAPIError

from gateway.model.action import Action
from gateway.model.customer import Customer
from gateway.model.echo import is_ours
from gateway.model.errors import CollectFirst, GatewayError
from gateway.model.event import CustomerEvent, Event, PaymentEvent, TicketEvent, Unrecognized
from gateway.model.expected import expected
from gateway.model.facts import Decision, Facts, Past, Skip
from gateway.model.ticket import TicketRef
from gateway.registry import of_tenant, rule_name
from gateway.runtime import Runtime
from gateway.store import deliveries, events, tickets
from gateway.store.customers import keys_of
from gateway.store.database import is_away
from gateway.store.deliveries import Lane
from gateway.store.reconciliations import ORIGIN
from gateway.store.tenants import Company, Configuration
from gateway.timelimit import Stuck, thinking

from .caught_up import CaughtUp, with_overtaken
from .convert import convert
from .identity import Identity, names_of
from .ledger import Ledger, targets
from .references import finder
from .tags import Spell, spelled, speller
from .world import NOTHING, Aside, Told, World, learned

log = structlog.get_logger(__name__)

FACTS = UUID("5e1d0a52-7a0e-5c0f-9c8e-2f6f2c6f9a01")
"""Namespace of event ids (tenant, connection, fact) and, by those, of action ids."""

PATIENCE = 5.0
"""Seconds that a rule may think about one event; it does no I/O, so it needs milliseconds."""


@dataclass(slots=True)
class Outcome:
    """What a batch leads to: jobs for the next stages, by (tenant, connection)."""

    decided: int = 0
    parked: int = 0
    execute: dict[tuple[str, str], list[UUID]] = field(default_factory=dict)
    collect: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    raised: list[int] = field(default_factory=list)

    def add(self, other: "Outcome") -> None:
        self.decided += other.decided
        self.parked += other.parked
        self.raised += other.raised
        for name, actions in other.execute.items():
            self.execute.setdefault(name, []).extend(actions)
        for name, unread in other.collect.items():
            self.collect.setdefault(name, []).extend(unread)


def decide(runtime: Runtime, ids: Sequence[int]) -> Outcome:
    """Decide these deliveries and all that waits in front of them, in order per ticket.

    The batch shares one transaction. If the store refuses something in it, each delivery is tried again behind
    a savepoint of its own, and only the one at fault is parked.
    """
    with runtime.db.begin() as db:
        configuration = runtime.directory.current(db)
        lanes, loose = deliveries.lanes_of(db, ids)
        tickets.lock(db, (f"lane:{tenant}:{connection}:{subject}" for tenant, connection, subject in lanes))
        rows = deliveries.take(db, lanes, loose)
        if not rows:
            return Outcome()
        try:
            with db.begin_nested():
                return Batch(runtime, db, configuration).run(rows)
        except Exception as error:
            if is_away(error):
                raise
            log.warning("batch_split", deliveries=len(rows), exc_info=True)
        return _one_by_one(runtime, db, configuration, rows)


def _one_by_one(
    runtime: Runtime, db: Database, configuration: Configuration, rows: Sequence[Row[Any]]
) -> Outcome:
    outcome = Outcome()
    held: set[Lane] = set()
    for row in rows:
        if _lane(row) in held:
            continue
        try:
            with db.begin_nested():
                part = Batch(runtime, db, configuration).run([row])
        except Exception as error:
            if is_away(error):
                raise
            log.exception("delivery_parked", delivery=row.id)
            deliveries.park(db, [row.id], _plain(error), runtime.clock())
            part = Outcome(parked=1)
        if part.collect:
            held.add(_lane(row))
        outcome.add(part)
    return outcome


def rehearse(
    runtime: Runtime, db: Database, configuration: Configuration, row: Row[Any],
    remembered: Sequence[Event] = (), aside: Aside = NOTHING,
) -> list[tuple[Event, list[Decision]]]:  # fmt: skip
    """What this delivery would lead to by `configuration` and the present facts. Reads only, writes nothing.

    `remembered` are the events that it told when it was decided: what the ticket took in then is no news to a
    converter now. Raises GatewayError when it cannot be converted, CollectFirst when a rule needs more.
    """
    return Batch(runtime, db, configuration, aside).rehearse(row, remembered)


def _plain(error: Exception) -> str:
    cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
    return f"{type(cause).__name__}: {str(cause).splitlines()[0] if str(cause) else 'no message'}"


class Batch:
    """Deliveries decided together: one world, one write."""

    def __init__(
        self, runtime: Runtime, db: Database, configuration: Configuration, aside: Aside = NOTHING
    ) -> None:
        self.runtime = runtime
        self.db = db
        self.configuration = configuration
        self.now = runtime.clock()
        self.world = World(db, aside)
        self.ledger = Ledger(self.now, runtime.settings.action_budget)
        self.outcome = Outcome()
        self._caught_up, self._identity = CaughtUp(), Identity()
        self._held: set[Lane] = set()
        self._spellers: dict[str, Spell] = {}

    def run(self, rows: Sequence[Row[Any]]) -> Outcome:
        self.world.need_tickets(
            (row.tenant, TicketRef(row.connection, row.subject)) for row in rows if row.subject
        )
        told = {row.id: found for row in rows if (found := self._converted(row)) is not None}
        self._meet_customers([item for items in told.values() for item in items])
        self._gather([item for items in told.values() for item in items])
        known = self._caught_up.told(self.db, told, event_id) | self._already_known(told)
        self._held.clear()
        for row in rows:
            if row.id in told and _lane(row) not in self._held:
                self._decide(row, told[row.id], known)
        self.ledger.flush(self.db, self.world)
        self._identity.flush(self.db, self.world, self.now)
        self._caught_up.flush(self.db, self.now)
        self.outcome.execute = self.ledger.sendable
        self.outcome.raised = self.ledger.raised
        return self.outcome

    def rehearse(self, row: Row[Any], remembered: Sequence[Event]) -> list[tuple[Event, list[Decision]]]:
        """The same questions as in `run`, of one delivery, whether its facts are known or not."""
        items = self._taken_in(self._retold(row, remembered))
        self._meet_customers(items)
        self._gather(items)
        company = self.configuration.companies.get(row.tenant)
        answers = [(item, self._ask(row, item, company) if company else []) for item in items]
        return [(item.event, decisions) for item, decisions in answers]

    def _retold(self, row: Row[Any], remembered: Sequence[Event]) -> list[Event]:
        """Converted anew; but a reading, which tells by what it changed, only as it was told then."""
        if row.collected is not None and remembered:
            return list(remembered)
        ref = TicketRef(row.connection, row.subject or "")
        self.world.need_tickets([(row.tenant, ref)] if row.subject else [])
        known = self.world.tickets.get((row.tenant, ref))
        connection = self.configuration.connection(row.tenant, row.connection)
        found = convert(self.runtime.registry, row, known.snapshot if known else None, connection)
        facts = {event.id for event in found}
        return [*(event for event in remembered if event.id not in facts), *found]

    # --- what was said ---

    def _converted(self, row: Row[Any]) -> list[Told] | None:
        """The delivery's events, applied in order; None = not now, and nothing behind it in its lane either."""
        lane = _lane(row)
        if lane in self._held:
            return None
        if row.reading == "wanted":
            self._held.add(lane)
            self.outcome.collect.setdefault((row.tenant, row.connection), []).append(row.id)
            return None
        if row.reading == "shared":
            return []
        key = (row.tenant, TicketRef(row.connection, row.subject or ""))
        known = self.world.tickets.get(key)
        connection = self.configuration.connection(row.tenant, row.connection)
        try:
            found = convert(self.runtime.registry, row, known.snapshot if known else None, connection)
            if row.origin == ORIGIN and known:
                found = with_overtaken(found, convert(self.runtime.registry, row, None, connection))
        except GatewayError as error:
            deliveries.park(self.db, [row.id], str(error), self.now)
            self.outcome.parked += 1
            return None
        items = self._taken_in(found)
        self._caught_up.note(row, items)
        return items

    def _taken_in(self, found: Sequence[Event]) -> list[Told]:
        self.world.need_tickets((event.tenant, ref) for event in found if (ref := _ref(event)) is not None)
        return [self._applied(event) for event in found]

    def _applied(self, event: Event) -> Told:
        ref = _ref(event)
        known = self.world.tickets.get((event.tenant, ref)) if ref else None
        if not isinstance(event, TicketEvent) or ref is None:
            return Told(event, known, known)
        after = self.world.tickets[event.tenant, ref] = learned(known, event)
        return Told(event, known, after)

    def _meet_customers(self, items: Sequence[Told]) -> None:
        """Find the customers that the events speak of; held until the end, so that no two batches create one twice."""
        people = {
            (item.event.tenant, key)
            for item in items
            if isinstance(item.event, CustomerEvent) and item.event.customer
            for key in keys_of(item.event.customer)
        }
        payments = {
            f"payment:{item.event.tenant}:{item.event.payment.id}"
            for item in items
            if isinstance(item.event, PaymentEvent)
        }
        keys = people | self._identity.note(items)
        tickets.lock(self.db, payments | {f"customer:{tenant}:{key}" for tenant, key in keys})
        self.world.need_customers(people)

    def _gather(self, items: Sequence[Told]) -> None:
        """Everything that rules may be told about these events, read by a handful of queries."""
        contacts = {
            (item.event.tenant, key)
            for item in items
            if item.after is not None and item.after.ticket.contact is not None
            for key in keys_of(item.after.ticket.contact)
        }
        self.world.need_customers(contacts)
        self.world.need_links((item.event.tenant, name) for item in items for name in self._seeds(item))

    def _already_known(self, told: dict[int, list[Told]]) -> dict[UUID, int]:
        return events.known(self.db, {event_id(item.event) for items in told.values() for item in items})

    # --- what follows ---

    def _decide(self, row: Row[Any], items: Sequence[Told], known: dict[UUID, int]) -> None:
        company = self.configuration.companies.get(row.tenant)
        replayed = bool((row.notes or {}).get("replay"))
        notes: dict[str, Any] = {"replay": True} if replayed else {}
        if row.reading == "shared":
            notes["said"] = "answered by a later reading of the same ticket"
        decided: list[tuple[Told, UUID, list[Decision]]] = []
        for item in items:
            id_ = event_id(item.event)
            earlier = known.get(id_)
            if earlier is not None and not replayed:
                notes.setdefault("known", []).append({"fact": item.event.id, "delivery": earlier})
                continue
            try:
                decisions = self._ask(row, item, company) if company else []
            except CollectFirst:
                self._wait_for_reading(row)
                return
            known.setdefault(id_, row.id)
            decided.append((item, id_, decisions))
        self.world.need_tickets(targets(row.tenant, (d for _, _, decisions in decided for d in decisions)))
        for item, id_, decisions in decided:
            vendors = company.vendors if company else {}
            self.ledger.record(row, item.event, id_, decisions, vendors, self.world)
        for item in items:
            if item.after is not None and isinstance(item.event, TicketEvent):
                self.ledger.keep(item.event.tenant, item.before, item.after)
        if not items and "said" not in notes:
            notes["said"] = "nothing that we did not know"
        self._caught_up.count(row, (item for item, _, _ in decided))
        self.ledger.decided(row.id, notes)
        self.outcome.decided += 1

    def _wait_for_reading(self, row: Row[Any]) -> None:
        """A rule needs the whole ticket: this delivery and those behind it wait until it was read."""
        deliveries.want_reading(self.db, [row.id])
        self._held.add(_lane(row))
        self.outcome.collect.setdefault((row.tenant, row.connection), []).append(row.id)

    def _ask(self, row: Row[Any], item: Told, company: Company) -> list[Decision]:
        """Every rule that the tenant has switched on, each on its own: one that fails takes no other down."""
        event = item.event
        if isinstance(event, Unrecognized):
            return []
        ref = _ref(event)
        past = self.world.past.setdefault((event.tenant, ref), []) if ref else []
        connection = company.connections.get(event.connection)
        own_ids = connection.settings.own_ids() if connection else frozenset()
        ours = event.ours or is_ours(event, own_ids, past)
        if ours:
            item.event = event = event.model_copy(update={"ours": True})
        facts = self._facts(row, item, company, tuple(past))
        decisions = []
        for rule, on_event, names in rules_of(self.runtime, company.disabled):
            if ours and not self.runtime.registry.rule_info(rule).hears_ours:
                continue
            given = {"event": event, "facts": replace(facts, settings=company.rules[rule].settings)}
            decision = asked(rule, on_event, {name: given[name] for name in names})
            decisions.append(spelled(decision, self._speller(company)))
        for decision in decisions:
            for action in decision.actions:
                self.world.foresee(event.tenant, decision.rule, action, self.now)
        return decisions

    def _facts(self, row: Row[Any], item: Told, company: Company, past: tuple[Past, ...]) -> Facts:
        event, after = item.event, item.after
        ticket = expected(after.ticket, past) if after else None
        contact = after.ticket.contact if after else getattr(event, "contact", None)
        seeds = self._seeds(item)
        names, linked = self.world.tied(event.tenant, seeds)
        customer = self._customer(item, names)
        connection = company.connections.get(event.connection)
        return Facts(
            tenant=company.tenant,
            now=self.now,
            ticket=ticket,
            before=item.before.ticket if item.before else None,
            comments=after.comments if after else (),
            complete=after.complete if after else False,
            contact=contact,
            customer=customer,
            linked=tuple(
                expected(other, self.world.past.get((event.tenant, other.ref), ())) for other in linked
            ),
            links=names,
            past=past,
            calendar=company.calendar,
            connections=company.vendors,
            mapped_fields=company.mapped_fields,
            collectable=self._collectable(row, connection),
            find_references=finder(self.runtime.registry, company.connections.values()),
            spell_tag=self._speller(company),
            linked_comments={
                other.ref: self.world.tickets[event.tenant, other.ref].comments for other in linked
            },
            linked_past={
                other.ref: tuple(self.world.past.get((event.tenant, other.ref), ())) for other in linked
            },
        )

    def _speller(self, company: Company) -> Spell:
        return self._spellers.setdefault(
            company.tenant.id, speller(self.runtime.registry, company.connections)
        )

    def _collectable(self, row: Row[Any], connection: Any) -> bool:
        """Can the ticket still be read? Not where the vendor cannot, nor once it was tried and is not there."""
        return (
            connection is not None
            and row.reading is None
            and row.origin != "core"
            and self.runtime.registry.implements(connection.vendor, "collect_ticket")
        )

    def _customer(self, item: Told, names: frozenset[str]) -> Customer | None:
        event, tenant = item.event, item.event.tenant
        if isinstance(event, CustomerEvent) and event.customer is not None:
            return self.world.meet(event, event.customer, FACTS)
        for name in sorted(names):
            if name.startswith("customer:"):
                return self.world.customers.get((tenant, name.removeprefix("customer:")))
        return self.world.customer_of(tenant, item.after.ticket.contact) if item.after else None

    def _seeds(self, item: Told) -> list[str]:
        """The names by which other things may be tied to this event."""
        event = item.event
        seeds = [str(ref)] if (ref := _ref(event)) else []
        seeds += names_of(event.connection, item.after.ticket.contact if item.after else None)
        if isinstance(event, PaymentEvent):
            seeds.append(str(event.payment))
        if isinstance(event, CustomerEvent) and event.customer is not None:
            customer = self.world.customer_of(event.tenant, event.customer)
            if customer is not None:
                seeds.append(str(customer))
        return seeds


def event_id(event: Event) -> UUID:
    """The same fact always has the same id, however often and in however many shapes it is told."""
    return uuid5(FACTS, f"{event.tenant}/{event.connection}/{event.id}")


def rules_of(
    runtime: Runtime, disabled: frozenset[str]
) -> Iterator[tuple[str, Callable[..., Any], tuple[str, ...]]]:
    """The rules to ask, in the order they are listed: name, function, and the arguments it takes."""
    for impl in of_tenant(runtime.registry.pm, disabled).get_hookimpls():
        yield rule_name(impl.plugin_name), impl.function, impl.argnames


def asked(
    rule: str, on_event: Callable[..., Iterable[Action | Skip] | None], given: dict[str, Any]
) -> Decision:
    """What a rule answers, to the last word; an exception becomes part of the answer. CollectFirst passes."""
    found: list[Action] = []
    skipped: list[str] = []
    try:
        with thinking(PATIENCE):
            for answer in on_event(**given) or ():
                if isinstance(answer, Skip):
                    skipped.append(answer.reason)
                elif isinstance(answer, Action):
                    found.append(answer)
                else:
                    raise TypeError(f"a rule may yield actions and Skip, not {type(answer).__name__}")
    except CollectFirst:
        raise
    except (Exception, Stuck) as error:
        log.exception("rule_failed", rule=rule)
        return Decision(rule=rule, error=f"{type(error).__name__}: {error}"[:500])
    return Decision(rule=rule, actions=tuple(found), skipped=tuple(skipped))


def _ref(event: Event) -> TicketRef | None:
    if isinstance(event, TicketEvent):
        return event.ticket.ref
    ticket = getattr(event, "ticket", None)
    return ticket if isinstance(ticket, TicketRef) else None


def _lane(row: Row[Any]) -> Lane:
    return (row.tenant, row.connection, row.subject if row.subject is not None else f"#{row.id}")
