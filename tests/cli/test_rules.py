"""Do the verbs of `gateway rules` show and change what a tenant chose, and refuse what does not fit?"""

import json
from collections.abc import Callable
from typing import Any

import pytest

from gateway import registry
from gateway.cli.rules import values_of
from gateway.store import tables
from gateway.store.tenants import Company

Command = Callable[..., Any]
Read = Callable[[], Company]

RULE = "core_ticket_on_payment"
OF_ACME = ("--tenant", "acme")


def as_json(command: Command, *arguments: str) -> Any:
    ran = command("rules", *arguments, *OF_ACME, "--json")
    assert (ran.code, ran.err) == (0, "")
    return json.loads(ran.out)


@pytest.fixture
def applied(command: Command, acme: Any) -> Command:
    assert command("apply", "tenants.yaml").code == 0
    return command


def test_rules_are_listed_in_the_tenants_language_with_what_is_wrong(command: Command, acme: Any) -> None:
    acme.write("tenants: {acme: {name: Acme}}")
    command("apply", "tenants.yaml")

    listed = {row["rule"]: row for row in as_json(command, "list")}

    assert set(listed) == set(registry.load().rules)
    assert listed[RULE]["title"] == "Chamado CORE no pagamento"
    assert listed[RULE]["enabled"]
    assert "connection" in listed[RULE]["error"]
    assert not listed["require_phone"]["error"]


def test_a_rule_is_switched_off_and_on(applied: Command, company: Read) -> None:
    off = applied("rules", "disable", RULE, *OF_ACME)

    assert (off.code, off.out) == (0, f"~ tenants.acme.rules.{RULE}.enabled: true -> false\n")
    assert RULE in company().disabled
    assert company().rules[RULE].settings.team == "GR"
    on = applied("rules", "enable", RULE, *OF_ACME)
    assert (on.code, on.out) == (0, f"~ tenants.acme.rules.{RULE}.enabled: false -> true\n")
    assert RULE not in company().disabled
    assert applied("rules", "enable", RULE, *OF_ACME).out == "nothing to change\n"


def test_each_change_is_recorded_once_for_all_processes(applied: Command, rows: Callable[..., Any]) -> None:
    (before,) = rows(tables.config_changes)

    applied("rules", "disable", RULE, *OF_ACME)
    applied("rules", "disable", RULE, *OF_ACME)

    (after,) = rows(tables.config_changes)
    assert [change["changes"] for change in after[len(before) :]] == [
        [f"~ tenants.acme.rules.{RULE}.enabled: true -> false"]
    ]


def test_a_rule_that_lacks_a_setting_is_not_switched_on(command: Command, acme: Any) -> None:
    acme.write(f"tenants: {{acme: {{rules: {{{RULE}: {{enabled: false}}}}}}}}")
    assert command("apply", "tenants.yaml").code == 0

    ran = command("rules", "enable", RULE, *OF_ACME)

    assert ran.code == 1
    assert ran.err == f"gateway: tenants.acme.rules.{RULE}.settings.connection: is required\n"


def test_settings_are_set_and_go_back_to_their_default(applied: Command, company: Read) -> None:
    values = ("tags=[core, novo]", "team=12", "first_payment_only=false", "subject={{ customer.name }}: CORE")
    ran = applied("rules", "set", RULE, *OF_ACME, *values)

    assert ran.code == 0
    settings = company().rules[RULE].settings
    assert (settings.tags, settings.team, settings.first_payment_only) == (("core", "novo"), "12", False)
    assert settings.subject == "{{ customer.name }}: CORE"
    assert settings.connection == "movidesk"  # as it was
    ran = applied("rules", "set", RULE, *OF_ACME, "--unset", "team")
    assert ran.out == f'- tenants.acme.rules.{RULE}.settings.team: "12"\n'
    assert company().rules[RULE].settings.team == "GR"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["teem=GR"], "settings.teem: unknown setting (known: connection, team, "),
        (["subject={{ customer.name"], "settings.subject: bad template (line 1): "),
        (["connection=bitrix"], "settings.connection: the tenant has no connection 'bitrix'"),
        (["min_amount=much"], "settings.min_amount: should be a valid decimal"),
        (["--unset", "connection"], "settings.connection: is required"),
    ],
)
def test_a_wrong_setting_is_refused_and_changes_nothing(
    applied: Command, rows: Callable[..., Any], arguments: list[str], expected: str
) -> None:
    before = rows(tables.rule_settings, tables.config_changes)

    ran = applied("rules", "set", RULE, *OF_ACME, *arguments)

    assert (ran.code, ran.out) == (1, "")
    assert expected in ran.err
    assert rows(tables.rule_settings, tables.config_changes) == before


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True), ("off", "off"), ("[a, b]", ["a", "b"]), ('{"any": ["x"]}', {"any": ["x"]}), ("12", 12),
        ("12.50", 12.5), ("null", None), ("'12'", "12"), ("a: b: c", "a: b: c"), ("10:30", "10:30"),
    ],
)  # fmt: skip
def test_a_value_is_read_as_yaml(text: str, value: Any) -> None:
    assert values_of(registry.load(), RULE, {"anything": text}) == {"anything": value}


@pytest.mark.parametrize(
    ("text", "value"), [("12", "12"), ("true", "true"), ("null", None), ('"null"', "null")]
)
def test_a_setting_that_must_be_text_needs_no_quotes(text: str, value: Any) -> None:
    assert values_of(registry.load(), RULE, {"team": text}) == {"team": value}


def test_a_rule_is_shown_in_both_languages_with_its_settings(applied: Command) -> None:
    shown = as_json(applied, "show", RULE)

    assert set(shown["description"]) == {"pt-BR", "en"}
    settings = {row["name"]: row for row in shown["settings"]}
    assert settings["connection"] == {
        "name": "connection", "type": "text", "required": True, "default": None, "secret": False,
        "description": "the ticket desk's connection", "current": "movidesk", "set": True,
    }  # fmt: skip
    assert settings["first_payment_only"]["type"] == "true or false"
    assert settings["first_payment_only"]["current"] is True
    assert not settings["first_payment_only"]["set"]


def test_people_see_a_rule_with_default_and_current_values(applied: Command) -> None:
    shown = applied("rules", "show", RULE, *OF_ACME).out

    assert shown.startswith(f"{RULE}: on\n")
    assert "Chamado CORE no pagamento (pt-BR)\n" in shown
    assert "CORE ticket on payment (en)\n" in shown
    described = "connection (text): the ticket desk's connection"
    assert f"\n{described}\n    default: required\n    current: movidesk\n" in shown


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["list", "--tenant", "nobody"], 1),
        (["disable", RULE, "--tenant", "nobody"], 1),
        (["enable", "no_such_rule", "--tenant", "acme"], 1),
        (["show", "no_such_rule", "--tenant", "acme"], 1),
        (["list"], 2),
        (["set", RULE, "--tenant", "acme"], 2),
        (["set", RULE, "--tenant", "acme", "team"], 2),
    ],
)
def test_what_cannot_be_done_exits_with_1_and_wrong_usage_with_2(
    applied: Command, arguments: list[str], code: int
) -> None:
    ran = applied("rules", *arguments)

    assert (ran.code, ran.out) == (code, "")
    assert ran.err
    assert "Traceback" not in ran.err
