"""How does Acme Desk answer and call back where there is none? A small stateful fake.

`uvicorn --factory acme_desk.sandbox:create_app`. Settings of a connection to it: any `company`, `login`
gateway, `base_url` http://127.0.0.1:PORT/api. The hook's address, with its key, goes to `/_sandbox/webhooks`.
"""

import base64
import json
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from gateway.testing import Outbox, misbehaving
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

PAGE = 50
STATES = {"open", "waiting", "done"}
NOBODY = {"name": None, "mail": "nobody@customer.example", "phone": None}


class Refused(Exception):
    """An answer that is not 2xx."""

    def __init__(self, status: int, problem: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(problem)
        self.status, self.headers = status, headers


class Desk:
    """One company's cases; the number of whatever is touched goes to the hook."""

    def __init__(self, outbox: Outbox) -> None:
        self.cases: dict[int, dict[str, Any]] = {}
        self.customers: dict[str, dict[str, Any]] = {}
        self._outbox = outbox

    def open(self, given: Mapping[str, Any], by: str) -> dict[str, Any]:
        customer = given.get("customer")
        number = len(self.cases) + 31
        case = self.cases[number] = {
            "number": number, "title": "", "text": "", "state": "open", "prio": 2, "labels": [],
            "agent": None, "queue": None,
            "customer": self.save(customer["mail"], customer) if customer else NOBODY,
            "opened_by": by, "opened": time.time(), "notes": [],
        }  # fmt: skip
        return self.change(case, {name: value for name, value in given.items() if name != "customer"})

    def change(self, case: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        if given.get("state", "open") not in STATES or given.get("prio", 1) not in (1, 2, 3):
            raise Refused(422, "no such state or priority")
        case.update({name: value for name, value in given.items() if name in case})
        return self._touched(case)

    def note(self, case: dict[str, Any], text: str, internal: bool, by: str, staff: bool) -> dict[str, Any]:
        note = {
            "no": len(case["notes"]) + 1, "text": text, "internal": internal, "by": by, "staff": staff,
            "at": time.time(),
        }  # fmt: skip
        case["notes"].append(note)
        self._touched(case)
        return note

    def save(self, mail: str, given: Mapping[str, Any]) -> dict[str, Any]:
        customer = self.customers.setdefault(mail, {**NOBODY, "mail": mail})
        customer.update({name: given[name] for name in ("name", "phone") if given.get(name)})
        return customer

    def _touched(self, case: dict[str, Any]) -> dict[str, Any]:
        case["touched"] = time.time()
        self._outbox.send(json.dumps({"case": case["number"]}).encode())
        return case


class Api:
    """What the gateway may call: with login and password, five times a second."""

    def __init__(self, desk: Desk, login: str, password: str, calls_per_second: int | None) -> None:
        self._desk, self._login, self._limit = desk, login, calls_per_second
        self._basic = f"Basic {base64.b64encode(f'{login}:{password}'.encode()).decode()}"
        self._calls: deque[float] = deque()

    def routes(self) -> list[Route]:
        return [
            self._route("GET", "/whoami", self.whoami),
            self._route("GET", "/cases", self.cases),
            self._route("POST", "/cases", self.open),
            self._route("GET", "/cases/{number:int}", self.show),
            self._route("PUT", "/cases/{number:int}", self.change),
            self._route("POST", "/cases/{number:int}/notes", self.note),
            self._route("GET", "/customers/{mail}", self.customer),
            self._route("PUT", "/customers/{mail}", self.save),
        ]

    def _route(self, method: str, path: str, endpoint: Callable[[Request], Awaitable[Any]]) -> Route:
        async def guarded(request: Request) -> Response:
            now = time.monotonic()
            while self._calls and self._calls[0] <= now - 1:
                self._calls.popleft()
            if self._limit is not None and len(self._calls) >= self._limit:
                raise Refused(429, "five calls a second", {"Retry-After": "1"})
            self._calls.append(now)
            if request.headers.get("authorization") != self._basic:
                raise Refused(401, "wrong login or password")
            return JSONResponse(await endpoint(request))

        return Route(f"/api{path}", guarded, methods=[method])

    def _case(self, request: Request) -> dict[str, Any]:
        try:
            return self._desk.cases[request.path_params["number"]]
        except KeyError:
            raise Refused(404, "no such case") from None

    async def whoami(self, _: Request) -> Any:
        return {"login": self._login}

    async def cases(self, request: Request) -> Any:
        query = request.query_params
        after, behind = float(query.get("touched_after", "0")), int(query.get("behind", "0"))
        found = [
            case
            for case in self._desk.cases.values()
            if case["touched"] > after and case["number"] > behind and query.get("search", "") in case["text"]
        ]
        return {"cases": found[:PAGE], "next": found[PAGE - 1]["number"] if len(found) > PAGE else None}

    async def open(self, request: Request) -> Any:
        return self._desk.open(await request.json(), self._login)

    async def show(self, request: Request) -> Any:
        return self._case(request)

    async def change(self, request: Request) -> Any:
        return self._desk.change(self._case(request), await request.json())

    async def note(self, request: Request) -> Any:
        given = await request.json()
        return self._desk.note(self._case(request), given["text"], given["internal"], self._login, staff=True)

    async def customer(self, request: Request) -> Any:
        try:
            return self._desk.customers[request.path_params["mail"]]
        except KeyError:
            raise Refused(404, "no such customer") from None

    async def save(self, request: Request) -> Any:
        return self._desk.save(request.path_params["mail"], await request.json())


class People:
    """What agents and customers do in Acme Desk itself."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def routes(self) -> list[Route]:
        return [
            Route("/_sandbox/tickets", self.all, methods=["GET"]),
            Route("/_sandbox/human/tickets", self.opens, methods=["POST"]),
            Route("/_sandbox/human/tickets/{number:int}", self.changes, methods=["POST"]),
        ]

    async def all(self, _: Request) -> Response:
        return JSONResponse(list(self._desk.cases.values()))

    async def opens(self, request: Request) -> Response:
        """`{title, text, customer: {name, mail, phone}, labels, prio}`"""
        given = await request.json()
        return JSONResponse(self._desk.open(given, given["customer"]["mail"]), 201)

    async def changes(self, request: Request) -> Response:
        """Members of a case, or `note: {text, internal, by: "bia" | "customer"}`"""
        given, case = await request.json(), self._desk.cases[request.path_params["number"]]
        note = given.pop("note", None)
        if note:
            staff = note.get("by") != "customer"
            by = note.get("by", "bia") if staff else case["customer"]["mail"]
            self._desk.note(case, note["text"], note.get("internal", False), by, staff)
        if given:
            self._desk.change(case, given)
        return JSONResponse(case)


def create_app(
    *, login: str = "gateway", password: str = "sandbox-password", calls_per_second: int | None = 5
) -> ASGIApp:
    """A company without cases. `calls_per_second=None` switches the rate limit off."""
    outbox = Outbox()
    desk = Desk(outbox)
    api = Api(desk, login, password, calls_per_second)
    routes = [*api.routes(), *People(desk).routes(), *outbox.routes()]
    return misbehaving(Starlette(routes=routes, exception_handlers={Refused: _refused}))


async def _refused(_: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, Refused)
    return JSONResponse({"problem": str(refusal)}, refusal.status, refusal.headers)
