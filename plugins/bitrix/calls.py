"""Was the customer reached? A telephone call, as ONVOXIMPLANTCALLEND tells of it.

https://apidocs.bitrix24.com/api-reference/telephony/voximplant/events/on-voximplant-call-end.html
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from gateway.api import Call, CallEnded, Connection, Customer, Webhook

from . import words
from .accept import decimal, sent_at
from .forms import Tree, at, text_at

if TYPE_CHECKING:
    from . import Settings

DIRECTIONS = {
    "1": "outgoing",
    "2": "incoming",
    "3": "incoming",  # redirected
    "4": "outgoing",  # callback
    "5": "outgoing",  # an announcement
}
ANSWERED = "200"
UNANSWERED = {
    "304",  # missed; also what an external telephone system gives for a call of no seconds
    "603", "603-S",  # declined, cancelled
    "486",  # busy
    "480",  # unavailable
    "404",  # no such number
}  # fmt: skip
"""Every other code (403, 402, 423, 484, 503, OTHER) is trouble with the line: it says nothing about the customer."""


def ended(body: Tree, webhook: Webhook, connection: "Connection[Settings]") -> CallEnded:
    """`call.answered` is None where nobody can know. Raises ValueError when the call has no id."""
    data = at(body, "data")
    call_id = text_at(data, "CALL_ID")
    if call_id is None:
        raise ValueError("a call without CALL_ID")
    seconds = decimal(text_at(data, "CALL_DURATION"))
    phone = text_at(data, "PHONE_NUMBER")
    number = words.number(phone, connection.settings.phone_region) if phone else None
    began = words.instant(text_at(data, "CALL_START_DATE"))
    call = Call(
        id=call_id,
        direction=DIRECTIONS.get(text_at(data, "CALL_TYPE") or ""),
        phone=number,
        answered=_answered(data),
        seconds=int(seconds or 0),
    )
    moment = began + timedelta(seconds=min(call.seconds or 0, 86_400)) if began else None
    return CallEnded(
        id=f"call:{call_id}",
        occurred_at=moment or sent_at(body) or webhook.received_at,
        actor=words.person(text_at(data, "PORTAL_USER_ID")),
        call=call,
        customer=Customer(phones=(number,)) if number else None,
    )


def _answered(data: Mapping[str, Any]) -> bool | None:
    code = text_at(data, "CALL_FAILED_CODE")
    if code is None:
        return True if decimal(text_at(data, "CALL_DURATION")) else None
    if code == ANSWERED:
        return True
    return False if code.upper() in UNANSWERED else None
