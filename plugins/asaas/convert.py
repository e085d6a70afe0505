"""What does Asaas tell of a payment?

https://docs.asaas.com/docs/webhook-para-cobrancas
One payment is told of many times: a card's is confirmed, and received a month later. It is one fact.
"""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from gateway.api import (
    JSON,
    Customer,
    Event,
    Payment,
    PaymentConfirmed,
    PaymentOverdue,
    PaymentReversed,
    UnreadableWebhook,
    Unrecognized,
    Webhook,
)

from .accept import PAYMENT_ID, foreign_mode
from .collect import SAO_PAULO
from .words import CONFIRMED, FACTS, METHODS, OVERDUE, REVERSED, STATES

if TYPE_CHECKING:
    from . import Settings

KIND_LENGTH = 100
LARGEST = Decimal(10**12)
PAID_ON = ("clientPaymentDate", "confirmedDate", "paymentDate")
KINDS = {CONFIRMED: PaymentConfirmed, OVERDUE: PaymentOverdue, REVERSED: PaymentReversed}
ORDER = (OVERDUE, CONFIRMED, REVERSED)
_NOT_DIGITS = re.compile(r"[^0-9]")


def events(webhook: Webhook, collected: JSON | None, settings: "Settings") -> list[Event]:
    """What the notice says and, where the payment was read back, what its state says. Raises UnreadableWebhook.

    Several notices about one payment may share one reading, which then tells what each of them would have told.
    """
    try:
        body = _object(json.loads(webhook.body)) if webhook.body else {}
        if not body and collected is None:
            raise ValueError("the body is empty")
        return list(_events(webhook, body, collected, settings))
    except (ValueError, LookupError, TypeError, ArithmeticError, RecursionError, AttributeError) as error:
        raise UnreadableWebhook(f"asaas: {_line(error)}") from None


def _events(
    webhook: Webhook, body: Mapping[str, Any], collected: JSON | None, settings: "Settings"
) -> Iterator[Event]:
    kind = _text(body.get("event")) or "unknown"
    told_at = _moment(body.get("dateCreated")) or webhook.received_at
    if body:
        other = foreign_mode(webhook, dict(body), is_sandbox=settings.sandbox)
        if kind not in FACTS or other is not None:
            label = kind if other is None else f"{kind} ({other})"
            yield Unrecognized(
                id=f"unrecognized:{_name(body, kind)}", occurred_at=told_at, remote_kind=label[:KIND_LENGTH]
            )
            return
    read = _object(collected) if collected is not None else {}
    payment = _object(read["payment"] if read else body["payment"])
    facts = {FACTS[kind]: told_at} if body else {}
    if read:
        facts = {fact: _day(payment, fact) or webhook.received_at for fact in _implied(payment)} | facts
    customer = _customer(read.get("customer"))
    for fact in ORDER:
        if fact in facts:
            told = _payment(payment, fact, settings)
            due = f":{told.due_on}" if fact == OVERDUE else ""  # a date that was moved may pass again
            yield KINDS[fact](
                id=f"{fact}:{told.id}{due}", occurred_at=facts[fact], payment=told, customer=customer
            )


def _implied(payment: Mapping[str, Any]) -> Iterator[str]:
    """What must have happened for the payment to be as it is."""
    fact = STATES.get(_text(payment.get("status")) or "")
    if fact is not None:
        yield fact
    if fact == REVERSED and any(payment.get(name) for name in PAID_ON):
        yield CONFIRMED


def _payment(payment: Mapping[str, Any], fact: str, settings: "Settings") -> Payment:
    id_ = payment["id"]
    if not isinstance(id_, str) or not PAYMENT_ID.fullmatch(id_):
        raise ValueError("payment.id is no id")
    method = _text(payment.get("billingType"))
    known: dict[str, Any] = {
        "amount_minor": _minor(payment.get("value")),
        "status": _text(payment.get("status")),
        "method": METHODS.get(method, method.lower()) if method else None,
        "reference": _text(payment.get("externalReference")),
        "plan": _plan(_text(payment.get("description")) or "", settings.plans),
        "paid_at": _day(payment, CONFIRMED) if fact == CONFIRMED else None,
        "due_on": _date(payment.get("dueDate")),
        "url": _text(payment.get("invoiceUrl")),
    }
    return Payment(
        id=id_, currency="BRL", **{name: value for name, value in known.items() if value is not None}
    )


def _customer(customer: JSON) -> Customer | None:
    if not isinstance(customer, dict):
        return None
    phones = [_text(customer.get(name)) for name in ("mobilePhone", "phone")]
    known: dict[str, Any] = {
        "name": _text(customer.get("name")),
        "document": _NOT_DIGITS.sub("", _text(customer.get("cpfCnpj")) or "") or None,
        "email": _text(customer.get("email")),
        "phones": tuple(phone for phone in phones if phone) or None,
        "city": _text(customer.get("cityName")),
    }
    known = {name: value for name, value in known.items() if value is not None}
    return Customer(**known) if known else None


def _minor(value: Any) -> int | None:
    """Reais, a JSON number such as `990.0`, as centavos."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("payment.value is no amount")
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        raise ValueError("payment.value is no amount") from None
    if not abs(amount) < LARGEST:
        raise ValueError("payment.value is larger than any payment")
    return int((amount * 100).quantize(Decimal(1), ROUND_HALF_UP))


def _plan(description: str, plans: tuple[str, ...]) -> str | None:
    words = description.casefold()
    return next((plan for plan in plans if plan.casefold() in words), None)


def _day(payment: Mapping[str, Any], fact: str) -> datetime | None:
    """The day on which it was paid or fell due, from its first minute; Asaas gives no hour."""
    names = PAID_ON if fact == CONFIRMED else ("dueDate",) if fact == OVERDUE else ()
    found = next((day for name in names if (day := _date(payment.get(name)))), None)
    return datetime(found.year, found.month, found.day, tzinfo=SAO_PAULO).astimezone(UTC) if found else None


def _date(value: Any) -> date | None:
    return date.fromisoformat(value[:10]) if isinstance(value, str) and value else None


def _moment(value: Any) -> datetime | None:
    """`2026-09-13 21:00:00` is the time of Sao Paulo, without saying so."""
    if not isinstance(value, str) or not value:
        return None
    told = datetime.fromisoformat(value)
    return (told if told.tzinfo else told.replace(tzinfo=SAO_PAULO)).astimezone(UTC)


def _name(body: Mapping[str, Any], kind: str) -> str:
    return (_text(body.get("id")) or kind)[:300]


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("an object was expected")
    return value


def _text(value: Any) -> str | None:
    if not isinstance(value, str):
        return None
    value.encode()  # half of a surrogate pair is no text: UnicodeEncodeError is a ValueError
    return value.replace("\0", "").strip() or None


def _line(error: BaseException) -> str:
    if isinstance(error, KeyError):
        return f"{error.args[0]} is missing"
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]
