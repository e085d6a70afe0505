"""Every kind of event survives being stored and read again."""

from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tests_made import JSON_VALUES, made

from gateway.model import event as events
from gateway.model.event import AnyEvent, Event, TicketEvent, parse_event

KINDS = get_args(get_args(AnyEvent)[0])


def test_every_event_that_is_defined_has_a_kind_and_can_be_read():
    defined = {
        found for found in vars(events).values() if isinstance(found, type) and issubclass(found, Event)
    }
    assert {found for found in defined if isinstance(found.model_fields["kind"].default, str)} == set(KINDS)


def test_kinds_are_object_dot_verb_and_no_two_are_the_same():
    assert len(set(events.EVENT_KINDS)) == len(KINDS)
    assert all(kind.count(".") == 1 for kind in events.EVENT_KINDS if kind != "unrecognized")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_it_is_the_same_after_it_was_stored(kind, data):
    event = data.draw(made(kind))
    again = parse_event(event.to_json())
    assert type(again) is kind
    assert again == event
    assert again.to_json() == event.to_json()
    assert parse_event(event.model_dump(mode="json")) == event, "as rules write it into RaiseEvent"
    if isinstance(event, TicketEvent):
        assert again.ticket.model_fields_set == event.ticket.model_fields_set, "unknown stays unknown"


@given(JSON_VALUES)
def test_anything_else_is_refused_and_nothing_else_is_raised(value):
    with pytest.raises(ValidationError):
        parse_event(value)


def test_an_event_of_no_kind_we_know_is_refused():
    with pytest.raises(ValidationError, match="kind"):
        parse_event({"kind": "ticket.exploded", "id": "f", "occurred_at": "2026-03-02T15:00:00Z"})
