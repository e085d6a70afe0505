"""What a rule may know, and what it is told when it asks for more."""

from datetime import UTC, datetime

import pytest

from gateway.calendar import Calendar
from gateway.model.errors import CollectFirst
from gateway.model.facts import Facts, Tenant
from gateway.model.reference import Reference
from gateway.model.ticket import Ticket, TicketRef

NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
TICKET = Ticket(ref=TicketRef("desk", "7"), subject="s")


def facts(**given: object) -> Facts:
    return Facts(tenant=Tenant(id="acme", name="Acme"), now=NOW, **given)


def test_a_ticket_that_is_known_whole_is_given():
    assert facts(ticket=TICKET, complete=True).full_ticket() is TICKET


def test_a_ticket_that_is_known_in_part_is_collected_first():
    with pytest.raises(CollectFirst, match="ticket:desk:7 is known only in part") as raised:
        facts(ticket=TICKET).full_ticket()
    assert raised.value.ref == TICKET.ref


def test_what_cannot_be_collected_is_given_as_it_is_known():
    assert facts(ticket=TICKET, collectable=False).full_ticket() is TICKET
    planned = Ticket(ref=TicketRef("desk", "+k"))
    assert facts(ticket=planned).full_ticket() is planned, "it does not exist yet"


def test_an_event_about_no_ticket_has_none():
    with pytest.raises(LookupError, match="not about a ticket"):
        facts().full_ticket()


def test_texts_are_in_the_tenants_own_time():
    noon = facts(calendar=Calendar(timezone="Asia/Tokyo"))
    assert noon.render("{{ now.strftime('%d/%m %H:%M') }} {{ who }}", who="Ana") == "03/03 00:00 Ana"


def test_references_are_named_once_in_the_order_of_the_text():
    def of(id_: str) -> Reference:
        return Reference(connection="bitrix", kind="deal", id=id_, url=f"https://x.example/{id_}")

    found = facts(find_references=lambda text: [of(word) for word in text.split()])
    assert [each.id for each in found.references_in("b a b")] == ["b", "a"]


@pytest.mark.parametrize("text", [None, ""])
def test_an_empty_text_refers_to_nothing_and_nobody_is_asked(text):
    def never(text: str) -> list[Reference]:
        raise AssertionError(text)

    assert facts(find_references=never).references_in(text) == ()


def test_where_no_vendor_knows_its_links_there_are_no_references():
    assert facts().references_in("https://x.example/1") == ()
