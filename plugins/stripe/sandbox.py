"""How would Stripe behave? A small stateful one: sales, the three to six events about each, and the reading of intents.

https://docs.stripe.com/api
"""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from gateway.testing import Outbox, misbehaving

from .accept import SIGNATURE, sign

JSON = dict[str, Any]

SECRET = "whsec_sandbox0123456789abcdefABCDEF"  # noqa: S105 - opens nothing but this fake
CALLS_PER_SECOND = 25  # https://docs.stripe.com/rate-limits: test mode


class Sales:
    """What was sold, by the id of its payment intent, and the objects that speak of it."""

    def __init__(self, clock: Callable[[], float], outbox: Outbox, *, livemode: bool) -> None:
        self.objects: dict[str, JSON] = {}
        self.sales: dict[str, JSON] = {}
        self.told: dict[str, list[bytes]] = {}
        self._clock, self._outbox, self._livemode = clock, outbox, livemode

    def sell(self, given: JSON) -> JSON:
        """Something is sold: by `invoice`, through a `checkout`, or neither; it is not paid yet."""
        name, amount, currency = uuid4().hex[:14], given.get("amount", 99000), given.get("currency", "brl")
        who: JSON = given.get("customer") or {}
        common = {"amount": amount, "currency": currency, "metadata": given.get("metadata") or {}}
        customer = self._keep("customer", f"cus_{name}", {**who, "metadata": {}})
        charge = {
            "id": f"ch_{name}",
            "object": "charge",
            "refunded": False,
            "disputed": False,
            "amount_refunded": 0,
        }
        intent = self._keep("payment_intent", f"pi_{name}", {
            **common, "status": "requires_payment_method", "amount_received": 0, "customer": customer["id"],
            "receipt_email": None, "payment_method_types": [given.get("method", "card")],
            "latest_charge": {**common, **charge, "payment_intent": f"pi_{name}", "receipt_email": None},
        })  # fmt: skip
        sale = {"id": intent["id"], "invoice": None, "checkout": None}
        if given.get("invoice", False):
            sale["invoice"] = f"in_{name}"
            self._keep("invoice", f"in_{name}", {
                "customer": customer["id"], "customer_email": who.get("email"), "customer_name": who.get("name"),
                "customer_phone": who.get("phone"), "status": "open", "amount_due": amount, "amount_paid": 0,
                "amount_remaining": amount, "currency": currency, "due_date": int(self._clock()) + 3 * 86400,
                "metadata": given.get("metadata") or {}, "lines": {"object": "list", "data": []},
            })  # fmt: skip
        if given.get("checkout", False):
            sale["checkout"] = f"cs_{name}"
            self._keep("checkout.session", f"cs_{name}", {
                "mode": "payment", "status": "open", "payment_status": "unpaid", "amount_total": amount,
                "currency": currency, "client_reference_id": given.get("reference"), "customer_details": who,
                "payment_intent": intent["id"], "invoice": sale["invoice"],
                "metadata": given.get("metadata") or {},
            })  # fmt: skip
        self.sales[intent["id"]] = sale
        return sale

    def pay(self, sale: JSON) -> None:
        """It is paid, and told in all the ways in which Stripe tells it."""
        intent = self.objects[sale["id"]]
        intent |= {"status": "succeeded", "amount_received": intent["amount"]}
        self.tell("charge.succeeded", self._charge(sale), sale)
        self.tell("payment_intent.succeeded", self._shown(intent), sale)
        if sale["invoice"]:
            invoice = self.objects[sale["invoice"]]
            invoice |= {"status": "paid", "amount_paid": invoice["amount_due"], "amount_remaining": 0}
            self.tell("invoice.payment_succeeded", invoice, sale)
            self.tell("invoice.paid", invoice, sale)
        if sale["checkout"]:
            session = self.objects[sale["checkout"]]
            session |= {"status": "complete", "payment_status": "paid"}
            self.tell("checkout.session.completed", session, sale)

    def refund(self, sale: JSON, amount: int | None) -> None:
        charge = self._charge(sale)
        charge["amount_refunded"] += charge["amount"] if amount is None else amount
        charge["refunded"] = charge["amount_refunded"] >= charge["amount"]
        self.tell("charge.refunded", charge, sale)

    def dispute(self, sale: JSON) -> None:
        charge = self._charge(sale)
        charge["disputed"] = True
        dispute = {
            "id": f"dp_{uuid4().hex[:14]}", "object": "dispute", "amount": charge["amount"], "charge": charge["id"],
            "currency": charge["currency"], "payment_intent": sale["id"], "status": "needs_response", "metadata": {},
        }  # fmt: skip
        self.tell("charge.dispute.created", dispute, sale)

    def fall_due(self, sale: JSON) -> None:
        if sale["invoice"]:
            self.tell("invoice.overdue", self.objects[sale["invoice"]], sale)

    def tell(self, kind: str, told: JSON, sale: JSON) -> None:
        event = {
            "id": f"evt_{uuid4().hex[:16]}", "object": "event", "api_version": "2026-06-24.dahlia",
            "created": int(self._clock()), "livemode": self._livemode, "pending_webhooks": 1,
            "request": {"id": None, "idempotency_key": None}, "type": kind, "data": {"object": told},
        }  # fmt: skip
        body = json.dumps(event).encode()
        self.told.setdefault(sale["id"], []).append(body)
        self._outbox.send(body)

    def tell_again(self, sale: JSON) -> None:
        for body in self.told.get(sale["id"], []):
            self._outbox.send(body)

    def _keep(self, kind: str, id_: str, fields: JSON) -> JSON:
        self.objects[id_] = {"id": id_, "object": kind, **fields}
        return self.objects[id_]

    def _charge(self, sale: JSON) -> JSON:
        charge: JSON = self.objects[sale["id"]]["latest_charge"]
        return charge

    @staticmethod
    def _shown(intent: JSON) -> JSON:
        """An event does not carry the charge, only its id."""
        return {**intent, "latest_charge": intent["latest_charge"]["id"]}

    def paid_invoices(self, intent: str) -> Iterator[JSON]:
        sale = self.sales.get(intent)
        if sale and sale["invoice"]:
            yield {
                "id": f"inpay_{intent.removeprefix('pi_')}", "object": "invoice_payment",
                "invoice": sale["invoice"], "payment": {"type": "payment_intent", "payment_intent": intent},
            }  # fmt: skip


