"""Does foreign JSON become the events that the mapping says, and garbage nothing but UnreadableWebhook?"""

import json
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from gateway_plugins import generic
from gateway_plugins.generic import convert
from gateway_plugins.generic.sandbox import PAYMENT_MAPPING, SECRET
from hypothesis import event as note
from hypothesis import given
from hypothesis import strategies as st

from gateway.api import Connection, Customer, Payment, PaymentConfirmed, Snapshot, UnreadableWebhook, Webhook
from gateway.registry import assemble

FIXTURES = Path(__file__).parent / "fixtures"
RECEIVED_AT = datetime(2026, 9, 14, 0, 0, 5, tzinfo=UTC)
HEADERS = {"webhook-id": "msg_1", "webhook-timestamp": "1789344000", "webhook-signature": "v1,x"}
SENT_AT = datetime(2026, 9, 14, tzinfo=UTC)

PAGARME = {
    "when": "type == 'order.paid'",
    "event": "payment.confirmed",
    "id": "data.id",
    "occurred_at": "created_at",
    "fields": {
        "payment.id": "data.id",
        "payment.amount_minor": "data.amount",
        "payment.reference": "data.code",
        "payment.method": "data.charges[0].payment_method",
        "customer.name": "data.customer.name",
        "customer.document": "digits(data.customer.document)",
        "customer.email": "data.customer.email",
        "customer.phones": "data.customer.phones.mobile_phone.number && "
        "data.customer.phones.mobile_phone.join('', ['+', country_code, area_code, number])",
    },
}
VINDI = {
    "when": "event.type == 'bill_paid'",
    "event": "payment.confirmed",
    "id": "event.data.bill.id",
    "occurred_at": "event.created_at",
    "fields": {
        "payment.id": "event.data.bill.id",
        "payment.amount_minor": "to_minor(event.data.bill.amount)",
        "payment.reference": "event.data.bill.code",
        "customer.name": "event.data.bill.customer.name",
        "customer.custom_fields.vindi_code": "event.data.bill.customer.code",
    },
}
ASAAS = {
    "when": "contains(['PAYMENT_CONFIRMED', 'PAYMENT_RECEIVED'], event)",
    "event": "payment.confirmed",
    "id": "payment.id",
    "occurred_at": "to_utc(dateCreated, 'America/Sao_Paulo')",
    "fields": {
        "payment.id": "payment.id",
        "payment.amount_minor": "to_minor(payment.value)",
        "payment.due_on": "payment.dueDate",
    },
}
STRIPE = {
    "when": "type == 'invoice.paid' && !livemode",
    "event": "payment.confirmed",
    "id": "data.object.id",
    "occurred_at": "created",
    "fields": {
        "payment.id": "data.object.id",
        "payment.amount_minor": "data.object.amount_paid",
        "payment.reference": "data.object.metadata.bitrix_deal",
        "customer.email": "data.object.customer_email",
    },
}


def settings(*mappings: dict, **others: object) -> generic.Settings:
    return generic.Settings.model_validate({"secret": SECRET, "events": list(mappings), **others})


def told(body: bytes | dict, given_settings: generic.Settings, headers: dict = HEADERS) -> list:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection = Connection("acme", "shop", "generic", given_settings)
    webhook = Webhook(headers, raw, received_at=RECEIVED_AT)
    return assemble({"generic": generic}, {}).ask(
        "generic", "convert_webhook", webhook=webhook, collected=None, before=None, connection=connection
    )


PAYMENTS = generic.Settings.model_validate({"secret": SECRET, **PAYMENT_MAPPING})


def fixture(name: str) -> bytes:
    return (FIXTURES / name).read_bytes()


def test_a_payment_of_pagarme_is_a_payment():
    assert told(fixture("pagarme.order.paid.json"), settings(PAGARME)) == [
        PaymentConfirmed(
            id="payment.confirmed:or_own000000000001",
            occurred_at=datetime(2026, 9, 14, 0, 0, 0, 123456, tzinfo=UTC),
            payment=Payment(
                id="or_own000000000001", amount_minor=99000, reference="bitrix-deal-1234", method="pix"
            ),
            customer=Customer(
                name="Ana Souza", document="00000000000", email="ana@example.com", phones=("+5511999990000",)
            ),
        )
    ]


def test_a_payment_of_vindi_has_a_number_for_an_id_and_no_customer_code():
    (event,) = told(fixture("vindi.bill_paid.json"), settings(VINDI))
    assert (event.id, event.payment.id, event.payment.amount_minor) == (
        "payment.confirmed:8001",
        "8001",
        99000,
    )
    assert event.customer.known() == {"name": "Ana Souza"}


