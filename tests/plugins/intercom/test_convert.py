"""Does every topic, in either generation and either format, tell the right facts in our words, each of them once?"""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from gateway_plugins.intercom import topics
from gateway_plugins.intercom.convert import events
from gateway_plugins.intercom.reading import snapshot
from hypothesis import given
from hypothesis import strategies as st

from gateway.api import (
    CommentCreated,
    Contact,
    Person,
    Priority,
    Snapshot,
    Status,
    Ticket,
    TicketAssigned,
    TicketCreated,
    TicketDeleted,
    TicketKind,
    TicketRef,
    TicketStatusChanged,
    TicketTagged,
    TicketUpdated,
    UnreadableWebhook,
    Unrecognized,
    Webhook,
    parse_event,
)

REF, TICKET = TicketRef("ic", "215000000000001"), TicketRef("ic", "ticket:215000000000009")
ANA, RUI = "66aa00000000000000000001", "701"
RECEIVED = datetime(2025, 11, 21, 14, 10, 2, tzinfo=UTC)
FIXTURES = sorted(path.stem for path in (Path(__file__).parent / "fixtures").glob("[!c]*.json")) + sorted(
    path.stem for path in (Path(__file__).parent / "fixtures").glob("con*.json")
)


@pytest.fixture(scope="session")
def convert(told, connection):
    def converted(name, before=None, collected=None, **changes):
        return events(told(name, **changes), collected, before, connection)

    return converted


def known(ref=REF, **fields):
    return Snapshot(ticket=Ticket(ref=ref, **fields))


def at(seconds):
    return datetime.fromtimestamp(seconds, UTC)


# --- conversations --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["conversation.user.created", "v1.conversation.user.created"])
def test_a_new_conversation_is_a_ticket_and_its_first_message_a_comment(convert, name):
    created, said = convert(name)
    assert isinstance(created, TicketCreated)
    assert isinstance(said, CommentCreated)
    assert (created.id, said.id) == (f"created:{REF.id}", f"comment@0-source-5001:{REF.id}")
    assert said.comment.id < "1", "parts of the same second come after it"
    ticket = created.ticket
    assert (ticket.ref, ticket.kind, ticket.status) == (REF, TicketKind.CONVERSATION, Status.OPEN)
    assert (ticket.subject, ticket.description) == ("Invoice missing", "Invoice missing")
    assert ticket.contact.known() == {"id": ANA, "name": "Ana Lima", "email": "ana@customer.example"}
    assert (ticket.assignee, ticket.tags) == (None, frozenset())
    assert created.occurred_at == at(1763733780)
    assert (said.comment.body, said.comment.is_private) == ("Invoice missing", False)
    assert said.comment.author.id == created.actor.id == ANA
    assert said.comment.author.is_agent is False


def test_of_a_conversation_everything_told_is_taken_in(convert):
    ticket = convert("conversation.user.created")[0].ticket
    assert ticket.custom_fields == {"order": "A-77"}
    assert ticket.remote_fields == {"Order": "A-77", "Unmapped": 3}
    assert (ticket.priority, ticket.remote_priority) == (Priority.NORMAL, "not_priority")
    assert ticket.channel == "messenger"
    assert (
        ticket.url == "https://app.intercom.com/a/inbox/abc123/inbox/shared/all/conversation/215000000000001"
    )
    assert ticket.remote_created_at == ticket.waiting_since == at(1763733780)
    assert ticket.snoozed_until is None
    assert "team" in ticket.known()


def test_html_becomes_text_and_dangerous_html_harmless(convert):
    created, said = convert("conversation.user.created.html")
    assert created.ticket.subject == "Invoice"
    assert created.ticket.channel == "email"
    assert said.comment.body == "Invoice missing\nOctober"
    assert "script" not in said.comment.html
    assert "<b>missing</b>" in said.comment.html


def test_plain_text_is_left_alone(convert, told):
    source = json.loads(told("conversation.user.created").body)["data"]["item"]["source"]
    said = convert("conversation.user.created", source={**source, "body": "is 3 < 4 & 5 > 2?\n<b> is bold"})[
        1
    ]
    assert said.comment.body == "is 3 < 4 & 5 > 2?\n<b> is bold"
    assert said.comment.html is None


