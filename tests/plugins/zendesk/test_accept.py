"""Does only Zendesk get in, and is what it sends named and addressed rightly?"""

import hashlib
import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from gateway_plugins.zendesk import accept
from hypothesis import given
from hypothesis import strategies as st

from gateway.api import Webhook, WebhookRejected

SENT = "2026-11-21T14:03:07Z"
SENT_AT = datetime(2026, 11, 21, 14, 3, 7, tzinfo=UTC)
BODY = (
    b'{"id":"7c0e6f0a-2f0c-4a53-9d52-2a2b6f6f1d10","type":"zen:event-type:ticket.status_changed",'
    b'"subject":"zen:ticket:4711"}'
)


def signed(body, secret="a-secret", sent_at=SENT, received_at=SENT_AT, **headers):
    proof = {accept.SIGNATURE: accept.sign(sent_at, body, secret), accept.TIMESTAMP: sent_at}
    return Webhook(headers={**proof, **headers}, body=body, received_at=received_at)


@pytest.mark.parametrize(
    ("body", "signature"),
    [
        (BODY, "v6c4RKHgWx9LNZoCnI3/MgT+p3202Rh73xZjgSQHz5A="),
        (b"", "tgh0t2Wxqig1UUfz6D3ZnncFqP+lRT2R/modJ+OADMU="),
    ],
)
def test_published_vectors_are_signed_alike(body, signature):
    assert accept.sign(SENT, body, accept.TEST_SECRET) == signature


def test_a_decoded_secret_is_wrong(connected):
    headers = {accept.SIGNATURE: "4el68BE3Q0EjTgIWnfCOjQ1/UJ0lAzSedm+za7Ew5Pc=", accept.TIMESTAMP: SENT}
    webhook = Webhook(headers=headers, body=BODY, received_at=SENT_AT)
    with pytest.raises(WebhookRejected, match="signature"):
        accept.verify(webhook, connected(signing_secret=accept.TEST_SECRET))


def test_an_event_is_named_by_its_signed_id_and_addressed_to_its_ticket(connected):
    verified = accept.verify(signed(BODY, **{accept.INVOCATION: "01HANA"}), connected())
    assert verified.delivery_id == "7c0e6f0a-2f0c-4a53-9d52-2a2b6f6f1d10"
    assert verified.subject == "4711"
    assert verified.sent_at == SENT_AT
    assert not verified.thin


def test_the_ticket_is_found_in_the_detail_where_the_subject_is_missing(connected):
    body = b'{"id":"e1","type":"zen:event-type:ticket.created","detail":{"id":"4711"}}'
    assert accept.verify(signed(body), connected()).subject == "4711"


def test_a_user_event_is_about_no_ticket(connected):
    body = (
        b'{"id":"e1","type":"zen:event-type:user.created","subject":"zen:user:70001","detail":{"id":"70001"}}'
    )
    assert accept.verify(signed(body), connected()).subject is None


def test_a_comment_without_its_text_must_be_collected(connected, told):
    body = json.loads(told("comment_added").body)
    assert not accept.verify(signed(json.dumps(body).encode()), connected()).thin
    del body["event"]["comment"]["body"]
    assert accept.verify(signed(json.dumps(body).encode()), connected()).thin


def test_a_trigger_only_hints_and_is_named_by_its_invocation(connected, told):
    verified = accept.verify(signed(told("trigger").body, **{accept.INVOCATION: "01HANA"}), connected())
    assert (verified.delivery_id, verified.subject, verified.thin) == ("01HANA", "4711", True)


def test_a_trigger_without_invocation_is_named_by_ticket_time_and_body(connected, told):
    body = told("trigger").body
    name = accept.verify(signed(body), connected()).delivery_id
    assert name == f"4711:2026-11-21T14:10Z:{hashlib.sha256(body).hexdigest()}"
    assert accept.verify(signed(body + b" "), connected()).delivery_id != name


def test_a_numeric_ticket_id_in_a_trigger_is_as_good_as_a_text(connected):
    assert accept.verify(signed(b'{"ticket_id": 4711}'), connected()).subject == "4711"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"\xff",
        b'{"ticket_id": "47',
        b'{"ticket_id": "-"}',
        b'{"type": [], "id": {}}',
        b"[" * 9999,
    ],
)
def test_what_cannot_be_read_is_authentic_all_the_same(connected, body):
    verified = accept.verify(signed(body), connected())
    assert verified.subject is None
    assert verified.delivery_id


