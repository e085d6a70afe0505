"""Is the ticket's id found in every body that Freshdesk may send, and nothing believed that a customer may write?"""

import json

import pytest
from gateway_plugins.freshdesk.hint import Change, Hint, decimal, read, read_change
from hypothesis import given
from hypothesis import strategies as st

STATUS = Change("status", "2", "4")


@pytest.mark.parametrize(("name", "kind", "change"), [
    ("created.json", "ticket_action", Change("ticket_action", None, "created")),
    ("note_private.json", "note_type", Change("note_type", None, "private")),
    ("note_public.json", "note_type", Change("note_type", None, "public")),
    ("status_changed.json", "status", STATUS),
    ("priority_changed.json", "priority", Change("priority", "2", "3")),
    ("assigned.json", "responder_id", Change("responder_id", "43000003", "43000002")),
    ("tags_changed.json", "tags_changed", None),
    ("customer_replied.json", "customer_replied", None),
    ("advanced.json", "note_added", Change("note_type", None, "private")),
    ("without_wrapper.json", "something_of_their_own", None),
    ("unquoted.txt", None, None),
])  # fmt: skip
def test_the_ticket_is_named_in_every_shape(fixture, name, kind, change):
    assert read(fixture(name)) == Hint("4711", change, kind)


def test_a_body_may_be_about_no_ticket(fixture):
    assert read(fixture("without_ticket.json")) == Hint(None, None, "sla_report")


@pytest.mark.parametrize(("told", "change"), [
    ("{ticket_action:update}", Change("ticket_action", None, "update")),
    ("{status:{from:2,to:4}}", STATUS),
    (" { status : { from : 2 , to : 4 } } ", STATUS),
    ("{status:{to:4,from:2}}", STATUS),
    ('{"status":{"from":"2","to":"4"}}', STATUS),
    ({"status": {"from": 2, "to": 4}}, STATUS),
    ("status:{from:2,to:4}", STATUS),
    ("{status:{from:2,to:4}},{priority:{from:1,to:2}}", STATUS),
    ("{status:{from:2,to:4}", STATUS),
    ("{responder_id:{from:,to:43000002}}", Change("responder_id", None, "43000002")),
    ("{responder_id:{from:null,to:--}}", Change("responder_id", None, None)),
    ("{reply_sent:sent}", Change("reply_sent", None, "sent")),
    ("{who:{knows:1,what:2}}", Change("who", None, None)),
    ("{note_type:}", Change("note_type", None, None)),
    ("", None), ("{}", None), ("{:}", None), ("--", None), (None, None), (7, None), ([], None),
])  # fmt: skip
def test_pseudo_json_is_read_with_tolerance(told, change):
    assert read_change(told) == change


@pytest.mark.parametrize(("value", "id_"), [
    (4711, "4711"), ("4711", "4711"), (" 4711 ", "4711"), ("04711", "4711"), (2**40, "1099511627776"), (0, None),
    ("0", None), (-1, None), (True, None), (1.0, None), ("4711a", None), ("", None), (None, None), ([], None),
    (10**30, None), ("9" * 30, None), ("4\u0967", None),
])  # fmt: skip
def test_an_id_is_a_number_or_a_text_of_digits(value, id_):
    assert decimal(value) == id_


@pytest.mark.parametrize(("body", "id_"), [
    (b'{"ticket_id":4711,"x":}', "4711"), (b'"ticket_id" : "4711" oops', "4711"),
    (b'\xff{"ticket_id":"0004711', "4711"), (b'{"ticket_id":"","x":}', None),
    (b'{"ticket_id":99999999999999999999,x}', None),
    (b'{"id":4711,}', None), (b"", None), (b"{", None), (b"[" * 9999, None), (b'{"ticket_id":' + b"9" * 9999, None),
])  # fmt: skip
def test_the_id_is_found_in_broken_json(body, id_):
    assert read(body) == Hint(ticket_id=id_)


def body_of(**said):
    return json.dumps({"freshdesk_webhook": {"ticket_id": "4711", **said}}).encode()


@pytest.mark.parametrize("said", [
    {"event": "ticket_deleted"}, {"event": "Ticket_Deleted", "helpdesk": "Acme"},
    {"event": "", "triggered_event": "{ticket_action:delete}"}, {"triggered_event": "{ticket_action:deleted}"},
])  # fmt: skip
def test_a_deletion_is_believed_where_no_customer_can_have_written_it(said):
    assert read(body_of(**said)).deletes


@pytest.mark.parametrize("body", [
    body_of(event="ticket_deleted", ticket_subject="x"),
    body_of(triggered_event="{ticket_action:delete}", subject='a","event":"b'),
    body_of(event="note_added", triggered_event="{note_type:delete}"),
    b'{"freshdesk_webhook":{"ticket_id":"4711","event":"ticket_deleted",}}',
    b'{"freshdesk_webhook":{"event":"ticket_deleted"}}',
])  # fmt: skip
def test_a_deletion_is_not_believed_elsewhere(body):
    assert not read(body).deletes


@given(st.binary(max_size=300))
def test_any_bytes_are_read(body):
    assert read(body).ticket_id is None or read(body).ticket_id.isdecimal()


@given(st.text("{}:,\"' fromtst24ae", max_size=80))
def test_any_pseudo_json_is_read(told):
    change = read_change(told)
    assert change is None or change.field.strip()


@given(st.from_regex(r"[a-z_]{1,20}", fullmatch=True), st.integers(0, 10**14), st.integers(0, 10**14))
def test_what_freshdesk_is_known_to_write_is_read_as_it_was_meant(field, old, new):
    assert read_change(f"{{{field}:{{from:{old},to:{new}}}}}") == Change(field, str(old), str(new))
    assert read_change(f"{{{field}:{new}}}") == Change(field, None, str(new))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(("ticket_id", "event", "triggered_event"), anything)))
def test_any_json_of_the_right_names_is_read(said):
    for body in (said, {"freshdesk_webhook": said}):
        hint = read(json.dumps(body).encode())
        assert hint.kind is not None
        assert hint.ticket_id is None or hint.ticket_id.isdecimal()
