"""What would Movidesk answer over HTTP, and how soon would it have enough of us? A small stateful fake.

`uvicorn --factory gateway_plugins.movidesk.sandbox:create_app`. The token goes into the query, as there; what
people do in the user interface is under `/_sandbox/human/`.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.api import text_to_html
from gateway.testing import Outbox, misbehaving

from .desk import BY_AGENT, BY_CLIENT, INTERNAL, JSON, PUBLIC, Desk, Refused, written
from .odata import matching

PAGE = 100
MINUTE = 60.0
PENALTIES = (60, 120, 300)
ERRORS_BEFORE_PENALTY = 3
AGENT = "ag-9"

Endpoint = Callable[[Request, JSON], JSON]


class Throttle:
    """10 calls in any minute; and after 3 erroneous ones nothing for 60 seconds, then 120, then 300."""

    def __init__(self, calls_per_minute: int, clock: Callable[[], float]) -> None:
        self._limit = calls_per_minute
        self._clock = clock
        self._calls: deque[float] = deque()
        self._errors: deque[float] = deque()
        self._penalties = 0
        self._blocked_until = 0.0

    def refusal(self) -> Response | None:
        now = self._clock()
        if now < self._blocked_until:
            return _too_many("Too many failed requests", self._blocked_until - now)
        while self._calls and self._calls[0] <= now - MINUTE:
            self._calls.popleft()
        if len(self._calls) >= self._limit:
            return _too_many("Too many requests", self._calls[0] + MINUTE - now)
        self._calls.append(now)
        return None

    def failed(self) -> None:
        now = self._clock()
        self._errors.append(now)
        while self._errors[0] <= now - MINUTE:
            self._errors.popleft()
        if len(self._errors) >= ERRORS_BEFORE_PENALTY:
            self._errors.clear()
            self._blocked_until = now + PENALTIES[min(self._penalties, len(PENALTIES) - 1)]
            self._penalties += 1


def _too_many(message: str, seconds: float) -> Response:
    headers = {"retry-after": str(int(seconds) + 1)}
    return JSONResponse({"message": message}, status_code=429, headers=headers)


class Api:
    """The public API: `?id=` chooses the object, lists are OData, everything new is answered with 200."""

    def __init__(self, desk: Desk, token: str, throttle: Throttle) -> None:
        self._desk = desk
        self._token = token
        self._throttle = throttle

    def routes(self) -> list[Route]:
        return [
            self._route("GET", "/tickets", self._tickets),
            self._route("GET", "/tickets/past", self._past_tickets),
            self._route("GET", "/tickets/htmldescription", self._html),
            self._route("POST", "/tickets", self._open),
            self._route("PATCH", "/tickets", self._change),
            self._route("GET", "/persons", self._persons),
            self._route("POST", "/persons", self._save_person),
            self._route("PATCH", "/persons", self._change_person),
        ]

    def _route(self, method: str, path: str, endpoint: Endpoint) -> Route:
        async def answered(request: Request) -> Response:
            too_many = self._throttle.refusal()
            if too_many is not None:
                return too_many
            try:
                if request.query_params.get("token") != self._token:
                    raise Refused(401, "Token inválido")
                given = await _json(request) if method in ("POST", "PATCH") else None
                return JSONResponse(endpoint(request, given))
            except Refused as refusal:
                self._throttle.failed()
                return JSONResponse(refusal.body, status_code=refusal.status)

        return Route(path, answered, methods=[method])

    def _tickets(self, request: Request, _: JSON, *, past: bool = False) -> JSON:
        query = request.query_params
        if "id" in query:
            return self._desk.shown(self._desk.get(query["id"], past=past))
        if "$select" not in query:
            raise Refused(400, "The $select parameter is required")
        return _page(query, self._desk.visible(past=past))

    def _past_tickets(self, request: Request, _: JSON) -> JSON:
        return self._tickets(request, _, past=True)

    def _html(self, request: Request, _: JSON) -> JSON:
        ticket = self._desk.get(request.query_params.get("id", ""))
        wanted = request.query_params.get("actionId")
        found = next((one for one in ticket["actions"] if str(one["id"]) == wanted), None)
        if found is None:
            raise Refused(404, "Ação não encontrada")
        return {"id": found["id"], "description": found["htmlDescription"]}

    def _open(self, request: Request, given: JSON) -> JSON:
        ticket = self._desk.open(given)
        whole = request.query_params.get("returnAllProperties") == "true"
        return self._desk.shown(ticket) if whole else {"id": ticket["id"]}

    def _change(self, request: Request, given: JSON) -> JSON:
        number = request.query_params.get("id", "")
        ticket = self._desk.tickets.get(int(number)) if number.isdecimal() else None
        if ticket is None:
            raise Refused(404, "Ticket não encontrado")
        self._desk.change(ticket, given)
        return {}

    def _persons(self, request: Request, _: JSON) -> JSON:
        query = request.query_params
        if "id" in query:
            if query["id"] not in self._desk.persons:
                raise Refused(404, "Pessoa não encontrada")
            return self._desk.persons[query["id"]]
        return _page(query, list(self._desk.persons.values()))

    def _save_person(self, _: Request, given: JSON) -> JSON:
        return {"id": self._desk.save_person(given)["id"]}

    def _change_person(self, request: Request, given: JSON) -> JSON:
        person_id = request.query_params.get("id")
        if person_id not in self._desk.persons:
            raise Refused(404, "Pessoa não encontrada")
        self._desk.persons[person_id] |= {name: value for name, value in given.items() if name != "id"}
        return {}


async def _json(request: Request) -> JSON:
    try:
        given = await request.json()
    except ValueError as error:
        raise Refused(400, f"JSON inválido: {error}") from None
    if not isinstance(given, dict):
        raise Refused(400, "JSON inválido")
    return given


def _page(query: Mapping[str, str], rows: list[JSON]) -> list[JSON]:
    """`$filter $orderby $skip $top $select $expand`."""
    try:
        chosen = [row for row in rows if matching(query["$filter"])(row)] if "$filter" in query else rows
        name, _, direction = query.get("$orderby", "id asc").partition(" ")
        ordered = sorted(chosen, key=lambda row: row[name], reverse=direction == "desc")
        skip, top = int(query.get("$skip", 0)), min(int(query.get("$top", PAGE)), PAGE)
    except (ValueError, KeyError) as error:
        raise Refused(400, f"The query is not valid: {error}") from None
    selected = query["$select"].split(",") if "$select" in query else ["id", "businessName"]
    shown = [*selected, *filter(None, query.get("$expand", "").split(","))]
    return [{name: row.get(name) for name in shown} for row in ordered[skip : skip + top]]


class People:
    """What agents and customers do in Movidesk itself; it is not counted and not refused."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def routes(self) -> list[Route]:
        return [
            Route("/_sandbox/tickets", self._all, methods=["GET"]),
            Route("/_sandbox/human/tickets", self._open, methods=["POST"]),
            Route("/_sandbox/human/tickets/{number:int}", self._change, methods=["POST"]),
        ]

    async def _all(self, _: Request) -> Response:
        return JSONResponse([self._desk.shown(ticket) for ticket in self._desk.tickets.values()])

    async def _open(self, request: Request) -> Response:
        """`{subject, description, client: {name, email, phone, cpfCnpj}, tags, ownerTeam, customFields}`"""
        given = await request.json()
        client = self._client(given.pop("client", {}))
        by = {"id": client["id"]}
        description = text_to_html(given.pop("description", "..."))
        ticket = {
            "type": PUBLIC, "clients": [by], "createdBy": by,
            "actions": [{"type": PUBLIC, "description": description, "createdBy": by}],
        }  # fmt: skip
        opened = self._desk.open(ticket | _in_vendor_terms(given), origin=BY_CLIENT)
        return JSONResponse(self._desk.shown(opened), status_code=201)

    async def _change(self, request: Request) -> Response:
        """`{status, justification, tags, comment: {body, public, agent}, phone, customFields, owner,
        ownerTeam, urgency, subject, isDeleted, age_days}`"""
        ticket = self._desk.tickets.get(request.path_params["number"])
        if ticket is None:
            raise Refused(404, "Ticket não encontrado")
        given = await request.json()
        if "phone" in given:
            phone = {"contactType": "Telefone", "contact": given.pop("phone"), "isDefault": True}
            self._desk.persons[ticket["clients"][0]["id"]]["contacts"] = [phone]
        age_days, comment = given.pop("age_days", None), given.pop("comment", None)
        changed, by_agent = _in_vendor_terms(given), True
        if changed.get("owner") and "ownerTeam" not in changed:
            changed["ownerTeam"] = self._desk.person(changed["owner"]["id"], "owner")["teams"][0]
        if comment:
            by_agent = comment.get("agent", False)
            changed["actions"] = [{
                "type": PUBLIC if comment.get("public", True) else INTERNAL,
                "description": text_to_html(comment["body"]),
                "createdBy": {"id": AGENT if by_agent else ticket["clients"][0]["id"]},
            }]  # fmt: skip
        self._desk.change(ticket, changed, origin=BY_AGENT if by_agent else BY_CLIENT)
        if age_days is not None:
            updated = datetime.fromisoformat(ticket["lastUpdate"]).replace(tzinfo=UTC)
            ticket["lastUpdate"] = written(updated - timedelta(days=age_days))
        return JSONResponse(self._desk.shown(ticket))

    def _client(self, given: JSON) -> JSON:
        for person in self._desk.persons.values():
            if given.get("email") and given["email"] in [entry["email"] for entry in person["emails"]]:
                return person
        phone, email = given.get("phone"), given.get("email")
        return self._desk.save_person({
            "isActive": True, "personType": 1, "profileType": 2, "businessName": given.get("name", "Cliente"),
            "cpfCnpj": given.get("cpfCnpj"),
            "emails": [{"emailType": "Pessoal", "email": email, "isDefault": True}] if email else [],
            "contacts": [{"contactType": "Celular", "contact": phone, "isDefault": True}] if phone else [],
        })  # fmt: skip


