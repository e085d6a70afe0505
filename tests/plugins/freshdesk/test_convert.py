"""Is what was read back told in our words, once, and as news only where it is news?"""

import copy
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from gateway_plugins import freshdesk
from gateway_plugins.freshdesk import convert, marker
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.api import Event, Person, Priority, Snapshot, Status, UnreadableWebhook, parse_event
from gateway.model.event import CommentCreated

SEEN = datetime(2026, 11, 21, 14, 10, 2, tzinfo=UTC)
LONG_AFTER = SEEN + timedelta(days=30)


@pytest.fixture(scope="session")
def converted(connection, hook, fixture):
    def convert_(name, collected=None, before=None, at=SEEN):
        body = name if isinstance(name, bytes) else fixture(name)
        webhook = hook(body, received_at=at)
        return freshdesk.convert_webhook(
            webhook=webhook, collected=collected, before=before, connection=connection
        )

    return convert_


def changed(collected, **fields):
    other = copy.deepcopy(collected)
    other["ticket"] |= {"updated_at": "2026-11-21T14:09:00Z", **fields}
    return other


# --- the ticket ---------------------------------------------------------------------------------------------


def test_the_ticket_is_read_in_our_words(collected, connection):
    ticket = convert.snapshot(collected, None, connection).ticket
    assert str(ticket.ref) == "ticket:fd:4711"
    assert (ticket.subject, ticket.description) == ("Nota fiscal não chegou", "Não recebi a nota de março.")
    assert (ticket.status, ticket.remote_status) == (Status.PENDING, "Pending")
    assert (ticket.priority, ticket.remote_priority) == (Priority.HIGH, "High")
    assert (ticket.type, ticket.channel, ticket.team) == ("Question", "email", "Financeiro")
    assert ticket.tags == {"cobrança", "vip"}
    assert ticket.custom_fields == {"phone": None, "plan": "Pro"}
    assert ticket.remote_fields["cf_order"] == "A-77"
    assert (ticket.remote_fields["company_id"], ticket.remote_fields["is_escalated"]) == (51, True)
    assert ticket.url == "https://acme.freshdesk.com/a/tickets/4711"
    assert ticket.remote_updated_at == datetime(2026, 11, 21, 14, 3, 7, tzinfo=UTC)
    assert ticket.due_at == datetime(2026, 11, 23, 13, 6, tzinfo=UTC)
    assert (ticket.resolved_at, ticket.deleted) == (None, False)
    assert ticket.contact.phones == ("(11) 3555-0199", "+1-340-041-7522x10143")
    assert (ticket.contact.id, ticket.contact.company) == ("43000101", "Cliente Ltda")
    assert ticket.assignee == Person(
        id="43000002", name="Ana Dias", email="ana.dias@desk.example", is_agent=True
    )


def test_what_was_said_is_read_with_who_said_it(collected, connection):
    comments = {int(c.id) % 100: c for c in convert.snapshot(collected, None, connection).comments}
    reply, note, answer, other = (comments[number] for number in (1, 2, 3, 4))
    assert (reply.body, reply.is_private, reply.author.name) == ("Olá Rui,\njá vejo.", False, "Ana Dias")
    assert reply.html == "<div>Olá Rui,<br>já <b>vejo</b>.</div>"
    assert reply.attachments[0].name == "nota.pdf"
    assert (note.is_private, note.author.is_agent) == (True, True)
    assert (answer.is_private, answer.author.is_agent, answer.author.email) == (
        False,
        False,
        "rui@cliente.example",
    )
    assert "script" not in answer.html
    assert (other.author.name, other.author.email, other.author.is_agent) == (
        "Eva Lima",
        "eva@cliente.example",
        False,
    )


def test_what_is_no_customers_and_no_agents_word_is_not_taken_for_one(collected, connection):
    snapshot = convert.snapshot(collected, None, connection)
    comments = {int(c.id) % 100: c for c in snapshot.comments}
    assert 5 not in comments, "feedback on a survey is not a message"
    assert comments[6].is_private, "what was forwarded is no answer to the customer"
    assert comments[7].author == Person(id="43000003"), "an automation is neither agent nor customer"
    ticket = snapshot.ticket
    assert (
        ticket.first_agent_comment_at
        == ticket.last_agent_comment_at
        == datetime(2026, 11, 21, 10, tzinfo=UTC)
    )
    assert ticket.last_customer_comment_at == datetime(2026, 11, 21, 11, 30, tzinfo=UTC)


