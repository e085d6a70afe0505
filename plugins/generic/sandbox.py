"""What would a company's own system send? A tiny one for payments and tickets that signs by Standard Webhooks.

Its shapes are invented: `{"type": "payment.confirmed", "timestamp": ISO, "data": {"id", "amount", ...}}`, the amount in
reais, and `{"type": "ticket.changed", "timestamp", "ticket", "comments"}`. Its API for tickets is in desk.py.
"""

import base64
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from gateway.testing import Outbox, misbehaving

from . import accept
from .desk import DESK_SETTINGS, TOKEN, Api, Desk, People, Refused, refused

__all__ = ["DESK_SETTINGS", "PAYMENT_MAPPING", "SECRET", "TOKEN", "create_app"]

SECRET = "whsec_" + base64.b64encode(b"a sandbox's secret of 32 bytes..").decode()
TYPE = "payment.confirmed"

_PAYMENT_FIELDS = {
    "payment.id": "data.id",
    "payment.amount_minor": "to_minor(data.amount)",
    "payment.currency": "data.currency",
    "payment.method": "data.method",
    "payment.status": "data.status",
    "payment.reference": "data.reference",
    "payment.plan": "data.plan",
    "payment.products": "data.products",
    "payment.paid_at": "to_utc(data.paid_at, 'America/Sao_Paulo')",
    "customer.name": "data.customer.name",
    "customer.document": "digits(data.customer.document)",
    "customer.email": "data.customer.email",
    "customer.phones": "data.customer.phones",
    "customer.city": "data.customer.city",
    "customer.plan": "data.plan",
}

PAYMENT_MAPPING: dict[str, Any] = {
    "events": [
        {
            "when": f"type == '{event}'",
            "event": event,
            "id": "data.id",
            "occurred_at": "timestamp",
            "fields": _PAYMENT_FIELDS,
        }
        for event in ("payment.confirmed", "payment.overdue", "payment.reversed")
    ],
    "sample": {
        "type": "payment.confirmed",
        "timestamp": "2026-09-14T00:00:00Z",
        "data": {
            "id": "pay_1",
            "amount": 990.0,
            "plan": "Pro",
            "products": ["Fiscal", "Folha"],
            "reference": "deal-1234",
            "paid_at": "2026-09-13 20:59:00",
            "customer": {
                "name": "Padaria Exemplo",
                "document": "11.222.333/0001-81",
                "email": "financeiro@padaria.example",
                "phones": ["(11) 3555-0199"],
            },
        },
    },
    "expect": {
        "id": "payment.confirmed:pay_1",
        "payment.amount_minor": 99000,
        "customer.document": "11222333000181",
    },
}
"""A generic connection's settings (all but `secret`) for what this sandbox sends."""


def create_app(
    *,
    secret: str = SECRET,
    token: str = TOKEN,
    limited: bool = True,
    clock: Callable[[], float] = time.time,
) -> ASGIApp:
    """`POST /_sandbox/human/payments {id, amount, customer: {...}, plan, ...}`: a person registers a payment.

    The webhook goes to the targets of `POST /_sandbox/webhooks {"url": ...}`. `"type"` tells another event of
    the same payment (`payment.reversed`). `"again": true` sends the last message about this payment once
    more, under the same message id; `"new_delivery": true` the same payment in a new message.
    `GET /_sandbox/payments` lists what was registered. Tickets are at `/tickets`, with the bearer `token`.
    """
    outbox = Outbox()

    def tell(shown: dict[str, Any]) -> None:
        told = {"type": "ticket.changed", "timestamp": _now().isoformat(), **shown}
        body = json.dumps(told, ensure_ascii=False).encode()
        outbox.send(body, _headers(f"msg_{uuid4().hex}", body, secret))

    desk = Desk(clock, tell)
    payments: dict[str, dict[str, Any]] = {}
    messages: dict[str, tuple[str, bytes]] = {}

    async def register(request: Request) -> Response:
        told = await request.json()
        kind, again = told.pop("type", TYPE), told.pop("again", False)
        new_delivery = told.pop("new_delivery", False)
        key = told.get("id")
        if not isinstance(key, str) or not key:
            return JSONResponse({"error": "a payment needs an id"}, status_code=422)
        if (again and key not in messages) or (new_delivery and key not in payments):
            return JSONResponse({"error": f"payment {key} was never sent"}, status_code=404)
        payments[key] = payments.get(key, {}) | told
        if not again:
            messages[key] = (f"msg_{uuid4().hex}", _body(kind, payments[key]))
        message_id, body = messages[key]
        outbox.send(body, _headers(message_id, body, secret))
        return JSONResponse({"message": message_id, "payment": payments[key]}, status_code=201)

    async def listed(_: Request) -> Response:
        return JSONResponse(list(payments.values()))

    app = Starlette(
        routes=[
            Route("/_sandbox/human/payments", register, methods=["POST"]),
            Route("/_sandbox/payments", listed),
            *Api(desk, token, clock, limited=limited).routes(),
            *People(desk).routes(),
            *outbox.routes(),
        ],
        exception_handlers={Refused: refused},
    )
    return misbehaving(app)


def _body(kind: str, payment: dict[str, Any]) -> bytes:
    told = {"type": kind, "timestamp": _now().isoformat(), "data": payment}
    return json.dumps(told, ensure_ascii=False).encode()


def _headers(message_id: str, body: bytes, secret: str) -> dict[str, str]:
    sent_at = _now().replace(microsecond=0)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(sent_at.timestamp())),
        "webhook-signature": accept.sign(message_id, sent_at, body.decode(), secret),
    }


def _now() -> datetime:
    return datetime.fromtimestamp(time.time(), UTC)
