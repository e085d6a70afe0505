"""How would Asaas behave? A small stateful one: payments, customers, and the webhooks about them.

https://docs.asaas.com/reference/comece-por-aqui
"""

import hashlib
import json
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any
from uuid import uuid4

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from gateway.testing import Outbox, misbehaving

from .accept import TOKEN
from .collect import SAO_PAULO

JSON = dict[str, Any]

STATUSES = {
    "PAYMENT_CREATED": "PENDING",
    "PAYMENT_CONFIRMED": "CONFIRMED",
    "PAYMENT_RECEIVED": "RECEIVED",
    "PAYMENT_OVERDUE": "OVERDUE",
    "PAYMENT_REFUNDED": "REFUNDED",
    "PAYMENT_CHARGEBACK_REQUESTED": "CHARGEBACK_REQUESTED",
    "PAYMENT_RECEIVED_IN_CASH_UNDONE": "PENDING",
}
"""What a payment's status is once this was told; other notices leave it as it is."""

PAID = {"PAYMENT_CONFIRMED": "confirmedDate", "PAYMENT_RECEIVED": "paymentDate"}
PAGE = 100


class Account:
    """Payments and customers of one account, and the webhook that tells of them."""

    def __init__(self, token: str, clock: Callable[[], float], outbox: Outbox, *, is_test: bool) -> None:
        self.payments: dict[str, JSON] = {}
        self.customers: dict[str, JSON] = {}
        self.told: dict[str, bytes] = {}
        self._numbers = count(900001)
        self._token, self._clock, self._outbox, self._is_test = token, clock, outbox, is_test

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC).astimezone(SAO_PAULO)

    def charge(self, given: JSON) -> JSON:
        """A new payment, for a customer who is known by e-mail or new."""
        today = self.now.date()
        id_ = given.get("id") or f"pay_{uuid4().hex[:16]}"
        host = "sandbox.asaas.com" if self._is_test else "www.asaas.com"
        payment = {
            "object": "payment", "id": id_, "dateCreated": today.isoformat(),
            "customer": self._customer(given.get("customer") or {}), "subscription": None, "installment": None,
            "value": given.get("value", 990.0), "netValue": given.get("value", 990.0),
            "description": given.get("description"), "billingType": given.get("billingType", "PIX"),
            "status": "PENDING", "dueDate": given.get("dueDate", (today + timedelta(days=3)).isoformat()),
            "confirmedDate": None, "paymentDate": None, "clientPaymentDate": None,
            "externalReference": given.get("externalReference"), "deleted": False,
            "invoiceUrl": f"https://{host}/i/{id_.removeprefix('pay_')}",
        }  # fmt: skip
        self.payments[id_] = payment
        self.tell("PAYMENT_CREATED", payment)
        return payment

    def happen(self, payment: JSON, kind: str) -> None:
        """Something happens to the payment, and is told."""
        payment["status"] = STATUSES.get(kind, payment["status"])
        if kind in PAID:
            today = self.now.date().isoformat()
            payment[PAID[kind]] = payment["clientPaymentDate"] = today
            payment["confirmedDate"] = payment["confirmedDate"] or today
        self.tell(kind, payment)

    def tell(self, kind: str, payment: JSON) -> None:
        notice = {
            "id": f"evt_{hashlib.md5(kind.encode(), usedforsecurity=False).hexdigest()}&{next(self._numbers)}",
            "event": kind,
            "dateCreated": self.now.strftime("%Y-%m-%d %H:%M:%S"),
            "payment": payment,
        }
        self.told[payment["id"]] = json.dumps(notice, ensure_ascii=False).encode()
        self.tell_again(payment["id"])

    def tell_again(self, id_: str) -> None:
        agent = "Asaas_Hmlg/3.0" if self._is_test else "Asaas/3.0"
        self._outbox.send(self.told[id_], {TOKEN: self._token, "User-Agent": agent})

    def since(self, query: JSON) -> list[JSON]:
        """The payments that the filters of a listing leave, the newest first."""
        found = list(self.payments.values())[::-1]
        for name, value in query.items():
            field = name.removesuffix("[ge]")
            if name.endswith("[ge]"):
                day = date.fromisoformat(value)
                found = [each for each in found if each[field] and date.fromisoformat(each[field]) >= day]
            elif name == "status":
                found = [each for each in found if each["status"] == value]
        return found

    def _customer(self, given: JSON) -> str:
        for customer in self.customers.values():
            if given.get("email") and customer["email"] == given["email"]:
                return str(customer["id"])
        id_ = f"cus_{len(self.customers) + 1:012}"
        asked = ("name", "email", "phone", "mobilePhone", "cpfCnpj", "cityName")
        self.customers[id_] = {"object": "customer", "id": id_, **{name: given.get(name) for name in asked}}
        return id_


