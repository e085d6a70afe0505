"""How is a system called that has no plugin of its own: which requests, with which credentials, how often?"""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.api import (
    JSON,
    Action,
    AddComment,
    AddTags,
    AssignTo,
    Contact,
    CreateTicket,
    Priority,
    RemoveTags,
    SaveContact,
    SetFields,
    SetPriority,
    SetStatus,
    Status,
    TicketRef,
    html_to_text,
    text_to_html,
)

from .expression import Expression
from .request import Headers, Parts, Request, Text

ActionKind = Literal[
    "create_ticket", "add_comment", "set_status", "set_priority", "assign_to", "add_tags", "remove_tags",
    "set_fields", "save_contact",
]  # fmt: skip

SecretName = Literal["api_token", "api_key", "api_user", "api_password"]


class Words(BaseModel):
    """Our words -> theirs, where they differ; templates find theirs in `remote_status` and `remote_priority`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    statuses: dict[Status, str] = {}
    priorities: dict[Priority, str] = {}


class BasicAuth(BaseModel):
    """Templates, as in headers: `{{ secrets.api_key }}`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    user: Text
    password: Text = ""


class Collect(Parts):
    """Reading a ticket (or a payment) back: `id` is the subject's id. The answer's body is `gateway.collected`.

    `hint` is true of webhooks that tell too little, or are not proved, and so must be read back before they count.
    """

    method: Literal["GET"] = "GET"
    hint: Expression | bool = Field(False, union_mode="left_to_right")
    needs: SecretName | None = Field(None, description="read back only where this secret is set")


class Changed(Parts):
    """Which tickets changed after `since` (ISO) or `since_unix`? `next` is the path of the next page, where there
    is one. `times` says when each of them changed, in the same order: then what is known is not read again."""

    method: Literal["GET"] = "GET"
    ids: Expression = Field(description="the ids in the answer's `body`: `body.items[].id`")
    times: Expression | None = Field(None, description="ISO with an offset: `body.items[].updated_at`")
    next: Expression | None = None


class Api(BaseModel):
    """What every call has in common. In these templates `secrets` are the connection's own, by name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    headers: Headers = {}
    basic_auth: BasicAuth | None = None
    calls_per_minute: int = Field(default=60, ge=1, le=100_000)
    concurrency: int = Field(default=4, ge=1, le=32)
    timeout_seconds: float = Field(default=20, gt=0, le=120)
    settles_seconds: float = Field(
        default=0, ge=0, le=3600, description="how long a write may not be seen yet"
    )


def document_of(action: Action, words: Words, custom_fields: Mapping[str, Any]) -> dict[str, JSON]:
    """What templates see: the action's fields, all of them, and what they mean in the other system's words.

    `text` and `html` are a comment's or a new ticket's words in both forms; `remote_fields` the custom fields by
    their names there, those without one left out.
    """
    told: dict[str, JSON] = action.model_dump(mode="json")
    ours: Mapping[str, JSON] = {}
    match action:
        case CreateTicket(priority=priority, custom_fields=ours):
            told["remote_priority"] = words.priorities.get(priority, priority) if priority else None
            told |= _both_forms(action.description, action.is_html)
        case AddComment(body=body, is_html=is_html):
            told |= _both_forms(body, is_html)
        case SetStatus(status=status, remote_status=label):
            told["remote_status"] = label or words.statuses.get(status, status)
        case SetPriority(priority=priority):
            told["remote_priority"] = words.priorities.get(priority, priority)
        case SetFields(fields=ours) | SaveContact(contact=Contact(custom_fields=ours)):
            pass
    told["remote_fields"] = {
        str(custom_fields[name]): value for name, value in ours.items() if name in custom_fields
    }
    return told


def _both_forms(text: str, is_html: bool) -> dict[str, JSON]:
    return {
        "text": html_to_text(text) if is_html else text,
        "html": text if is_html else text_to_html(text),
    }


def examples(kind: str, custom_fields: Mapping[str, Any]) -> tuple[Action, ...]:
    """Actions by which a request is tried when it is saved: one with everything in it, one with the least."""
    ref = TicketRef("here", "7")
    given: Any = {"id": "00000000-0000-5000-8000-000000000000", "reason": "example"}
    fields: dict[str, JSON] = dict.fromkeys(custom_fields, "example") or {"plan": "Pro"}
    contact = Contact(
        id="9", name="Ana Exemplo", email="ana@example.com", phones=("+551135550199",),
        document="11222333000181", company="Exemplo Ltda", custom_fields=fields,
    )  # fmt: skip
    least: Any = {"connection": "here", "key": "core:1", "subject": "S", "description": "D"}
    found: dict[str, tuple[Action, ...]] = {
        "create_ticket": (
            CreateTicket(
                **given, **least, contact=contact, team="GR", assignee="3", tags=("core",),
                priority=Priority.HIGH, type="task", custom_fields=fields,
            ),
            CreateTicket(**given, **least),
        ),
        "add_comment": (
            AddComment(**given, ticket=ref, body="<p>B</p>", is_html=True, is_private=False),
            AddComment(**given, ticket=ref, body="B"),
        ),
        "set_status": (
            SetStatus(**given, ticket=ref, status=Status.OPEN, remote_status="Aberto"),
            SetStatus(**given, ticket=ref, status=Status.CLOSED),
        ),
        "set_priority": tuple(SetPriority(**given, ticket=ref, priority=each) for each in Priority),
        "assign_to": (
            AssignTo(**given, ticket=ref, assignee="3", team="GR"),
            AssignTo(**given, ticket=ref),
        ),
        "add_tags": (AddTags(**given, ticket=ref, tags=("a", "b")),),
        "remove_tags": (RemoveTags(**given, ticket=ref, tags=("a", "b")),),
        "set_fields": (SetFields(**given, ticket=ref, fields=fields),),
        "save_contact": (
            SaveContact(**given, connection="here", contact=contact),
            SaveContact(**given, connection="here", contact=Contact(name="Ana Exemplo")),
        ),
    }  # fmt: skip
    return found[kind]


Requests = dict[ActionKind, Request]
"""By kind of action, what is sent; what is not here is unsupported."""
