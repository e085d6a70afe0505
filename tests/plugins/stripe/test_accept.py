"""Is a Stripe signature believed exactly when it is right and fresh?"""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta

import pytest
from gateway_plugins import stripe
from gateway_plugins.stripe import accept
from hypothesis import given
from hypothesis import strategies as st

from gateway.api import Connection, Verified, Webhook, WebhookRejected
from gateway.registry import assemble

# The vector of Stripe's own library: the secret's text is the key, "whsec_" and all.
SECRET = "whsec_testvector0123456789abcdefABCDEF"
SECONDS = "1789344000"
SENT_AT = datetime.fromtimestamp(int(SECONDS), UTC)
BODY = b'{"id":"evt_1TV","object":"event","type":"invoice.paid","data":{"object":{"id":"in_1TV","amount_paid":9900,"currency":"brl"}}}'  # noqa: E501
RIGHT = "da0a842209d27f7f5be8e93e5f4302c144d36fa21bf2aa4dc919503b5ad3c7e7"


def connection(*secrets: str, **settings: object) -> Connection[stripe.Settings]:
    told = {"signing_secret": list(secrets or (SECRET,)), **settings}
    return Connection("acme", "stripe", "stripe", stripe.Settings.model_validate(told))


def verify(
    header: str | None, body: bytes = BODY, *secrets: str, late: float = 1, **settings: object
) -> Verified:
    headers = {} if header is None else {"stripe-signature": header}
    webhook = Webhook(headers, body, received_at=SENT_AT + timedelta(seconds=late))
    return assemble({"stripe": stripe}, {}).ask(
        "stripe", "verify_webhook", webhook=webhook, connection=connection(*secrets, **settings)
    )


def refused(header: str | None, *given: object, **settings: object) -> str:
    with pytest.raises(WebhookRejected) as refusal:
        verify(header, *given, **settings)
    return str(refusal.value)


def test_the_vector_is_believed_and_the_event_names_the_delivery():
    assert verify(f"t={SECONDS},v1={RIGHT}") == Verified("evt_1TV", SENT_AT)
    assert accept.sign(SECONDS, BODY, SECRET) == RIGHT


@pytest.mark.parametrize(
    "header",
    [
        f"t={SECONDS},v1={'0' * 64},v1={RIGHT}",
        f"t={SECONDS},v1={RIGHT},v0={'0' * 64}",
        f" t={SECONDS} , v1={RIGHT}",
        f"t={SECONDS},v1={RIGHT},,=,v2",
    ],
)
def test_any_v1_may_be_the_right_one_and_the_rest_does_no_harm(header):
    assert verify(header)


@pytest.mark.parametrize(
    "header",
    [
        None, "", f"v1={RIGHT}", f"t={SECONDS}", f"t={SECONDS},v0={RIGHT}", f"t=,v1={RIGHT}", f"t=x,v1={RIGHT}",
        f"t={SECONDS},t={SECONDS},v1={RIGHT}", f"t={SECONDS}1,v1={RIGHT}", f"t={SECONDS},v1={RIGHT[:-1]}0",
        f"t={SECONDS},v1=", f"t=१७८९३४४०००,v1={RIGHT}",
    ],
)  # fmt: skip
def test_any_other_header_is_refused(header):
    refused(header)


def test_the_secret_is_not_base64_as_in_standard_webhooks():
    key = base64.b64decode("testvector0123456789abcdefABCDEF")
    other = hmac.new(key, SECONDS.encode() + b"." + BODY, hashlib.sha256).hexdigest()
    assert refused(f"t={SECONDS},v1={other}") == "wrong signature"


def test_both_secrets_are_believed_while_one_replaces_the_other():
    assert verify(f"t={SECONDS},v1={RIGHT}", BODY, "whsec_new", SECRET)
    assert refused(f"t={SECONDS},v1={RIGHT}", BODY, "whsec_new") == "wrong signature"


@pytest.mark.parametrize("late", [-300, 0, 300])
def test_five_minutes_are_tolerated(late):
    assert verify(f"t={SECONDS},v1={RIGHT}", late=late)


@pytest.mark.parametrize("late", [-301, 301, 86400])
def test_more_is_not(late):
    assert "stale" in refused(f"t={SECONDS},v1={RIGHT}", late=late)


def signed(event: object, **settings: object) -> Verified:
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    return verify(f"t={SECONDS},v1={accept.sign(SECONDS, body, SECRET)}", body, **settings)


def event(kind: str, **thing: object) -> dict[str, object]:
    return {"id": "evt_1", "object": "event", "type": kind, "livemode": True, "data": {"object": thing}}


INTENT = event("payment_intent.succeeded", object="payment_intent", id="pi_1")
OLD_INTENT = event("payment_intent.succeeded", object="payment_intent", id="pi_1", invoice="in_1")
NEW_INTENT = event(
    "payment_intent.succeeded",
    object="payment_intent",
    id="pi_1",
    payment_details={"order_reference": "in_1"},
)
SESSION = event("checkout.session.completed", object="checkout.session", id="cs_1", payment_intent="pi_1")
DISPUTE = event("charge.dispute.created", object="dispute", id="dp_1", charge="ch_1", payment_intent="pi_1")
KEY = {"api_key": "k"}


@pytest.mark.parametrize(
    ("told", "settings", "subject", "thin"),
    [
        (INTENT, {}, "pi_1", False),
        (INTENT, {"api_key": "k"}, "pi_1", True),
        ({**INTENT, "livemode": False}, {"api_key": "k"}, "pi_1", False),
        ({**INTENT, "livemode": False}, {"api_key": "k", "livemode": False}, "pi_1", True),
        (OLD_INTENT, KEY, "in_1", False),
        (NEW_INTENT, KEY, "in_1", False),
        (event("invoice.paid", object="invoice", id="in_1"), {"api_key": "k"}, "in_1", False),
        (SESSION, KEY, "pi_1", False),
        (DISPUTE, KEY, "pi_1", True),
        (event("customer.created", object="customer", id="cus_1"), {"api_key": "k"}, None, False),
        (event("invoice.paid", object=["invoice"]), {"api_key": "k"}, None, False),
        ({"id": "evt_1", "object": "v2.core.event", "type": "v1.invoice.paid"}, {"api_key": "k"}, None, False),
        (b"\\xff", {"api_key": "k"}, None, False),
    ],
)  # fmt: skip
def test_an_event_that_names_no_invoice_is_a_hint_where_the_api_can_be_asked(told, settings, subject, thin):
    proof = signed(told, **settings)
    assert (proof.subject, proof.thin) == (subject, thin)


@given(st.text(max_size=100) | st.text("tv01=,", max_size=40), st.binary(max_size=100))
def test_nothing_forged_is_believed_and_nothing_else_is_raised(header, body):
    with pytest.raises(WebhookRejected):
        verify(header, body)


@given(st.integers(0, len(BODY) - 1), st.integers(1, 255))
def test_one_changed_byte_breaks_the_signature(position, change):
    changed = bytearray(BODY)
    changed[position] ^= change
    assert refused(f"t={SECONDS},v1={RIGHT}", bytes(changed)) == "wrong signature"


@given(st.binary(max_size=200), st.integers(0, 2**32))
def test_what_we_sign_is_believed(body, seconds):
    sent_at = datetime.fromtimestamp(seconds, UTC)
    header = f"t={seconds},v1={accept.sign(str(seconds), body, SECRET)}"
    webhook = Webhook({"stripe-signature": header}, body, received_at=sent_at)
    assert accept.verify(webhook, connection().settings).sent_at == sent_at