def create_app(
    *,
    access_token: str = "sandbox-token-of-the-webhook-0123456789",  # noqa: S107 - opens nothing but this fake
    api_key: str = "sandbox-api-key",
    is_test: bool = False,
    limited: bool = True,
    clock: Callable[[], float] = time.time,
) -> ASGIApp:
    """`POST /_sandbox/human/payments {value, customer: {name, email, cpfCnpj, mobilePhone}, ...}` charges somebody.

    `POST /_sandbox/human/payments/{id} {"event": "PAYMENT_CONFIRMED"}` is what happens then, `{"again": true}` tells
    the last notice once more. `GET /_sandbox/payments` lists all.

    :param is_test: behave as Asaas's own sandbox
    :param limited: answer 429 beyond 2000 calls a minute
    """
    outbox = Outbox()
    account = Account(access_token, clock, outbox, is_test=is_test)
    calls: list[float] = []

    def refusal(request: Request) -> Response | None:
        if request.headers.get("access_token") != api_key:
            return _error(401, "invalid_access_token", "A chave de API informada é inválida")
        if not request.headers.get("user-agent"):
            return _error(400, "invalid_user_agent", "É necessário informar o User-Agent")
        now = clock()
        calls[:] = [at for at in calls if at > now - 60]
        if limited and len(calls) >= 2000:
            return _error(429, "too_many_requests", "Limite de requisições excedido")
        calls.append(now)
        return None

    async def one(request: Request) -> Response:
        found = account.payments if request.url.path.startswith("/payments") else account.customers
        if refused := refusal(request):
            return refused
        record = found.get(request.path_params["id"])
        return JSONResponse(record) if record else _error(404, "not_found", "Não encontrado")

    async def listed(request: Request) -> Response:
        if refused := refusal(request):
            return refused
        query = dict(request.query_params)
        limit, offset = min(int(query.pop("limit", 10)), PAGE), int(query.pop("offset", 0))
        records = (
            account.since(query) if request.url.path == "/payments" else list(account.customers.values())
        )
        page = records[offset : offset + limit]
        return JSONResponse({
            "object": "list", "hasMore": len(records) > offset + limit, "totalCount": len(records),
            "limit": limit, "offset": offset, "data": page,
        })  # fmt: skip

    async def charge(request: Request) -> Response:
        return JSONResponse(account.charge(await request.json()), status_code=201)

    async def happen(request: Request) -> Response:
        payment, told = account.payments.get(request.path_params["id"]), await request.json()
        if payment is None:
            return _error(404, "not_found", "Não encontrado")
        if told.get("again"):
            account.tell_again(payment["id"])
        else:
            account.happen(payment, told["event"])
        return JSONResponse(payment)

    async def everything(_: Request) -> Response:
        return JSONResponse(list(account.payments.values()))

    app = Starlette(
        routes=[
            Route("/payments", listed),
            Route("/payments/{id}", one),
            Route("/customers", listed),
            Route("/customers/{id}", one),
            Route("/_sandbox/payments", everything),
            Route("/_sandbox/human/payments", charge, methods=["POST"]),
            Route("/_sandbox/human/payments/{id}", happen, methods=["POST"]),
            *outbox.routes(),
        ]
    )
    return misbehaving(app)


def _error(status: int, code: str, description: str) -> Response:
    return JSONResponse({"errors": [{"code": code, "description": description}]}, status_code=status)
