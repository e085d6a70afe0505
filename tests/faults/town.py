"""A gateway of real processes on stores of its own, of which any may be killed, and a vendor's sandbox beside it."""

import asyncio
import json
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gateway_plugins.generic.sandbox as payments
import gateway_plugins.zendesk.sandbox as zendesk
import httpx
import psycopg
from cryptography.fernet import Fernet
from gateway_plugins.generic import accept
from gateway_plugins.zendesk.desk import API_AGENT
from redis import Redis
from sqlalchemy import NullPool, create_engine, func, select, text

from gateway import servers
from gateway.model.facts import Tenant
from gateway.registry import load
from gateway.store import database, tenants
from gateway.store.secrets import Keyring
from gateway.store.tables import actions, deliveries
from gateway.testing import serving

REGISTRY = load()
READY_SECONDS = 30.0
STOP_SECONDS = 20.0


class Machine:
    """PostgreSQL and Valkey as processes of this one, to be killed and started again on the same files."""

    def __init__(self, data_dir: Path) -> None:
        place = servers.place(data_dir)
        self.data_dir = data_dir
        self.servers = {"postgres": servers.postgres(place), "valkey": servers.valkey(place)}
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def redis_url(self) -> str:
        return self.servers["valkey"].url

    def database_url(self, name: str) -> str:
        head, _, tail = self.servers["postgres"].url.partition("?")
        return f"{head.rpartition('/')[0]}/{name}?{tail}"

    def start(self, name: str) -> None:
        server = self.servers[name]
        server.clear()
        child = server.child
        assert child.output
        with child.output.open("ab") as output:
            self.running[name] = subprocess.Popen(
                child.argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=child.env, cwd=child.cwd,
                user=child.user[0] if child.user else None, group=child.user[1] if child.user else None,
                extra_groups=[] if child.user else None, process_group=0,
            )  # fmt: skip
        until(server.ready, f"{name} answers", tell=lambda: servers.last_words(child.output or Path(), 0))

    def kill(self, name: str) -> None:
        process = self.running.pop(name)
        process.kill()
        process.wait()

    def wipe_valkey(self) -> None:
        """Its files, while it is down: it comes back knowing nothing."""
        shutil.rmtree(self.data_dir / "valkey" / "appendonlydir", ignore_errors=True)

    def restore(self) -> None:
        """Both run and answer."""
        for name in self.servers:
            if name not in self.running:
                self.start(name)

    def stop(self) -> None:
        for name, process in self.running.items():
            process.send_signal(self.servers[name].child.stop)
        for process in self.running.values():
            process.wait(STOP_SECONDS)


class Process:
    """One `python -m gateway ...` and what it says."""

    def __init__(self, arguments: Sequence[str], env: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("ab") as output:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "gateway", *arguments],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env, cwd=log.parent,
            )  # fmt: skip

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait()

    def stop(self, timeout: float = STOP_SECONDS) -> int:
        """SIGTERM; its exit code, or TimeoutExpired."""
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(timeout)


