"""Who is a ticket for, in Freshdesk's list of contacts?  https://developers.freshdesk.com/api/#contacts

E-mails are unique there; phones are free text in two places (`phone`, `mobile`), found only as they are written;
our customers' document is kept as the contact's `unique_external_id`.
"""

from typing import TYPE_CHECKING, Any

import phonenumbers

from gateway.api import JSON, ApiClient, ApiError, ApiFailure, Contact

from .collect import rows_of
from .hint import decimal

if TYPE_CHECKING:
    from . import Settings

SLOTS = ("phone", "mobile")
NOT_ALLOWED = 405  # a contact that was deleted


def requester(contact: Contact | None, api: ApiClient) -> dict[str, JSON]:
    """Whom a new ticket is for, in its fields. A ticket needs somebody: without an e-mail, phone or document it
    is for the agent that we act as. `contact.id` may be another system's, so it is not looked at."""
    if contact is None or not (contact.email or contact.phones or contact.document):
        return {"requester_id": int(api.connection.settings.agent_id)}
    if contact.email and not contact.phones and not contact.document:
        return {"email": contact.email.lower(), "name": contact.name or contact.email}
    found = find(contact, api)
    if found is None:
        return {"requester_id": _create(contact, api)[0]}
    missing = _changes(contact.model_copy(update={"name": None, "custom_fields": {}}), found, api)
    absent = {name: value for name, value in missing.items() if not found.get(name)}
    if absent:
        _change(found["id"], absent, api)
    return {"requester_id": found["id"]}


def save(contact: Contact, api: ApiClient) -> str:
    """The id of the contact: by Freshdesk's own id, else found, else new."""
    if known := decimal(contact.id):
        _change(known, _fields(contact, api), api)
        return known
    found = find(contact, api)
    if found is not None:
        changes = _changes(contact, found, api)
        if changes:
            _change(found["id"], changes, api)
        return str(found["id"])
    contact_id, existed = _create(contact, api)
    if existed:
        _change_if_possible(contact_id, contact, api)
    return str(contact_id)


def find(contact: Contact, api: ApiClient) -> dict[str, Any] | None:
    """By e-mail; by the document; without an e-mail by phone, in the spellings that we know."""
    queries: list[dict[str, str]] = []
    if contact.email:
        queries.append({"email": contact.email.lower()})
    if contact.document:
        queries.append({"unique_external_id": contact.document})
    if not contact.email:
        for phone in contact.phones[:1]:
            spellings = dict.fromkeys((e164(phone, api.connection.settings), phone))
            queries += [{slot: spelling} for spelling in spellings for slot in SLOTS]
    for query in queries:
        if rows := rows_of(api.get("/contacts", **query)):
            return rows[0]
    return None


def _create(contact: Contact, api: ApiClient) -> tuple[int, bool]:
    """The new contact's id; or that of the one who has this e-mail already, although he was not found: a deleted
    contact, an agent, or one who came a moment ago."""
    fields = _fields(contact, api)
    named = contact.name or contact.email or next(iter(contact.phones), None) or contact.document
    if not fields.keys() & {"email", "unique_external_id", *SLOTS}:
        raise ApiError(ApiFailure.REFUSED, "Freshdesk: a contact needs an e-mail, a phone or a document")
    try:
        # with an e-mail a second one is refused as a duplicate, so that no repetition does harm
        saved = api.call("POST", "/contacts", json={**fields, "name": named}, repeatable="email" in fields)
    except ApiError as error:
        if error.existing is None:
            raise
        return int(error.existing), True
    return int(saved.body["id"]), False


def _change_if_possible(contact_id: int, contact: Contact, api: ApiClient) -> None:
    """Neither agents (404) nor deleted contacts (405) can be changed: then they stay as they are."""
    fields = _fields(contact, api)
    fields.pop("email", None)
    try:
        _change(contact_id, fields, api)
    except ApiError as error:
        if error.failure is not ApiFailure.MISSING and error.status != NOT_ALLOWED:
            raise


def _change(contact_id: int | str, fields: dict[str, JSON], api: ApiClient) -> None:
    if fields:
        api.call("PUT", f"/contacts/{contact_id}", json=fields, repeatable=True)


def _fields(contact: Contact, api: ApiClient) -> dict[str, JSON]:
    settings: Settings = api.connection.settings
    numbers = [e164(phone, settings) for phone in contact.phones]
    known: dict[str, JSON] = {
        "name": contact.name,
        "email": contact.email.lower() if contact.email else None,
        "unique_external_id": contact.document,
        "custom_fields": contact.custom_fields,
        **dict(zip(SLOTS, dict.fromkeys(numbers), strict=False)),
    }
    return {name: value for name, value in known.items() if value}


def _changes(contact: Contact, found: dict[str, Any], api: ApiClient) -> dict[str, JSON]:
    """What Freshdesk does not know yet; a number that it has in either place is not written again."""
    settings: Settings = api.connection.settings
    stored = {e164(found[slot], settings): slot for slot in SLOTS if found.get(slot)}
    wanted = _fields(contact, api)
    numbers = [wanted.pop(slot) for slot in SLOTS if slot in wanted]
    free = [slot for slot in SLOTS if not found.get(slot)] or [SLOTS[0]]
    wanted |= zip(free, (number for number in numbers if number not in stored), strict=False)
    if found.get("unique_external_id"):
        wanted.pop("unique_external_id", None)
    held = found.get("custom_fields") or {}
    fields = wanted.pop("custom_fields", {})
    changed = {name: value for name, value in wanted.items() if found.get(name) != value}
    new = {name: value for name, value in fields.items() if held.get(name) != value}
    return changed | ({"custom_fields": new} if new else {})


def e164(phone: str, settings: "Settings") -> str:
    """`+551135550199`; what is no phone number stays as it is."""
    try:
        number = phonenumbers.parse(phone, settings.phone_region)
    except phonenumbers.NumberParseException:
        return phone
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
