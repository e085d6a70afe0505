"""Do the ready mappings understand what their senders send, and believe only them?"""

import base64
import hashlib
import hmac
import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from gateway_plugins import generic
from gateway_plugins.generic import mappings
from gateway_plugins.generic.settings import Inbound
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.api import Connection, Customer, Event, UnreadableWebhook, Verified, Webhook, WebhookRejected
from gateway.registry import assemble

FIXTURES = Path(__file__).parent / "fixtures"
NOW = datetime(2026, 9, 14, 0, 0, 5, tzinfo=UTC)
STANDARD = "whsec_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="
KEY = {"x-gateway-key": "a-key"}


def connection(mapping: str, **settings: Any) -> Connection[generic.Settings]:
    told = {"mapping": mapping, "secret": STANDARD if mapping == "google_forms" else "a-key", **settings}
    return Connection("acme", "from", "generic", generic.Settings.model_validate(told))


def fixture(name: str) -> bytes:
    return (FIXTURES / name).read_bytes()


def verify(
    mapping: str, body: bytes, headers: dict[str, str], query: dict[str, str] | None = None, **settings: Any
) -> Verified:
    webhook = Webhook(headers, body, query or {}, NOW)
    ask = assemble({"generic": generic}, {}).ask
    return ask("generic", "verify_webhook", webhook=webhook, connection=connection(mapping, **settings))


def told(mapping: str, body: bytes, collected: Any = None, **settings: Any) -> list[Event]:
    webhook = Webhook({}, body, received_at=NOW)
    return generic.convert_webhook(webhook, collected, None, connection(mapping, **settings))


SECRETS = {"mercado_pago": {"api_token": "t"}}


@pytest.mark.parametrize("name", mappings.names())
def test_every_ready_mapping_has_a_sample_that_gives_what_it_says(name):
    ready = mappings.ready(name)
    assert ready["sample"]
    assert len(ready["expect"]) >= 3
    assert connection(name, **SECRETS.get(name, {})).settings.accepted_status() == 200
    assert Inbound.model_validate(ready).answer == 200


def test_a_mapping_that_there_is_not_names_those_there_are():
    with pytest.raises(ValidationError, match=r"none named 'paypal'.* google_forms, iugu, mercado_pago"):
        connection("paypal")


def test_what_is_said_beside_a_ready_mapping_wins():
    changed = connection("typeform", delivery="form_response.token", answer=202).settings.inbound
    assert (changed.delivery, changed.answer) == ("form_response.token", 202)
    assert changed.proof == connection("typeform").settings.inbound.proof
    with pytest.raises(ValidationError, match=r"expect: form\.form is"):
        connection("typeform", expect={"form.form": "Outro"})


def test_only_the_name_of_a_ready_mapping_is_stored():
    settings = connection("iugu", api_token="t").settings
    assert settings.model_dump(exclude_unset=True).keys() == {"mapping", "secret", "api_token"}


# --- Typeform ---

TYPEFORM_SECRET = "typeform-test-secret"
TYPEFORM_BODY = b'{"event_id":"01TESTEVENT","event_type":"form_response","form_response":{"form_id":"abc123","token":"tok1"}}'  # noqa: E501
TYPEFORM_SIGNATURE = "sha256=HvQ/GZT5U3o4GMpDbAz0HxSGpmtk0ZjeIapdZwVi6uo="


def test_typeforms_signature_is_base64():
    headers = {"typeform-signature": TYPEFORM_SIGNATURE}
    proof = verify("typeform", TYPEFORM_BODY, headers, secret=TYPEFORM_SECRET)
    assert proof == Verified("01TESTEVENT")
    in_hex = hmac.new(TYPEFORM_SECRET.encode(), TYPEFORM_BODY, hashlib.sha256).hexdigest()
    for wrong in (f"sha256={in_hex}", TYPEFORM_SIGNATURE.removeprefix("sha256="), "sha256=", "x"):
        with pytest.raises(WebhookRejected):
            verify("typeform", TYPEFORM_BODY, {"typeform-signature": wrong}, secret=TYPEFORM_SECRET)