class Town:
    """A tenant with a payment system, a Zendesk sandbox, and the gateway's processes between them."""

    def __init__(self, machine: Machine, folder: Path, name: str, **settings: object) -> None:
        self.machine = machine
        self.folder = folder
        self.port = free_port()
        self.key = Fernet.generate_key().decode()
        url = machine.database_url(name).replace("postgresql:", "postgresql+psycopg:", 1)
        self.db = create_engine(url, poolclass=NullPool)  # each look is a new one: PostgreSQL dies in between
        self.server: Process | None = None
        self.workers: list[Process] = []
        self.settings = {f"GATEWAY_{key.upper()}": str(value) for key, value in settings.items()}
        self.env = {
            **os.environ,
            "GATEWAY_DATABASE_URL": machine.database_url(name),
            "GATEWAY_REDIS_URL": machine.redis_url,
            "GATEWAY_SECRET_KEYS": self.key,
            "GATEWAY_ALLOW_PRIVATE_TARGETS": "1",
            "GATEWAY_LOG_FORMAT": "json",
            **self.settings,
        }

    # --- processes ---

    def start_server(self, *, wait: bool = True) -> None:
        self.server = Process(["serve", f"--port={self.port}"], self.env, self.folder / "server.log")
        if wait:
            until(self.answers, "the server answers")

    def start_worker(self) -> Process:
        worker = Process(["worker"], self.env, self.folder / f"worker-{secrets.token_hex(3)}.log")
        self.workers.append(worker)
        return worker

    def kill_worker(self, worker: Process | None = None) -> None:
        worker = worker or self.workers[0]
        self.workers.remove(worker)
        worker.kill()

    def answers(self) -> bool:
        assert self.server is not None
        if self.server.popen.poll() is not None:
            raise AssertionError(f"the server ended: {self.server.log.read_text()[-2000:]}")
        try:
            return httpx.get(f"{self.url}/healthz", timeout=2).is_success
        except httpx.TransportError:
            return False

    def end(self) -> None:
        for process in [*self.workers, *([self.server] if self.server else [])]:
            if process.popen.poll() is None:
                process.kill()
        self.db.dispose()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    # --- configuration ---

    def configure(self, desk_url: str, tenant: str = "acme", **desk: object) -> None:
        keyring = Keyring((self.key,))
        given = {
            "pay": ("generic", {**payments.PAYMENT_MAPPING, "secret": payments.SECRET}),
            "desk": ("zendesk", {
                "subdomain": "acme", "base_url": f"{desk_url}/api/v2", "oauth_token": "sandbox-token",
                "signing_secret": "sandbox-secret", "user_id": str(API_AGENT), "groups": {"GR": 8001},
                "calls_per_minute": 10_000, **desk,
            }),
        }  # fmt: skip
        with self.db.begin() as db:
            tenants.save_tenant(db, Tenant(id=tenant, name="Acme Ltda"))
            for name, (vendor, settings) in given.items():
                model = REGISTRY.vendor_info(vendor).settings
                connection = tenants.Connection(tenant, name, vendor, model.model_validate(settings))
                tenants.save_connection(db, connection, keyring)
            tenants.save_rule(
                db, tenant, "core_ticket_on_payment", enabled=True, settings={"connection": "desk"}
            )
            tenants.changed(db, ["set up"])

    # --- what became of it ---

    def rows(self, table: Any, *where: Any) -> list[Any]:
        with self.db.connect() as db:
            return list(db.execute(select(table).where(*where).order_by(table.c.get("seq", table.c.id))))

    def unfinished(self) -> Counter[str]:
        """How many rows still wait, by what they wait for."""
        with self.db.connect() as db:
            waiting = db.execute(
                select(deliveries.c.state, func.count())
                .where(deliveries.c.state == "received")
                .group_by("state")
            ).all()
            waiting += db.execute(
                select(actions.c.state, func.count())
                .where(actions.c.state.in_(["pending", "executing"]))
                .group_by(actions.c.state)
            ).all()
        return Counter(dict(waiting))

    def settle(self, seconds: float) -> float:
        """Wait until nothing waits any more; how long that took."""
        began = time.monotonic()
        until(lambda: not self.unfinished(), "everything is done", seconds, tell=self.unfinished)
        return time.monotonic() - began


