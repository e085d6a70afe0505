"""Two looks at the same ticket, and what happened in between."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model.changes import PLAIN_FIELDS, changes
from gateway.model.event import (
    CommentCreated,
    TicketAssigned,
    TicketCreated,
    TicketDeleted,
    TicketMerged,
    TicketStatusChanged,
    TicketTagged,
    TicketUpdated,
)
from gateway.model.person import Contact, Person
from gateway.model.ticket import Comment, Priority, Snapshot, Status, Ticket, TicketRef

NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
REF = TicketRef("desk", "7")
ANA, BIA = Person(id="a", name="Ana"), Person(id="b", name="Bia")


def look(*comments: Comment, at: datetime = NOW, **fields: Any) -> Snapshot:
    return Snapshot(ticket=Ticket(ref=REF, remote_updated_at=at, **fields), comments=comments)


def note(id_: str, at: datetime | None = NOW, **fields: Any) -> Comment:
    return Comment(id=id_, body=f"body {id_}", created_at=at, **fields)


def between(before: Snapshot | None, after: Snapshot, **given: Any) -> list[Any]:
    return changes(before, after, seen_at=given.pop("seen_at", NOW), **given)


# --- first sight ------------------------------------------------------------------------------------------------


def test_a_fresh_ticket_seen_first_was_created_when_its_desk_says():
    created = NOW - timedelta(hours=2)
    (event,) = between(None, look(remote_created_at=created))
    assert isinstance(event, TicketCreated)
    assert (event.id, event.occurred_at, event.complete) == ("created:7", created, True)


def test_an_old_ticket_seen_first_is_no_news():
    (event,) = between(None, look(remote_created_at=NOW - timedelta(days=2)))
    assert isinstance(event, TicketUpdated)
    assert event.changed == ()


def test_a_ticket_whose_creation_is_not_told_is_as_old_as_its_last_change():
    assert isinstance(between(None, look())[0], TicketCreated)
    assert isinstance(between(None, look(at=NOW - timedelta(days=2)))[0], TicketUpdated)
    untold = Snapshot(ticket=Ticket(ref=REF))
    assert between(None, untold)[0].occurred_at == NOW, "nothing is told: when the notice came"


def test_the_day_within_which_a_ticket_is_new_is_a_whole_one():
    edge = NOW - timedelta(days=1)
    assert isinstance(between(None, look(remote_created_at=edge))[0], TicketCreated)
    assert isinstance(between(None, look(remote_created_at=edge - timedelta(seconds=1)))[0], TicketUpdated)


def test_of_a_ticket_seen_first_only_fresh_comments_are_news():
    old, fresh, undated = note("1", NOW - timedelta(days=3)), note("2"), note("3", None)
    events = between(None, look(old, fresh, undated, remote_created_at=NOW - timedelta(days=9)))
    assert [event.id for event in events[1:]] == ["comment@2:7", "comment@3:7"]
    assert events[0].comments == (old, fresh, undated), "all of them are known from now on"


def test_at_first_sight_no_change_is_told():
    kinds = {event.kind for event in between(None, look(status=Status.CLOSED, deleted=True, merged_into="9"))}
    assert kinds == {"ticket.created"}


# --- comments ---------------------------------------------------------------------------------------------------


def test_a_new_comment_is_its_authors_and_of_its_own_time():
    written = NOW - timedelta(minutes=5)
    (event,) = between(look(note("1")), look(note("1"), note("2", written, author=ANA)), actor=BIA)
    assert isinstance(event, CommentCreated)
    assert (event.id, event.occurred_at, event.actor, event.comment.id) == ("comment@2:7", written, ANA, "2")


def test_a_comment_without_author_is_by_whoever_made_the_change():
    (event,) = between(look(), look(note("2", None)), actor=BIA)
    assert (event.actor, event.occurred_at) == (BIA, NOW)


def test_a_late_comment_of_a_known_ticket_is_news_however_old():
    (event,) = between(look(), look(note("2", NOW - timedelta(days=30))))
    assert event.id == "comment@2:7"


def test_another_order_and_an_edited_or_lost_comment_are_no_news():
    one, two = note("1"), note("2")
    assert between(look(one, two), look(two, one)) == []
    assert between(look(one), look(one.model_copy(update={"body": "edited"}))) == []
    assert between(look(one, two), look(one)) == []


def test_a_comment_that_comes_twice_in_one_reading_is_one():
    assert [event.id for event in between(look(), look(note("2"), note("2")))] == ["comment@2:7"]


# --- fields -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ({"status": Status.OPEN}, {"status": Status.CLOSED}, ("open", "closed", None, None)),
        (
            {"status": Status.OPEN, "remote_status": "Novo"},
            {"status": Status.OPEN, "remote_status": "Em andamento"},
            ("open", "open", "Novo", "Em andamento"),
        ),
    ],
)
def test_a_change_of_status_says_from_what_to_what(old, new, told):
    (event,) = between(look(**old), look(**new))
    assert isinstance(event, TicketStatusChanged)
    assert (event.old, event.new, event.old_remote, event.new_remote) == told


@pytest.mark.parametrize(
    ("old", "new", "assignee", "team"),
    [
        ({"assignee": None}, {"assignee": ANA}, ANA, None),
        ({"assignee": ANA}, {"assignee": BIA}, BIA, None),
        ({"assignee": ANA}, {"assignee": None}, None, None),
        ({"team": "GR"}, {"team": "N2"}, None, "N2"),
    ],
)
def test_an_assignment_says_to_whom(old, new, assignee, team):
    (event,) = between(look(**old), look(**new))
    assert isinstance(event, TicketAssigned)
    assert (event.assignee, event.team) == (assignee, team)


def test_a_new_name_of_the_same_assignee_is_no_assignment():
    renamed = ANA.model_copy(update={"name": "Ana Paula"})
    assert between(look(assignee=ANA), look(assignee=renamed)) == []


def test_tags_say_what_came_and_what_went():
    (event,) = between(look(tags=frozenset("ab")), look(tags=frozenset("bc")))
    assert isinstance(event, TicketTagged)
    assert (event.added, event.removed) == ({"c"}, {"a"})


def test_a_merge_and_a_deletion_are_told_once():
    before, after = look(), look(merged_into="9", deleted=True)
    merge, deletion = between(before, after)[:2]
    assert isinstance(merge, TicketMerged)
    assert (merge.into, merge.id) == (TicketRef("desk", "9"), "merged@9:7")
    assert isinstance(deletion, TicketDeleted)
    assert between(after, look(at=NOW + timedelta(hours=1), merged_into="9", deleted=True)) == []


VALUES = {
    "subject": ("a", "b"),
    "description": ("a", "b"),
    "priority": (Priority.LOW, Priority.HIGH),
    "remote_priority": ("p3", "p1"),
    "type": ("question", "incident"),
    "contact": (Contact(name="Dona"), Contact(name="Dono")),
    "custom_fields": ({"plan": "a"}, {"plan": "b"}),
    "channel": ("email", "chat"),
    "due_at": (NOW, NOW + timedelta(days=1)),
    "snoozed_until": (NOW, None),
}


def test_every_plain_field_has_its_case():
    assert set(VALUES) == set(PLAIN_FIELDS)


@pytest.mark.parametrize("field", PLAIN_FIELDS)
def test_a_change_of_a_plain_field_names_it(field):
    old, new = VALUES[field]
    (event,) = between(look(**{field: old}), look(**{field: new}))
    assert isinstance(event, TicketUpdated)
    assert event.changed == (field,)


def test_plain_fields_that_change_together_are_one_event():
    (event,) = between(look(subject="a", type="x"), look(subject="b", type="y"))
    assert event.changed == ("subject", "type")


def test_what_only_counts_or_says_when_is_no_event():
    quiet = {"url": "https://desk.example/7", "last_agent_comment_at": NOW, "remote_fields": {"sla": 3}}
    later = {
        "url": "https://desk.example/t/7",
        "last_agent_comment_at": NOW + timedelta(hours=1),
        "remote_fields": {},
    }
    assert between(look(**quiet), look(at=NOW + timedelta(hours=1), **later)) == []


def test_what_was_unknown_is_learned_without_a_change():
    (event,) = between(look(subject="a"), look(subject="a", status=Status.OPEN, tags=frozenset("x")))
    assert isinstance(event, TicketUpdated)
    assert event.changed == ()


def test_what_the_new_look_does_not_know_has_not_changed():
    assert between(look(subject="a", status=Status.OPEN, tags=frozenset("x")), look(subject="a")) == []


def test_changes_are_told_with_who_made_them_and_the_whole_ticket():
    after = look(note("1"), status=Status.CLOSED)
    (event,) = between(look(note("1"), status=Status.OPEN), after, actor=ANA)
    assert (event.actor, event.ticket, event.comments, event.complete) == (
        ANA,
        after.ticket,
        after.comments,
        True,
    )


# --- the same fact ----------------------------------------------------------------------------------------------


FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "status": st.sampled_from(Status),
        "remote_status": st.sampled_from(["Novo", "Em andamento"]),
        "subject": st.sampled_from(["a", "b"]),
        "team": st.sampled_from([None, "GR"]),
        "assignee": st.sampled_from([None, ANA, BIA]),
        "tags": st.frozensets(st.sampled_from("xyz")),
        "priority": st.sampled_from(Priority),
        "custom_fields": st.sampled_from([{}, {"plan": "Pro"}]),
        "merged_into": st.sampled_from([None, "9"]),
        "deleted": st.booleans(),
        "remote_created_at": st.sampled_from([NOW, NOW - timedelta(days=5)]),
    },
)
COMMENTS = st.lists(st.sampled_from([note(n) for n in "1234"]), max_size=5)
LOOKS = st.builds(
    lambda fields, comments, minutes: look(*comments, at=NOW + timedelta(minutes=minutes), **fields),
    FIELDS, COMMENTS, st.integers(0, 3),
)  # fmt: skip


@given(LOOKS, st.integers(0, 100_000))
def test_looking_twice_is_no_news(seen, later):
    assert between(seen, seen, seen_at=NOW + timedelta(minutes=later)) == []


@given(st.none() | LOOKS, LOOKS, st.integers(0, 600), st.none() | st.just(ANA))
def test_the_same_fact_has_the_same_id_whenever_and_by_whomever_it_is_told(before, after, later, actor):
    first = between(before, after)
    again = between(before, after, seen_at=NOW + timedelta(seconds=later), actor=actor)
    assert [event.id for event in first] == [event.id for event in again]


@given(st.none() | LOOKS, LOOKS)
def test_two_facts_never_share_an_id(before, after):
    ids = [event.id for event in between(before, after)]
    assert len(ids) == len(set(ids))


@given(st.none() | LOOKS, LOOKS, st.randoms())
def test_the_order_of_comments_makes_no_difference(before, after, random):
    shuffled = list(after.comments)
    random.shuffle(shuffled)
    mixed = Snapshot(ticket=after.ticket, comments=tuple(shuffled))
    assert {event.id for event in between(before, after)} == {event.id for event in between(before, mixed)}


def test_a_change_and_the_change_back_within_one_second_are_two_facts():
    opened, closed = look(status=Status.OPEN), look(status=Status.CLOSED)
    assert between(opened, closed)[0].id != between(closed, opened)[0].id
