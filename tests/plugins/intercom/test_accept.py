"""Does only Intercom get in, and is what it sends named and addressed rightly?"""

import json
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from gateway_plugins.intercom import accept
from hypothesis import given
from hypothesis import strategies as st

from gateway.api import Webhook, WebhookRejected

AT = datetime(2025, 11, 21, 14, 3, 7, tzinfo=UTC)
VECTOR = (
    '{"type":"notification_event","app_id":"abc123","id":"notif_00000000-0000-4000-8000-000000000001","topic":"ping",'
    '"data":{"type":"notification_event_data","item":{"type":"ping","message":"olá ✓"}},"created_at":1763733787}'
).encode()


def signed(body, secret="a-secret", **headers):
    return Webhook(
        headers={accept.SIGNATURE: accept.sign(body, secret), **headers}, body=body, received_at=AT
    )


def test_the_known_vector_is_signed_alike():
    assert accept.sign(VECTOR, "c1ient-5ecret-for-tests") == "sha1=9a1108cccd273e0845c0636ebc981e10a1431460"


def test_the_raw_bytes_count_not_what_they_mean(connected):
    respaced = json.dumps(json.loads(VECTOR), ensure_ascii=False).encode()
    assert json.loads(respaced) == json.loads(VECTOR)
    webhook = Webhook({accept.SIGNATURE: accept.sign(VECTOR, "a-secret")}, respaced, received_at=AT)
    with pytest.raises(WebhookRejected, match="signature"):
        accept.verify(webhook, connected())


@pytest.mark.parametrize(
    "claimed",
    [None, "", "sha1=", "9a1108cccd273e0845c0636ebc981e10a1431460", "sha1=" + "0" * 40, "sha256=x", "é"],
)
def test_without_its_signature_nothing_gets_in(connected, claimed):
    headers = {} if claimed is None else {accept.SIGNATURE: claimed}
    with pytest.raises(WebhookRejected):
        accept.verify(Webhook(headers, VECTOR, received_at=AT), connected())


def test_one_altered_byte_is_refused(connected):
    proof = accept.sign(VECTOR, "a-secret")
    altered = VECTOR.replace(b"abc123", b"abc124")
    with pytest.raises(WebhookRejected, match="signature"):
        accept.verify(Webhook({accept.SIGNATURE: proof}, altered, received_at=AT), connected())


def test_both_secrets_count_while_one_replaces_the_other(connected):
    connection = connected(client_secret=["the-new-one", "the-old-one"])
    for secret in ("the-new-one", "the-old-one"):
        assert accept.verify(signed(VECTOR, secret), connection)
    with pytest.raises(WebhookRejected):
        accept.verify(signed(VECTOR, "a-third"), connection)


def test_another_workspace_of_the_same_app_is_refused(connected):
    with pytest.raises(WebhookRejected, match="app_id"):
        accept.verify(signed(VECTOR), connected(app_id="other1"))


@pytest.mark.parametrize(
    ("name", "subject", "thin"),
    [
        ("conversation.user.created", "215000000000001", False),
        ("conversation.deleted", "215000000000001", False),
        ("conversation.contact.attached", "215000000000001", True),
        ("conversation_part.tag.created", "215000000000001", False),
        ("v1.conversation.admin.replied", "215000000000001", False),
        ("ticket.created", "ticket:215000000000009", False),
        ("ticket.admin.replied", "ticket:215000000000009", False),
        ("ticket.closed", "ticket:215000000000009", False),
        ("contact.user.created", None, False),
        ("ping", None, False),
    ],
)
def test_what_it_is_about_is_read_before_it_is_converted(connected, told, name, subject, thin):
    webhook = told(name)
    body = json.loads(webhook.body)
    verified = accept.verify(signed(webhook.body), connected())
    assert (verified.subject, verified.thin) == (subject, thin)
    assert verified.sent_at == datetime.fromtimestamp(body["created_at"], UTC)


def test_a_notification_is_named_by_its_id_and_its_retry_is_the_same_one(connected, told):
    body = json.loads(told("conversation.user.created").body)
    retried = json.dumps(body | {"delivery_attempts": 2}).encode()
    names = {
        accept.verify(signed(raw), connected()).delivery_id for raw in (json.dumps(body).encode(), retried)
    }
    assert names == {body["id"]}


def test_a_ping_has_no_id_and_is_named_by_its_bytes(connected, told):
    one, other = told("ping").body, told("ping").body + b" "
    names = [accept.verify(signed(raw), connected()).delivery_id for raw in (one, one, other)]
    assert names[0] == names[1] != names[2]


@pytest.mark.parametrize(
    "body", [b"", b"\xff", b"null", b"[]", b'"x"', b"{", b"[" * 100_000, b'{"topic": NaN}']
)
def test_what_is_signed_but_unreadable_is_kept(connected, body):
    verified = accept.verify(signed(body), connected())
    assert (verified.subject, verified.thin) == (None, False)
    assert verified.delivery_id


ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    topic=ANY_JSON
    | st.sampled_from(["conversation.user.created", "ticket.created", "conversation.contact.attached"]),
    item=ANY_JSON
    | st.fixed_dictionaries({}, optional={"id": ANY_JSON, "ticket": ANY_JSON, "conversation": ANY_JSON}),
    rest=st.fixed_dictionaries({}, optional={"id": ANY_JSON, "created_at": ANY_JSON}),
)
def test_whatever_is_signed_gets_a_name_and_perhaps_a_subject(connected, topic, item, rest):
    body = json.dumps({"topic": topic, "data": {"item": item}, **rest}).encode()
    verified = accept.verify(signed(body), connected())
    assert verified.delivery_id
    assert verified.subject is None or len(verified.subject) <= 71


@given(body=st.binary(max_size=300), secret=st.text(min_size=1, max_size=40), claimed=st.text(max_size=60))
def test_only_the_right_signature_opens(connected, body, secret, claimed):
    connection = connected(client_secret=secret)
    right = accept.sign(body, secret)
    with suppress(WebhookRejected):
        accept.verify(Webhook({accept.SIGNATURE: claimed}, body, received_at=AT), connection)
        assert claimed == right
    assert accept.verify(Webhook({accept.SIGNATURE: right}, body, received_at=AT), connection)
