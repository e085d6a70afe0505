"""How does Zendesk answer and call back where there is none? A small stateful fake of its Ticketing API.

Settings of a connection to it: `base_url` http://127.0.0.1:PORT/api/v2, any `subdomain`, `user_id` 90001.
"""

import base64
import hashlib
import json
import shlex
import time
import uuid
from collections import defaultdict, deque
from collections.abc import Mapping
from typing import Any, Literal

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.testing import Outbox, misbehaving

from .accept import sign
from .desk import API_AGENT, HUMAN_AGENT, KEPT_KEYS, Desk, Refusal
from .envelopes import iso

CUSTOM_STATUSES = [
    {"id": 3001, "status_category": "new", "agent_label": "New", "active": True, "default": True},
    {"id": 3002, "status_category": "open", "agent_label": "Open", "active": True, "default": True},
    {"id": 3003, "status_category": "pending", "agent_label": "Pending", "active": True, "default": True},
    {"id": 3004, "status_category": "hold", "agent_label": "On-hold", "active": True, "default": True},
    {"id": 3005, "status_category": "solved", "agent_label": "Solved", "active": True, "default": True},
    {
        "id": 3006,
        "status_category": "pending",
        "agent_label": "Aguardando boleto",
        "active": True,
        "default": False,
    },
]


def create_app(
    *,
    oauth_token: str = "sandbox-token",  # noqa: S107
    api_token: str = "sandbox-api-token",  # noqa: S107
    signing_secret: str = "sandbox-secret",  # noqa: S107
    calls_per_minute: int | None = 200,
    webhooks: Literal["events", "trigger"] = "events",
    shuffled: bool = False,
    first_comment_event: bool = False,
    solve_needs_assignee: bool = False,
    export_delay: float = 60,
    largest_page: int = 100,
) -> ASGIApp:
    """One account, empty but for its agents and groups.

    :param calls_per_minute: the plan's limit; None switches it and the limits of single endpoints off
    :param webhooks: an event subscription, or a trigger with the id-only template
    :param shuffled: the events of one change arrive in the wrong order
    :param first_comment_event: a new ticket's first comment comes as `comment_added` too
    :param export_delay: how many seconds the incremental export is behind
    """

    def proof(body: bytes) -> Mapping[str, str]:
        sent_at = iso(time.time())
        return {
            "X-Zendesk-Webhook-Signature": sign(sent_at, body, signing_secret),
            "X-Zendesk-Webhook-Signature-Timestamp": sent_at,
        }

    outbox = Outbox(proof)

    def deliver(bodies: list[dict[str, Any]]) -> None:
        for body in reversed(bodies) if shuffled else bodies:
            outbox.send(
                json.dumps(body, indent=3, ensure_ascii=False).encode() + b"\n",
                {
                    "Content-Type": "application/json; charset=utf-8",
                    "User-Agent": "Zendesk Webhook",
                    "X-Zendesk-Account-Id": str(desk.account_id),
                    "X-Zendesk-Webhook-Id": "01SANDBOXWEBHOOK0000000000",
                    "X-Zendesk-Webhook-Invocation-Id": f"01{uuid.uuid4().hex[:24].upper()}",
                },
            )

    desk = Desk(deliver, webhooks, first_comment_event, solve_needs_assignee)
    front = Front(desk, export_delay, largest_page)
    inner = Starlette(routes=[*front.routes(), *outbox.routes()], exception_handlers={Refusal: _refused})
    basic = f"/token:{api_token}"
    return misbehaving(Gate(inner, oauth_token, basic, Limits(calls_per_minute)))


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)  # noqa: S101 - it is registered for nothing else
    return JSONResponse(error.body, error.status)


