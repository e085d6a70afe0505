"""How the ticket will look once everything that we decided has been carried out."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model.action import (
    AddComment,
    AddTags,
    AssignTo,
    CreateTicket,
    RemoveTags,
    SetFields,
    SetPriority,
    SetStatus,
)
from gateway.model.expected import expected, planned
from gateway.model.facts import Past
from gateway.model.person import Contact, Person
from gateway.model.ticket import Priority, Status, Ticket, TicketKind, TicketRef

NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
REF = TicketRef("desk", "7")
SEEN = Ticket(
    ref=REF, remote_updated_at=NOW, tags=frozenset({"old"}), status=Status.NEW, remote_status="Novo",
    priority=Priority.LOW, team="GR", assignee=Person(id="a"), custom_fields={"plan": "Pro", "phone": ""},
)  # fmt: skip
WHY = {"ticket": REF, "reason": "r"}


def past(action: Any, state: str = "pending", *, seconds: float = 60, finished: bool = True) -> Past:
    at = NOW + timedelta(seconds=seconds)
    done = at if finished and state not in {"pending", "executing"} else None
    return Past(rule="rule", action=action, state=state, decided_at=at, finished_at=done)


@pytest.mark.parametrize(
    ("action", "changed"),
    [
        (AddTags(tags=("new",), **WHY), {"tags": frozenset({"old", "new"})}),
        (RemoveTags(tags=("old", "never"), **WHY), {"tags": frozenset()}),
        (SetStatus(status=Status.OPEN, **WHY), {"status": Status.OPEN}),
        (
            SetStatus(status=Status.OPEN, remote_status="Em andamento", **WHY),
            {"status": Status.OPEN, "remote_status": "Em andamento"},
        ),
        (SetPriority(priority=Priority.HIGH, **WHY), {"priority": Priority.HIGH}),
        (AssignTo(assignee="b", **WHY), {"assignee": Person(id="b")}),
        (AssignTo(team="N2", **WHY), {"assignee": None, "team": "N2"}),
        (AssignTo(**WHY), {"assignee": None}),
        (SetFields(fields={"phone": "1"}, **WHY), {"custom_fields": {"plan": "Pro", "phone": "1"}}),
        (AddComment(body="oi", **WHY), {}),
    ],
)
def test_what_is_underway_is_laid_over_the_ticket(action, changed):
    assert expected(SEEN, [past(action)]) == SEEN.model_copy(update=changed)
    assert expected(SEEN, [past(action, "executing")]) == SEEN.model_copy(update=changed)


@pytest.mark.parametrize("state", ["dead", "held", "unsupported"])
def test_what_will_not_happen_is_not_expected(state):
    assert expected(SEEN, [past(AddTags(tags=("new",), **WHY), state)]) == SEEN


def test_what_was_done_before_the_ticket_was_last_seen_is_in_it_already_or_was_undone():
    done = past(AddTags(tags=("new",), **WHY), "done", seconds=-60)
    assert expected(SEEN, [done]).tags == {"old"}


def test_what_was_done_since_the_ticket_was_last_seen_is_expected():
    assert expected(SEEN, [past(AddTags(tags=("new",), **WHY), "done", seconds=1)]).tags == {"old", "new"}
    assert expected(SEEN, [past(AddTags(tags=("new",), **WHY), "done", seconds=-4)]).tags == {"old", "new"}, (
        "clocks differ by a few seconds"
    )


def test_a_core_action_without_an_end_counts_from_when_it_was_decided():
    done = past(AddTags(tags=("new",), **WHY), "done", seconds=1, finished=False)
    assert expected(SEEN, [done]).tags == {"old", "new"}


def test_of_a_ticket_that_does_not_say_when_it_changed_everything_done_is_expected():
    undated = Ticket(ref=REF, tags=frozenset())
    assert expected(undated, [past(AddTags(tags=("new",), **WHY), "done", seconds=-9999)]).tags == {"new"}


def test_later_actions_are_laid_over_earlier_ones():
    entries = [
        past(AddTags(tags=("a", "b"), **WHY)),
        past(RemoveTags(tags=("a",), **WHY)),
        past(SetFields(fields={"x": 1, "y": 1}, **WHY)),
        past(SetFields(fields={"y": 2}, **WHY)),
        past(SetStatus(status=Status.OPEN, **WHY)),
        past(SetStatus(status=Status.PENDING, **WHY)),
    ]
    after = expected(SEEN, entries)
    assert (after.tags, after.status) == ({"old", "b"}, Status.PENDING)
    assert after.custom_fields == {"plan": "Pro", "phone": "", "x": 1, "y": 2}


@given(st.lists(st.sampled_from(["add", "remove"]), max_size=6))
def test_tags_end_as_the_last_word_on_them_says(words):
    made = {"add": AddTags, "remove": RemoveTags}
    after = expected(SEEN, [past(made[word](tags=("t",), **WHY)) for word in words])
    assert ("t" in after.tags) == (bool(words) and words[-1] == "add")


def test_nothing_decided_leaves_the_very_ticket():
    assert expected(SEEN, []) is SEEN


def test_a_planned_ticket_is_what_its_creation_says():
    contact = Contact(name="Dona", phones=("+551135550199",))
    create = CreateTicket(
        connection="desk", key="k", subject="S", description="D", ticket_kind=TicketKind.TASK, contact=contact,
        team="GR", tags=("core",), custom_fields={"plan": "Pro"}, priority=Priority.HIGH, type="task",
        assignee="a", reason="r",
    )  # fmt: skip
    ticket = planned(create)
    assert ticket == Ticket(
        ref=TicketRef("desk", "+k"), kind=TicketKind.TASK, subject="S", description="D", status=Status.NEW,
        contact=contact, team="GR", tags=frozenset({"core"}), custom_fields={"plan": "Pro"},
        priority=Priority.HIGH, type="task", assignee=Person(id="a"),
    )  # fmt: skip


def test_a_planned_ticket_says_nothing_of_what_its_desk_will_choose():
    ticket = planned(CreateTicket(connection="desk", key="k", subject="S", description="D", reason="r"))
    assert {"priority", "type", "assignee"}.isdisjoint(ticket.model_fields_set)