def test_a_form_of_typeform_is_told_by_its_refs():
    (event,) = told("typeform", fixture("typeform.form_response.json"))
    assert (event.kind, event.id) == ("form.submitted", "form.submitted:tok1")
    assert event.occurred_at == datetime(2026, 9, 14, tzinfo=UTC)
    assert event.form.answers == {"deal": "1234", "email": "ana@example.com", "plano": "Pro"}
    assert event.form.form == "Onboarding"
    assert event.customer == Customer(email="ana@example.com")


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ({"type": "text", "text": "Ana"}, "Ana"),
        ({"type": "phone_number", "phone_number": "+5511999990000"}, "+5511999990000"),
        ({"type": "number", "number": 0}, 0),
        ({"type": "boolean", "boolean": False}, False),
        ({"type": "boolean", "boolean": True}, True),
        ({"type": "date", "date": "2026-09-14"}, "2026-09-14"),
        ({"type": "url", "url": "https://x.example"}, "https://x.example"),
        ({"type": "file_url", "file_url": "https://x.example/f"}, "https://x.example/f"),
        ({"type": "choice", "choice": {"other": "RH"}}, "RH"),
        ({"type": "choices", "choices": {"labels": ["A", "B"], "ids": ["1", "2"]}}, ["A", "B"]),
        ({"type": "choices", "choices": {"labels": ["A"], "other": "C"}}, ["A", "C"]),
        ({"type": "payment", "payment": {"amount": "990", "last4": "4242", "success": True}}, "990"),
        ({"type": "matrix", "matrix": {}}, None),
    ],
)
def test_every_type_of_answer_has_its_value(answer, value):
    response = json.loads(fixture("typeform.form_response.json"))
    response["form_response"]["answers"] = [{**answer, "field": {"id": "f", "ref": "r"}}]
    (event,) = told("typeform", json.dumps(response).encode())
    assert event.form.answers == {"deal": "1234", "r": value}


def test_a_form_without_hidden_fields_or_answers_is_still_a_form():
    (event,) = told("typeform", TYPEFORM_BODY)
    assert (event.form.known(), event.customer) == ({"id": "tok1", "form": "abc123"}, None)
    partial = TYPEFORM_BODY.replace(b'"form_response",', b'"form_response_partial",')
    assert [each.kind for each in told("typeform", partial)] == ["unrecognized"]


def test_answers_can_be_told_by_the_words_of_the_questions():
    words = "renamed(object(form_response.answers[].[field.id, email || choice.label]), " \
            "object(form_response.definition.fields[].[id, title]))"  # fmt: skip
    fields = {"form.id": "form_response.token", "form.answers": words}
    mapping = {
        "when": "form_response",
        "event": "form.submitted",
        "id": "form_response.token",
        "fields": fields,
    }
    body = fixture("typeform.form_response.json")
    (event,) = told("typeform", body, events=[mapping], sample=body.decode(), expect={})
    assert event.form.answers == {"Seu e-mail": "ana@example.com", "Plano": "Pro"}


# --- Google Forms ---


def test_google_forms_are_signed_by_standard_webhooks():
    body = json.dumps(mappings.ready("google_forms")["sample"]).encode()
    key = base64.b64decode(STANDARD.removeprefix("whsec_"))
    seconds = int(NOW.timestamp())
    digest = hmac.new(key, f"gform_2_ABaOnu.{seconds}.".encode() + body, hashlib.sha256).digest()
    headers = {
        "webhook-id": "gform_2_ABaOnu",
        "webhook-timestamp": str(seconds),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }
    assert verify("google_forms", body, headers).delivery_id == "gform_2_ABaOnu"
    (event,) = told("google_forms", body)
    assert event.customer == Customer(
        email="ana@example.com", phones=("(11) 3555-0199",), document="11222333000181"
    )


# --- Pagar.me ---


def test_a_payment_of_pagarme_is_that_of_its_order():
    order = json.loads(fixture("pagarme.order.paid.json"))
    (event,) = told("pagarme", json.dumps(order).encode())
    assert (event.id, event.payment.amount_minor) == ("payment.confirmed:or_own000000000001", 99000)
    assert (event.payment.reference, event.payment.method) == ("bitrix-deal-1234", "pix")
    assert event.occurred_at == datetime(2026, 9, 14, 0, 0, 0, 123456, tzinfo=UTC)
    assert event.customer.phones == ("+5511999990000",)
    charge = {
        **order, "id": "hook_2", "type": "charge.paid", "created_at": "2026-09-14T00:00:01",
        "data": {**order["data"]["charges"][0], "order": {"id": order["data"]["id"], "code": "bitrix-deal-1234"}},
    }  # fmt: skip
    (second,) = told("pagarme", json.dumps(charge).encode())
    assert (second.id, second.payment.reference) == (event.id, "bitrix-deal-1234")
    assert second.occurred_at == datetime(2026, 9, 14, 0, 0, 1, tzinfo=UTC)
    (back,) = told("pagarme", json.dumps({**charge, "type": "charge.refunded"}).encode())
    assert (back.kind, back.payment.id) == ("payment.reversed", event.payment.id)
    for other in ("charge.underpaid", "order.canceled", "order.payment_failed"):
        assert told("pagarme", json.dumps({**order, "type": other}).encode())[0].kind == "unrecognized"


