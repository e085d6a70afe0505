"""How does what Apprise sends by `requests` leave by our own way out: guarded, bounded and traced?"""

import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from http.client import responses
from typing import Any

import httpx
import requests
from requests.adapters import BaseAdapter, HTTPAdapter

from gateway.calls import Answer, CallRecord
from gateway.clock import utc_now
from gateway.redaction import Redactor
from gateway.transport import Lost, exchange, timeouts

TIMEOUT = 15.0
TRACED = 4096

_under_way: ContextVar["Outgoing | None"] = ContextVar("gateway_outgoing", default=None)


class Outgoing:
    """The calls of one notice. `calls` traces them; `answers` are what came back, or how it got lost."""

    def __init__(self, http: httpx.Client, redactor: Redactor) -> None:
        self.calls: list[CallRecord] = []
        self.answers: list[Answer | Lost] = []
        self._http = http
        self._redactor = redactor

    def send(self, request: requests.PreparedRequest) -> requests.Response:
        """Raises requests.RequestException, which Apprise expects."""
        sent_at, started = utc_now(), time.perf_counter()
        content = _bytes(request.body)
        result = self._exchange(request, content)
        self.answers.append(result)
        self.calls.append(
            CallRecord(
                at=sent_at,
                method=request.method or "",
                url=_origin(request.url or ""),
                request=self._redactor.excerpt(content, TRACED),
                status=result.status,
                answer=self._redactor.excerpt(result.text, TRACED) if isinstance(result, Answer) else "",
                seconds=time.perf_counter() - started,
                number=1,
                error=self._redactor.url(str(result)) if isinstance(result, Lost) else None,
            )
        )
        if isinstance(result, Lost):
            raise requests.ConnectionError(str(result))
        return _response(request, result)

    def _exchange(self, request: requests.PreparedRequest, content: bytes) -> Answer | Lost:
        sent = self._http.build_request(
            request.method or "GET", request.url or "", content=content, headers=_plain(request),
            timeout=timeouts(TIMEOUT),
        )  # fmt: skip
        try:
            return exchange(self._http, sent, 2 * TIMEOUT)
        except Lost as lost:
            return lost


@contextmanager
def our_way(outgoing: Outgoing) -> Iterator[None]:
    """Whatever is sent by `requests` inside goes by `outgoing`."""
    token = _under_way.set(outgoing)
    try:
        yield
    finally:
        _under_way.reset(token)


class Adapter(BaseAdapter):
    """Certificates are always checked and no proxy is used, whatever is asked for."""

    def __init__(self, outgoing: Outgoing) -> None:
        super().__init__()
        self._outgoing = outgoing

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        return self._outgoing.send(request)

    def close(self) -> None:
        """It holds nothing."""


def _adapter() -> BaseAdapter:
    outgoing = _under_way.get()
    return HTTPAdapter() if outgoing is None else Adapter(outgoing)


# Apprise calls `requests.post`, which makes a session of its own and lets nobody choose its adapter.
requests.sessions.HTTPAdapter = _adapter  # type: ignore[assignment,attr-defined]


def _response(request: requests.PreparedRequest, answer: Answer) -> requests.Response:
    response = requests.Response()
    response.status_code = answer.status
    response.reason = responses.get(answer.status, "")
    response.url = request.url or ""
    response.request = request
    response.headers.update(answer.headers)
    response.encoding = "utf-8"
    response.raw = io.BytesIO(answer.text.encode("utf-8", "replace"))
    return response


def _plain(request: requests.PreparedRequest) -> dict[str, str]:
    return {
        name: value if isinstance(value, str) else value.decode("latin-1")
        for name, value in request.headers.items()
    }


def _bytes(body: Any) -> bytes:
    match body:
        case None:
            return b""
        case str():
            return body.encode()
        case bytes() | bytearray():
            return bytes(body)
    read: bytes = body.read()
    return read


def _origin(url: str) -> str:
    """Where it went, without the path: there Slack and Teams carry what lets anybody post."""
    found = httpx.URL(url)
    port = f":{found.port}" if found.port else ""
    return f"{found.scheme}://{found.host}{port}/..."
