"""Every kind of action survives being stored and read again."""

from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tests_made import JSON_VALUES, made

from gateway.model import action as actions
from gateway.model.action import Action, AnyAction, TicketAction, parse_action

KINDS = get_args(get_args(AnyAction)[0])


def test_every_action_that_is_defined_can_be_read():
    defined = {
        found
        for found in vars(actions).values()
        if isinstance(found, type) and issubclass(found, Action) and found not in {Action, TicketAction}
    }
    assert defined == set(KINDS)


def test_what_the_core_does_itself_is_told_apart():
    core = {kind.model_fields["kind"].default for kind in KINDS if kind.core}
    assert core == {"link_tickets", "save_customer", "start_timer", "cancel_timer", "raise_event"}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_it_is_the_same_after_it_was_stored(kind, data):
    action = data.draw(made(kind))
    again = parse_action(action.to_json())
    assert type(again) is kind
    assert again == action
    assert again.to_json() == action.to_json()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_none_goes_without_a_reason(kind):
    assert kind.model_fields["reason"].is_required()


@given(JSON_VALUES)
def test_anything_else_is_refused_and_nothing_else_is_raised(value):
    with pytest.raises(ValidationError):
        parse_action(value)
