"""Who keeps the embedded servers of a data dir running, and until when? (POSIX)

Each command that uses them holds a `Lease`: a shared lock on `users.lock`. The first one starts the keeper, a
process of its own that holds `keeper.lock`, runs the servers as its children and writes `run.json` when they
answer. It stops them once its owner is gone (its stdin ends) and it can take `users.lock` for itself, so a
short command never stops the stores under a longer one. The kernel drops locks and pipes whichever way a
process ends, so none of this needs cleaning up after a crash.
"""

import errno
import fcntl
import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from gateway import servers
from gateway.model.errors import GatewayError
from gateway.processes import DELAYS, Child, ChildFailed, supervise
from gateway.server_user import ADVICE

log = logging.getLogger(__name__)

SERVERS = {"postgres": servers.postgres, "valkey": servers.valkey}
URLS = {"postgres": "database_url", "valkey": "redis_url"}
STOP_SECONDS = 60.0
LOCK_SECONDS = 1.0  # long enough to outlast those who only try whether the lock is taken
SLOW_SECONDS = 15.0
TAKEN = 75  # EX_TEMPFAIL of <sysexits.h>


def main(arguments: Sequence[str]) -> int:
    """`python -m gateway.embedded DATA_DIR [postgres] [valkey]`: keep these servers running.

    Tells its starter, line by line on stdout: `ready`, `staying` (the starter has gone, others have not),
    `log TEXT`, `error TEXT`. Returns 0 when it was asked to stop, TAKEN when another keeper has the data dir.
    """
    os.umask(0o077)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger().addHandler(_Tell())
    data_dir = Path(arguments[0]).resolve()
    try:
        return _keep(data_dir, arguments[1:] or list(SERVERS))
    except (GatewayError, OSError) as error:
        _tell(f"error {error}")
        return 1


class Lease:
    """One command's claim on the embedded servers; while it is entered they run, also after a crash.

    Entering gives what `run.json` says, or raises GatewayError.
    """

    def __init__(self, data_dir: Path, parts: Sequence[str]) -> None:
        self._dir = data_dir.resolve()
        self._parts = parts
        self._news: queue.SimpleQueue[dict[str, Any] | GatewayError] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._alone = threading.Event()  # no keeper of ours is on its way out
        self._alone.set()
        self._keeper: subprocess.Popen[bytes] | None = None
        self._settled = False

    def __enter__(self) -> dict[str, Any]:
        try:
            _make_data_dir(self._dir)
            self._claim = _open_lock(self._dir / "users.lock")
            fcntl.flock(self._claim, fcntl.LOCK_SH)  # waits while a keeper is stopping
        except OSError as error:
            raise GatewayError(f"the data dir {self._dir} cannot be used: {error.strerror}") from None
        threading.Thread(target=self._watch, name="embedded-stores", daemon=True).start()
        try:
            news = self._await_news()
            if isinstance(news, GatewayError):
                raise news
        except BaseException:
            self.__exit__()
            raise
        return news

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._released.set()
        os.close(self._claim)
        if self._keeper and self._keeper.stdin:
            self._keeper.stdin.close()
        self._alone.wait(STOP_SECONDS)

    def _await_news(self) -> dict[str, Any] | GatewayError:
        while True:
            try:
                return self._news.get(timeout=SLOW_SECONDS)
            except queue.Empty:
                log.warning("the embedded servers are still starting; see the logs in %s", self._dir)

    def _watch(self) -> None:
        failures = 0
        while not self._released.is_set():
            began = time.monotonic()
            try:
                if _is_locked(self._dir / "keeper.lock"):
                    self._follow_another()
                elif self._run_own() == TAKEN:  # another command was quicker
                    continue
            except OSError as error:
                self._settle(GatewayError(f"the embedded servers cannot be kept in {self._dir}: {error}"))
            if not self._released.is_set():
                failures = 0 if time.monotonic() - began > SLOW_SECONDS else failures + 1
                log.warning("the keeper of the embedded servers is gone; starting another")
                self._released.wait(DELAYS[min(failures, len(DELAYS) - 1)])

    def _follow_another(self) -> None:
        """Wait until another command's keeper is ready, then until it is gone."""
        lock = _open_lock(self._dir / "keeper.lock")
        try:
            while _is_locked(self._dir / "keeper.lock") and not self._announce():
                time.sleep(0.05)
            fcntl.flock(lock, fcntl.LOCK_SH)
        finally:
            os.close(lock)

    def _run_own(self) -> int:
        """Start a keeper and listen to it until it ends; returns its exit code."""
        with self._lock:
            if self._released.is_set():
                return 0
            with (self._dir / "keeper.log").open("ab") as errors:
                self._keeper = keeper = subprocess.Popen(  # noqa: S603
                    [sys.executable, "-P", "-m", "gateway.embedded", str(self._dir), *self._parts],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    start_new_session=True,  # Ctrl-C stops the command first, and its stores last
                )
            self._alone.clear()
        try:
            with keeper:
                for line in keeper.stdout or ():
                    self._hear(line.decode(errors="replace").rstrip("\n"))
        finally:
            self._alone.set()
        return keeper.returncode

    def _hear(self, line: str) -> None:
        word, _, text = line.partition(" ")
        match word:
            case "ready":
                self._announce()
            case "error":
                self._settle(GatewayError(text))
            case "log":
                log.warning("%s", text)
            case "staying":
                self._alone.set()

    def _announce(self) -> bool:
        """Whether the servers are ready; then our command may go on."""
        run = read_run(self._dir)
        if run is None:
            return False
        missing = [part for part in self._parts if URLS[part] not in run]
        self._settle(
            GatewayError(
                f"the stores in {self._dir} are run by a command that has no {' and no '.join(missing)}: "
                "set GATEWAY_DATABASE_URL and GATEWAY_REDIS_URL as that command did"
            )
            if missing
            else run
        )
        return True

    def _settle(self, news: dict[str, Any] | GatewayError) -> None:
        if not self._settled:
            if isinstance(news, GatewayError):
                self._released.set()
            self._news.put(news)
        elif isinstance(news, GatewayError):
            log.error("%s", news)
        self._settled = True


