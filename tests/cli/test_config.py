"""Do `apply`, `export`, `tenants` and `connections` do what they say, and nothing when anything is wrong?"""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from cryptography.fernet import Fernet
from redis import Redis

from gateway import registry
from gateway.governor import Governor
from gateway.model.connection import RateLimit
from gateway.model.facts import Tenant
from gateway.store import database, tables
from gateway.store.secrets import Keyring
from gateway.store.tenants import Company, Directory

Command = Callable[..., Any]
Rows = Callable[..., Any]
Read = Callable[[], Company]

RULE = "core_ticket_on_payment"
CONFIGURATION = (
    tables.tenants, tables.connections, tables.channels, tables.rule_settings, tables.config_changes,
)  # fmt: skip


def as_json(command: Command, *arguments: str) -> Any:
    ran = command(*arguments, "--json")
    assert (ran.code, ran.err) == (0, "")
    return json.loads(ran.out)


# --- apply --------------------------------------------------------------------------------------------------


def test_a_first_apply_stores_everything_and_prints_it_without_secrets(
    command: Command, acme: Any, company: Read
) -> None:
    ran = command("apply", "tenants.yaml")

    assert (ran.code, ran.err) == (0, "")
    assert '+ tenants.acme.name: "Acme Ltda"\n' in ran.out
    assert '+ tenants.acme.connections.movidesk.settings.subdomain: "acme"\n' in ran.out
    assert "+ tenants.acme.connections.movidesk.secrets.token: (secret)\n" in ran.out
    assert "+ tenants.acme.channels.sem_contato_agendamento.url: (secret)\n" in ran.out
    assert f"+ tenants.acme.rules.{RULE}.enabled: true\n" in ran.out
    assert ran.out.splitlines()[-1].startswith("applied: ")
    assert not acme.leaked(ran.out)
    assert company().tenant == Tenant(id="acme", name="Acme Ltda")
    assert company().connections["movidesk"].settings.subdomain == "acme"
    assert company().rules[RULE].settings.team == "GR"


def test_secrets_come_from_environment_and_file_and_are_stored_encrypted(
    command: Command, acme: Any, company: Read, rows: Rows
) -> None:
    command("apply", "tenants.yaml")

    zendesk = company().connections["zendesk"].settings
    assert zendesk.oauth_token.get_secret_value() == acme.secrets["keys/zendesk"]  # without the line's end
    signing = [each.get_secret_value() for each in zendesk.signing_secret]
    assert signing == [acme.secrets["NEW_SECRET"], acme.secrets["OLD_SECRET"]]
    assert company().channels["sem_contato_agendamento"].get_secret_value() == acme.secrets["SLACK_URL"]
    raw = str(rows(*CONFIGURATION))
    assert "acme" in raw
    assert not acme.leaked(raw)


def test_a_second_apply_has_nothing_to_change(command: Command, acme: Any, rows: Rows) -> None:
    command("apply", "tenants.yaml")
    before = rows(*CONFIGURATION)

    ran = command("apply", "tenants.yaml")

    assert (ran.code, ran.out) == (0, "nothing to change\n")
    assert rows(*CONFIGURATION) == before


def test_a_dry_run_shows_the_same_and_stores_nothing(command: Command, acme: Any, rows: Rows) -> None:
    dry = command("apply", "tenants.yaml", "--dry-run")

    assert dry.code == 0
    assert not any(rows(*CONFIGURATION))
    real = command("apply", "tenants.yaml")
    assert dry.out.splitlines()[:-1] == real.out.splitlines()[:-1]
    assert dry.out.splitlines()[-1].startswith("dry run: ")


