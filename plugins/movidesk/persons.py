"""Who is this contact at Movidesk: which person is it, and what must be written so that it is?

https://atendimento.movidesk.com/kb/article/189
"""

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import phonenumbers

from gateway.api import JSON, ApiClient, ApiError, ApiFailure, Contact, CreateTicket

from . import fields
from .collect import listed, one, quoted

PERSON, COMPANY = 1, 2  # personType
CLIENT, BOTH = 2, 3  # profileType; 1 is an agent
CNPJ_DIGITS = 14
SEARCHED_DIGITS = 8
SEARCHED_PHONES = 3

Match = Callable[[JSON], bool]


def client_of(action: CreateTicket, api: ApiClient) -> str:
    """The Cód. Ref. of the person whose ticket this will be: found, or created. Raises ApiError.

    A contact often comes from another desk, so its `id` is believed only when there is nothing else to go by.
    """
    settings, contact = api.connection.settings, action.contact
    if contact and (contact.document or contact.email or contact.phones):
        person = find(contact, api)
        return str(person["id"]) if person else create(contact, action.id, api)
    if contact and contact.id:
        return contact.id
    if contact and contact.name and not settings.default_client_id:
        return create(contact, action.id, api)
    if not settings.default_client_id:
        raise ApiError(
            ApiFailure.REFUSED,
            "a Movidesk ticket needs a client: the action names no contact and the connection has no"
            " `default_client_id`",
        )
    return str(settings.default_client_id)


def find(contact: Contact, api: ApiClient) -> JSON | None:
    """By document, then e-mail, then phone; the first that finds somebody decides."""
    for where, matches in _searches(contact):
        rows = listed(
            api, "/persons", where=where, select="id,businessName,cpfCnpj,isActive,profileType",
            expand="emails,contacts",
        )  # fmt: skip
        found = sorted(filter(matches, rows), key=_preference)
        if found:
            return found[0]
    return None


def _preference(person: JSON) -> tuple[bool, bool, str]:
    """Active ones first, clients before agents; then always the same one."""
    is_client = person.get("profileType") in {CLIENT, BOTH}
    return person.get("isActive") is False, not is_client, str(person["id"])


def _searches(contact: Contact) -> Iterator[tuple[str, Match]]:
    if contact.document:
        # stored as it was typed: with or without punctuation
        spellings = {contact.document, punctuated(contact.document)}
        yield " or ".join(f"cpfCnpj eq {quoted(one)}" for one in sorted(spellings)), _anybody
    if contact.email:
        yield f"emails/any(e: e/email eq {quoted(contact.email.strip().lower())})", _anybody
    tails = [
        digits[-SEARCHED_DIGITS:]
        for phone in contact.phones
        if len(digits := _digits(phone)) >= SEARCHED_DIGITS
    ]
    if tails:
        # free text, "(11) 98888-7777": both halves of the last eight digits, whatever stands between them
        halves = [
            f"(contains(c/contact,{quoted(tail[:4])}) and contains(c/contact,{quoted(tail[4:])}))"
            for tail in dict.fromkeys(tails[:SEARCHED_PHONES])
        ]
        yield f"contacts/any(c: {' or '.join(halves)})", lambda person: _shares_phone(person, contact.phones)


def _anybody(person: JSON) -> bool:
    return bool(person.get("id"))


def _shares_phone(person: JSON, phones: tuple[str, ...]) -> bool:
    stored = [entry.get("contact") or "" for entry in person.get("contacts") or ()]
    return any(same_phone(one, other) for one in phones for other in stored)


def same_phone(one: str, other: str) -> bool:
    """With or without country code and punctuation, but never without the area code."""
    match = phonenumbers.is_number_match(one, other)
    return match in {phonenumbers.MatchType.EXACT_MATCH, phonenumbers.MatchType.NSN_MATCH}


