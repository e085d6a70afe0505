"""Is a payment of Asaas one payment, however many notices speak of it, with its amount in centavos?"""

import json
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from gateway_plugins import asaas
from gateway_plugins.asaas.words import FACTS
from hypothesis import given
from hypothesis import strategies as st

from gateway.api import (
    Connection,
    Customer,
    Payment,
    PaymentConfirmed,
    PaymentOverdue,
    UnreadableWebhook,
    Webhook,
)
from gateway.registry import assemble

FIXTURES = Path(__file__).parent / "fixtures"
RECEIVED_AT = datetime(2026, 9, 14, 0, 0, 5, tzinfo=UTC)
CARD, PIX, BOLETO = (
    json.loads((FIXTURES / f"{name}.json").read_bytes())
    for name in ("PAYMENT_CONFIRMED.card", "PAYMENT_RECEIVED.pix", "PAYMENT_OVERDUE.boleto")
)
CUSTOMER = {
    "id": "cus_000000000001", "name": "Padaria Exemplo", "email": "dona@padaria.example", "phone": "1135550199",
    "mobilePhone": "11999990000", "cpfCnpj": "11.222.333/0001-81", "cityName": "São Paulo",
}  # fmt: skip


def told(
    body: Any, collected: Any = None, headers: dict[str, str] | None = None, **settings: Any
) -> list[Any]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection = Connection("acme", "asaas", "asaas", asaas.Settings(access_token="t", **settings))
    return assemble({"asaas": asaas}, {}).ask(
        "asaas", "convert_webhook", webhook=Webhook(headers or {}, raw, received_at=RECEIVED_AT),
        collected=collected, before=None, connection=connection,
    )  # fmt: skip


def read(notice: dict[str, Any], customer: Any = CUSTOMER, **changes: Any) -> dict[str, Any]:
    return {"payment": {**notice["payment"], **changes}, "customer": customer}


def test_a_card_payment_is_confirmed_before_the_money_is_there():
    assert told(CARD) == [
        PaymentConfirmed(
            id="payment.confirmed:pay_0a1b2c3d4e5f6g7h",
            occurred_at=datetime(2026, 9, 14, tzinfo=UTC),
            payment=Payment(
                id="pay_0a1b2c3d4e5f6g7h", amount_minor=99000, currency="BRL", status="CONFIRMED",
                method="credit_card", reference="bitrix-deal-1234", due_on=date(2026, 9, 15),
                paid_at=datetime(2026, 9, 13, 3, tzinfo=UTC), url="https://www.asaas.com/i/0a1b2c3d4e5f6g7h",
            ),
            customer=None,
        )
    ]  # fmt: skip


def test_the_money_that_comes_a_month_later_is_the_same_fact():
    later = {**CARD, "id": "evt_x&1", "event": "PAYMENT_RECEIVED", "dateCreated": "2026-10-15 08:00:00"}
    (first,), (second,) = told(CARD), told(later)
    assert (first.id, first.payment.id) == (second.id, second.payment.id)


def test_a_pix_is_received_at_once():
    (event,) = told(PIX)
    assert (event.kind, event.payment.method, event.payment.amount_minor) == (
        "payment.confirmed",
        "pix",
        99000,
    )
    assert event.occurred_at == datetime(2026, 9, 14, 0, 0, 5, tzinfo=UTC)


def test_a_boleto_is_overdue_once_for_each_due_date():
    (event,) = told(BOLETO)
    assert isinstance(event, PaymentOverdue)
    assert event.id == "payment.overdue:pay_5555666677778888:2026-09-11"
    assert told({**BOLETO, "id": "evt_x&2"})[0].id == event.id
    assert told({**BOLETO, "payment": {**BOLETO["payment"], "dueDate": "2026-09-20"}})[0].id != event.id


@pytest.mark.parametrize("kind", [kind for kind, fact in FACTS.items() if fact == "payment.reversed"])
def test_a_refund_or_chargeback_takes_it_back_once(kind):
    (event,) = told({**CARD, "event": kind})
    assert (event.kind, event.id) == ("payment.reversed", "payment.reversed:pay_0a1b2c3d4e5f6g7h")


@pytest.mark.parametrize(
    "kind",
    [
        "PAYMENT_CREATED", "PAYMENT_PARTIALLY_REFUNDED", "PAYMENT_REFUND_IN_PROGRESS", "PAYMENT_DELETED",
        "SUBSCRIPTION_CREATED", "NEW",
    ],
)  # fmt: skip
def test_all_else_is_kept_as_it_is(kind):
    (event,) = told({**CARD, "event": kind})
    assert (event.kind, event.remote_kind, event.id) == ("unrecognized", kind, f"unrecognized:{CARD['id']}")


def test_the_customer_comes_from_the_reading():
    (event,) = told(CARD, read(CARD))
    assert event.customer == Customer(
        name="Padaria Exemplo", document="11222333000181", email="dona@padaria.example",
        phones=("11999990000", "1135550199"), city="São Paulo",
    )  # fmt: skip
    assert told(CARD, read(CARD, customer=None))[0].customer is None
    assert told(CARD, read(CARD))[0].id == told(CARD)[0].id


