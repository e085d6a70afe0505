"""How does the sandbox's Zendesk tell of what happened? The bodies of its webhooks.

https://developer.zendesk.com/api-reference/webhooks/event-types/ticket-events/
"""

import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

CHANNELS = {"api": "web_service", "email": "mail", "web": "web_form"}
SHOUTED = {"status", "priority", "type"}

Happening = tuple[str, dict[str, Any]]
"""The end of an event type, such as `status_changed`, and its `event` object."""


def ticket_envelopes(
    account_id: int, ticket: Mapping[str, Any], actor: int, happened: list[Happening]
) -> list[dict[str, Any]]:
    """One change of a ticket is told in several events, which share a sequence."""
    sequence, subject = uuid.uuid4().hex, f"zen:ticket:{ticket['id']}"
    detail = _detail(ticket, actor)
    return [
        _envelope(account_id, f"ticket.{kind}", subject, detail, event, (sequence, position))
        for position, (kind, event) in enumerate(happened, 1)
    ]


def user_envelope(
    account_id: int, user: Mapping[str, Any], actor: int, kind: str, event: dict[str, Any]
) -> dict[str, Any]:
    detail = {
        "id": str(user["id"]),
        "email": user["email"] or "",
        "role": user["role"],
        "external_id": user["external_id"] or "",
        "organization_id": "0",
        "default_group_id": "0",
        "created_at": user["created_at"],
        "updated_at": user["updated_at"],
        "actor_id": str(actor),
    }
    place = (uuid.uuid4().hex, 1)
    return _envelope(account_id, f"user.{kind}", f"zen:user:{user['id']}", detail, event, place)


def trigger_body(ticket: Mapping[str, Any], actor: int) -> dict[str, Any]:
    """The recommended template, filled in: display text, and times to the minute."""
    shown = {"hold": "On-hold"}.get(ticket["status"], ticket["status"].title())
    minute = datetime.fromtimestamp(time.time(), UTC).strftime("%Y-%m-%dT%H:%MZ")
    return {"ticket_id": str(ticket["id"]), "status": shown, "updated_at": minute, "actor_id": str(actor)}


def event_value(field: str, value: Any) -> Any:
    """Events write every id as text, and some words in capitals."""
    if value is None:
        return None
    return str(value).upper() if field in SHOUTED else str(value)


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _envelope(
    account_id: int,
    kind: str,
    subject: str,
    detail: dict[str, Any],
    event: dict[str, Any],
    place: tuple[str, int],
) -> dict[str, Any]:
    now = time.time_ns()
    moment = iso(now // 1_000_000_000).removesuffix("Z")
    return {
        "account_id": account_id,
        "detail": detail,
        "event": {**event, "meta": {"sequence": {"id": place[0], "position": place[1]}}},
        "id": str(uuid.uuid4()),
        "subject": subject,
        "time": f"{moment}.{now % 1_000_000_000:09d}Z",
        "type": f"zen:event-type:{kind}",
        "zendesk_event_version": "2022-11-06",
    }


def _detail(ticket: Mapping[str, Any], actor: int) -> dict[str, Any]:
    ids = ("assignee_id", "brand_id", "group_id", "id", "organization_id", "requester_id", "submitter_id")
    same = ("created_at", "description", "external_id", "is_public", "subject", "updated_at")
    return {
        **{name: event_value(name, ticket[name]) for name in (*ids, *sorted(SHOUTED))},
        **{name: ticket[name] for name in same},
        "actor_id": str(actor),
        "custom_status": str(ticket["custom_status_id"]),
        "form_id": str(ticket["ticket_form_id"]),
        "tags": list(ticket["tags"]) or None,
        "via": {"channel": CHANNELS.get(ticket["via"]["channel"], ticket["via"]["channel"])},
    }