def test_a_new_secret_is_told_as_changed_and_not_what_it_is(
    command: Command, acme: Any, company: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    command("apply", "tenants.yaml")
    monkeypatch.setenv("MOVIDESK_TOKEN", "example-rotated-token")

    ran = command("apply", "tenants.yaml")

    changed = "~ tenants.acme.connections.movidesk.secrets.token: (secret, changed)"
    assert ran.out == f"{changed}\napplied: 1 change\n"
    assert company().connections["movidesk"].settings.token.get_secret_value() == "example-rotated-token"


def test_a_running_process_takes_a_change_up_with_its_next_look(
    command: Command, acme: Any, database_url: str, key: str
) -> None:
    command("apply", "tenants.yaml")
    directory = Directory(registry.load(), Keyring([key]))
    engine = database.engine(database_url)
    with engine.connect() as db:
        assert directory.current(db).companies["acme"].rules[RULE].settings.team == "GR"
    acme.replace('"GR"', '"Implantação"')

    ran = command("apply", "tenants.yaml")

    assert f'~ tenants.acme.rules.{RULE}.settings.team: "GR" -> "Implantação"\n' in ran.out
    with engine.connect() as db:
        assert directory.current(db).companies["acme"].rules[RULE].settings.team == "Implantação"
    engine.dispose()


def test_connections_and_channels_that_the_file_omits_are_removed(
    command: Command, acme: Any, company: Read
) -> None:
    command("apply", "tenants.yaml")
    document = yaml.safe_load(acme.text)
    del document["tenants"]["acme"]["connections"]["zendesk"]
    document["tenants"]["acme"]["channels"] = None
    acme.write(yaml.safe_dump(document))

    ran = command("apply", "tenants.yaml")

    assert sorted(ran.out.splitlines()) == [
        "- tenants.acme.channels.sem_contato_agendamento",
        "- tenants.acme.connections.zendesk",
        "applied: 2 changes",
    ]
    assert set(company().connections) == {"movidesk"}
    assert not company().channels


def test_what_the_file_does_not_mention_stays(command: Command, acme: Any, company: Read) -> None:
    command("apply", "tenants.yaml")
    acme.write("tenants: {other: {name: Other}}")
    assert command("apply", "tenants.yaml").out.splitlines()[0] == '+ tenants.other.name: "Other"'
    acme.write("tenants: {acme: {rules: {require_phone: {enabled: false}}}}")

    ran = command("apply", "tenants.yaml")

    assert ran.out == "+ tenants.acme.rules.require_phone.enabled: false\napplied: 1 change\n"
    assert company().tenant.name == "Acme Ltda"
    assert set(company().connections) == {"movidesk", "zendesk"}
    assert set(company().channels) == {"sem_contato_agendamento"}
    assert company().rules[RULE].enabled
    assert not company().rules["require_phone"].enabled


def test_a_connection_that_a_rule_uses_is_not_removed(command: Command, acme: Any) -> None:
    command("apply", "tenants.yaml")
    acme.write("tenants: {acme: {connections: {}}}")

    ran = command("apply", "tenants.yaml")

    assert (ran.code, ran.out) == (1, "")
    assert (
        f"tenants.acme.rules.{RULE}.settings.connection: the tenant has no connection 'movidesk'" in ran.err
    )
    assert command("rules", "disable", RULE, "--tenant", "acme").code == 0
    assert command("apply", "tenants.yaml").code == 0


def test_a_secret_in_the_file_is_taken_with_a_warning_that_does_not_show_it(
    command: Command, acme: Any, company: Read
) -> None:
    acme.replace("{env: MOVIDESK_TOKEN}", "example-in-the-open")

    ran = command("apply", "tenants.yaml")

    assert ran.code == 0
    assert "tenants.acme.connections.movidesk.secrets.token: the secret itself is in the file" in ran.err
    assert "example-in-the-open" not in ran.out + ran.err
    assert company().connections["movidesk"].settings.token.get_secret_value() == "example-in-the-open"


@pytest.mark.parametrize(
    ("was", "now", "expected"),
    [
        ("name: Acme", "nome: Acme", "nome: unknown setting (known: name, locale, timezone, connections, "),
        (
            "subdomain: acme}",
            "subdomain: acme, sub: x}",
            "movidesk.settings.sub: unknown setting (known: base_u",
        ),
        ("person_id:", "service_id: [1], person_id:", "settings.service_id: should be a valid integer"),
        ("https://api.", "api.", "connections.movidesk.settings.base_url: should be a valid URL"),
        ("MOVIDESK_TOKEN", "NOT_SET", "secrets.token: the environment variable NOT_SET is not set"),
        (f"{RULE}:", "core_ticket:", "rules.core_ticket: unknown rule 'core_ticket'; installed: "),
        ('team: "GR"', "teem: GR", f"{RULE}.settings.teem: unknown setting (known: connection, team, "),
        ("team:", 'subject: "{{ customer.name", team:', f"{RULE}.settings.subject: bad template (line 1): "),
        (
            "{connection: movidesk",
            "{connection: desk",
            "has no connection 'desk' (it has: movidesk, zendesk)",
        ),
        (
            "  zendesk:\n",
            "  movidesk:\n",
            "line 11, column 7: the key 'movidesk' is there twice, first in line 7",
        ),
    ],
)
def test_a_wrong_file_gets_one_line_with_the_place_and_changes_nothing(
    command: Command, acme: Any, rows: Rows, was: str, now: str, expected: str
) -> None:
    acme.replace(was, now)

    ran = command("apply", "tenants.yaml")

    assert (ran.code, ran.out) == (1, "")
    (line,) = ran.err.splitlines()
    assert line.startswith("gateway: tenants.yaml: ")
    assert expected in line
    assert not acme.leaked(line)
    assert "misplaced" not in line
    assert not any(rows(*CONFIGURATION))


@pytest.mark.parametrize("url", ["nowhere://example-part", "example-part", "slack://example-part"])
def test_a_channel_that_apprise_does_not_understand_is_refused_without_showing_its_url(
    command: Command, acme: Any, rows: Rows, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("SLACK_URL", url)

    ran = command("apply", "tenants.yaml")

    assert (ran.code, ran.out) == (1, "")
    (line,) = ran.err.splitlines()
    assert "tenants.acme.channels.sem_contato_agendamento.url: not a URL that Apprise understands" in line
    assert "example-part" not in line
    assert not any(rows(*CONFIGURATION))


def test_all_problems_are_told_at_once(command: Command, acme: Any) -> None:
    acme.write(
        acme.text.replace("vendor: zendesk", "vendor: z").replace("subdomain: acme", "subdomain: A", 1)
    )

    ran = command("apply", "tenants.yaml")

    assert [line.split(": ")[2] for line in ran.err.splitlines()] == [
        "tenants.acme.connections.movidesk.settings.subdomain",
        "tenants.acme.connections.zendesk.vendor",
    ]


def test_in_a_process_of_its_own_apply_ends_with_one_line_and_no_traceback(
    command: Command, acme: Any
) -> None:
    acme.write("tenants: {acme: {timezone: Nowhere}}")

    argv = [sys.executable, "-m", "gateway", "apply", "tenants.yaml"]
    ran = subprocess.run(argv, cwd=acme.path.parent, capture_output=True, text=True, check=False)

    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == (
        "gateway: tenants.yaml: tenants.acme.timezone: no such time zone; expected an IANA name such as "
        "America/Sao_Paulo\n"
    )


def test_secrets_whose_key_is_lost_can_be_applied_anew(
    command: Command, acme: Any, company: Read, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_SECRET_KEYS", Fernet.generate_key().decode())
    command("apply", "tenants.yaml")
    monkeypatch.setenv("GATEWAY_SECRET_KEYS", key)
    exported = command("export")
    assert exported.code == 1
    assert "no key in GATEWAY_SECRET_KEYS decrypts it" in exported.err

    ran = command("apply", "tenants.yaml")

    assert "tenants.acme.channels.sem_contato_agendamento.url: (secret, changed)" in ran.out
    assert command("apply", "tenants.yaml").out == "nothing to change\n"
    assert not company().broken


# --- export -------------------------------------------------------------------------------------------------


def test_what_was_exported_changes_nothing_when_it_is_applied(
    command: Command, acme: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    command("apply", "tenants.yaml")

    exported = command("export")

    assert exported.code == 0
    assert "# Secrets are not exported" in exported.out
    assert not acme.leaked(exported.out)
    connections = yaml.safe_load(exported.out)["tenants"]["acme"]["connections"]
    assert connections["movidesk"]["secrets"]["token"] == {"env": "ACME_MOVIDESK_TOKEN"}
    assert connections["zendesk"]["secrets"]["signing_secret"] == [
        {"env": "ACME_ZENDESK_SIGNING_SECRET"}, {"env": "ACME_ZENDESK_SIGNING_SECRET_2"},
    ]  # fmt: skip
    for name, origin in {
        "ACME_MOVIDESK_TOKEN": "MOVIDESK_TOKEN",
        "ACME_MOVIDESK_HOOK_KEY": "MOVIDESK_HOOK_KEY",
        "ACME_ZENDESK_OAUTH_TOKEN": "keys/zendesk",
        "ACME_ZENDESK_SIGNING_SECRET": "NEW_SECRET",
        "ACME_ZENDESK_SIGNING_SECRET_2": "OLD_SECRET",
        "ACME_SEM_CONTATO_AGENDAMENTO_URL": "SLACK_URL",
    }.items():
        monkeypatch.setenv(name, acme.secrets[origin])
    acme.write(exported.out)
    assert command("apply", "tenants.yaml").out == "nothing to change\n"


def test_one_tenant_can_be_exported(command: Command, acme: Any) -> None:
    command("apply", "tenants.yaml")
    acme.write("tenants: {other: {name: Other}}")
    command("apply", "tenants.yaml")

    assert list(yaml.safe_load(command("export", "--tenant", "other").out)["tenants"]) == ["other"]
    assert list(yaml.safe_load(command("export").out)["tenants"]) == ["acme", "other"]
    unknown = command("export", "--tenant", "nobody")
    assert (unknown.code, unknown.err) == (1, "gateway: no tenant 'nobody'; there are: acme, other\n")


# --- tenants, connections -----------------------------------------------------------------------------------


def test_tenants_are_listed(command: Command, acme: Any) -> None:
    assert as_json(command, "tenants") == []
    command("apply", "tenants.yaml")

    (listed,) = as_json(command, "tenants")

    assert RULE in listed.pop("rules")
    assert listed == {
        "id": "acme", "name": "Acme Ltda", "locale": "pt-BR", "timezone": "America/Sao_Paulo",
        "connections": ["movidesk", "zendesk"], "channels": ["sem_contato_agendamento"],
    }  # fmt: skip
    assert "Acme Ltda" in command("tenants").out


def test_connections_are_listed_with_the_path_of_their_webhooks(command: Command, acme: Any) -> None:
    command("apply", "tenants.yaml")

    listed = as_json(command, "connections")

    assert [(each["name"], each["vendor"], each["webhooks"], each["error"]) for each in listed] == [
        ("movidesk", "movidesk", "/hooks/acme/movidesk", None),
        ("zendesk", "zendesk", "/hooks/acme/zendesk", None),
    ]
    assert as_json(command, "connections", "--tenant", "acme") == listed
    assert command("connections", "--tenant", "nobody").code == 1


def test_a_connection_is_shown_with_its_budget_and_without_its_secrets(
    command: Command, acme: Any, redis_url: str
) -> None:
    command("apply", "tenants.yaml")
    with Redis.from_url(redis_url) as redis:
        budget = Governor(redis, "acme:movidesk", RateLimit(calls=10, seconds=60, errors=3, concurrency=1))
        assert budget.take(2).granted
        budget.pause(300, "Movidesk asked for it")

    shown = as_json(command, "connections", "show", "movidesk", "--tenant", "acme")

    assert shown["settings"]["subdomain"] == "acme"
    assert shown["secrets"] == ["hook_key", "token"]
    assert shown["api"]["base_url"] == "https://api.movidesk.com/public/v1"
    assert shown["api"]["used"] >= 1
    assert shown["api"]["paused_until"].endswith("+00:00")
    assert shown["api"]["reason"] == "Movidesk asked for it"
    for_people = command("connections", "show", "movidesk", "--tenant", "acme").out
    assert "(secret)" in for_people
    assert not acme.leaked(for_people + json.dumps(shown))


def test_a_connection_that_does_not_exist_is_told_with_those_that_do(command: Command, acme: Any) -> None:
    command("apply", "tenants.yaml")

    ran = command("connections", "show", "bitrix", "--tenant", "acme")

    assert (ran.code, ran.out) == (1, "")
    assert ran.err == "gateway: tenant acme has no connection 'bitrix'; it has: movidesk, zendesk\n"


@pytest.mark.parametrize(
    "arguments", [["apply"], ["apply", "nowhere.yaml"], ["connections", "show", "movidesk"]]
)
def test_wrong_usage_exits_with_2(command: Command, arguments: list[str]) -> None:
    ran = command(*arguments)

    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("Usage: ")
