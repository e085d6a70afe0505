"""How does Freshdesk answer and call back where there is none? A small stateful fake of its REST API v2.

Settings of a connection to it: `base_url` http://127.0.0.1:PORT/api/v2, any `subdomain`, `agent_id` 43000001,
`api_key` sandbox-key, `hook_key` sandbox-hook-key.
"""

import base64
import binascii
import re
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Literal

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.testing import Outbox, misbehaving

from .collect import instant
from .desk import GROUPS, NOTE, NOTE_MEMBERS, REPLY, REPLY_MEMBERS, Desk, check_members
from .envelopes import STATUS_LABELS
from .hands import Hands, given
from .limits import Limits
from .people import API_AGENT, People, Refusal, wrong

API = "/api/v2"
FOUND_PER_PAGE = 30
_TERM = re.compile(r"(\w+):(?:'([^']*)'|(\d+))")


def create_app(
    *,
    api_key: str = "sandbox-key",
    hook_key: str = "sandbox-hook-key",
    calls_per_minute: int | None = 200,
    content: Literal["advanced", "simple", "unquoted"] = "advanced",
    proof: Literal["header", "basic", "api key", "none"] = "header",
    html: Literal["kept", "plain"] = "kept",
    duplicate_status: Literal[400, 409] = 409,
    search_lag: float = 30,
    combines_filters: bool = True,
    largest_page: int = 100,
    clock: Callable[[], float] = time.time,
) -> ASGIApp:
    """One account with three agents and two groups, and neither contacts nor tickets.

    :param calls_per_minute: the plan's limit (200, 400 or 700 have their own for some endpoints); None = no limits
    :param content: what the admin chose as the webhook's content; `unquoted` gives invalid JSON
    :param proof: how the key comes: a custom header, user and password, an *API key*, or only in the target's URL
    :param html: whether attributes and spans of what is written survive
    :param duplicate_status: what a contact whose e-mail is taken is answered with
    :param search_lag: for how many seconds the search does not know of a change
    :param combines_filters: whether `filter=deleted` goes together with `updated_since`
    """
    outbox = Outbox(lambda _: _credentials(proof, hook_key))
    people = People(lambda: desk.now(), duplicate_status)
    desk = Desk(outbox.send, content, html, people, clock)
    front = Front(desk, search_lag, combines_filters, largest_page)
    routes = [*front.routes(), *Hands(desk).routes(), *outbox.routes()]
    inner = Starlette(routes=routes, exception_handlers={Refusal: _refused})
    return misbehaving(Gate(inner, api_key, Limits(calls_per_minute, clock)))


def _credentials(proof: str, hook_key: str) -> Mapping[str, str]:
    basic = {"basic": f"freshdesk:{hook_key}", "api key": f"{hook_key}:X"}
    if proof in basic:
        return {"Authorization": f"Basic {base64.b64encode(basic[proof].encode()).decode()}"}
    return {"X-Gateway-Key": hook_key} if proof == "header" else {}


async def _refused(_: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, Refusal)  # noqa: S101 - it is registered for nothing else
    if refusal.body is None:
        return Response(status_code=refusal.status)
    return JSONResponse(refusal.body, refusal.status)


class Gate:
    """What every API call passes: credentials, then the budget, and headers on every answer."""

    def __init__(self, app: ASGIApp, api_key: str, limits: Limits) -> None:
        self.app, self.api_key, self.limits = app, api_key, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(API):
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        refusal = self._unauthorized(request)
        headers: dict[str, str] = {}
        if refusal is None:
            includes = len([name for name in request.query_params.get("include", "").split(",") if name])
            headers, wait = self.limits.take(scope["method"], scope["path"], includes)
            if wait is not None:
                body = {"message": "You have exceeded the limit of requests per minute"}
                refusal = JSONResponse(body, 429, {"Retry-After": str(wait)})
            elif scope["method"] in ("POST", "PUT") and "json" not in request.headers.get("content-type", ""):
                body = {"code": "invalid_content_type", "message": "Content-Type header is set incorrectly"}
                refusal = JSONResponse(body, 415)

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                extra = {
                    "X-Request-Id": uuid.uuid4().hex,
                    "X-Freshdesk-API-Version": "latest=v2; requested=v2",
                    **headers,
                }
                named = [(name.lower().encode(), value.encode()) for name, value in extra.items()]
                message = {**message, "headers": [*message["headers"], *named]}
            await send(message)

        await (refusal or self.app)(scope, receive, sending)

    def _unauthorized(self, request: Request) -> Response | None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        try:
            user = base64.b64decode(given, validate=True).decode().partition(":")[0]
        except (binascii.Error, ValueError):
            user = ""
        if scheme == "Basic" and user == self.api_key:
            return None
        words = "You have to be logged in to perform this action."
        return JSONResponse({"code": "invalid_credentials", "message": words}, 401)