def test_a_subscription_of_pagarme_goes_by_its_invoice():
    charge = {"id": "hook_1", "type": "charge.paid", "created_at": "2026-09-14T00:00:00Z",
              "data": {"id": "ch_1", "paid_amount": 100, "invoice": {"id": "in_1"}}}  # fmt: skip
    invoice = {**charge, "type": "invoice.paid", "data": {"id": "in_1", "amount": 100}}
    facts = {told("pagarme", json.dumps(each).encode())[0].id for each in (charge, invoice)}
    assert facts == {"payment.confirmed:in_1"}


@pytest.mark.parametrize("mapping", ["pagarme", "vindi"])
def test_who_signs_nothing_is_believed_by_a_key_or_a_password(mapping):
    body = fixture("pagarme.order.paid.json" if mapping == "pagarme" else "vindi.bill_paid.json")
    password = {"authorization": "Basic " + base64.b64encode(b"acme:a-key").decode()}
    names = {verify(mapping, body, *given).delivery_id for given in ((password,), ({}, {"key": "a-key"}))}
    assert names == {"hook_own0000000000001" if mapping == "pagarme" else "700001"}
    with pytest.raises(WebhookRejected):
        verify(mapping, body, {"authorization": "Basic " + base64.b64encode(b"acme:other").decode()})


def test_pagarmes_user_may_be_asked_for_too():
    proof = {"kind": "basic", "user": "acme"}
    right = {"authorization": "Basic " + base64.b64encode(b"acme:a-key").decode()}
    assert verify("pagarme", fixture("pagarme.order.paid.json"), right, proof=proof)
    with pytest.raises(WebhookRejected):
        verify("pagarme", fixture("pagarme.order.paid.json"), {}, {"key": "a-key"}, proof=proof)


# --- iugu ---

IUGU_PAID = fixture("iugu.invoice.status_changed.paid.form.txt")
IUGU_DUE = fixture("iugu.invoice.due.form.txt")
INVOICE = {
    "id": "0123456789ABCDEF0123456789ABCDEF", "status": "paid", "total_cents": 99000, "total_paid_cents": 99000,
    "currency": "BRL", "due_date": "2026-09-15", "payer_name": "Ana Exemplo", "payer_cpf_cnpj": "529.982.247-25",
    "email": "ana@example.com", "payer_phone_prefix": 11, "payer_phone": "999990000",
    "secure_url": "https://faturas.example/1", "items": [{"description": "Plano Pro"}],
    "paid_at": "2026-09-13T21:00:00-03:00",
}  # fmt: skip


def test_an_invoice_of_iugu_is_paid():
    (event,) = told("iugu", IUGU_PAID)
    assert event.id == "payment.confirmed:0123456789ABCDEF0123456789ABCDEF"
    assert event.occurred_at == event.payment.paid_at == datetime(2026, 9, 14, tzinfo=UTC)
    assert (event.payment.amount_minor, event.payment.method) == (99000, "iugu_pix")
    assert (event.payment.reference, event.customer) == ("bitrix-deal-1234", None)


@pytest.mark.parametrize(
    ("event", "status", "kinds"),
    [
        ("invoice.status_changed", "paid", ["payment.confirmed"]),
        ("invoice.status_changed", "externally_paid", ["payment.confirmed"]),
        ("invoice.created", "paid", ["payment.confirmed"]),
        ("invoice.released", "paid", ["payment.confirmed"]),
        ("invoice.status_changed", "partially_paid", ["unrecognized"]),
        ("invoice.created", "pending", ["unrecognized"]),
        ("invoice.due", "pending", ["payment.overdue"]),
        ("invoice.due", "paid", ["payment.confirmed"]),
        ("invoice.payment_failed", "pending", ["payment.overdue"]),
        ("invoice.status_changed", "expired", ["payment.overdue"]),
        ("invoice.status_changed", "refunded", ["payment.reversed"]),
        ("invoice.status_changed", "chargeback", ["payment.reversed"]),
        ("invoice.refund", "refunded", ["payment.reversed"]),
        ("invoice.status_changed", "canceled", ["unrecognized"]),
    ],
)
def test_what_happened_at_iugu_is_in_event_and_status(event, status, kinds):
    found = told("iugu", f"event={event}&data[id]=7&data[status]={status}".encode())
    assert [each.kind for each in found] == kinds