def read_run(data_dir: Path) -> dict[str, Any] | None:
    """What the keeper of this data dir says about its servers; None when none is ready."""
    try:
        run: dict[str, Any] = json.loads((data_dir / "run.json").read_text())
    except FileNotFoundError:
        return None
    return run if _is_alive(run["keeper"]) else None


def _keep(data_dir: Path, parts: Sequence[str]) -> int:
    _make_data_dir(data_dir)
    lock = _open_lock(data_dir / "keeper.lock")  # held until this process ends
    if not _take(lock):
        return TAKEN
    (data_dir / "run.json").unlink(missing_ok=True)
    place = servers.place(data_dir)
    running = {part: SERVERS[part](place) for part in parts}
    for server in running.values():
        server.clear()  # or what an earlier life left running would be announced as ready
    beginnings = {server.child.name: _size(server.child.output) for server in running.values()}
    threading.Thread(target=_announce_when_ready, args=(data_dir, running), daemon=True).start()
    threading.Thread(target=_stop_after_last_user, args=(data_dir,), daemon=True).start()
    try:
        return supervise([server.child for server in running.values()], stop_timeout=STOP_SECONDS)
    except ChildFailed as error:
        raise GatewayError(_why(error.child, beginnings[error.child.name])) from None
    finally:
        (data_dir / "run.json").unlink(missing_ok=True)


def _announce_when_ready(data_dir: Path, running: Mapping[str, servers.Server]) -> None:
    while not all(server.ready() for server in running.values()):
        time.sleep(0.02)
    run = {URLS[part]: server.url for part, server in running.items()} | {"keeper": os.getpid()}
    fresh = data_dir / "run.json.new"
    fresh.write_text(json.dumps(run, indent=2))
    fresh.replace(data_dir / "run.json")
    _tell("ready")


def _stop_after_last_user(data_dir: Path) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        continue
    users = _open_lock(data_dir / "users.lock")
    if not _try(users, fcntl.LOCK_EX):
        _tell("staying")
        fcntl.flock(users, fcntl.LOCK_EX)
    # Whoever comes now waits for this lock, thus until this process is gone.
    os.kill(os.getpid(), signal.SIGTERM)


def _why(child: Child, beginning: int) -> str:
    """The reason in one line, from what this start added to the child's log."""
    words = servers.last_words(child.output, beginning) if child.output else "it said nothing"
    return f"{child.name} does not start: {words} (more in {child.output}). {ADVICE}"


def _size(path: Path | None) -> int:
    return path.stat().st_size if path and path.exists() else 0


def _make_data_dir(data_dir: Path) -> None:
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)


def _open_lock(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _take(lock: int) -> bool:
    deadline = time.monotonic() + LOCK_SECONDS
    while not _try(lock, fcntl.LOCK_EX):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _try(lock: int, kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_locked(path: Path) -> bool:
    lock = _open_lock(path)
    try:
        return not _try(lock, fcntl.LOCK_SH)
    finally:
        os.close(lock)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError as error:
        return error.errno == errno.EPERM  # it lives, but is another user's
    return True


class _Tell(logging.Handler):
    """What the keeper has to say about its servers reaches the log of the command that started it."""

    def emit(self, record: logging.LogRecord) -> None:
        _tell(f"log {record.getMessage()}")


def _tell(line: str) -> None:
    with suppress(BrokenPipeError):  # the starter has gone; keeper.log has it too
        os.write(sys.stdout.fileno(), f"{' '.join(line.split())}\n".encode())
