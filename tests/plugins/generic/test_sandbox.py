"""Does the little payment system sign what the plugin believes, and repeat itself as senders do?"""

import time
from collections import deque
from collections.abc import Iterator

import httpx
import pytest
from gateway_plugins import generic
from gateway_plugins.generic.sandbox import PAYMENT_MAPPING, SECRET, create_app
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.api import Connection, Event, Webhook
from gateway.clock import utc_now
from gateway.testing import serving

CONNECTION = Connection("acme", "shop", "generic", generic.Settings(secret=SECRET, **PAYMENT_MAPPING))
PAYMENT = {
    "id": "pay_1",
    "amount": "1.530,75",
    "plan": "Pro",
    "products": ["Fiscal"],
    "customer": {"name": "Padaria Exemplo", "document": "11.222.333/0001-81", "phones": ["(11) 3555-0199"]},
}


def converted(webhook: Webhook) -> list[Event]:
    return generic.convert_webhook(webhook, None, None, CONNECTION)


class Shop:
    """The sandbox over a real socket, and what it sent."""

    def __init__(self, http: httpx.Client, received: deque[Webhook]) -> None:
        self.http, self.received = http, received

    def register(self, **told: object) -> httpx.Response:
        count = len(self.received)
        answer = self.http.post("/_sandbox/human/payments", json=told)
        deadline = time.monotonic() + 10
        while len(self.received) == count and answer.is_success and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(self.received) == count + answer.is_success
        return answer


@pytest.fixture
def shop() -> Iterator[Shop]:
    received: deque[Webhook] = deque()

    async def hook(request: Request) -> Response:
        received.append(Webhook(dict(request.headers), await request.body(), received_at=utc_now()))
        return Response(status_code=202)

    target = Starlette(routes=[Route("/hook", hook, methods=["POST"])])
    with (
        serving(create_app()) as url,
        serving(target) as ours,
        httpx.Client(base_url=url, trust_env=False) as http,
    ):
        http.post("/_sandbox/webhooks", json={"url": f"{ours}/hook"})
        yield Shop(http, received)


def test_the_vendor_says_what_it_is_called():
    assert generic.vendor_info().label == "Generic (signed webhooks, templated requests)"
    assert generic.vendor_info().settings is generic.Settings


def test_its_payments_are_believed_and_understood(shop):
    shop.register(**PAYMENT)
    (webhook,) = shop.received
    proof = generic.verify_webhook(webhook, CONNECTION)
    (event,) = converted(webhook)
    assert proof.delivery_id == webhook.headers["webhook-id"]
    assert abs(event.occurred_at - utc_now()).total_seconds() < 60
    assert (event.kind, event.id) == ("payment.confirmed", "payment.confirmed:pay_1")
    assert event.payment.known() == {
        "id": "pay_1",
        "amount_minor": 153075,
        "plan": "Pro",
        "products": ("Fiscal",),
    }
    assert event.customer.known() == {
        "name": "Padaria Exemplo", "document": "11222333000181", "phones": ("(11) 3555-0199",), "plan": "Pro",
    }  # fmt: skip


def test_again_is_the_same_message_and_a_new_delivery_the_same_fact(shop):
    shop.register(**PAYMENT)
    shop.register(id="pay_1", again=True)
    shop.register(id="pay_1", new_delivery=True)
    first, again, new = (generic.verify_webhook(webhook, CONNECTION).delivery_id for webhook in shop.received)
    assert first == again != new
    facts = [converted(webhook)[0].id for webhook in shop.received]
    assert facts == ["payment.confirmed:pay_1"] * 3
    assert shop.received[0].body == shop.received[1].body


def test_a_payment_can_be_taken_back(shop):
    shop.register(**PAYMENT)
    shop.register(id="pay_1", type="payment.reversed")
    (event,) = converted(shop.received[1])
    assert (event.kind, event.id, event.payment.amount_minor) == (
        "payment.reversed",
        "payment.reversed:pay_1",
        153075,
    )
    assert shop.http.get("/_sandbox/payments").json() == [PAYMENT]


@pytest.mark.parametrize(
    ("told", "status"),
    [
        ({}, 422),
        ({"id": 7}, 422),
        ({"id": "pay_9", "again": True}, 404),
        ({"id": "pay_9", "new_delivery": True}, 404),
    ],
)
def test_nonsense_is_answered_and_nothing_is_sent(shop, told, status):
    assert shop.register(**told).status_code == status
    assert not shop.received
