"""What we know of tickets and customers, and how it grows."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from gateway.model.action import AddTags, CreateTicket, LinkTickets, SaveCustomer, StartTimer
from gateway.model.customer import Customer, Payment
from gateway.model.event import (
    CommentCreated,
    PaymentConfirmed,
    TicketDeleted,
    TicketEvent,
    TicketMerged,
    TicketUpdated,
)
from gateway.model.person import Contact
from gateway.model.ticket import Comment, Status, Ticket, TicketRef
from gateway.pipeline.world import Aside, Known, World, learned
from gateway.store import customers, database, tickets

NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
REF = TicketRef("desk", "7")
SPACE = UUID(int=5)


def update(minutes: int, *comments: Comment, complete: bool = False, **fields: Any) -> TicketUpdated:
    at = NOW + timedelta(minutes=minutes)
    ticket = Ticket(ref=REF, remote_updated_at=at, **fields)
    return TicketUpdated(
        id=f"u{minutes}", occurred_at=at, ticket=ticket, comments=comments, complete=complete
    )


def note(id_: str, body: str = "oi", minutes: int | None = 0) -> Comment:
    created = None if minutes is None else NOW + timedelta(minutes=minutes)
    return Comment(id=id_, body=body, created_at=created)


def known_after(*events: TicketEvent) -> Known:
    known = None
    for event in events:
        known = learned(known, event)
    assert known is not None
    return known


# --- the newest wins --------------------------------------------------------------------------------------------


def test_the_first_look_is_all_we_know():
    known = known_after(update(0, note("1"), subject="a", complete=True))
    assert (known.ticket.subject, known.comments, known.complete) == ("a", (note("1"),), True)
    assert known.updated_at == NOW


def test_the_newer_word_replaces_the_older_in_whatever_order_they_come():
    older, newer = update(1, subject="old", status=Status.OPEN), update(2, subject="new")
    for order in permutations([older, newer]):
        known = known_after(*order)
        assert (known.ticket.subject, known.ticket.status) == ("new", Status.OPEN)
        assert known.updated_at == NOW + timedelta(minutes=2)


def test_a_ticket_read_whole_stays_known_whole():
    assert known_after(update(1, complete=True), update(2)).complete
    assert known_after(update(2), update(1, complete=True)).complete


def test_an_event_that_does_not_say_when_counts_from_when_it_happened():
    told = TicketUpdated(
        id="x", occurred_at=NOW + timedelta(minutes=5), ticket=Ticket(ref=REF, subject="later")
    )
    for order in permutations([told, update(1, subject="sooner")]):
        assert known_after(*order).ticket.subject == "later"


def test_what_we_say_ourselves_has_no_time_of_its_desk():
    own = TicketUpdated(id="o", occurred_at=NOW, ours=True, ticket=Ticket(ref=REF, subject="ours", url="u"))
    for order in permutations([own, update(-5, subject="theirs")]):
        known = known_after(*order)
        assert (known.ticket.subject, known.ticket.url) == ("theirs", "u")
        assert known.updated_at == NOW - timedelta(minutes=5)


def test_a_deletion_and_a_merge_are_remembered():
    at = NOW + timedelta(minutes=3)
    gone = TicketDeleted(id="d", occurred_at=at, ticket=Ticket(ref=REF))
    into = TicketMerged(id="m", occurred_at=at, ticket=Ticket(ref=REF), into=TicketRef("desk", "9"))
    nowhere = TicketMerged(id="m", occurred_at=at, ticket=Ticket(ref=REF))
    for order in permutations([gone, into, nowhere, update(1, subject="a")]):
        ticket = known_after(*order).ticket
        assert (ticket.deleted, ticket.merged_into, ticket.subject) == (True, "9", "a")


def test_comments_are_gathered_oldest_first_whoever_tells_of_them():
    said = CommentCreated(id="c", occurred_at=NOW, ticket=Ticket(ref=REF), comment=note("2", minutes=2))
    first, third, undated = note("1", minutes=1), note("3", minutes=3), note("0", minutes=None)
    for order in permutations([said, update(5, third, first), update(6, undated)]):
        assert [comment.id for comment in known_after(*order).comments] == ["0", "1", "2", "3"]


def test_an_edited_comment_is_known_as_it_was_last_read():
    for order in permutations([update(1, note("1", "before")), update(2, note("1", "after"))]):
        assert [comment.body for comment in known_after(*order).comments] == ["after"]


def test_a_reading_without_comments_forgets_none():
    assert known_after(update(1, note("1")), update(2)).comments == (note("1"),)


FIELDS = ("subject", "status", "tags", "team", "custom_fields")
VALUES = st.fixed_dictionaries({
    "subject": st.text(max_size=3),
    "status": st.sampled_from(Status),
    "tags": st.frozensets(st.sampled_from("abc")),
    "team": st.sampled_from([None, "GR"]),
    "custom_fields": st.dictionaries(st.sampled_from("xy"), st.integers(0, 3)),
})  # fmt: skip
READINGS = st.lists(st.tuples(VALUES, st.lists(st.sampled_from("123"))), min_size=1, max_size=6)


def readings(told: list[Any]) -> list[TicketUpdated]:
    """Whole readings, each of its own minute; of a comment, every one tells what it says by then."""
    return [
        update(minute, *(note(id_, f"{id_} at {minute}") for id_ in sorted(set(ids))), **fields)
        for minute, (fields, ids) in enumerate(told)
    ]


@given(READINGS, st.randoms())
def test_readings_end_in_the_same_ticket_whatever_their_order(told, random):
    events = readings(told)
    shuffled = list(events)
    random.shuffle(shuffled)
    in_order, mixed = known_after(*events), known_after(*shuffled)
    assert mixed.ticket == in_order.ticket == events[-1].ticket
    assert mixed.updated_at == in_order.updated_at
    assert {comment.id for comment in mixed.comments} == {comment.id for comment in in_order.comments}


@given(READINGS, st.data())
def test_being_told_again_changes_nothing(told, data):
    events = readings(told)
    known = known_after(*events)
    assert learned(known, data.draw(st.sampled_from(events))) == known


@given(READINGS, st.data())
def test_an_older_word_never_replaces_a_newer_one(told, data):
    """Also of partial news: it may add what nobody knew, but what is newest stays as it is."""
    events = readings(told)
    known = known_after(*events)
    fields = data.draw(
        st.fixed_dictionaries({}, optional={"subject": st.text(max_size=3), "channel": st.just("chat")})
    )
    minutes = data.draw(st.integers(-10, len(events) - 2))
    after = learned(known, update(minutes, **fields))
    for field in FIELDS:
        assert getattr(after.ticket, field) == getattr(known.ticket, field)
    assert after.ticket.channel == fields.get("channel")
    assert after.updated_at == known.updated_at


# --- the store behind it ----------------------------------------------------------------------------------------


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = database.engine(database_url)
    yield made
    made.dispose()


@pytest.fixture
def world(engine: Engine) -> Iterator[World]:
    with engine.connect() as db:
        yield World(db)


def saved(world: World, *ids: str, tenant: str = "acme") -> None:
    rows = [
        {
            "tenant": tenant, "connection": "desk", "id": id_, "complete": True, "updated_at": NOW, "seen_at": NOW,
            "body": Ticket(ref=TicketRef("desk", id_), subject=f"s{id_}").to_json(),
        }
        for id_ in ids
    ]  # fmt: skip
    tickets.save(world.db, rows)


def tied(world: World, *pairs: tuple[str, str], tenant: str = "acme") -> None:
    rows = [
        {"tenant": tenant, "source": a, "target": b, "relation": "about", "made_at": NOW} for a, b in pairs
    ]
    tickets.save_links(world.db, rows)


def test_a_ticket_is_loaded_with_its_comments_and_only_once(world):
    saved(world, "7")
    comment = {"tenant": "acme", "connection": "desk", "ticket_id": "7", "id": "1", "body": note("1").to_json(),
               "created_at": NOW}  # fmt: skip
    tickets.save_comments(world.db, [comment])
    world.need_tickets([("acme", REF), ("other", REF)])
    known = world.tickets["acme", REF]
    assert (known.ticket.subject, known.comments, known.complete, known.updated_at) == (
        "s7",
        (note("1"),),
        True,
        NOW,
    )
    assert ("other", REF) not in world.tickets
    world.tickets["acme", REF] = changed = learned(known, update(1, subject="changed here"))
    world.need_tickets([("acme", REF)])
    assert world.tickets["acme", REF] is changed, "what the batch changed is not read over"


def test_links_are_followed_two_steps_and_tickets_one(world):
    saved(world, "1", "2", "3")
    tied(
        world,
        ("customer:c", "ticket:desk:1"),
        ("ticket:desk:2", "ticket:desk:1"),
        ("ticket:desk:2", "ticket:desk:3"),
    )
    world.need_links([("acme", "customer:c")])
    names, found = world.tied("acme", ["customer:c"])
    assert names == {"ticket:desk:1", "ticket:desk:2", "customer:c"}
    assert [ticket.ref.id for ticket in found] == ["1"]


def test_links_of_another_tenant_are_another_tenants(world):
    saved(world, "1", tenant="other")
    tied(world, ("customer:c", "ticket:desk:1"), tenant="other")
    world.need_links([("acme", "customer:c")])
    assert world.tied("acme", ["customer:c"]) == (frozenset(), ())


def test_what_is_set_aside_is_not_seen(engine):
    with engine.connect() as db:
        aside = World(db, Aside(links=frozenset({("acme", "customer:c", "ticket:desk:1")})))
        saved(aside, "1", "2")
        tied(aside, ("customer:c", "ticket:desk:1"), ("customer:c", "ticket:desk:2"))
        aside.need_links([("acme", "customer:c")])
        assert [ticket.ref.id for ticket in aside.tied("acme", ["customer:c"])[1]] == ["2"]


# --- customers --------------------------------------------------------------------------------------------------


def paid(id_: str = "p1", **who: Any) -> PaymentConfirmed:
    customer = Customer(**who) if who else None
    return PaymentConfirmed(
        id=id_, occurred_at=NOW, tenant="acme", payment=Payment(id=id_), customer=customer
    )


def meet(world: World, event: PaymentConfirmed) -> Customer:
    assert event.customer is not None
    world.need_customers(("acme", key) for key in customers.keys_of(event.customer))
    return world.meet(event, event.customer, SPACE)


def stored(world: World) -> None:
    """Write what was met, as the ledger does."""
    met = [world.customers[name] for name in sorted(world.met)]
    rows = [{"tenant": "acme", "id": c.id, "body": c.to_json(), "updated_at": NOW} for c in met]
    keys = [{"tenant": "acme", "key": key, "customer_id": c.id} for c in met for key in customers.keys_of(c)]
    customers.save(world.db, rows, keys)


def test_somebody_new_is_the_same_new_customer_when_told_again(world):
    event = paid(name="Padaria", email="dona@padaria.example")
    first = meet(world, event)
    assert first.id
    assert meet(World(world.db), event).id == first.id, "also in another process, before either has committed"


def test_a_known_customer_is_found_by_any_key_and_learns(world):
    who = {"name": "Padaria", "email": "dona@padaria.example", "document": "11.222.333/0001-81"}
    first = meet(world, paid(**who))
    stored(world)
    again = World(world.db)
    found = meet(again, paid("p2", document="11222333000181", plan="Pro", name=None, phones=()))
    assert (found.id, found.name, found.plan) == (first.id, "Padaria", "Pro")
    assert found.email == "dona@padaria.example", "what was not said is not lost"
    assert again.met == {("acme", first.id)}


def test_an_id_that_a_vendor_puts_into_a_customer_is_not_ours(world):
    assert meet(world, paid(id="theirs", email="a@x.example")).id != "theirs"


def test_of_two_customers_the_strongest_key_decides(world):
    one = meet(world, paid("p1", document="11222333000181", phones=("11 3555-0199",)))
    two = meet(world, paid("p2", email="b@x.example"))
    assert one.id != two.id
    both = Customer(document="11222333000181", email="b@x.example")
    found = world.customer_of("acme", both)
    assert found is not None
    assert found.id == one.id
    by_phone = world.customer_of("acme", Contact(phones=("+55 11 3555-0199",)))
    assert by_phone is not None
    assert by_phone.id == one.id
    assert world.customer_of("acme", Contact(name="Padaria")) is None
    assert world.customer_of("acme", None) is None


@pytest.mark.parametrize(
    ("person", "keys"),
    [
        (Customer(document="11.222.333/0001-81"), ["document:11222333000181"]),
        (Customer(document="-"), []),
        (Customer(email=" Dona@Padaria.Example "), ["email:dona@padaria.example"]),
        (Customer(email="no address"), []),
        (Contact(phones=("(11) 3555-0199", "11 3555 0199", "123", "no number")), ["phone:+551135550199"] * 2),
        (Contact(phones=("+1 212 555 0123",)), ["phone:+12125550123"]),
        (Contact(), []),
    ],
)
def test_people_are_found_by_document_email_and_telephone(person, keys):
    assert customers.keys_of(person) == keys


# --- what was decided just now ----------------------------------------------------------------------------------


def test_what_was_decided_just_now_is_a_fact_for_the_next_event(world):
    create = CreateTicket(connection="desk", key="k", subject="S", description="D", reason="r")
    known = Customer(id="c", name="Padaria")
    world.customers["acme", "c"] = known
    for action in (
        create,
        create.model_copy(update={"subject": "again"}),
        AddTags(ticket=create.ticket, tags=("core",), reason="r"),
        LinkTickets(left=str(create.ticket), right="customer:c", reason="r"),
        SaveCustomer(customer=Customer(id="c", stage="onboarding"), reason="r"),
        SaveCustomer(customer=Customer(id="d", name="new"), reason="r"),
        StartTimer(key="t", at=NOW, ticket=create.ticket, reason="r"),
    ):
        world.foresee("acme", "rule", action, NOW)
    assert world.tickets["acme", create.ticket].ticket.subject == "S", "one key is one ticket"
    assert [past.action.kind for past in world.past["acme", create.ticket]] == ["create_ticket"] * 2 + [
        "add_tags"
    ]
    assert [ticket.ref for ticket in world.tied("acme", ["customer:c"])[1]] == [create.ticket]
    saved_customer = world.customers["acme", "c"]
    assert (saved_customer.name, saved_customer.stage) == ("Padaria", "onboarding")
    assert world.met == {("acme", "c"), ("acme", "d")}
