"""Is a sender believed by its own kind of signature, password or key exactly when it is right?"""

import base64
import hashlib
import hmac
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from gateway_plugins import generic
from gateway_plugins.generic.proof import Hmac, key_bytes, pieces
from gateway_plugins.generic.signature import sign
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from gateway.api import Connection, Verified, Webhook, WebhookRejected
from gateway.registry import assemble

SENT_AT = datetime(2026, 9, 14, tzinfo=UTC)
SECONDS = str(int(SENT_AT.timestamp()))
BODY = '{"event": "form.submitted", "id": "São Paulo"}'.encode()
SECRET = "a-secret-of-the-sender"
EVENT = {"when": "event", "event": "form.submitted", "id": "id", "fields": {"form.id": "id"}}
PLAIN = {"kind": "hmac", "header": "X-Signature"}
STAMPED = {"kind": "hmac", "header": "X-Signature", "timestamp": {"header": "X-Time"}}
STRIPE = {"kind": "hmac", "header": "Stripe-Signature", "part": "v1", "timestamp": {"part": "t"}}
SLACK = {
    "kind": "hmac", "header": "X-Slack-Signature", "prefix": "v0=",
    "timestamp": {"header": "X-Slack-Request-Timestamp"}, "signed": ["v0:{timestamp}:", "{body}"],
}  # fmt: skip


def connection(proof: Any, *secrets: str, **settings: Any) -> Connection[Any]:
    told = {"events": [EVENT], "proof": proof, "secret": list(secrets or (SECRET,)), **settings}
    return Connection("acme", "forms", "generic", generic.Settings.model_validate(told))


def verify(proof: Any, headers: dict[str, str], *secrets: str, **sent: Any) -> Verified:
    webhook = Webhook(headers, **{"body": BODY, "received_at": SENT_AT, **sent})
    return assemble({"generic": generic}, {}).ask(
        "generic", "verify_webhook", webhook=webhook, connection=connection(proof, *secrets)
    )


def refused(proof: Any, headers: dict[str, str], *secrets: str, **sent: Any) -> str:
    with pytest.raises(WebhookRejected) as refusal:
        verify(proof, headers, *secrets, **sent)
    return str(refusal.value)


def digest(message: bytes, algorithm: str = "sha256", secret: bytes = SECRET.encode()) -> bytes:
    return hmac.new(secret, message, algorithm).digest()


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
@pytest.mark.parametrize("encoding", ["hex", "base64"])
@pytest.mark.parametrize("prefix", ["", "sha256="])
def test_header_algorithm_encoding_and_prefix_are_what_the_settings_say(algorithm, encoding, prefix):
    proof = {**PLAIN, "algorithm": algorithm, "encoding": encoding, "prefix": prefix}
    raw = digest(BODY, algorithm)
    told = raw.hex() if encoding == "hex" else base64.b64encode(raw).decode()
    found = verify(proof, {"x-signature": prefix + told})
    assert found == Verified(delivery_id=hashlib.sha256(BODY).hexdigest())
    assert refused(proof, {"x-signature": prefix + told}, body=BODY + b" ") == "wrong signature"
    assert refused(proof, {"x-signature": prefix + told}, "another-secret") == "wrong signature"
    assert refused(proof, {"x-signature": "other=" + told}) == "wrong signature"
    assert "no x-signature header" in refused(proof, {})


def test_hexadecimal_digits_may_be_large_and_both_secrets_are_believed_while_one_replaces_the_other():
    assert verify(PLAIN, {"x-signature": digest(BODY).hex().upper()}, "new", SECRET)


@pytest.mark.parametrize(
    ("encoding", "secret"), [("hex", "00ff10"), ("base64", "AP8Q"), ("base64", "AP8QAA")]
)
def test_a_secret_may_be_the_key_in_hexadecimal_or_base64(encoding, secret):
    proof = {**PLAIN, "secret_encoding": encoding}
    key = bytes([0, 255, 16, 0][: 3 if len(secret) != 6 or encoding == "hex" else 4])
    assert verify(proof, {"x-signature": digest(BODY, secret=key).hex()}, secret)


@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_a_secret_that_is_not_what_it_should_be_is_refused_when_saved_and_not_told(encoding):
    with pytest.raises(ValidationError, match=f"the secret is not {encoding}") as refusal:
        connection({**PLAIN, "secret_encoding": encoding}, "not-a-key!")
    assert "not-a-key!" not in str(refusal.value)


