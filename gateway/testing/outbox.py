"""How does a fake vendor send its webhooks, and try again, as the real one does?"""

import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping

import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from tenacity import (
    RetryError,
    Retrying,
    retry_if_exception_type,
    retry_if_result,
    stop_after_attempt,
    wait_fixed,
)

WAITING = 10_000
IDLE_SECONDS = 0.5
TRIES = 4

Signature = Callable[[bytes], Mapping[str, str]]


class Outbox:
    """Sends a sandbox's webhooks in the background, in order, to every one of `targets`.

    `sign` gives the headers of the vendor's proof for a body; it is asked before each try, so that a
    time-stamped signature is fresh. A target that cannot be reached or answers 429 or 5xx is tried again.
    """

    def __init__(self, sign: Signature | None = None, *, retry_seconds: float = 0.2) -> None:
        self.targets: list[str] = []
        self.sent: Counter[str] = Counter()
        """How many tries ended how: `"202"`, `"401"`, ..., `"unreachable"`; `"overflow"` was never tried."""
        self._sign = sign
        self._retry_seconds = retry_seconds
        self._queue: queue.Queue[tuple[str, bytes, Mapping[str, str]]] = queue.Queue(WAITING)
        self._lock = threading.Lock()
        self._running = False

    def send(self, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Post `body` to every target, in the background. Never blocks."""
        for target in list(self.targets):
            try:
                self._queue.put_nowait((target, body, headers or {}))
            except queue.Full:
                self.sent["overflow"] += 1
        with self._lock:
            if not self._running and not self._queue.empty():
                self._running = True
                threading.Thread(target=self._work, name="outbox", daemon=True).start()

    def wait(self, timeout: float = 10.0) -> bool:
        """Wait until all webhooks are sent (or given up); False when `timeout` seconds were not enough."""
        deadline = time.monotonic() + timeout
        with self._queue.all_tasks_done:
            while self._queue.unfinished_tasks:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._queue.all_tasks_done.wait(left)
        return True

    def routes(self) -> list[Route]:
        """`POST /_sandbox/webhooks {"url": ...}` adds a target, `GET` shows them, `DELETE` forgets."""
        return [Route("/_sandbox/webhooks", self._webhooks, methods=["POST", "GET", "DELETE"])]

    async def _webhooks(self, request: Request) -> Response:
        if request.method == "POST":
            url = (await request.json())["url"]
            if url not in self.targets:
                self.targets.append(url)
            return JSONResponse({"targets": self.targets}, status_code=201)
        if request.method == "DELETE":
            self.targets.clear()
            return Response(status_code=204)
        return JSONResponse(
            {"targets": self.targets, "sent": dict(self.sent), "waiting": self._queue.unfinished_tasks}
        )

    def _work(self) -> None:
        with httpx.Client(trust_env=False, timeout=10) as http:
            while True:
                try:
                    target, body, headers = self._queue.get(timeout=IDLE_SECONDS)
                except queue.Empty:
                    with self._lock:
                        if self._queue.empty():
                            self._running = False
                            return
                    continue
                try:
                    self._deliver(http, target, body, headers)
                finally:
                    self._queue.task_done()

    def _deliver(self, http: httpx.Client, target: str, body: bytes, headers: Mapping[str, str]) -> None:
        def post() -> int:
            proof = self._sign(body) if self._sign else {}
            typed = {"Content-Type": "application/json", **headers, **proof}
            try:
                status = http.post(target, content=body, headers=typed).status_code
            except httpx.TransportError:
                self.sent["unreachable"] += 1
                raise
            self.sent[str(status)] += 1
            return status

        tries = Retrying(
            stop=stop_after_attempt(TRIES),
            wait=wait_fixed(self._retry_seconds),
            retry=retry_if_exception_type(httpx.TransportError)
            | retry_if_result(lambda status: status == 429 or status >= 500),
        )
        try:
            tries(post)
        except RetryError:
            self.sent["given up"] += 1