def test_our_own_note_is_ours_and_no_rule_sees_its_mark(collected, connection):
    ours = convert.snapshot(collected, None, connection).comments[-1]
    assert ours.author.id in connection.settings.own_ids()
    assert ours.body == "Falta o telefone."
    assert "gw:" not in ours.html


@pytest.mark.parametrize(("number", "label", "status"), [
    (2, "Open", Status.OPEN), (3, "Pending", Status.PENDING), (4, "Resolved", Status.RESOLVED),
    (5, "Closed", Status.CLOSED), (6, "Waiting on Customer", Status.PENDING),
    (7, "Aguardando peça", Status.ON_HOLD), (8, "Agendado", None), (99, "99", None),
])  # fmt: skip
def test_statuses_have_our_word_where_there_is_one(collected, connection, number, label, status):
    collected |= {"statuses": {"8": "Agendado"}}
    ticket = convert.snapshot(changed(collected, status=number), None, connection).ticket
    assert (ticket.remote_status, ticket.status) == (label, status)


@pytest.mark.parametrize(("fields", "expected"), [
    ({"priority": 9}, {"priority": None, "remote_priority": "9"}), ({"source": 101}, {"channel": "101"}),
    ({"source": 13}, {"channel": "whatsapp"}), ({"type": None}, {"type": None}), ({"group_id": 77}, {"team": "77"}),
    ({"group_id": None}, {"team": None}), ({"responder_id": None}, {"assignee": None}),
    ({"spam": True}, {"deleted": True}),
    ({"responder_id": 5}, {"assignee": Person(id="5", is_agent=True)}), ({"deleted": True}, {"deleted": True}),
    ({"tags": None}, {"tags": frozenset()}),
    ({"description_text": None}, {"description": "Não recebi a nota de março."}),
    ({"created_at": "2012-10-03T01:17:06+10:00"}, {"remote_created_at": datetime(2012, 10, 2, 15, 17, 6, tzinfo=UTC)}),
    ({"stats": {"closed_at": "2026-11-21T14:00:00Z"}}, {"closed_at": datetime(2026, 11, 21, 14, tzinfo=UTC)}),
])  # fmt: skip
def test_unusual_values_never_fail(collected, connection, fields, expected):
    ticket = convert.snapshot(changed(collected, **fields), None, connection).ticket
    assert {name: getattr(ticket, name) for name in expected} == expected


def test_a_ticket_and_a_word_of_nobody_are_nobodys(collected, connection):
    nobodys = changed(collected, requester_id=None, requester=None)
    nobodys["conversations"] = [{"id": 43000000001, "user_id": None, "body": "<b>Oi</b>"}]
    snapshot = convert.snapshot(nobodys, None, connection)
    assert (snapshot.ticket.contact, snapshot.comments[0].author) == (None, None)
    assert (snapshot.comments[0].body, snapshot.comments[0].is_private) == ("Oi", True)


def test_only_what_was_said_is_known(connection):
    known = convert.snapshot({"ticket": {"id": 4711, "status": 2}}, None, connection).ticket.known()
    assert not known.keys() & {"subject", "tags", "contact", "assignee", "team", "priority", "custom_fields"}


def test_an_id_alone_does_not_make_us_forget_the_requester(collected, connection):
    before = convert.snapshot(collected, None, connection)
    later = changed(collected)
    del later["ticket"]["requester"], later["ticket"]["company"]
    assert convert.snapshot(later, before, connection).ticket.contact == before.ticket.contact
    later["ticket"]["requester_id"] = 43000999
    assert convert.snapshot(later, before, connection).ticket.contact.known() == {"id": "43000999"}


# --- the events ---------------------------------------------------------------------------------------------


def kinds(found):
    return [event.kind for event in found]


def test_a_new_ticket_is_told_with_all_that_was_said_on_it(collected, converted):
    found = converted("created.json", collected)
    assert kinds(found) == ["ticket.created"] + 7 * ["comment.created"]
    assert found[0].id == "created:4711"
    assert all(event.complete for event in found)


def test_the_same_reading_tells_nothing_twice(collected, converted, connection):
    before = convert.snapshot(collected, None, connection)
    assert converted("advanced.json", collected, before) == []


