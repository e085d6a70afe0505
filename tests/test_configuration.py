"""Is a change shown exactly, without secrets, and written by one process at a time?"""

from typing import Any

import pytest
import yaml
from pydantic import Secret
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from gateway.configuration import changing, diff, export, merged
from gateway.runtime import Runtime

BLANK: dict[str, Any] = {"connections": {}, "channels": {}, "rules": {}}
DESK = {"vendor": "desk", "settings": {"subdomain": "acme"}, "secrets": {"token": Secret("example-token")}}
ACME = {
    "name": "Acme",
    "locale": "pt-BR",
    "timezone": "America/Sao_Paulo",
    **BLANK,
    "connections": {"desk": DESK},
}


def changed(**parts: Any) -> list[str]:
    return diff({"acme": ACME}, merged({"acme": ACME}, {"acme": parts}))


def test_a_new_tenant_gets_its_id_as_name_and_the_usual_place_and_language() -> None:
    assert merged({}, {"acme": {}}) == {
        "acme": {"name": "acme", "locale": "pt-BR", "timezone": "America/Sao_Paulo", **BLANK}
    }


def test_nothing_said_changes_nothing() -> None:
    assert changed() == []
    assert changed(connections={"desk": DESK}, rules={}) == []


def test_what_is_new_gone_or_changed_is_told_by_its_place() -> None:
    lines = changed(
        name="Acme S/A",
        connections={
            "desk": DESK | {"settings": {"subdomain": "b", "labels": {"open": "Aberto"}}},
            "chat": {"vendor": "chat", "secrets": {"key": Secret("example-key")}},
        },
        rules={"greet": {"enabled": True, "settings": {"tags": ["a"], "empty": {}}}},
    )

    assert lines == [
        '~ tenants.acme.name: "Acme" -> "Acme S/A"',
        '~ tenants.acme.connections.desk.settings.subdomain: "acme" -> "b"',
        '+ tenants.acme.connections.desk.settings.labels.open: "Aberto"',
        '+ tenants.acme.connections.chat.vendor: "chat"',
        "+ tenants.acme.connections.chat.secrets.key: (secret)",
        "+ tenants.acme.rules.greet.enabled: true",
        '+ tenants.acme.rules.greet.settings.tags: ["a"]',
        "+ tenants.acme.rules.greet.settings.empty: {}",
    ]
    assert changed(connections={}) == ["- tenants.acme.connections.desk"]


@pytest.mark.parametrize(
    ("secrets", "expected"),
    [
        ({"token": Secret("example-other")}, ["~ {}.token: (secret, changed)"]),
        ({"token": Secret("example-token"), "key": Secret("k")}, ["+ {}.key: (secret)"]),
        ({"key": Secret("k")}, ["+ {}.key: (secret)", "- {}.token: (secret)"]),
        ({"token": Secret("example-token")}, []),
    ],
)  # fmt: skip
def test_a_change_of_secrets_shows_none(secrets: dict[str, Any], expected: list[str]) -> None:
    place = "tenants.acme.connections.desk.secrets"

    lines = changed(connections={"desk": DESK | {"secrets": secrets}})

    assert lines == [line.format(place) for line in expected]


def test_secrets_that_could_not_be_read_are_told_as_changed_without_the_new_ones() -> None:
    before = {"acme": ACME | {"connections": {"desk": DESK | {"secrets": Secret(None)}}}}

    lines = diff(before, {"acme": ACME})

    assert len(lines) == 1
    assert lines[0].startswith("~ tenants.acme.connections.desk.secrets: ")
    assert "example-token" not in lines[0]


def test_a_password_in_a_url_is_not_shown_and_a_long_text_is_cut() -> None:
    settings = {"base_url": "https://user:example-password@desk.example/", "text": "x" * 500}

    lines = changed(connections={"desk": DESK | {"settings": settings}})

    assert "example-password" not in str(lines)
    assert max(map(len, lines)) < 200


def test_secrets_are_exported_as_names_of_variables_and_no_name_twice() -> None:
    connection = {"vendor": "desk", "secrets": {"key": Secret(["example-new", "example-old"])}}
    tree = {
        "3m-br": ACME | {"connections": {"a-b": connection, "a_b": connection}},
        "acme": ACME | {"connections": {}, "channels": {"ops": {"url": Secret("slack://example")}}},
    }

    document = export(tree)

    assert "example" not in document
    tenants = yaml.safe_load(document)["tenants"]
    assert [tenants["3m-br"]["connections"][name]["secrets"]["key"] for name in ("a-b", "a_b")] == [
        [{"env": "_3M_BR_A_B_KEY"}, {"env": "_3M_BR_A_B_KEY_2"}],
        [{"env": "_3M_BR_A_B_KEY_3"}, {"env": "_3M_BR_A_B_KEY_4"}],
    ]
    assert tenants["acme"]["channels"]["ops"] == {"url": {"env": "ACME_OPS_URL"}}


def test_two_changes_at_once_wait_for_each_other_but_readers_do_not(gateway: Runtime) -> None:
    with changing(gateway.db), gateway.db.connect() as reader:
        assert reader.execute(text("SELECT count(*) FROM config_changes")).scalar_one() == 0
        reader.execute(text("SET LOCAL lock_timeout = '50ms'"))
        with pytest.raises(OperationalError, match="lock timeout"):
            reader.execute(text("INSERT INTO config_changes (changes) VALUES ('[]')"))
