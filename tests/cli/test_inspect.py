"""Do the verbs for looking show what happened, and do replay and retry bring exactly that on its way again?"""

import io
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from gateway_plugins.generic.sandbox import SECRET
from sqlalchemy import text

from gateway import jobs, runtime
from gateway.runtime import Runtime
from gateway.settings import Settings
from gateway.store import actions as outbox
from gateway.store import timers
from gateway.store.tables import actions, deliveries, links, tickets

RULE = "core_ticket_on_payment"


@pytest.fixture
def acme(database_url: str, redis_url: str, key: str, acme_on: Callable[[Runtime], Any]) -> Iterator[Any]:
    """The tenant, sealed with the key that the command has."""
    chosen = Settings(allow_private_targets=True, database_url=database_url, redis_url=redis_url)
    with runtime.Closing(runtime.start(chosen, database_url, redis_url, (key,))) as started:
        yield acme_on(started)


def queued(acme: Any, name: str) -> list[Any]:
    """The arguments of every job in this queue."""
    return [list(job.args) for job in jobs.queue(acme.gateway.redis, name).jobs]


def by_kind(acme: Any) -> dict[str, Any]:
    return {row.kind: row for row in acme.rows(actions)}


# --- deliveries ---------------------------------------------------------------------------------------------


def test_deliveries_are_listed_newest_first_and_by_page(command: Any, acme: Any) -> None:
    ids = [acme.pay(f"pay_{n}") for n in range(5)]
    found = json.loads(command("deliveries", "list", "--limit", "2", "--json").out)
    assert [row["id"] for row in found] == [ids[4], ids[3]]
    found = json.loads(command("deliveries", "list", "--before", str(ids[3]), "--json").out)
    assert [row["id"] for row in found] == ids[2::-1]
    table = command("deliveries", "list", "--limit", "2").out
    assert f"more: --before {ids[3]}" in table
    assert "received" in table


def test_deliveries_are_listed_by_state_tenant_and_connection(command: Any, acme: Any) -> None:
    decided, parked, waiting = acme.pay(), acme.pay(amount="a lot"), acme.pay("pay_3")
    acme.decide(decided, parked)
    for state, id_ in (("decided", decided), ("parked", parked), ("received", waiting)):
        for scope in ([], ["--tenant", "acme"], ["--tenant", "acme", "--connection", "pay"]):
            found = json.loads(command("deliveries", "list", "--state", state, *scope, "--json").out)
            assert [row["id"] for row in found] == [id_], (state, scope)
    assert json.loads(command("deliveries", "list", "--tenant", "other", "--json").out) == []
    assert json.loads(command("deliveries", "list", "--connection", "desk", "--json").out) == []
    assert command("deliveries", "list", "--state", "lost").code == 2


def test_the_deliveries_of_a_ticket_are_those_that_told_of_it_or_wait(command: Any, acme: Any) -> None:
    acme.decide(acme.pay())
    acme.execute()
    [ticket] = acme.tickets
    told = acme.notice(ticket, "status_changed", {"previous": "NEW", "current": "OPEN"})
    acme.decide(told)
    waits = acme.notice(ticket, "status_changed", {"previous": "OPEN", "current": "PENDING"})
    acme.notice({**ticket, "id": 9}, "status_changed", {"previous": "OPEN", "current": "PENDING"})
    about = ["--tenant", "acme", "--connection", "desk", "--ticket", str(ticket["id"])]
    found = json.loads(command("deliveries", "list", *about, "--json").out)
    assert [row["id"] for row in found] == [waits, told]
    found = json.loads(command("deliveries", "list", *about, "--state", "decided", "--json").out)
    assert [row["id"] for row in found] == [told]
    assert command("deliveries", "list", "--ticket", "1").code == 2


def test_show_prints_the_body_readably_and_no_secret(command: Any, acme: Any) -> None:
    id_ = acme.pay(note=SECRET)
    shown = command("deliveries", "show", str(id_))
    assert '"name": "Padaria Exemplo"' in shown.out
    assert "webhook-signature  [redacted]" in shown.out
    assert SECRET not in shown.out
    assert '"note": "[redacted]"' in shown.out
    data = json.loads(command("deliveries", "show", str(id_), "--json").out)
    assert data["body"]["data"]["id"] == "pay_1"
    assert data["headers"]["webhook-signature"] == "[redacted]"
    assert SECRET not in json.dumps(data)


