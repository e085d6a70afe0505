"""Does each thing that Zendesk tells become the right event, and garbage nothing worse than unreadable?"""

import json
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from gateway_plugins.zendesk import convert
from gateway_plugins.zendesk.collect import read_snapshot
from hypothesis import given
from hypothesis import strategies as st

from gateway.api import (
    CommentCreated,
    Contact,
    ContactUpdated,
    Priority,
    Snapshot,
    Status,
    Ticket,
    TicketAssigned,
    TicketCreated,
    TicketDeleted,
    TicketMerged,
    TicketRef,
    TicketStatusChanged,
    TicketTagged,
    TicketUpdated,
    UnreadableWebhook,
    Unrecognized,
    Webhook,
    parse_event,
)

REF = TicketRef("zd", "4711")
AT = datetime(2026, 11, 21, 14, 10, 0, 120345, tzinfo=UTC)
FIXTURES = sorted(path.stem for path in (Path(__file__).parent / "fixtures").glob("*.json"))


@pytest.fixture
def read(told, connection):
    def events(name, collected=None, before=None, **changes):
        return convert.events(told(name, **changes), collected, before, connection)

    return events


@pytest.fixture
def only(read):
    def event(*args, **given):
        (single,) = read(*args, **given)
        return single

    return event


def test_a_new_ticket_has_what_the_envelope_tells_and_nothing_else(only):
    event = only("created")
    assert isinstance(event, TicketCreated)
    assert event.id == "created:4711"
    assert event.actor is not None
    assert event.actor.id == "70001"
    assert not event.complete
    assert event.ticket.known() == {
        "ref": REF,
        "subject": "Invoice missing",
        "description": "I did not get the October invoice",
        "status": Status.NEW,
        "remote_status": "new",
        "priority": Priority.NORMAL,
        "remote_priority": "normal",
        "type": "question",
        "contact": Contact(id="70001"),
        "assignee": None,
        "team": "Suporte",
        "tags": frozenset({"billing"}),
        "channel": "email",
        "url": "https://acme.zendesk.com/agent/tickets/4711",
        "remote_created_at": datetime(2026, 11, 21, 14, 3, 5, tzinfo=UTC),
        "remote_updated_at": datetime(2026, 11, 21, 14, 3, 5, tzinfo=UTC),
        "deleted": False,
    }


def test_a_comment_knows_its_author_and_who_was_heard_last(only):
    event = only("comment_added")
    assert isinstance(event, CommentCreated)
    assert event.id == "comment@990001:4711"
    assert event.comment.body == "Any news?"
    assert not event.comment.is_private
    assert event.actor == event.comment.author
    assert (event.actor.name, event.actor.is_agent) == ("Ana Lima", False)
    assert event.ticket.last_customer_comment_at == AT
    assert "last_agent_comment_at" not in event.ticket.model_fields_set


@pytest.mark.parametrize("visibility", [{"is_public": False}, {}])
def test_a_comment_not_said_to_be_public_is_private(only, visibility):
    event = only("comment_added", event={"comment": {"id": 990001, "body": "psst", **visibility}})
    assert event.comment.is_private
    assert event.ticket.last_customer_comment_at is None


def test_an_agents_first_comment_is_known_as_such_where_all_earlier_ones_are(only):
    said = {
        "comment": {"id": "1", "body": "Hi", "is_public": True, "author": {"id": "80005", "is_staff": True}}
    }
    quiet = Snapshot(ticket=Ticket(ref=REF, first_agent_comment_at=None))
    assert only("comment_added", event=said, before=quiet).ticket.first_agent_comment_at == AT
    assert "first_agent_comment_at" not in only("comment_added", event=said).ticket.model_fields_set