def test_a_payment_of_asaas_has_local_times_and_reais():
    (event,) = told(fixture("asaas.PAYMENT_CONFIRMED.card.json"), settings(ASAAS))
    assert event.occurred_at == SENT_AT
    assert (event.payment.amount_minor, event.payment.due_on) == (99000, date(2026, 9, 15))
    assert event.customer is None


def test_a_payment_of_stripe_has_cents_and_unix_times():
    (event,) = told(fixture("stripe.invoice.paid.json"), settings(STRIPE))
    assert (event.occurred_at, event.payment.amount_minor) == (SENT_AT, 99000)
    assert event.customer.email == "ana@example.com"


def test_many_senders_may_share_one_url():
    everyone = settings(ASAAS, STRIPE, PAGARME, VINDI)
    for name in (
        "pagarme.order.paid",
        "vindi.bill_paid",
        "asaas.PAYMENT_CONFIRMED.card",
        "stripe.invoice.paid",
    ):
        (event,) = told(fixture(f"{name}.json"), everyone)
        assert event.kind == "payment.confirmed"


def test_the_same_payment_told_twice_is_one_fact():
    notice = json.loads(fixture("asaas.PAYMENT_CONFIRMED.card.json"))
    later = {**notice, "event": "PAYMENT_RECEIVED", "id": "evt_2", "dateCreated": "2026-10-15 08:00:00"}
    (first,), (second,) = told(notice, settings(ASAAS)), told(later, settings(ASAAS))
    assert first.id == second.id


FORM = {
    "when": "type == 'form.submitted'",
    "event": "form.submitted",
    "id": "data.email",
    "fields": {
        "form.id": "data.email",
        "form.answers.pergunta": "data.answer",
        "customer.email": "data.email",
    },
}


def test_a_form_keeps_its_answers_and_takes_the_messages_time():
    (event,) = told(fixture("form.submitted.json"), settings(FORM))
    assert event.form.answers == {"pergunta": "São Paulo"}
    assert event.occurred_at == SENT_AT


def test_without_readable_headers_it_happened_when_it_came():
    (event,) = told(fixture("form.submitted.json"), settings(FORM), headers={})
    assert event.occurred_at == RECEIVED_AT


def test_the_first_mapping_that_fits_wins_unless_all_are_wanted():
    customer = {
        "when": "type",
        "event": "customer.updated",
        "id": "data.email",
        "fields": {"customer.email": "data.email"},
    }
    assert [event.kind for event in told(fixture("form.submitted.json"), settings(FORM, customer))] == [
        "form.submitted"
    ]
    both = told(fixture("form.submitted.json"), settings(FORM, customer, all=True))
    assert [event.kind for event in both] == ["form.submitted", "customer.updated"]


@pytest.mark.parametrize(
    ("body", "remote_kind"),
    [
        ({"type": "charge.created"}, "charge.created"),
        ({"event": "PAYMENT_VIEWED"}, "PAYMENT_VIEWED"),
        ({"event": {"type": "bill_created"}}, "unknown"),
        ({"type": 7, "event": ""}, "unknown"),
        ({}, "unknown"),
        ({"type": "x" * 5000}, "x" * 100),
    ],
)
def test_what_no_mapping_fits_is_kept_as_unrecognized(body, remote_kind):
    (event,) = told(body, settings(FORM))
    assert (event.kind, event.id, event.remote_kind) == ("unrecognized", "unrecognized:msg_1", remote_kind)


def test_an_unrecognized_message_without_an_id_is_named_by_its_content():
    assert told({"a": 1}, settings(FORM), headers={}) == told({"a": 1}, settings(FORM), headers={})
    assert told({"a": 1}, settings(FORM), headers={}) != told({"a": 2}, settings(FORM), headers={})


def test_a_ticket_named_by_its_id_alone_is_one_of_this_connection():
    ticket = {
        "when": "type == 'ticket'",
        "event": "ticket.updated",
        "id": "join('@', [data.id, data.at])",
        "occurred_at": "data.at",
        "fields": {"ticket.ref.id": "data.id", "ticket.subject": "data.title", "ticket.tags": "data.tags"},
    }
    body = {
        "type": "ticket",
        "data": {"id": "7", "at": "2026-09-14T00:00:00Z", "title": "Oi", "tags": ["a", None, "b"]},
    }
    (event,) = told(body, settings(ticket, subject="data.id"))
    assert str(event.ticket.ref) == "ticket:shop:7"
    assert event.ticket.known().keys() == {"ref", "subject", "tags"}
    assert event.ticket.tags == {"a", "b"}


