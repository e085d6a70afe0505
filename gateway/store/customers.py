"""Who is this customer, whichever system speaks of them: found by document, e-mail or telephone."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import phonenumbers
from sqlalchemy import Connection

from gateway.model.customer import Customer
from gateway.model.person import Contact

from .rows import among, packed, put
from .tables import customer_keys, customers

REGION, BRAZIL = "BR", 55


def keys_of(person: Customer | Contact) -> list[str]:
    """What the person can be found by again, strongest first."""
    keys = []
    if person.document and (digits := "".join(filter(str.isdigit, person.document))):
        keys.append(f"document:{digits}")
    if person.email and "@" in person.email:
        keys.append(f"email:{person.email.strip().lower()}")
    keys += [f"phone:{number}" for phone in person.phones if (number := _e164(phone))]
    return keys


# Brazilian mobile numbers got a ninth digit from 2012 to 2016, and address books still have them without.
@lru_cache(maxsize=4096)
def _e164(phone: str) -> str | None:
    try:
        number = phonenumbers.parse(phone, REGION)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(number):
        return None
    national = str(number.national_number)
    if number.country_code == BRAZIL and len(national) == 10 and national[2] in "6789":
        number.national_number = int(f"{national[:2]}9{national[2:]}")
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))


def find(db: Connection, names: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """By (tenant, key), the customer's id."""
    wanted = [{"tenant": tenant, "key": key} for tenant, key in set(names)]
    if not wanted:
        return {}
    return {(row.tenant, row.key): row.customer_id for row in db.execute(_FIND, packed(wanted))}


_FIND = among(customer_keys, "tenant", "key")


def load(db: Connection, ids: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Customer]:
    """By (tenant, id)."""
    wanted = [{"tenant": tenant, "id": id_} for tenant, id_ in set(ids)]
    if not wanted:
        return {}
    rows = db.execute(_LOAD, packed(wanted))
    return {(row.tenant, row.id): Customer.model_validate(row.body) for row in rows}


_LOAD = among(customers, "tenant", "id")


def save(db: Connection, rows: Sequence[dict[str, Any]], keys: Sequence[dict[str, Any]]) -> None:
    if rows:
        db.execute(_SAVE, packed(rows))
    if keys:
        db.execute(_SAVE_KEYS, packed(keys))


_new = put(customers, "tenant", "id", "body", "updated_at")
_SAVE = _new.on_conflict_do_update(
    index_elements=["tenant", "id"],
    set_={"body": _new.excluded.body, "updated_at": _new.excluded.updated_at},
)
_SAVE_KEYS = put(customer_keys, "tenant", "key", "customer_id").on_conflict_do_nothing()