def test_what_we_wrote_ourselves_is_no_agents_answer(only, collected, connection):
    author = {"id": "90001", "is_staff": True, "name": "Gateway"}
    event = only(
        "comment_added", event={"comment": {"id": "1", "body": "Hi", "is_public": True, "author": author}}
    )
    assert "last_agent_comment_at" not in event.ticket.model_fields_set
    collected["users"].append({"id": 90001, "name": "Gateway", "role": "admin"})
    collected["comments"][3]["author_id"] = 90001
    assert read_snapshot(collected, None, connection).ticket.last_agent_comment_at is None


def test_a_status_change_has_both_sides_in_both_words(only):
    event = only("status_changed")
    assert isinstance(event, TicketStatusChanged)
    assert (event.old, event.new) == (Status.OPEN, Status.RESOLVED)
    assert (event.old_remote, event.new_remote) == ("open", "solved")
    assert event.ticket.status is Status.RESOLVED
    assert event.ticket.resolved_at == AT
    assert event.occurred_at == AT


def test_on_hold_waits_for_us(only):
    event = only("status_changed", event={"previous": "PENDING", "current": "HOLD"})
    assert (event.old, event.new) == (Status.PENDING, Status.ON_HOLD)


def test_an_unknown_status_is_kept_in_zendesks_word(only):
    event = only("status_changed", event={"previous": "OPEN", "current": "SNOOZED"})
    assert (event.new, event.new_remote) == (None, "snoozed")
    assert "status" not in event.ticket.model_fields_set
    assert event.ticket.remote_status == "snoozed"


@pytest.mark.parametrize("word", ["DELETED", "SCRUBBED", "deleted"])
def test_a_deleted_status_is_a_deletion(only, word):
    event = only("status_changed", event={"previous": "OPEN", "current": word})
    assert isinstance(event, TicketDeleted)
    assert event.id == "deleted:4711"
    assert event.ticket.deleted


def test_an_archived_ticket_stays_closed(only):
    event = only("status_changed", event={"previous": "CLOSED", "current": "ARCHIVED"})
    assert isinstance(event, TicketUpdated)
    assert (event.ticket.status, event.ticket.remote_status) == (Status.CLOSED, "closed")


@pytest.mark.parametrize("name", ["soft_deleted", "permanently_deleted", "marked_as_spam"])
def test_every_way_to_lose_a_ticket_is_one_fact(only, name):
    event = only(name)
    assert isinstance(event, TicketDeleted)
    assert event.id == "deleted:4711"
    assert event.ticket.deleted


def test_a_ticket_comes_back(only):
    event = only("undeleted")
    assert isinstance(event, TicketUpdated)
    assert event.changed == ("deleted",)
    assert event.ticket.deleted is False
    assert event.ticket.status is Status.OPEN


def test_tags_come_and_go(only):
    event = only("tags_changed")
    assert isinstance(event, TicketTagged)
    assert (event.added, event.removed) == ({"vip"}, {"billing"})
    assert event.ticket.tags == {"vip"}


@pytest.mark.parametrize(
    ("tags", "read_as"), [(None, set()), ("vip billing", {"vip", "billing"}), ([], set())]
)
def test_tags_may_be_null_or_one_text(only, told, tags, read_as):
    detail = json.loads(told("created").body)["detail"]
    assert only("created", detail={**detail, "tags": tags}).ticket.tags == read_as


def test_tags_are_worked_out_where_the_detail_leaves_them_out(only):
    before = Snapshot(ticket=Ticket(ref=REF, tags=frozenset({"billing", "late"})))
    assert only("tags_changed", detail={"id": "4711"}, before=before).ticket.tags == {"late", "vip"}


def test_an_agent_is_assigned(only):
    event = only("agent_assignment_changed")
    assert isinstance(event, TicketAssigned)
    assert event.assignee.id == "80005"
    assert event.team == "Suporte"
    assert event.ticket.assignee == event.assignee


def test_an_agent_is_taken_off(only):
    event = only("agent_assignment_changed", event={"previous": "80005", "current": None})
    assert event.assignee is None
    assert event.ticket.assignee is None


