"""Is nothing let in without the key, and nothing believed but the ticket's id?"""

import json
from contextlib import suppress
from datetime import UTC

import pytest
from gateway_plugins.movidesk import accept, verify_webhook
from hypothesis import given
from hypothesis import strategies as st

from gateway.api import Webhook, WebhookRejected


def test_every_fixture_is_accepted_as_a_hint_about_its_ticket(fixture, hook, connection):
    body = json.dumps(fixture("comment_public")["webhook"]).encode()
    verified = verify_webhook(hook(body), connection)
    assert (verified.subject, verified.thin, verified.sent_at) == ("50812", True, None)


@pytest.mark.parametrize("key", [None, "", "wrong", "new-key ", "NEW-KEY"])
def test_without_a_valid_key_it_is_rejected(hook, connection, key):
    with pytest.raises(WebhookRejected):
        verify_webhook(hook(b'{"Id": 1}', key=key), connection)


@pytest.mark.parametrize("key", ["new-key", "old-key"])
def test_both_keys_are_accepted_while_they_rotate(hook, connection, key):
    assert verify_webhook(hook(b'{"Id": 1}', key=key), connection).subject == "1"


@pytest.mark.parametrize("body", [
    b'{"Id": 50812}', b'{"id": "50812"}', b'{"TicketId": 50812}', b'{"ticketId": "50812"}',
    b'{"Ticket.Id": 50812}',
    b'{"Ticket": {"Id": 50812}}', b'{"ID": " 050812 "}', b'{"Id": 0, "TicketId": 50812}',
    '{"Id": 50812, "Subject": "não"}'.encode("utf-16"), b'\xef\xbb\xbf{"Id": 50812}',
])  # fmt: skip
def test_the_id_is_found_however_it_is_written(body):
    assert accept.ticket_id(body) == "50812"


@pytest.mark.parametrize("body", [
    b"", b"\xff", b"null", b"[]", b'"x"', b"{}", b'{"Id": 0}', b'{"Id": true}', b'{"Id": -3}', b'{"Id": 1.5}',
    b'{"Id": null}', b'{"Id": {"Id": 1}}', b'{"Id": "1 or 1=1"}', b'{"Id": "../persons"}', b'{"Id": 1, ',
    b'{"Id": "' + b"9" * 40 + b'"}', b"[" * 100_000, '{"Id": "٣"}'.encode(),
])  # fmt: skip
def test_without_an_id_the_key_still_proves_it(hook, connection, body):
    verified = verify_webhook(hook(body), connection)
    assert verified.thin
    assert verified.subject is None


def test_every_hint_counts_since_two_changes_may_have_the_same_body(hook, connection):
    assert verify_webhook(hook(b'{"Id": 1}'), connection).delivery_id is None


def test_a_head_request_needs_the_key_too(connection):
    with pytest.raises(WebhookRejected):
        verify_webhook(Webhook({}, b"", method="HEAD"), connection)
    assert verify_webhook(Webhook({}, b"", {"key": "old-key"}, method="HEAD"), connection).subject is None


NAMES = st.sampled_from(["Id", "id", "TicketId", "Ticket", "Ticket.Id"])
PAYLOADS = st.recursive(
    st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner)
)


@given(
    body=st.binary() | PAYLOADS.map(lambda value: json.dumps(value).encode()),
    key=st.text() | st.just("new-key"),
    headers=st.dictionaries(st.sampled_from(["authorization", "x-gateway-key"]), st.text()),
    moment=st.datetimes(timezones=st.none() | st.just(UTC)),
)
def test_garbage_is_rejected_at_worst(connection, body, key, headers, moment):
    with suppress(WebhookRejected):
        verified = verify_webhook(Webhook(headers, body, {"key": key}, moment), connection)
        assert verified.subject is None or verified.subject.isdecimal()
