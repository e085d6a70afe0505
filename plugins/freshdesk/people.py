"""Whom does the sandbox's Freshdesk know? Its agents, and contacts with all that makes them hard to find."""

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

API_AGENT, HUMAN_AGENT, OTHER_AGENT = 43000001, 43000002, 43000003
UNIQUE = ("email", "unique_external_id", "twitter_id")
KNOWN_BY = ("email", "phone", "mobile", "unique_external_id", "twitter_id")
CONTACT_FIELDS = {
    "name", "email", "phone", "mobile", "unique_external_id", "twitter_id", "company_id", "custom_fields",
    "tags", "description", "job_title", "address",
}  # fmt: skip


class Refusal(Exception):
    """An answer that is not 2xx; a body of None is no body at all."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(str(body))
        self.status = status
        self.body = body

    @classmethod
    def invalid(cls, *errors: Mapping[str, Any], status: int = 400) -> "Refusal":
        return cls(status, {"description": "Validation failed", "errors": list(errors)})

    @classmethod
    def plain(cls, status: int, code: str, message: str) -> "Refusal":
        return cls(status, {"code": code, "message": message})


def wrong(field: str, message: str, code: str = "invalid_value", **more: Any) -> dict[str, Any]:
    return {"field": field, "message": message, "code": code, **more}


class People:
    """Agents and contacts share one sequence of ids; only contacts can be changed as such."""

    def __init__(self, now: Callable[[], str], duplicate_status: int) -> None:
        self.now, self.duplicate_status = now, duplicate_status
        self.ids = itertools.count(43000101)
        self.contacts: dict[int, dict[str, Any]] = {}
        self.agents: dict[int, dict[str, Any]] = {
            id_: {"id": id_, "available": True, "contact": {"name": name, "email": email}}
            for id_, name, email in (
                (API_AGENT, "Gateway", "gateway@desk.example"),
                (HUMAN_AGENT, "Ana Dias", "ana.dias@desk.example"),
                (OTHER_AGENT, "Bruno Reis", "bruno.reis@desk.example"),
            )
        }

    def shown(self, person_id: int | None) -> dict[str, Any]:
        """Name, e-mail and phones of whoever it is."""
        if person_id in self.agents:
            return {"id": person_id, **self.agents[person_id]["contact"], "phone": None, "mobile": None}
        contact = self.contacts.get(person_id or 0, {})
        return {name: contact.get(name) for name in ("id", "name", "email", "phone", "mobile")}

    def found(self, by: Mapping[str, str]) -> list[dict[str, Any]]:
        """Exact matches; e-mails in lower case only, as they are stored."""
        names = [name for name in by if name in (*KNOWN_BY, "company_id")]
        live = (contact for contact in self.contacts.values() if not contact["deleted"])
        return [one for one in live if all(str(one.get(name)) == by[name] for name in names)]

    def save(self, contact_id: int | None, given: Mapping[str, Any]) -> dict[str, Any]:
        self._check(contact_id, given)
        if contact_id is None:
            if not given.get("name"):
                raise Refusal.invalid(wrong("name", "It should be a/an String", "missing_field"))
            if not any(given.get(name) for name in KNOWN_BY):
                raise Refusal.invalid(wrong("email", "Please fill at least 1 of these", "missing_field"))
            contact_id = next(self.ids)
            now = self.now()
            self.contacts[contact_id] = {
                **dict.fromkeys(sorted(CONTACT_FIELDS)), "custom_fields": {}, "tags": [], "id": contact_id,
                "active": False, "deleted": False, "created_at": now, "updated_at": now,
            }  # fmt: skip
        contact = self.contacts[contact_id]
        plain = {name: value for name, value in given.items() if name != "custom_fields"}
        if plain.get("email"):
            plain["email"] = plain["email"].lower()
        contact.update(plain)
        contact["custom_fields"] = contact["custom_fields"] | (given.get("custom_fields") or {})
        contact["updated_at"] = self.now()
        return contact

    def met(self, given: Mapping[str, Any]) -> int:
        """The requester of a new ticket; whoever is not known becomes a contact without a word."""
        if given.get("requester_id") is not None:
            wanted = int(given["requester_id"])
            if wanted not in self.agents and wanted not in self.contacts:
                raise Refusal.invalid(wrong("requester_id", "There is no contact matching the given id"))
            return wanted
        by = {name: str(given[name]) for name in (*KNOWN_BY, "facebook_id") if given.get(name)}
        if not by:
            raise Refusal.invalid(
                wrong("requester_id", "Please fill at least 1 of requester_id, email, phone", "missing_field")
            )
        if "email" in by:
            by = {"email": by["email"].lower()}
            for agent in self.agents.values():
                if agent["contact"]["email"] == by["email"]:
                    return int(agent["id"])
        elif "phone" in by and not given.get("name"):
            raise Refusal.invalid(wrong("name", "It should be a/an String", "missing_field"))
        found = self.found(dict(by))
        if found:
            return int(found[0]["id"])
        told = {name: given[name] for name in ("name", "phone", "mobile", *by) if given.get(name)}
        return int(self.save(None, {"name": told.get("email", "?"), **told})["id"])

    def _check(self, contact_id: int | None, given: Mapping[str, Any]) -> None:
        if unknown := sorted(given.keys() - CONTACT_FIELDS):
            raise Refusal.invalid(wrong(unknown[0], "Unexpected/invalid field in request", "invalid_field"))
        for name in UNIQUE:
            value = str(given.get(name) or "").lower()
            if value and (taken := self._owner(name, value)) not in (None, contact_id):
                info = {"user_id": taken}
                error = wrong(name, "It should be a unique value", "duplicate_value", additional_info=info)
                raise Refusal.invalid(error, status=self.duplicate_status)

    def _owner(self, name: str, value: str) -> int | None:
        """Agents and deleted contacts keep what is unique, though no list of contacts shows them."""
        people: Iterable[tuple[int, Mapping[str, Any]]] = (
            *self.contacts.items(),
            *((id_, agent["contact"]) for id_, agent in self.agents.items()),
        )
        return next((id_ for id_, one in people if str(one.get(name) or "").lower() == value), None)
