"""How is a whole gateway started for a measurement, and ended without a trace?"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
from rq.worker import Worker

from gateway import embedded, logs, runtime
from gateway.cli.run import UVICORN
from gateway.runtime import Runtime
from gateway.settings import Settings
from gateway.store import database

START_SECONDS = 30.0
STOP_SECONDS = 20.0


@dataclass(slots=True)
class Installation:
    """A gateway on embedded stores in a directory of its own; `port` is the server's."""

    runtime: Runtime
    folder: Path
    port: int
    env: Mapping[str, str]
    _stack: ExitStack
    server: "subprocess.Popen[bytes] | psutil.Process | None" = None
    workers: list["subprocess.Popen[bytes] | psutil.Process"] = field(default_factory=list)
    parent: "subprocess.Popen[bytes] | None" = None

    def serve(self) -> "subprocess.Popen[bytes]":
        """The server, waited for. Configure the tenant first: it then knows it from the start."""
        self.server = server = self._started("server", "serve", f"--port={self.port}")
        wait_for(f"http://127.0.0.1:{self.port}/healthz", server, self.folder / "server.log")
        return server

    def work(self, number: int = 2) -> None:
        """Workers, waited for until they take jobs."""
        self.workers += [self._started(f"worker-{n}", "worker") for n in range(1, number + 1)]
        self._await_workers(number, self.folder / "worker-1.log")

    def up(self, workers: int = 2) -> None:
        """The server and its workers as `gateway up` runs them on one machine."""
        log = self.folder / "up.log"
        self.parent = group = self._started("up", "up", f"--port={self.port}", f"--workers={workers}")
        wait_for(f"http://127.0.0.1:{self.port}/healthz", group, log)
        self._await_workers(workers, log)
        self.server, *others = sorted(psutil.Process(group.pid).children(), key=lambda child: child.pid)
        self.workers += others

    def _await_workers(self, number: int, log: Path) -> None:
        deadline = time.monotonic() + START_SECONDS
        while Worker.count(connection=self.runtime.redis) < number:
            if time.monotonic() > deadline:
                raise RuntimeError(f"no worker came up: {log.read_text()[-2000:]}")
            time.sleep(0.1)

    def _started(self, name: str, *arguments: str) -> "subprocess.Popen[bytes]":
        argv = [sys.executable, "-m", "gateway", *arguments]
        return self._stack.enter_context(running(argv, self.folder / f"{name}.log", self.env))

    def memory(self) -> dict[str, "Memory"]:
        """Of the gateway's own processes, each; of PostgreSQL and Valkey, whole."""
        ours = {"server": self.server, "parent": self.parent} | {
            f"worker {number}": worker for number, worker in enumerate(self.workers, 1)
        }
        found = {
            name: memory_of([psutil.Process(each.pid)]) for name, each in ours.items() if each is not None
        }
        mine = psutil.Process().children(recursive=True)
        for name, program in zip(STORES, ("postgres", "valkey-server"), strict=True):
            found[name] = memory_of([process for process in mine if process.name() == program])
        return found


@dataclass(frozen=True, slots=True)
class Memory:
    """In bytes. `pss` counts a page that n processes share as 1/n in each, so it may be summed up."""

    rss: int
    pss: int

    def __add__(self, other: "Memory") -> "Memory":
        return Memory(self.rss + other.rss, self.pss + other.pss)


STORES = ("PostgreSQL", "Valkey")
"""What `memory` shows besides the gateway's own."""


def memory_of(processes: list[psutil.Process]) -> Memory:
    total = Memory(0, 0)
    for process in processes:
        told = process.memory_full_info()
        total += Memory(told.rss, getattr(told, "pss", told.uss))
    return total


@contextmanager
def installation() -> Iterator[Installation]:
    """Stores with fsync on, the newest schema, and nothing running yet; all of it ends with the block."""
    logs.configure("console", "warning")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gateway-bench-")))
        folder.chmod(0o711)
        chosen = Settings(
            data_dir=folder / "data",
            database_url="",
            redis_url="",
            allow_private_targets=True,
            log_level="warning",
        )
        stores = stack.enter_context(embedded.stores(chosen))
        keys = embedded.secret_keys(chosen)
        started = stack.enter_context(
            runtime.Closing(runtime.start(chosen, stores.database_url, stores.redis_url, keys))
        )
        database.migrate(started.db)
        env = {
            **os.environ, **stores.environment(), "GATEWAY_SECRET_KEYS": ",".join(keys),
            "GATEWAY_DATA_DIR": str(chosen.data_dir), "GATEWAY_ALLOW_PRIVATE_TARGETS": "true",
            "GATEWAY_LOG_LEVEL": "warning",
        }  # fmt: skip
        yield Installation(started, folder, free_port(), env, stack.enter_context(ExitStack()))


@contextmanager
def running(
    argv: list[str], log: Path, env: Mapping[str, str] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that is asked to stop when the block ends, and made to if it does not."""
    with log.open("ab") as output:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass(frozen=True, slots=True)
class SmallServer:
    """One of `bench.servers`."""

    url: str
    port: int
    pid: int


@contextmanager
def small_server(app: str, folder: Path) -> Iterator[SmallServer]:
    """The echo or the sink, in a process of its own."""
    port = free_port()
    log = folder / f"{app}.log"
    argv = [sys.executable, "-m", "bench.servers", app, f"--port={port}", f"--flags={json.dumps(UVICORN)}"]
    with running(argv, log) as process:
        url = f"http://127.0.0.1:{port}"
        wait_for(url, process, log)
        yield SmallServer(url, port, process.pid)


def wait_for(
    url: str, process: "subprocess.Popen[bytes]", log: Path, *, method: str = "GET", below: int = 600
) -> None:
    """Until it answers with a status below this. Raises RuntimeError with the end of its log when it does not."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(httpx.TransportError):
            if httpx.request(method, url, json={}, timeout=2, trust_env=False).status_code < below:
                return
        time.sleep(0.05)
    raise RuntimeError(f"{url} did not answer; the log of that process ends: {log.read_text()[-2000:]}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