def create_app(
    *,
    signing_secret: str = SECRET,
    api_key: str = "sandbox-api-key",
    livemode: bool = True,
    limited: bool = True,
    clock: Callable[[], float] = time.time,
) -> ASGIApp:
    """`POST /_sandbox/human/payments {amount, customer: {name, email, phone}, invoice: true, ...}` sells something.

    `POST /_sandbox/human/payments/{id}` with `{"do": "pay"}` (or `refund`, `dispute`, `fall_due`) is what happens
    then (`amount`: refund a part), `{"do": "again"}` sends all its events once more. `GET /_sandbox/payments` lists
    all; the id of a sale is that of its payment intent.
    """

    def signed(body: bytes) -> dict[str, str]:
        seconds = str(int(clock()))
        return {SIGNATURE: f"t={seconds},v1={sign(seconds, body, signing_secret)}"}

    outbox = Outbox(signed)
    sales = Sales(clock, outbox, livemode=livemode)
    calls: list[float] = []

    def refusal(request: Request) -> Response | None:
        if request.headers.get("authorization") != f"Bearer {api_key}":
            return _error(401, "invalid_request_error", "Invalid API Key provided")
        now = clock()
        calls[:] = [at for at in calls if at > now - 1]
        if limited and len(calls) >= CALLS_PER_SECOND:
            return _error(429, "rate_limit_error", "Too many requests")
        calls.append(now)
        return None

    async def one(request: Request) -> Response:
        if refused := refusal(request):
            return refused
        found = sales.objects.get(request.path_params["id"])
        if found is None:
            return _error(404, "invalid_request_error", "No such object")
        is_intent = found["object"] == "payment_intent"
        expanded = "latest_charge" in request.query_params.getlist("expand[]")
        return JSONResponse(found if expanded or not is_intent else {**found, "latest_charge": None})

    async def invoice_payments(request: Request) -> Response:
        if refused := refusal(request):
            return refused
        intent = request.query_params.get("payment[payment_intent]", "")
        found = list(sales.paid_invoices(intent))
        return JSONResponse({"object": "list", "data": found, "has_more": False})

    async def intents(request: Request) -> Response:
        return refusal(request) or JSONResponse({"object": "list", "data": [], "has_more": False})

    async def sell(request: Request) -> Response:
        return JSONResponse(sales.sell(await request.json()), status_code=201)

    async def happen(request: Request) -> Response:
        sale, told = sales.sales.get(request.path_params["id"]), await request.json()
        if sale is None:
            return _error(404, "invalid_request_error", "No such sale")
        match told.get("do"):
            case "pay":
                sales.pay(sale)
            case "refund":
                sales.refund(sale, told.get("amount"))
            case "dispute":
                sales.dispute(sale)
            case "fall_due":
                sales.fall_due(sale)
            case "again":
                sales.tell_again(sale)
            case _:
                return _error(400, "invalid_request_error", "do: pay, refund, dispute, fall_due or again")
        return JSONResponse(sale)

    async def everything(_: Request) -> Response:
        return JSONResponse(list(sales.sales.values()))

    app = Starlette(
        routes=[
            Route("/v1/payment_intents", intents),
            Route("/v1/payment_intents/{id}", one),
            Route("/v1/customers/{id}", one),
            Route("/v1/invoice_payments", invoice_payments),
            Route("/_sandbox/payments", everything),
            Route("/_sandbox/human/payments", sell, methods=["POST"]),
            Route("/_sandbox/human/payments/{id}", happen, methods=["POST"]),
            *outbox.routes(),
        ]
    )
    return misbehaving(app)


def _error(status: int, kind: str, message: str) -> Response:
    return JSONResponse({"error": {"type": kind, "message": message}}, status_code=status)
