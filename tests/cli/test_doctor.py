"""Does the doctor notice what is wrong, and say what to do about it?"""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from redis import Redis
from rq.worker import Worker
from sqlalchemy import text

from gateway import doctor, jobs, runtime
from gateway.runtime import Runtime
from gateway.settings import Settings
from gateway.store import actions as outbox
from gateway.store import tenants, timers
from gateway.store.tables import actions, connections, deliveries

PRIVATE = "GATEWAY_ALLOW_PRIVATE_TARGETS"


@pytest.fixture
def acme(database_url: str, redis_url: str, key: str, acme_on: Callable[[Runtime], Any]) -> Iterator[Any]:
    """The tenant, sealed with the key that the command has."""
    chosen = Settings(allow_private_targets=True, database_url=database_url, redis_url=redis_url)
    with runtime.Closing(runtime.start(chosen, database_url, redis_url, (key,))) as started:
        yield acme_on(started)


@pytest.fixture
def worker(acme: Any) -> Iterator[None]:
    """A live worker: on RQ's list, and holding its lock."""
    me = jobs.become_worker(acme.gateway)
    listed = Worker(
        [jobs.queue(acme.gateway.redis, name) for name in jobs.QUEUES], connection=acme.gateway.redis
    )
    with closing(me):
        me.alive()
        listed.register_birth()
        yield


@pytest.fixture
def diagnose(command: Any) -> Callable[..., tuple[int, dict[str, list[tuple[str, str, str]]]]]:
    """The exit code, and (level, text, what to do) of every finding by its name."""

    def run(*options: str) -> tuple[int, dict[str, list[tuple[str, str, str]]]]:
        ran = command("doctor", "--json", *options)
        found: dict[str, list[tuple[str, str, str]]] = {}
        for finding in json.loads(ran.out):
            found.setdefault(finding["name"], []).append((finding["level"], finding["text"], finding["do"]))
        return ran.code, found

    return run


def levels(found: dict[str, list[tuple[str, str, str]]]) -> dict[str, set[str]]:
    return {name: {level for level, _, _ in findings} for name, findings in found.items()}


def test_all_is_well(diagnose: Any, acme: Any, worker: None, monkeypatch: Any) -> None:
    monkeypatch.setenv(PRIVATE, "true")
    code, found = diagnose()
    assert code == 0
    assert {name for name, seen in levels(found).items() if seen != {"ok"}} == {"private targets"}
    assert found["PostgreSQL"][0][1].endswith("UTF8")
    assert {text for _, text, _ in found["vendor"]} == {
        "acme/desk: zendesk accepts our credentials", "acme/pay: generic offers nothing to ask",
    }  # fmt: skip
    assert acme.calls == ["GET /api/v2/users/me.json"]


def test_offline_asks_no_vendor(diagnose: Any, acme: Any) -> None:
    code, found = diagnose("--offline")
    assert code == 0
    assert "vendor" not in found
    assert acme.calls == []


def test_the_text_says_what_to_do(command: Any, acme: Any) -> None:
    told = command("doctor", "--offline").out
    assert "warn queue decide: 0 jobs, 0 live workers" in told
    assert "-> start a worker: gateway worker (or gateway up)" in told


