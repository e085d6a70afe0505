"""How do a few processes live and die together: restarted after a crash, stopped as one, never orphaned?"""

import ctypes
import gc
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Protocol

from gateway.model.errors import GatewayError

log = logging.getLogger(__name__)

# Seconds to wait before a child is started again, by how often it has died soon after its start.
DELAYS = (0.1, 0.5, 2.0, 5.0, 10.0, 30.0)
SOON = 10.0
# A child that gives up with an exit code this soon after its very first start will not do better the next
# time: a port is taken, a setting is wrong. The whole group stops, so that the person sees why.
FIRST_START = 5.0
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP) if os.name == "posix" else ()
ONE_STOP = 1.0  # seconds within which several stop signals mean one wish (a closed terminal sends two)
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """One process of a group: a program (`argv`), or a function of ours (`work`) in a fork of this process, which
    shares with its parent all that was loaded before. `env`, `cwd`, `user` and `output` are for programs.

    `stop` is the signal that asks it to end cleanly; on Linux the kernel sends the same one when the
    supervisor dies, also by SIGKILL. `user` is the (uid, gid) it runs as, `output` the file that its output
    is appended to (default: the supervisor's), and `before` is called ahead of every start.
    """

    name: str
    argv: Sequence[str] = ()
    work: Callable[[], object] | None = None
    env: Mapping[str, str] | None = None
    cwd: Path | None = None
    user: tuple[int, int] | None = None
    output: Path | None = None
    stop: signal.Signals = signal.SIGTERM
    before: Callable[[], object] | None = None


class ChildFailed(GatewayError):
    """A child gave up right after its very first start; the group was stopped."""

    def __init__(self, child: Child, code: int) -> None:
        super().__init__(f"{child.name} ended at once: {_cause(code)}")
        self.child = child
        self.code = code


def supervise(children: Sequence[Child], *, stop_timeout: float = 20.0) -> int:
    """Run the group until SIGTERM, SIGINT or SIGHUP; returns the exit code of the whole, 0.

    A child that dies is started again, at once at first and with growing delays if it keeps dying. At the end
    all are asked to stop and get `stop_timeout` seconds; a second signal cuts that short. Raises ChildFailed
    when a child ends with an error right after its first start, and GatewayError when its program cannot be
    started at all. Call it from the main thread: Linux ties a child's parent-death signal to the thread that
    started it. On other systems a supervisor killed by SIGKILL leaves its children behind.
    """
    lives = [_Life(child) for child in children]
    with _signals() as wait:
        try:
            for life in lives:
                life.start()
            return _keep_running(lives, wait)
        finally:
            _stop(lives, wait, stop_timeout)


class Process(Protocol):
    """What is needed of a running child; `subprocess.Popen` has it."""

    pid: int

    def poll(self) -> int | None: ...

    def send_signal(self, sig: int, /) -> None: ...

    def wait(self) -> int: ...


class Fork:
    """A function running in a fork of this process, handled like a `subprocess.Popen`."""

    def __init__(self, work: Callable[[], object], prepare: Callable[[], None] | None) -> None:
        self._code: int | None = None
        gc.collect()
        gc.freeze()  # for good: a collection writes to all that it looks at, and nothing would stay shared
        self.pid = os.fork()
        if not self.pid:
            _become(work, prepare)

    def poll(self) -> int | None:
        return self._wait(os.WNOHANG)

    def wait(self) -> int:
        code = self._wait(0)
        assert code is not None  # noqa: S101 - waitpid without WNOHANG always tells
        return code

    def send_signal(self, sig: int, /) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)

    def _wait(self, options: int) -> int | None:
        if self._code is None:
            pid, status = os.waitpid(self.pid, options)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code


