"""How does Intercom answer and call back where there is none? A small stateful fake of its REST API.

Settings of a connection to it: `base_url` http://127.0.0.1:PORT, `app_id` abc123, `admin_id` 700.
"""

import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from gateway.testing import Outbox, misbehaving

from . import searching
from .accept import sign
from .crowd import API_ADMIN, HUMAN_ADMIN, TEAMS
from .desk import TICKET_STATES, TICKET_TYPES, Desk, ticket_state
from .envelope import TICKET
from .gate import Gate
from .notifications import Version
from .refusal import Refusal

Endpoint = Callable[[Request], Awaitable[Response]]


def create_app(
    *,
    access_token: str = "sandbox-token",  # noqa: S107
    client_secret: str = "sandbox-secret",  # noqa: S107
    app_id: str = "abc123",
    calls_per_minute: int | None = 10_000,
    webhooks: Version = "2.15",
    topics: str = "",
    tags_in: Literal["part", "item", "tags_added"] = "part",
    assigns_on_reply: bool = False,
    folds_tags: bool = False,
    search_lag: float = 0,
    search_by_day: bool = False,
    in_app_word: str = "in_app",
    drops_marks: bool = False,
    largest_page: int = 150,
) -> ASGIApp:
    """One workspace, empty but for its teammates, teams and ticket types.

    :param calls_per_minute: the app's limit, granted by tens of seconds; None switches it off
    :param webhooks: the version chosen in the Developer Hub: plain text, HTML, or the shapes of API 1.x
    :param topics: only those that begin so are subscribed to; others are told of by nobody
    :param tags_in: where a notification tells which tag is new
    :param assigns_on_reply: the first reply to an unassigned conversation comes as an assignment
    :param folds_tags: tags that differ in case only are one
    :param search_lag: seconds until the search finds what was written
    :param search_by_day: times in searches are cut down to the day
    :param in_app_word: how `POST /messages` wants an in-app message to be called
    :param drops_marks: invisible characters are lost
    """
    outbox = Outbox(lambda body: {"X-Hub-Signature": sign(body, client_secret)})

    def deliver(body: dict[str, Any]) -> None:
        if not body["topic"].startswith((topics, "ping")):
            return
        raw = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        outbox.send(raw, {"Accept": "application/json", "User-Agent": "intercom-parrot-service-client/1.0"})

    desk = Desk(
        deliver, app_id, webhooks, tags_in=tags_in, assigns_on_reply=assigns_on_reply, folds_tags=folds_tags
    )
    finder = searching.Finder(search_lag, search_by_day, largest_page)
    front = Front(desk, finder, in_app_word, drops_marks)
    inner = Starlette(routes=[*front.routes(), *outbox.routes()], exception_handlers={Refusal: _refused})
    return misbehaving(Gate(inner, access_token, calls_per_minute))


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)  # noqa: S101 - it is registered for nothing else
    return JSONResponse(error.body, error.status)


