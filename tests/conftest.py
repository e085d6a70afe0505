"""Real parts for the tests: PostgreSQL and Valkey from wheels, started once a run; a fresh database for each test."""

import json
import os
import secrets
import shutil
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import pytest
from cryptography.fernet import Fernet
from gateway_plugins.generic import accept as standard_webhooks
from gateway_plugins.generic.sandbox import PAYMENT_MAPPING, SECRET
from gateway_plugins.zendesk import accept as zendesk_webhooks
from gateway_plugins.zendesk import envelopes
from gateway_plugins.zendesk import sandbox as zendesk
from hypothesis import settings
from redis import Redis
from sqlalchemy import text

from gateway import embedded, logs, runtime
from gateway.embedded import Stores
from gateway.model.connection import Connection
from gateway.model.facts import Tenant
from gateway.model.webhook import Webhook
from gateway.pipeline.accept import admit
from gateway.pipeline.collect import collect
from gateway.pipeline.decide import decide
from gateway.pipeline.execute import execute
from gateway.runtime import Runtime
from gateway.settings import Settings
from gateway.store import actions, database, deliveries, tenants
from gateway.testing import serving

logs.configure("console", "warning")

settings.register_profile("usual", max_examples=60, deadline=None)
settings.register_profile("thorough", max_examples=2000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "usual"))

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
MEMORY, ROOM = Path("/dev/shm"), 2**30
KEY = Fernet.generate_key().decode()


@pytest.fixture(scope="session", autouse=True)
def this_machine_only() -> Iterator[None]:
    """No test talks to another machine; one that tries fails, and not as if the other were down."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in {socket.AF_INET, socket.AF_INET6} and address[0] not in LOOPBACK:
            raise RuntimeError(f"a test tried to connect to {address[0]}")
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded)
        yield


@pytest.fixture(scope="session")
def servers() -> Iterator[Stores]:
    """The two embedded servers, with a migrated template database.

    Not below pytest's own folder: it closes that one to others at every start, and PostgreSQL is another user.
    """
    with TemporaryDirectory(prefix="gateway-tests-", dir=_in_memory()) as folder:
        os.chmod(folder, 0o711)
        chosen = Settings(data_dir=Path(folder) / "data", database_url="", redis_url="")
        yield from _running(chosen)


def _in_memory() -> Path | None:
    """Where there is room in memory, or each of hundreds of databases would wait for the disk."""
    free = shutil.disk_usage(MEMORY).free if os.access(MEMORY, os.W_OK) else 0
    return MEMORY if free > ROOM else None


def _running(chosen: Settings) -> Iterator[Stores]:
    with embedded.stores(chosen) as stores:
        administration = database.engine(stores.database_url)
        with administration.connect().execution_options(isolation_level="AUTOCOMMIT") as db:
            db.execute(text("CREATE DATABASE template"))
        template = database.engine(_named(stores.database_url, "template"))
        database.migrate(template)
        template.dispose()
        yield stores
        administration.dispose()


@pytest.fixture(scope="session")
def valkey_url(servers: Stores) -> str:
    return servers.redis_url


@pytest.fixture
def database_url(servers: Stores) -> Iterator[str]:
    """A database of this test's own, at the newest revision."""
    name = f"test_{secrets.token_hex(6)}"
    administration = database.engine(servers.database_url)
    with administration.connect().execution_options(isolation_level="AUTOCOMMIT") as db:
        db.execute(text(f"CREATE DATABASE {name} TEMPLATE template STRATEGY file_copy"))
        yield _named(servers.database_url, name)
        db.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    administration.dispose()


@pytest.fixture
def redis_url(valkey_url: str) -> str:
    """Valkey, emptied."""
    with Redis.from_url(valkey_url) as redis:
        redis.flushall()
    return valkey_url


@pytest.fixture
def gateway(database_url: str, redis_url: str) -> Iterator[Runtime]:
    """A runtime with everything installed, on fresh stores; private targets allowed, for sandboxes."""
    chosen = Settings(allow_private_targets=True, database_url=database_url, redis_url=redis_url)
    with runtime.Closing(runtime.start(chosen, database_url, redis_url, (KEY,))) as started:
        yield started


