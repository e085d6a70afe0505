"""What does the server process serve?"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from starlette.applications import Starlette
from starlette.routing import Route

from gateway import jobs, metrics
from gateway.pipeline.accept import Inbox
from gateway.runtime import Runtime
from gateway.store.deliveries import Stored

from .directory import Directory
from .health import healthz, readyz
from .hooks import PREFIX, Hooks, Receive, Scope, Send
from .metrics import exposition

log = structlog.get_logger(__name__)

MAX_HINTS = 20_000
GATHER_SECONDS = 0.05
"""For so long webhooks gather, so that under load a job is a whole batch and not a handful."""


class Hints:
    """Jobs for what was just stored, queued behind the answer: Redis may be slow or away without anybody waiting."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._waiting: list[Stored] = []
        self._some = asyncio.Event()
        self._queueing = asyncio.create_task(self._queue())

    def add(self, stored: list[Stored]) -> None:
        """Beyond MAX_HINTS they are dropped; the sweep finds those rows."""
        if len(self._waiting) < MAX_HINTS:
            self._waiting += stored
            self._some.set()

    async def _queue(self) -> None:
        while True:
            await self._some.wait()
            await asyncio.sleep(GATHER_SECONDS)
            self._some.clear()
            group, self._waiting = self._waiting, []
            try:
                await asyncio.to_thread(jobs.enqueue_stored, self._runtime, group)
            except Exception:
                log.exception("hints_lost", webhooks=len(group))

    async def close(self) -> None:
        self._queueing.cancel()
        await asyncio.gather(self._queueing, return_exceptions=True)
        await asyncio.to_thread(jobs.enqueue_stored, self._runtime, self._waiting)


class App:
    """Webhooks go straight to `Hooks`; everything else is an ordinary Starlette application."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.hooks: Hooks | None = None
        self.pages = Starlette(
            routes=[Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", exposition)],
            lifespan=self._lifespan,
        )
        self.pages.state.runtime = runtime

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self.hooks is not None and scope["path"].startswith(PREFIX):
            await self.hooks(scope, receive, send)
        else:
            await self.pages(scope, receive, send)

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        hints = Hints(self.runtime)
        inbox = Inbox(self.runtime.db, hints.add)
        directory = Directory(self.runtime)
        await directory.refresh()
        self.hooks = Hooks(self.runtime, inbox, directory)
        background = [
            asyncio.create_task(each) for each in (directory.watch(), self.hooks.watch(), self._count())
        ]
        yield
        for task in background:
            task.cancel()
        await inbox.close()
        await hints.close()
        await asyncio.to_thread(metrics.flush, self.runtime.redis)

    async def _count(self) -> None:
        while True:
            await asyncio.sleep(2)
            await asyncio.to_thread(metrics.flush, self.runtime.redis)
