"""Is it them? Then the webhook is a row, and only then is it acknowledged."""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from gateway.model.connection import Connection
from gateway.model.errors import GatewayError, WebhookRejected
from gateway.model.webhook import Verified, Webhook
from gateway.redaction import is_sensitive
from gateway.registry import Registry
from gateway.store import deliveries
from gateway.store.database import is_away
from gateway.store.deliveries import Arrival, Stored

log = structlog.get_logger(__name__)

HIDDEN = "[redacted]"
BATCH = 400
QUEUE = 8_000
PATIENCE = 8.0
"""Seconds until a webhook that waits for its commit is refused with 503: vendors give up after ten."""

EXPIRY_SECONDS = 0.25


class StoreBusy(GatewayError):
    """Nothing was acknowledged; the vendor should send it again a little later."""


def admit(registry: Registry, webhook: Webhook, connection: Connection[Any]) -> Arrival:
    """The row that this webhook becomes. Raises WebhookRejected unless the vendor's plugin proves its origin."""
    try:
        proof = registry.ask(connection.vendor, "verify_webhook", webhook=webhook, connection=connection)
    except WebhookRejected:
        raise
    except Exception as error:
        log.exception("verify_failed", vendor=connection.vendor, tenant=connection.tenant)
        raise WebhookRejected("the proof could not be checked") from error
    if not isinstance(proof, Verified):
        raise WebhookRejected("no proof of origin")
    trace_id = f"{random.getrandbits(128):032x}"
    return Arrival(
        tenant=connection.tenant,
        connection=connection.name,
        dedup_key=proof.delivery_id or trace_id,
        received_at=webhook.received_at,
        sent_at=proof.sent_at,
        subject=proof.subject,
        thin=proof.thin,
        query={name: HIDDEN if is_sensitive(name) else value for name, value in webhook.query.items()},
        headers={name: HIDDEN if is_sensitive(name) else value for name, value in webhook.headers.items()},
        body=webhook.body,
        trace_id=trace_id,
    )


class Inbox:
    """Group commit: webhooks that arrive together are one statement in one transaction.

    While one group is being committed the next one gathers, so a group is as large as the load makes it.
    `on_stored` gets each committed group, on the event loop, after its webhooks were answered.
    """

    def __init__(self, db: Engine, on_stored: Callable[[list[Stored]], None], *, writers: int = 2) -> None:
        # A single statement is a transaction of its own: BEGIN and COMMIT would be two more journeys for each group.
        self._db = db.execution_options(isolation_level="AUTOCOMMIT")
        self._on_stored = on_stored
        self._queue: asyncio.Queue[tuple[Arrival, asyncio.Future[Stored]]] = asyncio.Queue(QUEUE)
        self._threads = ThreadPoolExecutor(writers, thread_name_prefix="inbox")
        self._waiting: deque[tuple[float, asyncio.Future[Stored]]] = deque()
        self._tasks = [asyncio.create_task(self._write()) for _ in range(writers)]
        self._tasks.append(asyncio.create_task(self._expire()))

    async def put(self, arrival: Arrival) -> Stored:
        """Returns once the row is committed. Raises StoreBusy when that cannot be had in time."""
        stored: asyncio.Future[Stored] = asyncio.get_running_loop().create_future()
        try:
            self._queue.put_nowait((arrival, stored))
        except asyncio.QueueFull:
            raise StoreBusy("too many webhooks are waiting to be stored") from None
        self._waiting.append((asyncio.get_running_loop().time() + PATIENCE, stored))
        return await stored

    async def close(self) -> None:
        """Commit what is waiting, then stop."""
        await self._queue.join()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self._threads.shutdown)

    async def _write(self) -> None:
        while True:
            group = [await self._queue.get()]
            while len(group) < BATCH and not self._queue.empty():
                group.append(self._queue.get_nowait())
            await self._store([item for item in group if not item[1].done()])
            for _ in group:
                self._queue.task_done()

    async def _expire(self) -> None:
        """Refuse what waits too long. One look at all of it: a timer for each webhook costs as much as its proof."""
        while True:
            await asyncio.sleep(EXPIRY_SECONDS)
            now = asyncio.get_running_loop().time()
            while self._waiting and (self._waiting[0][1].done() or self._waiting[0][0] < now):
                _, stored = self._waiting.popleft()
                if not stored.done():
                    stored.set_exception(StoreBusy("PostgreSQL takes too long"))

    async def _store(self, group: Sequence[tuple[Arrival, asyncio.Future[Stored]]]) -> None:
        if not group:
            return
        loop = asyncio.get_running_loop()
        committing = loop.run_in_executor(self._threads, self._commit, [arrival for arrival, _ in group])
        try:
            results = await asyncio.shield(committing)
        except asyncio.CancelledError:
            await committing
            raise
        except Exception as error:
            log.exception("inbox_failed", webhooks=len(group))
            results = [error] * len(group)
        for (_, future), result in zip(group, results, strict=True):
            if future.done():
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
        if kept := [result for result in results if isinstance(result, Stored)]:
            self._on_stored(kept)

    def _commit(self, arrivals: Sequence[Arrival]) -> Sequence[Stored | Exception]:
        try:
            return self._insert(arrivals)
        except Exception as error:
            if is_away(error):
                log.error("store_down", error=str(error).splitlines()[0], webhooks=len(arrivals))
                return [StoreBusy("PostgreSQL does not answer")] * len(arrivals)
            if len(arrivals) == 1:
                log.exception("webhook_not_stored", tenant=arrivals[0].tenant)
                return [error]
        return [result for arrival in arrivals for result in self._commit([arrival])]

    def _insert(self, arrivals: Sequence[Arrival]) -> list[Stored]:
        """A connection that died since its last use is no reason to refuse anybody: another one is tried. Should
        the first have committed after all, the second finds duplicates."""
        try:
            with self._db.connect() as db:
                return deliveries.insert(db, arrivals)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
        with self._db.connect() as db:
            return deliveries.insert(db, arrivals)
