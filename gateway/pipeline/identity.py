"""Who is this in the other systems? Contacts that are one person, found by document, e-mail or telephone.

A link `same_person` says that contacts of two systems are one person, or that a contact is a customer. A contact has at
most one such link to each other system, and one to a customer. The strongest key by which anybody is found decides;
where several people have it, nobody is linked. A link that was made stays.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection as Database

from gateway.model.event import ContactUpdated
from gateway.model.person import Contact
from gateway.store import contacts, tickets
from gateway.store.contacts import Known, name_of
from gateway.store.customers import keys_of

from .world import Told, World

RELATION = "same_person"
CUSTOMER = "customer"
MOST_KEYS = 20
"""Of one person; more is no person."""

Found = dict[tuple[str, str], list[Known]]
"""By tenant and key, the contacts that are known by it."""
Pair = tuple[str, str, str]
"""Tenant, and the names of two who are one."""


@dataclass(slots=True)
class Identity:
    """The people of one batch: contacts by tenant, connection and id, as far as something new is told of them."""

    _met: dict[tuple[str, str, str], Contact] = field(default_factory=dict)

    def note(self, items: Sequence[Told]) -> set[tuple[str, str]]:
        """The (tenant, key) of contacts that are new or have changed: to be locked, or two batches that meet one person
        in two systems would not see each other."""
        for item in items:
            event = item.event
            known = item.before.ticket.contact if item.before else None
            told = item.after.ticket.contact if item.after else None
            if isinstance(event, ContactUpdated):
                known, told = None, event.contact
            if told is not None and told.id and told != known:
                self._met[event.tenant, event.connection, told.id] = told
        return {(tenant, key) for (tenant, _, _), told in self._met.items() for key in _keys(told)}

    def flush(self, db: Database, world: World, now: datetime) -> None:
        """Keep by what the contacts are known, and link those who are one person."""
        rows: list[dict[str, str | None]] = [
            {"tenant": tenant, "key": key, "connection": connection, "contact_id": id_}
            for (tenant, connection, id_), told in self._met.items()
            for key in _keys(told)
        ]
        rows += [
            {"tenant": tenant, "key": key, "connection": None, "contact_id": None}
            for tenant, id_ in world.met
            for key in keys_of(world.customers[tenant, id_])
        ]
        if not rows:
            return
        found: Found = {}
        for known in contacts.meet(db, rows):
            found.setdefault((known.tenant, known.key), []).append(known)
        world.need_customers(
            {(tenant, key) for (tenant, _, _), told in self._met.items() for key in _keys(told)}
        )
        pairs = list(dict.fromkeys([*self._pairs(world, found), *_of_customers(world, found)]))
        if pairs:
            _link(db, pairs, now)

    def _pairs(self, world: World, found: Found) -> Iterator[Pair]:
        for (tenant, connection, id_), told in self._met.items():
            name = name_of(connection, id_)
            for other in _others(tenant, _keys(told), connection, found):
                yield tenant, name, other
            customer = world.customer_of(tenant, told)
            if customer is not None and not _shared(tenant, _keys(told), connection, found):
                yield tenant, name, str(customer)


def _of_customers(world: World, found: Found) -> Iterator[Pair]:
    """A customer that the batch tells of may be known as a contact already."""
    for tenant, id_ in sorted(world.met):
        customer = world.customers[tenant, id_]
        for other in _others(tenant, keys_of(customer), None, found):
            yield tenant, other, str(customer)


def _others(tenant: str, keys: Sequence[str], own: str | None, found: Found) -> Iterator[str]:
    """In each other system, the one contact that is known by the strongest key by which any is."""
    decided = {own}
    for key in keys:
        here = found.get((tenant, key), ())
        by_system: dict[str, set[str]] = {}
        for known in here:
            by_system.setdefault(known.connection, set()).add(known.name)
        alone = own is None or len(by_system.get(own, ())) < 2
        for system, names in sorted(by_system.items()):
            if system not in decided and len(names) == 1 and alone:
                yield from names
        decided |= by_system.keys()


def _shared(tenant: str, keys: Sequence[str], own: str, found: Found) -> bool:
    """Whether somebody else in the same system is known by the strongest key too."""
    return len({known.name for known in found.get((tenant, keys[0]), ()) if known.connection == own}) > 1


def _link(db: Database, pairs: Sequence[Pair], now: datetime) -> None:
    """Those of these pairs of which neither has another one in the other's place."""
    taken: set[tuple[str, str, str]] = set()
    for tenant, source, target in tickets.load_links(
        db, {(t, name) for t, *names in pairs for name in names}
    ):
        taken |= _places(tenant, source, target)
    rows = []
    for pair in pairs:
        places = _places(*pair)
        if places & taken:
            continue
        taken |= places
        tenant, (source, target) = pair[0], sorted(pair[1:])
        rows.append({
            "tenant": tenant, "source": source, "target": target, "relation": RELATION, "made_at": now,
        })  # fmt: skip
    tickets.save_links(db, rows)


def _places(tenant: str, left: str, right: str) -> set[tuple[str, str, str]]:
    """Whom each of two is tied to: a contact has one place for each system, and one for a customer; a customer may be
    many contacts, but one in each system."""
    systems = [_system(left), _system(right)]
    if None in systems:
        return set()
    return {(tenant, left, str(systems[1])), (tenant, right, str(systems[0]))}


def _system(name: str) -> str | None:
    kind, _, rest = name.partition(":")
    if kind == CUSTOMER:
        return CUSTOMER
    return f"contact:{rest.partition(':')[0]}" if kind == "contact" else None


def _keys(told: Contact) -> list[str]:
    return keys_of(told)[:MOST_KEYS]


def names_of(connection: str, told: Contact | None) -> Iterable[str]:
    """By which name links know this contact, if any."""
    return [name_of(connection, told.id)] if told is not None and told.id else []
