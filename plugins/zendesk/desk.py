"""What does the sandbox's Zendesk remember, and which webhooks does a change of it cause?"""

import itertools
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from gateway.api import html_to_text, text_to_html

from .envelopes import Happening, event_value, iso, ticket_envelopes, trigger_body, user_envelope

API_AGENT, HUMAN_AGENT = 90001, 80005
KEPT_KEYS = 2 * 3600.0  # how long an idempotency key is remembered

STATUSES = ("new", "open", "pending", "hold", "solved", "closed")
CUSTOM_STATUS = {"new": 3001, "open": 3002, "pending": 3003, "hold": 3004, "solved": 3005, "closed": 3005}
CATEGORY = {3001: "new", 3002: "open", 3003: "pending", 3004: "hold", 3005: "solved", 3006: "pending"}

# The fields of an update that have an event of their own.
CHANGED = {
    "subject": "subject_changed",
    "type": "type_changed",
    "priority": "priority_changed",
    "status": "status_changed",
    "custom_status_id": "custom_status_changed",
    "assignee_id": "agent_assignment_changed",
    "group_id": "group_assignment_changed",
    "requester_id": "requester_changed",
    "external_id": "external_id_changed",
    "due_at": "task_due_at_changed",
}
Deliver = Callable[[list[dict[str, Any]]], None]


class Refusal(Exception):
    """An answer that is not 2xx."""

    def __init__(self, status: int, error: str, description: str, details: Any = None) -> None:
        super().__init__(error)
        self.status = status
        self.body = {"error": error, "description": description} | ({"details": details} if details else {})

    @classmethod
    def invalid(cls, field: str, description: str) -> "Refusal":
        return cls(422, "RecordInvalid", "Record validation errors", {field: [{"description": description}]})