@pytest.mark.parametrize("position", [0, 40, len(BODY) - 1])
def test_one_altered_byte_is_refused(connected, position):
    webhook = signed(BODY)
    altered = bytearray(BODY)
    altered[position] ^= 1
    with pytest.raises(WebhookRejected, match="signature"):
        accept.verify(Webhook(webhook.headers, bytes(altered), received_at=SENT_AT), connected())


def test_an_altered_timestamp_is_refused(connected):
    webhook = signed(BODY)
    headers = {**webhook.headers, accept.TIMESTAMP: "2026-11-21T14:03:08Z"}
    with pytest.raises(WebhookRejected, match="signature"):
        accept.verify(Webhook(headers, BODY, received_at=SENT_AT), connected())


@pytest.mark.parametrize("missing", [accept.SIGNATURE, accept.TIMESTAMP])
def test_a_missing_header_is_refused_by_name(connected, missing):
    headers = {name: value for name, value in signed(BODY).headers.items() if name != missing}
    with pytest.raises(WebhookRejected, match=missing):
        accept.verify(Webhook(headers, BODY, received_at=SENT_AT), connected())


@pytest.mark.parametrize("skew", [-301, 301])
def test_a_replay_outside_the_window_is_refused(connected, skew):
    with pytest.raises(WebhookRejected, match="stale"):
        accept.verify(signed(BODY, received_at=SENT_AT + timedelta(seconds=skew)), connected())


def test_the_window_is_a_setting(connected):
    late = signed(BODY, received_at=SENT_AT + timedelta(seconds=301))
    assert accept.verify(late, connected(tolerance_seconds=600)).subject == "4711"


@pytest.mark.parametrize("sent_at", ["1234", "yesterday", "0001-01-01T00:00:00+14:00"])
def test_a_signed_time_that_is_none_is_refused(connected, sent_at):
    with pytest.raises(WebhookRejected):
        accept.verify(signed(BODY, sent_at=sent_at), connected())


def test_both_secrets_count_while_they_rotate(connected):
    rotating = connected(signing_secret=["new-secret", "a-secret"])
    assert accept.verify(signed(BODY), rotating)
    assert accept.verify(signed(BODY, secret="new-secret"), rotating)
    with pytest.raises(WebhookRejected):
        accept.verify(signed(BODY), connected(signing_secret="new-secret"))


def test_the_public_test_secret_counts_only_where_it_was_asked_for(connected):
    test = signed(BODY, secret=accept.TEST_SECRET)
    with pytest.raises(WebhookRejected):
        accept.verify(test, connected())
    assert accept.verify(test, connected(accept_test_secret=True))


def test_another_account_is_refused(connected, told):
    body = told("created").body
    assert accept.verify(signed(body), connected(account_id=9001001))
    with pytest.raises(WebhookRejected, match="account"):
        accept.verify(signed(body), connected(account_id=9001002))


@given(st.binary(max_size=200))
def test_whatever_is_signed_is_let_in(connected, body):
    from_anywhere = Webhook(
        {accept.SIGNATURE: accept.sign(SENT, body, "a-secret"), accept.TIMESTAMP: SENT},
        body,
        received_at=SENT_AT,
    )
    verified = accept.verify(from_anywhere, connected())
    assert verified.delivery_id
    assert len(verified.delivery_id) <= 300
    assert verified.delivery_id.isprintable()


@given(st.binary(max_size=100), st.text(max_size=60), st.text(max_size=40))
def test_garbage_is_refused_and_nothing_worse(connected, body, signature, sent_at):
    webhook = Webhook({accept.SIGNATURE: signature, accept.TIMESTAMP: sent_at}, body, received_at=SENT_AT)
    with pytest.raises(WebhookRejected):
        accept.verify(webhook, connected())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


@given(
    st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(
            ("id", "type", "subject", "detail", "event", "ticket_id", "updated_at", "account_id"), json_values
        ),
    )
)
def test_any_json_of_the_right_names_is_at_worst_another_accounts(connected, body):
    webhook = signed(json.dumps(body).encode())
    with suppress(WebhookRejected):
        verified = accept.verify(webhook, connected(account_id=9001001))
        assert verified.subject is None or verified.subject.isdecimal()
