"""Does one sale with all its events open one CORE ticket, and do two providers that count alike stay two?"""

import json

from gateway_plugins.stripe import accept

from gateway.store import tables

SECRET = "whsec_of_the_endpoint_0123456789"
ANA = {"name": "Ana Exemplo", "email": "ana@example.com", "phone": "+5511999990000"}


def tell(acme, kind: str, thing: str, **fields: object) -> int:
    told = {"object": thing, "currency": "brl", **fields}
    event = {
        "id": f"evt_{kind}",
        "type": kind,
        "livemode": True,
        "created": 1789344000,
        "data": {"object": told},
    }
    body, seconds = json.dumps(event).encode(), str(int(acme.gateway.clock().timestamp()))
    header = f"t={seconds},v1={accept.sign(seconds, body, SECRET)}"
    delivery = acme.receive("stripe", body, {"stripe-signature": header})
    acme.decide(delivery)
    return delivery


def test_the_events_of_a_sale_open_one_ticket_once_the_customer_is_known(acme):
    acme.connect("stripe", "stripe", {"signing_secret": SECRET})
    tell(acme, "charge.succeeded", "charge", id="ch_1", payment_intent="pi_1", amount=99000)
    tell(acme, "payment_intent.succeeded", "payment_intent", id="pi_1", amount_received=99000)
    acme.execute()
    assert acme.tickets == []
    paid = {"id": "cs_1", "payment_intent": "pi_1", "payment_status": "paid", "amount_total": 99000}
    tell(acme, "checkout.session.completed", "checkout.session", **paid, customer_details=ANA)
    tell(acme, "checkout.session.async_payment_succeeded", "checkout.session", **paid, customer_details=ANA)
    acme.execute()
    (ticket,) = acme.tickets
    assert ticket["subject"] == "CORE - Ana Exemplo"
    assert [row.kind for row in acme.rows(tables.actions)].count("create_ticket") == 1
    assert not [row for row in acme.rows(tables.actions) if row.kind == "add_comment"]


def test_payments_of_two_providers_with_the_same_number_are_two(acme):
    acme.connect("stripe", "stripe", {"signing_secret": SECRET})
    acme.decide(acme.pay("in_1"))
    tell(
        acme,
        "invoice.paid",
        "invoice",
        id="in_1",
        amount_paid=99000,
        customer_email="ana@example.com",
        customer_name="Ana",
    )
    acme.execute()
    assert len(acme.tickets) == 2
    payments = {row.target for row in acme.rows(tables.links) if row.target.startswith("payment:")}
    assert payments == {"payment:pay/in_1", "payment:stripe/in_1"}
