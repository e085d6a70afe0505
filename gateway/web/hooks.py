"""A vendor calls: what does it get back, and how fast? Verify, store, answer; nothing else happens here.

Plain ASGI: this is the one path where every microsecond is paid by every webhook.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

import structlog

from gateway import metrics
from gateway.model.errors import WebhookRejected
from gateway.model.webhook import Webhook
from gateway.pipeline.accept import Inbox, StoreBusy, admit
from gateway.runtime import Runtime

from .directory import Directory

log = structlog.get_logger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

PREFIX = "/hooks/"
BODY_PATIENCE = 20.0
JSON_TYPE = (b"content-type", b"application/json")
RETRY_AFTER = (b"retry-after", b"30")  # below 60, or Zendesk does not try again
ALLOW = (b"allow", b"POST, HEAD")


class TooLarge(Exception):
    """The body is beyond GATEWAY_MAX_BODY."""


class Gone(Exception):
    """The caller hung up, or sent its body too slowly."""


class Hooks:
    """`POST|HEAD /hooks/{tenant}/{connection}`."""

    def __init__(self, runtime: Runtime, inbox: Inbox, directory: Directory) -> None:
        self._runtime = runtime
        self._inbox = inbox
        self._directory = directory
        self._max_body = runtime.settings.max_body
        self._reading: dict[asyncio.Task[Any], float] = {}
        self._late: set[asyncio.Task[Any]] = set()

    async def watch(self) -> None:
        """Give up bodies that come too slowly. One look at all of them: a timer for each costs as much as its proof."""
        while True:
            await asyncio.sleep(1)
            now = time.monotonic()
            for task, since in tuple(self._reading.items()):
                if now - since > BODY_PATIENCE:
                    self._late.add(task)
                    task.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        tenant, _, name = scope["path"][len(PREFIX) :].strip("/").partition("/")
        method = scope["method"]
        if method not in {"POST", "HEAD"}:
            return await _answer(send, 405, {"error": "use POST (or HEAD)"}, ALLOW)
        if not self._directory.known:
            return await _busy(send, "the configuration could not be read yet")
        connection = await self._directory.connection(tenant, name)
        if connection is None:
            metrics.count("refused", reason="unknown")
            return await _answer(send, 404, {"error": "no such connection"})
        if method == "HEAD":
            return await _answer(send, 200, None)
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        try:
            body = await self._body(headers, receive)
        except TooLarge:
            metrics.count("refused", reason="too_large")
            return await _answer(send, 413, {"error": f"the body is larger than {self._max_body} bytes"})
        except Gone:
            metrics.count("refused", reason="incomplete")
            return await _answer(send, 408, {"error": "the body did not arrive"})
        asked = scope["query_string"].decode("latin-1")
        query = dict(parse_qsl(asked, keep_blank_values=True)) if asked else {}
        webhook = Webhook(headers, body, query, self._runtime.clock())
        return await self._store(send, webhook, tenant, name, connection)

    async def _store(self, send: Send, webhook: Webhook, tenant: str, name: str, connection: Any) -> None:
        registry = self._runtime.registry
        try:
            try:
                arrival = admit(registry, webhook, connection)
            except WebhookRejected:
                newer = await self._directory.newer(connection)  # a secret may just have been rotated
                if newer is None:
                    raise
                arrival = admit(registry, webhook, newer)
        except WebhookRejected as rejected:
            metrics.count("refused", reason="proof")
            log.warning("webhook_rejected", tenant=tenant, connection=name, reason=str(rejected))
            return await _answer(send, 401, {"error": "no valid proof of origin"})
        try:
            stored = await self._inbox.put(arrival)
        except StoreBusy as busy:
            return await _busy(send, str(busy))
        except Exception:
            log.exception("webhook_not_stored", tenant=tenant, connection=name)
            return await _busy(send, "the webhook could not be stored")
        if stored.duplicate:
            metrics.count("duplicates")
            return await _answer(send, 200, {"delivery": stored.id, "duplicate": True})
        metrics.count("received")
        return await _answer(send, connection.settings.accepted_status(), {"delivery": stored.id})

    async def _body(self, headers: dict[str, str], receive: Receive) -> bytes:
        """The whole body, within BODY_PATIENCE seconds."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("webhooks are read in a task")
        self._reading[task] = time.monotonic()
        try:
            return await self._read(headers, receive)
        except asyncio.CancelledError:
            if task not in self._late:
                raise
            task.uncancel()
            raise Gone from None
        finally:
            self._late.discard(task)
            del self._reading[task]

    async def _read(self, headers: dict[str, str], receive: Receive) -> bytes:
        """Counted as it comes: a chunked body does not say its size beforehand."""
        declared = headers.get("content-length", "0")
        if declared.isdigit() and int(declared) > self._max_body:
            raise TooLarge
        message = await _next(receive)
        body = message.get("body", b"")
        if not message.get("more_body"):
            if len(body) > self._max_body:
                raise TooLarge
            return bytes(body)
        chunks, size = [body], len(body)
        while message.get("more_body"):
            message = await _next(receive)
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > self._max_body:
                raise TooLarge
            chunks.append(chunk)
        return b"".join(chunks)


async def _next(receive: Receive) -> MutableMapping[str, Any]:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise Gone
    return message


async def _busy(send: Send, why: str) -> None:
    metrics.count("refused", reason="busy")
    await _answer(send, 503, {"error": why}, RETRY_AFTER)


async def _answer(send: Send, status: int, body: Any, *headers: tuple[bytes, bytes]) -> None:
    content = b"" if body is None else json.dumps(body).encode()
    length = (b"content-length", str(len(content)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [JSON_TYPE, length, *headers]})
    await send({"type": "http.response.body", "body": content})
