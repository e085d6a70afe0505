"""A gateway of real processes, for tests that kill them."""

import json
import os
import random
import secrets
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import gateway_plugins.generic.sandbox as payments
import httpx
import psutil
import psycopg
from cryptography.fernet import Fernet
from gateway_plugins.zendesk.desk import API_AGENT
from redis import Redis
from sqlalchemy import Engine, NullPool, create_engine, func, select, text

from gateway.model.facts import Tenant
from gateway.registry import load
from gateway.store import tenants
from gateway.store.secrets import Keyring
from gateway.store.tables import actions, deliveries

from .machine import STOP_SECONDS, Machine, free_port, until

REGISTRY = load()


class Tenancy:
    """A tenant with a payment system and a Zendesk, and what became of its webhooks."""

    db: Engine
    key: str

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

    def rows(self, table: Any, *where: Any) -> list[Any]:
        with self.db.connect() as db:
            return list(db.execute(select(table).where(*where).order_by(table.c.get("seq", table.c.id))))

    def unfinished(self) -> Counter[str]:
        """How many rows still wait, by what they wait for."""
        d, a = deliveries.c, actions.c
        with self.db.connect() as db:
            waiting = db.execute(
                select(d.state, func.count()).where(d.state == "received").group_by(d.state)
            ).all()
            under_way = select(a.state, func.count()).where(a.state.in_(["pending", "executing"]))
            waiting += db.execute(under_way.group_by(a.state)).all()
        return Counter(dict(waiting))

    def finished(self) -> int:
        """How many rows wait for nothing any more."""
        d, a = deliveries.c, actions.c
        with self.db.connect() as db:
            read = db.scalar(select(func.count()).where(d.state != "received")) or 0
            ended = select(func.count()).where(a.state.not_in(["pending", "executing"]))
            return read + (db.scalar(ended) or 0)

    def settle(self, seconds: float) -> float:
        """Wait until nothing waits any more; how long that took.

        It fails when nothing at all is finished for so many seconds: how quickly one follows the other is the
        machine's affair.
        """
        began, done, calm = time.monotonic(), 0, False

        def moved() -> bool:
            nonlocal done, calm
            calm = not self.unfinished()
            before, done = done, self.finished()
            return calm or done > before

        while not calm:
            until(moved, "something is finished", seconds, tell=self.unfinished)
        return time.monotonic() - began


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


class Town(Tenancy):
    """The gateway's processes, each of which may be killed, on a database of their own."""

    def __init__(self, machine: Machine, folder: Path, name: str, **settings: object) -> None:
        self.machine = machine
        self.folder = folder
        self.port = free_port()
        self.key = Fernet.generate_key().decode()
        self.db = looking_at(machine.database_url(name))
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


class Household(Tenancy):
    """`gateway up`, with all that it runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        self.port = free_port()
        self.up: Process | None = None
        self.started: set[psutil.Process] = set()

    def start(self) -> None:
        mine = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
        env = {
            **mine, "GATEWAY_DATA_DIR": str(self.data_dir), "GATEWAY_ALLOW_PRIVATE_TARGETS": "1",
            "GATEWAY_LOG_FORMAT": "json", "GATEWAY_RECLAIM_SECONDS": "2",
        }  # fmt: skip
        self.up = Process(["up", f"--port={self.port}"], env, self.folder / "up.log")
        until(lambda: httpx.get(f"{self.url}/healthz").is_success, "the server answers", 60)
        run = json.loads((self.data_dir / "run.json").read_text())
        self.db = looking_at(run["database_url"])
        self.key = (self.data_dir / "secret.key").read_text().split()[0]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def processes(self) -> list[psutil.Process]:
        """All that live of those that were ever seen below it."""
        if self.up and self.up.popen.poll() is None:
            self.started |= set(psutil.Process(self.up.popen.pid).children(recursive=True))
        return [process for process in self.started if process.is_running() and process.status() != "zombie"]

    def pid_of(self, name: str) -> int:
        """Of the `server`, a `worker`, the `keeper` of the stores, or a store by its program's name."""
        assert self.up
        living = self.processes()
        keeper = next(one for one in living if "gateway.embedded" in one.cmdline())
        if name == "keeper":
            return int(keeper.pid)
        forks = [one for one in psutil.Process(self.up.popen.pid).children() if one != keeper]
        serving = [one for one in forks if self.port in {c.laddr.port for c in one.net_connections("tcp")}]
        found = {
            "server": serving,
            "worker": [one for one in forks if one not in serving],
        }.get(name) or [one for one in keeper.children() if one.name() == name]
        return int(found[0].pid)

    def stop(self) -> int:
        assert self.up
        self.processes()
        return self.up.stop(60)

    def kill(self) -> None:
        assert self.up
        self.processes()
        self.up.kill()

    def end(self) -> None:
        if self.up and self.up.popen.poll() is None:
            self.stop()


def looking_at(url: str) -> Engine:
    """Each look by a new connection: PostgreSQL dies in between."""
    return create_engine(url.replace("postgresql:", "postgresql+psycopg:", 1), poolclass=NullPool)


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