class Front:
    """The endpoints: what comes in as JSON and goes out in the shapes of the vendor's OpenAPI."""

    def __init__(self, desk: Desk, finder: searching.Finder, in_app_word: str, drops_marks: bool) -> None:
        self.desk, self.finder = desk, finder
        self.in_app_word, self.drops_marks = in_app_word, drops_marks

    def routes(self) -> list[Route]:
        endpoints: dict[str, Endpoint] = {
            "GET /me": self.me,
            "GET /admins": self.admins,
            "GET /teams": self.teams,
            "GET /tags": self.tags,
            "POST /tags": self.make_tag,
            "GET /ticket_states": self.ticket_states,
            "POST /contacts": self.make_contact,
            "POST /contacts/search": self.search_contacts,
            "GET /contacts/find_by_external_id/{external}": self.contact_by_external_id,
            "GET /contacts/{id}": self.contact,
            "PUT /contacts/{id}": self.change_contact,
            "POST /contacts/{id}/archive": self.archive_contact,
            "POST /contacts/{id}/unarchive": self.unarchive_contact,
            "POST /messages": self.message,
            "POST /conversations": self.open_conversation,
            "POST /conversations/search": self.search_conversations,
            "GET /conversations/{id}": self.conversation,
            "PUT /conversations/{id}": self.change_conversation,
            "POST /conversations/{id}/reply": self.reply,
            "POST /conversations/{id}/parts": self.manage,
            "POST /conversations/{id}/tags": self.tag,
            "DELETE /conversations/{id}/tags/{tag}": self.untag,
            "POST /tickets": self.open_ticket,
            "POST /tickets/search": self.search_tickets,
            "GET /tickets/{id}": self.ticket,
            "PUT /tickets/{id}": self.change_ticket,
            "POST /tickets/{id}/reply": self.reply_to_ticket,
            "POST /tickets/{id}/tags": self.tag_ticket,
            "DELETE /tickets/{id}/tags/{tag}": self.untag_ticket,
            "GET /_sandbox/tickets": self.everything,
            "POST /_sandbox/ping": self.ping,
            "POST /_sandbox/human/contacts/{id}": self.human_changes_contact,
            "POST /_sandbox/human/tickets": self.human_opens,
            "POST /_sandbox/human/tickets/{id}": self.human_changes,
        }
        named = {tuple(name.split(" ")): endpoint for name, endpoint in endpoints.items()}
        return [Route(path, endpoint, methods=[method]) for (method, path), endpoint in named.items()]

    # --- the workspace ------------------------------------------------------------------------------------

    async def me(self, request: Request) -> Response:
        app = {
            "type": "app", "id_code": self.desk.app_id, "name": "Sandbox", "region": "US",
            "timezone": "America/Sao_Paulo", "created_at": 1_700_000_000, "identity_verification": False,
        }  # fmt: skip
        return JSONResponse({**self.desk.crowd.admins[API_ADMIN], "email_verified": True, "app": app})

    async def admins(self, request: Request) -> Response:
        return JSONResponse({"type": "admin.list", "admins": list(self.desk.crowd.admins.values())})

    async def teams(self, request: Request) -> Response:
        rows = [
            {"type": "team", "id": id_, "name": name, "admin_ids": [int(HUMAN_ADMIN)]}
            for id_, name in TEAMS.items()
        ]
        return JSONResponse({"type": "team.list", "teams": rows})

    async def tags(self, request: Request) -> Response:
        return JSONResponse({"type": "list", "data": list(self.desk.tags.values())})

    async def make_tag(self, request: Request) -> Response:
        return JSONResponse(self.desk.make_tag((await _json(request))["name"]))

    async def ticket_states(self, request: Request) -> Response:
        kinds = [{"type": "ticket_type", "id": id_, "name": name} for id_, name in TICKET_TYPES.items()]
        rows = [
            {**ticket_state(row[0]), "archived": False, "ticket_types": {"type": "list", "data": kinds}}
            for row in TICKET_STATES
        ]
        return JSONResponse({"type": "list", "data": rows})

    # --- contacts -----------------------------------------------------------------------------------------

    async def make_contact(self, request: Request) -> Response:
        return JSONResponse(self.desk.crowd.make(await _json(request)))

    async def contact(self, request: Request) -> Response:
        return JSONResponse(self.desk.crowd.contact(request.path_params["id"]))

    async def contact_by_external_id(self, request: Request) -> Response:
        found = self.desk.crowd.by(external_id=request.path_params["external"])
        if found is None:
            raise Refusal(404, "not_found", "User Not Found")
        return JSONResponse(found)

    async def change_contact(self, request: Request) -> Response:
        return JSONResponse(self.desk.crowd.change(request.path_params["id"], await _json(request)))

    async def archive_contact(self, request: Request) -> Response:
        self.desk.crowd.archive(request.path_params["id"])
        return JSONResponse({"type": "contact", "id": request.path_params["id"], "archived": True})

    async def unarchive_contact(self, request: Request) -> Response:
        self.desk.crowd.unarchive(request.path_params["id"])
        return JSONResponse({"type": "contact", "id": request.path_params["id"], "archived": False})

    async def search_contacts(self, request: Request) -> Response:
        rows = list(self.desk.crowd.contacts.values())
        return JSONResponse(self.finder.answer("list", "data", rows, await _json(request)))

    # --- conversations ------------------------------------------------------------------------------------

    async def open_conversation(self, request: Request) -> Response:
        body = await _json(request)
        contact = self.desk.crowd.contact(body["from"]["id"])
        text = self._kept(body["body"])
        opened = self.desk.open(contact, text, self.desk.crowd.customer(contact))
        return JSONResponse({
            "type": "user_message", "id": opened["source"]["id"], "created_at": opened["created_at"],
            "body": text, "message_type": "inapp", "conversation_id": opened["id"],
        })  # fmt: skip

    async def message(self, request: Request) -> Response:
        body = await _json(request)
        if body["message_type"] not in (self.in_app_word, "email"):
            raise Refusal(400, "parameter_invalid", "Message type is invalid", "message_type")
        contact = self.desk.crowd.contact(body["to"]["id"])
        text = self._kept(body["body"])
        opened = self.desk.open(contact, text, self.desk.crowd.author(body["from"]["id"]))
        return JSONResponse({
            "type": "admin_message", "id": opened["source"]["id"], "created_at": opened["created_at"],
            "body": text, "message_type": "inapp", "conversation_id": opened["id"],
        })  # fmt: skip

    async def conversation(self, request: Request) -> Response:
        return JSONResponse(self.desk.conversation(request.path_params["id"]))

    async def change_conversation(self, request: Request) -> Response:
        given = await _json(request)
        allowed: dict[str, Any] = {
            name: given[name] for name in ("custom_attributes", "read") if name in given
        }
        return JSONResponse(self.desk.change(request.path_params["id"], allowed))

    async def reply(self, request: Request) -> Response:
        body = await _json(request)
        self._says(request.path_params["id"], body)
        return JSONResponse(self.desk.conversation(request.path_params["id"]))

    async def manage(self, request: Request) -> Response:
        body = await _json(request)
        self._manages(request.path_params["id"], body, by_api=True)
        return JSONResponse(self.desk.conversation(request.path_params["id"]))

    async def tag(self, request: Request) -> Response:
        body = await _json(request)
        self.desk.crowd.author(body.get("admin_id"))
        return JSONResponse(self.desk.tag(request.path_params["id"], str(body["id"]), str(body["admin_id"])))

    async def untag(self, request: Request) -> Response:
        self.desk.crowd.author((await _json(request)).get("admin_id"))
        return JSONResponse(self.desk.untag(request.path_params["id"], request.path_params["tag"]))

    async def search_conversations(self, request: Request) -> Response:
        rows = [
            {name: value for name, value in row.items() if name != "conversation_parts"}
            for row in self.desk.conversations.values()
        ]
        answer = self.finder.answer("conversation.list", "conversations", rows, await _json(request))
        return JSONResponse(answer)

    def _says(self, conversation_id: str, body: Mapping[str, Any], by_api: bool = True) -> None:
        crowd = self.desk.crowd
        if body.get("type") == "admin":
            author = crowd.author(body.get("admin_id"))
        else:
            author = crowd.customer(self._customer(conversation_id, body))
        is_note = body["message_type"] == "note"
        self.desk.say(conversation_id, self._kept(body.get("body", "")), author, note=is_note, by_api=by_api)

    def _manages(self, conversation_id: str, body: Mapping[str, Any], by_api: bool) -> None:
        author = self.desk.crowd.author(body.get("admin_id"))
        match body["message_type"]:
            case "assignment":
                self.desk.assign(conversation_id, body["type"], body["assignee_id"], author, by_api=by_api)
            case "snoozed":
                until = body["snoozed_until"]
                self.desk.set_state(conversation_id, "snoozed", author, until=until, by_api=by_api)
            case "close" | "open" as word:
                state = "closed" if word == "close" else "open"
                self.desk.set_state(conversation_id, state, author, body=body.get("body"), by_api=by_api)
            case other:
                raise Refusal(400, "parameter_invalid", f"message_type {other} is invalid", "message_type")

    def _customer(self, conversation_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
        if "intercom_user_id" in body:
            return self.desk.crowd.contact(body["intercom_user_id"])
        found = self.desk.crowd.by(email=body.get("email"), external_id=body.get("user_id"))
        holder = self.desk.tickets.get(conversation_id) or self.desk.conversation(conversation_id)
        return found or self.desk.crowd.contact(holder["contacts"]["contacts"][0]["id"])

    def _kept(self, body: str) -> str:
        return "".join(c for c in body if not "\ufe00" <= c <= "\ufe0f") if self.drops_marks else body

    # --- tickets ------------------------------------------------------------------------------------------

    async def open_ticket(self, request: Request) -> Response:
        body = await _json(request)
        contact = self._affected(body["contacts"][0])
        given = body.get("ticket_attributes") or {}
        body["ticket_attributes"] = {
            name: self._kept(value) if isinstance(value, str) else value for name, value in given.items()
        }
        return JSONResponse(self.desk.open_ticket(body, contact, self.desk.crowd.author(API_ADMIN)))

    async def ticket(self, request: Request) -> Response:
        return JSONResponse(self.desk.ticket(request.path_params["id"]))

    async def change_ticket(self, request: Request) -> Response:
        body = await _json(request)
        author = self.desk.crowd.author(body.get("admin_id", API_ADMIN))
        return JSONResponse(self.desk.change_ticket(request.path_params["id"], body, author, by_api=True))

    async def reply_to_ticket(self, request: Request) -> Response:
        body = await _json(request)
        part = self._says_on_ticket(request.path_params["id"], body, by_api=True)
        kept = (
            "type",
            "id",
            "part_type",
            "body",
            "created_at",
            "updated_at",
            "author",
            "attachments",
            "redacted",
        )
        return JSONResponse({name: part[name] for name in kept})

    async def tag_ticket(self, request: Request) -> Response:
        body = await _json(request)
        self.desk.crowd.author(body.get("admin_id"))
        ticket, tag = self.desk.ticket(request.path_params["id"]), self.desk.named_tag(str(body["id"]))
        self.desk.ticket_tags.setdefault(ticket["id"], []).append(tag["id"])
        by = {"type": "admin", "id": str(body["admin_id"])}
        return JSONResponse({**tag, "applied_at": int(time.time()), "applied_by": by})

    async def untag_ticket(self, request: Request) -> Response:
        self.desk.crowd.author((await _json(request)).get("admin_id"))
        tag = self.desk.named_tag(request.path_params["tag"])
        present = self.desk.ticket_tags.get(self.desk.ticket(request.path_params["id"])["id"], [])
        if tag["id"] not in present:
            raise Refusal(404, "tag_not_found", "Tag not found")
        present[:] = [tag_id for tag_id in present if tag_id != tag["id"]]
        return JSONResponse(tag)

    async def search_tickets(self, request: Request) -> Response:
        rows = list(self.desk.tickets.values())
        return JSONResponse(self.finder.answer("ticket.list", "tickets", rows, await _json(request)))

    def _says_on_ticket(self, ticket_id: str, body: Mapping[str, Any], by_api: bool) -> dict[str, Any]:
        crowd = self.desk.crowd
        if body.get("type") == "admin":
            author = crowd.author(body.get("admin_id"))
        else:
            author = crowd.customer(self._customer(ticket_id, body))
        text, is_note = self._kept(body.get("body", "")), body["message_type"] == "note"
        return self.desk.say_on_ticket(ticket_id, text, author, note=is_note, by_api=by_api)

    def _affected(self, given: Mapping[str, Any]) -> dict[str, Any]:
        if "id" in given:
            return self.desk.crowd.contact(given["id"])
        found = self.desk.crowd.by(**given)
        return found or self.desk.crowd.make({"role": "lead", **given})

    # --- people -------------------------------------------------------------------------------------------

    async def everything(self, request: Request) -> Response:
        """Conversations as the API has them; tickets too, with the tags that the API does not tell."""
        tickets = [
            {**row, "tags": [self.desk.tags[tag]["name"] for tag in self.desk.ticket_tags.get(row["id"], [])]}
            for row in self.desk.tickets.values()
        ]
        return JSONResponse([*self.desk.conversations.values(), *tickets])

    async def ping(self, request: Request) -> Response:
        self.desk.tell("ping", {"type": "ping", "message": "something something interzen"})
        return Response(status_code=204)

    async def human_changes_contact(self, request: Request) -> Response:
        body, contact_id = await _json(request), request.path_params["id"]
        if body.get("deleted"):
            self.desk.crowd.delete(contact_id)
            return Response(status_code=204)
        if body.get("archived"):
            self.desk.crowd.archive(contact_id)
            return Response(status_code=204)
        return JSONResponse(self.desk.crowd.change(contact_id, body))

    async def human_opens(self, request: Request) -> Response:
        """`{"contact": {"email", "name", "phone", ...}, "body"}`, or with `ticket_type_id` and `ticket_attributes`;
        `admin_id` = a teammate writes first. The answer's `id` is the one that a TicketRef has."""
        body, crowd = await _json(request), self.desk.crowd
        given = body.get("contact") or {"email": "ana@customer.example", "name": "Ana Lima"}
        contact = crowd.by(email=given.get("email"), external_id=given.get("external_id")) or crowd.make(
            given
        )
        if "ticket_type_id" in body:
            opened = self.desk.open_ticket(body, contact, crowd.customer(contact))
            return JSONResponse({"id": TICKET + opened["id"], "ticket": opened}, 201)
        author = crowd.author(body["admin_id"]) if "admin_id" in body else crowd.customer(contact)
        kind, subject = body.get("type", "conversation"), body.get("subject", "")
        opened = self.desk.open(contact, body.get("body", "Hello"), author, kind, subject)
        rest: dict[str, Any] = {
            name: body[name] for name in ("tags", "custom_attributes", "title") if name in body
        }
        self._changes(opened["id"], rest)
        return JSONResponse({"id": opened["id"], "conversation": opened}, 201)

    async def human_changes(self, request: Request) -> Response:
        """The API's own bodies (`message_type` and what belongs to it); `tags`, `removed_tags`, `attach`, `deleted`,
        and the fields of a conversation or ticket. Without `admin_id`, Rui (701) does it."""
        body, ref_id = await _json(request), request.path_params["id"]
        if ref_id.startswith(TICKET):
            self._changes_ticket(ref_id.removeprefix(TICKET), body)
        else:
            self._changes(ref_id, body)
        return Response(status_code=204)

    def _changes(self, conversation_id: str, body: Mapping[str, Any]) -> None:
        admin = str(body.get("admin_id", HUMAN_ADMIN))
        if body.get("message_type") in ("comment", "note"):
            self._says(conversation_id, {"admin_id": admin, **body}, by_api=False)
        elif "message_type" in body:
            self._manages(conversation_id, {"admin_id": admin, **body}, by_api=False)
        for name in body.get("tags", ()):
            self.desk.tag(conversation_id, self.desk.make_tag(name)["id"], admin)
        for name in body.get("removed_tags", ()):
            self.desk.untag(conversation_id, self.desk.make_tag(name)["id"])
        fields: dict[str, Any] = {
            name: body[name] for name in ("custom_attributes", "priority", "title") if name in body
        }
        if fields:
            self.desk.change(conversation_id, fields)
        if "attach" in body:
            self.desk.attach(conversation_id, self.desk.crowd.make(body["attach"]))
        if body.get("deleted"):
            self.desk.delete(conversation_id)

    def _changes_ticket(self, ticket_id: str, body: Mapping[str, Any]) -> None:
        admin = str(body.get("admin_id", HUMAN_ADMIN))
        if "message_type" in body:
            self._says_on_ticket(ticket_id, {"admin_id": admin, **body}, by_api=False)
        names = ("ticket_state_id", "assignee_id", "ticket_attributes", "snoozed_until", "open")
        if fields := {name: body[name] for name in names if name in body}:
            self.desk.change_ticket(ticket_id, fields, self.desk.crowd.author(admin))


async def _json(request: Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Refusal(400, "parameter_invalid", "The request body is not a JSON object")
    return body
