"""Companies, their connections and their rules, as they are stored and as they are used."""

from typing import Any

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr
from sqlalchemy import text, update
from tests_town import Settings, rule, town

from gateway.api import ConnectionSettings, RuleSettings, SecretList
from gateway.model.connection import Connection
from gateway.model.facts import Tenant
from gateway.registry import Registry, assemble
from gateway.runtime import Runtime
from gateway.store import tenants
from gateway.store.secrets import Keyring
from gateway.store.tables import connections, metadata, rule_settings
from gateway.store.tenants import Company, Directory, split


class RuleOptions(RuleSettings):
    team: str = "GR"
    limit: int = 3


class Strict(RuleSettings):
    connection: str


PLUGINS = {
    "on": rule("on", lambda event, facts: (), settings=RuleOptions),
    "strict": rule("strict", lambda event, facts: (), settings=Strict),
}


@pytest.fixture
def registry(gateway: Runtime) -> Registry:
    gateway.registry = assemble({"town": town()}, PLUGINS)
    gateway.directory = Directory(gateway.registry, gateway.keyring)
    with gateway.db.begin() as db:
        tenants.save_tenant(db, Tenant(id="acme", name="Acme Ltda", timezone="America/Manaus", locale="en"))
        tenants.changed(db, ["acme"])
    return gateway.registry


def known(gateway: Runtime) -> Company:
    with gateway.db.connect() as db:
        return gateway.directory.current(db).companies["acme"]


def connect(gateway: Runtime, name: str = "desk", **settings: Any) -> None:
    with gateway.db.begin() as db:
        connection = Connection("acme", name, "town", Settings(**settings))
        tenants.save_connection(db, connection, gateway.keyring)
        tenants.changed(db, [name])


# --- as used ----------------------------------------------------------------------------------------------------


def test_a_company_is_its_connections_channels_and_rules(gateway, registry):
    connect(gateway, hook_key=["new", "old"], us="bot", custom_fields={"phone": 5})
    with gateway.db.begin() as db:
        tenants.save_channel(db, "acme", "alerts", "json://hooks.example/x", gateway.keyring)
        tenants.save_rule(db, "acme", "on", enabled=False, settings={"limit": 5})
        tenants.changed(db, ["more"])
    company = known(gateway)
    assert company.tenant == Tenant(id="acme", name="Acme Ltda", timezone="America/Manaus", locale="en")
    assert company.calendar.timezone == "America/Manaus"
    settings = company.connections["desk"].settings
    assert [key.get_secret_value() for key in settings.hook_key] == ["new", "old"]
    assert settings.us == "bot"
    assert company.channels["alerts"].get_secret_value() == "json://hooks.example/x"
    assert (company.vendors, company.mapped_fields) == ({"desk": "town"}, {"desk": frozenset({"phone"})})
    assert company.rules["on"].settings == RuleOptions(limit=5)
    assert company.disabled == {"on", "strict"}


def test_a_rule_that_nobody_chose_is_as_it_presents_itself(gateway, registry):
    assert known(gateway).rules["on"].enabled
    assert known(gateway).rules["on"].settings == RuleOptions()


def test_a_rule_whose_settings_do_not_fit_is_off_until_they_are_mended(gateway, registry):
    choice = known(gateway).rules["strict"]
    assert (choice.enabled, choice.settings, choice.error) == (True, None, "connection: Field required")
    assert "strict" in known(gateway).disabled
    with gateway.db.begin() as db:
        tenants.save_rule(db, "acme", "on", enabled=True, settings={"limit": "many", "color": 1})
        tenants.save_rule(db, "acme", "strict", enabled=True, settings={"connection": "desk"})
        tenants.save_rule(db, "acme", "uninstalled", enabled=True, settings={})
        tenants.changed(db, ["settings"])
    company = known(gateway)
    assert company.disabled == {"on"}
    error = company.rules["on"].error
    assert error is not None
    assert "limit: " in error
    assert "color: " in error
    assert "uninstalled" not in company.rules


def test_a_broken_connection_is_named_and_takes_no_other_down(gateway, registry):
    connect(gateway, "good")
    for name in ("wrong", "unknown", "sealed"):
        connect(gateway, name)
    other = Keyring([Fernet.generate_key().decode()])
    with gateway.db.begin() as db:
        for name, change in {
            "wrong": {"settings": {"color": "red"}},
            "unknown": {"vendor": "village"},
            "sealed": {"secrets": other.seal({})},
        }.items():
            db.execute(update(connections).where(connections.c.name == name).values(**change))
        tenants.changed(db, ["broken"])
    company = known(gateway)
    assert list(company.connections) == ["good"]
    assert "color: Extra inputs are not permitted" in company.broken["wrong"]
    assert "unknown vendor 'village'" in company.broken["unknown"]
    assert "GATEWAY_SECRET_KEYS" in company.broken["sealed"]


def test_an_error_in_settings_never_shows_their_values(gateway, registry):
    connect(gateway)
    with gateway.db.begin() as db:
        sealed = gateway.keyring.seal({"hook_key": {"deep": "a-test-secret"}})
        db.execute(update(connections).values(secrets=sealed, settings={"us": ["a-test-value"]}))
        tenants.changed(db, ["broken"])
    error = known(gateway).broken["desk"]
    assert "us: " in error
    assert "a-test" not in error


