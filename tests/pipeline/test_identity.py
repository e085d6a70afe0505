"""One person in several systems: found by what they are known by, linked once, and never by mistake."""

from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from tests_town import NOW, arrive, rows, rule, run, settle_in

from gateway.api import (
    Contact,
    ContactUpdated,
    Customer,
    CustomerUpdated,
    Payment,
    PaymentConfirmed,
    Ticket,
    TicketCreated,
    TicketRef,
    TicketUpdated,
)
from gateway.runtime import Runtime
from gateway.store import contacts, customers
from gateway.store.customers import keys_of
from gateway.store.migrations.versions import __name__ as versions
from gateway.store.tables import contact_keys, customer_keys, links

EMAIL = "dona@padaria.example"
MOBILE, WITHOUT_NINE = "(11) 98765-0199", "+55 11 8765-0199"
DESK, CHAT, CRM = "contact:desk:d1", "contact:chat:c1", "contact:crm:x1"


@pytest.fixture
def town(gateway: Runtime) -> Runtime:
    settle_in(gateway, names=("desk", "chat", "crm", "pay"))
    return gateway


def opens(gateway: Runtime, connection: str, id_: str, **contact: Any) -> None:
    """A ticket is opened there by a person who is known so."""
    number = f"{id_}-{len(contact)}-{hash(str(contact)) % 10**6}"
    ref = TicketRef(connection, number)
    ticket = Ticket(ref=ref, subject="s", contact=Contact(id=id_, **contact), remote_updated_at=NOW)
    told = TicketCreated(id=f"created:{number}", occurred_at=NOW, ticket=ticket)
    run(gateway, arrive(gateway, told, subject=number, connection=connection))


def pays(gateway: Runtime, number: str = "p1", **customer: Any) -> None:
    told = PaymentConfirmed(
        id=f"paid:{number}", occurred_at=NOW, payment=Payment(id=number), customer=Customer(**customer)
    )
    run(gateway, arrive(gateway, told, connection="pay"))


def same(gateway: Runtime) -> set[tuple[str, str]]:
    found = {(row.source, row.target) for row in rows(gateway, links) if row.relation == "same_person"}
    return {(left, "customer" if right.startswith("customer:") else right) for left, right in found}


# --- found ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("here", "there"),
    [
        ({"document": "123.456.789-09"}, {"document": "12345678909"}),
        ({"email": " Dona@Padaria.example"}, {"email": EMAIL}),
        ({"phones": ("11 3555-0199",)}, {"phones": ("0 (11) 3555-0199", "+551130000000")}),
        ({"phones": (MOBILE,)}, {"phones": (WITHOUT_NINE,)}),
        ({"phones": (WITHOUT_NINE,)}, {"phones": (MOBILE,)}),
    ],
)
def test_contacts_of_two_systems_are_one_person(town: Runtime, here: Any, there: Any) -> None:
    opens(town, "desk", "d1", name="Dona", **here)
    assert same(town) == set()
    opens(town, "chat", "c1", name="D. Ana", **there)
    assert same(town) == {(CHAT, DESK)}


def test_in_a_third_system_too_and_each_pair_once(town: Runtime) -> None:
    for connection, id_ in (("desk", "d1"), ("chat", "c1"), ("crm", "x1")):
        opens(town, connection, id_, email=EMAIL)
        opens(town, connection, id_, email=EMAIL, phones=(MOBILE,))
    assert same(town) == {(CHAT, DESK), (CRM, DESK), (CHAT, CRM)}


def test_two_who_are_met_in_one_batch_are_linked_too(town: Runtime) -> None:
    ids = []
    for connection, id_ in (("desk", "d1"), ("chat", "c1")):
        ticket = Ticket(
            ref=TicketRef(connection, "1"), contact=Contact(id=id_, email=EMAIL), remote_updated_at=NOW
        )
        told = TicketCreated(id="created:1", occurred_at=NOW, ticket=ticket)
        ids.append(arrive(town, told, subject="1", connection=connection))
    run(town, *ids)
    assert same(town) == {(CHAT, DESK)}


