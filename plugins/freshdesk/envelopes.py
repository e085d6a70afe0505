"""How does the sandbox's Freshdesk tell of what happened? The bodies of its automations' webhooks.

https://support.freshdesk.com/en/support/solutions/articles/132589
"""

import json
from collections.abc import Mapping
from typing import Any

STATUS_LABELS = {
    2: "Open", 3: "Pending", 4: "Resolved", 5: "Closed", 6: "Waiting on Customer",
    7: "Waiting on Third Party", 8: "Agendado",
}  # fmt: skip
PRIORITY_LABELS = {1: "Low", 2: "Medium", 3: "High", 4: "Urgent"}
HELPDESK = "Acme"

Told = tuple[str, str]
"""The rule's own word for what happened, and `triggered_event`."""


def body(content: str, ticket: Mapping[str, Any], people: Mapping[str, Any], said: str, told: Told) -> bytes:
    """:param content: `advanced` (ids only), `simple` (every field ticked), `unquoted` (an admin's mistake)
    :param people: `requester`, `agent` and `group` as far as they are known
    :param said: the latest comment, as `Author Name : <div>...`
    """
    event, triggered = told
    if content == "unquoted":
        return (
            f'{{"freshdesk_webhook":{{"event":"{event}","ticket_id":{ticket["id"]},'
            f'"subject":"{ticket["subject"]}","agent":{people["agent"].get("email")},'
            f'"triggered_event":{triggered}}}}}'
        ).encode()
    if content == "advanced":
        told_of: dict[str, Any] = {
            "event": event, "ticket_id": str(ticket["id"]), "triggered_event": triggered,
            "helpdesk": HELPDESK,
        }  # fmt: skip
    else:
        told_of = _everything(ticket, people, said) | {"triggered_event": triggered}
    return json.dumps({"freshdesk_webhook": told_of}, ensure_ascii=False).encode()


def change(field: str, old: Any, new: Any) -> str:
    return f"{{{field}:{{from:{_plain(old)},to:{_plain(new)}}}}}"


def _plain(value: Any) -> str:
    return "" if value is None else str(value)


def _everything(ticket: Mapping[str, Any], people: Mapping[str, Any], said: str) -> dict[str, Any]:
    requester, agent, group = people["requester"], people["agent"], people["group"]
    return {
        "ticket_id": ticket["id"],
        "ticket_subject": ticket["subject"],
        "ticket_description": ticket["description"],
        "ticket_url": f"https://sandbox.freshdesk.com/helpdesk/tickets/{ticket['id']}",
        "ticket_portal_url": f"https://sandbox.freshdesk.com/support/tickets/{ticket['id']}",
        "ticket_due_by_time": "March 23 2026 at 10:06 AM",
        "ticket_tags": ", ".join(ticket["tags"]),
        "ticket_latest_public_comment": said,
        "ticket_status": STATUS_LABELS[ticket["status"]],
        "ticket_priority": PRIORITY_LABELS[ticket["priority"]],
        "ticket_type": ticket["type"],
        "ticket_group_name": group.get("name"),
        "ticket_agent_name": agent.get("name"),
        "ticket_agent_email": agent.get("email"),
        "ticket_contact_name": requester.get("name"),
        "ticket_contact_email": requester.get("email"),
        "ticket_contact_phone": requester.get("phone"),
        "ticket_company_name": None,
        **{f"ticket_{name}": value for name, value in ticket["custom_fields"].items()},
        "helpdesk_name": HELPDESK,
    }