def test_a_title_is_the_subject_and_long_first_words_are_cut_between_words(convert, told):
    assert (
        convert("conversation.user.created", title="Boleto &amp; nota")[0].ticket.subject == "Boleto & nota"
    )
    source = json.loads(told("conversation.user.created").body)["data"]["item"]["source"]
    cut = convert("conversation.user.created", source={**source, "body": "palavra " * 30})[0].ticket.subject
    assert cut.endswith("palavra…")
    assert len(cut) <= 81


def test_a_teammates_first_message_is_a_teammates(convert):
    created, said = convert("conversation.admin.single.created")
    assert created.actor.id == said.comment.author.id == RUI
    assert said.comment.author.is_agent
    assert created.ticket.contact.id == ANA


@pytest.mark.parametrize(
    ("name", "part", "body", "author", "is_agent", "private"),
    [
        ("conversation.user.replied", "9001", "Any news?", ANA, False, False),
        ("conversation.admin.replied", "9002", "On it", RUI, True, False),
        ("v1.conversation.admin.replied", "9002", "On it", RUI, True, False),
        ("conversation.admin.noted", "9003", "check ERP", RUI, True, True),
        ("conversation.operator.replied", "9009", "Fin here", "990", None, False),
    ],
)
def test_replies_and_notes_are_comments(convert, name, part, body, author, is_agent, private):
    (event,) = convert(name)
    assert isinstance(event, CommentCreated)
    assert event.id == f"comment@{part}:{REF.id}"
    assert (event.comment.body, event.comment.is_private) == (body, private)
    assert (event.actor.id, event.actor.is_agent) == (author, is_agent)
    assert event.ticket.status is Status.OPEN


def test_who_was_heard_last_is_told_but_never_by_notes_or_robots(convert):
    assert convert("conversation.user.replied")[0].ticket.last_customer_comment_at == at(1763733900)
    replied = convert("conversation.admin.replied", known(first_agent_comment_at=None))[0].ticket
    assert replied.first_agent_comment_at == replied.last_agent_comment_at == at(1763733960)
    assert "first_agent_comment_at" not in convert("conversation.admin.replied")[0].ticket.known()
    for name in ("conversation.admin.noted", "conversation.operator.replied"):
        assert "last_agent_comment_at" not in convert(name)[0].ticket.known()


def test_our_own_reply_is_no_agents_answer(convert, told):
    part = json.loads(told("conversation.admin.replied").body)["data"]["item"]["conversation_parts"]
    part["conversation_parts"][0]["author"]["id"] = "700"
    (event,) = convert("conversation.admin.replied", conversation_parts=part)
    assert event.actor.id == "700"
    assert "last_agent_comment_at" not in event.ticket.known()


def test_a_reply_that_assigns_is_a_comment_and_an_assignment(convert):
    comment, assigned = convert("conversation.admin.replied.assignment")
    assert (comment.id, comment.comment.body) == (f"comment@9012:{REF.id}", "On it, I take this")
    assert isinstance(assigned, TicketAssigned)
    assert assigned.assignee == Person(id="701", name="Rui Alves", email="rui@desk.example", is_agent=True)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("conversation.admin.replied.assignment", "conversation.admin.assigned.reply"),
        ("conversation.admin.replied.close", "conversation.admin.closed"),
        ("ticket.state.updated", "ticket.resolved"),
        ("ticket.closed", "ticket.closed.bare"),
        ("contact.user.updated", "contact.email.updated"),
        ("conversation.admin.closed", "v1.conversation.admin.closed"),
    ],
)
def test_one_action_under_two_topics_is_the_same_facts(convert, one, other):
    facts = [sorted(event.id for event in convert(name)) for name in (one, other)]
    assert facts[0] == facts[1] != []


@pytest.mark.parametrize(
    ("name", "part", "new", "remote"),
    [
        ("conversation.admin.closed", "9005", Status.CLOSED, "closed"),
        ("v1.conversation.admin.closed", "9005", Status.CLOSED, "closed"),
        ("conversation.admin.opened", "9006", Status.OPEN, "open"),
        ("conversation.admin.snoozed", "9007", Status.ON_HOLD, "snoozed"),
        ("conversation.admin.unsnoozed", "9008", Status.OPEN, "open"),
    ],
)
def test_closing_opening_and_snoozing_change_the_status(convert, name, part, new, remote):
    before = known(status=Status.PENDING, remote_status="x")
    event = convert(name, before)[-1]
    assert isinstance(event, TicketStatusChanged)
    assert event.id == f"status@{part}:{REF.id}"
    assert (event.old, event.new, event.old_remote, event.new_remote) == (Status.PENDING, new, "x", remote)
    assert event.ticket.status is new
    assert (event.ticket.closed_at == event.occurred_at) is (new is Status.CLOSED)


