"""What is in the sandbox's Intercom, and what do its people and the API change there?"""

import itertools
import time
from collections.abc import Callable, Mapping
from typing import Any

from gateway.api import text_to_html

from .crowd import TEAMS, Crowd
from .notifications import Version, attached_item, conversation_item, envelope, tag_item, ticket_item
from .refusal import Refusal
from .wording import is_html

TICKET_STATES = [
    ("4501", "submitted", "Submitted"),
    ("4502", "in_progress", "In progress"),
    ("4503", "waiting_on_customer", "Waiting on customer"),
    ("4504", "resolved", "Resolved"),
    ("4505", "in_progress", "Agendado"),
]
TICKET_TYPES = {"29": "Tickets", "30": "Onboarding"}

Deliver = Callable[[dict[str, Any]], None]


class Desk:
    """One workspace, empty but for its teammates and teams. Whatever changes is told through `deliver`."""

    def __init__(
        self, deliver: Deliver, app_id: str, version: Version, *, tags_in: str = "part", assigns_on_reply: bool = False,
        folds_tags: bool = False,
    ) -> None:  # fmt: skip
        self.app_id, self.version = app_id, version
        self.tags_in, self.assigns_on_reply, self.folds_tags = tags_in, assigns_on_reply, folds_tags
        self.deliver = deliver
        self.crowd = Crowd(self.tell, app_id)
        self.conversations: dict[str, dict[str, Any]] = {}
        self.tickets: dict[str, dict[str, Any]] = {}
        self.ticket_tags: dict[str, list[str]] = {}
        self.tags: dict[str, dict[str, Any]] = {}
        self._ids = itertools.count(215_000_000_000_001)
        self._numbers = itertools.count(1042)
        self._parts = itertools.count(9001)
        self._messages = itertools.count(5001)
        self._tag_ids = itertools.count(55)

    def tell(self, topic: str, item: Mapping[str, Any]) -> None:
        self.deliver(envelope(self.app_id, topic, item))

    # --- conversations ------------------------------------------------------------------------------------

    def conversation(self, conversation_id: str) -> dict[str, Any]:
        found = self.conversations.get(conversation_id)
        if found is None:
            raise Refusal(404, "not_found", "Resource Not Found")
        return found

    def open(
        self,
        contact: dict[str, Any],
        body: str,
        author: dict[str, Any],
        kind: str = "conversation",
        subject: str = "",
    ) -> dict[str, Any]:
        """Somebody begins a conversation; a contact's plain text becomes HTML."""
        now = int(time.time())
        is_customer = author["type"] != "admin"
        opened: dict[str, Any] = {
            "type": "conversation", "id": str(next(self._ids)), "created_at": now, "updated_at": now,
            "waiting_since": now if is_customer else None, "snoozed_until": None, "open": True, "state": "open",
            "read": False, "priority": "not_priority", "title": None, "admin_assignee_id": None,
            "team_assignee_id": None, "custom_attributes": {},
            "tags": {"type": "tag.list", "tags": []},
            "source": {
                "type": kind, "id": str(next(self._messages)),
                "delivered_as": "customer_initiated" if is_customer else "admin_initiated",
                "subject": f"<p>{text_to_html(subject)}</p>" if subject else "", "body": _html(body),
                "author": author, "attachments": [], "url": None, "redacted": False,
            },
            "contacts": {"type": "contact.list", "contacts": [_reference(contact)]},
            "teammates": {"type": "admin.list", "teammates": []},
            "conversation_parts": {"type": "conversation_part.list", "conversation_parts": [], "total_count": 0},
        }  # fmt: skip
        self.conversations[opened["id"]] = opened
        topic = "conversation.user.created" if is_customer else "conversation.admin.single.created"
        self._tell_of(opened, topic, [])
        return opened

    def say(
        self,
        conversation_id: str,
        body: str,
        author: dict[str, Any],
        *,
        note: bool = False,
        by_api: bool = False,
    ) -> dict[str, Any]:
        """A reply or a note. Where replies assign, the first one to an unassigned conversation is an assignment."""
        conversation = self.conversation(conversation_id)
        if not body.strip():
            raise Refusal(400, "parameter_invalid", "Body can't be blank", "body")
        kind = "note" if note else "comment"
        admin = author["type"] == "admin"
        if admin and not note and self.assigns_on_reply and conversation["admin_assignee_id"] is None:
            kind = "assignment"
            conversation["admin_assignee_id"] = int(author["id"])
        to = {"type": "admin", "id": author["id"]} if kind == "assignment" else None
        part = self._part(conversation, kind, author, _html(body), to, by_api)
        if not admin:
            self._reopen(conversation, waiting=True)
        topic = "conversation.admin.noted" if note else f"conversation.{'admin' if admin else 'user'}.replied"
        self._tell_of(conversation, topic, [part])
        if kind == "assignment":
            self._tell_of(conversation, "conversation.admin.assigned", [part])
        return part

    def set_state(
        self, conversation_id: str, state: str, author: dict[str, Any], *, until: int | None = None,
        body: str | None = None, by_api: bool = False,
    ) -> None:  # fmt: skip
        conversation = self.conversation(conversation_id)
        kinds = {"closed": "close", "open": "open", "snoozed": "snoozed"}
        part = self._part(conversation, kinds[state], author, _html(body) if body else None, None, by_api)
        conversation |= {"state": state, "open": state != "closed", "snoozed_until": until}
        part["state"] = state
        if body:  # one thing done, told under two topics
            self._tell_of(conversation, "conversation.admin.replied", [part])
        topics = {"closed": "closed", "open": "opened", "snoozed": "snoozed"}
        self._tell_of(conversation, f"conversation.admin.{topics[state]}", [part])

    def assign(
        self, conversation_id: str, kind: str, to: str, author: dict[str, Any], *, by_api: bool = False
    ) -> None:
        conversation = self.conversation(conversation_id)
        self._check_assignee(kind, to)
        conversation[f"{kind}_assignee_id"] = int(to) or None
        to_whom = {"type": kind, "id": to} if to != "0" else {"type": "nobody_admin", "id": None}
        part = self._part(conversation, "assignment", author, None, to_whom, by_api)
        self._tell_of(conversation, "conversation.admin.assigned", [part])

    def tag(self, conversation_id: str, tag_id: str, admin: str) -> dict[str, Any]:
        conversation, tag = self.conversation(conversation_id), self.named_tag(tag_id)
        applied = {**tag, "applied_at": int(time.time()), "applied_by": {"type": "admin", "id": admin}}
        rows = conversation["tags"]["tags"]
        if all(row["id"] != tag_id for row in rows):
            rows.append(applied)
            conversation["updated_at"] = int(time.time())
            part = next(reversed(conversation["conversation_parts"]["conversation_parts"]), None)
            item = conversation_item(conversation, [part] if part else [], self.version, self.crowd.contacts)
            self.tell("conversation_part.tag.created", tag_item(item, part, applied, self.tags_in))
        return applied

    def untag(self, conversation_id: str, tag_id: str) -> dict[str, Any]:
        """Of this, no notification tells."""
        conversation = self.conversation(conversation_id)
        rows = conversation["tags"]["tags"]
        found = next((row for row in rows if row["id"] == tag_id), None)
        if found is None:
            raise Refusal(404, "tag_not_found", "Tag not found")
        rows.remove(found)
        conversation["updated_at"] = int(time.time())
        return dict(found)

    def change(self, conversation_id: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Attributes, read or a title: of these, no notification tells. A priority, only people set."""
        conversation = self.conversation(conversation_id)
        conversation["custom_attributes"] |= given.get("custom_attributes") or {}
        conversation |= {name: given[name] for name in ("read", "title", "priority") if name in given}
        conversation["updated_at"] = int(time.time())
        if "priority" in given:
            self._tell_of(conversation, "conversation.priority.updated", [])
        return conversation

    def attach(self, conversation_id: str, contact: dict[str, Any]) -> None:
        conversation = self.conversation(conversation_id)
        conversation["contacts"]["contacts"].insert(0, _reference(contact))
        conversation["updated_at"] = int(time.time())
        self.tell("conversation.contact.attached", attached_item(conversation))

    def delete(self, conversation_id: str) -> None:
        self.conversation(conversation_id)
        del self.conversations[conversation_id]
        self.tell("conversation.deleted", {"type": "conversation", "conversation_id": conversation_id})

    def _reopen(self, conversation: dict[str, Any], waiting: bool) -> None:
        conversation |= {"state": "open", "open": True, "snoozed_until": None}
        if waiting:
            conversation["waiting_since"] = int(time.time())

    def _tell_of(self, conversation: Mapping[str, Any], topic: str, rows: list[dict[str, Any]]) -> None:
        self.tell(topic, conversation_item(conversation, rows, self.version, self.crowd.contacts))

    # --- tickets ------------------------------------------------------------------------------------------

    def ticket(self, ticket_id: str) -> dict[str, Any]:
        found = self.tickets.get(ticket_id)
        if found is None:
            raise Refusal(404, "ticket_not_found", "Ticket not found")
        return found

    def open_ticket(
        self, given: Mapping[str, Any], contact: dict[str, Any], author: dict[str, Any]
    ) -> dict[str, Any]:
        kind = str(given.get("ticket_type_id"))
        if kind not in TICKET_TYPES:
            raise Refusal(400, "parameter_invalid", "Ticket type is invalid", "ticket_type_id")
        now = int(time.time())
        to = given.get("assignment") or {}
        for slot in ("admin", "team"):
            self._check_assignee(slot, str(to.get(f"{slot}_assignee_id", "0")))
        opened: dict[str, Any] = {
            "type": "ticket", "id": str(next(self._ids)), "ticket_id": str(next(self._numbers)),
            "category": "Customer", "open": True, "is_shared": True, "created_at": now, "updated_at": now,
            "ticket_attributes": {"_default_title_": "", "_default_description_": ""}
            | dict(given.get("ticket_attributes") or {}),
            "ticket_state": ticket_state("4501"),
            "ticket_type": {"type": "ticket_type", "id": kind, "name": TICKET_TYPES[kind], "category": "Customer"},
            "contacts": {"type": "contact.list", "contacts": [_reference(contact)]},
            "admin_assignee_id": str(to.get("admin_assignee_id", "0")),
            "team_assignee_id": str(to.get("team_assignee_id", "0")),
            "ticket_parts": {"type": "ticket_part.list", "ticket_parts": [], "total_count": 0},
            "linked_objects": {"type": "list", "total_count": 0, "has_more": False, "data": []},
        }  # fmt: skip
        self.tickets[opened["id"]] = opened
        self.tell("ticket.created", ticket_item(opened, None, self.version))
        part = self._part(opened, "ticket_state_updated_by_admin", author, None, None, False)
        part |= {
            "previous_ticket_state": "submitted",
            "ticket_state": "submitted",
        }  # told as if it were a change
        self.tell("ticket.state.updated", ticket_item(opened, None, self.version))
        return opened

    def say_on_ticket(
        self, ticket_id: str, body: str, author: dict[str, Any], *, note: bool = False, by_api: bool = False
    ) -> dict[str, Any]:
        ticket = self.ticket(ticket_id)
        if not body.strip():
            raise Refusal(400, "parameter_invalid", "Body can't be blank", "body")
        part = self._part(ticket, "note" if note else "comment", author, _html(body), None, by_api)
        who = "admin" if author["type"] == "admin" else "contact"
        topic = "ticket.note.created" if note else f"ticket.{who}.replied"
        if who == "contact":
            ticket["open"] = True
        self.tell(topic, ticket_item(ticket, part, self.version))
        return part

    def change_ticket(
        self, ticket_id: str, given: Mapping[str, Any], author: dict[str, Any], *, by_api: bool = False
    ) -> dict[str, Any]:
        ticket = self.ticket(ticket_id)
        if "ticket_state_id" in given:
            self._set_ticket_state(ticket, str(given["ticket_state_id"]), author, by_api)
        if "assignee_id" in given:
            self._assign_ticket(ticket, str(given["assignee_id"]), author, by_api)
        for name, value in (given.get("ticket_attributes") or {}).items():
            ticket["ticket_attributes"][name] = value
            part = self._part(ticket, "ticket_attribute_updated_by_admin", author, None, None, by_api)
            part["updated_attribute_data"] = {
                "attribute": {"type": "attribute", "id": "7", "label": name},
                "value": {"type": "value", "id": None, "label": str(value)},
            }
            self.tell("ticket.attribute.updated", ticket_item(ticket, part, self.version))
        if "snoozed_until" in given:
            ticket["snoozed_until"] = given["snoozed_until"]
            self._part(ticket, "snoozed", author, None, None, by_api)
        if "open" in given and given["open"] != ticket["open"]:
            ticket["open"] = given["open"]
            part = self._part(ticket, "open" if given["open"] else "close", author, None, None, by_api)
            ticket.pop("snoozed_until", None)
            if not given["open"]:
                bare = ticket_item(ticket, None, self.version)
                nested = {"type": "ticket_ticket_part", "ticket": bare}
                self.tell("ticket.closed", nested if self.version == "2.15" else bare)
        ticket["updated_at"] = int(time.time())
        return ticket

    def _set_ticket_state(
        self, ticket: dict[str, Any], state_id: str, author: dict[str, Any], by_api: bool
    ) -> None:
        if state_id not in {row[0] for row in TICKET_STATES}:
            raise Refusal(400, "ticket_state_id_invalid", "Ticket state is invalid for this ticket type")
        old, new = ticket["ticket_state"]["category"], ticket_state(state_id)
        ticket["ticket_state"] = new
        part = self._part(ticket, "ticket_state_updated_by_admin", author, None, None, by_api)
        part |= {"previous_ticket_state": old, "ticket_state": new["category"]}
        self.tell("ticket.state.updated", ticket_item(ticket, None, self.version))
        if new["category"] == "resolved":
            self.tell("ticket.resolved", ticket_item(ticket, None, self.version))

    def _assign_ticket(self, ticket: dict[str, Any], to: str, author: dict[str, Any], by_api: bool) -> None:
        kind = "team" if to in TEAMS else "admin"
        self._check_assignee(kind, to)
        ticket[f"{kind}_assignee_id"] = to
        to_whom = {"type": kind, "id": to} if to != "0" else {"type": "nobody_admin", "id": None}
        part = self._part(ticket, "assignment", author, None, to_whom, by_api)
        self.tell(f"ticket.{kind}.assigned", ticket_item(ticket, part, self.version))

    # --- both ---------------------------------------------------------------------------------------------

    def make_tag(self, name: str) -> dict[str, Any]:
        for tag in self.tags.values():
            if tag["name"] == name or (self.folds_tags and tag["name"].casefold() == name.casefold()):
                return tag
        tag_id = str(next(self._tag_ids))
        self.tags[tag_id] = {"type": "tag", "id": tag_id, "name": name}
        return self.tags[tag_id]

    def named_tag(self, tag_id: str) -> dict[str, Any]:
        if tag_id not in self.tags:
            raise Refusal(404, "tag_not_found", "Tag not found")
        return self.tags[tag_id]

    def _check_assignee(self, kind: str, to: str) -> None:
        if to != "0" and to not in (TEAMS if kind == "team" else self.crowd.admins):
            raise Refusal(404, "assignee_not_found", "Assignee not found")

    def _part(
        self, holder: dict[str, Any], kind: str, author: dict[str, Any], body: str | None,
        to: dict[str, Any] | None, by_api: bool,
    ) -> dict[str, Any]:  # fmt: skip
        now = int(time.time())
        place = f"{holder['type']}_part"
        part: dict[str, Any] = {
            "type": place, "id": str(next(self._parts)), "part_type": kind, "body": body, "created_at": now,
            "updated_at": now, "author": author, "attachments": [], "external_id": None, "redacted": False,
        }  # fmt: skip
        if to is not None:
            part["assigned_to"] = to
        if by_api:
            part["app_package_code"] = "gateway-sandbox"
        rows = holder[f"{place}s"]
        rows[f"{place}s"].append(part)
        rows["total_count"] += 1
        holder["updated_at"] = now
        return part


def ticket_state(state_id: str) -> dict[str, Any]:
    [(_, category, label)] = [row for row in TICKET_STATES if row[0] == state_id]
    return {
        "type": "ticket_state", "id": state_id, "category": category, "internal_label": label,
        "external_label": label,
    }  # fmt: skip


def _reference(contact: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "contact", "id": contact["id"], "external_id": contact["external_id"]}


def _html(body: str) -> str:
    return body if is_html(body) else f"<p>{text_to_html(body)}</p>"