def test_with_a_token_the_invoice_is_read_back_and_tells_who_pays():
    assert verify("iugu", IUGU_PAID, {"authorization": "a-key"}).thin is False
    proof = verify("iugu", IUGU_PAID, {"authorization": "a-key"}, api_token="t")
    assert (proof.thin, proof.subject) == (True, INVOICE["id"])
    assert proof.delivery_id == f"invoice.status_changed|{INVOICE['id']}|paid"
    for body in (IUGU_PAID, IUGU_DUE, b""):
        (event,) = told("iugu", body, INVOICE, api_token="t")
        assert event.id == told("iugu", IUGU_PAID)[0].id
        assert (event.payment.amount_minor, event.payment.due_on) == (99000, date(2026, 9, 15))
        assert event.customer == Customer(
            name="Ana Exemplo", document="52998224725", email="ana@example.com", phones=("11999990000",)
        )
    kinds = [each.kind for each in told("iugu", b"", {**INVOICE, "status": "refunded"}, api_token="t")]
    assert kinds == ["payment.confirmed", "payment.reversed"]


@pytest.mark.parametrize("form", ["a-key", "Basic " + base64.b64encode(b"a-key").decode()])
def test_iugus_authorization_comes_as_it_is_or_as_basic(form):
    assert verify("iugu", IUGU_PAID, {"authorization": form})
    with pytest.raises(WebhookRejected):
        verify("iugu", IUGU_PAID, {"authorization": form + "x"})


def test_the_api_of_iugu_is_asked_with_the_token_as_user():
    api = generic.connect_api(connection("iugu", api_token="t"))
    assert (api.base_url, api.auth) == ("https://api.iugu.com", ("t", ""))
    assert generic.connect_api(connection("iugu")) is None


# --- Mercado Pago ---

MP = {"api_token": "t", "secret": "mp-test-secret"}
REQUEST = "6f1c2b3a-1111-4222-8333-abcdefabcdef"
MP_HEADERS = {
    "x-signature": "ts=1789344000000,v1=2e169d990e1abb6718ec960a24999efda18a33607b8897e1f0d2e6ca49d0dcd0",
    "x-request-id": REQUEST,
}
MP_BODY = fixture("mercadopago.payment.updated.json")
MP_ORDER = "ORD01JQ4S4KY8HWQ6NA5PXB65B3D3"
APPROVED = mappings.ready("mercado_pago")["sample"]["gateway"]["collected"]


def test_the_vector_of_mercado_pago_is_believed_and_only_hints():
    proof = verify("mercado_pago", MP_BODY, MP_HEADERS, {"data.id": "123456789", "type": "payment"}, **MP)
    assert (proof.subject, proof.thin) == ("123456789", True)
    assert proof.delivery_id == f"123456789|{REQUEST}"
    assert proof.sent_at == datetime(2026, 9, 14, tzinfo=UTC)


@pytest.mark.parametrize(
    "signature",
    [
        "18ad42e0d097c2a2ec3f481f8b3598bdaf4437af53709c647c2e6cc428609f92",  # the id as it is, as in the SDK
        "b3cff7eeb1a4be23886f1207e34b3c46471ad32a6af0c6d840db29af2a58f585",  # in small letters, as in the docs
    ],
)
def test_an_orders_id_is_signed_as_it_is_or_in_small_letters(signature):
    headers = {"x-signature": f"ts=1789344000000,v1={signature}", "x-request-id": REQUEST}
    proof = verify("mercado_pago", MP_BODY, headers, {"data.id": MP_ORDER}, **MP)
    assert proof.subject == MP_ORDER


@pytest.mark.parametrize("change", [{"data.id": "123456780"}, {}])
def test_another_payment_is_not_signed(change):
    with pytest.raises(WebhookRejected):
        verify("mercado_pago", MP_BODY, MP_HEADERS, change, **MP)


def test_what_the_body_of_mercado_pago_says_is_not_believed():
    forged = json.dumps({"type": "payment", "gateway": {"collected": APPROVED}}).encode()
    assert [event.kind for event in told("mercado_pago", forged, **MP)] == ["unrecognized"]


