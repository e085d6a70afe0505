"""A reference names a ticket of a connection."""

from gateway.model.reference import Reference
from gateway.model.ticket import TicketRef


def test_a_reference_can_be_used_wherever_a_ticket_can():
    found = Reference(connection="bitrix", kind="deal", id="deal:12", url="https://x.example/12")
    assert found.ref == TicketRef("bitrix", "deal:12")
    assert str(found.ref) == "ticket:bitrix:deal:12"