@pytest.mark.parametrize(
    ("status", "kinds"),
    [
        ("PENDING", []),
        ("CONFIRMED", ["payment.confirmed"]),
        ("RECEIVED_IN_CASH", ["payment.confirmed"]),
        ("OVERDUE", ["payment.overdue"]),
        ("REFUNDED", ["payment.confirmed", "payment.reversed"]),
        ("CHARGEBACK_DISPUTE", ["payment.confirmed", "payment.reversed"]),
        ("SOMETHING_NEW", []),
    ],
)
def test_a_reading_alone_tells_what_must_have_happened(status, kinds):
    found = told(b"", read(CARD, status=status))
    assert [event.kind for event in found] == kinds
    assert {event.payment.id for event in found} <= {"pay_0a1b2c3d4e5f6g7h"}


def test_several_notices_that_share_a_reading_lose_nothing():
    """Paid and taken back in one minute: only the last notice is converted, with the reading."""
    refund = {**CARD, "event": "PAYMENT_REFUNDED"}
    assert [event.kind for event in told(refund, read(CARD, status="REFUNDED"))] == [
        "payment.confirmed",
        "payment.reversed",
    ]
    confirmed, reversed_ = told(refund, read(CARD, status="REFUNDED"))
    assert confirmed.id == told(CARD)[0].id
    assert reversed_.id == told(refund)[0].id


def test_a_payment_that_was_never_paid_is_not_confirmed_by_being_deleted_from_the_books():
    never = dict.fromkeys(("confirmedDate", "clientPaymentDate", "paymentDate"))
    assert [event.kind for event in told(b"", read(CARD, status="REFUNDED", **never))] == ["payment.reversed"]


def test_the_sandbox_opens_nothing_in_production_and_production_nothing_in_the_sandbox():
    test_agent = {"user-agent": "Asaas_Hmlg/3.0"}
    (event,) = told(CARD, headers=test_agent)
    assert (event.kind, event.remote_kind) == ("unrecognized", "PAYMENT_CONFIRMED (sandbox)")
    test_invoice = {**CARD, "payment": {**CARD["payment"], "invoiceUrl": "https://sandbox.asaas.com/i/1"}}
    assert told(test_invoice)[0].remote_kind == "PAYMENT_CONFIRMED (sandbox)"
    assert told(test_invoice, headers=test_agent, sandbox=True)[0].kind == "payment.confirmed"
    assert told(CARD, sandbox=True)[0].remote_kind == "PAYMENT_CONFIRMED (production)"


def test_a_plan_is_found_in_the_description_if_it_is_named_in_the_settings():
    assert told(CARD, plans=("Basic", "plano pro"))[0].payment.plan == "plano pro"
    assert "plan" not in told(CARD)[0].payment.known()


@pytest.mark.parametrize(
    ("value", "minor"),
    [
        (990, 99000),
        (990.0, 99000),
        (19.99, 1999),
        (0.1 + 0.2, 30),
        (1.005, 101),
        ("990.5", 99050),
        (None, None),
    ],
)
def test_reais_become_centavos(value, minor):
    (event,) = told({**CARD, "payment": {**CARD["payment"], "value": value}})
    assert event.payment.amount_minor == minor


@given(st.integers(0, 10**12))
def test_every_amount_survives_the_way_through_a_json_number(minor):
    if minor >= 10**11:
        minor //= 100
    body = json.dumps({**CARD, "payment": {**CARD["payment"], "value": minor / 100}}).encode()
    assert told(body)[0].payment.amount_minor == minor


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"payment": None}, "an object was expected"),
        ({"payment": {}}, "id is missing"),
        ({"payment": {**CARD["payment"], "id": "../customers"}}, "payment.id"),
        ({"payment": {**CARD["payment"], "value": "a lot"}}, "payment.value"),
        ({"payment": {**CARD["payment"], "value": 1e300}}, "payment.value"),
        ({"payment": {**CARD["payment"], "value": True}}, "payment.value"),
        ({"payment": {**CARD["payment"], "dueDate": "soon"}}, "isoformat"),
        ({"dateCreated": "yesterday"}, "isoformat"),
    ],
)
def test_what_cannot_be_a_payment_is_unreadable_and_says_why(changes, complaint):
    with pytest.raises(UnreadableWebhook, match=complaint):
        told({**CARD, **changes})


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=5,
)


@given(st.binary(max_size=200) | JUNK.map(lambda value: json.dumps(value).encode()))
def test_garbage_is_unreadable_at_worst(body):
    found = []
    with suppress(UnreadableWebhook):
        found = told(body)
    assert all(event.kind == "unrecognized" for event in found)


@given(
    st.sampled_from([*FACTS, "PAYMENT_CREATED"]),
    st.dictionaries(st.sampled_from(sorted(CARD["payment"])), JUNK, max_size=3),
    st.none() | st.dictionaries(st.sampled_from(sorted(CUSTOMER)), JUNK, max_size=3),
)
def test_whatever_is_in_a_notice_it_is_told_the_same_each_time_or_unreadable(kind, changes, customer):
    body = {**CARD, "event": kind, "payment": {**CARD["payment"], **changes}}
    found: list[Any] = []
    with suppress(UnreadableWebhook):
        found = told(body, read(body, customer=customer))
        assert found == told(body, read(body, customer=customer))
    assert all(json.dumps(event.to_json(), allow_nan=False) for event in found)