class Limits:
    """Sliding windows: the account's and those of single endpoints.

    https://developer.zendesk.com/api-reference/introduction/rate-limits/
    """

    def __init__(self, calls_per_minute: int | None) -> None:
        self.calls_per_minute = calls_per_minute
        self.taken: dict[str, deque[float]] = defaultdict(deque)

    def take(self, method: str, path: str) -> tuple[dict[str, str], int | None]:
        """The headers to answer with, and the seconds to wait when there is nothing left."""
        if self.calls_per_minute is None:
            return {}, None
        windows = [("account", self.calls_per_minute, 60)]
        if method == "PUT" and path.startswith("/api/v2/tickets/"):
            ticket = path.split("/")[4]
            windows += [("tickets-update", 100, 60), (f"tickets-update-{ticket}", 30, 600)]
        elif method == "POST" and path == "/api/v2/tickets":
            windows.append(("tickets-create", 300, 60))
        elif path.startswith("/api/v2/incremental/"):
            windows.append(("incremental-exports", 10, 60))
        headers: dict[str, str] = {}
        now, wait = time.time(), None
        for name, calls, seconds in windows:
            taken = self.taken[name]
            while taken and taken[0] <= now - seconds:
                taken.popleft()
            resets = int(seconds - (now - taken[0])) + 1 if taken else seconds
            if len(taken) >= calls:
                wait = max(wait or 0, resets)
            left = max(calls - len(taken) - 1, 0)
            if name == "account":
                headers |= {"x-rate-limit": str(calls), "x-rate-limit-remaining": str(left)}
                headers |= {"ratelimit-limit": str(calls), "ratelimit-remaining": str(left)}
                headers["ratelimit-reset"] = str(resets)
            else:
                headers[f"zendesk-ratelimit-{name}"] = f"total={calls}; remaining={left}; resets={resets}"
        if wait is None:
            for name, _, _ in windows:
                self.taken[name].append(now)
        return headers, wait


class Gate:
    """What every API call passes: `.json` is optional, credentials and budget are not."""

    def __init__(self, app: ASGIApp, oauth_token: str, basic: str, limits: Limits) -> None:
        self.app, self.oauth_token, self.basic, self.limits = app, oauth_token, basic, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/api/"):
            await self.app(scope, receive, send)
            return
        path = scope["path"].removesuffix(".json")
        refusal = self._unauthorized(Request(scope).headers.get("authorization", ""))
        headers: dict[str, str] = {}
        if refusal is None:
            headers, wait = self.limits.take(scope["method"], path)
            if wait is not None:
                body = {"error": "APIRateLimitExceeded", "description": "Number of allowed requests exceeded"}
                refusal = JSONResponse(body, 429, {"Retry-After": str(wait)})

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                extra = {"x-zendesk-api-version": "v2", **headers}
                named = [(name.encode(), value.encode()) for name, value in extra.items()]
                message = {**message, "headers": [*message["headers"], *named]}
            await send(message)

        await (refusal or self.app)({**scope, "path": path, "raw_path": path.encode()}, receive, sending)

    def _unauthorized(self, authorization: str) -> Response | None:
        scheme, _, given = authorization.partition(" ")
        if scheme == "Bearer":
            if given == self.oauth_token:
                return None
            text = "The access token provided is expired, revoked, malformed or invalid for other reasons."
            return JSONResponse({"error": "invalid_token", "error_description": text}, 401)
        if scheme == "Basic" and base64.b64decode(given).decode().endswith(self.basic):
            return None
        return JSONResponse({"error": "Couldn't authenticate you"}, 401)


