"""Four helpdesks that are sandboxes, a gateway in front of them, and what people do and find there."""

import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import tests_mirror
from cryptography.fernet import Fernet
from gateway_plugins.bitrix import sandbox as bitrix
from gateway_plugins.bitrix.desk import HOST, MEMBER_ID
from gateway_plugins.freshdesk import sandbox as freshdesk
from gateway_plugins.intercom import sandbox as intercom
from gateway_plugins.movidesk import sandbox as movidesk
from sqlalchemy import func, select, update

from gateway import jobs
from gateway.api import html_to_text
from gateway.model.connection import Connection
from gateway.model.facts import Tenant
from gateway.registry import assemble
from gateway.runtime import Runtime
from gateway.store import tenants
from gateway.store.secrets import Keyring
from gateway.store.tables import actions, deliveries
from gateway.store.tenants import Directory
from gateway.testing import serving
from gateway.web.app import App

HOOK_KEY = "sandbox-hook-key"
VENDORS = {"chat": "intercom", "support": "freshdesk", "crm": "bitrix", "desk": "movidesk"}
APPS: dict[str, Any] = {
    "chat": lambda: intercom.create_app(calls_per_minute=None),
    "support": lambda: freshdesk.create_app(calls_per_minute=None, search_lag=0),
    "crm": lambda: bitrix.create_app(limited=False),
    "desk": lambda: movidesk.create_app(calls_per_minute=1_000_000),
}
RULES: dict[str, dict[str, Any]] = {
    "core_ticket_on_payment": {"connection": "desk"},
    "require_phone": {},
    "require_bitrix_link": {"connection": "crm", "scope": {"connections": ["support", "desk"]}},
    "auto_tag": {},
    "escalate": {
        "from_connection": "chat", "to_connection": "support", "from_team": "Chat", "to_team": "Suporte",
    },
    "tests_mirror": {"connections": ["support", "crm", "desk"]},
}  # fmt: skip
"""The five of ours, and the stranger's."""

MARK = re.compile(r"(?:\[size=1\]\[color=#\w+\])?gw:[0-9a-f]{12}(?:\[/color\]\[/size\])?|[\ufe00-\ufe0f]+")
WHEN = re.compile(r"\[\d\d/\d\d/\d{4} \d\d:\d\d:\d\d\] ")
UNFINISHED = ("received", "pending", "executing")


def settings_of(name: str, url: str) -> dict[str, Any]:
    """Nothing waits for an index or a replica to catch up: these sandboxes have none that lags."""
    return {
        "chat": {
            "base_url": url, "app_id": "abc123", "admin_id": "700", "access_token": "sandbox-token",
            "client_secret": "sandbox-secret", "teams": {"Chat": "802"}, "search_lag_seconds": 0,
        },
        "support": {
            "base_url": f"{url}/api/v2", "subdomain": "acme", "agent_id": "43000001", "api_key": "sandbox-key",
            "hook_key": HOOK_KEY, "groups": {"Suporte": 8001}, "agents": {"Ana Dias": 43000002},
            "custom_fields": {"bitrix_link": "cf_order"}, "calls_per_minute": 10_000, "settle_seconds": 0,
        },
        "crm": {
            "base_url": f"{url}/rest", "portal_host": HOST, "user_id": 15, "member_id": MEMBER_ID,
            "webhook_secret": "sandbox-secret", "application_token": "sandbox-application-token",
            "calls_per_second": 50,
        },
        "desk": {
            "base_url": url, "subdomain": "acme", "person_id": "gateway", "token": "sandbox-token",
            "hook_key": HOOK_KEY, "custom_fields": {"bitrix_link": {"id": 13490, "rule": 21751}},
            "calls_per_minute": 10_000, "replica_lag_seconds": 0,
        },
    }[name]  # fmt: skip


def instructed(gateway: Runtime) -> Runtime:
    """With the stranger's rule installed beside ours."""
    known = gateway.registry
    gateway.registry = assemble(known.vendors, {**known.rules, tests_mirror.__name__: tests_mirror})
    gateway.directory = Directory(gateway.registry, gateway.keyring)
    return gateway