def test_show_caps_a_long_body_unless_all_of_it_is_wanted(command: Any, acme: Any) -> None:
    id_ = acme.pay(note="x" * 50_000)
    shown = command("deliveries", "show", str(id_)).out
    assert "characters more: --full shows them" in shown
    assert len(shown) < 25_000
    assert len(command("deliveries", "show", str(id_), "--full").out) > 50_000


def test_show_of_a_body_that_is_no_json_hides_its_sensitive_parameters(command: Any, acme: Any) -> None:
    id_ = acme.pay()
    body = b"event=X&auth%5Bapplication_token%5D=not-for-you&id=7"
    with acme.gateway.db.begin() as db:
        db.execute(deliveries.update().where(deliveries.c.id == id_).values(body=body))
    shown = command("deliveries", "show", str(id_)).out
    assert "id=7" in shown
    assert "not-for-you" not in shown


def test_show_of_an_unknown_delivery_or_another_tenants_fails(command: Any, acme: Any) -> None:
    id_ = acme.pay()
    assert command("deliveries", "show", "999999").code == 1
    assert command("deliveries", "show", str(id_), "--tenant", "other").code == 1


def test_replay_asks_and_a_no_changes_nothing(command: Any, acme: Any, monkeypatch: Any) -> None:
    acme.decide(id_ := acme.pay())
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    ran = command("deliveries", "replay", str(id_))
    assert ran.code == 1
    assert "1 delivery will be decided again." in ran.out + ran.err
    assert acme.rows(deliveries)[0].state == "decided"
    assert queued(acme, "decide") == []


def test_replay_puts_deliveries_back_and_queues_them(command: Any, acme: Any) -> None:
    acme.decide(first := acme.pay(), second := acme.pay("pay_2"))
    ran = command("deliveries", "replay", str(first), str(second), "--yes")
    assert ran.out == "2 deliveries put back\n"
    assert {row.state for row in acme.rows(deliveries)} == {"received"}
    assert queued(acme, "decide") == [[[first]], [[second]]], "few that are put back are decided each alone"
    before = len(acme.rows(actions))
    acme.decide(first, second)
    assert len(acme.rows(actions)) == before, "what was decided before is not decided a second time"


def test_replay_of_all_parked_ones_of_a_tenant_and_connection(command: Any, acme: Any) -> None:
    parked, hint = acme.pay(amount="a lot"), acme.pay("pay_2", amount="a lot")
    acme.decide(parked, hint, acme.pay("pay_3"))
    with acme.gateway.db.begin() as db:
        db.execute(deliveries.update().where(deliveries.c.id == hint).values(reading="wanted", subject="7"))
    nothing = command("deliveries", "replay", "--parked", "--tenant", "acme", "-c", "desk", "--yes", "--json")
    assert json.loads(nothing.out) == {"replayed": []}
    ran = command("deliveries", "replay", "--parked", "--tenant", "acme", "-c", "pay", "--yes", "--json")
    assert json.loads(ran.out) == {"replayed": [parked, hint]}
    assert queued(acme, "decide") == [[[parked]]]
    assert queued(acme, "collect") == [["acme", "pay", [hint]]], "its ticket has to be read first"


@pytest.mark.parametrize(
    "arguments", [[], ["--parked"], ["1", "--parked", "--tenant", "acme"], ["--parked", "--yes"]]
)
def test_replay_wants_to_know_exactly_which(command: Any, acme: Any, arguments: list[str]) -> None:
    assert command("deliveries", "replay", *arguments).code == 2


def test_replay_of_what_waits_or_is_unknown_replays_nothing(command: Any, acme: Any) -> None:
    acme.decide(decided := acme.pay())
    waiting = acme.pay("pay_2")
    for wrong in ([str(waiting)], ["999999"], ["--tenant", "other"]):
        assert command("deliveries", "replay", str(decided), *wrong, "--yes").code == 1
    assert [row.state for row in acme.rows(deliveries)] == ["decided", "received"]


# --- actions ------------------------------------------------------------------------------------------------


