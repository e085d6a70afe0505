"""PostgreSQL and Valkey that a test may kill, and how long it waits for what it expects."""

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from gateway import servers
from gateway.store import database

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