class Desk:
    """One account's users, tickets, comments and audits, all in the shapes of the API."""

    account_id = 9001001

    def __init__(
        self, deliver: Deliver, webhooks: str, first_comment_event: bool, solve_needs_assignee: bool
    ) -> None:
        self.deliver, self.webhooks = deliver, webhooks
        self.first_comment_event, self.solve_needs_assignee = first_comment_event, solve_needs_assignee
        self.ids = itertools.count(70001)
        self.numbers = itertools.count(4711)
        self.groups = [_group(8001, "Support"), _group(8002, "Finance")]
        self.users: dict[int, dict[str, Any]] = {}
        self.tickets: dict[int, dict[str, Any]] = {}
        self.touched: dict[int, float] = {}
        self.comments: dict[int, list[dict[str, Any]]] = defaultdict(list)
        self.audits: dict[int, list[dict[str, Any]]] = defaultdict(list)
        self._new_user(API_AGENT, {"name": "Gateway", "email": "gateway@desk.example", "role": "admin"})
        self._new_user(HUMAN_AGENT, {"name": "Ana Souza", "email": "ana.souza@desk.example", "role": "agent"})

    # --- users ------------------------------------------------------------------------------------------

    def people(self, ids: Iterable[int | None]) -> list[dict[str, Any]]:
        return [self.users[user_id] for user_id in sorted({i for i in ids if i in self.users})]

    def find_user(self, **by: str | None) -> dict[str, Any] | None:
        wanted = {name: value.lower() for name, value in by.items() if value}
        for user in self.users.values():
            if any((user[name] or "").lower() == value for name, value in wanted.items()):
                return user
        return None

    def save_user(
        self, user_id: int | None, given: Mapping[str, Any], actor: int = API_AGENT
    ) -> dict[str, Any]:
        if user_id is None:
            if not given.get("name"):
                raise Refusal.invalid("name", "Name: is too short (minimum one character)")
            user = self._new_user(next(self.ids), given)
            self._tell_of_user(user, actor, "created", {})
            return user
        user, phone = self.users[user_id], given.get("phone")
        if phone and phone != user["phone"]:
            identity = {"id": str(next(self.ids)), "type": "phone_number", "value": phone, "primary": True}
            user["phone"] = phone
            self._tell_of_user(user, actor, "identity_created", {"identity": identity})
        if given.get("name") and given["name"] != user["name"]:
            names = {"previous": user["name"], "current": given["name"]}
            user["name"] = given["name"]
            self._tell_of_user(user, actor, "name_changed", names)
        user.update({name: given[name] for name in ("external_id", "user_fields") if name in given})
        user["email"] = user["email"] or given.get("email")  # a second e-mail would become an identity
        user["updated_at"] = iso(time.time())
        return user

    def _new_user(self, user_id: int, given: Mapping[str, Any]) -> dict[str, Any]:
        now = iso(time.time())
        self.users[user_id] = {
            "id": user_id,
            "url": f"https://sandbox.zendesk.com/api/v2/users/{user_id}.json",
            "name": given["name"],
            "email": given.get("email"),
            "phone": given.get("phone"),
            "shared_phone_number": None,
            "external_id": given.get("external_id"),
            "role": given.get("role", "end-user"),
            "user_fields": given.get("user_fields", {}),
            "organization_id": None,
            "active": True,
            "verified": False,
            "suspended": False,
            "tags": [],
            "created_at": now,
            "updated_at": now,
        }
        return self.users[user_id]

    # --- tickets ----------------------------------------------------------------------------------------

    def live(self) -> list[dict[str, Any]]:
        return [ticket for ticket in self.tickets.values() if ticket["status"] != "deleted"]

    def ticket(self, ticket_id: int) -> dict[str, Any]:
        ticket = self.tickets.get(ticket_id)
        if ticket is None or ticket["status"] == "deleted":
            raise Refusal(404, "RecordNotFound", "Not found")
        return ticket

    def open(
        self, given: Mapping[str, Any], actor: int, channel: str
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        comment = given.get("comment") or {}
        if not (comment.get("body") or comment.get("html_body")):
            raise Refusal.invalid("base", "Description: cannot be blank")
        ticket = self._blank(given, self._requester(given, actor), channel)
        ticket["description"] = comment.get("body") or html_to_text(comment["html_body"])
        changes = {
            name: given[name] for name in given if name not in ("requester", "requester_id", "comment")
        }
        self._check(ticket, changes)
        self.tickets[ticket["id"]] = ticket
        audit = self._audit(ticket, actor, channel, given.get("metadata"))
        author = comment.get("author_id") or given.get("submitter_id") or ticket["requester_id"]
        said = self._say(ticket, comment, author, audit, channel)
        self._apply(ticket, changes, audit, "Create")
        if ticket["assignee_id"] and ticket["status"] == "new":
            ticket["status"] = "open"
        ticket["custom_status_id"] = given.get("custom_status_id") or CUSTOM_STATUS[ticket["status"]]
        self._touch(ticket)
        happened: list[Happening] = [("created", {})]
        if self.first_comment_event:
            happened.append(("comment_added", {"comment": said}))
        self._tell(ticket, actor, happened)
        return ticket, audit

    def change(
        self, ticket_id: int, given: Mapping[str, Any], actor: int, channel: str
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        ticket = self.ticket(ticket_id)
        changes, comment = dict(given), given.get("comment") or {}
        if ticket["status"] == "closed":
            raise Refusal.invalid("status", "Status: closed prevents ticket update")
        self._check(ticket, changes)
        spoken = bool(comment.get("body") or comment.get("html_body"))  # an empty comment is silently dropped
        if spoken and actor == ticket["requester_id"] and ticket["status"] not in ("new", "open"):
            changes.setdefault("status", "open")
        if changes.get("assignee_id") and ticket["status"] == "new":
            changes.setdefault("status", "open")
        audit = self._audit(ticket, actor, channel, given.get("metadata"), keep=False)
        happened: list[Happening] = []
        if spoken:
            author = comment.get("author_id") or actor
            happened.append(
                ("comment_added", {"comment": self._say(ticket, comment, author, audit, channel)})
            )
        happened += self._apply(ticket, changes, audit, "Change")
        if happened:
            self.audits[ticket_id].append(audit)
            self._touch(ticket)
            self._tell(ticket, actor, happened)
        return ticket, audit

    def delete(self, ticket_id: int, actor: int) -> None:
        ticket = self.ticket(ticket_id)
        ticket["status"] = "deleted"
        self._touch(ticket)
        self._tell(ticket, actor, [("soft_deleted", {})])

    def merge(self, ticket_id: int, target: int, actor: int) -> None:
        self.ticket(target)
        self._tell(self.ticket(ticket_id), actor, [("merged", {"target_ticket_id": str(target)})])

    def _requester(self, given: Mapping[str, Any], actor: int) -> int:
        if given.get("requester_id") is not None:
            if given["requester_id"] not in self.users:
                raise Refusal.invalid("requester", "Requester: is invalid")
            return int(given["requester_id"])
        person = given.get("requester")
        if not person:
            return actor
        found = self.find_user(email=person.get("email"))
        return int((found or self.save_user(None, person))["id"])

    def _blank(self, given: Mapping[str, Any], requester: int, channel: str) -> dict[str, Any]:
        number, now = next(self.numbers), iso(time.time())
        nothing = (
            "assignee_id",
            "due_at",
            "external_id",
            "organization_id",
            "priority",
            "problem_id",
            "recipient",
        )
        return {
            **dict.fromkeys((*nothing, "satisfaction_rating", "type")),
            "id": number,
            "url": f"https://sandbox.zendesk.com/api/v2/tickets/{number}.json",
            "subject": None,
            "raw_subject": None,
            "status": "new",
            "group_id": self.groups[0]["id"],
            "brand_id": 501,
            "ticket_form_id": 601,
            "requester_id": requester,
            "submitter_id": given.get("submitter_id") or requester,
            "tags": [],
            "custom_fields": [],
            "fields": [],
            "collaborator_ids": [],
            "follower_ids": [],
            "email_cc_ids": [],
            "sharing_agreement_ids": [],
            "allow_channelback": False,
            "allow_attachments": True,
            "from_messaging_channel": False,
            "has_incidents": False,
            "is_public": (given.get("comment") or {}).get("public", True),
            "via": {"channel": channel, "source": {"from": {}, "to": {}, "rel": None}},
            "created_at": now,
            "updated_at": now,
        }

    def _check(self, ticket: Mapping[str, Any], given: Mapping[str, Any]) -> None:
        if given.get("safe_update") is not None and given.get("updated_stamp") != ticket["updated_at"]:
            raise Refusal(
                409, "UpdateConflict", "Safe Update prevented the update due to outdated ticket data"
            )
        if given.get("status") not in (None, *STATUSES):
            raise Refusal.invalid("status", f"Status: {given['status']} is not a valid status")
        if given.get("custom_status_id") not in (None, *CATEGORY):
            raise Refusal.invalid("custom_status_id", "Custom status: is invalid")
        if given.get("group_id") not in (None, *(group["id"] for group in self.groups)):
            raise Refusal.invalid("group", "Group: is invalid")
        agent = given.get("assignee_id")
        if agent is not None and self.users.get(agent, {}).get("role") not in ("agent", "admin"):
            raise Refusal.invalid("assignee", "Assignee: is invalid")
        solved = given.get("status") == "solved" and not (agent or ticket["assignee_id"])
        if solved and self.solve_needs_assignee:
            raise Refusal.invalid("base", "Assignee: is required when solving a ticket")

    def _apply(
        self, ticket: dict[str, Any], given: dict[str, Any], audit: dict[str, Any], kind: str
    ) -> list[Happening]:
        happened: list[Happening] = []
        if given.get("assignee_email"):
            given["assignee_id"] = (self.find_user(email=given["assignee_email"]) or {}).get("id")
        if given.get("custom_status_id"):
            given["status"] = CATEGORY[given["custom_status_id"]]
        elif "status" in given and given["status"] != ticket["status"]:
            given["custom_status_id"] = CUSTOM_STATUS[given["status"]]
        for field, event in CHANGED.items():
            if field in given and given[field] != ticket.get(field):
                old, ticket[field] = ticket.get(field), given[field]
                self._note(audit, kind, field, given[field], old)
                happened.append(
                    (
                        event,
                        {"previous": event_value(field, old), "current": event_value(field, given[field])},
                    )
                )
        ticket["raw_subject"] = ticket["subject"]
        old_tags = set(ticket["tags"])
        tags = set(_tags(given["tags"])) if "tags" in given else old_tags
        tags = (tags | set(_tags(given.get("additional_tags")))) - set(_tags(given.get("remove_tags")))
        if tags != old_tags:
            ticket["tags"] = sorted(tags)
            self._note(audit, kind, "tags", " ".join(sorted(tags)), " ".join(sorted(old_tags)))
            delta = {"tags_added": sorted(tags - old_tags), "tags_removed": sorted(old_tags - tags)}
            happened.append(("tags_changed", delta))
        return happened + self._apply_fields(ticket, given.get("custom_fields") or (), audit, kind)

    def _apply_fields(
        self, ticket: dict[str, Any], given: Iterable[Mapping[str, Any]], audit: dict[str, Any], kind: str
    ) -> list[Happening]:
        happened: list[Happening] = []
        for field in given:
            known = {entry["id"]: entry for entry in ticket["custom_fields"]}
            entry = known.get(int(field["id"]))
            if entry is None:
                entry = {"id": int(field["id"]), "value": None}
                ticket["custom_fields"].append(entry)
            if entry["value"] == field["value"]:
                continue
            change = {
                "custom_field": {"id": str(entry["id"]), "title": f"Field {entry['id']}", "type": "text"},
                "previous": {"value": entry["value"]},
                "current": {"value": field["value"]},
            }
            self._note(audit, kind, str(entry["id"]), field["value"], entry["value"])
            entry["value"] = field["value"]
            happened.append(("custom_field_changed", change))
        ticket["fields"] = ticket["custom_fields"]
        return happened

    def _say(
        self,
        ticket: dict[str, Any],
        comment: Mapping[str, Any],
        author: int,
        audit: dict[str, Any],
        channel: str,
    ) -> dict[str, Any]:
        """Add the comment; gives it as events tell it."""
        public = comment.get("public", ticket["is_public"])
        html = comment.get("html_body") or text_to_html(comment["body"])
        body = html_to_text(comment["html_body"]) if comment.get("html_body") else comment["body"]
        comment_id = next(self.ids)
        row = {
            "id": comment_id,
            "type": "Comment",
            "author_id": author,
            "body": body,
            "html_body": f'<div class="zd-comment" dir="auto">{html}</div>',
            "plain_body": body,
            "public": public,
            "attachments": [],
            "audit_id": audit["id"],
            "via": {"channel": channel, "source": {"from": {}, "to": {}, "rel": None}},
            "created_at": iso(time.time()),
            "metadata": audit["metadata"],
        }
        self.comments[ticket["id"]].append(row)
        ticket["is_public"] = any(said["public"] for said in self.comments[ticket["id"]])
        told = (
            "id",
            "type",
            "author_id",
            "body",
            "html_body",
            "plain_body",
            "public",
            "attachments",
            "audit_id",
        )
        audit["events"].append({name: row[name] for name in told})
        writer = self.users[author]
        return {
            "id": str(comment_id),
            "body": body,
            "is_public": public,
            "author": {"id": str(author), "is_staff": writer["role"] != "end-user", "name": writer["name"]},
        }

    def _audit(
        self, ticket: Mapping[str, Any], actor: int, channel: str, custom: Any, keep: bool = True
    ) -> dict[str, Any]:
        audit = {
            "id": next(self.ids),
            "ticket_id": ticket["id"],
            "author_id": actor,
            "created_at": iso(time.time()),
            "metadata": {"system": {"client": "sandbox"}, "custom": custom or {}},
            "events": [],
            "via": {"channel": channel, "source": {"from": {}, "to": {}, "rel": None}},
        }
        if keep:
            self.audits[ticket["id"]].append(audit)
        return audit

    def _note(self, audit: dict[str, Any], kind: str, field: str, value: Any, old: Any) -> None:
        event = {"id": next(self.ids), "type": kind, "field_name": field, "value": value}
        audit["events"].append(event | ({"previous_value": old} if kind == "Change" else {}))

    def _touch(self, ticket: dict[str, Any]) -> None:
        now = time.time()
        ticket["updated_at"], ticket["generated_timestamp"] = iso(now), int(now)
        self.touched[ticket["id"]] = now

    # --- webhooks ---------------------------------------------------------------------------------------

    def _tell(self, ticket: Mapping[str, Any], actor: int, happened: list[Happening]) -> None:
        if self.webhooks == "events":
            self.deliver(ticket_envelopes(self.account_id, ticket, actor, happened))
        elif ticket["status"] != "deleted":  # no trigger sees a deletion
            self.deliver([trigger_body(ticket, actor)])

    def _tell_of_user(self, user: Mapping[str, Any], actor: int, kind: str, event: dict[str, Any]) -> None:
        if self.webhooks == "events":
            self.deliver([user_envelope(self.account_id, user, actor, kind, event)])


def _group(group_id: int, name: str) -> dict[str, Any]:
    now = "2026-01-05T12:00:00Z"
    named = {
        "id": group_id,
        "name": name,
        "url": f"https://sandbox.zendesk.com/api/v2/groups/{group_id}.json",
    }
    state = {"deleted": False, "default": group_id == 8001, "description": "", "is_public": True}
    return {**named, **state, "created_at": now, "updated_at": now}


def _tags(given: Iterable[str] | None) -> list[str]:
    """A space ends a tag; capitals are lost, and signs but for a few."""
    kept = (re.sub(r"[^\w/:-]", "", part) for tag in given or () for part in tag.lower().split())
    return [tag for tag in kept if tag]