def test_actions_are_listed_newest_first_of_all_tenants_or_one(command: Any, acme: Any) -> None:
    acme.decide(acme.pay(), acme.pay("pay_2", customer={"name": "B", "email": "b@x.example"}))
    for scope in ([], ["--tenant", "acme"]):
        found = json.loads(command("actions", "list", *scope, "--json").out)
        assert [row["seq"] for row in found] == sorted((row["seq"] for row in found), reverse=True)
        assert len(found) == 6
        rest = json.loads(command("actions", "list", *scope, "--before", str(found[3]["seq"]), "--json").out)
        assert rest == found[4:]
    pending = json.loads(command("actions", "list", "--state", "pending", "--json").out)
    assert {row["kind"] for row in pending} == {"create_ticket"}
    assert json.loads(command("actions", "list", "--tenant", "other", "--json").out) == []
    assert "create_ticket" in command("actions", "list").out


def test_actions_of_a_ticket(command: Any, acme: Any) -> None:
    acme.decide(acme.pay())
    acme.execute()
    ticket = str(acme.tickets[0]["id"])
    about = ["--tenant", "acme", "--connection", "desk", "--ticket", ticket]
    found = json.loads(command("actions", "list", *about, "--json").out)
    assert [row["kind"] for row in found] == ["create_ticket"]
    assert command("actions", "list", "--ticket", ticket).code == 2


def test_show_of_an_action_has_its_calls(command: Any, acme: Any) -> None:
    acme.decide(acme.pay())
    acme.execute()
    created = by_kind(acme)["create_ticket"]
    shown = command("actions", "show", str(created.id)).out
    assert f"POST {acme.desk_url}/api/v2/tickets.json -> 201" in shown
    assert '"subject": "CORE - Padaria Exemplo"' in shown
    data = json.loads(command("actions", "show", str(created.id), "--json").out)
    assert data["state"] == "done"
    assert data["tried"][0]["outcome"] == "done"
    assert "sandbox-token" not in json.dumps(data)
    assert command("actions", "show", str(uuid4())).code == 1


def test_retry_of_a_dead_creation_revives_what_died_for_want_of_the_ticket(command: Any, acme: Any) -> None:
    acme.decide(acme.pay())
    acme.decide(acme.pay("pay_2"))
    acme.misbehave(kind="status", status=422, times=1, method="POST", path="/api/v2/tickets")
    acme.execute()
    dead = by_kind(acme)
    assert (dead["create_ticket"].state, dead["add_comment"].state) == ("dead", "dead")
    assert acme.rows(tickets) == []
    ran = command("actions", "retry", str(dead["create_ticket"].id), "--yes")
    assert ran.out == "2 actions put back\n"
    again = by_kind(acme)
    assert (again["create_ticket"].state, again["add_comment"].state) == ("pending", "pending")
    assert [row.id for row in acme.rows(tickets)] == [again["create_ticket"].ticket_id]
    assert queued(acme, "execute") == [["acme", "desk", [str(again["create_ticket"].id)]]]
    acme.execute()
    assert {row.state for row in acme.rows(actions)} == {"done"}
    [ticket] = acme.tickets
    assert [row.id for row in acme.rows(tickets)] == [str(ticket["id"])]
    assert {row.source for row in acme.rows(links)} == {f"ticket:desk:{ticket['id']}"}


def test_retry_of_what_died_for_want_of_a_ticket_retries_the_creation_too(command: Any, acme: Any) -> None:
    acme.decide(acme.pay())
    acme.decide(acme.pay("pay_2"))
    acme.misbehave(kind="status", status=422, times=1, method="POST", path="/api/v2/tickets")
    acme.execute()
    ran = command("actions", "retry", str(by_kind(acme)["add_comment"].id), "--yes", "--json")
    assert set(json.loads(ran.out)["retried"]) == {
        str(by_kind(acme)[kind].id) for kind in ("create_ticket", "add_comment")
    }
    acme.execute()
    assert {row.state for row in acme.rows(actions)} == {"done"}


def test_a_retried_creation_that_had_taken_effect_opens_no_second_ticket(command: Any, acme: Any) -> None:
    acme.decide(acme.pay())
    acme.execute()
    created = by_kind(acme)["create_ticket"]
    with acme.gateway.db.begin() as db:
        db.execute(actions.update().where(actions.c.id == created.id).values(state="dead", error="unsure"))
    assert command("actions", "retry", str(created.id), "--yes").code == 0
    acme.execute()
    assert len(acme.tickets) == 1
    assert by_kind(acme)["create_ticket"].state == "done"