def test_a_channel_that_no_key_opens_takes_nothing_else_down(gateway, registry):
    connect(gateway)
    with gateway.db.begin() as db:
        tenants.save_channel(db, "acme", "good", "json://hooks.example/x", gateway.keyring)
        tenants.save_channel(
            db, "acme", "lost", "json://x.example", Keyring([Fernet.generate_key().decode()])
        )
        tenants.changed(db, ["channels"])
    company = known(gateway)
    assert list(company.connections) == ["desk"]
    assert list(company.channels) == ["good"]


def test_what_belongs_to_no_tenant_is_left_out(gateway, registry):
    with gateway.db.begin() as db:
        tenants.save_connection(db, Connection("gone", "desk", "town", Settings()), gateway.keyring)
        tenants.save_channel(db, "gone", "alerts", "json://x.example", gateway.keyring)
        tenants.changed(db, ["gone"])
    with gateway.db.connect() as db:
        found = gateway.directory.current(db)
    assert list(found.companies) == ["acme"]
    assert found.connection("gone", "desk") is None


# --- versions ---------------------------------------------------------------------------------------------------


def test_a_change_is_taken_up_with_the_next_look_and_nothing_is_read_without_one(gateway, registry):
    connect(gateway, us="one")
    first = known(gateway)
    assert known(gateway) is first
    connect(gateway, us="two")
    assert known(gateway).connections["desk"].settings.us == "two"
    with gateway.db.begin() as db:
        tenants.remove_connection(db, "acme", "desk")
        tenants.changed(db, ["gone"])
    assert known(gateway).connections == {}


def test_a_change_that_was_rolled_back_is_no_change(gateway, registry):
    before = known(gateway)
    with gateway.db.connect() as db:
        tenants.save_tenant(db, Tenant(id="acme", name="Other"))
        tenants.changed(db, ["name"])
        db.rollback()
    assert known(gateway) is before


def test_saving_again_replaces(gateway, registry):
    for name in ("Acme", "Acme S.A."):
        with gateway.db.begin() as db:
            tenants.save_tenant(db, Tenant(id="acme", name=name))
            tenants.save_rule(db, "acme", "on", enabled=name == "Acme", settings={"team": name})
            tenants.save_channel(db, "acme", "c", f"json://{len(name)}.example", gateway.keyring)
            tenants.changed(db, [name])
    company = known(gateway)
    assert company.tenant.name == "Acme S.A."
    assert company.rules["on"].settings == RuleOptions(team="Acme S.A.")
    assert not company.rules["on"].enabled
    assert company.channels["c"].get_secret_value() == "json://9.example"
    with gateway.db.begin() as db:
        tenants.remove_channel(db, "acme", "c")
        tenants.changed(db, ["c"])
    assert known(gateway).channels == {}


# --- secrets ----------------------------------------------------------------------------------------------------


def test_no_column_of_any_table_shows_a_secret(gateway, registry):
    connect(gateway, hook_key=["a-test-hook-key", "another-test-hook-key"], us="visible")
    with gateway.db.begin() as db:
        tenants.save_channel(
            db, "acme", "alerts", "json://user:a-test-password@hooks.example", gateway.keyring
        )
        tenants.changed(db, ["secrets"])
    with gateway.db.connect() as db:
        everything = "".join(
            str(row) + "".join(bytes(value).decode("latin-1") for value in row if isinstance(value, bytes))
            for table in metadata.sorted_tables
            for row in db.execute(table.select())
        )
        dumped = db.execute(text("SELECT string_agg(c::text, '') FROM connections c")).scalar()
    assert "visible" in everything
    for secret in ("a-test-hook-key", "another-test-hook-key", "a-test-password"):
        assert secret not in everything
        assert secret not in dumped
        assert secret not in repr(known(gateway))


def test_with_a_new_key_in_front_the_old_secrets_are_still_read(gateway, registry):
    old, new = (Fernet.generate_key().decode() for _ in range(2))
    gateway.keyring = Keyring([old])
    connect(gateway, hook_key=["kept"])
    both = Keyring([new, old])
    with gateway.db.connect() as db:
        company = Directory(registry, both).current(db).companies["acme"]
    assert company.connections["desk"].settings.hook_key[0].get_secret_value() == "kept"
    with gateway.db.begin() as db:
        tenants.save_connection(db, company.connections["desk"], both)
        tenants.changed(db, ["sealed anew"])
    with gateway.db.connect() as db:
        assert Directory(registry, Keyring([new])).current(db).companies["acme"].broken == {}


class Mixed(ConnectionSettings):
    token: SecretStr
    keys: SecretList = (SecretStr("default"),)
    region: str = "br"
    numbers: tuple[int, ...] = ()


def test_open_and_secret_settings_are_told_apart_and_defaults_left_out():
    given = {"token": "t", "keys": ["a", "b"], "numbers": [1, 2], "base_url": "https://x.example"}
    settings, secrets = split(Mixed.model_validate(given))
    assert settings == {"numbers": [1, 2], "base_url": "https://x.example/"}
    assert secrets == {"token": "t", "keys": ["a", "b"]}
    assert split(Mixed.model_validate({**settings, **secrets})) == (settings, secrets)
    assert split(Mixed.model_validate({"token": "t"})) == ({}, {"token": "t"})


def test_a_setting_that_is_both_open_and_unset_stays_unset(gateway, registry):
    connect(gateway)
    with gateway.db.connect() as db:
        row = db.execute(connections.select()).one()
        assert row.settings == {}
        assert gateway.keyring.open(row.secrets) == {}
        assert db.execute(rule_settings.select()).all() == []