def test_what_comes_late_is_not_said_to_have_changed_what_came_after(convert):
    before = known(status=Status.CLOSED, remote_status="closed", remote_updated_at=at(1763734500))
    (event,) = convert("conversation.admin.snoozed", before)
    assert (event.old, event.old_remote, event.new) == (None, None, Status.ON_HOLD)


def test_a_snoozed_conversation_is_open_too_and_comes_back_at_a_time(convert):
    ticket = convert("conversation.admin.snoozed")[0].ticket
    assert (ticket.status, ticket.snoozed_until) == (Status.ON_HOLD, at(1763800000))


def test_what_the_parts_do_not_say_the_topic_says(convert):
    nothing = {"conversation_parts": {"conversation_parts": []}}
    (closed,) = convert("conversation.admin.closed", **nothing)
    assert (closed.new, closed.id) == (Status.CLOSED, f"status@2025-11-21T14:06:30+00:00@closed:{REF.id}")
    (assigned,) = convert("conversation.admin.assigned", **nothing)
    assert (assigned.assignee.id, assigned.team) == ("702", "Suporte")
    bare = {
        "conversation_parts": {"conversation_parts": [{"id": "9005", "part_type": "comment", "body": "Bye"}]}
    }
    assert [event.kind for event in convert("conversation.admin.closed", **bare)] == [
        "comment.created",
        "ticket.status_changed",
    ]


def test_a_customers_reply_reopens(convert):
    before = known(status=Status.CLOSED, remote_status="closed")
    comment, reopened = convert("conversation.user.replied", before)
    assert (reopened.id, reopened.old, reopened.new) == (f"status@9001:{REF.id}", Status.CLOSED, Status.OPEN)
    assert comment.id == f"comment@9001:{REF.id}"
    assert len(convert("conversation.user.replied", known(status=Status.OPEN))) == 1


def test_assignments_name_teammate_and_team(convert):
    (event,) = convert("conversation.admin.assigned")
    assert event.id == f"assigned@9004:{REF.id}"
    assert (event.assignee.id, event.team, event.actor.id) == ("702", "Suporte", RUI)
    assert event.ticket.team == "Suporte"
    (old,) = convert("v1.conversation.admin.assigned")
    assert (old.id, old.team) == (event.id, "Suporte")
    assigned, opened = convert("conversation.admin.open.assigned", known(status=Status.CLOSED))
    assert (assigned.team, opened.new) == ("Suporte", Status.OPEN)


def test_the_name_of_an_assignee_is_not_forgotten(convert):
    bia = Person(id="702", name="Bia Reis", is_agent=True)
    assert convert("conversation.admin.assigned", known(assignee=bia))[0].assignee == bia


def test_the_phone_of_the_contact_is_not_forgotten(convert):
    contact = Contact(id=ANA, name="Ana", phones=("+5511935550199",))
    ticket = convert("conversation.user.replied", known(contact=contact))[0].ticket
    assert ticket.contact.phones == ("+5511935550199",)
    assert ticket.contact.name == "Ana Lima"
    other = known(contact=Contact(id="66aa0000000000000000ffff", phones=("+5511935550199",)))
    assert convert("conversation.user.replied", other)[0].ticket.contact.phones == ()


@pytest.mark.parametrize("place", ["part", "item", "tags_added", "all"])
def test_a_new_tag_is_found_wherever_it_is_told(convert, place):
    tag = {"type": "tag", "id": "55", "name": "Phone &amp; SMS"}
    listed = {"type": "tag.list", "tags": [tag]}
    part = {
        "id": "9001",
        "part_type": "comment",
        "body": "x",
        "tags": [tag] if place in ("part", "all") else [],
    }
    changes = {
        "conversation_parts": {"conversation_parts": [part]},
        "tags": listed if place in ("item", "all") else {"tags": []},
        "tags_added": listed if place in ("tags_added", "all") else None,
    }
    (event,) = convert("conversation_part.tag.created", known(tags=frozenset({"old"})), **changes)
    assert isinstance(event, TicketTagged)
    assert event.added == {"Phone & SMS"}
    assert event.ticket.tags == {"old", "Phone & SMS"}


