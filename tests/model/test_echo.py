"""What we wrote ourselves is recognised when it comes back, and nothing else is."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

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
from gateway.model.echo import is_ours
from gateway.model.event import (
    CommentCreated,
    TicketAssigned,
    TicketCreated,
    TicketStatusChanged,
    TicketTagged,
    TicketUpdated,
)
from gateway.model.facts import Past
from gateway.model.person import Person
from gateway.model.ticket import Comment, Priority, Status, Ticket, TicketRef

NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
REF = TicketRef("desk", "7")
US, ANA = Person(id="us"), Person(id="ana")
WHY = {"ticket": REF, "reason": "r"}


def told(kind: type[Any], *, seconds: float = 3, actor: Person | None = ANA, **fields: Any) -> Any:
    at = NOW + timedelta(seconds=seconds)
    return kind(id="f", occurred_at=at, actor=actor, ticket=Ticket(ref=REF), **fields)


def comment(
    body: str, *, id_: str = "c1", author: Person | None = ANA, private: bool = True, **more: Any
) -> Any:
    said = Comment(id=id_, body=body, author=author, is_private=private)
    return told(CommentCreated, comment=said, **more)


def past(action: Any, state: str = "done", remote_id: str | None = None, finished: bool = True) -> Past:
    return Past(
        rule="rule", action=action, state=state, decided_at=NOW, finished_at=NOW if finished else None,
        remote_id=remote_id,
    )  # fmt: skip


def ours(event: Any, *entries: Past) -> bool:
    return is_ours(event, frozenset({"us"}), entries)


def test_what_our_own_user_did_is_ours():
    assert ours(told(TicketCreated, actor=US))
    assert not ours(told(TicketCreated))
    assert not ours(told(TicketCreated, actor=None))


def test_a_comment_is_its_authors_whoever_changed_the_ticket():
    assert ours(comment("oi", author=US))
    assert not ours(comment("oi", author=ANA, actor=US))


NOTE = AddComment(body="Falta o <telefone>", **WHY)
HTML = AddComment(body="<p>Falta o <b>telefone</b></p>", is_html=True, **WHY)
PUBLIC = AddComment(body="oi", is_private=False, **WHY)


@pytest.mark.parametrize(
    ("event", "entry", "expected"),
    [
        (comment("Falta  o\n<telefone> "), past(NOTE), True),
        (comment("Falta o telefone"), past(HTML), True),
        (comment("another text", id_="9"), past(NOTE, remote_id="9"), True),
        (comment("another text", id_="8"), past(NOTE, remote_id="9"), False),
        (comment("another text"), past(NOTE), False),
        (comment("oi", private=True), past(PUBLIC), False),
        (comment("oi", private=False), past(PUBLIC), True),
        (comment("Falta o <telefone>"), past(NOTE, "executing", finished=False), True),
        (comment("Falta o <telefone>"), past(NOTE, "pending", finished=False), False),
        (comment("Falta o <telefone>"), past(NOTE, "dead"), False),
        (comment("Falta o <telefone>"), past(NOTE, "held"), False),
    ],
)
def test_a_comment_is_ours_by_its_id_or_its_words(event, entry, expected):
    assert ours(event, entry) is expected


@pytest.mark.parametrize("state", ["pending", "dead"])
def test_what_may_have_been_done_although_nobody_said_so_is_ours(state):
    lost = past(AddTags(tags=("vip",), **WHY), state, finished=False)
    tagged = told(TicketTagged, added=frozenset({"vip"}), actor=None)
    assert not ours(tagged, lost)
    assert ours(tagged, lost.model_copy(update={"uncertain": True}))


OPENED = SetStatus(status=Status.OPEN, **WHY)
TO_ANA, TO_TEAM = AssignTo(assignee="ana", **WHY), AssignTo(team="GR", **WHY)


@pytest.mark.parametrize(
    ("event", "action", "expected"),
    [
        (told(TicketStatusChanged, new=Status.OPEN), OPENED, True),
        (told(TicketStatusChanged, new=Status.CLOSED), OPENED, False),
        (told(TicketStatusChanged, new=Status.OPEN, seconds=119), OPENED, True),
        (told(TicketStatusChanged, new=Status.OPEN, seconds=-119), OPENED, True),
        (told(TicketStatusChanged, new=Status.OPEN, seconds=120), OPENED, False),
        (told(TicketTagged, added=frozenset({"novo_cliente"})), AddTags(tags=("Novo Cliente",), **WHY), True),
        (told(TicketTagged, added=frozenset({"a"})), AddTags(tags=("a", "b"), **WHY), True),
        (told(TicketTagged, added=frozenset({"a", "c"})), AddTags(tags=("a", "b"), **WHY), False),
        (
            told(TicketTagged, added=frozenset({"a"}), removed=frozenset({"z"})),
            AddTags(tags=("a",), **WHY),
            False,
        ),
        (told(TicketTagged), AddTags(tags=("a",), **WHY), False),
        (told(TicketTagged, removed=frozenset({"VIP"})), RemoveTags(tags=("vip",), **WHY), True),
        (
            told(TicketTagged, removed=frozenset({"vip"}), added=frozenset({"x"})),
            RemoveTags(tags=("vip",), **WHY),
            False,
        ),
        (told(TicketTagged, removed=frozenset({"other"})), RemoveTags(tags=("vip",), **WHY), False),
        (told(TicketTagged), RemoveTags(tags=("vip",), **WHY), False),
        (told(TicketAssigned, assignee=ANA), TO_ANA, True),
        (told(TicketAssigned, assignee=US), TO_ANA, False),
        (told(TicketAssigned, assignee=ANA, seconds=300), TO_ANA, False),
        (told(TicketAssigned, team="GR"), TO_TEAM, True),
        (told(TicketAssigned, assignee=ANA, team="GR"), TO_TEAM, True),
        (told(TicketAssigned, assignee=ANA, team="N2"), TO_TEAM, False),
        (told(TicketAssigned, team="N2"), TO_TEAM, False),
        (told(TicketAssigned), AssignTo(**WHY), True),
        (told(TicketAssigned, assignee=ANA), AssignTo(**WHY), False),
        (told(TicketUpdated, changed=("custom_fields",)), SetFields(fields={"a": 1}, **WHY), True),
        (
            told(TicketUpdated, changed=("priority", "remote_priority")),
            SetPriority(priority=Priority.LOW, **WHY),
            True,
        ),
        (told(TicketUpdated, changed=("custom_fields", "subject")), SetFields(fields={"a": 1}, **WHY), False),
        (told(TicketUpdated), SetFields(fields={"a": 1}, **WHY), False),
        (
            told(TicketUpdated, changed=("custom_fields",), seconds=300),
            SetFields(fields={"a": 1}, **WHY),
            False,
        ),
        (told(TicketCreated), OPENED, False),
        (told(TicketTagged, added=frozenset({"a"})), OPENED, False),
    ],
)
def test_a_change_is_ours_when_it_is_exactly_what_we_wrote(event, action, expected):
    assert ours(event, past(action)) is expected
    assert not ours(event, past(action, "pending", finished=False)), "what was not sent cannot come back"


def test_while_it_is_being_sent_the_moment_of_the_decision_counts():
    assert ours(told(TicketStatusChanged, new=Status.OPEN), past(OPENED, "executing", finished=False))


def test_any_one_of_our_actions_is_enough():
    event = told(TicketStatusChanged, new=Status.OPEN)
    assert ours(event, past(NOTE), past(OPENED), past(TO_ANA))


def test_a_comment_without_words_is_nobodys_echo():
    wordless = AddComment(body="<img src='https://x.example/a.png'>", is_html=True, **WHY)
    assert not ours(comment("", id_="5"), past(wordless, remote_id="4"))
    assert ours(comment("", id_="4"), past(wordless, remote_id="4"))


READ = TicketUpdated(
    id="f",
    occurred_at=NOW,
    ticket=Ticket(ref=REF, remote_created_at=NOW, remote_updated_at=NOW),
    complete=True,
)
CREATED = CreateTicket(connection="desk", key="k", subject="S", description="D", reason="r")


def test_the_first_reading_of_a_ticket_that_we_opened_is_ours_until_somebody_touched_it():
    assert ours(READ, past(CREATED))
    touched = READ.ticket.model_copy(update={"remote_updated_at": NOW + timedelta(seconds=2)})
    assert not ours(READ.model_copy(update={"ticket": touched}), past(CREATED))
    untold = READ.ticket.model_copy(update={"remote_created_at": None})
    assert not ours(READ.model_copy(update={"ticket": untold}), past(CREATED))
