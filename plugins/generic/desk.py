"""What would a system of somebody's own do: keep tickets and contacts behind a small JSON API, and tell of changes?

Its words are invented, in Portuguese, and unlike ours, as such systems' words are. Part of the sandbox.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

JSON = dict[str, Any]

TOKEN = "sandbox-token"  # noqa: S105 - opens nothing but this fake
CALLS_PER_MINUTE = 120
PAGE = 50
US, AGENT = "gateway", "ana"
STATES = {
    "new": "novo", "open": "aberto", "pending": "aguardando", "on_hold": "parado", "resolved": "resolvido",
    "closed": "fechado", "canceled": "cancelado",
}  # fmt: skip
LEVELS = {"low": "1", "normal": "2", "high": "3", "urgent": "4"}

_T, _C = "(gateway.collected.ticket || ticket)", "(gateway.collected.comments || comments)"


def _table(words: dict[str, str]) -> str:
    pairs = ", ".join(f'"{theirs}": "{ours}"' for ours, theirs in words.items())
    return f"`{{{pairs}}}`"


SNAPSHOT: JSON = {
    "when": "type == 'ticket.changed' || gateway.collected.ticket",
    "event": "ticket.snapshot",
    "fields": {
        "actor.id": f"{_T}.changed_by",
        "ticket.ref.id": f"{_T}.id",
        "ticket.subject": f"{_T}.title",
        "ticket.description": f"{_T}.text",
        "ticket.status": f"lookup({_T}.state, {_table(STATES)})",
        "ticket.remote_status": f"{_T}.state",
        "ticket.priority": f"lookup({_T}.level, {_table(LEVELS)})",
        "ticket.remote_priority": f"{_T}.level",
        "ticket.assignee.id": f"{_T}.owner",
        "ticket.team": f"{_T}.group",
        "ticket.tags": f"{_T}.labels",
        "ticket.custom_fields.plan": f"{_T}.fields.plano",
        "ticket.contact.name": f"{_T}.contact.nome",
        "ticket.contact.email": f"{_T}.contact.email",
        "ticket.contact.phones": f"{_T}.contact.fone",
        "ticket.url": f"{_T}.link",
        "ticket.remote_created_at": f"{_T}.created_at",
        "ticket.remote_updated_at": f"{_T}.updated_at",
        "comments": f"{_C}[].{{id: id, body: text, is_private: internal, created_at: at, author: {{id: by}}}}",
    },
}
"""What a ticket is in our words, of a webhook as of a reading."""

_ONE = "/tickets/{{ ticket.id }}"
_CHANGE: JSON = {"method": "PATCH", "path": _ONE, "repeatable": True}

DESK_SETTINGS: JSON = {
    "events": [SNAPSHOT],
    "subject": "ticket.id",
    "user_ids": [US],
    "custom_fields": {"plan": "plano"},
    "words": {"statuses": STATES, "priorities": LEVELS},
    "api": {
        "headers": {"Authorization": "Bearer {{ secrets.api_token }}"},
        "calls_per_minute": CALLS_PER_MINUTE,
    },
    "collect": {"path": "/tickets/{{ id }}"},
    "changed": {
        "path": "/tickets",
        "params": {"since": "{{ since }}"},
        "ids": "body.items[].id",
        "times": "body.items[].updated_at",
        "next": "body.next",
    },
    "requests": {
        "create_ticket": {
            "method": "POST",
            "path": "/tickets",
            "body": {
                "external_id": "{{ id }}",
                "title": "{{ subject }}",
                "text": "{{ text }}",
                "level": "= remote_priority",
                "owner": "= assignee",
                "group": "= team",
                "labels": "= tags",
                "fields": "= remote_fields",
                "contact": {
                    "nome": "= contact.name",
                    "email": "= contact.email",
                    "fone": "= contact.phones[0]",
                },
            },
            "remote_id": "body.ticket.id",
            "url": "body.ticket.link",
            "find": {
                "path": "/tickets",
                "params": {"external_id": "{{ id }}"},
                "remote_id": "body.items[0].id",
                "url": "body.items[0].link",
            },
        },
        "add_comment": {
            "method": "POST",
            "path": "/tickets/{{ ticket.id }}/comments",
            "idempotency_header": "Idempotency-Key",
            "body": {"text": "{{ text }}", "internal": "= is_private"},
            "remote_id": "body.comment.id",
        },
        "save_contact": {
            "method": "PUT",
            "path": "/contacts",
            "body": {"nome": "= contact.name", "email": "= contact.email", "fone": "= contact.phones[0]"},
            "remote_id": "body.contact.id",
        },
        "add_tags": {**_CHANGE, "body": {"add_labels": "= tags"}},
        "remove_tags": {**_CHANGE, "body": {"remove_labels": "= tags"}},
        "set_status": {
            **_CHANGE,
            "body": {"state": "= remote_status"},
            "find": {"path": _ONE, "found": "body.ticket.state == action.remote_status"},
        },
        "set_priority": {
            **_CHANGE,
            "body": {"level": "= remote_priority"},
            "find": {"path": _ONE, "found": "body.ticket.level == action.remote_priority"},
        },
        "assign_to": {
            **_CHANGE,
            "body": {"owner": "= assignee", "group": "= team", "nobody": "= !(assignee || team)"},
            "find": {
                "path": _ONE,
                "found": "(!(action.assignee) || body.ticket.owner == action.assignee) && "
                "(!(action.team) || body.ticket.group == action.team) && "
                "(action.assignee || action.team || !(body.ticket.owner || body.ticket.group))",
            },
        },
        "set_fields": {
            **_CHANGE,
            "body": {"fields": "= remote_fields"},
            "find": {
                "path": _ONE,
                "found": "merge(body.ticket.fields, action.remote_fields) == body.ticket.fields",
            },
        },
    },
}
"""A generic connection's settings for this desk, all but `secret`, `api_token` and `base_url`: each part in use."""


