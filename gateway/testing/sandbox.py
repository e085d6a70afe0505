"""How does a fake vendor run over a real socket, and how is it made to fail the way real ones do?"""

import asyncio
import random
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal

import uvicorn
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

KEPT_CALLS = 20_000
ENDS_WITHIN = 1.0
"""Seconds that calls which are under way are given."""


class Misbehaviour(BaseModel):
    """What goes wrong, how often and where. `times` = the next n matching calls; `share` = that share of all
    matching calls for ever; neither = every matching call. `path` is a prefix. `skip` = so many go well first.

    `status` answers without acting; `slow` acts and answers `seconds` later; `drop` acts and then breaks the
    connection before the answer is complete.
    """

    model_config = ConfigDict(extra="forbid")

    kind: Literal["status", "slow", "drop"]
    status: int = Field(503, ge=100, le=599)
    retry_after: float | str | None = None
    seconds: float = Field(1.0, ge=0)
    skip: int = Field(0, ge=0)
    times: int | None = Field(None, ge=0)
    share: float | None = Field(None, ge=0, le=1)
    seed: int = 1
    method: str | None = None
    path: str = "/"


def misbehaving(app: ASGIApp) -> "MisbehavingApp":
    """The same app, which goes wrong on demand: `POST /_sandbox/misbehave` with the fields of `Misbehaviour`.

    `DELETE /_sandbox/misbehave` makes it behave again; `GET /_sandbox/calls` lists the API calls so far as
    `{"method", "path", "query", "status", "at"}`, `at` in seconds since the epoch, status 0 = dropped.
    """
    return MisbehavingApp(app)


class MisbehavingApp:
    """The ASGI app that `misbehaving` gives. `calls` may be read directly in the same process."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.calls: deque[dict[str, Any]] = deque(maxlen=KEPT_CALLS)
        self._faults: list[tuple[Misbehaviour, random.Random]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif scope["path"] == "/_sandbox/misbehave":
            await (await self._configure(Request(scope, receive)))(scope, receive, send)
        elif scope["path"] == "/_sandbox/calls":
            await JSONResponse(list(self.calls))(scope, receive, send)
        elif scope["path"].startswith("/_sandbox/"):
            await self.app(scope, receive, send)
        else:
            await self._play(scope, receive, send)

    async def _configure(self, request: Request) -> Response:
        if request.method == "DELETE":
            self._faults.clear()
            return Response(status_code=204)
        try:
            fault = Misbehaviour.model_validate_json(await request.body())
        except ValidationError as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        self._faults.append((fault, random.Random(fault.seed)))  # noqa: S311 - chance, not secrecy
        return Response(status_code=204)

    async def _play(self, scope: Scope, receive: Receive, send: Send) -> None:
        record = {
            "method": scope["method"],
            "path": scope["path"],
            "query": scope["query_string"].decode("latin-1"),
            "status": 0,
            "at": time.time(),
        }
        self.calls.append(record)

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                record["status"] = message["status"]
            await send(message)

        fault = self._fault_for(scope)
        if fault is None:
            await self.app(scope, receive, noting)
        elif fault.kind == "status":
            await _refusal(fault)(scope, receive, noting)
        elif fault.kind == "slow":
            await _late(self.app, fault.seconds, scope, receive, noting)
        else:
            await _broken_off(self.app, scope, receive, send)

    def _fault_for(self, scope: Scope) -> Misbehaviour | None:
        for fault, chance in self._faults:
            if fault.method not in (None, scope["method"]) or not scope["path"].startswith(fault.path):
                continue
            if fault.skip:
                fault.skip -= 1
                continue
            if fault.times is not None:
                if fault.times == 0:
                    continue
                fault.times -= 1
            if fault.share is None or chance.random() < fault.share:
                return fault
        return None


def _refusal(fault: Misbehaviour) -> Response:
    headers = {} if fault.retry_after is None else {"Retry-After": _plain(fault.retry_after)}
    return JSONResponse({"error": "misbehaving"}, status_code=fault.status, headers=headers)


def _plain(value: float | str) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


async def _late(app: ASGIApp, seconds: float, scope: Scope, receive: Receive, send: Send) -> None:
    messages: list[Message] = []

    async def keep(message: Message) -> None:
        messages.append(message)

    await app(scope, receive, keep)
    await asyncio.sleep(seconds)
    for message in messages:
        await send(message)


async def _broken_off(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    async def swallow(message: Message) -> None:
        del message

    await app(scope, receive, swallow)
    # A start without the announced body makes the server close the connection in the middle of the answer.
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000000")]})


class _Server(uvicorn.Server):
    """Ends when it is told to. uvicorn's own looks up every tenth of a second only, several times on its way out,
    and a suite serves a thousand sandboxes."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._told = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    def end(self) -> None:
        """From another thread."""
        self.should_exit = True
        with suppress(RuntimeError):  # it has ended already
            self._loop.call_soon_threadsafe(self._told.set)

    async def main_loop(self) -> None:
        ticks = 0
        while not await self.on_tick(ticks):  # which sets the date of the answers
            ticks = (ticks + 1) % 10
            with suppress(TimeoutError):
                await asyncio.wait_for(self._told.wait(), 0.1)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        patience = time.monotonic() + ENDS_WITHIN
        busy = self.server_state
        while (busy.connections or busy.tasks) and time.monotonic() < patience:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.002)
        for task in busy.tasks:
            task.cancel()
        await self.lifespan.shutdown()


@contextmanager
def serving(app: ASGIApp, port: int = 0) -> Iterator[str]:
    """Serve `app` on a real socket of this machine; gives its base URL, `http://127.0.0.1:PORT`."""
    listener = socket.create_server(("127.0.0.1", port), backlog=512)
    config = uvicorn.Config(app, log_config=None, log_level="critical", access_log=False, ws="none")
    server = _Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="sandbox", daemon=True)
    thread.start()
    try:
        while not server.started:
            if not thread.is_alive():
                raise RuntimeError("the sandbox did not start")
            time.sleep(0.005)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.end()
        thread.join(timeout=5)
        listener.close()