WHOLE = {
    "when": "ticket || gateway.collected.ticket",
    "event": "ticket.snapshot",
    "fields": {
        "ticket.ref.id": "(gateway.collected.ticket || ticket).id",
        "ticket.status": """lookup((gateway.collected.ticket || ticket).state, `{"a": "open", "z": "closed"}`)""",
        "ticket.tags": "(gateway.collected.ticket || ticket).tags",
        "ticket.assignee.id": "(gateway.collected.ticket || ticket).owner",
        "ticket.remote_updated_at": "(gateway.collected.ticket || ticket).at",
        "comments": "(gateway.collected.comments || comments)[].{id: id, body: text}",
    },
}


def looked_at(*looks: dict) -> list[str]:
    """The kinds of events that these looks at one ticket give, one after the other."""
    connection = Connection("acme", "shop", "generic", settings(WHOLE, subject="ticket.id"))
    before, kinds = None, []
    for number, look in enumerate(looks):
        body = {
            "ticket": {"id": 7, "at": f"2026-09-14T00:00:0{number}Z", **look},
            "comments": look.get("said", []),
        }
        webhook = Webhook(HEADERS, json.dumps(body).encode(), received_at=RECEIVED_AT)
        found = generic.convert_webhook(webhook, None, before, connection)
        kinds += [event.kind for event in found]
        if found:
            before = Snapshot(ticket=found[-1].ticket, comments=found[-1].comments)
    return kinds


def test_a_whole_ticket_tells_what_changed_since_it_was_last_seen():
    looks = [
        {"state": "a"},
        {"state": "z"},
        {"state": "z", "tags": ["x"]},
        {"state": "z", "tags": []},
        {"state": "z"},
    ]
    assert looked_at(*looks) == ["ticket.created", "ticket.status_changed", "ticket.tagged", "ticket.tagged"]
    assert looked_at({"owner": 1}, {"owner": None}) == ["ticket.created", "ticket.assigned"]
    assert looked_at({}, {"said": [{"id": 1, "text": "Oi"}]}) == ["ticket.created", "comment.created"]
    assert looked_at({"state": "a"}, {"state": "odd"}) == ["ticket.created"]


def test_a_whole_ticket_that_is_older_than_what_is_known_tells_only_comments():
    old = {"state": "a", "at": "2020-01-01T00:00:00Z", "said": [{"id": 1, "text": "Oi"}]}
    assert looked_at({"state": "z"}, old) == ["ticket.created", "comment.created"]


def test_what_was_read_back_is_a_complete_ticket_and_a_sender_cannot_pretend_it():
    connection = Connection("acme", "shop", "generic", settings(WHOLE, subject="ticket.id"))
    collected = {"ticket": {"id": 7, "state": "a"}, "comments": [{"id": 1, "text": "Oi"}]}
    webhook = Webhook({}, b"", received_at=RECEIVED_AT)
    created, said = generic.convert_webhook(webhook, collected, None, connection)
    assert (created.ticket.status, created.complete, said.comment.body) == ("open", True, "Oi")
    pretended = Webhook(
        {}, json.dumps({"gateway": {"collected": collected}}).encode(), received_at=RECEIVED_AT
    )
    (event,) = generic.convert_webhook(pretended, None, None, connection)
    assert event.kind == "unrecognized"
    updated = {"when": "id", "event": "ticket.updated", "id": "id", "fields": {"ticket.ref.id": "id"}}
    one = settings(updated, subject="id")
    webhook = Webhook({}, b'{"id": 7}', received_at=RECEIVED_AT)
    connection = Connection("acme", "shop", "generic", one)
    assert [generic.convert_webhook(webhook, read, None, connection)[0].complete for read in (None, {})] == [
        False,
        True,
    ]