@pytest.mark.parametrize(
    ("proof", "headers"),
    [
        (STAMPED, {"x-time": SECONDS, "x-signature": digest(f"{SECONDS}.".encode() + BODY).hex()}),
        (STRIPE, {"stripe-signature": f"t={SECONDS},v1={digest(f'{SECONDS}.'.encode() + BODY).hex()},v0=no"}),
        (
            SLACK,
            {
                "x-slack-request-timestamp": SECONDS,
                "x-slack-signature": "v0=" + digest(f"v0:{SECONDS}:".encode() + BODY).hex(),
            },
        ),
    ],
)
def test_a_signed_timestamp_makes_old_messages_stale(proof, headers):
    assert verify(proof, headers).sent_at == SENT_AT
    assert verify(proof, headers, received_at=SENT_AT + timedelta(seconds=300))
    assert "stale" in refused(proof, headers, received_at=SENT_AT + timedelta(seconds=301))
    assert "stale" in refused(proof, headers, received_at=SENT_AT - timedelta(seconds=301))
    later = {name: value.replace(SECONDS, str(int(SECONDS) + 60)) for name, value in headers.items()}
    assert refused(proof, later) == "wrong signature"


@pytest.mark.parametrize("unit", ["milliseconds", "either", "iso"])
def test_the_timestamp_is_in_the_unit_that_the_settings_say(unit):
    stamp = "2026-09-14T00:00:00Z" if unit == "iso" else f"{SECONDS}000"
    proof = {**STAMPED, "timestamp": {"header": "X-Time", "unit": unit}}
    headers = {"x-time": stamp, "x-signature": digest(f"{stamp}.".encode() + BODY).hex()}
    assert verify(proof, headers).sent_at == SENT_AT
    bad = {"x-time": "soon", "x-signature": digest(b"soon." + BODY).hex()}
    assert f"the timestamp is not {unit}" in refused(proof, bad)


def test_any_of_several_signatures_may_be_the_right_one_and_a_message_may_not_have_two_times():
    right = digest(f"{SECONDS}.".encode() + BODY).hex()
    assert verify(STRIPE, {"stripe-signature": f"t={SECONDS},v1={'0' * 64},v1={right}"})
    assert "more than one" in refused(STRIPE, {"stripe-signature": f"t={SECONDS},t=1,v1={right}"})
    assert refused(STRIPE, {"stripe-signature": f"t={SECONDS}"}) == "wrong signature"


MERCADO_PAGO = {
    "kind": "hmac", "header": "x-signature", "part": "v1",
    "timestamp": {"part": "ts", "unit": "either", "tolerance_seconds": None},
    "signed": [
        ["id:{query:data.id};", "request-id:{header:x-request-id};", "ts:{timestamp};"],
        ["id:{query:data.id|lower};", "request-id:{header:x-request-id};", "ts:{timestamp};"],
    ],
}  # fmt: skip
READ_BACK = {
    "collect": {"path": "/p/{{ id }}", "hint": True},
    "subject": "id",
    "base_url": "https://x.example",
}


def test_a_manifest_leaves_out_the_pieces_that_did_not_come():
    proof = Hmac.model_validate(MERCADO_PAGO)
    message = f"id:7;ts:{SECONDS}000;"
    told = {"x-signature": f"ts={SECONDS}000,v1={sign(message.encode(), proof, SecretStr(SECRET))}"}
    webhook = Webhook(told, BODY, {"data.id": "7"}, SENT_AT)
    given_connection = connection(MERCADO_PAGO, **READ_BACK)
    assert generic.verify_webhook(webhook, given_connection).thin
    forged = Webhook(told, BODY, {"data.id": "8"}, SENT_AT)
    with pytest.raises(WebhookRejected):
        generic.verify_webhook(forged, given_connection)


def test_a_signature_that_leaves_out_the_body_proves_only_hints():
    assert not Hmac.model_validate(MERCADO_PAGO).covers_body
    with pytest.raises(ValidationError, match="only hints are proved"):
        connection(MERCADO_PAGO)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"signed": ["{body"]}, r"known are \{body\}"),
        ({"signed": ["{header}"]}, r"known are \{body\}"),
        ({"signed": ["fixed"]}, "nothing of what was sent"),
        ({"signed": ["{timestamp}{body}"]}, "go together"),
        ({"timestamp": {"header": "X-Time"}, "signed": ["{body}"]}, "go together"),
        ({"timestamp": {}}, "in which `header`"),
        ({"timestamp": {"header": "a", "part": "b"}}, "in which `header`"),
        ({"header": "two words"}, "should match pattern"),
        ({"algorithm": "md5"}, "sha1"),
    ],
)
def test_a_proof_that_cannot_work_is_refused_when_it_is_saved(changes, complaint):
    with pytest.raises(ValidationError, match=complaint):
        connection({**PLAIN, **changes})


def basic(text: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(text.encode()).decode()}


def test_user_and_password_must_both_be_right():
    proof = {"kind": "basic", "user": "acme"}
    assert verify(proof, basic(f"acme:{SECRET}"))
    assert verify(proof, basic("acme:a:b"), "a:b")
    for wrong in ("acme:other", f"other:{SECRET}", "acme", "", f":{SECRET}"):
        assert refused(proof, basic(wrong)) == "wrong user or password"
    for garbage in ({}, {"authorization": "Bearer x"}, {"authorization": "Basic é"}):
        assert "authorization" in refused(proof, garbage)


