"""Is an important customer's ticket dealt with first, and is nobody bothered twice?"""

from datetime import UTC, datetime
from typing import Any

import pytest
from gateway.api import (
    AddComment,
    CommentCreated,
    Facts,
    Priority,
    SetPriority,
    Skip,
    Tenant,
    Ticket,
    TicketCreated,
    TicketRef,
)
from gateway.api import Comment as Said

from acme_desk.rules import vip_first
from acme_desk.rules.vip_first import Settings

NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)


def answers(ticket: Ticket, **settings: Any) -> list[Any]:
    event = TicketCreated(id="created:31", occurred_at=NOW, ticket=ticket)
    facts = Facts(
        tenant=Tenant(id="acme", name="Acme"), now=NOW, ticket=ticket, settings=Settings(**settings)
    )
    return list(vip_first.on_event(event=event, facts=facts))


def case(*tags: str, priority: Priority | None = Priority.NORMAL) -> Ticket:
    return Ticket(ref=TicketRef("cases", "31"), tags=frozenset(tags), priority=priority)


def test_a_vip_is_put_first_and_it_is_said_why() -> None:
    priority, note = answers(case("cobranca", "VIP"))
    ref = TicketRef("cases", "31")
    assert priority == SetPriority(ticket=ref, priority=Priority.HIGH, reason="tagged 'vip'")
    assert isinstance(note, AddComment)
    assert (note.body, note.is_private) == ("Prioridade alta: cliente vip.", True)


@pytest.mark.parametrize(
    ("ticket", "why"),
    [
        (case("cobranca"), "not tagged 'vip'"),
        (case("vip", priority=Priority.HIGH), "its priority is high already"),
        (case("vip", priority=Priority.URGENT), "its priority is urgent already"),
    ],
)
def test_others_are_left_alone(ticket: Ticket, why: str) -> None:
    assert answers(ticket) == [Skip(reason=why)]


def test_tag_priority_and_comment_are_the_tenants_choice() -> None:
    (priority,) = answers(case("ouro"), tag="ouro", priority="urgent", note="")
    assert priority.priority is Priority.URGENT


def test_other_events_are_none_of_its_business() -> None:
    ticket = case("vip")
    event = CommentCreated(id="c", occurred_at=NOW, ticket=ticket, comment=Said(id="31:1", body="Oi"))
    facts = Facts(tenant=Tenant(id="acme", name="Acme"), now=NOW, ticket=ticket, settings=Settings())
    assert list(vip_first.on_event(event=event, facts=facts)) == []
