"""Who is a ticket for, and how is a contact found, made and changed at Intercom?

https://developers.intercom.com/docs/references/rest-api/api.intercom.io/contacts
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import phonenumbers

from gateway.api import JSON, ApiClient, ApiError, ApiFailure, Contact

from .collect import search
from .envelope import ident
from .errors import ARCHIVED

if TYPE_CHECKING:
    from . import Settings

CONTACT_ID = re.compile(r"[0-9a-f]{24}")
ROLES = frozenset({"user", "lead"})


@dataclass(frozen=True, slots=True)
class Recipient:
    """A contact at Intercom: its id, and whether it is a `user` or a `lead` (`contact` where that is not known)."""

    id: str
    role: str


def recipient(contact: Contact | None, api: ApiClient) -> Recipient:
    """Whoever this is, made if there is nobody. Raises ApiError REFUSED where nothing tells who it is."""
    found = find(contact, api) if contact else None
    if found is not None:
        return found
    if contact is None or not _is_findable(contact):
        raise ApiError(
            ApiFailure.REFUSED, "Intercom: a ticket needs a contact with an e-mail, a phone or a document"
        )
    return _created(contact, api)


def save(contact: Contact, api: ApiClient) -> str:
    """The id of the contact, which has everything now that is known of it."""
    found = find(contact, api)
    if found is None:
        if not _is_findable(contact):
            raise ApiError(
                ApiFailure.REFUSED,
                "Intercom: a contact needs an e-mail, a phone or a document to be found again",
            )
        return _created(contact, api).id
    _change(found.id, _known(contact, api.connection.settings), api)
    return found.id


def find(contact: Contact, api: ApiClient) -> Recipient | None:
    """By Intercom's id; by the external id that we gave; by e-mail, document or phone, a user before a lead."""
    settings: Settings = api.connection.settings
    for path in _exact(contact, settings):
        try:
            return _recipient(api.get(path).body)
        except ApiError as error:
            if error.failure is not ApiFailure.MISSING:
                raise
    wanted = _searched(contact, settings)
    if not wanted:
        return None
    query = wanted[0] if len(wanted) == 1 else {"operator": "OR", "value": wanted}
    rows = list(search(api, "contacts", query, pages=1, size=50))
    by_role = sorted(rows, key=lambda row: row.get("role") != "user")
    for condition in wanted:
        for row in by_role:
            if _meets(row, condition):
                return _recipient(row)
    return None


def e164(phone: str, settings: "Settings") -> str:
    try:
        number = phonenumbers.parse(phone, settings.phone_region)
    except phonenumbers.NumberParseException:
        return phone
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _is_findable(contact: Contact) -> bool:
    return bool(contact.email or contact.phones or contact.document)


def _exact(contact: Contact, settings: "Settings") -> list[str]:
    """Readings that, unlike a search, know of what was written a moment ago."""
    paths = []
    if contact.id and CONTACT_ID.fullmatch(contact.id):
        paths.append(f"/contacts/{contact.id}")
    external = _external_id(contact, settings)
    if external:
        paths.append(f"/contacts/find_by_external_id/{quote(external, safe='+')}")
    return paths


def _external_id(contact: Contact, settings: "Settings") -> str | None:
    """What makes a user without an e-mail unique, so that it cannot be made twice."""
    if contact.document and settings.document_attribute == "external_id":
        return contact.document
    if contact.email:
        return None
    return contact.document or (e164(contact.phones[0], settings) if contact.phones else None)


def _searched(contact: Contact, settings: "Settings") -> list[dict[str, JSON]]:
    conditions: list[dict[str, JSON]] = []
    attribute = settings.document_attribute
    if contact.email:
        conditions.append({"field": "email", "operator": "=", "value": contact.email})
    if contact.document and attribute and attribute != "external_id":
        field = f"custom_attributes.{attribute}"
        conditions.append({"field": field, "operator": "=", "value": contact.document})
    if not contact.email:
        numbers = [e164(phone, settings) for phone in contact.phones]
        conditions += ({"field": "phone", "operator": "=", "value": number} for number in numbers)
    return conditions


def _meets(row: Mapping[str, Any], condition: Mapping[str, Any]) -> bool:
    holder: Mapping[str, Any] = row
    field = str(condition["field"])
    if field.startswith("custom_attributes."):
        holder, field = row.get("custom_attributes") or {}, field.removeprefix("custom_attributes.")
    return str(holder.get(field)).casefold() == str(condition["value"]).casefold()


def _recipient(row: Mapping[str, Any]) -> Recipient:
    role = row.get("role")
    return Recipient(str(ident(row["id"])), role if role in ROLES else "contact")


def _created(contact: Contact, api: ApiClient) -> Recipient:
    """A user, of whom there is one with an e-mail or external id: made twice, the second is a conflict that names
    the first. An archived contact is taken back."""
    settings: Settings = api.connection.settings
    known = {"role": "user", **_known(contact, settings)}
    if external := _external_id(contact, settings):
        known["external_id"] = external
    try:
        return _recipient(api.call("POST", "/contacts", json=known, repeatable=True).body)
    except ApiError as error:
        if error.failure is not ApiFailure.CONFLICT or not error.existing:
            raise
        if ARCHIVED in str(error):
            api.call("POST", f"/contacts/{error.existing}/unarchive", repeatable=True)
        _change(error.existing, _known(contact, settings), api)
        return Recipient(error.existing, "user")


def _change(contact_id: str, known: Mapping[str, JSON], api: ApiClient) -> None:
    api.call("PUT", f"/contacts/{contact_id}", json=dict(known), repeatable=True)


def _known(contact: Contact, settings: "Settings") -> dict[str, JSON]:
    phone = e164(contact.phones[0], settings) if contact.phones else None
    attributes = dict(contact.custom_fields)
    if contact.document and settings.document_attribute not in (None, "external_id"):
        attributes[str(settings.document_attribute)] = contact.document
    given = {"name": contact.name, "email": contact.email, "phone": phone, "custom_attributes": attributes}
    return {name: value for name, value in given.items() if value}
