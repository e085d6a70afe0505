"""Is it them? Then the webhook is a row, and only then is it acknowledged."""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from sqlalchemy import Engine

from gateway.model.connection import Connection
from gateway.model.errors import GatewayError, WebhookRejected
from gateway.model.webhook import Verified, Webhook
from gateway.redaction import is_sensitive
from gateway.registry import Registry
from gateway.store.database import first_line, is_away
from gateway.store.deliveries import Arrival, Stored
from gateway.store.inbox import InboxConnection

log = structlog.get_logger(__name__)

HIDDEN = "[redacted]"
BATCH = 400
BATCH_BYTES = 8 * 1024 * 1024
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
        body=webhook.body if proof.kept is None else proof.kept,
        trace_id=trace_id,
    )


class Inbox:
    """Group commit: webhooks that arrive together are one statement in one transaction.

    While one group is being committed the next one gathers, so a group is as large as the load makes it.
    `on_stored` gets each committed group, on the event loop, after its webhooks were answered.
    """

    def __init__(self, db: Engine, on_stored: Callable[[list[Stored]], None], *, writers: int = 1) -> None:
        self._on_stored = on_stored
        self._queue: deque[tuple[Arrival, asyncio.Future[Stored]]] = deque()
        self._some = asyncio.Event()
        self._waiting: deque[tuple[float, asyncio.Future[Stored]]] = deque()
        self._connections = [InboxConnection(db) for _ in range(writers)]
        self._closing = False
        self._writers = [asyncio.create_task(self._write(connection)) for connection in self._connections]
        self._expiring = asyncio.create_task(self._expire())

    async def put(self, arrival: Arrival) -> Stored:
        """Returns once the row is committed. Raises StoreBusy when that cannot be had in time."""
        stored: asyncio.Future[Stored] = asyncio.get_running_loop().create_future()
        if len(self._queue) >= QUEUE:
            raise StoreBusy("too many webhooks are waiting to be stored")
        self._queue.append((arrival, stored))
        self._some.set()
        self._waiting.append((asyncio.get_running_loop().time() + PATIENCE, stored))
        return await stored

    async def close(self) -> None:
        """Commit what is waiting, then stop."""
        self._closing = True
        self._some.set()
        await asyncio.gather(*self._writers, return_exceptions=True)
        self._expiring.cancel()
        await asyncio.gather(self._expiring, return_exceptions=True)
        for connection in self._connections:
            await connection.close()

    async def _write(self, connection: InboxConnection) -> None:
        while self._queue or not self._closing:
            await self._some.wait()
            await self._store(connection, self._next_group())

    def _next_group(self) -> list[tuple[Arrival, asyncio.Future[Stored]]]:
        group: list[tuple[Arrival, asyncio.Future[Stored]]] = []
        size = 0
        while self._queue and len(group) < BATCH and size < BATCH_BYTES:
            arrival, stored = self._queue.popleft()
            if not stored.done():
                group.append((arrival, stored))
                size += len(arrival.body)
        if not self._queue and not self._closing:
            self._some.clear()
        return group

    async def _expire(self) -> None:
        """Refuse what waits too long. One look at all of it: a timer for each webhook costs as much as its proof."""
        while True:
            await asyncio.sleep(EXPIRY_SECONDS)
            now = asyncio.get_running_loop().time()
            while self._waiting and (self._waiting[0][1].done() or self._waiting[0][0] < now):
                _, stored = self._waiting.popleft()
                if not stored.done():
                    stored.set_exception(StoreBusy("PostgreSQL takes too long"))

    async def _store(
        self, connection: InboxConnection, group: Sequence[tuple[Arrival, asyncio.Future[Stored]]]
    ) -> None:
        results = await self._commit(connection, [arrival for arrival, _ in group]) if group else []
        for (_, future), result in zip(group, results, strict=True):
            if future.done():
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
        if kept := [result for result in results if isinstance(result, Stored)]:
            self._on_stored(kept)

    async def _commit(
        self, connection: InboxConnection, arrivals: Sequence[Arrival]
    ) -> Sequence[Stored | Exception]:
        try:
            return await connection.insert(arrivals)
        except Exception as error:
            if is_away(error):
                log.error("store_down", error=first_line(error), webhooks=len(arrivals))
                return [StoreBusy("PostgreSQL does not answer")] * len(arrivals)
            if len(arrivals) == 1:
                log.exception("webhook_not_stored", tenant=arrivals[0].tenant)
                return [error]
        return [result for arrival in arrivals for result in await self._commit(connection, [arrival])]