def create(contact: Contact, action_id: str, api: ApiClient) -> str:
    """A new client. Its Cód. Ref. follows from who it is: a repeated attempt is refused by Movidesk and then
    finds the person that the first one made. Raises ApiError."""
    person_id = reference(contact, action_id)
    name = contact.name or contact.email or next(iter(contact.phones), None) or contact.document
    body: dict[str, Any] = {
        "id": person_id, "isActive": True, "profileType": CLIENT, "businessName": name,
        "personType": COMPANY if len(contact.document or "") == CNPJ_DIGITS else PERSON,
        "cultureId": "pt-BR", "timeZoneId": "America/Sao_Paulo",
    }  # fmt: skip
    try:
        answer = api.call("POST", "/persons", json=body | difference(contact, {}, api))
    except ApiError as refusal:
        if refusal.failure not in {ApiFailure.REFUSED, ApiFailure.CONFLICT}:
            raise
        try:
            return str(one(api.get("/persons", id=person_id), f"person {person_id}")["id"])
        except ApiError as error:
            if error.failure is ApiFailure.MISSING:
                raise refusal from None
            raise
    return str(answer.body.get("id") or person_id) if isinstance(answer.body, dict) else person_id


def reference(contact: Contact, action_id: str) -> str:
    """The Cód. Ref. of a person we create; people who share no more than a name are told apart."""
    phone = _digits(contact.phones[0])[-11:] if contact.phones else None
    identity = contact.document or (contact.email or "").strip().lower() or phone or action_id
    return f"gw-{hashlib.sha256(identity.encode()).hexdigest()[:24]}"


def stored(contact: Contact, api: ApiClient) -> JSON | None:
    """The whole person that `contact` means: by its id, or by what identifies it. Raises ApiError."""
    if contact.id:
        try:
            return one(api.get("/persons", id=contact.id), f"person {contact.id}")
        except ApiError as error:
            if error.failure is not ApiFailure.MISSING:
                raise
    found = find(contact, api)
    if found and contact.custom_fields:  # lists leave the fields out
        return one(api.get("/persons", id=found["id"]), f"person {found['id']}")
    return found


def save(contact: Contact, action_id: str, api: ApiClient) -> str:
    """What is known of the contact, added to the stored person or to a new one; gives its Cód. Ref."""
    person = stored(contact, api)
    if person is None:
        return create(contact, action_id, api)
    changed = difference(contact, person, api)
    if changed:
        api.call("PATCH", "/persons", params={"id": person["id"]}, json=changed, repeatable=True)
    return str(person["id"])


def difference(contact: Contact, person: JSON, api: ApiClient) -> dict[str, Any]:
    """What to send so that the person has all that `contact` knows; empty when it has. Lists go whole."""
    changed: dict[str, Any] = {}
    if contact.name and person and contact.name != person.get("businessName"):
        changed["businessName"] = contact.name
    if contact.document and contact.document != _digits(person.get("cpfCnpj") or ""):
        changed["cpfCnpj"] = contact.document
    emails = person.get("emails") or []
    if contact.email and contact.email.lower() not in {
        (entry.get("email") or "").lower() for entry in emails
    }:
        new = {"emailType": "Profissional", "email": contact.email, "isDefault": not emails}
        changed["emails"] = [*emails, new]
    contacts = person.get("contacts") or []
    missing = [phone for phone in contact.phones if not _shares_phone({"contacts": contacts}, (phone,))]
    if missing:
        changed["contacts"] = [
            *contacts,
            *({"contactType": "Telefone", "contact": phone, "isDefault": not contacts and phone == missing[0]}
              for phone in missing),
        ]  # fmt: skip
    if contact.custom_fields:
        mapping = api.connection.settings.custom_fields
        values = fields.replaced(person.get("customFieldValues") or (), contact.custom_fields, mapping)
        if values is not None:
            changed["customFieldValues"] = values
    return changed


def punctuated(document: str) -> str:
    """`123.456.789-09` or `12.345.678/0001-95`; anything else stays as it is."""
    d = document
    if len(d) == CNPJ_DIGITS:
        return f"{d[:2]}.{d[2:5]}.{d[5:8]}/{d[8:12]}-{d[12:]}"
    return f"{d[:3]}.{d[3:6]}.{d[6:9]}-{d[9:]}" if len(d) == 11 else d


def _digits(text: str) -> str:
    return "".join(filter(str.isdecimal, text))
