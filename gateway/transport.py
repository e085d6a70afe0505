"""How does one request travel, and in which ways can it get lost?"""

import atexit
import json
import os
import time
from collections.abc import Mapping
from functools import lru_cache
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx

from gateway import __version__
from gateway.calls import Answer
from gateway.egress import EgressRefused, GuardedTransport
from gateway.model.errors import ApiFailure
from gateway.model.record import JSON

CONNECT_TIMEOUT = 5.0
POOL_TIMEOUT = 10.0
LONGEST_ANSWER = 10 * 1024 * 1024
LIMITS = httpx.Limits(max_connections=64, max_keepalive_connections=32, keepalive_expiry=4)
"""Connections idle for longer are not used again: the servers' side may just be closing them."""


class Lost(Exception):
    """No whole answer came. `sent` = the vendor may have received the request, and acted on it."""

    def __init__(self, failure: ApiFailure, what: str, *, sent: bool, status: int | None = None) -> None:
        super().__init__(what)
        self.failure = failure
        self.sent = sent
        self.status = status


def http_client(*, allow_private: bool = False) -> httpx.Client:
    """The process's one HTTP client, shared by all connections and threads.

    It knows no proxy, as the egress guard could not see past one; it follows no redirect and keeps no cookie.
    """
    client = _http_client(os.getpid(), allow_private)
    if client.is_closed:
        _http_client.cache_clear()
        client = _http_client(os.getpid(), allow_private)
    return client


@lru_cache(maxsize=4)
def _http_client(_pid: int, allow_private: bool) -> httpx.Client:  # a forked child must not share sockets
    client = httpx.Client(
        transport=GuardedTransport(allow_private=allow_private, limits=LIMITS),
        # Or the session that a vendor opens for one tenant would be sent along with the calls of the next.
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        follow_redirects=False,
        trust_env=False,
        headers={"User-Agent": f"helpdesk-gateway/{__version__}", "Accept": "application/json"},
    )
    atexit.register(client.close)
    return client


def timeouts(seconds: float) -> httpx.Timeout:
    return httpx.Timeout(seconds, connect=CONNECT_TIMEOUT, pool=POOL_TIMEOUT)


def exchange(http: httpx.Client, request: httpx.Request, longest: float) -> Answer:
    """Send the request and read the answer, in `longest` seconds at most. Raises Lost."""
    deadline = time.monotonic() + longest
    try:
        response = http.send(request, stream=True)
        try:
            content = _content(response, deadline)
        finally:
            response.close()
    except EgressRefused as refused:
        raise Lost(ApiFailure.REFUSED, str(refused), sent=False) from None
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
        raise Lost(ApiFailure.UNREACHABLE, f"cannot be reached: {_words(error)}", sent=False) from None
    except (httpx.UnsupportedProtocol, httpx.LocalProtocolError) as error:
        raise Lost(ApiFailure.REFUSED, f"cannot be sent: {_words(error)}", sent=False) from None
    except httpx.HTTPError as error:
        raise Lost(ApiFailure.UNANSWERED, f"was sent, but not answered: {_words(error)}", sent=True) from None
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(
        response.status_code, headers, _parsed(content, headers), _text(content, response.charset_encoding)
    )


def _content(response: httpx.Response, deadline: float) -> bytes:
    parts: list[bytes] = []
    size = 0
    for part in response.iter_bytes():
        parts.append(part)
        size += len(part)
        if size > LONGEST_ANSWER:
            what = f"answered {response.status_code} with more than {LONGEST_ANSWER >> 20} MiB: cut off"
            raise Lost(ApiFailure.REFUSED, what, sent=True, status=response.status_code)
        if time.monotonic() > deadline:
            raise Lost(ApiFailure.UNANSWERED, "answers too slowly, and was given up", sent=True)
    return b"".join(parts)


def _parsed(content: bytes, headers: Mapping[str, str]) -> JSON:
    if not content or ("json" not in headers.get("content-type", "") and content[:1] not in b"{["):
        return None
    try:
        body: JSON = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return body


def _text(content: bytes, charset: str | None) -> str:
    try:
        return content.decode(charset or "utf-8", "replace")
    except LookupError:  # a charset that nobody knows
        return content.decode("utf-8", "replace")


def _words(error: Exception) -> str:
    return f"{type(error).__name__} {error}".strip()
