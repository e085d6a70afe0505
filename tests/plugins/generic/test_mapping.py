"""Is a mapping that cannot work refused when it is saved, with a message that says what would?"""

import copy

import pytest
from gateway_plugins import generic
from gateway_plugins.generic.mapping import EVENTS, KINDS, EventMapping, leaves
from gateway_plugins.generic.sandbox import PAYMENT_MAPPING, SECRET
from pydantic import ValidationError

from gateway.model.event import EVENT_KINDS

PAYMENT = {"when": "type", "event": "payment.confirmed", "id": "data.id", "fields": {"payment.id": "data.id"}}


def refused(model: type, **given: object) -> str:
    with pytest.raises(ValidationError) as refusal:
        model.model_validate(given)
    return str(refusal.value)


def saved(**changes: object) -> generic.Settings:
    return generic.Settings.model_validate({"secret": SECRET, **PAYMENT_MAPPING, **changes})


def test_every_event_can_be_told_but_the_cores_own():
    assert set(EVENTS) == set(EVENT_KINDS) - {"timer.fired", "unrecognized"}
    assert set(KINDS) == set(EVENTS) | {"ticket.snapshot"}


def test_an_unknown_event_names_those_there_are():
    message = refused(EventMapping, **{**PAYMENT, "event": "payment.paid"})
    assert "unknown event 'payment.paid'" in message
    assert "payment.confirmed, payment.overdue, payment.reversed" in message


def test_the_cores_timers_cannot_be_fired_from_outside():
    assert "unknown event 'timer.fired'" in refused(EventMapping, **{**PAYMENT, "event": "timer.fired"})


@pytest.mark.parametrize(
    "path",
    [
        "payment.value", "amount", "customer", "customer.id", "tenant", "ours", "id", "kind", "occurred_at",
        "",
        "customer.custom_fields.", "customer.custom_fields.*", "customer.custom_fields.a.b", "ticket.subject",
    ],
)  # fmt: skip
def test_an_unknown_field_names_those_there_are(path):
    fields = {"payment.id": "data.id", path: "data.x"}
    message = refused(EventMapping, **{**PAYMENT, "fields": fields})
    assert f"unknown field {path!r} of payment.confirmed" in message
    assert "payment.amount_minor" in message


def test_a_ticket_of_another_connection_cannot_be_told():
    assert "ticket.ref.connection" not in leaves(EVENTS["ticket.updated"])
    assert "ticket.connection" in leaves(EVENTS["form.submitted"])


@pytest.mark.parametrize(
    ("fields", "missing"),
    [({}, "payment.id"), ({"payment.id": "data.id", "actor.email": "data.by"}, "actor.id")],
)
def test_a_mapping_must_fill_what_the_event_cannot_be_without(fields, missing):
    message = refused(EventMapping, **{**PAYMENT, "fields": fields})
    assert f"payment.confirmed cannot be told without the field(s) {missing}" in message


def test_a_field_is_not_filled_twice():
    fields = {"payment.id": "data.id", "customer.custom_fields": "data", "customer.custom_fields.a": "data.a"}
    assert "already covered by 'customer.custom_fields'" in refused(
        EventMapping, **{**PAYMENT, "fields": fields}
    )


def test_only_a_whole_ticket_needs_no_name_for_the_fact():
    unnamed = {name: value for name, value in PAYMENT.items() if name != "id"}
    assert "needs an `id` that names the fact" in refused(EventMapping, **unnamed)
    whole = {"when": "id", "event": "ticket.snapshot", "fields": {"ticket.ref.id": "id"}}
    assert EventMapping.model_validate(whole).id is None


@pytest.mark.parametrize("part", ["when", "id", "occurred_at"])
def test_a_bad_expression_is_named_wherever_it_stands(part):
    assert "bad JMESPath 'data.['" in refused(EventMapping, **{**PAYMENT, part: "data.["})


def test_a_bad_expression_is_named_in_the_fields_too():
    fields = {"payment.id": "data.id", "payment.plan": "lower(data.plan)"}
    assert "no function lower()" in refused(EventMapping, **{**PAYMENT, "fields": fields})


def test_ticket_events_need_to_say_which_ticket_keeps_their_order():
    ticket = {"when": "type", "event": "ticket.updated", "id": "id", "fields": {"ticket.ref.id": "id"}}
    assert "`subject`" in refused(generic.Settings, secret=SECRET, events=[ticket])
    assert generic.Settings.model_validate({"secret": SECRET, "events": [ticket], "subject": "id"})


def test_a_sample_that_gives_what_is_expected_is_saved():
    assert saved().sample == PAYMENT_MAPPING["sample"]


def test_a_sample_may_be_pasted_as_text():
    text = '{"type": "payment.confirmed", "timestamp": "2026-09-14T00:00:00Z", "data": {"id": "pay_9"}}'
    assert saved(sample=text, expect={"payment.id": "pay_9", "payment.plan": None})


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"expect": {"payment.amount_minor": 990}}, "expect: payment.amount_minor is 99000, not 990"),
        ({"expect": {"payment.id.x": 1}}, "expect: payment.id.x is null, not 1"),
        ({"sample": None}, "`expect` needs a `sample`"),
        ({"sample": {"type": "other"}}, "no `when` holds"),
        ({"sample": "{"}, "sample: the body is not usable JSON"),
        ({"sample": [1]}, "sample: the body is JSON, but not an object"),
        ({"sample": {"type": object()}}, "in YAML, dates need quotes"),
        ({"sample": {"type": "payment.confirmed", "data": {}}}, "sample: payment.confirmed: id (data.id)"),
        ({"events": []}, "say what comes in"),
        ({"secret": None}, "secret: is required"),
    ],
)
def test_a_mapping_that_does_not_work_on_its_sample_is_refused(changes, complaint):
    assert complaint in refused(generic.Settings, **{"secret": SECRET, **PAYMENT_MAPPING, **changes})


def test_a_mapping_whose_sample_lacks_the_amount_is_refused_by_its_expectation():
    sample = copy.deepcopy(PAYMENT_MAPPING["sample"])
    del sample["data"]["amount"]
    message = refused(generic.Settings, **{"secret": SECRET, **PAYMENT_MAPPING, "sample": sample})
    assert "payment.amount_minor is null, not 99000" in message


def test_what_is_read_back_needs_a_name():
    hints = {"collect": {"path": "/p/{{ id }}", "hint": True}, "base_url": "https://x.example"}
    assert "collect: what is read back is named by `subject`" in refused(
        generic.Settings, secret=SECRET, events=[PAYMENT], **hints
    )


def test_a_refusal_does_not_tell_the_secret():
    message = refused(generic.Settings, secret=SECRET, events=[])
    assert SECRET not in message