@pytest.mark.parametrize(("fields", "kind"), [
    ({"status": 4}, "ticket.status_changed"), ({"priority": 4}, "ticket.updated"), ({"tags": ["vip"]}, "ticket.tagged"),
    ({"responder_id": 43000003}, "ticket.assigned"), ({"group_id": 8001}, "ticket.assigned"),
    ({"deleted": True}, "ticket.deleted"), ({"custom_fields": {"cf_plan": "Basic"}}, "ticket.updated"),
    ({"subject": "Outro"}, "ticket.updated"),
])  # fmt: skip
def test_each_change_is_told_by_its_own_event(collected, converted, connection, fields, kind):
    before = convert.snapshot(collected, None, connection)
    found = converted("advanced.json", changed(collected, **fields), before)
    assert kinds(found) == [kind]
    assert found == converted("status_changed.json", changed(collected, **fields), before), (
        "whatever the hint says"
    )


def test_a_change_is_by_whoever_wrote_in_the_same_moment_but_never_by_us(collected, converted, connection):
    before = convert.snapshot(collected, None, connection)
    for author, actor in ((43000002, "43000002"), (43000101, "43000101"), (43000001, None)):
        later = changed(collected, status=4)
        row = {
            "id": 43000000009,
            "user_id": author,
            "incoming": author == 43000101,
            "private": False,
            "source": 0,
        }
        later["conversations"].append(row | {"body_text": "Pronto", "created_at": "2026-11-21T14:08:59Z"})
        said, status = converted("advanced.json", later, before)
        assert (said.kind, said.actor.id) == ("comment.created", str(author))
        assert (status.actor.id if status.actor else None) == actor


def test_a_ticket_that_we_opened_is_told_as_ours(collected, converted):
    ours = changed(collected, tags=["core", marker.tag("act-1")])
    created = converted("created.json", ours)[0]
    assert created.actor.id == "43000001"
    assert created.ticket.tags == {"core"}


def test_a_reading_that_was_overtaken_tells_only_what_was_said(collected, converted, connection):
    newer = convert.snapshot(changed(collected, status=4), None, connection)
    assert converted("advanced.json", collected, newer) == []
    late = copy.deepcopy(collected)
    late["conversations"].append(
        {"id": 43000000099, "user_id": 43000101, "incoming": True, "private": False, "body_text": "Oi"}
    )
    assert kinds(converted("advanced.json", late, newer)) == ["comment.created"]


def test_the_change_that_an_old_ticket_is_first_heard_of_by_is_news(collected, converted):
    later = changed(collected, status=4)
    found = converted("status_changed.json", later, at=LONG_AFTER)
    assert kinds(found) == ["ticket.updated", "ticket.status_changed"]
    assert (found[1].old, found[1].new, found[1].old_remote) == (Status.OPEN, Status.RESOLVED, "Open")
    assigned = converted("assigned.json", later, at=LONG_AFTER)
    assert kinds(assigned) == ["ticket.updated", "ticket.assigned"]
    assert assigned[1].assignee.name == "Ana Dias"


@pytest.mark.parametrize(
    "name", ["note_public.json", "priority_changed.json", "unquoted.txt", "tags_changed.json"]
)
def test_other_hints_add_nothing_to_a_first_reading(collected, converted, name):
    assert kinds(converted(name, collected, at=LONG_AFTER)) == ["ticket.updated"]


@pytest.mark.parametrize("triggered", [
    "{status:{from:2,to:9}}", "{status:{from:2,to:x}}", "{status:nonsense}", "{status:{from:2,to:5}}", "{status:}",
    "{responder_id:{from:1,to:2}}",
])  # fmt: skip
def test_a_hint_that_the_reading_does_not_bear_out_is_left_alone(collected, converted, triggered):
    body = json.dumps({"freshdesk_webhook": {"ticket_id": 4711, "triggered_event": triggered}}).encode()
    assert kinds(converted(body, changed(collected, status=4), at=LONG_AFTER)) == ["ticket.updated"]


def test_a_changed_status_first_heard_of_is_the_same_fact_as_one_compared(collected, converted, connection):
    later = changed(collected, status=4)
    before = convert.snapshot(collected, None, connection)
    (compared,) = converted("advanced.json", later, before)
    assert converted("status_changed.json", later, at=LONG_AFTER)[1].id == compared.id


