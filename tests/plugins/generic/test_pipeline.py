"""Does a system without a plugin take part like any other: hints read back, tickets opened at it, once?"""

import hashlib
import hmac
import json

import httpx
from gateway_plugins.generic import mappings
from gateway_plugins.generic.sandbox import DESK_SETTINGS, TOKEN, create_app
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from gateway.store import tables
from gateway.testing import serving

APPROVED = mappings.ready("mercado_pago")["sample"]["gateway"]["collected"]
SECRET = "mp-test-secret"


def test_a_payment_of_mercado_pago_is_read_back_and_opens_a_ticket(acme):
    async def payment(request):
        right = request.headers["authorization"] == "Bearer t" and request.path_params["id"] == 123456789
        return JSONResponse(APPROVED if right else {}, status_code=200 if right else 401)

    with serving(Starlette(routes=[Route("/v1/payments/{id:int}", payment)])) as url:
        acme.connect(
            "mp", "generic", {"mapping": "mercado_pago", "secret": SECRET, "api_token": "t", "base_url": url}
        )
        for request_id in ("r-1", "r-2"):
            seconds = str(int(acme.gateway.clock().timestamp()))
            manifest = f"id:123456789;request-id:{request_id};ts:{seconds};"
            signature = hmac.new(SECRET.encode(), manifest.encode(), hashlib.sha256).hexdigest()
            headers = {"x-signature": f"ts={seconds},v1={signature}", "x-request-id": request_id}
            body = json.dumps({"type": "payment", "data": {"id": "123456789"}}).encode()
            delivery = acme.receive("mp", body, headers, {"data.id": "123456789"})
            acme.collect(delivery, connection="mp")
            acme.decide(delivery)
        acme.execute()
    (ticket,) = acme.tickets
    assert ticket["subject"] == "CORE - Ana Exemplo"
    assert {row.state for row in acme.rows(tables.deliveries)} == {"decided"}


def test_the_core_ticket_opens_at_a_system_that_only_its_settings_know(acme):
    with serving(create_app()) as url:
        settings = {**DESK_SETTINGS, "secret": "whsec_" + "QUJD" * 8, "api_token": TOKEN, "base_url": url}
        acme.connect("erp", "generic", settings)
        acme.configure(core_ticket_on_payment={"connection": "erp"})
        acme.connect("erp", "generic", settings)
        httpx.post(f"{url}/_sandbox/misbehave", json={"kind": "drop", "method": "POST", "times": 1})
        acme.decide(acme.pay("pay_1"), acme.pay("pay_1"), acme.pay("pay_2"))
        acme.execute()
        (pending, *_) = acme.rows(tables.actions)
        assert pending.uncertain
        with acme.gateway.db.begin() as db:
            db.execute(tables.actions.update().values(not_before=acme.gateway.clock()))
        acme.execute()
        (ticket,) = httpx.get(f"{url}/_sandbox/tickets").json()
        assert ticket["title"] == "CORE - Padaria Exemplo"
        assert ticket["labels"] == ["core", "onboarding"]
        assert ticket["fields"] == {"plano": "Pro"}
        assert ticket["external_id"] == str(pending.id)
        assert {row.state for row in acme.rows(tables.actions) if row.kind == "create_ticket"} == {"done"}