def test_of_tags_that_were_there_only_the_new_one_is_new(convert):
    tags = {"tags": [{"name": "old"}, {"name": "billing"}]}
    (event,) = convert(
        "conversation_part.tag.created", known(tags=frozenset({"old"})), tags=tags, conversation_parts={}
    )
    assert event.added == {"billing"}
    (again,) = convert("conversation_part.tag.created", known(tags=frozenset({"old", "billing"})), tags=tags)
    assert again.added == {"Phone & SMS"}


def test_a_tag_that_is_known_already_is_no_news(convert):
    (event,) = convert("conversation_part.tag.created", known(tags=frozenset({"Phone & SMS"})))
    assert isinstance(event, TicketUpdated)
    assert event.ticket.tags == {"Phone & SMS"}


def test_whoever_wrote_what_was_tagged_is_not_whoever_tagged_it(convert):
    assert convert("conversation_part.tag.created")[0].actor is None
    by = {"id": "55", "name": "billing", "applied_by": {"type": "admin", "id": "700"}}
    part = {
        "id": "9001",
        "part_type": "comment",
        "body": "x",
        "author": {"type": "user", "id": ANA},
        "tags": [by],
    }
    told = convert("conversation_part.tag.created", conversation_parts={"conversation_parts": [part]})
    assert told[0].actor.id == "700"


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("conversation.priority.updated", "priority"),
        ("conversation.rating.added", "rating"),
        ("conversation_part.redacted", "comments"),
        ("ticket.attribute.updated", "custom_fields"),
        ("ticket.contact.attached", "contact"),
        ("conversation.contact.attached", "contact"),
    ],
)
def test_what_has_no_event_of_its_own_is_an_update(convert, name, changed):
    (event,) = convert(name)
    assert isinstance(event, TicketUpdated)
    assert event.changed == (changed,)


def test_a_priority_is_read(convert):
    assert convert("conversation.priority.updated")[0].ticket.priority is Priority.HIGH


def test_a_redacted_comment_loses_its_words(convert):
    (comment,) = convert("conversation_part.redacted")[0].comments
    assert (comment.id, comment.body) == ("9001", "")


def test_a_deleted_conversation_has_another_name_for_its_id(convert):
    (event,) = convert("conversation.deleted")
    assert isinstance(event, TicketDeleted)
    assert (event.id, event.ticket.ref, event.ticket.deleted) == (f"deleted:{REF.id}", REF, True)


@pytest.mark.parametrize(
    "part_type", sorted([*topics.UPDATES, "attribute_collected", "custom_action_started"])
)
def test_system_parts_are_no_comments_even_with_words(convert, part_type):
    part = {
        "id": "1",
        "part_type": "participant_" + part_type,
        "body": "<p>System</p>",
        "author": {"type": "bot"},
    }
    (event,) = convert("conversation.admin.replied", conversation_parts={"conversation_parts": [part]})
    assert isinstance(event, TicketUpdated)


def test_a_picture_without_words_is_a_comment(convert):
    picture = {
        "type": "upload",
        "name": "boleto.png",
        "url": "https://files.example/1",
        "content_type": "image/png",
    }
    part = {"id": "1", "part_type": "comment", "body": None, "author": {"type": "user", "id": ANA}}
    parts = {"conversation_parts": [part | {"attachments": [picture]}]}
    (event,) = convert("conversation.user.replied", conversation_parts=parts)
    assert event.comment.attachments[0].name == "boleto.png"
    assert event.comment.body == ""


def test_a_conversation_that_we_opened_in_a_contacts_name_is_ours(convert, told):
    source = json.loads(told("conversation.user.created").body)["data"]["item"]["source"]
    mark = "".join(chr(0xFE00 + digit) for digit in range(12))
    created, said = convert("conversation.user.created", source={**source, "body": f"CORE - Ana{mark}"})
    assert created.actor.id == said.comment.author.id == "700"
    assert said.comment.body == created.ticket.description == "CORE - Ana"


# --- tickets --------------------------------------------------------------------------------------