def _become(work: Callable[[], object], prepare: Callable[[], None] | None) -> NoReturn:
    """The child's whole life. It leaves by `_exit`, as what its parent would tidy up is not its own."""
    code = 1
    try:
        os.setpgid(0, 0)  # Ctrl-C reaches the supervisor alone
        signal.set_wakeup_fd(-1)
        for number in (*STOP_SIGNALS, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        if prepare:
            prepare()
        work()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except GatewayError as error:
        log.error("%s", error)
    except BaseException:
        log.exception("ended by a bug")
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


class _Life:
    """A child across its restarts."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.process: Process | None = None
        self.starts = 0
        self.started = 0.0
        self.failures = 0
        self.due = 0.0

    def start(self) -> None:
        """Raises GatewayError when there is no such program, or what `before` raises."""
        child = self.child
        self.started = time.monotonic()
        self.starts += 1
        if child.before:
            child.before()
        if child.work is not None:
            self.process = Fork(child.work, _dies_with(os.getpid(), child.stop))
            return
        try:
            with child.output.open("ab") if child.output else nullcontext() as output:
                self.process = subprocess.Popen(  # noqa: S603
                    child.argv,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=child.env,
                    cwd=child.cwd,
                    user=child.user[0] if child.user else None,
                    group=child.user[1] if child.user else None,
                    extra_groups=[] if child.user else None,
                    process_group=0,  # Ctrl-C reaches the supervisor alone, and grandchildren can be found
                    preexec_fn=_dies_with(os.getpid(), child.stop),
                )
        except (OSError, subprocess.SubprocessError) as error:
            raise GatewayError(f"{child.name} cannot be started: {error}") from None

    def start_again(self) -> None:
        try:
            self.start()
        except GatewayError as error:
            self.schedule(str(error))

    def schedule(self, cause: str) -> None:
        lived = time.monotonic() - self.started
        self.failures = self.failures + 1 if lived < SOON else 0
        delay = DELAYS[min(self.failures, len(DELAYS) - 1)]
        self.process, self.due = None, time.monotonic() + delay
        log.warning("%s: %s after %.0f s; starting it again in %g s", self.child.name, cause, lived, delay)


def _keep_running(lives: list[_Life], wait: "Wait") -> int:
    while not wait(_seconds_until_next(lives)):
        for life in lives:
            process = life.process
            if process is None:
                if time.monotonic() >= life.due:
                    life.start_again()
            elif (code := process.poll()) is not None:
                _kill_group(process)
                if code > 0 and life.starts == 1 and time.monotonic() - life.started < FIRST_START:
                    raise ChildFailed(life.child, code)
                life.schedule(_cause(code))
    return 0


def _seconds_until_next(lives: list[_Life]) -> float | None:
    due = [life.due for life in lives if life.process is None]
    return max(0.0, min(due) - time.monotonic()) if due else None


def _stop(lives: list[_Life], wait: "Wait", timeout: float) -> None:
    running = [(life.child, life.process) for life in lives if life.process is not None]
    for child, process in running:
        process.send_signal(child.stop)
    began = time.monotonic()
    while any(process.poll() is None for _, process in running):
        impatient = wait(max(0.0, began + timeout - time.monotonic()))
        elapsed = time.monotonic() - began
        if elapsed >= timeout or (impatient and elapsed > ONE_STOP):
            break
    for child, process in running:
        if process.poll() is None:
            log.warning("%s did not stop in time; killing it", child.name)
        _kill_group(process)
        process.wait()


def _kill_group(process: Process) -> None:
    """Also what the child started and left behind."""
    with suppress(ProcessLookupError, PermissionError):  # macOS answers EPERM for a group of zombies
        os.killpg(process.pid, signal.SIGKILL)


def _cause(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {-code}, {signal.strsignal(-code)}"


def _dies_with(parent: int, stop: signal.Signals) -> Callable[[], None] | None:
    """What a child does between fork and exec so that it never outlives its parent (Linux)."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl

    def ask_kernel() -> None:
        prctl(PR_SET_PDEATHSIG, int(stop))
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)

    return ask_kernel


Wait = Callable[[float | None], bool]


@contextmanager
def _signals() -> Iterator[Wait]:
    """Yields wait(seconds) -> whether we were asked to stop; it returns early when a child has died."""
    reader, writer = socket.socketpair()
    reader.setblocking(False)
    writer.setblocking(False)
    old_handlers = {
        number: signal.signal(number, lambda *_: None) for number in (*STOP_SIGNALS, signal.SIGCHLD)
    }
    old_writer = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)

    def wait(seconds: float | None) -> bool:
        ready, _, _ = select.select([reader], [], [], seconds)
        return bool(ready) and any(number in STOP_SIGNALS for number in reader.recv(4096))

    try:
        yield wait
    finally:
        signal.set_wakeup_fd(old_writer)
        for number, handler in old_handlers.items():
            signal.signal(number, handler)
        reader.close()
        writer.close()
