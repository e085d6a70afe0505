"""How does Bitrix24 answer and call back where there is none? A small stateful fake of a portal.

Settings of a connection to it: `base_url` http://127.0.0.1:PORT/rest, `user_id` 15, `portal_host` acme.bitrix24.com.br,
`member_id` of `desk.MEMBER_ID`.
"""

import json
import time
from typing import Any, Literal

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from gateway.testing import Outbox, misbehaving

from .desk import GATEWAY_USER, HOST, HUMAN_USER, KINDS, MEMBER_ID, SECOND_USER, Data, Desk, Refusal, encoded
from .methods import V3, answer
from .words import camel

BURST, DRAIN = 50, 2.0
"""https://apidocs.bitrix24.com/limits.html: a bucket of 50 calls that drains by two a second."""

HANDLER_IDS = {"ONCRM": 21, "ONTASK": 31, "ONVOX": 35, "ONOPEN": 51, "ONSESS": 52}
KEPT_KEYS = 24 * 3600


def create_app(
    *,
    webhook_secret: str = "sandbox-secret",  # noqa: S107 - opens nothing but this fake
    application_token: str = "sandbox-application-token",  # noqa: S107
    limited: bool = True,
    task_card: Literal["old", "new"] = "new",
    open_lines: Literal["list", "object"] = "list",
    tells_semantics: bool = True,
    mixed_case: bool = False,
    host: str = HOST,
) -> ASGIApp:
    """A portal with the gateway's user 15, the colleagues 21 and 22, two pipelines of deals, and nothing else.

    :param limited: whether the bucket of calls is enforced
    :param task_card: whether comments of tasks are a chat (new) or a forum (old)
    :param open_lines: whether `DATA` of open-line events is a list or an object
    :param tells_semantics: whether a deal says itself what its stage means
    :param mixed_case: whether event codes come as `onCrmDealAdd`-like words instead of capitals
    """
    outbox = Outbox()

    def tell(event: str, data: Data) -> None:
        handler = next((id_ for start, id_ in HANDLER_IDS.items() if event.startswith(start)), 1)
        body = {
            "event": f"on{event[2:].title()}" if mixed_case else event,
            "event_handler_id": handler,
            "data": data,
            "ts": int(time.time()),
            "auth": {
                "domain": host, "client_endpoint": f"https://{host}/rest/",
                "server_endpoint": "https://oauth.bitrix.info/rest/", "member_id": MEMBER_ID,
                "application_token": application_token,
            },
        }  # fmt: skip
        outbox.send(
            encoded(body), {"Content-Type": "application/x-www-form-urlencoded", "User-Agent": "Bitrix24"}
        )

    desk = Desk(tell, task_card, open_lines, tells_semantics)
    rest = Rest(desk, webhook_secret, Bucket(limited))
    routes = [*rest.routes(), *People(desk).routes(), *outbox.routes()]
    return misbehaving(Starlette(routes=routes, exception_handlers={Refusal: _refused}))


async def _refused(_: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, Refusal)  # noqa: S101 - registered for nothing else
    return JSONResponse(refusal.body, status_code=refusal.status)


class Bucket:
    """Every request adds one, two a second drain, above fifty nothing is answered."""

    def __init__(self, limited: bool) -> None:
        self.limited = limited
        self.level, self.seen_at = 0.0, time.monotonic()

    def take(self) -> None:
        now = time.monotonic()
        self.level = max(0.0, self.level - DRAIN * (now - self.seen_at))
        self.seen_at = now
        if self.limited and self.level + 1 > BURST:
            raise Refusal(503, "QUERY_LIMIT_EXCEEDED", "Too many requests")
        self.level += 1


