"""Who is in the sandbox's Intercom: its teammates, and the contacts that its app and its people make?"""

import itertools
import time
from collections.abc import Callable, Mapping
from typing import Any

from .errors import ARCHIVED
from .notifications import contact_item
from .refusal import Refusal

Tell = Callable[[str, Mapping[str, Any]], None]
FIELDS = ("external_id", "email", "phone", "name", "owner_id")

API_ADMIN, HUMAN_ADMIN, OTHER_ADMIN = "700", "701", "702"
TEAMS = {"801": "Suporte", "802": "Chat"}


class Crowd:
    """Contacts are unique by external id and, among users, by e-mail; leads may share one."""

    def __init__(self, tell: Tell, app_id: str) -> None:
        self.tell, self.app_id = tell, app_id
        self.admins = {
            API_ADMIN: _admin(API_ADMIN, "Gateway", "gateway@desk.example"),
            HUMAN_ADMIN: _admin(HUMAN_ADMIN, "Rui Alves", "rui@desk.example"),
            OTHER_ADMIN: _admin(OTHER_ADMIN, "Bia Reis", "bia@desk.example"),
        }
        self.contacts: dict[str, dict[str, Any]] = {}
        self.archived: dict[str, dict[str, Any]] = {}
        self._ids = itertools.count(0x66AA00000000000000000001)

    def author(self, admin_id: object) -> dict[str, Any]:
        """A teammate as the author of a part. Every write names one."""
        admin = self.admins.get(str(admin_id))
        if admin is None:
            raise Refusal(400, "parameter_invalid", "Admin not found", "admin_id")
        return {name: admin[name] for name in ("type", "id", "name", "email")}

    def contact(self, contact_id: str) -> dict[str, Any]:
        found = self.contacts.get(contact_id)
        if found is None:
            raise Refusal(404, "not_found", "User Not Found")
        return found

    def customer(self, contact: Mapping[str, Any]) -> dict[str, Any]:
        """A contact as the author of a part."""
        named = {"type": contact["role"], "id": contact["id"], "name": contact["name"]}
        return named | ({"email": contact["email"]} if contact["email"] else {})

    def by(self, **fields: Any) -> dict[str, Any] | None:
        for contact in self.contacts.values():
            if any(value and _same(contact.get(name), value) for name, value in fields.items()):
                return contact
        return None

    def make(self, given: Mapping[str, Any]) -> dict[str, Any]:
        self._check_unique(given)
        now = int(time.time())
        contact: dict[str, Any] = {
            "type": "contact", "id": f"{next(self._ids):024x}", "workspace_id": self.app_id,
            "role": given.get("role", "user"), **{name: given.get(name) for name in FIELDS},
            "email": given.get("email") or "", "created_at": now, "updated_at": now,
            "custom_attributes": dict(given.get("custom_attributes") or {}),
        }  # fmt: skip
        self.contacts[contact["id"]] = contact
        self.tell(f"contact.{contact['role']}.created", contact_item(contact))
        return contact

    def change(self, contact_id: str, given: Mapping[str, Any]) -> dict[str, Any]:
        contact = self.contact(contact_id)
        email = contact["email"]
        contact |= {name: given[name] for name in (*FIELDS, "role") if name in given}
        contact["custom_attributes"] |= given.get("custom_attributes") or {}
        contact["updated_at"] = int(time.time())
        self.tell(f"contact.{contact['role']}.updated", contact_item(contact))
        if contact["email"] != email:  # one change, told under two topics
            self.tell("contact.email.updated", contact_item(contact))
        return contact

    def archive(self, contact_id: str) -> None:
        self.archived[contact_id] = self.contacts.pop(self.contact(contact_id)["id"])
        self.tell("contact.archived", contact_item(self.archived[contact_id]))

    def unarchive(self, contact_id: str) -> None:
        if contact_id not in self.archived:
            raise Refusal(404, "not_found", "User Not Found")
        self.contacts[contact_id] = self.archived.pop(contact_id)
        self.tell("contact.unarchive", contact_item(self.contacts[contact_id]))

    def delete(self, contact_id: str) -> None:
        gone = self.contacts.pop(self.contact(contact_id)["id"])
        told = {"id": gone["id"], "external_id": gone["external_id"], "type": "contact", "deleted": True}
        self.tell("contact.deleted", told)

    def _check_unique(self, given: Mapping[str, Any]) -> None:
        for holder, words in ((self.contacts, "A contact"), (self.archived, f"An {ARCHIVED}")):
            for contact in holder.values():
                shares_email = given.get("email") and _same(contact["email"], given["email"])
                both_users = contact["role"] == "user" and given.get("role", "user") == "user"
                shares_id = given.get("external_id") and contact["external_id"] == given["external_id"]
                if shares_id or (shares_email and both_users):
                    said = f"{words} matching those details already exists with id={contact['id']}"
                    raise Refusal(409, "conflict", said)


def _same(one: object, other: object) -> bool:
    return str(one).casefold() == str(other).casefold()


def _admin(admin_id: str, name: str, email: str) -> dict[str, Any]:
    return {
        "type": "admin", "id": admin_id, "name": name, "email": email, "job_title": "Support",
        "away_mode_enabled": False, "away_mode_reassign": False, "has_inbox_seat": True, "team_ids": [801],
    }  # fmt: skip
