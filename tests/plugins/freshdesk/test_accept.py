"""Does only Freshdesk get in, however its key comes, and is what it sends addressed to the right ticket?"""

import base64

import pytest
from gateway_plugins import freshdesk
from hypothesis import given
from hypothesis import strategies as st

from gateway.api import Webhook, WebhookRejected

BODY = b'{"freshdesk_webhook":{"event":"note_added","ticket_id":"4711"}}'


def basic(user, password):
    return {"authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}


def verify(connection, headers=None, query=None, body=BODY):
    webhook = Webhook(headers=headers or {}, body=body, query=query or {})
    return freshdesk.verify_webhook(webhook=webhook, connection=connection)


@pytest.mark.parametrize("key", ["new-key", "old-key"])
@pytest.mark.parametrize("way", [
    lambda key: {"headers": {"x-gateway-key": key}},
    lambda key: {"headers": basic("freshdesk", key)},
    lambda key: {"headers": basic(key, "X")},
    lambda key: {"headers": basic(key, "")},
    lambda key: {"query": {"key": key}},
])  # fmt: skip
def test_both_keys_are_taken_in_every_place_while_they_rotate(connection, way, key):
    assert verify(connection, **way(key)).subject == "4711"


@pytest.mark.parametrize("way", [
    {}, {"headers": {"x-gateway-key": "wrong"}}, {"headers": {"x-gateway-key": ""}}, {"query": {"key": "wrong"}},
    {"headers": basic("freshdesk", "wrong")}, {"headers": basic("wrong", "X")}, {"headers": basic("new-key", "wrong")},
    {"headers": {"authorization": "Bearer new-key"}}, {"headers": {"authorization": "Basic new-key"}},
    {"headers": {"authorization": "Basic /+8="}}, {"headers": {"x-webhook-secret": "new-key"}},
    {"headers": {"x-gateway-key": "wrong", **basic("new-key", "X")}},
    {"headers": basic("new-key", "X"), "query": {"key": "wrong"}},
])  # fmt: skip
def test_nobody_else_gets_in(connection, way):
    with pytest.raises(WebhookRejected):
        verify(connection, **way)


def test_a_withdrawn_key_is_refused(connected):
    with pytest.raises(WebhookRejected):
        verify(connected(hook_key="new-key"), query={"key": "old-key"})


def test_every_hint_counts_and_must_be_collected(connection):
    verified = verify(connection, query={"key": "new-key"})
    assert (verified.delivery_id, verified.sent_at, verified.thin) == (None, None, True)


def test_a_deletion_needs_no_reading(connection, fixture):
    verified = verify(connection, query={"key": "new-key"}, body=fixture("deleted.json"))
    assert (verified.subject, verified.thin) == ("4711", False)


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"\xff", b'{"freshdesk_webhook":[]}', b'"x"', b"[" * 9999]
)
def test_what_cannot_be_read_is_authentic_all_the_same(connection, body):
    verified = verify(connection, query={"key": "new-key"}, body=body)
    assert (verified.subject, verified.thin) == (None, False)


@given(st.binary(max_size=200))
def test_whatever_has_the_key_is_let_in(connection, body):
    verified = verify(connection, {"x-gateway-key": "new-key"}, body=body)
    assert verified.thin is (verified.subject is not None)


@given(st.text(max_size=40), st.text(max_size=40), st.binary(max_size=40))
def test_garbage_is_refused_and_nothing_worse(connection, key, authorization, body):
    with pytest.raises(WebhookRejected):
        verify(connection, {"x-gateway-key": key, "authorization": authorization}, {"key": key}, body)
    with pytest.raises(WebhookRejected):
        verify(connection, {"authorization": f"Basic {authorization}"}, body=body)