@dataclass
class Acme:
    """A tenant with a payment system, `pay`, and a Zendesk, `desk`, that is a sandbox. Nothing runs by itself."""

    gateway: Runtime
    desk_url: str

    def configure(self, **rules: Mapping[str, Any]) -> None:
        """Both connections as they should be; each of `rules` on, with these settings."""
        self.connect("pay", "generic", {**PAYMENT_MAPPING, "secret": SECRET})
        self.connect("desk", "zendesk", self.desk())
        with self.gateway.db.begin() as db:
            tenants.save_tenant(db, Tenant(id="acme", name="Acme Ltda", locale="en"))
            for name in self.gateway.registry.rules:
                tenants.save_rule(db, "acme", name, enabled=name in rules, settings=dict(rules.get(name, {})))
            tenants.changed(db, ["set up"])

    def desk(self, **changes: Any) -> dict[str, Any]:
        return {
            "subdomain": "acme", "base_url": f"{self.desk_url}/api/v2", "oauth_token": "sandbox-token",
            "signing_secret": "sandbox-secret", "user_id": "90001", "groups": {"GR": 8001},
        } | changes  # fmt: skip

    def connect(self, name: str, vendor: str, settings: Mapping[str, Any]) -> None:
        model = self.gateway.registry.vendor_info(vendor).settings
        with self.gateway.db.begin() as db:
            tenants.save_connection(
                db, Connection("acme", name, vendor, model.model_validate(settings)), self.gateway.keyring
            )
            tenants.changed(db, [name])

    def pay(
        self, id: str = "pay_1", *, message: str = "", kind: str = "payment.confirmed", **told: Any
    ) -> int:
        """A payment is told; the delivery's id. The same `message` is the same delivery told again."""
        customer = {"name": "Padaria Exemplo", "email": "dona@padaria.example", "phones": ["(11) 3555-0199"]}
        data = {"id": id, "amount": 990.0, "plan": "Pro", "customer": customer, **told}
        now = self.gateway.clock().replace(microsecond=0)
        body = json.dumps({"type": kind, "timestamp": now.isoformat(), "data": data})
        message = message or f"msg_{secrets.token_hex(6)}"
        signature = standard_webhooks.sign(message, now, body, SECRET)
        headers = {"webhook-id": message, "webhook-timestamp": str(int(now.timestamp()))}
        return self.receive("pay", body.encode(), {**headers, "webhook-signature": signature})

    def notice(
        self, ticket: Mapping[str, Any], kind: str, change: Mapping[str, Any], actor: int = 80005
    ) -> int:
        """Zendesk tells of a change of this ticket; the delivery's id."""
        [told] = envelopes.ticket_envelopes(9001001, ticket, actor, [(kind, dict(change))])
        body, sent_at = json.dumps(told).encode(), envelopes.iso(self.gateway.clock().timestamp())
        signature = zendesk_webhooks.sign(sent_at, body, "sandbox-secret")
        return self.receive(
            "desk", body, {zendesk_webhooks.SIGNATURE: signature, zendesk_webhooks.TIMESTAMP: sent_at}
        )

    def receive(
        self, name: str, body: bytes, headers: Mapping[str, str], query: Mapping[str, str] | None = None
    ) -> int:
        """Proved and stored, as the server would."""
        webhook = Webhook(headers, body, query or {}, self.gateway.clock())
        with self.gateway.db.begin() as db:
            connection = self.gateway.directory.current(db).connection("acme", name)
            assert connection is not None
            [stored] = deliveries.insert(db, [admit(self.gateway.registry, webhook, connection)])
        return stored.id

    def opens(self, ticket: Mapping[str, Any]) -> dict[str, Any]:
        """A person opens this ticket at the desk."""
        answer = httpx.post(f"{self.desk_url}/_sandbox/human/tickets", json=ticket).raise_for_status().json()
        opened: dict[str, Any] = answer["ticket"]
        return opened

    def collect(self, *ids: int, connection: str = "desk") -> None:
        collect(self.gateway, "acme", connection, ids)

    def decide(self, *ids: int) -> None:
        decide(self.gateway, ids)

    def execute(self) -> None:
        """Everything that can be sent now."""
        for _ in range(10):
            with self.gateway.db.begin() as db:
                due = actions.overdue(db, self.gateway.clock(), timedelta(0), 100)
            for name in {row.connection for row in due}:
                execute(self.gateway, 1, "acme", name, [row.id for row in due if row.connection == name])

    def rows(self, table: Any) -> list[Any]:
        with self.gateway.db.connect() as db:
            return list(db.execute(table.select().order_by(table.c.get("seq", table.c.get("id")))))

    @property
    def tickets(self) -> list[dict[str, Any]]:
        return list(httpx.get(f"{self.desk_url}/_sandbox/tickets").json())

    @property
    def calls(self) -> list[str]:
        """What the desk was asked, as `METHOD /path`."""
        calls: Iterable[dict[str, Any]] = httpx.get(f"{self.desk_url}/_sandbox/calls").json()
        return [f"{call['method']} {call['path']}" for call in calls]

    def misbehave(self, **fault: Any) -> None:
        httpx.post(f"{self.desk_url}/_sandbox/misbehave", json=fault).raise_for_status()


@pytest.fixture
def acme_on() -> Iterator[Callable[[Runtime], Acme]]:
    """`acme_on(runtime)`: the tenant on this runtime, with the CORE ticket rule on."""
    with serving(zendesk.create_app()) as url:

        def settle(gateway: Runtime) -> Acme:
            acme = Acme(gateway, url)
            acme.configure(core_ticket_on_payment={"connection": "desk"})
            return acme

        yield settle


@pytest.fixture
def acme(gateway: Runtime, acme_on: Callable[[Runtime], Acme]) -> Acme:
    return acme_on(gateway)


def _named(url: str, name: str) -> str:
    head, _, tail = url.partition("?")
    return f"{head.rpartition('/')[0]}/{name}" + (f"?{tail}" if tail else "")
