"""What the tests of the core share: a tenant, its connections, and a plugin whose behaviour a test decides."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from secrets import token_hex
from types import ModuleType
from typing import Any

from pydantic import SecretStr
from sqlalchemy import select

from gateway.api import (
    Action,
    ApiSettings,
    ConnectionSettings,
    Receipt,
    RuleInfo,
    RuleSettings,
    SecretList,
    UnreadableWebhook,
    VendorInfo,
    Verified,
    check_key,
    hookimpl,
    parse_event,
)
from gateway.model.connection import Connection
from gateway.model.facts import Tenant
from gateway.pipeline.decide import Outcome, decide
from gateway.registry import Registry, assemble
from gateway.runtime import Runtime
from gateway.store import deliveries, tenants
from gateway.store.deliveries import Arrival
from gateway.store.tenants import Directory

NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)


class Settings(ConnectionSettings):
    hook_key: SecretList = (SecretStr("town-key"),)
    us: str = "us"

    def own_ids(self) -> frozenset[str]:
        return frozenset({self.us})


def town(**hooks: Any) -> ModuleType:
    """A vendor whose webhooks are our own events as JSON: `{"events": [...], "subject": ..., "thin": ...}`."""

    @hookimpl
    def vendor_info() -> VendorInfo:
        return VendorInfo(label="Town", settings=Settings)

    @hookimpl
    def verify_webhook(webhook: Any, connection: Any) -> Verified:
        check_key(webhook, connection.settings.hook_key)
        try:
            told = json.loads(webhook.body)
        except ValueError:
            return Verified()
        return Verified(told.get("id"), subject=told.get("subject"), thin=told.get("thin", False))

    @hookimpl
    def convert_webhook(webhook: Any, collected: Any) -> list[Any]:
        try:
            told = collected if collected is not None else json.loads(webhook.body)
            return [parse_event(event) for event in told["events"]]
        except (ValueError, LookupError, TypeError) as error:
            raise UnreadableWebhook(f"town: {error!r}") from None

    @hookimpl
    def connect_api() -> ApiSettings:
        return ApiSettings(base_url="http://127.0.0.1:1")

    @hookimpl
    def execute_action(action: Action) -> Receipt:
        return Receipt(remote_id=f"r-{action.id[:6]}")

    found = {
        "vendor_info": vendor_info, "verify_webhook": verify_webhook, "convert_webhook": convert_webhook,
        "connect_api": connect_api, "execute_action": execute_action,
    }  # fmt: skip
    return _module("town", {**found, **hooks})


def rule(
    name: str, answer: Any, *, settings: type[RuleSettings] = RuleSettings, hears_ours: bool = False
) -> Any:
    """A rule that answers whatever `answer(event, facts)` gives."""

    @hookimpl
    def on_event(event: Any, facts: Any) -> Iterable[Any]:
        return answer(event, facts)

    info = RuleInfo(
        title={"pt-BR": name, "en": name},
        description={"pt-BR": "", "en": ""},
        enabled=True,
        hears_ours=hears_ours,
    )
    return _module(f"rules.{name}", {"on_event": on_event, "INFO": info, "Settings": settings})


def _module(name: str, content: Mapping[str, Any]) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(content)
    return module


def settle_in(
    gateway: Runtime,
    vendor: Any = None,
    rules: Mapping[str, Any] | None = None,
    names: Iterable[str] = ("desk",),
) -> Registry:
    """Give the runtime this vendor and these rules, and a tenant `acme` with the connections `names`."""
    gateway.registry = assemble({"town": vendor or town()}, rules or {})
    gateway.directory = Directory(gateway.registry, gateway.keyring)
    gateway.clock = lambda: NOW
    with gateway.db.begin() as db:
        tenants.save_tenant(db, Tenant(id="acme", name="Acme Ltda"))
        for name in names:
            tenants.save_connection(db, Connection("acme", name, "town", Settings()), gateway.keyring)
        tenants.changed(db, ["settled in"])
    return gateway.registry


def arrive(
    gateway: Runtime, *events: Any, subject: str | None = None, thin: bool = False, connection: str = "desk",
    body: bytes | None = None, key: str | None = None,
) -> int:  # fmt: skip
    """A verified webhook in the inbox; its id."""
    told = {"events": [event.to_json() for event in events], "subject": subject, "thin": thin}
    content = body if body is not None else json.dumps(told).encode()
    arrival = Arrival(
        "acme", connection, key or token_hex(8), NOW, None, subject, thin, {}, {},
        content, "trace",
    )  # fmt: skip
    with gateway.db.begin() as db:
        return deliveries.insert(db, [arrival])[0].id


def run(gateway: Runtime, *ids: int) -> Outcome:
    return decide(gateway, list(ids))


def rows(gateway: Runtime, table: Any, **where: Any) -> list[Any]:
    with gateway.db.connect() as db:
        found = select(table).order_by(*(table.c[name] for name in ("seq", "id") if name in table.c))
        for name, value in where.items():
            found = found.where(table.c[name] == value)
        return list(db.execute(found))