def test_a_new_ticket_is_addressed_apart_from_conversations(convert):
    (event,) = convert("ticket.created")
    assert isinstance(event, TicketCreated)
    assert event.id == f"created:{TICKET.id}"
    ticket = event.ticket
    assert (ticket.ref, ticket.kind, ticket.status) == (TICKET, TicketKind.TICKET, Status.OPEN)
    assert (ticket.subject, ticket.description, ticket.type) == ("Invoice missing", "October", "Tickets")
    assert (ticket.assignee, ticket.team, ticket.contact) == (None, None, Contact(id=ANA))
    assert ticket.custom_fields == {"order": "A-77"}
    assert "_default_title_" not in ticket.remote_fields
    assert "tags" not in ticket.known()


def test_the_first_state_of_a_ticket_is_no_change(convert):
    assert convert("ticket.state.updated.first") == []


@pytest.mark.parametrize(
    ("name", "part", "new"),
    [
        ("ticket.state.updated", "9101", Status.RESOLVED),
        ("ticket.resolved", "9101", Status.RESOLVED),
        ("ticket.closed", "9102", Status.CLOSED),
        ("ticket.closed.bare", "9102", Status.CLOSED),
    ],
)
def test_a_tickets_state_is_told_bare_or_nested(convert, name, part, new):
    (event,) = convert(name, known(TICKET, status=Status.OPEN))
    assert isinstance(event, TicketStatusChanged)
    assert (event.id, event.old, event.new) == (f"status@{part}:{TICKET.id}", Status.OPEN, new)
    assert (event.ticket.ref, event.ticket.status) == (TICKET, new)
    assert event.actor.id == RUI
    assert [comment.body for comment in event.comments] == ["Hello"]


@pytest.mark.parametrize(
    ("state", "more", "status"),
    [
        ({"category": "submitted"}, {}, Status.OPEN),
        ({"category": "in_progress"}, {}, Status.OPEN),
        ({"category": "waiting_on_customer"}, {}, Status.PENDING),
        ({"category": "resolved"}, {}, Status.RESOLVED),
        ("waiting_on_customer", {}, Status.PENDING),
        ({"category": "in_progress"}, {"open": False}, Status.CLOSED),
        ({"category": "in_progress"}, {"snoozed_until": 1763800000}, Status.ON_HOLD),
        ({"category": "in_progress"}, {"snoozed_until": 1763700000}, Status.OPEN),
        ({"category": "invented_since"}, {}, None),
    ],
)
def test_every_state_of_a_ticket_has_a_status(convert, state, more, status):
    ticket = convert("ticket.created", ticket_state=state, **more)[0].ticket
    assert ticket.status is status
    assert ticket.remote_status


@pytest.mark.parametrize(
    ("name", "part", "body", "author", "private"),
    [
        ("ticket.admin.replied", "9100", "Hello", RUI, False),
        ("ticket.contact.replied", "9103", "Thanks", ANA, False),
        ("ticket.note.created", "9104", "ask finance", RUI, True),
    ],
)
def test_replies_to_tickets_are_comments(convert, name, part, body, author, private):
    (event,) = convert(name)
    assert (event.id, event.ticket.ref) == (f"comment@{part}:{TICKET.id}", TICKET)
    assert (event.comment.body, event.comment.author.id, event.comment.is_private) == (body, author, private)


def test_a_ticket_that_is_only_named_says_nothing_of_itself(convert):
    ticket = convert("ticket.admin.replied")[0].ticket
    assert ticket.known().keys() <= {"ref", "kind", "url", "last_agent_comment_at"}


def test_tickets_are_assigned_to_teammates_and_teams(convert):
    assert convert("ticket.admin.assigned")[0].assignee.id == "702"
    (event,) = convert("ticket.team.assigned")
    assert (event.id, event.team, event.assignee) == (f"assigned@9106:{TICKET.id}", "Suporte", None)


# --- contacts and the rest ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["contact.user.created", "contact.lead.tag.created"])
def test_a_contact_is_told_with_phone_and_document(convert, name):
    (event,) = convert(name)
    assert event.contact == Contact(
        id=ANA,
        name="Ana Lima",
        email="ana@customer.example",
        phones=("+5511935550199",),
        document="52998224725",
        custom_fields={"cpf": "529.982.247-25"},
    )


def test_a_user_of_the_first_generation_is_a_contact(convert):
    (event,) = convert("v1.user.created")
    assert (event.kind, event.contact.id) == ("contact.updated", "530370b477ad7120001d")
    assert event.contact.phones == ("+5511935550199",)