class Front:
    """The endpoints of the API; all that comes in acts as the agent whose key it is."""

    def __init__(self, desk: Desk, search_lag: float, combines_filters: bool, largest_page: int) -> None:
        self.desk, self.search_lag = desk, search_lag
        self.combines_filters, self.largest_page = combines_filters, largest_page

    def routes(self) -> list[Route]:
        return [
            Route(f"{API}/tickets", self.list_tickets, methods=["GET"]),
            Route(f"{API}/tickets", self.create_ticket, methods=["POST"]),
            Route(f"{API}/tickets/archived/{{id:int}}", self.archived, methods=["GET"]),
            Route(f"{API}/tickets/archived/{{id:int}}/conversations", self.archived_talk, methods=["GET"]),
            Route(f"{API}/tickets/{{id:int}}", self.ticket, methods=["GET", "PUT", "DELETE"]),
            Route(f"{API}/tickets/{{id:int}}/conversations", self.talk, methods=["GET"]),
            Route(f"{API}/tickets/{{id:int}}/notes", self.note, methods=["POST"]),
            Route(f"{API}/tickets/{{id:int}}/reply", self.reply, methods=["POST"]),
            Route(f"{API}/tickets/{{id:int}}/restore", self.restore, methods=["PUT"]),
            Route(f"{API}/search/tickets", self.search, methods=["GET"]),
            Route(f"{API}/contacts", self.list_contacts, methods=["GET"]),
            Route(f"{API}/contacts", self.create_contact, methods=["POST"]),
            Route(f"{API}/contacts/{{id:int}}", self.contact, methods=["GET", "PUT", "DELETE"]),
            Route(f"{API}/agents", self.agents, methods=["GET"]),
            Route(f"{API}/agents/me", self.me, methods=["GET"]),
            Route(f"{API}/groups", self.groups, methods=["GET"]),
            Route(f"{API}/ticket_fields", self.ticket_fields, methods=["GET"]),
        ]

    async def list_tickets(self, request: Request) -> Response:
        query = request.query_params
        only, since = query.get("filter"), query.get("updated_since")
        if only and since and not self.combines_filters:
            raise Refusal.invalid(wrong("filter", "Please use one filter at a time", "invalid_field"))
        if only not in (None, "deleted", "spam", "new_and_my_open", "watching"):
            raise Refusal.invalid(wrong("filter", "It should be one of the filters"))
        rows = [one for id_, one in self.desk.tickets.items() if id_ not in self.desk.archived]
        rows = [one for one in rows if one["deleted"] == (only == "deleted")]
        rows = [one for one in rows if since is None or one["updated_at"] >= since]
        for name in ("requester_id", "company_id"):
            rows = [one for one in rows if name not in query or str(one[name]) == query[name]]
        by, direction = query.get("order_by", "created_at"), query.get("order_type", "desc")
        rows.sort(key=lambda one: (one[by], one["id"]), reverse=direction == "desc")
        hidden = {"description", "description_text", "stats", "attachments"}
        shown = [{name: value for name, value in one.items() if name not in hidden} for one in rows]
        return self._page(request, shown)

    def _page(self, request: Request, rows: list[Any]) -> Response:
        size = min(int(request.query_params.get("per_page", 30)), self.largest_page)
        page = int(request.query_params.get("page", 1))
        if page > 300:
            raise Refusal.invalid(wrong("page", "You cannot access tickets beyond the 300th page"))
        headers = {}
        if page * size < len(rows):
            following = request.url.include_query_params(page=page + 1)
            headers["Link"] = f'<{following}>; rel="next"'
        return JSONResponse(rows[(page - 1) * size : page * size], headers=headers)

    async def create_ticket(self, request: Request) -> Response:
        ticket = self.desk.open(await given(request))
        place = f"https://sandbox.freshdesk.com{API}/tickets/{ticket['id']}"
        return JSONResponse(ticket, 201, {"Location": place})

    async def ticket(self, request: Request) -> Response:
        ticket = self.desk.ticket(request.path_params["id"])
        if request.method == "DELETE":
            self.desk.delete(ticket)
            return Response(status_code=204)
        if request.method == "PUT":
            self.desk.change(ticket, await given(request))
            return JSONResponse({name: value for name, value in ticket.items() if name != "stats"})
        include = request.query_params.get("include", "").split(",")
        shown = {name: value for name, value in ticket.items() if name != "stats" or "stats" in include}
        if "requester" in include:
            shown["requester"] = self.desk.people.shown(ticket["requester_id"])
        if "company" in include:
            shown["company"] = {}
        if "conversations" in include:
            shown["conversations"] = self.desk.conversations[ticket["id"]][:10]
        return JSONResponse(shown)

    async def archived(self, request: Request) -> Response:
        return JSONResponse(self.desk.ticket(request.path_params["id"], archived=True))

    async def archived_talk(self, request: Request) -> Response:
        ticket = self.desk.ticket(request.path_params["id"], archived=True)
        return self._page(request, self.desk.conversations[ticket["id"]])

    async def talk(self, request: Request) -> Response:
        ticket = self.desk.ticket(request.path_params["id"])
        return self._page(request, self.desk.conversations[ticket["id"]])

    async def note(self, request: Request) -> Response:
        ticket, body = self.desk.ticket(request.path_params["id"]), await given(request)
        check_members(body, NOTE_MEMBERS)
        if not body.get("body"):
            raise Refusal.invalid(wrong("body", "It should be a/an String", "missing_field"))
        return JSONResponse(
            self.desk.say(ticket, body, API_AGENT, private=body.get("private", True), source=NOTE), 201
        )

    async def reply(self, request: Request) -> Response:
        ticket, body = self.desk.ticket(request.path_params["id"]), await given(request)
        check_members(body, REPLY_MEMBERS)
        if not body.get("body"):
            raise Refusal.invalid(wrong("body", "It should be a/an String", "missing_field"))
        return JSONResponse(self.desk.say(ticket, body, API_AGENT, private=False, source=REPLY), 201)

    async def restore(self, request: Request) -> Response:
        self.desk.delete(self.desk.ticket(request.path_params["id"]), deleted=False)
        return Response(status_code=204)

    async def search(self, request: Request) -> Response:
        query, page = request.query_params.get("query", ""), int(request.query_params.get("page", 1))
        terms = _TERM.findall(query)
        spelled = " AND ".join(f"{field}:'{text}'" if text else f"{field}:{n}" for field, text, n in terms)
        if query != f'"{spelled}"' or len(query) > 512 or not 1 <= page <= 10:
            raise Refusal.invalid(wrong("query", "The query is not valid"))
        indexed = self.desk.clock() - self.search_lag
        rows = [
            one for one in self.desk.tickets.values() if instant(one["updated_at"]).timestamp() <= indexed
        ]
        for field, text, number in terms:
            rows = [
                one for one in rows if (text in one["tags"] if field == "tag" else str(one[field]) == number)
            ]
        shown = rows[(page - 1) * FOUND_PER_PAGE : page * FOUND_PER_PAGE]
        return JSONResponse({"total": len(rows), "results": shown})

    async def list_contacts(self, request: Request) -> Response:
        return self._page(request, self.desk.people.found(request.query_params))

    async def create_contact(self, request: Request) -> Response:
        return JSONResponse(self.desk.people.save(None, await given(request)), 201)

    async def contact(self, request: Request) -> Response:
        contact = self.desk.people.contacts.get(request.path_params["id"])
        if contact is None:  # also an agent's id
            raise Refusal(404, None)
        if request.method == "GET":
            return JSONResponse(contact)
        if contact["deleted"]:
            raise Refusal(405, {"message": "PUT method is not allowed. It should be one of these: GET"})
        if request.method == "DELETE":
            contact["deleted"] = True
            return Response(status_code=204)
        return JSONResponse(self.desk.people.save(contact["id"], await given(request)))

    async def agents(self, request: Request) -> Response:
        wanted = request.query_params.get("email")
        everyone = self.desk.people.agents.values()
        return JSONResponse([one for one in everyone if wanted in (None, one["contact"]["email"])])

    async def me(self, _: Request) -> Response:
        return JSONResponse(self.desk.people.agents[API_AGENT])

    async def groups(self, _: Request) -> Response:
        return JSONResponse([{"id": id_, "name": name} for id_, name in GROUPS.items()])

    async def ticket_fields(self, _: Request) -> Response:
        statuses = {str(id_): [label, f"{label} (customer)"] for id_, label in STATUS_LABELS.items()}
        return JSONResponse([
            {"id": 1, "name": "subject", "type": "default_subject"},
            {"id": 2, "name": "status", "type": "default_status", "choices": statuses},
            {"id": 3, "name": "ticket_type", "type": "default_ticket_type", "choices": ["Question"]},
        ])  # fmt: skip