@dataclass
class Desks:
    """What people do at each desk, what stands there then, and the gateway's work in between."""

    gateway: Runtime
    http: Mapping[str, httpx.Client]
    workers: tuple["subprocess.Popen[bytes]", ...] = ()

    def opens(self, name: str, **given: Any) -> str:
        """Somebody opens a ticket, conversation or deal there; its id, as a TicketRef has it."""
        answer = self.http[name].post("/_sandbox/human/tickets", json=given).raise_for_status()
        return str(answer.json()["id"])

    def changes(self, name: str, id_: str, **given: Any) -> None:
        self.http[name].post(f"/_sandbox/human/tickets/{id_}", json=given).raise_for_status()

    def found(self, name: str) -> list[dict[str, Any]]:
        """All that stands there, in the vendor's own words."""
        there: list[dict[str, Any]] = self.http[name].get("/_sandbox/tickets").json()
        return there

    def misbehaves(self, name: str, **fault: Any) -> None:
        self.http[name].post("/_sandbox/misbehave", json=fault).raise_for_status()

    def calls(self, name: str) -> list[dict[str, Any]]:
        made: list[dict[str, Any]] = self.http[name].get("/_sandbox/calls").json()
        return made

    def settle(self, seconds: float = 30) -> None:
        """Until every webhook has come, and all that follows from it is done, and its webhooks have come."""
        deadline, quiet = time.monotonic() + seconds, 0
        while quiet < (3 if self.workers else 1):
            if time.monotonic() > deadline:
                raise AssertionError(f"still unfinished: {self.unfinished()}")
            if not self.workers:
                jobs.drain(self.gateway)
            waits = self._hastened() or self._telling() or self.unfinished()
            quiet = 0 if waits else quiet + 1
            time.sleep(0.2 if self.workers else 0.02)

    def _hastened(self) -> bool:
        """Nobody waits for the pause between two tries."""
        now = self.gateway.clock()

        def due(db: Any, table: Any) -> list[Any]:
            waits = table.c.state.in_(["received", "pending"]) & (table.c.not_before > now)
            return list(db.execute(update(table).where(waits).values(not_before=now).returning(table)))

        with self.gateway.db.begin() as db:
            late, pending = due(db, deliveries), due(db, actions)
        jobs.hint_all(self.gateway, late, pending)
        return bool(late or pending)

    def _telling(self) -> bool:
        return any(http.get("/_sandbox/webhooks").json()["waiting"] for http in self.http.values())

    def unfinished(self) -> Counter[str]:
        with self.gateway.db.connect() as db:
            of = [select(each.c.state, func.count()).group_by(each.c.state) for each in (deliveries, actions)]
            counted = [row for each in of for row in db.execute(each)]
        return Counter({state: number for state, number in counted if state in UNFINISHED})

    def said(self, name: str) -> list[str]:
        """Every message there as `who: what`, a star in front where customers do not see it; without our marks, and
        without the times of transcripts."""
        return [
            f"{'*' if private else ''}{who}: {' '.join(WHEN.sub('', MARK.sub('', what)).split())}"
            for each in self.found(name)
            for who, private, what in MESSAGES[name](each)
        ]


Messages = Iterator[tuple[str, bool, str]]


def _in_conversation(found: dict[str, Any]) -> Messages:
    yield found["source"]["author"]["name"], False, html_to_text(found["source"]["body"])
    for part in found["conversation_parts"]["conversation_parts"]:
        if part["body"]:
            yield part["author"]["name"], part["part_type"] == "note", html_to_text(part["body"])


def _in_case(found: dict[str, Any]) -> Messages:
    people = {43000001: "Gateway", 43000002: "Ana Dias"}
    yield "", False, found["description_text"]
    for row in found["conversations"]:
        yield people[row["user_id"]], row["private"], row["body_text"]


def _in_timeline(found: dict[str, Any]) -> Messages:
    people = {"15": "Gateway", "21": "Bia Ramos"}
    for row in found["timeline"]:
        yield people[row["AUTHOR_ID"]], True, row["COMMENT"]


def _in_order(found: dict[str, Any]) -> Messages:
    for row in found["actions"]:
        yield row["createdBy"]["businessName"], row["type"] == 1, row["description"]


MESSAGES = {"chat": _in_conversation, "support": _in_case, "crm": _in_timeline, "desk": _in_order}


@contextmanager
def desks(gateway: Runtime, *, copies: int = 1, workers: int = 0) -> Iterator[Desks]:
    """:param copies: how often each webhook is delivered
    :param workers: processes that work; without any, the work is done in `settle`"""
    key = Fernet.generate_key().decode()
    gateway.keyring = Keyring((key,))
    instructed(gateway)
    with ExitStack() as stack:
        urls = {name: stack.enter_context(serving(make())) for name, make in APPS.items()}
        _configure(gateway, urls)
        hooks = stack.enter_context(serving(App(gateway)))
        http = {
            name: stack.enter_context(httpx.Client(base_url=url, trust_env=False, timeout=30))
            for name, url in urls.items()
        }
        for name, client in http.items():
            for copy in range(copies):
                target = f"{hooks}/hooks/acme/{name}?key={HOOK_KEY}&copy={copy}"
                client.post("/_sandbox/webhooks", json={"url": target}).raise_for_status()
        working = tuple(stack.enter_context(_worker(gateway, key)) for _ in range(workers))
        yield Desks(gateway, http, working)


def _configure(gateway: Runtime, urls: Mapping[str, str]) -> None:
    with gateway.db.begin() as db:
        tenants.save_tenant(db, Tenant(id="acme", name="Acme Ltda"))
        for name, url in urls.items():
            model = gateway.registry.vendor_info(VENDORS[name]).settings
            settings = model.model_validate(settings_of(name, url))
            tenants.save_connection(db, Connection("acme", name, VENDORS[name], settings), gateway.keyring)
        for rule, chosen in RULES.items():
            tenants.save_rule(db, "acme", rule, enabled=True, settings=chosen)
        tenants.changed(db, ["set up"])


WORKER = """
from gateway import jobs, runtime
from gateway.settings import read_settings
from tests_desks import instructed
chosen = read_settings()
keys = tuple(key.get_secret_value() for key in chosen.secret_keys)
with runtime.Closing(runtime.start(chosen, chosen.database_url, chosen.redis_url, keys)) as gateway:
    jobs.work(instructed(gateway))
"""


@contextmanager
def _worker(gateway: Runtime, key: str) -> Iterator["subprocess.Popen[bytes]"]:
    chosen = gateway.settings
    env = {
        **os.environ, "PYTHONPATH": str(Path(__file__).parent), "GATEWAY_DATABASE_URL": chosen.database_url,
        "GATEWAY_REDIS_URL": chosen.redis_url, "GATEWAY_ALLOW_PRIVATE_TARGETS": "1",
        "GATEWAY_SECRET_KEYS": key, "GATEWAY_RECLAIM_SECONDS": "2",
    }  # fmt: skip
    process = subprocess.Popen([sys.executable, "-c", WORKER], env=env)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)