class Refused(Exception):
    """The desk says no."""

    def __init__(self, status: int, why: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(why)
        self.status, self.why, self.headers = status, why, headers or {}


class Desk:
    """Tickets and contacts, and whom to tell of a change: `tell(ticket with its comments)`."""

    def __init__(self, clock: Callable[[], float], tell: Callable[[JSON], None]) -> None:
        self.tickets: dict[str, JSON] = {}
        self.comments: dict[str, list[JSON]] = {}
        self.contacts: dict[str, JSON] = {}
        self._keys: dict[str, JSON] = {}
        self._numbers = count(1)
        self._clock, self._tell = clock, tell

    def open(self, given: JSON, by: str) -> JSON:
        id_, now = f"T-{next(self._numbers)}", self._now()
        ticket = {
            "id": id_, "external_id": given.get("external_id"), "title": given.get("title", ""),
            "text": given.get("text", ""), "state": "novo", "level": given.get("level"),
            "owner": given.get("owner"), "group": given.get("group"), "labels": list(given.get("labels") or ()),
            "fields": dict(given.get("fields") or {}), "contact": given.get("contact") or {},
            "link": f"https://desk.example/{id_}", "created_at": now, "updated_at": now, "changed_by": by,
        }  # fmt: skip
        self.tickets[id_], self.comments[id_] = ticket, []
        self.tell(id_)
        return ticket

    def change(self, id_: str, given: JSON, by: str) -> JSON:
        ticket = self.found(id_)
        unknown = {"state": STATES, "level": LEVELS}
        for field, words in unknown.items():
            if given.get(field) is not None and given[field] not in words.values():
                raise Refused(422, f"{field}: {given[field]!r} não existe")
        ticket |= {
            name: given[name] for name in ("title", "state", "level", "owner", "group") if name in given
        }
        if given.get("nobody"):
            ticket |= {"owner": None, "group": None}
        added = [each for each in given.get("add_labels", ()) if each not in ticket["labels"]]
        gone = given.get("remove_labels", ())
        ticket["labels"] = [each for each in (*ticket["labels"], *added) if each not in gone]
        ticket["fields"] |= given.get("fields", {})
        ticket |= {"updated_at": self._now(), "changed_by": by}
        self.tell(id_)
        return ticket

    def comment(self, id_: str, given: JSON, by: str, key: str | None) -> JSON:
        """The same key again is the same comment."""
        if key is not None and key in self._keys:
            return self._keys[key]
        ticket, now = self.found(id_), self._now()
        said = {
            "id": f"C-{next(self._numbers)}", "text": given["text"], "internal": bool(given.get("internal")),
            "by": by, "at": now,
        }  # fmt: skip
        self.comments[id_].append(said)
        ticket |= {"updated_at": now, "changed_by": by}
        if key is not None:
            self._keys[key] = said
        self.tell(id_)
        return said

    def save_contact(self, given: JSON) -> JSON:
        """Known by e-mail, or by telephone where there is none."""
        key = given.get("email") or given.get("fone")
        if not key:
            raise Refused(422, "um contato tem e-mail ou telefone")
        known = self.contacts.setdefault(key, {"id": f"P-{next(self._numbers)}"})
        known |= given
        return known

    def shown(self, id_: str) -> JSON:
        return {"ticket": self.found(id_), "comments": self.comments[id_]}

    def found(self, id_: str) -> JSON:
        if id_ not in self.tickets:
            raise Refused(404, "chamado não encontrado")
        return self.tickets[id_]

    def tell(self, id_: str) -> None:
        self._tell(self.shown(id_))

    def _now(self) -> str:
        return datetime.fromtimestamp(self._clock(), UTC).isoformat()


class Api:
    """What a connection calls; everything that it does, it does as the user `gateway`."""

    def __init__(self, desk: Desk, token: str, clock: Callable[[], float], *, limited: bool) -> None:
        self._desk, self._token, self._clock, self._limited = desk, token, clock, limited
        self._calls: list[float] = []

    def routes(self) -> list[Route]:
        return [
            Route("/tickets", self._tickets, methods=["GET", "POST"]),
            Route("/tickets/{id}", self._ticket, methods=["GET", "PATCH"]),
            Route("/tickets/{id}/comments", self._comment, methods=["POST"]),
            Route("/contacts", self._contact, methods=["PUT"]),
        ]

    async def _tickets(self, request: Request) -> Response:
        self._admit(request)
        if request.method == "POST":
            return JSONResponse({"ticket": self._desk.open(await request.json(), US)}, status_code=201)
        query = request.query_params
        found = list(self._desk.tickets.values())
        if external := query.get("external_id"):
            found = [each for each in found if each["external_id"] == external]
        if since := query.get("since"):
            moment = datetime.fromisoformat(since)
            found = [each for each in found if datetime.fromisoformat(each["updated_at"]) > moment]
        page = int(query.get("page", 0))
        rest = len(found) > (page + 1) * PAGE
        following = str(request.url.include_query_params(page=page + 1)) if rest else None
        return JSONResponse({"items": found[page * PAGE : (page + 1) * PAGE], "next": following})

    async def _ticket(self, request: Request) -> Response:
        self._admit(request)
        id_ = request.path_params["id"]
        if request.method == "PATCH":
            self._desk.change(id_, await request.json(), US)
        return JSONResponse(self._desk.shown(id_))

    async def _comment(self, request: Request) -> Response:
        self._admit(request)
        key = request.headers.get("idempotency-key")
        said = self._desk.comment(request.path_params["id"], await request.json(), US, key)
        return JSONResponse({"comment": said}, status_code=201)

    async def _contact(self, request: Request) -> Response:
        self._admit(request)
        return JSONResponse({"contact": self._desk.save_contact(await request.json())})

    def _admit(self, request: Request) -> None:
        if request.headers.get("authorization") != f"Bearer {self._token}":
            raise Refused(401, "token inválido")
        now = self._clock()
        self._calls = [at for at in self._calls if at > now - 60]
        if self._limited and len(self._calls) >= CALLS_PER_MINUTE:
            raise Refused(429, "devagar", {"Retry-After": str(int(60 - (now - self._calls[0])) + 1)})
        self._calls.append(now)


class People:
    """What customers and agents do there; it is not counted and not refused."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def routes(self) -> list[Route]:
        return [
            Route("/_sandbox/tickets", self._all),
            Route("/_sandbox/human/tickets", self._open, methods=["POST"]),
            Route("/_sandbox/human/tickets/{id}", self._change, methods=["POST"]),
        ]

    async def _all(self, _: Request) -> Response:
        return JSONResponse(list(self._desk.tickets.values()))

    async def _open(self, request: Request) -> Response:
        """`{title, text, labels, contact: {nome, email, fone}, ...}`"""
        return JSONResponse(self._desk.open(await request.json(), "cliente"), status_code=201)

    async def _change(self, request: Request) -> Response:
        """`{title, state, level, owner, group, add_labels, remove_labels, fields, comment: {text, internal}}`"""
        id_, given = request.path_params["id"], await request.json()
        if said := given.pop("comment", None):
            self._desk.comment(id_, said, AGENT, None)
        if given:
            self._desk.change(id_, given, AGENT)
        return JSONResponse(self._desk.shown(id_))


async def refused(_: Request, refusal: Exception) -> Response:
    """The answer to what raised `Refused`."""
    assert isinstance(refusal, Refused)  # noqa: S101 - registered for nothing else
    return JSONResponse({"error": refusal.why}, status_code=refusal.status, headers=refusal.headers)
