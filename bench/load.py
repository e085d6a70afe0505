"""How many webhooks a second does a server answer, and how soon? A load client in a process of its own.

It talks to this machine only. Requests are rendered and signed before the clock starts; each connection sends the
next one as soon as it has its answer, or, with `spread`, at the request's own moment.
"""

import argparse
import asyncio
import gc
import json
import subprocess
import sys
import time
from collections import Counter, deque
from dataclasses import asdict, dataclass
from typing import Any

import uvloop

from bench import webhooks

HOST = "127.0.0.1"
MOST = 400_000
PATIENCE = 30.0


@dataclass(frozen=True, slots=True)
class Load:
    """`count` requests, over again if `repeat`; for `seconds` at most, or evenly `spread` over so many seconds."""

    vendor: str
    port: int
    path: str
    count: int
    seconds: float
    connections: int = 32
    repeat: bool = False
    spread: float = 0.0


@dataclass(frozen=True, slots=True)
class Result:
    """What came back. Latencies in seconds, from the moment the request was due to its whole answer."""

    answers: dict[str, int]
    seconds: float
    started_at: float
    p50: float
    p99: float
    worst: float
    broken: int

    @property
    def number(self) -> int:
        return sum(self.answers.values())

    @property
    def rate(self) -> float:
        return self.number / self.seconds

    def accepted(self) -> int:
        return sum(number for status, number in self.answers.items() if status.startswith("2"))

    def check(self) -> "Result":
        """Raises RuntimeError unless every request was answered with 2xx."""
        if self.broken or self.accepted() != self.number or not self.number:
            raise RuntimeError(f"the load did not go through: {self.answers}, {self.broken} broken off")
        return self


def send(load: Load) -> Result:
    """Run it in another process. Raises RuntimeError with what that process said."""
    process = launch(load)
    return awaited(process)


def launch(load: Load) -> "subprocess.Popen[str]":
    """The process that sends it; `awaited` gives its result."""
    return subprocess.Popen(
        [sys.executable, "-m", "bench.load", json.dumps(asdict(load))],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def awaited(process: "subprocess.Popen[str]") -> Result:
    try:
        told, errors = process.communicate(timeout=300)
    finally:
        process.kill()
    if process.returncode:
        raise RuntimeError(f"the load client failed: {errors.strip()[-500:]}")
    return Result(**json.loads(told))


class Run:
    """The requests of one load, and what became of them."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.requests = webhooks.rendered(load.vendor, load.path, load.count)
        self.sent = 0
        self.answers: Counter[str] = Counter()
        self.latencies: list[float] = []
        self.broken = 0
        self.idle: deque[Caller] = deque()
        self.due: deque[float] = deque()
        self.over = asyncio.Event()
        self.started = self.ended = 0.0
        self.deadline = float("inf")

    async def run(self) -> Result:
        loop = asyncio.get_running_loop()
        for _ in range(self.load.connections):
            await loop.create_connection(lambda: Caller(self), HOST, self.load.port)
        callers = list(self.idle)
        started_at, self.started = time.time(), time.perf_counter()
        if self.load.spread:
            await self._spread()
        else:
            self.deadline = self.started + self.load.seconds
            self.idle.clear()
            for caller in callers:
                caller.next()
        async with asyncio.timeout(self.load.seconds + PATIENCE):
            await self.over.wait()
        for caller in callers:
            caller.transport.abort()
        ordered = sorted(self.latencies)
        p50, p99, worst = (
            ordered[min(int(len(ordered) * share), len(ordered) - 1)] for share in (0.5, 0.99, 1.0)
        )
        return Result(
            answers=dict(self.answers), seconds=self.ended - self.started, started_at=started_at,
            p50=p50, p99=p99, worst=worst, broken=self.broken,
        )  # fmt: skip

    async def _spread(self) -> None:
        """Each request at its own moment, whether or not the earlier ones were answered."""
        loop, pause = asyncio.get_running_loop(), self.load.spread / self.load.count
        first = loop.time()
        self.started = time.perf_counter()
        for number in range(self.load.count):
            if (wait := first + number * pause - loop.time()) > 0:
                await asyncio.sleep(wait)
            self.due.append(self.started + number * pause)
            if self.idle:
                self.idle.popleft().next()

    def take(self) -> tuple[bytes, float] | None:
        """The next request, and when it was due; None when there is none now."""
        if self.load.spread:
            if not self.due:
                return None
            due = self.due.popleft()
        else:
            due = time.perf_counter()
            if (
                due > self.deadline
                or (self.sent >= self.load.count and not self.load.repeat)
                or self.sent >= MOST
            ):
                return None
        request = self.requests[self.sent % self.load.count]
        self.sent += 1
        return request, due

    def done(self, status: str, due: float) -> None:
        now = self.ended = time.perf_counter()
        self.answers[status] += 1
        self.latencies.append(now - due)

    def rests(self, caller: "Caller") -> None:
        """A connection without work; when all have none, and none is to come, the run is over."""
        self.idle.append(caller)
        finished = self.sent >= self.load.count if self.load.spread else True
        if self.started and finished and len(self.idle) >= self.load.connections:
            self.over.set()


class Caller(asyncio.Protocol):
    """One keep-alive connection with at most one request on its way."""

    transport: asyncio.Transport

    def __init__(self, run: Run) -> None:
        self._run = run
        self._due = 0.0
        self._asking = False
        self._received = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._run.idle.append(self)

    def next(self) -> None:
        taken = self._run.take()
        if taken is None:
            self._run.rests(self)
            return
        request, self._due = taken
        self._asking = True
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        received = self._received = self._received + data
        head, ended, body = received.partition(b"\r\n\r\n")
        if not ended or len(body) < _length(head):
            return
        self._received = b""
        self._asking = False
        self._run.done(received[9:12].decode("latin-1"), self._due)
        self.next()

    def connection_lost(self, _: Exception | None) -> None:
        if self._asking:
            self._run.broken += 1
            self._asking = False
            self._run.rests(self)


def _length(head: bytes) -> int:
    """Of the body; every server that is measured here declares it."""
    lowered = head.lower()
    at = lowered.index(b"content-length:") + len(b"content-length:")
    return int(lowered[at:].partition(b"\r\n")[0])


async def _main(load: Load) -> Result:
    run = Run(load)
    gc.freeze()
    gc.disable()
    return await run.run()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("load", help="a Load as JSON")
    told = Load(**json.loads(parser.parse_args().load))
    print(json.dumps(asdict(uvloop.run(_main(told)))))
