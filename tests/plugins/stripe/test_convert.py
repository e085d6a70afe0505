"""Is one sale one payment, whichever of Stripe's objects speak of it, in whichever version and order?"""

import json
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from gateway_plugins import stripe
from gateway_plugins.stripe.words import FACTS
from hypothesis import given
from hypothesis import strategies as st

from gateway.api import Connection, Customer, Payment, PaymentConfirmed, UnreadableWebhook, Webhook
from gateway.registry import assemble

FIXTURES = Path(__file__).parent / "fixtures"
PAID, OVERDUE, BOLETO = (
    json.loads((FIXTURES / f"{name}.json").read_bytes())
    for name in ("invoice.paid", "invoice.overdue", "checkout.session.completed.unpaid_boleto")
)
AT = datetime(2026, 9, 14, tzinfo=UTC)
ANA = {"name": "Ana Exemplo", "email": "ana@example.com", "phone": "+5511999990000"}


def told(body: Any, collected: Any = None, *, livemode: bool = False, **settings: Any) -> list[Any]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    model = stripe.Settings.model_validate({"signing_secret": "whsec_x", "livemode": livemode, **settings})
    return assemble({"stripe": stripe}, {}).ask(
        "stripe", "convert_webhook", webhook=Webhook({}, raw, received_at=AT), collected=collected, before=None,
        connection=Connection("acme", "stripe", "stripe", model),
    )  # fmt: skip


def event(kind: str, thing: str, **fields: Any) -> dict[str, Any]:
    told_of = {"object": thing, "id": f"{thing}_1", "currency": "brl", "metadata": {}, **fields}
    return {"id": f"evt_{kind}", "object": "event", "created": 1789344000, "livemode": False, "type": kind,
            "data": {"object": told_of}}  # fmt: skip


def test_a_paid_invoice_is_a_confirmed_payment():
    assert told(PAID) == [
        PaymentConfirmed(
            id="payment.confirmed:in_1ABCown0001",
            occurred_at=AT,
            payment=Payment(
                id="in_1ABCown0001", amount_minor=99000, currency="BRL", status="paid", reference="1234",
                paid_at=AT, due_on=date(2026, 9, 14),
            ),
            customer=Customer(email="ana@example.com"),
        )
    ]  # fmt: skip


def test_due_dates_end_in_the_companys_time_zone():
    assert told(PAID, timezone="UTC")[0].payment.due_on == date(2026, 9, 15)
    with pytest.raises(ValueError, match="no such time zone"):
        told(PAID, timezone="Sao Paulo")


def test_an_overdue_invoice_owes_what_remains():
    (found,) = told(OVERDUE)
    assert (found.kind, found.payment.amount_minor) == ("payment.overdue", 99000)
    assert found.id == "payment.overdue:in_1ABCown0003:anonymous"


def test_a_finished_checkout_is_paid_only_if_it_says_so():
    (unpaid,) = told(BOLETO)
    assert (unpaid.kind, unpaid.remote_kind) == ("unrecognized", "checkout.session.completed (unpaid)")
    session = BOLETO["data"]["object"]
    later = {**BOLETO, "type": "checkout.session.async_payment_succeeded",
             "data": {"object": {**session, "payment_status": "paid"}}}  # fmt: skip
    (paid,) = told(later)
    assert (paid.kind, paid.payment.id, paid.payment.reference) == (
        "payment.confirmed",
        "pi_own1",
        "bitrix-deal-1234",
    )
    never = {**later, "type": "checkout.session.async_payment_failed"}
    assert told(never)[0].kind == "payment.overdue"
    setup = {
        **BOLETO,
        "data": {"object": {**session, "payment_status": "no_payment_required", "mode": "setup"}},
    }
    assert told(setup)[0].remote_kind == "checkout.session.completed (setup)"
    free = {
        **BOLETO,
        "data": {"object": {**session, "payment_status": "no_payment_required", "payment_intent": None}},
    }
    assert told(free)[0].payment.id == "cs_test_own1"


def test_an_abandoned_checkout_owes_nothing():
    (found,) = told(event("checkout.session.expired", "checkout.session"))
    assert (found.kind, found.remote_kind) == ("unrecognized", "checkout.session.expired")


