"""Which contact of the CRM is this person, and what is still missing in it?

https://apidocs.bitrix24.com/api-reference/crm/duplicates/crm-duplicate-find-by-comm.html (a list filter compares
phones letter by letter) and /crm/contacts/crm-contact-update.html (values that are not listed stay).
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from gateway.api import ApiClient, ApiError, ApiFailure, Contact

from . import collect, words
from .accept import decimal
from .portal import read, write

if TYPE_CHECKING:
    from . import Settings

ORIGINATOR = "gateway"


def save(contact: Contact, action_id: str, api: ApiClient) -> str:
    """The contact's id. What is there already stays; what is missing is added. Raises ApiError."""
    card = found(contact, api)
    if card is None:
        return _create(contact, action_id, api)
    if lacking := difference(contact, card, api.connection.settings):
        write(api, "crm.contact.update", repeatable=False, id=int(card["id"]), fields=lacking)
    return str(int(card["id"]))


def known_or_new(contact: Contact | None, action_id: str, api: ApiClient) -> str | None:
    """Whom a new task or deal is for; a contact that is known is left as it is."""
    if contact is None or not (contact.email or contact.phones or contact.document or contact.name):
        return None
    card = found(contact.model_copy(update={"id": None}), api)  # the id may be another system's
    return str(int(card["id"])) if card else _create(contact, action_id, api)


def found(contact: Contact, api: ApiClient) -> dict[str, Any] | None:
    """By id, document, e-mail, phone, in this order."""
    settings: Settings = api.connection.settings
    for id_ in _candidates(contact, settings, api):
        try:
            return collect.item("contact", id_, api)
        except ApiError as error:
            if error.failure is not ApiFailure.MISSING:
                raise
    return None


def _candidates(contact: Contact, settings: "Settings", api: ApiClient) -> Iterator[str]:
    if id_ := decimal(contact.id):
        yield id_
    document = settings.fields_of("contact").get("document")
    if contact.document and document:
        rows = read(
            api, "crm.item.list", entityTypeId=collect.TYPE_IDS["contact"], useOriginalUfNames="Y",
            filter={document: contact.document}, select=["id"], order={"id": "asc"}, start=0,
        )  # fmt: skip
        yield from (str(row["id"]) for row in (rows.get("items") if isinstance(rows, dict) else None) or ())
    if contact.email:
        yield from _by("EMAIL", [contact.email], api)
    if contact.phones:
        yield from _by("PHONE", _spellings(contact.phones, settings.phone_region), api)


def _by(kind: str, values: list[str], api: ApiClient) -> Iterator[str]:
    """`{"CONTACT": [305]}`, or an empty list."""
    answer = read(api, "crm.duplicate.findbycomm", type=kind, values=values[:20], entity_type="CONTACT")
    ids = answer.get("CONTACT") if isinstance(answer, dict) else None
    yield from (str(id_) for id_ in ids or () if decimal(id_))


def _spellings(phones: tuple[str, ...], region: str) -> list[str]:
    """Each number as it is dialled, without the ninth digit that older records lack, and as it was given."""
    spelled = []
    for phone in phones:
        number = words.number(phone, region)
        spelled.append(number)
        if number.startswith("+55") and len(number) == 14 and number[5] == "9":
            spelled.append(number[:5] + number[6:])
        spelled.append(phone)
    return list(dict.fromkeys(spelled))


def difference(contact: Contact, card: dict[str, Any], settings: "Settings") -> dict[str, Any]:
    """The fields of an update that brings the card to know all of this; empty = it does already."""
    fields: dict[str, Any] = {}
    if contact.name and not (card.get("name") or card.get("lastName")):
        fields |= _named(contact.name)
    numbers = {
        words.number(str(each["value"]), settings.phone_region) for each in words.reached_by(card, "PHONE")
    }
    wanted = dict.fromkeys(words.number(phone, settings.phone_region) for phone in contact.phones)
    if missing := [phone for phone in wanted if phone not in numbers]:
        fields["PHONE"] = [{"VALUE": phone, "VALUE_TYPE": "WORK"} for phone in missing]
    mails = {str(each["value"]).strip().casefold() for each in words.reached_by(card, "EMAIL")}
    if contact.email and contact.email.casefold() not in mails:
        fields["EMAIL"] = [{"VALUE": contact.email, "VALUE_TYPE": "WORK"}]
    own = words.own_fields(card, settings.fields_of("contact"))
    for name, value in _own(contact).items():
        theirs = settings.fields_of("contact").get(name)
        if theirs and (own.get(name) or None) != (value or None):
            fields[theirs] = value
    return fields


def _create(contact: Contact, action_id: str, api: ApiClient) -> str:
    settings: Settings = api.connection.settings
    named = contact.name or contact.email or (contact.phones[0] if contact.phones else contact.document)
    if not named:
        raise ApiError(
            ApiFailure.REFUSED, "Bitrix24: a contact needs a name, an e-mail, a phone or a document"
        )
    fields = {
        **difference(contact, {}, settings), **_named(named),
        "ORIGINATOR_ID": ORIGINATOR, "ORIGIN_ID": action_id,
    }  # fmt: skip
    return str(int(write(api, "crm.contact.add", repeatable=False, fields=fields)))


def _named(name: str) -> dict[str, str]:
    first, _, last = name.strip().partition(" ")
    return {"NAME": first, "LAST_NAME": last.strip()}


def _own(contact: Contact) -> dict[str, Any]:
    return contact.custom_fields | ({"document": contact.document} if contact.document else {})
