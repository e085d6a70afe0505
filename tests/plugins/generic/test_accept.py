"""Is a Standard Webhooks signature believed exactly when it is right and fresh?"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from gateway_plugins import generic
from gateway_plugins.generic import accept
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from gateway.api import Connection, Webhook, WebhookRejected
from gateway.registry import assemble

# The vector of https://github.com/standard-webhooks/standard-webhooks, made with a key of the bytes 1 to 32.
SECRET = "whsec_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="
OTHER = "whsec_ICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICA="
BODY = (Path(__file__).parent / "fixtures" / "form.submitted.json").read_bytes()
SENT_AT = datetime.fromtimestamp(1789344000, UTC)
HEADERS = {
    "webhook-id": "msg_2pXQh7cTzvR9kLmN4sWbYd",
    "webhook-timestamp": "1789344000",
    "webhook-signature": "v1,RyPJAuVJPeC0Vjuqzhsm+pWsjLqi7Pc1ak5l1lvWDe0=",
}
KEYED_WITH_THE_TEXT = "v1,KR6c6JxTbOPYhwiVHpQ6aWqw7Tw7RN2urfNRaJPi10M="
MAPPING = {"when": "type", "event": "form.submitted", "id": "data.email", "fields": {"form.id": "data.email"}}


def connection(*secrets: str, **settings: object) -> Connection[generic.Settings]:
    given_settings = {"secret": list(secrets or (SECRET,)), "events": [MAPPING], **settings}
    return Connection("acme", "forms", "generic", generic.Settings.model_validate(given_settings))


def webhook(*, body: bytes = BODY, late: float = 1, **headers: str) -> Webhook:
    changed = {name.replace("_", "-"): value for name, value in headers.items()}
    return Webhook(HEADERS | changed, body, received_at=SENT_AT + timedelta(seconds=late))


def verify(sent: Webhook, *secrets: str, **settings: object) -> object:
    ask = assemble({"generic": generic}, {}).ask
    return ask("generic", "verify_webhook", webhook=sent, connection=connection(*secrets, **settings))


def refused(sent: Webhook, *secrets: str) -> str:
    with pytest.raises(WebhookRejected) as refusal:
        verify(sent, *secrets)
    return str(refusal.value)


def test_the_vector_is_believed():
    proof = verify(webhook())
    assert (proof.delivery_id, proof.sent_at) == ("msg_2pXQh7cTzvR9kLmN4sWbYd", SENT_AT)
    assert proof.subject is None
    assert proof.thin is False


def test_the_secrets_text_is_not_the_key():
    assert refused(webhook(webhook_signature=KEYED_WITH_THE_TEXT)) == "wrong signature"


def test_the_headers_of_svix_are_the_same_thing():
    headers = {name.replace("webhook", "svix"): value for name, value in HEADERS.items()}
    proof = verify(Webhook(headers, BODY, received_at=SENT_AT))
    assert proof.delivery_id == "msg_2pXQh7cTzvR9kLmN4sWbYd"


def test_both_secrets_are_believed_while_one_replaces_the_other():
    assert verify(webhook(), OTHER, SECRET)
    assert verify(webhook(), SECRET, OTHER)
    assert refused(webhook(), OTHER) == "wrong signature"


def test_a_secret_without_its_padding_is_the_same_secret():
    assert verify(webhook(), SECRET.rstrip("="))


@pytest.mark.parametrize("other", ["v1,AAAA", "v1a,AAAA", "v1", "", ",", "v1,", "v1,a,b", "v1,é", "v9,\x00"])
def test_other_entries_beside_the_right_one_do_no_harm(other):
    right = HEADERS["webhook-signature"]
    assert verify(webhook(webhook_signature=f"{other} {right}"))
    assert verify(webhook(webhook_signature=f"{right} {other}"))
    refused(webhook(webhook_signature=other))


@pytest.mark.parametrize("late", [-300, 0, 300])
def test_five_minutes_are_tolerated_on_both_sides(late):
    assert verify(webhook(late=late))


@pytest.mark.parametrize("late", [-301, 301, 86400])
def test_more_than_five_minutes_are_not(late):
    assert "stale" in refused(webhook(late=late))


@pytest.mark.parametrize("header", list(HEADERS))
def test_each_header_is_needed(header):
    headers = {name: value for name, value in HEADERS.items() if name != header}
    with pytest.raises(WebhookRejected):
        verify(Webhook(headers, BODY, received_at=SENT_AT))


@pytest.mark.parametrize(
    "timestamp",
    ["", "x", "1789344000.0", "-1", "1e9", " 1789344000", "१७८९३४४०००", "1_789_344_000", "9" * 40],
)
def test_a_timestamp_that_is_not_whole_seconds_is_refused(timestamp):
    assert "timestamp" in refused(webhook(webhook_timestamp=timestamp))


@given(st.binary(), st.text(), st.text(), st.text())
def test_nothing_forged_is_believed_and_nothing_else_is_raised(body, message_id, timestamp, signature):
    headers = {"webhook-id": message_id, "webhook-timestamp": timestamp, "webhook-signature": signature}
    with pytest.raises(WebhookRejected):
        accept.verify(Webhook(headers, body, received_at=SENT_AT), (SecretStr(SECRET),))


@given(st.integers(0, len(BODY) - 1), st.integers(1, 255))
def test_one_changed_byte_breaks_the_signature(position, change):
    changed = bytearray(BODY)
    changed[position] ^= change
    with pytest.raises(WebhookRejected):
        accept.verify(webhook(body=bytes(changed)), (SecretStr(SECRET),))


@given(st.text(min_size=1, max_size=50), st.text(), st.integers(0, 2**32))
def test_what_we_sign_is_believed(message_id, body, seconds):
    sent_at = datetime.fromtimestamp(seconds, UTC)
    headers = {
        "webhook-id": message_id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": accept.sign(message_id, sent_at, body, SECRET),
    }
    proof = accept.verify(Webhook(headers, body.encode(), received_at=sent_at), (SecretStr(SECRET),))
    assert (proof.delivery_id, proof.sent_at) == (message_id, sent_at)


@pytest.mark.parametrize(
    "bad", ["", "whsec_", "whsec_short", "whsec_" + "A" * 88 + "AAAA", "whsec_!!!!", "é"]
)
def test_a_secret_that_nobody_would_sign_with_is_refused_and_not_told(bad):
    with pytest.raises(ValidationError) as refusal:
        connection(bad)
    assert "signing secret" in str(refusal.value)
    assert not bad.removeprefix("whsec_") or bad not in str(refusal.value)


def test_the_ticket_is_named_where_the_settings_say():
    ticket = {
        "when": "type",
        "event": "ticket.updated",
        "id": "data.email",
        "fields": {"ticket.ref.id": "data.email"},
    }
    proof = verify(webhook(), events=[ticket], subject="data.email")
    assert proof.subject == "ana@example.com"
    assert verify(webhook(), events=[ticket], subject="data.nothing").subject is None
    assert verify(webhook(), events=[ticket], subject="length(data.nothing)").subject is None


def test_a_signed_body_that_is_not_json_is_still_theirs():
    signature = accept.sign("msg_1", SENT_AT, "hello", SECRET)
    sent = webhook(body=b"hello", webhook_id="msg_1", webhook_signature=signature)
    assert verify(sent, subject="data.id").subject is None
