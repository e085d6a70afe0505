"""Known, unknown, empty: what a record says, and what it leaves open."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tests_made import MOMENTS

from gateway.model.connection import Receipt
from gateway.model.customer import Appointment, Customer
from gateway.model.record import merged
from gateway.model.ticket import Status, Ticket, TicketKind, TicketRef

REF = TicketRef("desk", "7")


def test_a_field_that_was_not_set_is_unknown_and_none_is_not():
    ticket = Ticket(ref=REF, subject=None)
    assert ticket.known() == {"ref": REF, "subject": None}
    assert ticket.to_json() == {"ref": {"connection": "desk", "id": "7"}, "subject": None}


def test_unknown_stays_unknown_when_it_is_read_again():
    ticket = Ticket(ref=REF, status=Status.OPEN, tags=frozenset({"b", "a"}))
    again = Ticket.model_validate(ticket.to_json())
    assert again == ticket
    assert again.model_fields_set == {"ref", "status", "tags"}
    assert ticket.to_json()["tags"] == ["a", "b"], "sorted, so that the same ticket is the same text"


def test_the_kind_of_a_ticket_is_kept_only_where_somebody_said_it():
    assert "kind" not in Ticket(ref=REF).to_json()
    assert Ticket(ref=REF, kind=TicketKind.TASK).to_json()["kind"] == "task"


def test_fields_can_be_left_out():
    json = Customer(id="c", name="Padaria", email="dona@padaria.example").to_json(
        without=frozenset({"email"})
    )
    assert json == {"id": "c", "name": "Padaria"}


def test_merging_takes_what_the_newer_knows_also_where_it_is_empty():
    older = Ticket(ref=REF, subject="old", tags=frozenset({"vip"}), team="GR")
    newer = Ticket(ref=REF, subject="new", team=None)
    both = merged(older, newer)
    assert (both.subject, both.team, both.tags) == ("new", None, frozenset({"vip"}))
    assert both.model_fields_set == {"ref", "subject", "team", "tags"}


def test_merging_leaves_both_as_they_were():
    older, newer = Ticket(ref=REF, subject="old"), Ticket(ref=REF, subject="new")
    merged(older, newer)
    assert (older.subject, newer.subject) == ("old", "new")


def test_records_are_frozen_and_refuse_words_they_do_not_have():
    with pytest.raises(ValidationError):
        Receipt(remote_id="1").remote_id = "2"
    with pytest.raises(ValidationError, match="color"):
        Receipt(color="red")


def test_a_moment_without_a_zone_is_refused():
    with pytest.raises(ValidationError, match="timezone"):
        Appointment(id="a", starts_at=datetime(2026, 3, 2, 9))  # noqa: DTZ001


@given(MOMENTS, st.integers(-14 * 60, 14 * 60))
def test_every_moment_is_kept_in_utc_and_stays_the_same_moment(utc, minutes):
    moment = utc.astimezone(timezone(timedelta(minutes=minutes)))
    kept = Appointment(id="a", starts_at=moment).starts_at
    assert kept == moment
    assert kept.tzinfo is UTC
    assert Appointment.model_validate(Appointment(id="a", starts_at=moment).to_json()).starts_at == moment
