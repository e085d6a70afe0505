"""Is a conversation read back whole, and is everything found that changed while no notification came?"""

from datetime import timedelta

import pytest
from gateway_plugins import intercom

from gateway.api import ApiError, ApiFailure, Status, TicketRef
from gateway.clock import utc_now

ANA = {"email": "ana@customer.example", "name": "Ana Lima", "phone": "+551135550199"}


def listed(desk, since):
    return list(intercom.list_changed(since=since, api=desk.api))


def test_a_conversation_is_read_with_all_that_was_said_and_with_its_contact(desk):
    ref = desk.person_opens(
        contact=ANA, body="Cadê o boleto?", subject="Boleto", type="email", tags=["cobranca"]
    )
    desk.person_changes(ref, message_type="comment", type="admin", body="Já vejo")
    desk.person_changes(ref, message_type="note", type="admin", body="ver ERP")
    snapshot = desk.read(ref)
    assert [(c.body, c.is_private) for c in snapshot.comments] == [
        ("Cadê o boleto?", False), ("Já vejo", False), ("ver ERP", True),
    ]  # fmt: skip
    ticket = snapshot.ticket
    assert (ticket.subject, ticket.channel, ticket.tags) == ("Boleto", "email", {"cobranca"})
    assert (ticket.contact.email, ticket.contact.phones) == ("ana@customer.example", ("+551135550199",))
    assert ticket.last_agent_comment_at >= ticket.last_customer_comment_at
    assert desk.calls()[-2:] == [f"GET /conversations/{ref.id}", f"GET /contacts/{ticket.contact.id}"]


def test_a_contact_that_is_gone_is_no_hindrance(desk):
    ref = desk.person_opens(contact=ANA, body="Oi")
    contact_id = desk.read(ref).ticket.contact.id
    desk.http.post(f"/_sandbox/human/contacts/{contact_id}", json={"deleted": True}).raise_for_status()
    assert desk.read(ref).ticket.contact.id == contact_id


@pytest.mark.parametrize("missing", ["1", "ticket:1"])
def test_what_is_not_there_is_missing(desk, missing):
    with pytest.raises(ApiError) as error:
        desk.read(TicketRef("ic", missing))
    assert error.value.failure is ApiFailure.MISSING


@pytest.mark.parametrize("by_day", [False, True])
def test_everything_that_changed_is_listed_once_page_by_page(open_desk, by_day):
    desk = open_desk(largest_page=2, search_by_day=by_day)
    since = utc_now() - timedelta(seconds=5)
    opened = {desk.person_opens(body=f"{number}") for number in range(5)}
    opened |= {desk.person_opens(ticket_type_id="29") for _ in range(3)}
    found = listed(desk, since)
    assert len(found) == len(set(found))
    assert set(found) == opened


def test_what_changed_long_before_is_not_listed(desk):
    desk.person_opens(body="Oi")
    assert listed(desk, utc_now() + timedelta(minutes=30)) == []


def test_of_notifications_that_were_lost_nothing_is_missing_in_the_end(open_desk):
    """A hundred of a thousand are too many for a test; here one of ten, each found again and told in full."""
    desk = open_desk()
    since = utc_now() - timedelta(seconds=5)
    opened = [desk.person_opens(body=f"Pedido {number}") for number in range(40)]
    lost = opened[::10]
    for ref in lost:
        desk.person_changes(ref, message_type="close")
    unheard = set(listed(desk, since)) & set(lost)
    assert unheard == set(lost)
    assert {desk.read(ref).ticket.status for ref in unheard} == {Status.CLOSED}


def test_a_cursor_that_stays_the_same_or_is_no_cursor_ends_the_list(desk):
    class Stuck:
        connection = desk.connection

        def __init__(self, following):
            self.following, self.asked = following, 0

        def call(self, method, path, json, repeatable):
            self.asked += 1
            row = {"id": "7", "updated_at": utc_now().timestamp()}
            body = {path.split("/")[1]: [row], "pages": {"next": self.following}}
            return type("Answer", (), {"body": body})

    for following, asked in (
        (None, 2),
        ("https://api.intercom.io/x?page=2", 2),
        ({"starting_after": "same"}, 4),
    ):
        api = Stuck(following)
        found = list(intercom.list_changed(since=utc_now(), api=api))
        assert found == [TicketRef("ic", "7"), TicketRef("ic", "ticket:7")]
        assert api.asked == asked
