"""How does a process take jobs, show which it has in hand, and stop without dropping one?

Its main thread decides. Others beside it make the calls to vendors, so that a slow vendor keeps nobody's webhooks
from being decided.
"""

import secrets
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import structlog
from redis import Redis
from redis.exceptions import RedisError
from rq import Queue
from rq.job import Job
from rq.timeouts import BaseDeathPenalty, UnixSignalDeathPenalty
from rq.worker import SimpleWorker
from sqlalchemy import Connection as Database
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from gateway.runtime import Runtime
from gateway.store.actions import LIVING
from gateway.store.condition import WORKING

log = structlog.get_logger(__name__)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
IN_HAND = "gateway:in-hand:"
SILENT = 8
"""Seconds after which a process that was heard of every second is no longer believed to have its jobs in hand."""

STORE_PAUSE = 1.0
"""Seconds before the next job is taken, after one that PostgreSQL failed."""

_LOCK = text("SELECT pg_advisory_lock(:kind, :number)")
_UNLOCK = text("SELECT pg_advisory_unlock(:kind, :number)")


@dataclass(slots=True)
class Worker:
    """This process as a worker: its runtime, the jobs it has in hand, the lock by which others know that it lives."""

    runtime: Runtime
    number: int = 0
    _session: Database | None = None
    _in_hand: set[str] = field(default_factory=set)
    _claims: set[int] = field(default_factory=set)
    _resting: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def alive(self) -> int:
        """The number whose lock this process holds; a new one when PostgreSQL was away."""
        try:
            if self._session is not None:
                self._session.execute(text("SELECT 1"))
                self._session.rollback()
                return self.number
        except Exception:  # noqa: BLE001 - lost is lost, for whatever reason
            log.warning("worker_lock_lost", worker=self.number)
            self.close()
        self.number = _number()
        self._session = self.runtime.db.connect()
        self._session.execute(_LOCK, {"kind": WORKING, "number": self.number})
        self._session.rollback()
        return self.number

    @contextmanager
    def accountable(self) -> Iterator[int]:
        """Claim under a number of one's own, which lives as long as the work. If it fails half-way the number dies,
        and what was claimed under it is taken back as if the whole process had."""
        number = _number()
        session = self.runtime.db.connect()
        self._claims.add(number)
        try:
            session.execute(_LOCK, {"kind": LIVING, "number": number})
            session.rollback()
            yield number
            with suppress(DBAPIError):  # PostgreSQL was away meanwhile, and the lock went with it
                session.execute(_UNLOCK, {"kind": LIVING, "number": number})
        except BaseException:
            session.invalidate()
            raise
        finally:
            self._claims.discard(number)
            session.close()

    def begin(self, job: str) -> bool:
        """Whether this job may still be begun."""
        with self._lock:
            if not self._resting:
                self._in_hand.add(job)
            return not self._resting

    def end(self, job: str) -> None:
        with self._lock:
            self._in_hand.discard(job)

    def report(self) -> None:
        """Let the others know what this process is at. Raises RedisError."""
        for name in (*(IN_HAND + job for job in tuple(self._in_hand)), *map(_claim, tuple(self._claims))):
            self.runtime.redis.set(name, 1, ex=SILENT)

    def rest(self) -> None:
        """Begin nothing more, and wait for what is in hand."""
        with self._lock:
            self._resting = True
        while self._in_hand:
            time.sleep(0.02)

    def close(self) -> None:
        """Let go of the lock."""
        if self._session is not None:
            self._session.invalidate()
            self._session.close()
            self._session = None


def heard_of(redis: Redis, numbers: Sequence[int]) -> list[int]:
    """Those of these numbers under which somebody works, whatever PostgreSQL thinks: its death takes locks away,
    but not the calls that are on their way."""
    return [number for number in numbers if redis.exists(_claim(number))]


def _claim(number: int) -> str:
    return f"gateway:claim:{number}"


def _number() -> int:
    return secrets.randbelow(2**31 - 1) + 1


class InProcessWorker(SimpleWorker):
    """Runs jobs in this process: a job is a batch, and every call in it has a time-out."""

    max_connection_wait_time = 2.0  # RQ's own 60 s would leave work lying long after Redis is back

    def __init__(self, *args: Any, me: Worker, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._me = me

    def execute_job(self, job: Job, queue: Queue) -> None:
        if not self._me.begin(job.id):
            return
        try:
            self._me.report()
            super().execute_job(job, queue)
        finally:
            self._me.end(job.id)

    def handle_exception(self, job: Job, *exc_info: Any) -> None:
        """Without PostgreSQL every job fails, and would leave nothing but an empty queue and a long log."""
        error = exc_info[1]
        if not isinstance(error, OperationalError | InterfaceError):
            super().handle_exception(job, *exc_info)
            return
        log.warning("job_failed", job=job.func_name, error=str(error).splitlines()[0])
        self._me.runtime.stopping.wait(STORE_PAUSE)

    def subscribe(self) -> None:
        """No orders are taken through Redis; RQ's thread for them would be left behind whenever Redis dies."""


class TimeIsUp(BaseException):
    """The job takes too long. No `Exception`, so that nobody takes it for a failure of one delivery of many."""


class JobLimit(UnixSignalDeathPenalty):
    def handle_death_penalty(self, signum: Any, frame: Any) -> None:
        raise TimeIsUp(f"took longer than {self._timeout} s")


class MainWorker(InProcessWorker):
    """Works in the main thread, where signals arrive."""

    death_penalty_class = JobLimit

    def work(self, *args: Any, **kwargs: Any) -> bool:
        """RQ turns a signal into an exception, so it may listen only while it works."""
        earlier = {number: signal.getsignal(number) for number in STOP_SIGNALS}
        try:
            return bool(super().work(*args, **kwargs))
        finally:
            for number, handler in earlier.items():
                signal.signal(number, handler)

    def _install_signal_handlers(self) -> None:
        super()._install_signal_handlers()  # type: ignore[no-untyped-call]
        self._stop_requested = (
            self._me.runtime.stopping.is_set()
        )  # perhaps it came a moment before RQ listened

    def request_stop(self, signum: Any, frame: Any) -> None:
        self._me.runtime.stopping.set()
        try:
            super().request_stop(signum, frame)  # type: ignore[no-untyped-call]
        except RedisError as error:  # it wants to note the stop there; the job in hand goes on all the same
            log.warning("stop_not_noted", error=str(error))


class NoTimeLimit(BaseDeathPenalty):
    """RQ's limit needs the main thread's alarm; calls to vendors have limits of their own."""

    def setup_death_penalty(self) -> None:
        return

    def cancel_death_penalty(self) -> None:
        return


class Caller(InProcessWorker):
    """Works in a thread of its own, for as long as the process lives."""

    death_penalty_class = NoTimeLimit

    def _install_signal_handlers(self) -> None:
        """They are the main thread's."""
