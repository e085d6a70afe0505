"""What does the sandbox's Freshdesk remember, what does it refuse, and which webhooks does a change cause?"""

import itertools
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import nh3

from gateway.api import html_to_text

from . import envelopes
from .envelopes import STATUS_LABELS, Told
from .people import People, Refusal, wrong

GROUPS = {8001: "Suporte", 8002: "Financeiro"}
FIELDS = {"cf_phone": str, "cf_order": str, "cf_seats": int, "cf_plan": str}
PLANS = ["Basic", "Pro"]  # choices of cf_plan
TYPES = ["Question", "Incident", "Task"]

# What a ticket's members may be; None is always allowed.
MEMBERS: dict[str, type | tuple[type, ...]] = {
    "subject": str, "description": str, "status": int, "priority": int, "source": int, "type": str, "tags": list,
    "group_id": int, "responder_id": int, "requester_id": int, "email": str, "name": str, "phone": str,
    "unique_external_id": str, "cc_emails": list, "custom_fields": dict, "product_id": int, "due_by": str,
    "fr_due_by": str, "email_config_id": int, "company_id": int, "parent_id": int,
}  # fmt: skip
WANTED = ("subject", "description", "status", "priority")
NOTE_MEMBERS = {"body": str, "private": bool, "notify_emails": list, "user_id": int, "incoming": bool}
REPLY_MEMBERS = {"body": str, "from_email": str, "user_id": int, "cc_emails": list, "bcc_emails": list}
REPLY, NOTE, API_SOURCE = 0, 2, 2

Deliver = Callable[[bytes], None]
_SPANS = re.compile(r"</?span[^>]*>")