def _in_vendor_terms(given: JSON) -> JSON:
    """`customFields` may be `{"13485": "text"}`; a status alone keeps no justification."""
    changed = {name: value for name, value in given.items() if name != "customFields"}
    fields = given.get("customFields")
    if isinstance(fields, dict):
        fields = [
            {"customFieldId": int(number), "customFieldRuleId": 1, "line": 1, "value": value}
            for number, value in fields.items()
        ]
    if fields is not None:
        changed["customFieldValues"] = fields
    if "status" in changed:
        changed.setdefault("justification", None)
    if isinstance(changed.get("owner"), str):
        changed["owner"] = {"id": changed["owner"]}
    return changed


def create_app(
    token: str = "sandbox-token",  # noqa: S107 - opens nothing but this fake
    *,
    calls_per_minute: int = 10,
    replica_lag: float = 0.0,
    person_id: str = "gateway",
    reasons: Mapping[str, Iterable[str]] | None = None,
    takes_null_owner: bool = True,
    keeps_hidden_text: bool = True,
    html_in_ticket: bool = True,
    clock: Callable[[], float] = time.time,
) -> Any:
    """An account with two agents (`ag-9` of N1 and GR, `ag-10` of N2), a client (`cli-77`) and no tickets.

    The rest is what Movidesk's documentation leaves open, or admins decide:

    :param replica_lag: seconds for which a new ticket cannot be read yet
    :param reasons: status label -> the justifications of which it needs one
    :param takes_null_owner: whether `{"owner": null, "ownerTeam": ...}` is accepted
    :param keeps_hidden_text: whether a hidden `<span>` of a comment is stored
    :param html_in_ticket: whether a ticket that is read brings its actions' HTML
    """
    outbox = Outbox()
    desk = Desk(
        person_id,
        reasons or {},
        replica_lag,
        takes_null_owner,
        keeps_hidden_text,
        html_in_ticket,
        clock,
        outbox,
    )
    api = Api(desk, token, Throttle(calls_per_minute, clock))
    routes = [*api.routes(), *People(desk).routes(), *outbox.routes()]
    return misbehaving(Starlette(routes=routes, exception_handlers={Refused: _refused}))


async def _refused(_: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, Refused)  # noqa: S101 - registered for nothing else
    return JSONResponse(refusal.body, status_code=refusal.status)
