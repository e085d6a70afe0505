"""What is configured, what would a change alter, and how is it written down?

A configuration is a tree in the shape of tenants.yaml, by tenant: `name`, `locale`, `timezone`,
`connections` (`vendor`, `settings`, `secrets`), `channels` (`url`) and `rules` (`enabled`, `settings`). Empty
`settings` and `secrets` are left out. Each secret is a pydantic `Secret`, so that it is never printed.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, count
from typing import Any

from pydantic import Secret
from sqlalchemy import Connection as Database
from sqlalchemy import Engine, select, text

from gateway import yaml_text
from gateway.model.connection import Connection
from gateway.model.errors import GatewayError
from gateway.model.facts import Tenant
from gateway.redaction import redact_url
from gateway.registry import Registry
from gateway.store import tables, tenants
from gateway.store.database import to_text
from gateway.store.secrets import Keyring
from gateway.validation import connection_settings, lost_connections, refuse

Tree = dict[str, Any]

LONGEST_VALUE = 100
EXPORT_HEADER = """\
# Tenants, connections, channels and rules, as `gateway apply` takes them.
# Secrets are not exported: each {env: NAME} names the environment variable in which `gateway apply` will look
# for it. Change the names, or use {file: PATH}, as you like.
"""


# --- the tree -----------------------------------------------------------------------------------------------


def connection_tree(connection: Connection[Any]) -> Tree:
    settings, secrets = tenants.split(connection.settings)
    return _connection(connection.vendor, settings, secrets)


def rule_tree(enabled: bool, settings: Mapping[str, Any]) -> Tree:
    return _without_empty({"enabled": enabled, "settings": _as_stored(settings)})


def _blank() -> Tree:
    return {"connections": {}, "channels": {}, "rules": {}}


def _connection(vendor: str, settings: Mapping[str, Any], secrets: Mapping[str, Any]) -> Tree:
    hidden = {name: Secret(secrets[name]) for name in sorted(secrets)}
    return _without_empty({"vendor": vendor, "settings": _as_stored(settings), "secrets": hidden})


def _as_stored(settings: Mapping[str, Any]) -> Any:
    """The settings as PostgreSQL gives them back."""
    return json.loads(to_text(dict(sorted(settings.items()))))


def _without_empty(entry: Tree) -> Tree:
    return {name: value for name, value in entry.items() if value != {}}


# --- reading and writing ------------------------------------------------------------------------------------


@contextmanager
def changing(engine: Engine) -> Iterator[Database]:
    """One transaction, and one change of the configuration at a time: versions are seen in their order."""
    with engine.begin() as db:
        db.execute(text("LOCK TABLE config_changes IN SHARE ROW EXCLUSIVE MODE"))
        yield db


def stored(db: Database, keyring: Keyring) -> Tree:
    """Everything that is configured. Secrets that no key opens any more are `Secret(None)`."""
    found: Tree = {
        row.id: {"name": row.name, "locale": row.locale, "timezone": row.timezone} | _blank()
        for row in db.execute(select(tables.tenants).order_by(tables.tenants.c.id))
    }
    for row in db.execute(select(tables.connections).order_by(tables.connections.c.name)):
        secrets = _opened(keyring, row.secrets)
        entry = _connection(row.vendor, row.settings, secrets or {})
        lost = {"secrets": Secret(None)} if secrets is None else {}
        found[row.tenant]["connections"][row.name] = entry | lost
    for row in db.execute(select(tables.channels).order_by(tables.channels.c.name)):
        url = (_opened(keyring, row.secrets) or {}).get("url")
        found[row.tenant]["channels"][row.name] = {"url": Secret(url)}
    for row in db.execute(select(tables.rule_settings).order_by(tables.rule_settings.c.rule)):
        found[row.tenant]["rules"][row.rule] = rule_tree(row.enabled, row.settings)
    return found


def merged(before: Tree, said: Tree) -> Tree:
    """The configuration as it will be.

    Tenants, and parts of a tenant, that are not mentioned stay as they are. `connections` and `channels` are
    complete lists where they are mentioned; of `rules`, those that are not named stay.
    """
    after = dict(before)
    for tenant, part in said.items():
        now = before.get(tenant) or Tenant(id=tenant, name=tenant).model_dump(exclude={"id"}) | _blank()
        after[tenant] = now | part | {"rules": now["rules"] | part.get("rules", {})}
    return after


def check_references(registry: Registry, after: Tree, said: Tree) -> None:
    """Raises InvalidConfiguration where a rule is to use a connection that the tenant will not have."""
    problems = []
    for tenant in said:
        connections = after[tenant]["connections"]
        for rule, entry in after[tenant]["rules"].items():
            if not entry["enabled"] and rule not in said[tenant].get("rules", {}):
                continue
            settings = entry.get("settings", {})
            for name in lost_connections(registry, rule, settings, connections):
                known = ", ".join(connections) or "none"
                problems.append(
                    f"tenants.{tenant}.rules.{rule}.settings.{name}: the tenant has no connection "
                    f"{settings[name]!r} (it has: {known})"
                )
    refuse(problems)


def save(db: Database, before: Tree, after: Tree, registry: Registry, keyring: Keyring) -> list[str]:
    """Write what differs, tell every process, and say what it was."""
    changes = diff(before, after)
    if not changes:
        return []
    for tenant, now in after.items():
        was = before.get(tenant, _blank())
        if now == was:
            continue
        tenants.save_tenant(
            db, Tenant(id=tenant, **{key: now[key] for key in ("name", "locale", "timezone")})
        )
        _save_connections(db, tenant, was["connections"], now["connections"], registry, keyring)
        for name in was["channels"].keys() - now["channels"].keys():
            tenants.remove_channel(db, tenant, name)
        for name, channel in _differing(was["channels"], now["channels"]):
            tenants.save_channel(db, tenant, name, channel["url"].get_secret_value(), keyring)
        for rule, choice in _differing(was["rules"], now["rules"]):
            tenants.save_rule(
                db, tenant, rule, enabled=choice["enabled"], settings=choice.get("settings", {})
            )
    tenants.changed(db, changes)
    return changes


def _save_connections(
    db: Database, tenant: str, was: Tree, now: Tree, registry: Registry, keyring: Keyring
) -> None:
    for name in was.keys() - now.keys():
        tenants.remove_connection(db, tenant, name)
    for name, entry in _differing(was, now):
        secrets = {key: secret.get_secret_value() for key, secret in entry.get("secrets", {}).items()}
        where = f"tenants.{tenant}.connections.{name}"
        settings = connection_settings(registry, entry["vendor"], entry.get("settings", {}), secrets, where)
        tenants.save_connection(db, Connection(tenant, name, entry["vendor"], settings), keyring)


def _differing(was: Tree, now: Tree) -> Iterator[tuple[str, Tree]]:
    return ((name, entry) for name, entry in now.items() if was.get(name) != entry)


def _opened(keyring: Keyring, sealed: bytes) -> dict[str, Any] | None:
    try:
        return keyring.open(sealed)
    except GatewayError:
        return None


# --- for people ---------------------------------------------------------------------------------------------


def diff(before: Tree, after: Tree) -> list[str]:
    """A line for each difference, without secrets: `+` new, `-` gone, `~` changed."""
    return [
        line for name in after for line in _diff(before.get(name, _blank()), after[name], f"tenants.{name}")
    ]


def _diff(was: Tree, now: Tree, path: str) -> Iterator[str]:
    for name in now | was:
        here = f"{path}.{name}"
        if name not in now:
            yield f"- {here}" if isinstance(was[name], dict) else f"- {here}: {_shown(was[name])}"
        elif name not in was:
            if isinstance(now[name], dict) and now[name]:
                yield from _diff({}, now[name], here)
            else:
                yield f"+ {here}: {_shown(now[name])}"
        elif isinstance(was[name], dict) and isinstance(now[name], dict):
            yield from _diff(was[name], now[name], here)
        elif was[name] != now[name] and isinstance(now[name], Secret):
            yield f"~ {here}: (secret, changed)"
        elif was[name] != now[name]:
            yield f"~ {here}: {_shown(was[name])} -> {_shown(now[name])}"


def _shown(value: Any) -> str:
    if isinstance(value, Secret):
        return "(secret)"
    shown = redact_url(json.dumps(value, ensure_ascii=False, default=lambda _: "(secret)"))
    return shown if len(shown) <= LONGEST_VALUE else shown[: LONGEST_VALUE - 3] + "..."


def export(tree: Tree) -> str:
    """The configuration as a tenants.yaml, with the names of environment variables for secrets."""
    names: set[str] = set()
    plain = {tenant: _exported(part, (tenant,), names) for tenant, part in tree.items()}
    return f"{EXPORT_HEADER}{yaml_text.dump({'tenants': plain})}"


def _exported(value: Any, path: tuple[str, ...], names: set[str]) -> Any:
    if isinstance(value, dict):
        return {key: _exported(item, (*path, key), names) for key, item in value.items()}
    if not isinstance(value, Secret):
        return value
    secret = value.get_secret_value()
    if secret is None:
        raise GatewayError(f"tenants.{'.'.join(path)}: no key in GATEWAY_SECRET_KEYS decrypts it")
    if isinstance(secret, list) and len(secret) > 1:
        return [_placeholder(path, names) for _ in secret]
    return _placeholder(path, names)


def _placeholder(path: tuple[str, ...], names: set[str]) -> Tree:
    """`{env: ACME_MOVIDESK_TOKEN}`; a name that is taken gets a number."""
    name = re.sub(r"[^A-Z0-9]", "_", f"{path[0]}_{path[2]}_{path[-1]}".upper())
    name = f"_{name}" if name[0].isdigit() else name
    free = next(each for each in chain([name], (f"{name}_{n}" for n in count(2))) if each not in names)
    names.add(free)
    return {"env": free}