OLD = [  # until 2025-03-31 charges and intents named their invoice
    event("charge.succeeded", "charge", payment_intent="pi_1", invoice="in_1", amount=100),
    event("payment_intent.succeeded", "payment_intent", id="pi_1", invoice="in_1", amount_received=100),
    event("invoice.payment_succeeded", "invoice", id="in_1", payment_intent="pi_1", amount_paid=100),
    event("invoice.paid", "invoice", id="in_1", payment_intent="pi_1", amount_paid=100),
    event(
        "checkout.session.completed",
        "checkout.session",
        invoice="in_1",
        payment_status="paid",
        amount_total=100,
    ),
]
NEW = [
    event("payment_intent.succeeded", "payment_intent", id="pi_1", amount_received=100,
          payment_details={"order_reference": "in_1"}),
    event("invoice_payment.paid", "invoice_payment", invoice="in_1", amount_paid=100,
          payment={"type": "payment_intent", "payment_intent": "pi_1"}),
    event("invoice.paid", "invoice", id="in_1", amount_paid=100),
    event("checkout.session.completed", "checkout.session", invoice={"id": "in_1"}, payment_status="paid",
          amount_total=100),
]  # fmt: skip
WITHOUT_INVOICE = [
    event("charge.succeeded", "charge", payment_intent="pi_1", amount=100),
    event("payment_intent.succeeded", "payment_intent", id="pi_1", amount_received=100),
    event("checkout.session.completed", "checkout.session", invoice=None, payment_intent="pi_1", amount_total=100,
          payment_status="paid"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("notices", "id_"),
    [(OLD, "in_1"), (NEW, "in_1"), (WITHOUT_INVOICE, "pi_1")],
    ids=["old", "new", "no invoice"],
)
def test_one_sale_is_one_payment_and_one_fact(notices, id_):
    found = [each for notice in notices for each in told(notice)]
    assert [each.kind for each in found] == ["payment.confirmed"] * len(notices)
    assert {(each.payment.id, each.payment.amount_minor, each.payment.currency) for each in found} == {
        (id_, 100, "BRL")
    }
    assert {each.id for each in found} == {f"payment.confirmed:{id_}:anonymous"}


def test_who_paid_is_news_where_it_was_not_known_before():
    """Else a rule that needs the customer would never hear of it: the first event about a payment may name nobody."""
    nobody, ana = (
        WITHOUT_INVOICE[1],
        event("payment_intent.succeeded", "payment_intent", id="pi_1", receipt_email="a@x"),
    )
    assert told(nobody)[0].id != told(ana)[0].id
    assert told(ana)[0].customer == Customer(email="a@x")


READ = {
    "payment_intent": {
        "object": "payment_intent", "id": "pi_1", "status": "succeeded", "amount": 100, "amount_received": 100,
        "currency": "brl", "metadata": {"plan": "Pro"}, "customer": "cus_1",
        "latest_charge": {"id": "ch_1", "object": "charge", "refunded": False, "disputed": False},
    },
    "invoice": "in_1",
    "customer": {
        "id": "cus_1", **ANA, "address": {"city": "Recife"},
        "tax_ids": {"data": [{"type": "br_cnpj", "value": "11.222.333/0001-81"}]},
    },
}  # fmt: skip


def read(**changes: Any) -> dict[str, Any]:
    charge = {**READ["payment_intent"]["latest_charge"], **changes}
    return {**READ, "payment_intent": {**READ["payment_intent"], "latest_charge": charge}}


def test_a_reading_ties_an_intent_to_its_invoice_and_its_customer():
    (found,) = told(WITHOUT_INVOICE[1], READ)
    assert (found.id, found.payment.plan) == ("payment.confirmed:in_1", "Pro")
    assert found.customer == Customer(
        name="Ana Exemplo", email="ana@example.com", phones=("+5511999990000",), document="11222333000181",
        city="Recife",
    )  # fmt: skip
    (alone,) = told(WITHOUT_INVOICE[1], {**READ, "invoice": None})
    assert alone.id == "payment.confirmed:pi_1"


@pytest.mark.parametrize("change", [{"refunded": True}, {"disputed": True}])
def test_a_reading_alone_tells_what_must_have_happened(change):
    found = told(b"", read(**change))
    assert [each.id for each in found] == ["payment.confirmed:in_1", "payment.reversed:in_1"]
    assert found[1].payment.amount_minor == 100


def test_a_refund_that_shares_its_reading_does_not_hide_the_payment():
    refund = event(
        "charge.refunded", "charge", payment_intent="pi_1", refunded=True, amount=100, amount_refunded=100
    )
    assert [each.id for each in told(refund, read(refunded=True))] == [
        "payment.confirmed:in_1",
        "payment.reversed:in_1",
    ]
    part = event(
        "charge.refunded", "charge", payment_intent="pi_1", refunded=False, amount=100, amount_refunded=10
    )
    assert [each.kind for each in told(part, read())] == ["unrecognized", "payment.confirmed"]
    assert told(part)[0].remote_kind == "charge.refunded (a part)"


def test_a_refund_and_a_dispute_take_the_payment_back():
    refund = event("charge.refunded", "charge", payment_intent="pi_1", refunded=True, amount=100, amount_refunded=100,
                   billing_details=ANA)  # fmt: skip
    dispute = event("charge.dispute.created", "dispute", payment_intent="pi_1", charge="ch_1", amount=100)
    assert [each.id for each in told(refund)] == ["payment.reversed:pi_1"]
    assert [each.id for each in told(dispute)] == ["payment.reversed:pi_1:anonymous"]
    assert told(refund)[0].customer.phones == ("+5511999990000",)


@pytest.mark.parametrize(
    ("livemode", "label"), [(True, "invoice.paid (test mode)"), (False, "invoice.paid (live mode)")]
)
def test_test_mode_opens_nothing_in_production_nor_the_other_way_round(livemode, label):
    (found,) = told({**PAID, "livemode": not livemode}, livemode=livemode)
    assert (found.kind, found.remote_kind) == ("unrecognized", label)


def test_an_event_of_the_second_generation_is_kept():
    (found,) = told(
        {
            "id": "evt_2",
            "object": "v2.core.event",
            "type": "v1.billing.meter.error",
            "created": "2026-09-14T00:00:00Z",
        }
    )
    assert (found.kind, found.remote_kind) == ("unrecognized", "v1.billing.meter.error")


def test_currencies_without_cents_are_integers_all_the_same():
    (found,) = told(
        event("payment_intent.succeeded", "payment_intent", id="pi_1", amount_received=500, currency="jpy")
    )
    assert (found.payment.amount_minor, found.payment.currency) == (500, "JPY")


def test_how_a_charge_was_paid_is_in_its_details():
    details = {"type": "boleto", "boleto": {}}
    paid = event(
        "charge.succeeded", "charge", payment_intent="pi_1", amount=1, payment_method_details=details
    )
    assert told(paid)[0].payment.method == "boleto"


def test_the_checkouts_customer_and_the_invoices_are_understood():
    tax_ids = [{"type": "eu_vat", "value": "x"}, {"type": "br_cpf", "value": "529.982.247-25"}]
    session = event("checkout.session.completed", "checkout.session", payment_status="paid", payment_intent="pi_1",
                    customer_details={**ANA, "tax_ids": tax_ids}, payment_method_types=["boleto"])  # fmt: skip
    (found,) = told(session)
    assert (found.customer.document, found.customer.name, found.payment.method) == (
        "52998224725",
        "Ana Exemplo",
        "boleto",
    )
    invoice = event("invoice.paid", "invoice", id="in_1", customer_name="Ana", customer_email="a@x", customer_phone="1",
                    customer_address={"city": "Natal"}, lines={"data": [{"description": "Plano Pro"}, {}, None]},
                    status_transitions={"paid_at": 1789343000}, hosted_invoice_url="https://pay.example/i")  # fmt: skip
    (found,) = told(invoice)
    assert found.customer == Customer(name="Ana", email="a@x", phones=("1",), city="Natal")
    assert (found.payment.products, found.payment.url) == (("Plano Pro",), "https://pay.example/i")
    assert found.payment.paid_at == datetime.fromtimestamp(1789343000, UTC)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"", "the body is empty"),
        (b"[]", "an object was expected"),
        ({**PAID, "data": {}}, "object is missing"),
        ({**PAID, "data": {"object": 1}}, "an object was expected"),
        ({**PAID, "data": {"object": {"object": "invoice"}}}, "names no payment"),
        ({**PAID, "created": 10**30}, "."),
    ],
)
def test_what_cannot_be_an_event_is_unreadable_and_says_why(body, complaint):
    with pytest.raises(UnreadableWebhook, match=complaint):
        told(body)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=5,
)
FIELDS = st.sampled_from([
    "id", "object", "invoice", "payment_intent", "payment_details", "customer", "customer_details", "metadata",
    "lines", "status_transitions", "amount", "amount_paid", "currency", "due_date", "latest_charge",
    "billing_details", "payment_method_types", "customer_tax_ids", "refunded", "payment_status",
])  # fmt: skip
KINDS = [*FACTS, "customer.created"]
THINGS = ["invoice", "invoice_payment", "payment_intent", "charge", "dispute", "checkout.session"]


@given(st.binary(max_size=200) | JUNK.map(lambda value: json.dumps(value).encode()))
def test_garbage_is_unreadable_at_worst(body):
    found = []
    with suppress(UnreadableWebhook):
        found = told(body)
    assert all(each.kind == "unrecognized" for each in found)


@given(
    st.sampled_from(KINDS), st.sampled_from(THINGS), st.dictionaries(FIELDS, JUNK, max_size=4),
    st.none() | st.dictionaries(st.sampled_from(list(READ)), JUNK | st.just(READ["payment_intent"])),
)  # fmt: skip
def test_whatever_is_in_an_event_it_is_told_the_same_each_time_or_unreadable(kind, thing, fields, collected):
    body = event(kind, thing, payment_intent="pi_1", refunded=True, payment_status="paid")
    body["data"]["object"].update(fields)
    found: list[Any] = []
    with suppress(UnreadableWebhook):
        found = told(body, collected)
        assert found == told(body, collected)
    assert all(json.dumps(each.to_json(), allow_nan=False) for each in found)