def test_a_contact_that_is_only_updated_counts(town: Runtime) -> None:
    opens(town, "desk", "d1", email=EMAIL)
    told = ContactUpdated(id="u", occurred_at=NOW, contact=Contact(id="c1", email=EMAIL))
    run(town, arrive(town, told, connection="chat"))
    assert same(town) == {(CHAT, DESK)}


def test_a_contact_who_pays_is_that_customer_whoever_is_met_first(town: Runtime) -> None:
    opens(town, "desk", "d1", email=EMAIL)
    pays(town, email=EMAIL, name="Padaria")
    assert same(town) == {(DESK, "customer")}
    opens(town, "chat", "c1", email=EMAIL)
    assert same(town) == {(DESK, "customer"), (CHAT, "customer"), (CHAT, DESK)}


def test_rules_are_told_who_it_is_also_when_the_system_knows_only_half(town: Runtime) -> None:
    heard: list[Any] = []

    def listening(event: Any, facts: Any) -> Any:
        heard.append((facts.customer.name if facts.customer else None, facts.links))
        return []

    settle_in(town, rules={"listening": rule("listening", listening)}, names=("desk", "chat", "crm", "pay"))
    opens(town, "desk", "d1", email=EMAIL)
    opens(town, "chat", "c1", email=EMAIL)
    pays(town, email=EMAIL, name="Padaria")
    opens(town, "chat", "c1", name="sem e-mail")
    customer, names = heard[-1]
    assert customer == "Padaria"
    assert DESK in names


# --- never by mistake -------------------------------------------------------------------------------------------


def test_where_several_share_a_number_nobody_is_linked(town: Runtime) -> None:
    """The switchboard of a company: everybody there is known by it."""
    opens(town, "desk", "d1", phones=("1135550199",))
    opens(town, "desk", "d2", phones=("1135550199",))
    opens(town, "chat", "c1", phones=("1135550199",))
    assert same(town) == set()
    opens(town, "chat", "c2", phones=("1135550199",), email=EMAIL)
    assert same(town) == set()


def test_a_key_that_very_many_have_says_nothing(town: Runtime) -> None:
    told = {"tenant": "acme", "key": f"email:{EMAIL}"}
    with town.db.begin() as db:
        db.execute(contact_keys.insert(), [
            {**told, "connection": "crm", "contact_id": f"x{n}"} for n in range(contacts.MANY)
        ])  # fmt: skip
    opens(town, "desk", "d1", email=EMAIL)
    opens(town, "chat", "c1", email=EMAIL)
    assert same(town) == set()


def test_the_strongest_key_decides(town: Runtime) -> None:
    opens(town, "desk", "d1", phones=(MOBILE,))
    opens(town, "desk", "d2", email=EMAIL)
    opens(town, "chat", "c1", phones=(MOBILE,), email=EMAIL)
    assert same(town) == {(CHAT, "contact:desk:d2")}


def test_a_person_is_one_contact_of_each_other_system(town: Runtime) -> None:
    opens(town, "desk", "d1", email=EMAIL)
    opens(town, "chat", "c1", email=EMAIL)
    opens(town, "desk", "d2", phones=(MOBILE,))
    opens(town, "chat", "c1", email=EMAIL, phones=(MOBILE,))
    assert same(town) == {(CHAT, DESK)}, "it has its place there already"


def test_contacts_of_one_system_are_never_one_person(town: Runtime) -> None:
    opens(town, "desk", "d1", email=EMAIL)
    opens(town, "desk", "d2", email=EMAIL)
    assert same(town) == set()


def test_another_tenants_people_are_nobodys_business(town: Runtime) -> None:
    opens(town, "desk", "d1", email=EMAIL)
    with town.db.begin() as db:
        db.execute(text("UPDATE contact_keys SET tenant = 'other'"))
    opens(town, "chat", "c1", email=EMAIL)
    assert same(town) == set()