# --- nothing was read back ----------------------------------------------------------------------------------


def test_a_deletion_is_told_without_a_reading(converted):
    (deleted,) = converted("deleted.json")
    assert (deleted.kind, deleted.id, deleted.ticket.deleted) == ("ticket.deleted", "deleted:4711", True)


def test_a_hint_without_a_reading_says_that_there_was_one(converted):
    (hint,) = converted("status_changed.json")
    assert (hint.kind, hint.ticket.known().keys()) == ("ticket.updated", {"ref"})
    assert converted("status_changed.json") == [hint]
    assert converted("status_changed.json", at=LONG_AFTER)[0].id != hint.id


def test_what_is_about_no_ticket_is_kept(converted):
    (kept,) = converted("without_ticket.json")
    assert (kept.kind, kept.remote_kind) == ("unrecognized", "sla_report")
    assert converted(b"{}")[0].remote_kind == "?"


@pytest.mark.parametrize("body", [b"", b"\xff", b"null", b"[]", b'"x"', b"{", b"[" * 9999])
def test_garbage_is_unreadable(converted, body):
    with pytest.raises(UnreadableWebhook):
        converted(body)


@pytest.mark.parametrize("collected", [
    {}, [], "x", 7, {"ticket": None}, {"ticket": {}}, {"ticket": {"id": "x"}}, {"ticket": {"id": 1, "tags": 5}},
    {"ticket": {"id": 1, "created_at": "soon"}}, {"ticket": {"id": 1}, "conversations": [{}]},
    {"ticket": {"id": 1, "status": [], "subject": {}}}, {"ticket": {"id": 1}, "conversations": [{"id": "a"}]},
])  # fmt: skip
def test_a_reading_of_another_shape_is_unreadable(converted, collected):
    with pytest.raises(UnreadableWebhook):
        converted("advanced.json", collected)


# --- whatever comes -----------------------------------------------------------------------------------------

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12) | st.just("2026-11-21T14:03:07Z"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
SHAPE = json.loads((Path(__file__).parent / "fixtures/collected.json").read_bytes())


@given(
    st.dictionaries(st.sampled_from(sorted(SHAPE["ticket"])), anything, max_size=5),
    st.dictionaries(st.sampled_from(sorted(SHAPE["conversations"][0])), anything, max_size=4),
)
def test_any_reading_is_told_or_unreadable(converted, fields, row):
    collected = copy.deepcopy(SHAPE)
    collected["ticket"] |= fields
    collected["conversations"][0] |= row
    try:
        found = converted("status_changed.json", collected, at=LONG_AFTER)
    except UnreadableWebhook:
        return
    assert found == converted("status_changed.json", collected, at=LONG_AFTER)
    assert all(parse_event(event.model_dump(mode="json")).id == event.id for event in found)


@given(st.binary(max_size=200))
def test_any_body_is_told_or_unreadable(converted, body):
    try:
        (event,) = converted(body)
    except UnreadableWebhook:
        return
    assert isinstance(event, Event)


MOMENTS = [f"2026-11-21T14:09:{second:02}Z" for second in range(4)]
steps = st.lists(
    st.tuples(st.sampled_from(MOMENTS), st.sampled_from([2, 3, 4, 5]), st.sampled_from([1, 2, 3, 4])),
    min_size=1, max_size=4, unique_by=lambda step: step[0],
)  # fmt: skip


@settings(max_examples=60)
@given(steps, st.randoms())
def test_readings_in_any_order_never_tell_a_step_back(converted, connection, steps, chance):
    """The later of two readings wins, whichever is told first."""
    readings = []
    for at, status, priority in steps:
        reading = copy.deepcopy(SHAPE)
        reading["ticket"] |= {"updated_at": at, "status": status, "priority": priority}
        readings.append(reading)
    chance.shuffle(readings)
    before: Snapshot | None = None
    for reading in readings:
        told = converted("advanced.json", reading, before)
        after = convert.snapshot(reading, before, connection)
        if before is not None and after.ticket.remote_updated_at < before.ticket.remote_updated_at:
            assert all(isinstance(event, CommentCreated) for event in told)
        else:
            before = after
    newest = max(readings, key=lambda reading: reading["ticket"]["updated_at"])
    assert before == convert.snapshot(newest, None, connection)