class Vendor:
    """What a vendor sends: signed webhooks, each tried again until it gets a 2xx. Runs in a thread of its own."""

    def __init__(
        self, url: str, *, tenant: str = "acme", concurrency: int = 16, patience: float = 10.0
    ) -> None:
        self.target = f"{url}/hooks/{tenant}/pay"
        self.acknowledged: dict[str, float] = {}
        """By webhook-id, the moment of its 2xx in seconds since the epoch."""
        self.deliveries: dict[str, int] = {}
        self.statuses: Counter[str] = Counter()
        self.slowest = 0.0
        self._concurrency = concurrency
        self._patience = patience
        self._stopped = threading.Event()

    def send(self, webhooks: Sequence[tuple[str, bytes]], *, per_second: float | None = None) -> None:
        """Send all of them, and come back when each was acknowledged (or `give_up` was called)."""
        asyncio.run(self._send_all(webhooks, per_second))

    @contextmanager
    def sending(self, webhooks: Sequence[tuple[str, bytes]], per_second: float) -> Iterator[threading.Thread]:
        """Send in the background for as long as this is entered, then until all are acknowledged."""
        thread = threading.Thread(
            target=self.send, args=(webhooks,), kwargs={"per_second": per_second}, daemon=True
        )
        thread.start()
        try:
            yield thread
            thread.join(120)
            assert not thread.is_alive(), f"not all were acknowledged: {self.statuses}"
        finally:
            self.give_up()

    def give_up(self) -> None:
        self._stopped.set()

    async def _send_all(self, webhooks: Sequence[tuple[str, bytes]], per_second: float | None) -> None:
        turns = asyncio.Semaphore(self._concurrency)
        began = time.monotonic()
        async with (
            httpx.AsyncClient(timeout=self._patience, trust_env=False) as http,
            asyncio.TaskGroup() as group,
        ):
            for number, (id_, body) in enumerate(webhooks):
                if per_second is not None:
                    await asyncio.sleep(max(0.0, began + number / per_second - time.monotonic()))
                await turns.acquire()
                task = group.create_task(self._until_acknowledged(http, id_, body))
                task.add_done_callback(lambda _: turns.release())

    async def _until_acknowledged(self, http: httpx.AsyncClient, id_: str, body: bytes) -> None:
        while not self._stopped.is_set():
            began = time.monotonic()
            try:
                answer = await http.post(self.target, content=body, headers=signed(id_, body))
            except httpx.TransportError as error:
                self.statuses[type(error).__name__] += 1
            else:
                self.statuses[str(answer.status_code)] += 1
                if answer.is_success:
                    self.slowest = max(self.slowest, time.monotonic() - began)
                    self.acknowledged[id_] = time.time()
                    self.deliveries[id_] = answer.json()["delivery"]
                    return
            await asyncio.sleep(0.3)


def signed(id_: str, body: bytes) -> dict[str, str]:
    """Today's headers for this body."""
    now = datetime.fromtimestamp(int(time.time()), UTC)
    return {
        "content-type": "application/json",
        "webhook-id": id_,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": accept.sign(id_, now, body.decode(), payments.SECRET),
    }


def payment(number: int | str, kind: str = "payment.confirmed", **told: object) -> bytes:
    """A payment of a customer of its own."""
    data = {
        "id": f"pay_{number}", "amount": 990.0, "plan": "Pro",
        "customer": {"name": f"Cliente {number}", "email": f"cliente{number}@example.com"}, **told,
    }  # fmt: skip
    moment = datetime.fromtimestamp(time.time(), UTC).isoformat()
    return json.dumps({"type": kind, "timestamp": moment, "data": data}).encode()


def subject(number: int | str) -> str:
    return f"CORE - Cliente {number}"