class Front:
    """The endpoints: what comes in as JSON and goes out in the shapes of the vendor's OpenAPI."""

    def __init__(self, desk: Desk, export_delay: float, largest_page: int) -> None:
        self.desk, self.export_delay, self.largest_page = desk, export_delay, largest_page
        self.keys: dict[str, tuple[str, float, dict[str, Any]]] = {}

    def routes(self) -> list[Route]:
        api = "/api/v2"
        return [
            Route(f"{api}/tickets", self.list_tickets, methods=["GET"]),
            Route(f"{api}/tickets", self.create_ticket, methods=["POST"]),
            Route(f"{api}/tickets/{{id:int}}", self.ticket, methods=["GET", "PUT", "DELETE"]),
            Route(f"{api}/tickets/{{id:int}}/tags", self.tags, methods=["GET", "POST", "PUT", "DELETE"]),
            Route(f"{api}/tickets/{{id:int}}/{{kind}}", self.listing, methods=["GET"]),
            Route(f"{api}/incremental/tickets/cursor", self.export, methods=["GET"]),
            Route(f"{api}/custom_statuses", self.custom_statuses, methods=["GET"]),
            Route(f"{api}/users/me", self.me, methods=["GET"]),
            Route(f"{api}/users/search", self.search_users, methods=["GET"]),
            Route(f"{api}/users/create_or_update", self.save_user, methods=["POST"]),
            Route(f"{api}/users", self.create_user, methods=["POST"]),
            Route(f"{api}/users/{{id:int}}", self.user, methods=["GET", "PUT"]),
            Route("/_sandbox/tickets", self.all_tickets, methods=["GET"]),
            Route("/_sandbox/human/tickets", self.human_opens, methods=["POST"]),
            Route("/_sandbox/human/tickets/{id:int}", self.human_changes, methods=["POST"]),
        ]

    async def list_tickets(self, request: Request) -> Response:
        wanted = request.query_params.get("external_id")
        found = [t for t in self.desk.live() if wanted is None or t["external_id"] == wanted]
        return JSONResponse({"tickets": found, "count": len(found), "next_page": None, "previous_page": None})

    async def create_ticket(self, request: Request) -> Response:
        body = await _json(request)
        key, now = request.headers.get("idempotency-key"), time.time()
        digest = hashlib.sha256(await request.body()).hexdigest()
        headers = {}
        if key:
            known = self.keys.get(key)
            if known and known[1] > now - KEPT_KEYS:
                if known[0] != digest:
                    raise Refusal(
                        400,
                        "IdempotentRequestError",
                        "Request parameters don't match the given idempotency key",
                    )
                return JSONResponse(known[2], 201, {"x-idempotency-lookup": "hit"})
            headers["x-idempotency-lookup"] = "miss"
        ticket, audit = self.desk.open(body["ticket"], API_AGENT, "api")
        answer = {"ticket": ticket, "audit": audit}
        if key:
            self.keys[key] = (digest, now, json.loads(json.dumps(answer)))
        return JSONResponse(answer, 201, {"Location": ticket["url"], **headers})

    async def ticket(self, request: Request) -> Response:
        ticket = self.desk.ticket(request.path_params["id"])
        if request.method == "DELETE":
            self.desk.delete(ticket["id"], API_AGENT)
            return Response(status_code=204)
        if request.method == "PUT":
            ticket, audit = self.desk.change(ticket["id"], (await _json(request))["ticket"], API_AGENT, "api")
            return JSONResponse({"ticket": ticket, "audit": audit})
        include = request.query_params.get("include", "").split(",")
        answer: dict[str, Any] = {"ticket": ticket}
        if "users" in include:
            answer["users"] = self.desk.people(
                ticket[who] for who in ("requester_id", "submitter_id", "assignee_id")
            )
        if "groups" in include:
            answer["groups"] = [group for group in self.desk.groups if group["id"] == ticket["group_id"]]
        return JSONResponse(answer)

    async def tags(self, request: Request) -> Response:
        ticket = self.desk.ticket(request.path_params["id"])
        if request.method == "GET":
            return JSONResponse({"tags": ticket["tags"]})
        given = (await _json(request))["tags"]
        verb = {"PUT": "additional_tags", "DELETE": "remove_tags", "POST": "tags"}[request.method]
        ticket, _ = self.desk.change(ticket["id"], {verb: given}, API_AGENT, "api")
        return JSONResponse({"tags": ticket["tags"]}, 201 if request.method == "POST" else 200)

    async def listing(self, request: Request) -> Response:
        """Comments or audits, by cursor; `links.next` is there on the last page too."""
        ticket, kind = self.desk.ticket(request.path_params["id"]), request.path_params["kind"]
        if kind not in ("comments", "audits"):
            raise Refusal(404, "InvalidEndpoint", "Not found")
        rows = list({"comments": self.desk.comments, "audits": self.desk.audits}[kind][ticket["id"]])
        if request.query_params.get("sort") == "-created_at":
            rows.reverse()
        page, meta, links = self._page(request, rows)
        answer = {kind: page, "meta": meta, "links": links}
        if "users" in request.query_params.get("include", ""):
            answer["users"] = self.desk.people(row["author_id"] for row in page)
        return JSONResponse(answer)

    def _page(self, request: Request, rows: list[Any]) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
        size = min(int(request.query_params.get("page[size]", 100)), self.largest_page)
        start = int(base64.b64decode(request.query_params.get("page[after]", "MA==")))
        end = min(start + size, len(rows))
        after = base64.b64encode(str(end).encode()).decode()
        meta = {"has_more": end < len(rows), "after_cursor": after, "before_cursor": None}
        return rows[start:end], meta, {"next": f"{request.url.path}?page[after]={after}", "prev": None}

    async def export(self, request: Request) -> Response:
        """https://developer.zendesk.com/documentation/ticketing/managing-tickets/using-the-incremental-export-api"""
        latest = time.time() - self.export_delay
        cursor = request.query_params.get("cursor")
        if cursor:
            stamp, last = json.loads(base64.b64decode(cursor))
        else:
            stamp, last = float(request.query_params["start_time"]), 0
            if stamp > latest:
                raise Refusal(
                    400, "StartTimeTooRecent", "Too recent start_time. Use a start_time older than 60 seconds"
                )
        rows = [(self.desk.touched[t["id"]], t["id"]) for t in self.desk.tickets.values()]
        due = sorted(row for row in rows if (stamp, last) < row and row[0] <= latest)
        page = due[: self.largest_page]
        after = base64.b64encode(json.dumps(page[-1] if page else (stamp, last)).encode()).decode()
        answer = {
            "tickets": [self.desk.tickets[ticket_id] for _, ticket_id in page],
            "after_cursor": after,
            "after_url": f"{request.url.path}.json?cursor={after}",
            "before_cursor": None,
            "before_url": None,
            "end_of_stream": len(due) <= len(page),
        }
        return JSONResponse(answer)

    async def custom_statuses(self, request: Request) -> Response:
        return JSONResponse({"custom_statuses": CUSTOM_STATUSES})

    async def me(self, request: Request) -> Response:
        return JSONResponse({"user": self.desk.users[API_AGENT]})

    async def search_users(self, request: Request) -> Response:
        """`external_id` takes no query syntax, `query` does. Offset paging only."""
        terms = dict(term.split(":", 1) for term in shlex.split(request.query_params.get("query", "")))
        if "external_id" in request.query_params:
            terms = {"external_id": request.query_params["external_id"]}

        def fits(user: Mapping[str, Any]) -> bool:
            return all(str(user.get(name) or "").lower() == value.lower() for name, value in terms.items())

        found = [user for user in self.desk.users.values() if terms and fits(user)]
        return JSONResponse({"users": found, "count": len(found), "next_page": None, "previous_page": None})

    async def save_user(self, request: Request) -> Response:
        """Matched by e-mail or external id, never by phone."""
        given = (await _json(request))["user"]
        found = self.desk.find_user(email=given.get("email"), external_id=given.get("external_id"))
        user = self.desk.save_user(found["id"] if found else None, given)
        return JSONResponse({"user": user}, 200 if found else 201, {"Location": user["url"]})

    async def create_user(self, request: Request) -> Response:
        given = (await _json(request))["user"]
        if self.desk.find_user(email=given.get("email")):
            raise Refusal.invalid("email", f"Email: {given['email']} is already being used by another user")
        return JSONResponse({"user": self.desk.save_user(None, given)}, 201)

    async def user(self, request: Request) -> Response:
        user = self.desk.users.get(request.path_params["id"])
        if user is None:
            raise Refusal(404, "RecordNotFound", "Not found")
        if request.method == "PUT":
            user = self.desk.save_user(user["id"], (await _json(request))["user"])
        return JSONResponse({"user": user})

    async def all_tickets(self, request: Request) -> Response:
        return JSONResponse(list(self.desk.tickets.values()))

    async def human_opens(self, request: Request) -> Response:
        """`{subject, description, requester: {name, email, phone}, tags, custom_fields, priority}`."""
        given = await _json(request)
        person = given.pop("requester", {})
        found = self.desk.find_user(email=person.get("email"), phone=person.get("phone"))
        user = found or self.desk.save_user(None, {"name": "Cliente", **person})
        given["comment"] = {"body": given.pop("description", ""), "public": True}
        ticket, _ = self.desk.open({**given, "requester_id": user["id"]}, user["id"], "email")
        return JSONResponse({"ticket": ticket}, 201)

    async def human_changes(self, request: Request) -> Response:
        """The fields of an update, `comment: {body, public, author: "agent" | "requester"}`,
        `requester_phone`, `deleted: true` or `merged_into: id`."""
        given, ticket = await _json(request), self.desk.ticket(request.path_params["id"])
        phone, comment = given.pop("requester_phone", None), given.get("comment") or {}
        by_requester = comment.pop("author", "agent") == "requester"
        actor = ticket["requester_id"] if by_requester else HUMAN_AGENT
        if phone:
            self.desk.save_user(ticket["requester_id"], {"phone": phone}, actor)
        if given.pop("deleted", False):
            self.desk.delete(ticket["id"], actor)
            return JSONResponse({"ticket": ticket})
        if target := given.pop("merged_into", None):
            self.desk.merge(ticket["id"], target, actor)
        ticket, _ = self.desk.change(ticket["id"], given, actor, "email" if by_requester else "web")
        return JSONResponse({"ticket": ticket})


async def _json(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.body() or b"{}")
    except ValueError:
        raise Refusal(400, "Unprocessable Entity", "Server could not parse JSON") from None
    if not isinstance(body, dict):
        raise Refusal(400, "Unprocessable Entity", "Server could not parse JSON")
    return body