def test_form_fields_are_mapped_like_json():
    fields = {"form.id": "data.id", "form.answers": "data"}
    form = {"when": "event", "event": "form.submitted", "id": "data.id", "fields": fields}
    (event,) = told(b"event=x&data[id]=7&data[nome]=Ana", settings(form, body="form"))
    assert (event.id, event.form.answers) == ("form.submitted:7", {"id": "7", "nome": "Ana"})
    with pytest.raises(UnreadableWebhook, match="not usable form fields"):
        told(b"\xff", settings(form, body="form"))
    sample = "event=x&data[id]=8"
    assert settings(form, body="form", sample=sample, expect={"id": "form.submitted:8"}).sample == sample


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ({}, r"id \(data.id\)"),
        ({"id": ""}, r"id \(data.id\)"),
        ({"id": True}, r"id \(data.id\)"),
        ({"id": "x" * 201}, r"id \(data.id\)"),
        ({"id": "pay_1", "amount": "a lot"}, r"payment.amount_minor: 'to_minor\(data.amount\)'"),
        (
            {"id": "pay_1", "plan": {"name": "Pro"}},
            r"customer.plan \(data.plan\): Input should be a valid string",
        ),
        ({"id": "pay_1", "paid_at": "soon"}, r"payment.paid_at: .*to_utc\(\) needs"),
        ({"id": "pay_1", "customer": {"phones": [1.5]}}, "customer.phones.0: Input should be a valid string"),
    ],
)
def test_a_payment_that_cannot_be_read_names_the_field_in_one_line(data, complaint):
    with pytest.raises(UnreadableWebhook, match=complaint) as refusal:
        told({"type": "payment.confirmed", "data": data}, PAYMENTS)
    assert "\n" not in str(refusal.value)


def test_a_time_without_an_offset_is_refused_rather_than_guessed():
    body = {"type": "payment.confirmed", "timestamp": "2026-09-13 21:00:00", "data": {"id": "pay_1"}}
    with pytest.raises(UnreadableWebhook, match=r"occurred_at \(timestamp\): .*timezone"):
        told(body, PAYMENTS)


GARBAGE = [
    b"", b"\xff", b"null", b"[]", b'"x"', b"1", b"{", b'{"a": NaN}', b'{"a": 1e999}', b'{"a": "\\ud800"}',
    b"[" * 100_000, b'{"a":' * 70 + b"1" + b"}" * 70, b'{"a": ' + b"9" * 5000 + b"}",
]  # fmt: skip


@pytest.mark.parametrize("body", GARBAGE, ids=lambda body: repr(body[:20]))
def test_garbage_is_unreadable(body):
    with pytest.raises(UnreadableWebhook):
        told(body, settings(FORM))


def test_nul_characters_are_dropped_as_postgres_cannot_keep_them():
    (event,) = told({"type": "form.submitted", "data": {"email": "a\0@x", "answer": "\0"}}, settings(FORM))
    assert event.form.id == "a@x"
    assert "\\u0000" not in event.model_dump_json()


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.binary() | JSON_VALUES.map(lambda value: json.dumps(value).encode()))
def test_any_body_is_an_object_or_unreadable(body):
    document = {}
    with suppress(UnreadableWebhook):
        document = convert.read(body)
    assert isinstance(document, dict)


EVERYONE = settings(ASAAS, STRIPE, PAGARME, VINDI, FORM, *PAYMENT_MAPPING["events"])
TEXTS = st.none() | st.text(max_size=20) | st.integers()
TIMES = st.sampled_from([None, "2026-09-14T00:00:00Z", 1789344000])
CUSTOMERS = st.dictionaries(
    st.sampled_from(["name", "document", "email", "phones", "city"]), TEXTS, max_size=3
)
PLAUSIBLE = st.fixed_dictionaries(
    {"id": st.text(min_size=1, max_size=20) | st.integers()},
    optional={
        "amount": st.decimals(0, 10**9, places=2).map(str), "plan": TEXTS,
        "products": st.lists(TEXTS, max_size=3), "paid_at": TIMES, "email": TEXTS,
        "answer": JSON_VALUES, "customer": CUSTOMERS,
    },
)  # fmt: skip
KEYS = st.sampled_from(["id", "amount", "plan", "products", "paid_at", "email", "customer"])


@given(
    st.sampled_from(["payment.confirmed", "form.submitted", "order.paid"]),
    TIMES | JSON_VALUES,
    PLAUSIBLE,
    st.dictionaries(KEYS, JSON_VALUES, max_size=1),
)
def test_any_json_in_a_known_envelope_gives_storable_events_or_unreadable(kind, moment, data, junk):
    body = json.dumps({"type": kind, "timestamp": moment, "created_at": moment, "data": data | junk}).encode()
    try:
        events = told(body, EVERYONE)
    except UnreadableWebhook:
        note(f"unreadable {kind}")
        return
    note(f"read {kind}")
    assert [event.kind for event in events] in (["payment.confirmed"], ["form.submitted"])
    assert all(json.dumps(event.model_dump(mode="json"), allow_nan=False) for event in events)
    assert events == told(body, EVERYONE)
