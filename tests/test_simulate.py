"""Does a simulation answer as the pipeline would, and leave no trace?"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import InternalError

from gateway.model.errors import GatewayError, InvalidConfiguration, PluginError
from gateway.simulate import Draft, lines, simulate, simulate_since
from gateway.store import deliveries as inbox
from gateway.store.tables import actions, deliveries, links, metadata

RULE = "core_ticket_on_payment"


@contextmanager
def untouched(acme: Any) -> Iterator[None]:
    """Nothing was written in PostgreSQL or queued in Redis, and the desk was not called."""
    before = state(acme)
    yield
    assert state(acme) == before


def state(acme: Any) -> Any:
    with acme.gateway.db.connect() as db:
        rows = {table.name: db.execute(text(f"SELECT t::text FROM {table.name} t ORDER BY 1")).scalars().all()
                for table in metadata.sorted_tables}  # fmt: skip
    return rows, sorted(acme.gateway.redis.scan_iter(b"rq:*")), acme.calls


def answers(data: dict[str, Any], rule: str = RULE) -> dict[str, Any]:
    [found] = [each for event in data["events"] for each in event["rules"] if each["rule"] == rule]
    return found


def changes(data: dict[str, Any], rule: str = RULE) -> list[tuple[str, str]]:
    return [(act["change"], act["kind"]) for act in answers(data, rule)["actions"]]


def test_without_a_draft_everything_is_as_it_was(acme: Any) -> None:
    acme.decide(id_ := acme.pay())
    with untouched(acme):
        data = simulate(acme.gateway, id_, Draft())
    assert changes(data) == [("same", "create_ticket"), ("same", "link_tickets"), ("same", "link_tickets")]
    assert not data["changed"]
    assert "nothing would change" in [line for _, line, _ in lines(data)]


def test_also_after_the_ticket_was_opened_it_is_as_if_the_payment_came_now(acme: Any) -> None:
    acme.decide(id_ := acme.pay())
    acme.execute()
    assert len(acme.rows(links)) == 2
    with untouched(acme):
        data = simulate(acme.gateway, id_, Draft())
    assert not data["changed"]
    assert all(act.get("obstacle") is None for act in answers(data)["actions"])


def test_other_settings_show_which_fields_would_differ(acme: Any) -> None:
    acme.decide(id_ := acme.pay())
    acme.execute()
    with untouched(acme):
        data = simulate(acme.gateway, id_, Draft(RULE, {"team": "CS", "tags": ["core"]}))
    created = answers(data)["actions"][0]
    assert created["change"] == "changed"
    assert created["fields"] == {"team": ["GR", "CS"], "tags": [["core", "onboarding"], ["core"]]}
    assert data["changed"]
    assert "team: 'GR' -> 'CS'" in [line for _, line, _ in lines(data)]


def test_settings_that_are_not_drafted_stay_as_the_tenant_has_them(acme: Any) -> None:
    acme.configure(core_ticket_on_payment={"connection": "desk", "team": "Onboarding"})
    acme.decide(id_ := acme.pay())
    data = simulate(acme.gateway, id_, Draft(RULE, {"tags": ["core"]}))
    assert set(answers(data)["actions"][0]["fields"]) == {"tags"}


def test_a_draft_that_skips_shows_what_would_be_gone_and_why(acme: Any) -> None:
    acme.decide(id_ := acme.pay())
    with untouched(acme):
        data = simulate(acme.gateway, id_, Draft(RULE, {"min_amount": 10_000}))
    assert changes(data) == [("gone", "create_ticket"), ("gone", "link_tickets"), ("gone", "link_tickets")]
    assert answers(data)["skipped"] == ["the amount (R$ 990,00) does not reach the minimum of 10000"]


def test_a_rule_that_is_off_is_on_in_the_draft(acme: Any) -> None:
    acme.configure()
    acme.decide(id_ := acme.pay())
    with untouched(acme):
        data = simulate(acme.gateway, id_, Draft(RULE, {"connection": "desk"}))
    assert changes(data) == [("new", "create_ticket"), ("new", "link_tickets"), ("new", "link_tickets")]
    assert not answers(data)["asked_then"]


def test_a_rule_can_be_switched_off_in_the_draft(acme: Any) -> None:
    acme.decide(id_ := acme.pay())
    with untouched(acme):
        data = simulate(acme.gateway, id_, Draft(disable=frozenset({RULE})))
    assert {change for change, _ in changes(data)} == {"gone"}
    assert not answers(data)["asked"]


def test_a_rule_with_broken_settings_is_simulated_once_the_draft_mends_them(acme: Any) -> None:
    acme.configure(core_ticket_on_payment={"team": "GR"})
    acme.decide(id_ := acme.pay())
    with pytest.raises(InvalidConfiguration, match="connection: Field required"):
        simulate(acme.gateway, id_, Draft(enable=frozenset({RULE})))
    data = simulate(acme.gateway, id_, Draft(RULE, {"connection": "desk"}))
    assert changes(data)[0] == ("new", "create_ticket")


def test_what_would_not_be_sent_says_why(acme: Any) -> None:
    acme.decide(first := acme.pay())
    acme.decide(second := acme.pay("pay_2"))
    other = simulate(acme.gateway, first, Draft(RULE, {"connection": "nowhere"}))
    assert answers(other)["skipped"] == [
        "the connection 'nowhere', where the CORE ticket would open, does not exist"
    ]
    again = simulate(acme.gateway, second, Draft(RULE, {"tags": ["another"]}))
    [created] = [act for act in answers(again)["actions"] if act["kind"] == "create_ticket"]
    assert created["change"] == "new"
    assert created["obstacle"].startswith("a ticket of this key was opened before: desk:")


def test_an_event_that_an_earlier_delivery_told_is_compared_with_what_was_decided_there(acme: Any) -> None:
    acme.decide(first := acme.pay())
    acme.decide(second := acme.pay())
    data = simulate(acme.gateway, second, Draft())
    assert data["events"][0]["told_first_by"] == first


def test_a_collected_delivery_needs_no_vendor_and_tells_what_it_told_then(acme: Any) -> None:
    acme.configure(require_phone={"scope": {"tags": {"any": []}}})
    acme.decide(acme.pay())
    body = {
        "subject": "Ajuda",
        "description": "sem numero",
        "requester": {"name": "Ana", "email": "a@b.example"},
    }
    ticket = acme.opens(body)
    id_ = acme.notice(
        ticket, "comment_added", {"comment": {"id": "1", "body": "", "author": {"id": "80005"}}}
    )
    acme.collect(id_)
    acme.decide(id_)
    assert [row.kind for row in acme.rows(actions)] == ["add_comment", "add_tags"]
    acme.execute()
    with untouched(acme):
        data = simulate(acme.gateway, id_, Draft("require_phone", {"missing_tag": "no-phone"}))
    acts = [act for event in data["events"] for rule in event["rules"] for act in rule["actions"]]
    assert any(act["kind"] == "add_tags" and "tags" in act["fields"] for act in acts)


def test_what_was_not_read_back_yet_or_cannot_be_read_is_not_simulated(acme: Any) -> None:
    acme.decide(parked := acme.pay(amount="a lot"))
    waiting = acme.pay("pay_2")
    with acme.gateway.db.begin() as db:
        db.execute(
            deliveries.update().where(deliveries.c.id == waiting).values(reading="wanted", subject="7")
        )
    assert "amount_minor" in simulate(acme.gateway, parked, Draft())["unable"]
    assert simulate(acme.gateway, waiting, Draft())["unable"] == "ticket 7 has not been read back yet"


def test_many_deliveries_since_a_moment_newest_first(acme: Any) -> None:
    ids = [acme.pay(f"pay_{n}", customer={"name": f"C{n}", "email": f"c{n}@x.example"}) for n in range(5)]
    acme.decide(*ids)
    now = acme.gateway.clock()
    with acme.gateway.db.begin() as db:
        old = deliveries.update().where(deliveries.c.id == ids[0])
        db.execute(old.values(received_at=now - timedelta(days=2)))
    draft = Draft(disable=frozenset({RULE}))
    with untouched(acme):
        found = list(simulate_since(acme.gateway, "acme", now - timedelta(days=1), draft, limit=3))
    assert [data["delivery"] for data in found] == ids[:1:-1]
    assert all(data["changed"] for data in found)
    everything = simulate_since(acme.gateway, "acme", now - timedelta(days=1), draft, limit=100)
    assert [data["delivery"] for data in everything] == ids[:0:-1]


def test_a_replay_still_decides_as_before_after_a_simulation(acme: Any) -> None:
    acme.decide(id_ := acme.pay())
    simulate(acme.gateway, id_, Draft(RULE, {"team": "CS"}))
    with acme.gateway.db.begin() as db:
        inbox.replay(db, [id_], acme.gateway.clock())
    acme.decide(id_)
    acme.execute()
    assert [ticket["group_id"] for ticket in acme.tickets] == [8001]


def test_postgresql_itself_would_refuse_a_write(acme: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a rehearsal were to try."""
    id_ = acme.pay()

    def writing(runtime: Any, db: Any, *_: Any) -> None:
        inbox.park(db, [id_], "no", acme.gateway.clock())

    monkeypatch.setattr("gateway.simulate.rehearse", writing)
    with pytest.raises(InternalError, match="read-only transaction"):
        simulate(acme.gateway, id_, Draft())


def test_nonsense_is_refused(acme: Any) -> None:
    id_ = acme.pay()
    with pytest.raises(PluginError, match="unknown rule 'nobody'"):
        simulate(acme.gateway, id_, Draft(enable=frozenset({"nobody"})))
    with pytest.raises(InvalidConfiguration, match="say which one with --rule"):
        simulate(acme.gateway, id_, Draft(settings={"team": "CS"}))
    with pytest.raises(InvalidConfiguration, match="cannot be on and off"):
        simulate(acme.gateway, id_, Draft(RULE, disable=frozenset({RULE})))
    with pytest.raises(InvalidConfiguration, match="unknown_setting"):
        simulate(acme.gateway, id_, Draft(RULE, {"unknown_setting": 1}))
    with pytest.raises(GatewayError, match="there is no delivery 999999"):
        simulate(acme.gateway, 999999, Draft())