@pytest.mark.parametrize(
    ("changes", "kinds"),
    [
        ({}, ["payment.confirmed"]),
        ({"status": "pending", "status_detail": "pending_waiting_payment"}, ["unrecognized"]),
        ({"status": "rejected"}, ["unrecognized"]),
        ({"status_detail": "partially_refunded"}, ["payment.confirmed"]),
        ({"status": "cancelled", "status_detail": "expired"}, ["payment.overdue"]),
        ({"status": "cancelled", "status_detail": "by_collector"}, ["unrecognized"]),
        ({"status": "refunded"}, ["payment.confirmed", "payment.reversed"]),
        ({"status": "charged_back", "date_approved": None}, ["payment.reversed"]),
        ({"live_mode": False}, ["unrecognized"]),
        ({"id": MP_ORDER, "status": "processed", "status_detail": "accredited"}, ["payment.confirmed"]),
    ],
)
def test_what_was_read_back_from_mercado_pago_decides(changes, kinds):
    found = told("mercado_pago", MP_BODY, {**APPROVED, **changes}, **MP)
    assert [event.kind for event in found] == kinds


def test_a_payment_of_mercado_pago_is_in_centavos():
    (event,) = told("mercado_pago", b"", APPROVED, **MP)
    assert (event.id, event.payment.amount_minor) == ("payment.confirmed:123456789", 99000)
    assert event.customer == Customer(name="Ana Exemplo", email="ana@example.com", document="52998224725")


# --- Vindi ---


def test_a_bill_of_vindi_is_paid():
    (event,) = told("vindi", fixture("vindi.bill_paid.json"))
    assert (event.id, event.payment.amount_minor) == ("payment.confirmed:8001", 99000)
    assert event.payment.due_on == date(2026, 9, 15)
    assert event.occurred_at == datetime(2026, 9, 14, tzinfo=UTC)
    assert event.customer == Customer(name="Ana Souza", email="ana@example.com")


def test_with_a_key_vindis_bill_is_confirmed_by_reading_it():
    body = fixture("vindi.bill_paid.json")
    bill = json.loads(body)["event"]["data"]["bill"]
    proof = verify("vindi", body, KEY, api_key="k")
    assert (proof.thin, proof.subject, proof.delivery_id) == (True, "8001", "700001")
    assert told("vindi", body, {"bill": bill}, api_key="k") == told("vindi", body)
    assert told("vindi", body, {"bill": {**bill, "status": "pending"}}, api_key="k")[0].kind == "unrecognized"


def test_a_notice_of_vindi_without_an_id_is_named_by_what_it_is_about():
    body = json.loads(fixture("vindi.bill_paid.json"))
    del body["event"]["id"]
    assert verify("vindi", json.dumps(body).encode(), KEY).delivery_id == "bill_paid|8001|paid"
    assert (
        told("vindi", b'{"event": {"type": "test", "created_at": null, "data": {}}}')[0].kind
        == "unrecognized"
    )


def test_a_refund_of_vindi_takes_its_bill_back():
    refund = {"event": {"type": "charge_refunded", "created_at": "2026-09-14T00:00:00Z", "data": {
        "charge": {"id": 8101, "amount": "990.0", "status": "canceled", "bill": {"id": 8001}}}}}  # fmt: skip
    (event,) = told("vindi", json.dumps(refund).encode())
    assert (event.id, event.payment.amount_minor) == ("payment.reversed:8001", 99000)


# --- all of them ---

JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=5,
)
CONNECTIONS = {name: connection(name, **SECRETS.get(name, {})) for name in mappings.names()}
SAMPLES = {
    name: sample if isinstance(sample := mappings.ready(name)["sample"], dict) else {} for name in CONNECTIONS
}


def bent(document: Any) -> st.SearchStrategy[Any]:
    """The document with any of its parts replaced."""
    if isinstance(document, dict) and document:
        name = st.sampled_from(sorted(document))
        changed = name.flatmap(
            lambda key: (JUNK | bent(document[key])).map(lambda value: {**document, key: value})
        )
        return changed | JUNK
    return JUNK


CASES = st.sampled_from(sorted(CONNECTIONS)).flatmap(
    lambda name: st.tuples(st.just(name), bent(SAMPLES[name]), bent(APPROVED))
)


@given(CASES)
def test_whatever_a_sender_sends_is_told_the_same_each_time_or_unreadable(given_case):
    name, document, collected = given_case
    webhook = Webhook({}, json.dumps(document).encode(), received_at=NOW)
    found = []
    for _ in range(2):
        try:
            found.append(generic.convert_webhook(webhook, collected, None, CONNECTIONS[name]))
        except UnreadableWebhook as unreadable:
            found.append(str(unreadable))
    assert found[0] == found[1]
