"""What does Stripe tell of a payment?  https://docs.stripe.com/api/events/types

Amounts are integers in the currency's smallest unit already, also where that is the whole unit; times are Unix seconds.
"""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

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

from .payments import id_of, payment_id
from .words import CONFIRMED, FACTS, OVERDUE, PAID_SESSIONS, REVERSED

if TYPE_CHECKING:
    from . import Settings

KIND_LENGTH = 100
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
KINDS = {CONFIRMED: PaymentConfirmed, OVERDUE: PaymentOverdue, REVERSED: PaymentReversed}
ORDER = (OVERDUE, CONFIRMED, REVERSED)
AMOUNTS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("invoice", CONFIRMED): ("amount_paid", "total"),
    ("invoice", OVERDUE): ("amount_remaining", "amount_due"),
    ("invoice_payment", CONFIRMED): ("amount_paid",),
    ("payment_intent", CONFIRMED): ("amount_received", "amount"),
    ("payment_intent", REVERSED): ("amount",),
    ("charge", CONFIRMED): ("amount",),
    ("charge", REVERSED): ("amount_refunded", "amount"),
    ("dispute", REVERSED): ("amount",),
    ("checkout.session", CONFIRMED): ("amount_total",),
    ("checkout.session", OVERDUE): ("amount_total",),
}
TAX_IDS = frozenset({"br_cpf", "br_cnpj"})
_NOT_DIGITS = re.compile(r"[^0-9]")


def events(webhook: Webhook, collected: JSON | None, settings: "Settings") -> list[Event]:
    """What the event says and, where the payment was read back, what its state says. Raises UnreadableWebhook."""
    try:
        told = _object(json.loads(webhook.body)) if webhook.body else None
        if told is None and collected is None:
            raise ValueError("the body is empty")
        return list(_events(webhook, told, collected, settings))
    except (ValueError, LookupError, TypeError, ArithmeticError, RecursionError, AttributeError) as error:
        raise UnreadableWebhook(f"stripe: {_line(error)}") from None


def _events(
    webhook: Webhook, told: Mapping[str, Any] | None, collected: JSON | None, settings: "Settings"
) -> Iterator[Event]:
    thing: Mapping[str, Any] = {}
    facts: dict[str, datetime] = {}
    told_at = webhook.received_at
    if told is not None:
        kind = _text(told.get("type")) or "unknown"
        told_at = _moment(told.get("created")) or told_at
        data = told.get("data")
        thing = _object(data["object"]) if isinstance(data, dict) and kind in FACTS else {}
        why_not = _obstacle(kind, told, thing, settings)
        if why_not is not None:
            name = _text(told.get("id")) or kind
            yield Unrecognized(
                id=f"unrecognized:{name}", occurred_at=told_at, remote_kind=(kind + why_not)[:KIND_LENGTH]
            )
            if collected is None:
                return
        else:
            facts[FACTS[kind]] = told_at
    invoice, customer = None, _customer(thing)
    if collected is not None:
        read = _object(collected)
        thing, invoice = _object(read["payment_intent"]), id_of(read.get("invoice"))
        facts = dict.fromkeys(_implied(thing), told_at) | facts
        customer = _customer({**_charge(thing), "customer": read.get("customer")}) or customer
    id_ = invoice or payment_id(thing)
    if id_ is None:
        raise ValueError("the event names no payment")
    for fact in ORDER:
        if fact in facts:
            # Who pays is not in every event about a payment: the first that says it is news, whatever came before.
            anonymous = "" if customer is not None else ":anonymous"
            yield KINDS[fact](
                id=f"{fact}:{id_}{anonymous}",
                occurred_at=facts[fact],
                payment=_payment(id_, thing, fact, facts[fact], settings),
                customer=customer,
            )


def _obstacle(
    kind: str, told: Mapping[str, Any], thing: Mapping[str, Any], settings: "Settings"
) -> str | None:
    """Why this event is none of ours, as it is shown behind its type; empty for a type that we have no word for."""
    livemode = told.get("livemode")
    if livemode is not settings.livemode and isinstance(livemode, bool):
        return " (live mode)" if livemode else " (test mode)"
    if kind not in FACTS:
        return ""
    if kind == "checkout.session.completed":
        status = _text(thing.get("payment_status")) or "no payment_status"
        if status not in PAID_SESSIONS:
            return f" ({status})"
        if thing.get("mode") == "setup":
            return " (setup)"
    if kind == "charge.refunded" and thing.get("refunded") is not True:
        return " (a part)"
    return None


