"""Does a card payment, told three times from the charge to the money, open one CORE ticket for the right customer?"""

import httpx
from gateway_plugins.asaas.sandbox import create_app

from gateway.store import tables
from gateway.testing import serving

ANA = {
    "name": "Ana Exemplo",
    "email": "ana@example.com",
    "cpfCnpj": "52998224725",
    "mobilePhone": "11999990000",
}
TOKEN = "token-of-the-webhook-0123456789abcdef"


def test_one_payment_opens_one_ticket_however_many_notices(acme):
    with serving(create_app(access_token=TOKEN, api_key="k")) as url:
        acme.connect("asaas", "asaas", {"access_token": TOKEN, "api_key": "k", "base_url": url})
        payment = httpx.post(f"{url}/_sandbox/human/payments", json={"value": 990.0, "customer": ANA}).json()
        ids = []
        for number, kind in enumerate(("PAYMENT_CONFIRMED", "PAYMENT_RECEIVED", "PAYMENT_RECEIVED")):
            told = httpx.post(f"{url}/_sandbox/human/payments/{payment['id']}", json={"event": kind}).json()
            notice = {
                "id": f"evt_{kind}&{number}",
                "event": kind,
                "dateCreated": "2026-09-13 21:00:00",
                "payment": told,
            }
            body = httpx.Request("POST", url, json=notice).read()
            ids.append(acme.receive("asaas", body, {"asaas-access-token": TOKEN}))
            acme.collect(ids[-1], connection="asaas")
            acme.decide(ids[-1])
        acme.execute()
        (ticket,) = acme.tickets
        assert ticket["subject"] == "CORE - Ana Exemplo"
        assert {row.state for row in acme.rows(tables.deliveries)} == {"decided"}
        links = {(row.source, row.target) for row in acme.rows(tables.links)}
        assert (f"ticket:desk:{ticket['id']}", f"payment:asaas/{payment['id']}") in links