def test_a_group_without_a_name_of_ours_goes_by_its_id(only):
    event = only("group_assignment_changed")
    assert isinstance(event, TicketAssigned)
    assert event.team == "8002"


def test_a_custom_field_goes_by_our_name_and_theirs(only):
    before = Snapshot(ticket=Ticket(ref=REF, custom_fields={"plan": "pro"}, remote_fields={"360002": "pro"}))
    event = only("custom_field_changed", before=before)
    assert event.changed == ("custom_fields",)
    assert event.ticket.custom_fields == {"plan": "pro", "order": "A-77"}
    assert event.ticket.remote_fields == {"360002": "pro", "360001": "A-77"}


def test_a_lookup_field_has_the_id_of_what_it_points_at(only):
    field = {"id": "360001", "title": "Order", "type": "lookup"}
    event = only("custom_field_changed", event={"custom_field": field, "current": {"id": "77"}})
    assert event.ticket.custom_fields == {"order": "77"}


@pytest.mark.parametrize(
    ("name", "changed", "field", "value"),
    [
        ("priority_changed", "priority", "priority", Priority.URGENT),
        ("type_changed", "type", "type", "incident"),
        ("subject_changed", "subject", "subject", "October invoice missing"),
        ("requester_changed", "contact", "contact", Contact(id="70002")),
        ("task_due_at_changed", "due_at", "due_at", datetime(2026, 12, 1, 12, tzinfo=UTC)),
        ("custom_status_changed", "custom_status", "status", Status.OPEN),
        ("comment_made_private", "comments", "status", Status.OPEN),
        ("email_ccs_changed", "email_ccs", "status", Status.OPEN),
        ("csat_received", "csat", "status", Status.OPEN),
    ],
)
def test_other_changes_say_which_field(only, name, changed, field, value):
    event = only(name)
    assert isinstance(event, TicketUpdated)
    assert event.changed == (changed,)
    assert getattr(event.ticket, field) == value


def test_a_change_is_news_where_the_detail_does_not_have_it(only):
    event = only("priority_changed", detail={"id": "4711"})
    assert event.ticket.known().keys() == {"ref", "url", "priority", "remote_priority"}
    assert event.ticket.priority is Priority.URGENT


def test_a_ticket_is_merged_into_another(only):
    event = only("merged")
    assert isinstance(event, TicketMerged)
    assert event.into == TicketRef("zd", "4700")
    assert event.ticket.merged_into == "4700"
    assert event.id == "merged@4700:4711"


def test_a_known_contact_and_agent_keep_their_names(only, collected, connection):
    before = read_snapshot(collected, None, connection)
    event = only("agent_assignment_changed", before=before)
    assert event.ticket.contact == before.ticket.contact
    assert event.assignee.name == "Rui Prado"


def test_a_new_phone_updates_the_contact(only):
    event = only("user.identity_created")
    assert isinstance(event, ContactUpdated)
    assert event.contact == Contact(id="70001", email="ana@customer.example", phones=("+5511987654321",))


def test_an_empty_email_is_unknown(only):
    assert only("user.name_changed").contact.known() == {"id": "70001", "name": "Ana Lima"}


def test_a_colleague_is_no_contact(only, told):
    detail = json.loads(told("user.name_changed").body)["detail"]
    assert isinstance(only("user.name_changed", detail={**detail, "role": "agent"}), Unrecognized)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("zen:event-type:ticket.teleported", "created"), ("zen:event-type:user.deleted", "user.name_changed")],
)
def test_unknown_kinds_are_kept_under_their_name(only, kind, name):
    event = only(name, type=kind)
    assert isinstance(event, Unrecognized)
    assert event.remote_kind == kind.removeprefix("zen:event-type:")


def test_an_organization_is_not_ours_to_know(only):
    assert only("organization.created").remote_kind == "organization.created"