class Desk:
    """One account's tickets and conversations, in the shapes of the API."""

    def __init__(
        self, deliver: Deliver, content: str, html: str, people: People, clock: Callable[[], float]
    ) -> None:
        self.deliver, self.content, self.html = deliver, content, html
        self.people, self.clock = people, clock
        self.numbers, self.ids = itertools.count(4711), itertools.count(43000000001)
        self.tickets: dict[int, dict[str, Any]] = {}
        self.archived: set[int] = set()
        self.conversations: dict[int, list[dict[str, Any]]] = defaultdict(list)

    def ticket(self, number: int, *, archived: bool = False) -> dict[str, Any]:
        """Raises Refusal: 404 without a body. An archived ticket is only found as such."""
        if number not in self.tickets or (number in self.archived) != archived:
            raise Refusal(404, None)
        return self.tickets[number]

    def open(self, given: Mapping[str, Any], *, source: int | None = None) -> dict[str, Any]:
        missing = [name for name in WANTED if given.get(name) in (None, "")]
        if missing:
            raise Refusal.invalid(*(wrong(name, "It should be filled", "missing_field") for name in missing))
        self._check(given)
        number, now = next(self.numbers), self.now()
        html = self._rewritten(given["description"])
        ticket: dict[str, Any] = {
            "id": number, "subject": given["subject"], "description": html,
            "description_text": html_to_text(html), "status": 2, "priority": 1,
            "source": source or given.get("source") or API_SOURCE, "type": None,
            "requester_id": self.people.met(given), "responder_id": None, "group_id": None,
            "company_id": None, "product_id": None, "email_config_id": None, "tags": [], "cc_emails": [],
            "fwd_emails": [], "reply_cc_emails": [], "ticket_cc_emails": [], "to_emails": None,
            "spam": False, "deleted": False, "is_escalated": False, "fr_escalated": False,
            "nr_due_by": None, "nr_escalated": False, "due_by": now, "fr_due_by": now,
            "custom_fields": dict.fromkeys(FIELDS), "created_at": now, "updated_at": now,
            "attachments": [], "association_type": None, "support_email": None, "form_id": 1,
            "associated_tickets_count": None,
            "stats": {"resolved_at": None, "closed_at": None, "status_updated_at": now},
        }  # fmt: skip
        self._apply(ticket, given)
        self.tickets[number] = ticket
        self._tell(ticket, [("ticket_created", "{ticket_action:created}")])
        return ticket

    def change(self, ticket: dict[str, Any], given: Mapping[str, Any]) -> None:
        self._check(given)
        told = self._apply(ticket, given)
        ticket["updated_at"] = self.now()
        self._tell(ticket, told)

    def delete(self, ticket: dict[str, Any], *, deleted: bool = True) -> None:
        ticket["deleted"] = deleted
        ticket["updated_at"] = self.now()
        self._tell(ticket, [("ticket_deleted", "{ticket_action:delete}")] if deleted else [])

    def say(
        self, ticket: dict[str, Any], given: Mapping[str, Any], author: int, *, private: bool,
        incoming: bool = False, source: int = NOTE, **more: Any,
    ) -> dict[str, Any]:  # fmt: skip
        html = self._rewritten(given["body"])
        row = {
            "id": next(self.ids), "ticket_id": ticket["id"], "user_id": author, "body": html,
            "body_text": html_to_text(html), "incoming": incoming, "private": private, "source": source,
            "category": 3 if source == REPLY else 2, "support_email": None, "from_email": None,
            "to_emails": None, "cc_emails": [], "bcc_emails": [], "created_at": self.now(),
            "updated_at": self.now(), "last_edited_at": None, "attachments": [], "automation_id": None,
            "auto_response": False, "thread_id": None, "email_failure_count": None,
            "source_additional_info": None,
        } | more  # fmt: skip
        self.conversations[ticket["id"]].append(row)
        ticket["updated_at"] = self.now()
        event = "customer_replied" if incoming else "reply_sent" if source == REPLY else "note_added"
        note = f"{{note_type:{'private' if private else 'public'}}}"
        self._tell(ticket, [(event, note if source == NOTE else "")])
        return row

    def now(self) -> str:
        return datetime.fromtimestamp(int(self.clock()), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    # --- what is refused --------------------------------------------------------------------------------

    def _check(self, given: Mapping[str, Any]) -> None:
        check_members(given, MEMBERS)
        if given.get("status") not in (None, *STATUS_LABELS):
            choices = ",".join(map(str, STATUS_LABELS))
            raise Refusal.invalid(wrong("status", f"It should be one of these values: '{choices}'"))
        if given.get("priority") not in (None, 1, 2, 3, 4):
            raise Refusal.invalid(wrong("priority", "It should be one of these values: '1,2,3,4'"))
        if given.get("type") not in (None, *TYPES):
            raise Refusal.invalid(wrong("type", f"It should be one of these values: '{','.join(TYPES)}'"))
        if given.get("group_id") not in (None, *GROUPS):
            raise Refusal.invalid(wrong("group_id", "There is no group matching the given id"))
        if given.get("responder_id") not in (None, *self.people.agents):
            raise Refusal.invalid(wrong("responder_id", "There is no agent matching the given id"))
        for tag in given.get("tags") or ():
            if not isinstance(tag, str) or len(tag) > 32 or "," in tag:
                raise Refusal.invalid(wrong("tags", "It should only contain valid tags"))
        for name, value in (given.get("custom_fields") or {}).items():
            if name not in FIELDS:
                raise Refusal.invalid(wrong(name, "Unexpected/invalid field in request", "invalid_field"))
            if value is not None and not isinstance(value, FIELDS[name]):
                raise Refusal.invalid(wrong(name, "It should be of another type", "datatype_mismatch"))
            if name == "cf_plan" and value not in (None, *PLANS):
                raise Refusal.invalid(wrong(name, f"It should be one of these values: '{','.join(PLANS)}'"))

    # --- what changes -----------------------------------------------------------------------------------

    def _apply(self, ticket: dict[str, Any], given: Mapping[str, Any]) -> list[Told]:
        """One webhook for each rule whose event happened."""
        told: list[Told] = []
        for name, event in (
            ("status", "status_changed"), ("priority", "priority_changed"), ("responder_id", "assigned"),
            ("group_id", "group_changed"), ("type", "ticket_updated"), ("subject", "ticket_updated"),
            ("product_id", "ticket_updated"), ("email_config_id", "ticket_updated"),
        ):  # fmt: skip
            if name in given and given[name] != ticket[name]:
                seen = name in ("status", "priority", "responder_id")
                triggered = envelopes.change(name, ticket[name], given[name]) if seen else ""
                ticket[name] = given[name]
                told.append((event, triggered))
        if "status" in given:
            done = {"resolved_at": ticket["status"] in (4, 5), "closed_at": ticket["status"] == 5}
            ticket["stats"] |= {name: self.now() if is_so else None for name, is_so in done.items()}
        if "tags" in given and list(given["tags"]) != ticket["tags"]:
            ticket["tags"] = list(given["tags"])
            told.append(("tags_changed", ""))
        fields = given.get("custom_fields") or {}
        if any(ticket["custom_fields"][name] != value for name, value in fields.items()):
            ticket["custom_fields"] = ticket["custom_fields"] | fields
            told.append(("ticket_updated", ""))
        return told

    def _rewritten(self, html: str) -> str:
        """A wrapper of its own; and perhaps without attributes and spans."""
        if self.html == "plain":
            html = _SPANS.sub("", nh3.clean(html, attributes={}))
        return f'<div style="font-family:-apple-system;font-size:14px">{html}</div>'

    def _tell(self, ticket: dict[str, Any], told: list[Told]) -> None:
        people = {
            "requester": self.people.shown(ticket["requester_id"]),
            "agent": self.people.shown(ticket["responder_id"]),
            "group": {"name": GROUPS.get(ticket["group_id"])},
        }
        public = [row for row in self.conversations[ticket["id"]] if not row["private"]]
        said = ""
        if public:
            said = f"{self.people.shown(public[-1]['user_id'])['name']} : {public[-1]['body']}"
        for happened in told:
            self.deliver(envelopes.body(self.content, ticket, people, said, happened))


def check_members(given: Mapping[str, Any], members: Mapping[str, Any]) -> None:
    """Raises Refusal for a member that is unknown there, or of another type."""
    for name, value in given.items():
        if name not in members:
            raise Refusal.invalid(wrong(name, "Unexpected/invalid field in request", "invalid_field"))
        is_bool = isinstance(value, bool) and members[name] is not bool
        if value is not None and (is_bool or not isinstance(value, members[name])):
            raise Refusal.invalid(wrong(name, "It should be of another type", "datatype_mismatch"))