def test_retry_of_all_that_stopped_in_one_state(command: Any, acme: Any) -> None:
    acme.decide(acme.pay())
    acme.misbehave(kind="status", status=422, times=1, method="POST", path="/api/v2/tickets")
    acme.execute()
    nothing = command("actions", "retry", "--state", "held", "--tenant", "acme", "--yes")
    assert nothing.out == "nothing to retry\n"
    ran = command("actions", "retry", "--state", "dead", "--tenant", "acme", "-c", "desk", "--yes")
    assert ran.out == "1 action put back\n"
    for wrong in ([], ["--state", "dead"], ["--state", "pending", "--tenant", "acme"]):
        assert command("actions", "retry", *wrong).code == 2


def test_retry_of_what_has_not_stopped_retries_nothing(command: Any, acme: Any) -> None:
    acme.decide(acme.pay())
    pending = by_kind(acme)["create_ticket"]
    ran = command("actions", "retry", str(pending.id), "--yes")
    assert ran.code == 1
    assert "it has not stopped" in ran.err
    assert command("actions", "retry", str(uuid4()), "--yes").code == 1


# --- explain, simulate, incidents, timers -------------------------------------------------------------------


def test_explain_prints_the_story_and_json(command: Any, acme: Any) -> None:
    acme.decide(id_ := acme.pay())
    acme.execute()
    told = command("explain", str(id_)).out
    assert "3 actions decided: 3 done." in told
    assert f"rule {RULE}: acted" in told
    data = json.loads(command("explain", str(id_), "--json").out)
    assert data["events"][0]["kind"] == "payment.confirmed"
    assert command("explain", "999999").code == 1


def test_simulate_takes_settings_as_the_rules_verbs_do(command: Any, acme: Any) -> None:
    acme.decide(id_ := acme.pay())
    draft = ["--rule", RULE, "--set", "team=CS", "--set", "plans=[Basic, Pro]"]
    told = command("simulate", str(id_), *draft).out
    assert "~ create_ticket" in told
    assert "team: 'GR' -> 'CS'" in told
    data = json.loads(command("simulate", str(id_), *draft, "--json").out)
    assert data["events"][0]["rules"][0]["actions"][0]["fields"] == {"team": ["GR", "CS"]}
    assert queued(acme, "decide") == queued(acme, "execute") == []


def test_simulate_of_many_sums_up(command: Any, acme: Any) -> None:
    acme.decide(acme.pay(), acme.pay("pay_2", customer={"name": "B", "email": "b@x.example"}))
    yesterday = (acme.gateway.clock() - timedelta(days=1)).strftime("%Y-%m-%d")
    told = command("simulate", "--all-since", yesterday, "--tenant", "acme", "--disable", RULE).out
    assert "2 deliveries: 2 would differ, 0 not simulated" in told
    same = command("simulate", "--all-since", yesterday, "--tenant", "acme").out
    assert same == "2 deliveries: 0 would differ, 0 not simulated\n"


def test_simulate_of_what_cannot_be_simulated_fails(command: Any, acme: Any) -> None:
    acme.decide(id_ := acme.pay(amount="a lot"))
    ran = command("simulate", str(id_))
    assert ran.code == 1
    assert "cannot be simulated" in ran.out
    assert command("simulate", str(id_), "--set", "team=CS").code == 1
    for wrong in ([], [str(id_), "--all-since", "2026-01-01"], ["--all-since", "2026-01-01"]):
        assert command("simulate", *wrong).code == 2


def test_incidents_and_timers_are_listed(command: Any, acme: Any) -> None:
    now = acme.gateway.clock()
    with acme.gateway.db.begin() as db:
        outbox.open_incident(db, tenant="acme", kind="action_budget", subject="x", message="a loop?", now=now)
        timers.start(db, [{
            "tenant": "acme", "key": "k1", "rule": RULE, "at": now, "connection": None, "ticket_id": None,
            "payload": {}, "changed_at": now,
        }])  # fmt: skip
    assert "a loop?" in command("incidents").out
    assert [row["key"] for row in json.loads(command("timers", "--json").out)] == ["k1"]
    assert json.loads(command("incidents", "--tenant", "other", "--json").out) == []
    with acme.gateway.db.begin() as db:
        db.execute(text("UPDATE incidents SET closed_at = now()"))
    assert command("incidents").out == "no open incidents\n"
    assert len(json.loads(command("incidents", "--all", "--json").out)) == 1