def test_another_change_of_a_contact_in_the_same_second_is_another_fact(convert):
    one = convert("contact.user.updated")[0].id
    assert one != convert("contact.user.updated", phone="+5511935550100")[0].id


def test_a_deleted_contact_is_kept_as_unrecognized(convert):
    (event,) = convert("contact.deleted")
    assert isinstance(event, Unrecognized)
    assert event.remote_kind == "contact.deleted"


def test_a_ping_tells_nothing(convert):
    assert convert("ping") == []


def test_a_topic_that_nobody_knows_is_kept_by_its_name(told, connection):
    body = json.loads(told("conversation.user.created").body) | {"topic": "conversation.admin.danced"}
    body["data"]["item"] = {"type": "conversation", "id": {"odd": []}, "source": 7}
    (event,) = events(Webhook({}, json.dumps(body).encode(), received_at=RECEIVED), None, None, connection)
    assert isinstance(event, Unrecognized)
    assert event.remote_kind == "conversation.admin.danced"
    assert event.id == body["id"]


def test_every_topic_of_the_documentation_is_known():
    named = topics.ABOUT_TICKETS | topics.CONTACTS
    kinds = "admin.replied admin.noted admin.assigned admin.opened admin.closed user.replied read deleted"
    assert named >= {f"conversation.{kind}" for kind in kinds.split()}
    kinds = "created state.updated note.created admin.assigned team.assigned closed resolved rating.provided"
    assert named >= {f"ticket.{kind}" for kind in kinds.split()}
    assert set(topics.ALIASES.values()) - {"contact.deleted"} <= named


# --- read back ------------------------------------------------------------------------------------


def test_a_reading_tells_what_a_notification_would_have_told(connection, collected):
    before = Snapshot(
        ticket=Ticket(
            ref=REF, status=Status.OPEN, remote_status="open", assignee=None, team=None, tags=frozenset(),
            remote_updated_at=at(1763733950),
        )
    )  # fmt: skip
    hint = Webhook({}, b"", received_at=RECEIVED)
    found = events(hint, collected("conversation"), before, connection)
    facts = {event.id: event for event in found}
    assert {
        f"comment@9001:{REF.id}", f"comment@9002:{REF.id}", f"comment@9003:{REF.id}", f"comment@9005:{REF.id}",
        f"assigned@9004:{REF.id}", f"status@9005:{REF.id}",
    } <= facts.keys()  # fmt: skip
    assert facts[f"status@9005:{REF.id}"].actor.id == RUI
    assert any(isinstance(event, TicketTagged) and event.added == {"Phone & SMS"} for event in found)
    assert all(event.complete for event in found)


def test_a_conversation_never_heard_of_is_new(connection, collected):
    found = events(Webhook({}, b"", received_at=RECEIVED), collected("conversation"), None, connection)
    assert [event.kind for event in found] == ["ticket.created"] + ["comment.created"] * 5
    assert found[0].id == f"created:{REF.id}"
    assert found[0].actor.id == ANA
    assert found[0].ticket.contact.phones == ("+5511935550199",)


def test_a_reading_knows_who_was_heard_when(connection, collected):
    ticket = snapshot(collected("conversation"), connection).ticket
    assert ticket.last_customer_comment_at == at(1763733900)
    assert ticket.first_agent_comment_at == at(1763733960)
    assert ticket.last_agent_comment_at == at(1763733990)


def test_a_ticket_is_read_back_whole(connection, collected):
    read = snapshot(collected("ticket"), connection)
    assert [comment.body for comment in read.comments] == ["Hello", "ask finance"]
    assert (read.ticket.ref, read.ticket.status, read.ticket.contact.name) == (
        TICKET,
        Status.RESOLVED,
        "Ana Lima",
    )
    before = Snapshot(ticket=Ticket(ref=TICKET, status=Status.OPEN, remote_updated_at=at(1763734000)))
    found = events(Webhook({}, b"", received_at=RECEIVED), collected("ticket"), before, connection)
    assert f"status@9101:{TICKET.id}" in {event.id for event in found}


def test_an_attached_contact_is_found_by_reading(told, connection, collected):
    found = events(told("conversation.contact.attached"), collected("conversation"), None, connection)
    assert found[0].kind == "ticket.created"