def _implied(intent: Mapping[str, Any]) -> Iterator[str]:
    """What must have happened for the intent to be as it is."""
    charge = _charge(intent)
    if intent.get("status") == "succeeded":
        yield CONFIRMED
        if charge.get("refunded") is True or charge.get("disputed") is True:
            yield REVERSED


def _charge(intent: Mapping[str, Any]) -> Mapping[str, Any]:
    charge = intent.get("latest_charge")
    return charge if isinstance(charge, dict) else {}


def _payment(id_: str, thing: Mapping[str, Any], fact: str, at: datetime, settings: "Settings") -> Payment:
    kind = _text(thing.get("object")) or ""
    amounts = (thing.get(name) for name in AMOUNTS.get((kind, fact), ("amount",)))
    known: dict[str, Any] = {
        "amount_minor": next((each for each in amounts if _is_whole(each)), None),
        "currency": (_text(thing.get("currency")) or "").upper() or None,
        "status": _text(thing.get("status")),
        "method": _method(thing),
        "reference": _reference(thing, settings),
        "plan": _text(_metadata(thing).get(settings.plan_key)),
        "products": _products(thing) or None,
        "paid_at": _paid_at(thing, at) if fact == CONFIRMED else None,
        "due_on": _due_on(thing.get("due_date"), settings.timezone),
        "url": _text(thing.get("hosted_invoice_url")),
    }
    return Payment(id=id_, **{name: value for name, value in known.items() if value is not None})


def _reference(thing: Mapping[str, Any], settings: "Settings") -> str | None:
    told = [thing.get("client_reference_id"), *(_metadata(thing).get(key) for key in settings.reference_keys)]
    return next((text for each in told if (text := _text(each)) is not None), None)


def _metadata(thing: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata = thing.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _method(thing: Mapping[str, Any]) -> str | None:
    """How it was paid, where only one way is possible."""
    details, ways = thing.get("payment_method_details"), thing.get("payment_method_types")
    if isinstance(details, dict):
        return _text(details.get("type"))
    return _text(ways[0]) if isinstance(ways, list) and len(ways) == 1 else None


def _products(thing: Mapping[str, Any]) -> tuple[str, ...]:
    lines = thing.get("lines")
    items = lines.get("data") if isinstance(lines, dict) else None
    named = (_text(item.get("description")) for item in items or () if isinstance(item, dict))
    return tuple(dict.fromkeys(name for name in named if name is not None))


def _paid_at(thing: Mapping[str, Any], at: datetime) -> datetime:
    transitions = thing.get("status_transitions")
    return (_moment(transitions.get("paid_at")) if isinstance(transitions, dict) else None) or at


def _due_on(value: Any, timezone: str) -> date | None:
    moment = _moment(value)
    return moment.astimezone(ZoneInfo(timezone)).date() if moment else None


def _customer(thing: Mapping[str, Any]) -> Customer | None:
    """Whoever is named by any of the places where the objects have it."""
    places = [
        _part(thing.get("customer_details")),
        _part(thing.get("customer")),
        _part(thing.get("billing_details")),
        {
            "name": thing.get("customer_name"), "email": thing.get("customer_email"),
            "phone": thing.get("customer_phone"), "tax_ids": thing.get("customer_tax_ids"),
            "address": thing.get("customer_address"),
        },
        {"email": thing.get("receipt_email")},
    ]  # fmt: skip
    phone = _first(places, "phone")
    known: dict[str, Any] = {
        "name": _first(places, "name"),
        "document": next((found for place in places if (found := _document(place.get("tax_ids")))), None),
        "email": _first(places, "email"),
        "phones": (phone,) if phone else None,
        "city": next(
            (city for place in places if (city := _text(_part(place.get("address")).get("city")))), None
        ),
    }
    known = {name: value for name, value in known.items() if value is not None}
    return Customer(**known) if known.keys() - {"name", "city"} else None


def _first(places: list[Mapping[str, Any]], field: str) -> str | None:
    return next((text for place in places if (text := _text(place.get(field))) is not None), None)


def _document(tax_ids: Any) -> str | None:
    """A CPF or CNPJ; a list of them has its items in `data` where it was expanded."""
    items = tax_ids.get("data") if isinstance(tax_ids, dict) else tax_ids
    for item in items if isinstance(items, list) else ():
        if isinstance(item, dict) and item.get("type") in TAX_IDS:
            return _NOT_DIGITS.sub("", _text(item.get("value")) or "") or None
    return None


def _part(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _moment(value: Any) -> datetime | None:
    return EPOCH + timedelta(seconds=value) if _is_whole(value) else None


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


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
