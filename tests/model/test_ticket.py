"""A ticket, whichever desk it lives at."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.model.action import CreateTicket
from gateway.model.ticket import Priority, Status, Ticket, TicketRef
from gateway.pipeline.world import ref_of

REF = TicketRef("desk", "7")


def test_a_ticket_that_is_still_to_come_is_told_by_its_plus():
    create = CreateTicket(connection="desk", key="core:p1", subject="S", description="D", reason="r")
    assert create.ticket == TicketRef("desk", "+core:p1")
    assert create.ticket.is_planned
    assert not REF.is_planned


@given(st.from_regex(r"[a-z0-9_-]+", fullmatch=True), st.text(min_size=1))
def test_a_name_names_its_ticket_whatever_the_vendor_puts_into_an_id(connection, id_):
    ref = TicketRef(connection, id_)
    assert ref_of(str(ref)) == ref


@pytest.mark.parametrize("name", ["customer:1", "ticket:desk", "ticket:desk:", "ticket", "", "payment:a:b"])
def test_other_names_name_no_ticket(name):
    assert ref_of(name) is None


@pytest.mark.parametrize("status", Status)
def test_a_status_is_over_or_not(status):
    over = {"resolved", "closed", "canceled"}
    assert status.is_over == (status.value in over)
    assert Ticket(ref=REF, status=status).is_open == (status.value not in over)


def test_a_ticket_of_unknown_status_counts_as_open_and_a_deleted_one_does_not():
    assert Ticket(ref=REF).is_open
    assert not Ticket(ref=REF, status=Status.OPEN, deleted=True).is_open


def test_a_word_that_is_not_ours_is_refused_where_ours_is_wanted():
    with pytest.raises(ValidationError, match="status"):
        Ticket(ref=REF, status="Em andamento")
    assert Ticket(ref=REF, remote_status="Em andamento").remote_status == "Em andamento"


def test_references_are_ordered_so_that_locks_are_taken_in_one_order():
    refs = [TicketRef("b", "1"), TicketRef("a", "2"), TicketRef("a", "10")]
    assert sorted(refs) == [TicketRef("a", "10"), TicketRef("a", "2"), TicketRef("b", "1")]


def test_priorities_are_our_four_words():
    assert [priority.value for priority in Priority] == ["low", "normal", "high", "urgent"]