@pytest.mark.parametrize("sent", [{"query": {"key": SECRET}}, {}])
def test_a_key_comes_in_the_query_or_as_a_password(sent):
    headers = {} if sent else basic(f"anyone:{SECRET}")
    assert verify("key", headers, **sent)
    assert "wrong key" in refused("key", headers, "another", **sent)
    assert "no key" in refused("key", {})


@pytest.mark.parametrize(
    "value",
    [
        SECRET,
        f"Bearer {SECRET}",
        *(basic(text)["authorization"] for text in (SECRET, f"{SECRET}:", f"x:{SECRET}")),
    ],
)
def test_a_key_comes_in_a_header_of_the_senders_choice_in_any_of_the_usual_forms(value):
    proof = {"kind": "key", "header": "Authorization"}
    assert verify(proof, {"authorization": value})
    assert refused(proof, {"authorization": value}, "another") == "wrong key"
    assert "no authorization header" in refused(proof, {})


@pytest.mark.parametrize("proof", ["key", {"kind": "basic", "user": "acme"}])
def test_without_a_name_the_same_words_are_the_same_message_unless_they_only_hint(proof):
    headers = basic(f"acme:{SECRET}")
    assert verify(proof, headers).delivery_id == verify(proof, headers).delivery_id
    assert verify(proof, headers).delivery_id != verify(proof, headers, body=BODY + b" ").delivery_id
    hints = connection(proof, **READ_BACK)
    assert generic.verify_webhook(Webhook(headers, BODY, received_at=SENT_AT), hints).delivery_id is None


def test_the_sender_may_name_its_messages():
    named = connection("key", delivery="join('|', [event, id])")
    webhook = Webhook({"x-gateway-key": SECRET}, BODY, received_at=SENT_AT)
    assert generic.verify_webhook(webhook, named).delivery_id == "form.submitted|São Paulo"


def test_a_connection_that_only_calls_takes_no_webhooks():
    requests = {"add_tags": {"method": "PUT", "path": "/t/{{ ticket.id }}", "body": {"tags": "= tags"}}}
    settings = generic.Settings.model_validate({"requests": requests, "base_url": "https://x.example"})
    with pytest.raises(WebhookRejected, match="takes no webhooks"):
        generic.verify_webhook(Webhook({}, BODY), Connection("acme", "erp", "generic", settings))


PROOFS = [PLAIN, STAMPED, STRIPE, SLACK, "key", {"kind": "key", "header": "authorization"}]
NAMES = ["x-signature", "x-time", "stripe-signature", "x-slack-signature", "authorization", "x-gateway-key"]


@given(
    st.sampled_from([*PROOFS, {"kind": "basic", "user": "acme"}]),
    st.dictionaries(
        st.sampled_from(NAMES), st.text(max_size=80) | st.sampled_from(["Basic é", "t=1,v1=", ","])
    ),
    st.binary(max_size=200),
)
def test_nothing_forged_is_believed_and_nothing_else_is_raised(proof, headers, body):
    with pytest.raises(WebhookRejected):
        generic.verify_webhook(Webhook(headers, body, received_at=SENT_AT), connection(proof))


@given(
    st.binary(max_size=300),
    st.integers(0, 10**9),
    st.sampled_from([PLAIN, STAMPED, STRIPE, SLACK]),
    st.data(),
)
def test_what_is_signed_by_the_settings_is_believed_and_one_changed_byte_is_not(body, seconds, told, data):
    proof = Hmac.model_validate(told)
    stamp = str(seconds)
    message = b"".join(
        body if piece.what == "body" else stamp.encode() if piece.what else piece.text.encode()
        for manifest in proof.manifests[0]
        for piece in pieces(manifest)
    )
    claim = proof.prefix + sign(message, proof, SecretStr(SECRET))
    headers = {proof.header: f"t={stamp},v1={claim}" if proof.part else claim}
    if proof.timestamp and proof.timestamp.header:
        headers[proof.timestamp.header] = stamp
    sent_at = datetime.fromtimestamp(seconds, UTC)
    assert generic.verify_webhook(Webhook(headers, body, received_at=sent_at), connection(told))
    changed = bytearray(body or b"x")
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(WebhookRejected):
        generic.verify_webhook(Webhook(headers, bytes(changed), received_at=sent_at), connection(told))


@given(st.text(max_size=40) | st.text("{}boydtimesaphrquw:|l", max_size=30))
def test_any_piece_of_a_manifest_is_read_or_refused(text):
    found = []
    with suppress(ValueError):
        found = pieces(text)
    assert "".join(piece.text for piece in found) in text
    assert all(piece.what in {"", "body", "timestamp", "header", "query"} for piece in found)


@given(st.text(max_size=40), st.sampled_from(["text", "hex", "base64"]))
def test_any_secret_is_a_key_or_refused_without_being_told(secret, encoding):
    key, said = b"", f"the secret is not {encoding}"
    try:
        key = key_bytes(secret, encoding)
    except ValueError as error:
        said = str(error)
    assert isinstance(key, bytes)
    assert said == f"the secret is not {encoding}"