@pytest.mark.parametrize("actor", [None, "", "0", 0, "-1"])
def test_nobody_is_nobody(only, told, actor):
    detail = json.loads(told("status_changed").body)["detail"]
    assert only("status_changed", detail={**detail, "actor_id": actor}).actor is None


def test_without_a_time_it_happened_when_it_came(only, told):
    assert only("status_changed", time=None).occurred_at == told("created").received_at


# --- with the ticket read back --------------------------------------------------------------------


def test_the_collected_ticket_is_read_in_full(collected, connection):
    snapshot = read_snapshot(collected, None, connection)
    ticket = snapshot.ticket
    assert (ticket.status, ticket.remote_status) == (Status.ON_HOLD, "hold")
    assert ticket.contact == Contact(
        id="70001", name="Ana Lima", email="ana@customer.example", phones=("+5511987654321",),
        custom_fields={"cpf": "00000000191"},
    )  # fmt: skip
    assert (ticket.assignee.name, ticket.assignee.is_agent) == ("Rui Prado", True)
    assert ticket.custom_fields == {"order": "A-77", "plan": None}
    assert ticket.remote_fields == {"360001": "A-77", "360002": None}
    assert ticket.url == "https://acme.zendesk.com/agent/tickets/4711"
    assert ticket.first_agent_comment_at == ticket.last_agent_comment_at == snapshot.comments[3].created_at
    assert ticket.last_customer_comment_at == snapshot.comments[1].created_at
    assert [comment.is_private for comment in snapshot.comments] == [False, False, True, False]
    assert [comment.author.is_agent for comment in snapshot.comments] == [False, False, True, True]
    first = snapshot.comments[0]
    assert "script" not in first.html
    assert first.attachments[0].name == "invoice.pdf"


def test_a_callers_number_is_a_phone(collected, connection):
    collected["ticket"]["via"] = {"channel": "voice", "source": {"from": {"phone": "+5511900000000"}}}
    assert read_snapshot(collected, None, connection).ticket.contact.phones == (
        "+5511987654321",
        "+5511900000000",
    )


def test_a_collected_ticket_completes_the_event_which_keeps_its_own_news(only, collected, connection):
    event = only("status_changed", collected=collected)
    assert event.complete
    assert len(event.comments) == 4
    assert (event.old, event.new) == (Status.OPEN, Status.RESOLVED)
    assert event.ticket.status is Status.ON_HOLD
    assert event.ticket.contact.name == "Ana Lima"
    assert event.actor.name == "Rui Prado"


def test_a_comment_without_text_is_read_back(only, collected):
    event = only("comment_added", collected=collected, event={"comment": {"id": "990003"}})
    assert event.comment.body == "We are on it"
    assert event.actor.name == "Rui Prado"


def test_the_first_comment_is_one_fact_whether_or_not_it_is_told_again(read, collected):
    created, first = read("created", collected=collected)
    again = read("comment_added", collected=collected, event={"comment": {"id": "990000", "is_public": True}})
    assert (created.id, first.id) == ("created:4711", "comment@990000:4711")
    assert [event.id for event in again] == [first.id]


def test_a_trigger_is_read_from_what_was_collected_and_never_from_its_own_words(read, collected, connection):
    collected["ticket"]["created_at"] = "2026-11-21T14:03:05Z"
    new = read("trigger", collected=collected)
    assert [event.id for event in new] == [
        "created:4711", "comment@990000:4711", "comment@990001:4711", "comment@990002:4711",
        "comment@990003:4711",
    ]  # fmt: skip
    before = read_snapshot(collected, None, connection)
    collected["ticket"] |= {"status": "open", "updated_at": "2026-11-21T14:12:00Z"}
    (event,) = read("trigger", collected=collected, before=before)
    assert isinstance(event, TicketStatusChanged)
    assert (event.old, event.new) == (Status.ON_HOLD, Status.OPEN)
    assert event.actor.name == "Rui Prado"


