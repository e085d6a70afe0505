"""Does the plugin get along with the little Asaas: notices, readings, and what nobody told?"""

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest
from gateway_plugins import asaas
from gateway_plugins.asaas.sandbox import create_app
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.api import ApiError, ApiFailure, Connection, TicketRef, Webhook
from gateway.clock import utc_now
from gateway.testing import api_for, serving

TOKEN = "token-of-the-webhook-0123456789abcdef"
KEY = "key-of-the-api"
ANA = {
    "name": "Ana Exemplo",
    "email": "ana@example.com",
    "cpfCnpj": "52998224725",
    "mobilePhone": "11999990000",
}


@dataclass
class Shop:
    """The sandbox over a real socket, what it sent, and a connection to it."""

    http: httpx.Client
    received: deque[Webhook]
    connection: Connection[Any]

    def does(self, path: str, **told: Any) -> Any:
        count = len(self.received)
        answer = self.http.post(f"/_sandbox/human/payments{path}", json=told)
        deadline = time.monotonic() + 10
        while len(self.received) == count and answer.is_success and time.monotonic() < deadline:
            time.sleep(0.005)
        return answer.raise_for_status().json()

    def taken_in(self) -> list[Any]:
        """The events of what came since, collected where it is thin."""
        events = []
        while self.received:
            webhook = self.received.popleft()
            proof = asaas.verify_webhook(webhook, self.connection)
            ref = TicketRef("asaas", proof.subject or "")
            collected = asaas.collect_ticket(ref, self.api()) if proof.thin else None
            events += asaas.convert_webhook(webhook, collected, self.connection)
        return events

    def api(self) -> Any:
        return api_for(asaas, self.connection)


@pytest.fixture
def shop() -> Iterator[Shop]:
    received: deque[Webhook] = deque()

    async def hook(request: Request) -> Response:
        received.append(Webhook(dict(request.headers), await request.body(), received_at=utc_now()))
        return Response(status_code=200)

    target = Starlette(routes=[Route("/hook", hook, methods=["POST"])])
    with (
        serving(create_app(access_token=TOKEN, api_key=KEY)) as url,
        serving(target) as ours,
        httpx.Client(base_url=url, trust_env=False) as http,
    ):
        http.post("/_sandbox/webhooks", json={"url": f"{ours}/hook"})
        settings = asaas.Settings(access_token=TOKEN, api_key=KEY, base_url=url)
        yield Shop(http, received, Connection("acme", "asaas", "asaas", settings))


def test_a_payment_from_charge_to_refund(shop):
    payment = shop.does("", value=1530.75, customer=ANA, externalReference="deal-7")
    for event in ("PAYMENT_CONFIRMED", "PAYMENT_RECEIVED", "PAYMENT_REFUNDED"):
        shop.does(f"/{payment['id']}", event=event)
    events = shop.taken_in()
    facts = list(dict.fromkeys(event.id for event in events if event.kind != "unrecognized"))
    assert facts == [f"payment.confirmed:{payment['id']}", f"payment.reversed:{payment['id']}"]
    told = next(event for event in events if event.kind == "payment.confirmed")
    assert (told.payment.amount_minor, told.payment.reference) == (153075, "deal-7")
    assert (told.customer.name, told.customer.document) == ("Ana Exemplo", "52998224725")


def test_the_same_notice_again_has_the_same_id(shop):
    payment = shop.does("", customer=ANA)
    shop.does(f"/{payment['id']}", again=True)
    first, again = (asaas.verify_webhook(webhook, shop.connection) for webhook in shop.received)
    assert first.delivery_id == again.delivery_id


def test_lost_notices_are_found_again(shop):
    paid = [shop.does("", customer=ANA)["id"] for _ in range(3)]
    shop.does(f"/{paid[0]}", event="PAYMENT_RECEIVED")
    shop.received.clear()
    found = list(asaas.list_changed(utc_now() - timedelta(hours=1), shop.api()))
    assert sorted(ref.id for ref in found) == sorted(paid)
    assert len(found) == 3
    collected = asaas.collect_ticket(TicketRef("asaas", paid[0]), shop.api())
    (event,) = asaas.convert_webhook(Webhook({}, b"", received_at=utc_now()), collected, shop.connection)
    assert (event.id, event.customer.email) == (f"payment.confirmed:{paid[0]}", "ana@example.com")


def test_more_than_a_page_is_listed(shop):
    for _ in range(101):
        shop.http.post("/_sandbox/human/payments", json={"customer": ANA})
    assert len(list(asaas.list_changed(utc_now() - timedelta(hours=1), shop.api()))) == 101


def test_a_customer_who_is_gone_is_nobody_and_a_payment_that_is_gone_an_error(shop):
    payment = shop.does("", customer=ANA)
    shop.http.post("/_sandbox/misbehave", json={"kind": "status", "status": 404, "path": "/customers"})
    assert asaas.collect_ticket(TicketRef("asaas", payment["id"]), shop.api())["customer"] is None
    with pytest.raises(ApiError) as error:
        asaas.collect_ticket(TicketRef("asaas", "pay_never"), shop.api())
    assert error.value.failure is ApiFailure.MISSING


def test_a_customer_who_cannot_be_read_makes_the_reading_wait(shop):
    payment = shop.does("", customer=ANA)
    shop.http.post("/_sandbox/misbehave", json={"kind": "status", "status": 500, "path": "/customers"})
    with pytest.raises(ApiError) as error:
        asaas.collect_ticket(TicketRef("asaas", payment["id"]), shop.api())
    assert error.value.passing


def test_a_wrong_key_is_said_and_not_shown(shop):
    settings = asaas.Settings(
        access_token=TOKEN, api_key="a-wrong-key", base_url=shop.connection.settings.base_url
    )
    with pytest.raises(ApiError) as error:
        api_for(asaas, Connection("acme", "asaas", "asaas", settings)).get("/payments")
    assert error.value.failure is ApiFailure.UNAUTHORIZED
    assert "a-wrong-key" not in str(error.value)


def test_without_a_key_nothing_is_called():
    settings = asaas.Settings(access_token=TOKEN)
    assert asaas.connect_api(Connection("acme", "asaas", "asaas", settings)) is None
    assert settings.accepted_status() == 200


@pytest.mark.parametrize(("sandbox", "host"), [(True, "api-sandbox.asaas.com"), (False, "api.asaas.com")])
def test_sandbox_and_production_are_two_hosts(sandbox, host):
    settings = asaas.Settings(access_token=TOKEN, api_key="k", sandbox=sandbox)
    assert asaas.connect_api(Connection("acme", "asaas", "asaas", settings)).base_url == f"https://{host}/v3"
    assert asaas.vendor_info().label == "Asaas"
