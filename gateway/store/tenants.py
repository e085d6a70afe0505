"""Which companies are there, how are their systems reached, and which rules have they switched on?"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import structlog
from pydantic import SecretStr, ValidationError
from sqlalchemy import Connection as Database
from sqlalchemy import delete, func, insert, select
from sqlalchemy.dialects.postgresql import insert as upsert

from gateway.calendar import Calendar
from gateway.model.connection import Connection, ConnectionSettings
from gateway.model.errors import GatewayError, PluginError
from gateway.model.facts import RuleSettings, Tenant
from gateway.registry import Registry

from .secrets import Keyring
from .tables import channels, config_changes, connections, rule_settings, tenants

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RuleChoice:
    """What a tenant chose for a rule. `error` = the stored settings no longer fit: the rule is off until mended."""

    enabled: bool
    settings: RuleSettings | None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Company:
    """One tenant, ready to work with. `broken` names connections and channels that cannot be used, and why."""

    tenant: Tenant
    connections: Mapping[str, Connection[Any]]
    channels: Mapping[str, SecretStr]
    rules: Mapping[str, RuleChoice]
    broken: Mapping[str, str] = field(default_factory=dict)
    calendar: Calendar = field(default_factory=Calendar)

    @property
    def vendors(self) -> Mapping[str, str]:
        """Connection names and their vendors, as rules may know them."""
        return {name: connection.vendor for name, connection in self.connections.items()}

    @property
    def mapped_fields(self) -> Mapping[str, frozenset[str]]:
        """Connection names and our names of the custom fields that they have."""
        return {name: frozenset(c.settings.custom_fields) for name, c in self.connections.items()}

    @property
    def disabled(self) -> frozenset[str]:
        return frozenset(name for name, choice in self.rules.items() if not choice.enabled or choice.error)


@dataclass(frozen=True, slots=True)
class Configuration:
    """All companies, as of one version."""

    version: int
    companies: Mapping[str, Company]

    def connection(self, tenant: str, name: str) -> Connection[Any] | None:
        company = self.companies.get(tenant)
        return company.connections.get(name) if company else None


NOTHING = Configuration(-1, MappingProxyType({}))


class Directory:
    """The configuration as this process last saw it, read again whenever its version has moved."""

    def __init__(self, registry: Registry, keyring: Keyring) -> None:
        self._registry = registry
        self._keyring = keyring
        self.known = NOTHING

    def current(self, db: Database) -> Configuration:
        """The configuration of this moment: one small query, and a full read only when something changed."""
        newest = version(db)
        if newest != self.known.version:
            self.known = read(db, self._registry, self._keyring, newest)
        return self.known


def version(db: Database) -> int:
    """Rises with every change."""
    newest: int = db.execute(select(func.coalesce(func.max(config_changes.c.version), 0))).scalar_one()
    return newest


def read(db: Database, registry: Registry, keyring: Keyring, at_version: int) -> Configuration:
    found: dict[str, dict[str, Any]] = {}
    for row in db.execute(select(tenants)):
        tenant = Tenant(id=row.id, name=row.name, locale=row.locale, timezone=row.timezone)
        found[row.id] = {"tenant": tenant, "connections": {}, "channels": {}, "rules": {}, "broken": {}}
    for row in db.execute(select(connections)):
        if company := found.get(row.tenant):
            _add_connection(company, row, registry, keyring)
    for row in db.execute(select(channels)):
        if company := found.get(row.tenant):
            _add_channel(company, row, keyring)
    chosen = {(row.tenant, row.rule): row for row in db.execute(select(rule_settings))}
    for tenant_id, company in found.items():
        for rule in registry.rules:
            company["rules"][rule] = _choice(registry, rule, chosen.get((tenant_id, rule)))
    companies = {
        name: Company(**company, calendar=Calendar(timezone=company["tenant"].timezone))
        for name, company in found.items()
    }
    return Configuration(at_version, MappingProxyType(companies))


def _add_connection(company: dict[str, Any], row: Any, registry: Registry, keyring: Keyring) -> None:
    try:
        model = registry.vendor_info(row.vendor).settings
        settings = model.model_validate({**row.settings, **keyring.open(row.secrets)})
    except (ValidationError, PluginError, GatewayError) as error:
        company["broken"][row.name] = plain(error)
        log.warning("connection_unusable", tenant=row.tenant, connection=row.name, error=plain(error))
        return
    company["connections"][row.name] = Connection(row.tenant, row.name, row.vendor, settings)


def _add_channel(company: dict[str, Any], row: Any, keyring: Keyring) -> None:
    try:
        company["channels"][row.name] = SecretStr(keyring.open(row.secrets)["url"])
    except GatewayError as error:
        company["broken"][row.name] = str(error)
        log.warning("channel_unusable", tenant=row.tenant, channel=row.name, error=str(error))


def _choice(registry: Registry, rule: str, row: Any) -> RuleChoice:
    enabled = row.enabled if row is not None else registry.rule_info(rule).enabled
    try:
        settings = registry.rule_settings(rule).model_validate(row.settings if row is not None else {})
    except ValidationError as error:
        return RuleChoice(enabled, None, plain(error))
    return RuleChoice(enabled, settings)


def plain(error: Exception) -> str:
    """A validation error in one line, without the values (they may be secret)."""
    if not isinstance(error, ValidationError):
        return str(error)
    return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'settings'}: {e['msg']}" for e in error.errors())


# --- writing (the caller commits once, so that it is all or nothing) --------------------------------------------


def save_tenant(db: Database, tenant: Tenant) -> None:
    values = {"name": tenant.name, "locale": tenant.locale, "timezone": tenant.timezone}
    db.execute(
        upsert(tenants)
        .values(id=tenant.id, **values)
        .on_conflict_do_update(index_elements=["id"], set_=values)
    )


def save_connection(db: Database, connection: Connection[ConnectionSettings], keyring: Keyring) -> None:
    """Settings go in the open, secrets sealed."""
    settings, secrets = split(connection.settings)
    values = {"vendor": connection.vendor, "settings": settings, "secrets": keyring.seal(secrets)}
    db.execute(
        upsert(connections)
        .values(tenant=connection.tenant, name=connection.name, **values)
        .on_conflict_do_update(index_elements=["tenant", "name"], set_=values)
    )


def save_channel(db: Database, tenant: str, name: str, url: str, keyring: Keyring) -> None:
    values = {"secrets": keyring.seal({"url": url})}
    db.execute(
        upsert(channels)
        .values(tenant=tenant, name=name, **values)
        .on_conflict_do_update(index_elements=["tenant", "name"], set_=values)
    )


def save_rule(db: Database, tenant: str, rule: str, *, enabled: bool, settings: dict[str, Any]) -> None:
    values = {"enabled": enabled, "settings": settings}
    db.execute(
        upsert(rule_settings)
        .values(tenant=tenant, rule=rule, **values)
        .on_conflict_do_update(index_elements=["tenant", "rule"], set_=values)
    )


def remove_connection(db: Database, tenant: str, name: str) -> None:
    db.execute(delete(connections).where(connections.c.tenant == tenant, connections.c.name == name))


def remove_channel(db: Database, tenant: str, name: str) -> None:
    db.execute(delete(channels).where(channels.c.tenant == tenant, channels.c.name == name))


def changed(db: Database, changes: list[str]) -> None:
    """Say what changed; every process takes it up with its next piece of work."""
    db.execute(insert(config_changes).values(changes=changes))


def split(settings: ConnectionSettings) -> tuple[dict[str, Any], dict[str, Any]]:
    """Open settings and secret ones, both as JSON; what was left at its default is left out."""
    open_part: dict[str, Any] = {}
    secret_part: dict[str, Any] = {}
    plain_json = settings.model_dump(mode="json", exclude_unset=True)
    for name in settings.model_fields_set:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            secret_part[name] = value.get_secret_value()
        elif isinstance(value, tuple) and value and all(isinstance(item, SecretStr) for item in value):
            secret_part[name] = [item.get_secret_value() for item in value]
        else:
            open_part[name] = plain_json[name]
    return open_part, secret_part