class Rest:
    """`/rest/{user}/{secret}/{method}`, and REST v3 below `/rest/api/`."""

    def __init__(self, desk: Desk, secret: str, bucket: Bucket) -> None:
        self.desk = desk
        self.secret = secret
        self.bucket = bucket
        self.keys: dict[str, tuple[float, Data]] = {}

    def routes(self) -> list[Route]:
        return [
            Route("/rest/api/{user}/{secret}/{method}", self.v3, methods=["POST"]),
            Route("/rest/{user}/{secret}/{method}", self.v2, methods=["GET", "POST"]),
        ]

    async def v2(self, request: Request) -> Response:
        self._admit(request)
        method = request.path_params["method"].removesuffix(".json")
        asked = dict(request.query_params) if request.method == "GET" else await _json(request)
        if method in V3:
            raise Refusal(404, "ERROR_METHOD_NOT_FOUND", "Method not found!")
        body = answer(self.desk, method, asked)
        body.pop("__list__", None)
        return JSONResponse({**body, "time": _time()})

    async def v3(self, request: Request) -> Response:
        """Errors are objects here; a key is kept for a day, and a copy is answered without acting."""
        key, now = request.headers.get("idempotency-key"), time.time()
        try:
            self._admit(request)
            if request.path_params["method"] not in V3:
                raise Refusal(404, "BITRIX_REST_V3_EXCEPTION_METHODNOTFOUND", "Method not found")
            if key and (known := self.keys.get(key)) and known[0] > now - KEPT_KEYS:
                return JSONResponse(known[1], headers={"Idempotent-Replayed": "true"})
            body = {**answer(self.desk, request.path_params["method"], await _json(request)), "time": _time()}
        except Refusal as refusal:
            error = {"code": refusal.body["error"], "message": refusal.body["error_description"]}
            return JSONResponse({"error": error}, status_code=refusal.status)
        if key:
            self.keys[key] = (now, body)
        return JSONResponse(body)

    def _admit(self, request: Request) -> None:
        self.bucket.take()
        if request.path_params["user"] != str(GATEWAY_USER) or request.path_params["secret"] != self.secret:
            raise Refusal(401, "NO_AUTH_FOUND", "Wrong authorization data")


