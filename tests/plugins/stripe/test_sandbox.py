"""Does the plugin get along with the little Stripe: one sale, many events, one payment?"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import httpx
import pytest
from gateway_plugins import stripe
from gateway_plugins.stripe.sandbox import SECRET, create_app
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.api import ApiError, ApiFailure, Connection, TicketRef, Webhook
from gateway.clock import utc_now
from gateway.testing import api_for, serving

ANA = {"name": "Ana Exemplo", "email": "ana@example.com", "phone": "+5511999990000"}


@dataclass
class Shop:
    """The sandbox over a real socket, what it sent, and a connection to it."""

    http: httpx.Client
    received: list[Webhook]
    connection: Connection[Any]

    def sell(self, **given: Any) -> str:
        answer = self.http.post("/_sandbox/human/payments", json={"customer": ANA, **given})
        return str(answer.raise_for_status().json()["id"])

    def does(self, sale: str, what: str, **given: Any) -> None:
        self.http.post(f"/_sandbox/human/payments/{sale}", json={"do": what, **given}).raise_for_status()
        deadline = time.monotonic() + 10
        while self.http.get("/_sandbox/webhooks").json()["waiting"] and time.monotonic() < deadline:
            time.sleep(0.005)

    def taken_in(self, webhooks: list[Webhook] | tuple[Webhook, ...]) -> list[Any]:
        events = []
        for webhook in webhooks:
            proof = stripe.verify_webhook(webhook, self.connection)
            ref = TicketRef("stripe", proof.subject or "")
            collected = stripe.collect_ticket(ref, api_for(stripe, self.connection)) if proof.thin else None
            events += stripe.convert_webhook(webhook, collected, self.connection)
        return [event for event in events if event.kind != "unrecognized"]

    def facts(self) -> set[str]:
        return {event.id for event in self.taken_in(self.received)}


@pytest.fixture
def shop() -> Iterator[Shop]:
    received: list[Webhook] = []

    async def hook(request: Request) -> Response:
        received.append(Webhook(dict(request.headers), await request.body(), received_at=utc_now()))
        return Response(status_code=200)

    target = Starlette(routes=[Route("/hook", hook, methods=["POST"])])
    with (
        serving(create_app(limited=False)) as url,
        serving(target) as ours,
        httpx.Client(base_url=url, trust_env=False) as http,
    ):
        http.post("/_sandbox/webhooks", json={"url": f"{ours}/hook"})
        settings = stripe.Settings(signing_secret=SECRET, api_key="sandbox-api-key", base_url=url)
        yield Shop(http, received, Connection("acme", "stripe", "stripe", settings))


@pytest.mark.parametrize(
    "sold", [{}, {"checkout": True}, {"invoice": True}, {"invoice": True, "checkout": True}]
)
def test_a_sale_is_one_payment_in_any_order_of_its_events(shop, sold):
    sale = shop.sell(**sold)
    shop.does(sale, "pay")
    assert 2 <= len(shop.received) <= 5
    named = sale.replace("pi_", "in_") if "invoice" in sold else sale
    for order in list(permutations(shop.received))[:: 7 if len(shop.received) > 3 else 1]:
        assert {event.id for event in shop.taken_in(order)} == {f"payment.confirmed:{named}"}


def test_told_twice_it_is_the_same_delivery_and_the_same_fact(shop):
    sale = shop.sell(invoice=True)
    shop.does(sale, "pay")
    shop.does(sale, "again")
    names = [stripe.verify_webhook(webhook, shop.connection).delivery_id for webhook in shop.received]
    assert len(names) == 8
    assert len(set(names)) == 4
    assert len(shop.facts()) == 1


def test_a_refund_a_part_of_one_and_a_dispute(shop):
    refunded, partly, disputed = (shop.sell(invoice=True) for _ in range(3))
    for sale in (refunded, partly, disputed):
        shop.does(sale, "pay")
    shop.does(refunded, "refund")
    shop.does(partly, "refund", amount=10)
    shop.does(disputed, "dispute")
    assert {fact for fact in shop.facts() if "reversed" in fact} == {
        f"payment.reversed:{sale.replace('pi_', 'in_')}" for sale in (refunded, disputed)
    }


def test_an_invoice_falls_due(shop):
    sale = shop.sell(invoice=True, amount=15000)
    shop.does(sale, "fall_due")
    (event,) = shop.taken_in(shop.received)
    assert (event.kind, event.payment.amount_minor, event.customer.email) == (
        "payment.overdue",
        15000,
        ANA["email"],
    )


def test_a_customer_who_is_gone_is_nobody_and_an_intent_that_is_gone_an_error(shop):
    sale, api = shop.sell(), api_for(stripe, shop.connection)
    shop.http.post("/_sandbox/misbehave", json={"kind": "status", "status": 404, "path": "/v1/customers"})
    assert stripe.collect_ticket(TicketRef("stripe", sale), api)["customer"] is None
    with pytest.raises(ApiError) as error:
        stripe.collect_ticket(TicketRef("stripe", "pi_never"), api)
    assert error.value.failure is ApiFailure.MISSING


def test_a_customer_who_cannot_be_read_makes_the_reading_wait(shop):
    sale = shop.sell()
    shop.http.post("/_sandbox/misbehave", json={"kind": "status", "status": 500, "path": "/v1/customers"})
    with pytest.raises(ApiError) as error:
        stripe.collect_ticket(TicketRef("stripe", sale), api_for(stripe, shop.connection))
    assert error.value.passing


def test_a_wrong_key_is_said_and_not_shown(shop):
    settings = stripe.Settings(
        signing_secret=SECRET, api_key="a-wrong-key", base_url=shop.connection.settings.base_url
    )
    api = api_for(stripe, Connection("acme", "stripe", "stripe", settings))
    with pytest.raises(ApiError) as error:
        api.get(stripe.vendor_info().probe)
    assert error.value.failure is ApiFailure.UNAUTHORIZED
    assert "a-wrong-key" not in str(error.value)


def test_without_a_key_nothing_is_called_and_one_is_sent_only_to_stripe():
    settings = stripe.Settings(signing_secret=SECRET)
    assert stripe.connect_api(Connection("acme", "stripe", "stripe", settings)) is None
    settings = stripe.Settings(signing_secret=SECRET, api_key="k")
    api = stripe.connect_api(Connection("acme", "stripe", "stripe", settings))
    assert (api.base_url, api.headers["Authorization"]) == ("https://api.stripe.com", "Bearer k")
