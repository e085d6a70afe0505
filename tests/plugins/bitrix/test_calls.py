"""Who did not pick up, and when nobody can know."""

import pytest
from gateway_plugins import bitrix

from gateway.api import CallEnded, UnreadableWebhook

EXAMPLE = "externalCall.0123456789abcdef0123456789abcdef.1789343900"


def ended(told, connection, *changes):
    (event,) = bitrix.convert_webhook(
        webhook=told("ONVOXIMPLANTCALLEND", *changes), collected=None, before=None, connection=connection
    )
    assert isinstance(event, CallEnded)
    return event


def test_a_call_that_the_customer_missed(told, connection):
    event = ended(told, connection)
    assert event.id == f"call:{EXAMPLE}"
    assert event.occurred_at.isoformat() == "2026-09-14T00:00:00+00:00"
    assert event.actor.id == "15"
    assert event.call.known() == {
        "id": EXAMPLE, "direction": "outgoing", "phone": "+5511999990000", "answered": False, "seconds": 0,
    }  # fmt: skip
    assert event.customer.phones == ("+5511999990000",)


@pytest.mark.parametrize(
    ("code", "answered"),
    [
        ("200", True), ("304", False), ("603", False), ("603-S", False), ("486", False), ("480", False), ("404", False),
        ("403", None), ("402", None), ("423", None), ("484", None), ("503", None), ("OTHER", None), ("999", None),
    ],
)  # fmt: skip
def test_only_what_the_customer_did_is_held_against_them(told, connection, code, answered):
    assert ended(told, connection, ("CODE%5D=304", f"CODE%5D={code}")).call.answered is answered


@pytest.mark.parametrize(
    ("type_", "direction"),
    [
        ("1", "outgoing"),
        ("2", "incoming"),
        ("3", "incoming"),
        ("4", "outgoing"),
        ("5", "outgoing"),
        ("9", None),
    ],
)
def test_who_called_whom(told, connection, type_, direction):
    assert ended(told, connection, ("CALL_TYPE%5D=1", f"CALL_TYPE%5D={type_}")).call.direction == direction


def test_a_call_ends_when_its_seconds_are_over(told, connection):
    event = ended(told, connection, ("DURATION%5D=0", "DURATION%5D=90"), ("CODE%5D=304", "CODE%5D=200"))
    assert (event.call.seconds, event.occurred_at.isoformat()) == (90, "2026-09-14T00:01:30+00:00")


def test_without_a_code_the_seconds_tell(told, connection):
    gone = ("CALL_FAILED_CODE", "X")
    assert ended(told, connection, gone).call.answered is None
    assert ended(told, connection, gone, ("DURATION%5D=0", "DURATION%5D=5")).call.answered is True


@pytest.mark.parametrize("began", ["", "yesterday", "2026-09-13T21%3A00%3A00"])
def test_a_beginning_that_nobody_can_place_is_replaced_by_the_sending(told, connection, began):
    event = ended(told, connection, ("2026-09-13T21%3A00%3A00-03%3A00", began))
    assert event.occurred_at.isoformat() == "2026-09-14T00:00:00+00:00"


def test_a_number_is_made_diallable(told, connection):
    event = ended(told, connection, ("%2B5511999990000", "(11)+99999-0000"))
    assert event.call.phone == "+5511999990000"
    assert ended(told, connection, ("%2B5511999990000", "")).customer is None


def test_a_call_without_a_name_is_unreadable(told, connection):
    with pytest.raises(UnreadableWebhook, match="CALL_ID"):
        ended(told, connection, ("data%5BCALL_ID%5D", "data%5BCALL%5D"))