class People:
    """What persons do in the portal. Ids are those of TicketRefs: `task:1001`, `deal:1002`, `chat:1003`."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def routes(self) -> list[Route]:
        return [
            Route("/_sandbox/tickets", self.all, methods=["GET"]),
            Route("/_sandbox/human/tickets", self.opens, methods=["POST"]),
            Route("/_sandbox/human/tickets/{id}", self.changes, methods=["POST"]),
            Route("/_sandbox/human/calls", self.calls, methods=["POST"]),
        ]

    async def all(self, _: Request) -> Response:
        """Tasks, deals and open-line chats; each with its comments, and with `ref`, its name for TicketRefs."""
        desk = self.desk
        tasks = [
            {"ref": f"task:{id_}", **task, "comments": self._said(id_, task)}
            for id_, task in desk.tasks.items()
        ]
        deals = [
            {"ref": f"deal:{id_}", **deal, "timeline": self._timeline("deal", id_)}
            for id_, deal in desk.cards.get(KINDS["deal"], {}).items()
        ]
        chats = [
            {"ref": f"chat:{id_}", **chat, "messages": desk.messages[id_]} for id_, chat in desk.chats.items()
        ]
        return JSONResponse([*tasks, *deals, *chats])

    def _said(self, id_: int, task: Data) -> list[Data]:
        return self.desk.messages[int(task["chatId"])] if task["chatId"] else self.desk.forum.get(id_, [])

    def _timeline(self, kind: str, id_: int) -> list[Data]:
        return [n for n in self.desk.timeline.values() if (n["ENTITY_TYPE"], n["ENTITY_ID"]) == (kind, id_)]

    async def opens(self, request: Request) -> Response:
        """`kind` is `task` (default), `deal`, `lead`, `contact` or `chat`. Tasks: `title`, `description`, `tags`,
        `status`, `responsibleId`, `contact` {name, phone, email}. Cards: their fields, `contact`. Chats:
        `customer` (their number), `message`, `deal`, `contact`."""
        given = await _json(request)
        kind, by = given.pop("kind", "task"), int(given.pop("by", HUMAN_USER))
        contact = self._contact(given.pop("contact", None), by)
        if kind == "chat":
            chat = self.desk.write_in(
                given.get("customer", "5511999990000"),
                given.get("message", "Olá"),
                given.get("deal"),
                contact,
            )
            return JSONResponse({**chat, "id": f"chat:{chat['id']}"}, 201)
        if kind == "task":
            fields = _capitals(given) | ({"UF_CRM_TASK": [f"C_{contact}"]} if contact else {})
            task = self.desk.open_task({"TITLE": "Ajuda", "RESPONSIBLE_ID": by, **fields}, by)
            return JSONResponse({**task, "id": f"task:{task['id']}"}, 201)
        fields = given | ({"contactIds": [contact]} if contact else {})
        card = self.desk.save(KINDS[kind], None, _reachable(fields), by)
        return JSONResponse({**card, "id": f"{kind}:{card['id']}"}, 201)

    def _contact(self, given: Any, by: int) -> int | None:
        """An id, or who it is: then they are filed."""
        if not isinstance(given, dict):
            return int(given) if given else None
        return int(self.desk.save(KINDS["contact"], None, _reachable(given), by)["id"])

    async def changes(self, request: Request) -> Response:
        """Fields as in `opens`, and `comment`, `deleted: true`; chats: `message` with `author` (`customer` or
        `operator`), `finish: true`."""
        given = await _json(request)
        kind, _, number = request.path_params["id"].partition(":")
        id_, by = int(number), int(given.pop("by", HUMAN_USER))
        comment, deleted = given.pop("comment", None), given.pop("deleted", False)
        if kind == "chat":
            return JSONResponse(self._change_chat(id_, given, by))
        if kind == "task":
            if given:
                self.desk.change_task(id_, _capitals(given), by)
            if comment:
                self.desk.comment(id_, comment, by)
            if deleted:
                self.desk.delete_task(id_)
            return JSONResponse(self.desk.tasks.get(id_, {}))
        if given:
            self.desk.save(KINDS[kind], id_, _reachable(given), by)
        if comment:
            self.desk.note(kind, id_, comment, by)
        if deleted:
            self.desk.delete(KINDS[kind], id_)
        return JSONResponse(self.desk.cards[KINDS[kind]].get(id_, {}))

    def _change_chat(self, id_: int, given: Data, by: int) -> Data:
        chat = self.desk.chat(id_)
        if message := given.get("message"):
            if given.get("author", "customer") == "customer":
                self.desk.write_in(chat["external"], message)
            else:
                self.desk.say_in(id_, by, message)
        if given.get("finish"):
            self.desk.finish(id_)
        return chat

    async def calls(self, request: Request) -> Response:
        """`{phone, type, code, seconds}`: a telephone call ends."""
        given = await _json(request)
        call = self.desk.call(
            given.get("phone", "+5511999990000"), str(given.get("type", 1)), str(given.get("code", 200)),
            int(given.get("seconds", 0)), int(given.get("by", SECOND_USER)),
        )  # fmt: skip
        return JSONResponse({"id": call}, 201)


def _capitals(given: Data) -> Data:
    """`responsibleId` -> `RESPONSIBLE_ID`, which is how tasks are written."""
    return {
        name if name.isupper() else "".join(f"_{c}" if c.isupper() else c for c in name).upper(): value
        for name, value in given.items()
    }


def _reachable(given: Data) -> Data:
    """`phone` and `email` as the lists they are."""
    fields = {name: value for name, value in given.items() if name not in ("phone", "email")}
    for name in ("phone", "email"):
        if given.get(name):
            fields[name.upper()] = [{"VALUE": given[name], "VALUE_TYPE": "WORK"}]
    return {
        name if name in ("PHONE", "EMAIL") or not name.isupper() else camel(name): v
        for name, v in fields.items()
    }


async def _json(request: Request) -> Data:
    try:
        body = json.loads(await request.body() or b"{}")
    except ValueError:
        raise Refusal(400, "INVALID_REQUEST", "the body is not JSON") from None
    if not isinstance(body, dict):
        raise Refusal(400, "INVALID_REQUEST", "the body is not a map")
    return body


def _time() -> Data:
    now = time.time()
    return {
        "start": now, "finish": now, "duration": 0.0, "processing": 0.0, "date_start": Desk.at(now),
        "date_finish": Desk.at(now), "operating_reset_at": int(now) + 600, "operating": 0.0,
    }  # fmt: skip
