"""Tickets that are no more: what hangs on them follows to the survivor, or ends with a reason."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update
from tests_town import NOW, arrive, rows, rule, run, settle_in

from gateway.api import (
    AddComment,
    AddTags,
    CreateTicket,
    LinkTickets,
    StartTimer,
    Ticket,
    TicketCreated,
    TicketDeleted,
    TicketMerged,
    TicketRef,
    TicketUpdated,
)
from gateway.jobs import fire_timers
from gateway.runtime import Runtime
from gateway.store.tables import actions, links, timers

OLD, INTO = TicketRef("desk", "7"), TicketRef("desk", "8")
OTHER = TicketRef("chat", "1")
LATER = NOW + timedelta(minutes=5)


def ticket(ref: TicketRef, **fields: Any) -> Ticket:
    return Ticket(ref=ref, subject="s", remote_updated_at=fields.pop("at", NOW), **fields)


def acting(event: Any, facts: Any) -> Any:
    """On a new ticket of the desk: all that can hang on one."""
    if event.kind == "ticket.created" and event.ticket.ref.id == "7":
        yield AddTags(ticket=OLD, tags=("a",), reason="r")
        yield AddComment(ticket=OLD, body="b", reason="r")
        yield StartTimer(key="t", at=LATER, ticket=OLD, reason="r")
        yield LinkTickets(left=str(OLD), right=str(OTHER), reason="r")
        yield LinkTickets(left="payment:pay/1", right=str(OLD), reason="r")
        yield LinkTickets(left=str(OLD), right=str(INTO), reason="r")
    if event.kind in {"timer.fired", "ticket.updated"}:
        yield AddComment(ticket=OLD, body="late", reason="r")
        yield StartTimer(key="again", at=LATER, ticket=OLD, reason="r")
        yield LinkTickets(left=str(OLD), right="payment:pay/2", reason="r")


@pytest.fixture
def town(gateway: Runtime) -> Runtime:
    settle_in(gateway, rules={"acting": rule("acting", acting)}, names=("desk", "chat"))
    for ref in (OLD, INTO):
        told = TicketCreated(id=f"created:{ref.id}", occurred_at=NOW, ticket=ticket(ref))
        run(gateway, arrive(gateway, told, subject=ref.id))
    return gateway


def merged(gateway: Runtime) -> None:
    told = TicketMerged(id="merged", occurred_at=LATER, ticket=ticket(OLD, at=LATER), into=INTO)
    run(gateway, arrive(gateway, told, subject="7"))


def deleted(gateway: Runtime) -> None:
    told = TicketDeleted(id="deleted:7", occurred_at=LATER, ticket=ticket(OLD, at=LATER))
    run(gateway, arrive(gateway, told, subject="7"))


def linked(gateway: Runtime) -> set[tuple[str, str]]:
    return {(row.source, row.target) for row in rows(gateway, links)}


def outbox(gateway: Runtime) -> list[tuple[str, str, str]]:
    return [(row.kind, row.ticket_id, row.state) for row in rows(gateway, actions) if row.ticket_id]


# --- merged -----------------------------------------------------------------------------------------------------


def test_what_hangs_on_a_merged_ticket_follows_to_the_surviving_one(town: Runtime) -> None:
    merged(town)
    assert linked(town) == {(str(INTO), str(OTHER)), ("payment:pay/1", str(INTO))}
    assert outbox(town) == [("add_tags", "8", "pending"), ("add_comment", "8", "pending")]
    assert [row.body["ticket"] for row in rows(town, actions) if row.ticket_id] == [
        {"connection": "desk", "id": "8"}
    ] * 2
    (timer,) = rows(town, timers)
    assert (timer.connection, timer.ticket_id, timer.state) == ("desk", "8", "waiting")


def test_what_was_done_before_stays_where_it_was_done(town: Runtime) -> None:
    with town.db.begin() as db:
        db.execute(update(actions).where(actions.c.kind == "add_tags").values(state="done"))
    merged(town)
    assert outbox(town) == [("add_tags", "7", "done"), ("add_comment", "8", "pending")]


def test_what_rules_decide_about_it_later_is_about_the_survivor(town: Runtime) -> None:
    merged(town)
    late = TicketUpdated(id="late", occurred_at=LATER, ticket=ticket(OLD, at=LATER), changed=("subject",))
    run(town, arrive(town, late, subject="7"))
    assert outbox(town)[-1] == ("add_comment", "8", "pending")
    assert (str(INTO), "payment:pay/2") in linked(town)
    assert {row.ticket_id for row in rows(town, timers)} == {"8"}


def test_its_timer_fires_about_the_survivor(town: Runtime) -> None:
    merged(town)
    town.clock = lambda: LATER
    run(town, *fire_timers(town))
    assert outbox(town)[-1] == ("add_comment", "8", "pending")


def test_merging_twice_and_in_a_ring_ends(town: Runtime) -> None:
    third = TicketRef("desk", "9")
    merged(town)
    told = TicketMerged(id="m2", occurred_at=LATER, ticket=ticket(INTO, at=LATER), into=third)
    run(town, arrive(town, told, subject="8"))
    assert {row[1] for row in outbox(town)} == {"9"}
    back = TicketMerged(id="m3", occurred_at=LATER, ticket=ticket(third, at=LATER), into=OLD)
    run(town, arrive(town, back, subject="9"))
    late = TicketUpdated(id="late", occurred_at=LATER, ticket=ticket(OLD, at=LATER), changed=("subject",))
    run(town, arrive(town, late, subject="7"))
    assert len(outbox(town)) == 3, "it is decided once, about whichever of them"


def test_a_merge_in_the_same_batch_as_the_decision_takes_it_along(gateway: Runtime) -> None:
    settle_in(gateway, rules={"acting": rule("acting", acting)}, names=("desk", "chat"))
    created = TicketCreated(id="created:7", occurred_at=NOW, ticket=ticket(OLD))
    told = TicketMerged(id="merged", occurred_at=LATER, ticket=ticket(OLD, at=LATER), into=INTO)
    run(gateway, arrive(gateway, created, told, subject="7"))
    assert outbox(gateway) == [("add_tags", "8", "pending"), ("add_comment", "8", "pending")]
    assert (str(INTO), str(OTHER)) in linked(gateway)


# --- deleted ----------------------------------------------------------------------------------------------------


def test_what_hangs_on_a_deleted_ticket_ends_with_a_reason(town: Runtime) -> None:
    deleted(town)
    assert linked(town) == set()
    assert outbox(town) == [("add_tags", "7", "canceled"), ("add_comment", "7", "canceled")]
    ended = [row for row in rows(town, actions) if row.ticket_id]
    assert {(row.error, row.finished_at) for row in ended} == {("its ticket was deleted at the vendor", NOW)}
    assert [row.state for row in rows(town, timers)] == ["canceled"]


def test_what_is_decided_about_it_later_is_canceled_at_once(town: Runtime) -> None:
    deleted(town)
    late = TicketUpdated(id="late", occurred_at=LATER, ticket=ticket(OLD, at=LATER), changed=("subject",))
    run(town, arrive(town, late, subject="7"))
    (*_, row) = [row for row in rows(town, actions) if row.ticket_id]
    assert (row.state, row.error) == ("canceled", "its ticket was deleted at the vendor")


def test_others_are_not_touched(town: Runtime) -> None:
    def opening(event: Any, facts: Any) -> Any:
        yield CreateTicket(connection="desk", key="k", subject="s", description="d", reason="r")
        yield AddTags(ticket=INTO, tags=("b",), reason="r")

    settle_in(town, rules={"opening": rule("opening", opening)}, names=("desk", "chat"))
    told = TicketUpdated(id="u", occurred_at=NOW, ticket=ticket(INTO), changed=("subject",))
    run(town, arrive(town, told, subject="8"))
    deleted(town)
    states = {(row.kind, row.ticket_id): row.state for row in rows(town, actions) if row.ticket_id}
    assert states["add_tags", "8"] == states["create_ticket", "+k"] == "pending"