def test_a_collected_ticket_needs_no_webhook(read, collected, connection):
    assert next(event.id for event in read(b"", collected=collected)) == "created:4711"
    assert read(b"", collected=collected, before=read_snapshot(collected, None, connection)) == []


def test_a_trigger_whose_ticket_was_not_collected_is_only_a_hint(only):
    event = only("trigger")
    assert isinstance(event, TicketUpdated)
    assert event.ticket.known() == {"ref": REF}


# --- garbage --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"", b"\xff", b"null", b"[]", b'"x"', b"{}", b'{"type": [], "id": {}}', b'{"ticket_id": "4',
        b'{"type": "zen:event-type:ticket.created", "id": "e1"}',
        b'{"type": "zen:event-type:ticket.created", "id": "e\\u0000", "subject": "zen:ticket:1"}',
        b'{"type": "zen:event-type:ticket.comment_added", "id": "e1", "subject": "zen:ticket:1"}',
        b'{"type": "zen:event-type:ticket.merged", "id": "e1", "subject": "zen:ticket:1", "event": {}}',
        b'{"type": "zen:event-type:ticket.created", "id": "e1", "subject": "zen:ticket:1", "time": 5}',
        b'{"type": "x", "id": "e1", "time": "0001-01-01T00:00:00+14:00"}',
        b'{"type": "zen:event-type:user.created", "id": "e1"}',
        b"[" * 5000,
    ],
)  # fmt: skip
def test_garbage_is_unreadable(read, body):
    with pytest.raises(UnreadableWebhook, match="Zendesk"):
        read(body)


def test_a_collected_answer_of_another_shape_is_unreadable(read):
    with pytest.raises(UnreadableWebhook):
        read(b"", collected={"ticket": {}})


@pytest.mark.parametrize("name", [name for name in FIXTURES if name != "collected"])
def test_every_fixture_gives_the_same_storable_events_each_time(read, name):
    events = read(name)
    assert events
    assert events == read(name)
    assert [parse_event(event.model_dump(mode="json")).id for event in events] == [
        event.id for event in events
    ]


leaves = st.none() | st.booleans() | st.integers(-2, 10**20) | st.floats() | st.text(max_size=8)
values = st.recursive(
    leaves | st.sampled_from(["4711", "OPEN", "2026-11-21T14:10:00Z", "-1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "id",
                    "comment",
                    "author",
                    "current",
                    "previous",
                    "value",
                    "custom_field",
                    "identity",
                    "role",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)
kinds = st.sampled_from(sorted({*convert.OWN_EVENTS, *convert.UPDATES, "strange"})).map(
    "zen:event-type:ticket.".__add__
)
fields = st.sampled_from(
    ["id", "status", "priority", "type", "tags", "requester_id", "assignee_id", "group_id", "via",
     "created_at", "updated_at", "due_at", "subject", "actor_id", "custom_fields", "email", "name", "role"]
)  # fmt: skip


@given(
    kinds | st.just("zen:event-type:user.identity_created") | st.text(max_size=10),
    st.dictionaries(fields, values, max_size=8) | values,
    values,
    values,
)
def test_no_envelope_does_worse_than_being_unreadable(connection, told, kind, detail, event, time):
    body = {
        "id": "e1",
        "type": kind,
        "subject": "zen:ticket:4711",
        "detail": detail,
        "event": event,
        "time": time,
    }
    received_at = told("created").received_at
    webhook = Webhook({}, json.dumps(body).encode(), received_at=received_at)
    with suppress(UnreadableWebhook):
        for converted in convert.events(webhook, None, None, connection):
            converted.model_dump_json()


@given(
    st.binary(max_size=60),
    st.none() | st.fixed_dictionaries({"ticket": values, "users": values, "comments": values}),
)
def test_no_bytes_and_no_collected_answer_do_worse_than_being_unreadable(connection, told, body, collected):
    webhook = Webhook({}, body, received_at=told("created").received_at)
    with suppress(UnreadableWebhook):
        convert.events(webhook, collected, None, connection)
