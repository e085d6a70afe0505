"""How does the sandbox's Intercom tell of what happened? The bodies of its notifications, in either generation.

https://developers.intercom.com/docs/references/webhooks/webhook-models
"""

import copy
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from gateway.api import html_to_text

Version = Literal["2.15", "2.11", "1.4"]
"""What is chosen in the Developer Hub: plain text; HTML; or the shapes of API 1.x."""


def envelope(app_id: str, topic: str, item: Mapping[str, Any]) -> dict[str, Any]:
    now = int(time.time())
    is_ping = topic == "ping"
    return {
        "type": "notification_event",
        "app_id": app_id,
        "id": None if is_ping else f"notif_{uuid.uuid4()}",
        "topic": topic,
        "created_at": now,
        "first_sent_at": now,
        "delivery_attempts": 1,
        "delivery_status": None if is_ping else "pending",
        "delivered_at": 0,
        "links": {},
        "self": None,
        "data": {"type": "notification_event_data", "item": item},
    }


def conversation_item(
    conversation: Mapping[str, Any], rows: list[dict[str, Any]], version: Version, people: Mapping[str, Any]
) -> dict[str, Any]:
    """With none but the parts that it is about."""
    told = copy.deepcopy(dict(conversation))
    told["conversation_parts"] = _rows(rows, version, "conversation_part")
    told["source"]["body"] = _text(told["source"]["body"], version)
    told["source"]["subject"] = _text(told["source"]["subject"], version)
    if version == "1.4":
        return _first_generation(told, people)
    return told


def tag_item(
    item: dict[str, Any], part: Mapping[str, Any] | None, tag: Mapping[str, Any], told_in: str
) -> dict[str, Any]:
    """`told_in`: `part`, `item` or `tags_added`."""
    named = {"type": "tag", "id": tag["id"], "name": tag["name"]}
    if told_in == "tags_added":
        item["tags_added"] = {"type": "tag.list", "tags": [named]}
    if told_in != "item":
        item["tags"] = {
            "type": "tag.list",
            "tags": [row for row in item["tags"]["tags"] if row["id"] != tag["id"]],
        }
    rows = item["conversation_parts"]["conversation_parts"]
    if part is not None and rows and told_in == "part":
        rows[0]["tags"] = [named]
    elif told_in == "part":
        item["tags_added"] = {"type": "tag.list", "tags": [named]}
    return item


def ticket_item(
    ticket: Mapping[str, Any], part: Mapping[str, Any] | None, version: Version
) -> dict[str, Any]:
    """Bare with all its history, or beside the part that it is about."""
    told = copy.deepcopy(dict(ticket))
    told["ticket_parts"] = _rows(told["ticket_parts"]["ticket_parts"], version, "ticket_part")
    if part is None:
        return told
    return {"type": "ticket_ticket_part", "ticket": told, "ticket_part": _row(part, version)}


def attached_item(conversation: Mapping[str, Any]) -> dict[str, Any]:
    """What leaks when a contact is attached."""
    stamp = _iso(conversation["updated_at"])
    return {
        "conversation": {"model": {"id": int(conversation["id"]), "created_at": stamp, "updated_at": stamp}}
    }


def contact_item(contact: Mapping[str, Any]) -> dict[str, Any]:
    """In webhooks, a contact's times are ISO texts."""
    told = {**copy.deepcopy(dict(contact)), "tags": {"type": "list", "data": []}}
    for name in ("created_at", "updated_at"):
        told[name] = _iso(told[name])
    return told


def _first_generation(told: dict[str, Any], people: Mapping[str, Any]) -> dict[str, Any]:
    """API 1.x: one `user`, one `assignee`, and a `conversation_message`."""
    source = told.pop("source")
    first = told.pop("contacts")["contacts"]
    person = people.get(first[0]["id"]) if first else None
    told["conversation_message"] = {
        "type": "conversation_message",
        **{name: source[name] for name in ("id", "subject", "body", "author")},
    }
    if person is not None:
        told["user"] = {
            "type": person["role"], "id": person["id"], "user_id": person["external_id"], "name": person["name"],
            "email": person["email"],
        }  # fmt: skip
    admin, team = told.pop("admin_assignee_id"), told.pop("team_assignee_id")
    nobody = {"type": "nobody_admin", "id": None}
    told["assignee"] = (
        {"type": "admin", "id": str(admin)}
        if admin
        else {"type": "team", "id": str(team)}
        if team
        else nobody
    )
    told["links"] = {"conversation_web": f"https://app.intercom.com/a/apps/x/conversations/{told['id']}"}
    for name in ("statistics", "teammates", "state"):
        told.pop(name, None)
    return told


def _rows(rows: list[dict[str, Any]], version: Version, kind: str) -> dict[str, Any]:
    return {
        "type": f"{kind}.list",
        f"{kind}s": [_row(row, version) for row in rows],
        "total_count": len(rows),
    }


def _row(part: Mapping[str, Any], version: Version) -> dict[str, Any]:
    told = copy.deepcopy(dict(part))
    told["body"] = _text(told["body"], version)
    return told


def _text(html: str | None, version: Version) -> str | None:
    return html_to_text(html) if html and version == "2.15" else html


def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
