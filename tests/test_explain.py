"""Does the explanation tell the whole story of a delivery, also where nothing happened?"""

from typing import Any

import pytest
from gateway_plugins.generic.sandbox import SECRET

from gateway.explain import explanation, lines
from gateway.model.errors import GatewayError
from gateway.store import tenants
from gateway.store.tables import actions, deliveries


def explained(acme: Any, id_: int) -> dict[str, Any]:
    with acme.gateway.db.connect() as db:
        return explanation(acme.gateway, db, id_)


def text(data: dict[str, Any]) -> str:
    return "\n".join("  " * depth + line for depth, line, _ in lines(data))


def answers(data: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """By rule, its answer and why, of the first event."""
    return {rule["rule"]: (rule["answer"], "; ".join(rule["why"])) for rule in data["events"][0]["rules"]}


def test_a_payment_that_opened_a_ticket(acme: Any) -> None:
    id_ = acme.pay()
    acme.pay(message="x")
    acme.decide(id_)
    acme.execute()
    data = explained(acme, id_)
    [event] = data["events"]
    [core] = [rule for rule in event["rules"] if rule["answer"] == "acted"]
    created = core["actions"][0]
    assert data["verdict"] == ["3 actions decided: 3 done."]
    assert (event["kind"], event["fact"], event["ours"]) == (
        "payment.confirmed",
        "payment.confirmed:pay_1",
        False,
    )
    assert created["receipt"]["remote_id"] == str(acme.tickets[0]["id"])
    calls = [(call["method"], call["status"]) for attempt in created["tried"] for call in attempt["calls"]]
    assert ("POST", 201) in calls
    story = text(data)
    assert "accepted by the generic plugin (header webhook-signature)" in story
    assert f"trace {data['delivery']['trace_id']}" in story
    assert "because payment pay_1 was confirmed and the customer has no open CORE ticket" in story
    assert f"POST {acme.desk_url}/api/v2/tickets.json -> 201" in story
    assert "rule require_phone: not asked: switched off for this tenant" in story
    assert "sandbox-token" not in story
    assert SECRET not in story


def test_a_fact_that_another_delivery_told_names_that_delivery(acme: Any) -> None:
    first, second = acme.pay(), acme.pay()
    acme.decide(first, second)
    data = explained(acme, second)
    assert data["events"] == []
    assert data["verdict"] == [f"Nothing new: payment.confirmed:pay_1 was already told by delivery {first}."]


def test_the_same_delivery_sent_again_is_counted(acme: Any) -> None:
    id_ = acme.pay(message="same")
    assert acme.pay(message="same") == id_
    acme.decide(id_)
    assert "sent again 1 times, which changed nothing" in text(explained(acme, id_))


def test_a_rule_that_looked_and_did_nothing_says_why(acme: Any) -> None:
    acme.configure(core_ticket_on_payment={"connection": "desk", "plans": ["Basic"]})
    acme.decide(id_ := acme.pay())
    data = explained(acme, id_)
    why = "plan 'Pro' is not among those that open a CORE ticket: Basic"
    assert answers(data)["core_ticket_on_payment"] == ("skipped", why)
    [verdict] = data["verdict"]
    assert "core_ticket_on_payment looked and had a reason" in verdict


def test_rules_that_are_off_say_so(acme: Any) -> None:
    acme.configure()
    acme.decide(id_ := acme.pay())
    data = explained(acme, id_)
    assert set(answers(data).values()) == {("not asked", "switched off for this tenant")}
    assert data["verdict"] == [
        "Nothing was done about payment.confirmed: no rule is switched on for this tenant."
    ]


def test_a_rule_that_was_switched_on_later_was_not_asked_then(acme: Any) -> None:
    acme.configure()
    acme.decide(id_ := acme.pay())
    acme.configure(core_ticket_on_payment={"connection": "desk"})
    _, why = answers(explained(acme, id_))["core_ticket_on_payment"]
    assert why == "not asked then: it was switched off or not installed; it is on now"


def test_a_rule_with_broken_settings_says_what_is_wrong(acme: Any) -> None:
    acme.configure(core_ticket_on_payment={})
    acme.decide(id_ := acme.pay())
    _, why = answers(explained(acme, id_))["core_ticket_on_payment"]
    assert why == "off until its settings are mended: connection: Field required"


def test_a_rule_that_failed_shows_its_error(acme: Any) -> None:
    acme.configure(core_ticket_on_payment={"connection": "desk", "subject": "{{ nobody.name }}"})
    acme.decide(id_ := acme.pay())
    data = explained(acme, id_)
    kind, why = answers(data)["core_ticket_on_payment"]
    assert kind == "failed"
    assert "'nobody' is undefined" in why
    assert "core_ticket_on_payment failed" in data["verdict"][0]


def test_what_we_did_ourselves_is_said_to_be_ours(acme: Any) -> None:
    acme.decide(acme.pay())
    acme.execute()
    change = {"previous": "NEW", "current": "PENDING"}
    acme.decide(id_ := acme.notice(acme.tickets[0], "status_changed", change, actor=90001))
    data = explained(acme, id_)
    assert data["events"][0]["ours"]
    assert answers(data)["core_ticket_on_payment"] == ("not asked", "not asked: we did this ourselves")
    assert data["verdict"] == ["Nothing was done about ticket.status_changed: we did it ourselves."]


def test_a_kind_without_a_word_is_told_as_such(acme: Any) -> None:
    acme.decide(id_ := acme.pay(kind="payment.invented"))
    [verdict] = explained(acme, id_)["verdict"]
    assert verdict.startswith("Nothing was done: no rule is asked about a kind")
    assert "payment.invented" in verdict


def test_a_parked_delivery_shows_its_error_and_how_to_replay_it(acme: Any) -> None:
    acme.decide(id_ := acme.pay(customer="nobody", amount="a lot"))
    data = explained(acme, id_)
    assert data["delivery"]["state"] == "parked"
    assert data["verdict"][0].startswith("Parked: ")
    assert data["verdict"][1] == f"When that is mended: gateway deliveries replay {id_}"


def test_a_waiting_delivery_says_what_it_waits_for(acme: Any) -> None:
    acme.decide(acme.pay())
    acme.execute()
    ticket = acme.tickets[0]
    first = acme.notice(ticket, "status_changed", {"previous": "NEW", "current": "OPEN"})
    second = acme.notice(ticket, "status_changed", {"previous": "OPEN", "current": "PENDING"})
    assert "for a worker to take it" in explained(acme, first)["verdict"][0]
    assert f"it waits for delivery {first}, which came earlier" in explained(acme, second)["verdict"][0]
    with acme.gateway.db.begin() as db:
        db.execute(deliveries.update().where(deliveries.c.id == first).values(reading="wanted"))
    assert f"for ticket {ticket['id']} to be read back from desk" in explained(acme, first)["verdict"][0]


def test_an_action_that_waits_names_what_it_waits_for(acme: Any) -> None:
    acme.decide(first := acme.pay())
    acme.decide(second := acme.pay("pay_2"))
    creation = next(row for row in acme.rows(actions) if row.kind == "create_ticket")
    verdict = explained(acme, second)["verdict"]
    assert f"add_comment waits for create_ticket {creation.id} (pending) of delivery {first}." in verdict


def test_a_dead_action_says_how_to_try_again(acme: Any) -> None:
    acme.misbehave(kind="status", status=422, times=10)
    acme.decide(id_ := acme.pay())
    acme.execute()
    [counted, trouble] = explained(acme, id_)["verdict"]
    creation = next(row for row in acme.rows(actions) if row.kind == "create_ticket")
    assert counted == "3 actions decided: 1 dead, 2 done."
    assert "answered 422" in trouble
    assert f"gateway actions retry {creation.id}" in trouble


def test_a_ticket_whose_key_was_used_is_told_as_left_out(acme: Any) -> None:
    """With other tags the rule does not know its first ticket and decides it again; the ledger does not."""
    acme.decide(acme.pay())
    acme.execute()
    with acme.gateway.db.begin() as db:
        tenants.save_rule(
            db,
            "acme",
            "core_ticket_on_payment",
            enabled=True,
            settings={"connection": "desk", "tags": ["other"]},
        )
        tenants.changed(db, ["tags"])
    acme.decide(id_ := acme.pay("pay_2"))
    data = explained(acme, id_)
    [left_out, *_] = data["events"][0]["rules"][0]["actions"]
    assert (left_out["state"], left_out["kind"]) == ("left out", "create_ticket")
    assert len(acme.tickets) == 1


def test_an_unknown_delivery_or_another_tenants_is_an_error(acme: Any) -> None:
    id_ = acme.pay()
    with acme.gateway.db.connect() as db:
        with pytest.raises(GatewayError, match="there is no delivery 999999"):
            explanation(acme.gateway, db, 999999)
        with pytest.raises(GatewayError, match="of tenant other"):
            explanation(acme.gateway, db, id_, "other")
