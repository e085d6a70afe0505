"""How does Bitrix24 write moments, money, people and fields of one's own, whichever method answers?"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from math import isfinite
from typing import TYPE_CHECKING, Any

from gateway.api import JSON, Contact, Person, find_phones

from .accept import decimal

if TYPE_CHECKING:
    from . import Settings

WHOLE_CURRENCIES = {"CLP", "JPY", "KRW", "PYG", "VND", "ISK", "UGX", "XAF", "XOF"}
"""Those whose smallest unit is one."""

LARGEST_AMOUNT = Decimal(10) ** 15

EMPTY: tuple[object, ...] = (None, "", False, [], {})
"""What "none" looks like, by field and method."""


def instant(written: JSON) -> datetime | None:
    """ISO 8601 with the portal's offset. Without one it is in a zone that nobody tells, so it is not known."""
    if not isinstance(written, str) or not written:
        return None
    try:
        moment = datetime.fromisoformat(written)
        return moment if moment.tzinfo is not None and moment.utcoffset() is not None else None
    except ValueError:
        return None


def minor(amount: JSON, currency: str) -> int | None:
    """`"990.00"` in the currency's smallest unit."""
    if amount in EMPTY or isinstance(amount, bool):
        return None
    try:
        value = Decimal(str(amount))
        if not abs(value) < LARGEST_AMOUNT:  # also what is no number
            return None
        return int((value if currency in WHOLE_CURRENCIES else value * 100).to_integral_value())
    except InvalidOperation:
        return None


def person(id_: JSON, *, name: str | None = None, is_agent: bool | None = True) -> Person | None:
    """A user of the portal; 0 is the system."""
    known = decimal(id_)
    return Person(id=known, name=name or None, is_agent=is_agent) if known else None


def number(value: str, region: str) -> str:
    """A phone as it can be dialled. What people type into the field is free text."""
    found = find_phones(value, region, labelled=True)
    return found[0].e164 if found else value.strip()


def reached_by(card: Mapping[str, Any], kind: str) -> list[dict[str, Any]]:
    """PHONE or EMAIL of a card: `fm` in `crm.item.*`, a list of its own in `crm.contact.get`; absent when none."""
    many = card.get("fm")
    if isinstance(many, list):
        return [
            each
            for each in many
            if isinstance(each, dict) and each.get("typeId") == kind and each.get("value")
        ]
    return [
        {"id": each.get("ID"), "value": each["VALUE"]}
        for each in card.get(kind) or ()
        if isinstance(each, dict) and each.get("VALUE")
    ]


def contact(card: JSON, settings: "Settings") -> Contact | None:
    if not isinstance(card, Mapping) or not decimal(card.get("id")):
        return None
    own = own_fields(card, settings.fields_of("contact"))
    names = [str(card.get(part) or "").strip() for part in ("name", "secondName", "lastName")]
    emails = [str(each["value"]).strip() for each in reached_by(card, "EMAIL")]
    phones = [number(str(each["value"]), settings.phone_region) for each in reached_by(card, "PHONE")]
    document = "".join(filter(str.isdecimal, str(own.get("document") or "")))
    return Contact(
        id=decimal(card.get("id")),
        name=" ".join(filter(None, names)) or None,
        email=emails[0] if emails else None,
        phones=tuple(dict.fromkeys(phones)),
        document=document or None,
        custom_fields={name: value for name, value in own.items() if name != "document"},
    )


def own_fields(card: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, JSON]:
    """The mapped fields that the answer has, by our names; empty ones as None."""
    found = {}
    for ours, theirs in names.items():
        for spelled in (theirs, camel(theirs)):
            if spelled in card:
                value = plain(card[spelled])
                found[ours] = None if value in EMPTY else value
    return found


def plain(value: JSON) -> JSON:
    """The value as JSON has it in any language: without numbers that are none."""
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not isfinite(value):
        return None
    return value


def camel(name: str) -> str:
    """`UF_CRM_TASK` as tasks answer it: `ufCrmTask`."""
    first, *rest = name.lower().split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)
