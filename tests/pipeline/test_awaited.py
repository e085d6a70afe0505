"""A rule that waits for the ticket it had opened is told, once, that it exists, and where."""

from datetime import timedelta
from typing import Any

import pytest
from tests_town import NOW, arrive, rows, rule, run, settle_in, town

from gateway.api import (
    AddComment,
    CreateTicket,
    Facts,
    LinkTickets,
    Person,
    Receipt,
    Ticket,
    TicketCreated,
    TicketRef,
    TicketUpdated,
    hookimpl,
)
from gateway.pipeline.execute import Sent, execute
from gateway.runtime import Runtime
from gateway.store.tables import actions, deliveries, events, tickets

REF = TicketRef("desk", "7")


def opening(gateway: Runtime, receipt: Receipt, *, awaited: bool = True, hears_ours: bool = True) -> Sent:
    """A rule opens a twin of each ticket, and says on the ticket where the twin is, once it knows."""

    @hookimpl
    def execute_action(action: Any) -> Receipt:
        return receipt

    def answer(event: Any, facts: Facts) -> Any:
        if not event.ours:
            new = CreateTicket(
                connection="desk", key="twin", subject="s", description="d", reason="-", awaited=awaited
            )
            yield new
            yield LinkTickets(left=str(REF), right=str(new.ticket), reason="-")
        else:
            [origin] = facts.linked
            body = f"{facts.ticket.ref.id} at {facts.ticket.url}"  # type: ignore[union-attr]
            yield AddComment(ticket=origin.ref, body=body, reason="-")

    settle_in(
        gateway,
        town(execute_action=execute_action),
        {"opening": rule("opening", answer, hears_ours=hears_ours)},
    )
    created = TicketCreated(id="c", occurred_at=NOW, ticket=Ticket(ref=REF, remote_updated_at=NOW))
    run(gateway, arrive(gateway, created, subject="7"))
    [action] = rows(gateway, actions, kind="create_ticket")
    return execute(gateway, 1, "acme", "desk", [action.id])


def test_the_ticket_comes_back_with_its_id_and_address(gateway: Runtime) -> None:
    sent = opening(gateway, Receipt(remote_id="8", url="https://desk.example/8"))
    run(gateway, *sent.raised)
    [note] = rows(gateway, actions, kind="add_comment")
    assert (note.ticket_id, note.body["body"]) == ("7", "8 at https://desk.example/8")
    told = rows(gateway, events)[1]
    assert (told.kind, told.ticket_id, told.ours, told.connection) == ("ticket.created", "8", True, "desk")
    stored = {row.id: row.body for row in rows(gateway, tickets)}["8"]
    assert (stored["url"], stored["subject"]) == ("https://desk.example/8", "s"), (
        "what was planned stays known"
    )


@pytest.mark.parametrize("awaited", [True, False])
def test_what_its_desk_tells_of_it_is_newer_than_what_was_planned(gateway: Runtime, awaited: bool) -> None:
    """Desks cut their times to the second, and their clocks differ from ours."""
    sent = opening(gateway, Receipt(remote_id="8", url="https://desk.example/8"), awaited=awaited)
    run(gateway, *sent.raised)
    read = Ticket(ref=TicketRef("desk", "8"), subject="theirs", remote_updated_at=NOW - timedelta(seconds=1))
    told = TicketUpdated(id="u", occurred_at=NOW, ticket=read, actor=Person(id="us"))
    run(gateway, arrive(gateway, told, subject="8"))
    run(gateway, arrive(gateway, told.model_copy(update={"ticket": Ticket(ref=read.ref)}), subject="8"))
    stored = {row.id: row for row in rows(gateway, tickets)}["8"]
    assert stored.body["subject"] == "theirs"


def test_without_an_address_it_is_told_all_the_same(gateway: Runtime) -> None:
    sent = opening(gateway, Receipt(remote_id="8"))
    run(gateway, *sent.raised)
    [note] = rows(gateway, actions, kind="add_comment")
    assert note.body["body"] == "8 at None"


def test_what_nobody_waits_for_is_not_told(gateway: Runtime) -> None:
    assert opening(gateway, Receipt(remote_id="8"), awaited=False).raised == []
    assert len(rows(gateway, deliveries)) == 1


@pytest.mark.parametrize("receipt", [Receipt(), None])
def test_a_ticket_that_does_not_exist_is_not_told(gateway: Runtime, receipt: Any) -> None:
    assert opening(gateway, receipt).raised == []


def test_only_rules_that_hear_what_is_ours_are_told(gateway: Runtime) -> None:
    sent = opening(gateway, Receipt(remote_id="8"), hears_ours=False)
    run(gateway, *sent.raised)
    assert rows(gateway, events)[1].decisions == []