def test_a_contact_that_is_known_by_nothing_is_nobody(town: Runtime) -> None:
    opens(town, "desk", "d1", name="Dona")
    opens(town, "chat", "c1", name="Dona")
    ticket = Ticket(ref=TicketRef("crm", "1"), contact=Contact(email=EMAIL), remote_updated_at=NOW)
    run(
        town,
        arrive(town, TicketCreated(id="c", occurred_at=NOW, ticket=ticket), subject="1", connection="crm"),
    )
    assert rows(town, contact_keys) == []
    assert same(town) == set()


def test_what_says_nothing_new_of_a_person_costs_nothing(
    town: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    opens(town, "desk", "d1", email=EMAIL)
    monkeypatch.setattr(contacts, "meet", lambda *_: pytest.fail("nothing is to be asked"))
    number = rows(town, contact_keys)[0].contact_id
    assert number == "d1"
    with town.db.connect() as db:
        (ticket_id,) = db.scalars(text("SELECT id FROM tickets")).all()
    later = NOW + timedelta(minutes=1)
    ticket = Ticket(
        ref=TicketRef("desk", ticket_id), contact=Contact(id="d1", email=EMAIL), remote_updated_at=later
    )
    told = TicketUpdated(id="u", occurred_at=later, ticket=ticket, changed=("subject",))
    run(town, arrive(town, told, subject=ticket_id))


# --- the ninth digit --------------------------------------------------------------------------------------------


AREAS = (
    *range(11, 20), 21, 22, 24, 27, 28, *range(31, 36), 37, 38, *range(41, 50), 51, 53, 54, 55, *range(61, 70), 71, 73,
    74, 75, 77, 79, *range(81, 90), *range(91, 100),
)  # fmt: skip
"""Those that exist (90 is what collect calls begin with). https://www.gov.br/anatel"""


@given(st.sampled_from(AREAS), st.integers(6_000_0000, 9_999_9999))
def test_a_mobile_number_is_the_same_with_and_without_its_ninth_digit(area: int, number: int) -> None:
    old, new = f"+55{area}{number}", f"+55{area}9{number}"
    assert keys_of(Contact(phones=(old,))) == keys_of(Contact(phones=(new,)))


@pytest.mark.parametrize(
    "phone", ["+55 11 3555-0199", "+55 11 2555-0199", "+1 650 253 0000", "+351 912 345 678"]
)
def test_no_other_number_gets_a_digit(phone: str) -> None:
    digits = "".join(filter(str.isdigit, phone))
    assert keys_of(Contact(phones=(phone,))) == [f"phone:+{digits}"]


def test_a_customer_who_paid_before_the_upgrade_is_found_by_either_form(town: Runtime) -> None:
    told = {"tenant": "acme", "customer_id": "1"}
    with town.db.begin() as db:
        db.execute(customer_keys.insert(), [
            {**told, "key": "phone:+551187650199"}, {**told, "key": "phone:+551135550199"},
            {**told, "key": "phone:+551176540199"}, {**told, "key": "phone:+5511976540199"},
        ])  # fmt: skip
        db.execute(text(import_module(f"{versions}.0002_what_never_came").NINTH_DIGIT))
        wanted = {("acme", key) for key in keys_of(Contact(phones=(MOBILE, "1135550199", "+551176540199")))}
        assert set(customers.find(db, wanted).values()) == {"1"}
        assert len(customers.find(db, wanted)) == 3


def test_a_customer_is_met_again_by_the_other_form(town: Runtime) -> None:
    for number, phone in (("p1", MOBILE), ("p2", WITHOUT_NINE)):
        pays(town, number, phones=(phone,))
    assert len({row.customer_id for row in rows(town, customer_keys)}) == 1
    told = CustomerUpdated(id="c", occurred_at=NOW, customer=Customer(phones=(MOBILE,), plan="Pro"))
    run(town, arrive(town, told, connection="pay"))
    assert len({row.customer_id for row in rows(town, customer_keys)}) == 1