class Desk:
    """The Zendesk sandbox, in this process."""

    def __init__(self, app: Any, url: str) -> None:
        self.app = app
        self.url = url

    @property
    def tickets(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = httpx.get(f"{self.url}/_sandbox/tickets", timeout=30).json()
        return found

    def opened(self) -> dict[str, float]:
        """By subject, when a ticket was opened, in seconds since the epoch."""
        calls = [
            call["at"]
            for call in list(self.app.calls)
            if call["method"] == "POST" and call["path"].startswith("/api/v2/tickets")
        ]
        return dict(zip((ticket["subject"] for ticket in self.tickets), calls, strict=True))

    def subjects(self) -> Counter[str]:
        return Counter(ticket["subject"] for ticket in self.tickets)

    def misbehave(self, **how: object) -> None:
        httpx.post(f"{self.url}/_sandbox/misbehave", json=how).raise_for_status()

    def forget_keys(self) -> None:
        """From now on it overlooks the header by which a repeated request is recognised."""
        inner = self.app.app

        async def keyless(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                headers = [(name, value) for name, value in scope["headers"] if name != b"idempotency-key"]
                scope = {**scope, "headers": headers}
            await inner(scope, receive, send)

        self.app.app = keyless

    def behave(self) -> None:
        httpx.delete(f"{self.url}/_sandbox/misbehave").raise_for_status()

    def human(self, ticket: int | None = None, **told: object) -> dict[str, Any]:
        """A person opens a ticket, or changes this one."""
        path = "/_sandbox/human/tickets" + (f"/{ticket}" if ticket else "")
        answer: dict[str, Any] = (
            httpx.post(f"{self.url}{path}", json=told).raise_for_status().json()["ticket"]
        )
        return answer

    def has_told_all(self) -> bool:
        return httpx.get(f"{self.url}/_sandbox/webhooks").json()["waiting"] == 0

    def calls(self, method: str) -> int:
        return sum(1 for call in list(self.app.calls) if call["method"] == method)


@contextmanager
def desk(**how: Any) -> Iterator[Desk]:
    app = zendesk.create_app(calls_per_minute=None, **how)
    with serving(app) as url:
        yield Desk(app, url)


@contextmanager
def machine_in(folder: Path) -> Iterator[Machine]:
    """Stores that run, with a migrated template."""
    machine = Machine(folder)
    machine.restore()
    try:
        with psycopg.connect(machine.database_url("postgres"), autocommit=True) as db:
            db.execute("CREATE DATABASE template")
        template = database.engine(machine.database_url("template"))
        database.migrate(template)
        template.dispose()
        yield machine
    finally:
        machine.stop()


@contextmanager
def town_in(machine: Machine, folder: Path, **settings: object) -> Iterator[Town]:
    """A town on a fresh database and an empty Valkey; the stores run again afterwards, whatever was done to them."""
    machine.restore()
    name = f"town_{secrets.token_hex(6)}"
    with Redis.from_url(machine.redis_url) as redis:
        redis.flushall()
    with psycopg.connect(machine.database_url("postgres"), autocommit=True) as db:
        db.execute(f"CREATE DATABASE {name} TEMPLATE template")
    town = Town(machine, folder, name, **settings)
    with ExitStack() as stack:
        stack.callback(machine.restore)
        stack.callback(town.end)
        yield town


def until(
    holds: Callable[[], object],
    what: str,
    seconds: float = READY_SECONDS,
    tell: Callable[[], object] | None = None,
) -> None:
    """Wait until `holds` is true. A store that is away meanwhile is no reason to stop waiting."""
    deadline = time.monotonic() + seconds
    error: Exception | None = None
    while time.monotonic() < deadline:
        try:
            if holds():
                return
            error = None
        except AssertionError:
            raise
        except Exception as failed:  # noqa: BLE001 - it is told if it lasts
            error = failed
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds:g} s: {what}; {error or (tell() if tell else '')}")


def tell(what: str) -> None:
    """For whoever runs the tests with `-s`, or reads why one failed."""
    sys.stdout.write(f"{what}\n")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


class Chaos:
    """Kills one thing after another with SIGKILL, and starts it again after a short while or at once."""

    def __init__(self, town: Town, seed: int) -> None:
        self.town = town
        self.chance = random.Random(seed)
        self.kills: Counter[str] = Counter()

    def strike(self, kind: str) -> None:
        """Returns when what was killed has been started again."""
        town, machine = self.town, self.town.machine
        pause = self.chance.choice([0.0, self.chance.uniform(0.0, 1.5)])
        self.kills[kind] += 1
        match kind:
            case "server":
                assert town.server
                town.server.kill()
                time.sleep(pause)
                town.start_server(wait=False)
            case "worker":
                town.kill_worker(self.chance.choice(town.workers))
                time.sleep(pause)
                town.start_worker()
            case "valkey":
                machine.kill("valkey")
                time.sleep(pause)
                machine.start("valkey")
            case "valkey, all data lost":
                machine.kill("valkey")
                machine.wipe_valkey()
                time.sleep(pause)
                machine.start("valkey")
            case "postgres":
                machine.kill("postgres")
                time.sleep(pause)
                machine.start("postgres")
            case "a postgres backend":
                until(self.backends, "PostgreSQL has sessions to kill")
                os.kill(self.chance.choice(self.backends()), signal.SIGKILL)
            case _:
                raise ValueError(kind)

    def backends(self) -> list[int]:
        with self.town.db.connect() as db:
            return list(db.scalars(text(
                "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )))  # fmt: skip