def test_a_notification_beside_a_reading_tells_its_fact_of_the_whole_ticket(told, connection, collected):
    (event,) = events(told("conversation.user.replied"), collected("conversation"), None, connection)
    assert event.complete
    assert len(event.comments) == 5
    assert event.ticket.contact.phones == ("+5511935550199",)


def test_an_old_reading_is_not_announced_as_new(connection, collected):
    late = Webhook({}, b"", received_at=RECEIVED + timedelta(days=9))
    assert [event.kind for event in events(late, collected("conversation"), None, connection)] == [
        "ticket.updated"
    ]


# --- anything -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FIXTURES)
def test_the_same_notification_tells_the_same_events_which_survive_storage(convert, name):
    found = convert(name)
    assert found == convert(name)
    assert [parse_event(event.to_json()) for event in found] == found


@pytest.mark.parametrize(
    "body",
    [b"", b"\xff", b"null", b"[]", b'"x"', b"{}", b'{"topic": []}', b'{"topic": "ticket.created"}',
     b'{"topic": "conversation.user.created", "data": {"item": {"type": "conversation"}}}'],
)  # fmt: skip
def test_what_is_no_notification_is_unreadable(connection, body):
    with pytest.raises(UnreadableWebhook):
        events(Webhook({}, body, received_at=RECEIVED), None, None, connection)


ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = [
    "admin_assignee_id", "assigned_to", "assignee", "attachments", "author", "body", "contact", "contacts",
    "conversation",
    "conversation_id", "conversation_message", "conversation_parts", "created_at", "custom_attributes", "id", "open",
    "part_type", "priority", "snoozed_until", "source", "state", "tags", "tags_added", "ticket", "ticket_attributes",
    "ticket_part", "ticket_parts", "ticket_state", "ticket_type", "title", "type", "updated_at", "user",
]  # fmt: skip


@st.composite
def broken(draw):
    """A real notification, with something else in one to four of its places."""
    name = draw(st.sampled_from([fixture for fixture in FIXTURES if not fixture.startswith("collected")]))
    body = json.loads((Path(__file__).parent / "fixtures" / f"{name}.json").read_bytes())
    for _ in range(draw(st.integers(1, 4))):
        holder = body["data"]["item"]
        for _ in range(draw(st.integers(0, 3))):
            inner = [value for value in holder.values() if isinstance(value, dict)]
            inner += [
                row
                for value in holder.values()
                if isinstance(value, list)
                for row in value
                if isinstance(row, dict)
            ]
            holder = draw(st.sampled_from(inner)) if inner else holder
        key = draw(st.sampled_from(sorted(holder) or NAMES) | st.sampled_from(NAMES))
        holder[key] = draw(ANY_JSON)
    body |= draw(st.fixed_dictionaries({}, optional={"created_at": ANY_JSON, "id": ANY_JSON}))
    return json.dumps(body).encode()


@given(body=broken())
def test_a_broken_notification_is_unreadable_at_worst(connection, body):
    try:
        found = events(Webhook({}, body, received_at=RECEIVED), None, None, connection)
    except UnreadableWebhook:
        return
    assert [parse_event(event.to_json()) for event in found] == found


@given(
    topic=st.sampled_from(sorted(topics.ABOUT_TICKETS | topics.CONTACTS)),
    item=st.dictionaries(st.sampled_from(NAMES), ANY_JSON, max_size=8),
)
def test_whatever_stands_in_a_known_topic_is_unreadable_at_worst(connection, topic, item):
    body = json.dumps({"topic": topic, "data": {"item": item}}).encode()
    try:
        found = events(Webhook({}, body, received_at=RECEIVED), None, None, connection)
    except UnreadableWebhook:
        return
    assert all(event.id for event in found)


@given(
    conversation=st.dictionaries(st.sampled_from(NAMES), ANY_JSON, max_size=8),
    contacts=st.lists(
        st.dictionaries(st.sampled_from(["id", "name", "email", "phone"]), ANY_JSON), max_size=1
    )
    | ANY_JSON,
    kind=st.sampled_from(["conversation", "ticket"]),
)
def test_whatever_is_read_back_is_unreadable_at_worst(connection, conversation, contacts, kind):
    collected = {kind: conversation, "contacts": contacts}
    try:
        events(Webhook({}, b"", received_at=RECEIVED), collected, None, connection)
    except UnreadableWebhook:
        return
    assert conversation["id"]