def test_a_wrong_variable_ends_it(command: Any, diagnose: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("GATEWAY_MAX_BODY", "a lot")
    code, found = diagnose()
    assert code == 1
    assert "GATEWAY_MAX_BODY" in found["settings"][0][1]


def test_stores_that_do_not_answer_are_told_without_passwords(diagnose: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("GATEWAY_DATABASE_URL", "postgresql://gateway:hush-hush@127.0.0.1:1/gateway")
    monkeypatch.setenv("GATEWAY_REDIS_URL", "redis://:hush-hush@127.0.0.1:1/0")
    code, found = diagnose()
    assert code == 1
    assert levels(found)["PostgreSQL"] == levels(found)["Redis"] == {"fail"}
    assert "hush-hush" not in json.dumps(found)


def test_a_schema_that_is_not_migrated_fails(diagnose: Any, acme: Any) -> None:
    with acme.gateway.db.begin() as db:
        db.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    code, found = diagnose()
    assert code == 1
    assert found["migrations"][0][2] == "gateway migrate"


def test_a_redis_that_may_drop_keys_fails(diagnose: Any, acme: Any, redis_url: str) -> None:
    with Redis.from_url(redis_url) as redis:
        redis.config_set("maxmemory-policy", "allkeys-lru")
        try:
            code, found = diagnose("--offline")
        finally:
            redis.config_set("maxmemory-policy", "noeviction")
    assert code == 1
    assert "must be noeviction" in found["Redis"][0][1]


def test_no_keys_and_other_keys_fail(
    diagnose: Any, acme: Any, monkeypatch: Any, tmp_path: Path, key: str
) -> None:
    monkeypatch.setenv("GATEWAY_SECRET_KEYS", "")
    code, found = diagnose("--offline")
    assert (code, levels(found)["secret keys"]) == (1, {"fail"})
    monkeypatch.setenv("GATEWAY_SECRET_KEYS", "not-a-key")
    code, found = diagnose("--offline")
    assert (code, levels(found)["secret keys"]) == (1, {"fail"})
    monkeypatch.setenv("GATEWAY_SECRET_KEYS", Fernet.generate_key().decode())
    code, found = diagnose("--offline")
    assert code == 1
    [(level, told, do)] = found["secrets"]
    assert (level, told) == (
        "fail", "2 of 2 cannot be opened: connection acme/desk, connection acme/pay"
    )  # fmt: skip
    assert "put the key that sealed them back" in do
    monkeypatch.setenv("GATEWAY_SECRET_KEYS", f"{Fernet.generate_key().decode()},{key}")
    assert levels(diagnose("--offline")[1])["secrets"] == {"ok"}


@pytest.mark.parametrize(("seconds", "level"), [(1, "ok"), (-30, "warn"), (30, "warn"), (90, "fail")])
def test_clocks_that_differ(acme: Any, seconds: int, level: str) -> None:
    right = acme.gateway.clock
    acme.gateway.clock = lambda: right() + timedelta(seconds=seconds)
    found = [
        finding for finding in doctor.of_installation(acme.gateway, offline=True) if finding.name == "clock"
    ]
    assert [finding.level for finding in found] == [level, level]


def test_queued_jobs_without_a_worker_fail(diagnose: Any, acme: Any) -> None:
    jobs.enqueue_decide(acme.gateway, [1])
    code, found = diagnose("--offline")
    assert code == 1
    assert found["queue decide"][0][:2] == ("fail", "1 jobs, 0 live workers")
    assert levels(found)["queue collect"] == {"warn"}


def test_a_worker_that_was_killed_does_not_count(diagnose: Any, acme: Any, worker: None) -> None:
    jobs.enqueue_decide(acme.gateway, [1])
    assert levels(diagnose("--offline")[1])["queue decide"] == {"ok"}
    jobs._me().close()
    acme.gateway.db.dispose()
    assert levels(diagnose("--offline")[1])["queue decide"] == {"fail"}


@pytest.mark.parametrize(("late", "level"), [(0, "ok"), (120, "warn"), (1200, "fail")])
def test_work_that_is_late(diagnose: Any, acme: Any, late: int, level: str) -> None:
    acme.decide(acme.pay())
    acme.pay("pay_2")
    since = acme.gateway.clock() - timedelta(seconds=late)
    with acme.gateway.db.begin() as db:
        db.execute(deliveries.update().values(not_before=since))
        db.execute(actions.update().values(not_before=since))
        timers.start(db, [{
            "tenant": "acme", "key": "k1", "rule": "r", "at": since, "connection": None, "ticket_id": None,
            "payload": {}, "changed_at": since,
        }])  # fmt: skip
    code, found = diagnose("--offline")
    assert code == (1 if level == "fail" else 0)
    for what in ("deliveries", "actions", "timers"):
        assert levels(found)[f"due {what}"] == {level}


def test_what_stopped_is_counted_with_the_verb_that_lists_it(diagnose: Any, acme: Any) -> None:
    acme.decide(acme.pay(), acme.pay("pay_2", amount="a lot"))
    acme.misbehave(kind="status", status=422)
    acme.execute()
    code, found = diagnose("--offline")
    assert code == 0
    assert sorted(found["stopped"]) == [
        ("warn", "acme: 1 actions are dead", "gateway actions list --tenant acme --state dead"),
        ("warn", "acme: 1 deliveries are parked", "gateway deliveries list --tenant acme --state parked"),
    ]


def test_actions_that_wait_for_a_ticket_that_never_comes(diagnose: Any, acme: Any) -> None:
    acme.decide(acme.pay())
    acme.decide(acme.pay("pay_2"))
    with acme.gateway.db.begin() as db:
        db.execute(actions.update().where(actions.c.kind == "create_ticket").values(state="dead"))
    creation = next(row for row in acme.rows(actions) if row.kind == "create_ticket")
    _, found = diagnose("--offline")
    [(level, told, do)] = found["stranded actions"]
    assert (level, told) == ("warn", "acme: 1 actions wait for a ticket whose creation has stopped")
    assert do == f"gateway actions retry {creation.id}"


def test_open_incidents_are_told(diagnose: Any, acme: Any) -> None:
    with acme.gateway.db.begin() as db:
        outbox.open_incident(
            db, tenant="acme", kind="action_budget", subject="x", message="a loop?", now=acme.gateway.clock()
        )
    _, found = diagnose("--offline")
    assert found["incidents"] == [("warn", "1 open, the newest: acme: a loop?", "gateway incidents")]


def test_broken_rules_and_connections_fail(diagnose: Any, acme: Any) -> None:
    with acme.gateway.db.begin() as db:
        tenants.save_rule(db, "acme", "core_ticket_on_payment", enabled=True, settings={"team": 7})
        db.execute(
            connections.update().where(connections.c.name == "desk").values(settings={"subdomain": "-"})
        )
        tenants.changed(db, ["broken"])
    code, found = diagnose("--offline")
    assert code == 1
    [(level, told, _)] = found["connection"]
    assert (level, told.startswith("acme/desk cannot be used: subdomain: ")) == ("fail", True)
    [(level, told, do)] = found["rule"]
    assert level == "fail"
    assert "core_ticket_on_payment is on, but does nothing until its settings are mended: " in told
    assert "gateway rules set core_ticket_on_payment --tenant acme" in do


def test_a_rule_that_is_on_by_default_but_was_never_set_is_only_a_warning(diagnose: Any, acme: Any) -> None:
    with acme.gateway.db.begin() as db:
        db.execute(text("DELETE FROM rule_settings"))
        tenants.changed(db, ["defaults"])
    code, found = diagnose("--offline")
    assert (code, levels(found)["rule"]) == (0, {"warn"})


def test_credentials_that_the_vendor_refuses_fail(diagnose: Any, acme: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv(PRIVATE, "true")
    acme.connect("desk", "zendesk", acme.desk(oauth_token="an-expired-token"))
    code, found = diagnose()
    assert code == 1
    [(level, told, do)] = [each for each in found["vendor"] if each[0] != "ok"]
    assert level == "fail"
    assert "answered 401" in told
    assert "renew the credentials" in do
    assert "an-expired-token" not in json.dumps(found)


def test_an_address_that_may_not_be_called_fails(diagnose: Any, acme: Any) -> None:
    code, found = diagnose()
    assert code == 1
    assert "mend the connection's base_url" in {do for level, _, do in found["vendor"] if level == "fail"}
    assert acme.calls == []


def test_a_vendor_that_is_down_is_only_a_warning(diagnose: Any, acme: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv(PRIVATE, "true")
    acme.misbehave(kind="status", status=503)
    code, found = diagnose()
    assert (code, levels(found)["vendor"]) == (0, {"ok", "warn"})


def test_the_connections_budget_is_respected(diagnose: Any, acme: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv(PRIVATE, "true")
    with acme.gateway.db.connect() as db:
        connection = acme.gateway.directory.current(db).connection("acme", "desk")
    acme.gateway.governor(connection, acme.gateway.api_settings(connection)).pause(60, "the vendor asked so")
    code, found = diagnose()
    assert code == 0
    [(level, told, _)] = [each for each in found["vendor"] if each[0] != "ok"]
    assert level == "warn"
    assert told.startswith("acme/desk was not asked: ")
    assert acme.calls == []
