"""The only way out: how does a call reach a vendor, paced, guarded, retried where safe, and traced?"""

import atexit
import json as jsonlib
import os
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import lru_cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import structlog
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential, wait_random

from gateway import __version__
from gateway.clock import utc_now
from gateway.egress import GuardedTransport
from gateway.governor import Grant, Outcome, Pacing
from gateway.model.connection import ApiSettings, Connection
from gateway.model.errors import ApiError, ApiFailure
from gateway.model.record import JSON
from gateway.ratelimits import pause_asked, retry_after
from gateway.redaction import Redactor

log = structlog.get_logger()

CONNECT_TIMEOUT = 5.0
POOL_TIMEOUT = 10.0
LONGEST_ANSWER = 10 * 1024 * 1024
LIMITS = httpx.Limits(max_connections=64, max_keepalive_connections=32, keepalive_expiry=4)
"""Connections idle for longer are not used again: the servers' side may just be closing them."""

TRIES = 3
IN_PLACE_WAIT = 2.0
READS = frozenset({"GET", "HEAD", "OPTIONS"})
TRACED = 4096
QUOTED = 300
LONGEST_GUESS = 60.0

FAILURES = {
    401: ApiFailure.UNAUTHORIZED,
    403: ApiFailure.UNAUTHORIZED,
    404: ApiFailure.MISSING,
    409: ApiFailure.CONFLICT,
    410: ApiFailure.MISSING,
    429: ApiFailure.THROTTLED,
}
"""Every other status below 500 is REFUSED, and from 500 UNAVAILABLE."""

OUTCOMES = {
    ApiFailure.UNAUTHORIZED: Outcome.UNAUTHORIZED, ApiFailure.THROTTLED: Outcome.THROTTLED,
    ApiFailure.UNAVAILABLE: Outcome.FAILED, ApiFailure.UNREACHABLE: Outcome.FAILED,
    ApiFailure.UNANSWERED: Outcome.FAILED,
}  # fmt: skip
NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
UNSENDABLE = (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.InvalidURL)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a vendor answered. `body` is the parsed JSON, None where it was none; `headers` are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: JSON
    text: str


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One try of one call, with every secret taken out.

    `status` is None when no answer came; `seconds` is how long it took; `number` counts the tries of one call
    from 1; `at` is when it was sent.
    """

    at: datetime
    method: str
    url: str
    request: str
    status: int | None
    answer: str
    seconds: float
    number: int
    error: str | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"at": self.at.isoformat(), "seconds": round(self.seconds, 4)}


def http_client(*, allow_private: bool = False) -> httpx.Client:
    """The process's one HTTP client, shared by all connections and threads."""
    return _http_client(os.getpid(), allow_private)


@lru_cache(maxsize=4)
def _http_client(_pid: int, allow_private: bool) -> httpx.Client:  # a forked child must not share sockets
    client = httpx.Client(
        transport=GuardedTransport(allow_private=allow_private, limits=LIMITS),
        cookies=CookieJar(
            DefaultCookiePolicy(allowed_domains=[])
        ),  # or one tenant's session would serve the next
        follow_redirects=False,
        trust_env=False,
        headers={"User-Agent": f"helpdesk-gateway/{__version__}", "Accept": "application/json"},
    )
    atexit.register(client.close)
    return client


class ApiClient:
    """One connection's API, for the length of one piece of work.

    `calls` traces every try. As a context manager it gives back what was prepaid and not used.
    """

    connection: Connection[Any]

    def __init__(
        self,
        connection: Connection[Any],
        api: ApiSettings,
        *,
        http: httpx.Client,
        governor: Pacing,
        explain: Callable[[Answer], ApiError | None] | None = None,
        trace_id: str = "",
        secrets: tuple[str, ...] = (),
        clock: Callable[[], datetime] = utc_now,
        sleep: Callable[[float], None] = time.sleep,
        patience: float = 10.0,
    ) -> None:
        self.connection = connection
        self.calls: list[CallRecord] = []
        self._http = http
        self._governor = governor
        self._explain = explain
        self._clock = clock
        self._sleep = sleep
        self._patience = patience
        self._prepaid = Grant(0)
        self._prepaid_until = 0.0
        self._base = httpx.URL(api.base_url)
        self._root = str(self._base).rstrip("/")
        self._timeout = httpx.Timeout(api.timeout, connect=CONNECT_TIMEOUT, pool=POOL_TIMEOUT)
        self._longest = 3 * api.timeout
        self._params = dict(api.params)
        self._headers = dict(api.headers)
        if api.auth:
            self._headers["Authorization"] = f"Basic {b64encode(':'.join(api.auth).encode()).decode()}"
        if trace_id:
            self._headers["X-Request-Id"] = trace_id
        self._redactor = Redactor([*secrets, *api.params.values(), *(api.auth or ())[1:]])
        self._window = api.rate.seconds
        self._retrying = Retrying(
            stop=stop_after_attempt(TRIES),
            wait=wait_exponential(multiplier=0.2, max=IN_PLACE_WAIT) + wait_random(0, 0.3),
            sleep=sleep,
            reraise=True,
        )

    def __enter__(self) -> "ApiClient":
        return self

    def __exit__(self, *exc: object) -> None:
        self.settle()

    def prepay(self, calls: int) -> int:
        """Ask for the budget of several calls at once; how many were granted. They lapse after a moment."""
        self.settle()
        asked_at = time.monotonic()
        self._prepaid = self._governor.take(calls)
        self._prepaid_until = asked_at + self._prepaid.lease
        return self._prepaid.granted

    def settle(self) -> None:
        """Give back what was prepaid and not used."""
        grant, self._prepaid = self._prepaid, Grant(0)
        if grant.granted:
            self._governor.give_back(grant, grant.granted)

    def get(self, path: str, **params: Any) -> Answer:
        """GET `path` with these query parameters."""
        return self.call("GET", path, params=params)

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: JSON = None,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
        repeatable: bool | None = None,
    ) -> Answer:
        """Call the vendor and give its answer (2xx). Raises ApiError for everything else.

        `repeatable` says that sending the same call twice does no harm, so it may be retried in place after a
        lost answer; default: only GET and HEAD, and any call with an `idempotency_key`.
        """
        keyed = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        try:
            request = self._http.build_request(
                method,
                self._url(path, params),
                json=json,
                data=form,
                headers={**self._headers, **keyed, **(headers or {})},
                timeout=self._timeout,
            )
        except (httpx.InvalidURL, UnicodeError) as error:
            raise self._error(ApiFailure.REFUSED, f"{method} {path}: {error}") from None
        again = repeatable if repeatable is not None else method in READS or idempotency_key is not None
        call = _Call(request, path.partition("?")[0], again)
        return self._retrying.copy(retry=retry_if_exception(call.worth_another_try))(self._try, call)

    def _try(self, call: "_Call") -> Answer:
        call.number += 1
        grant = self._budget(call)
        sent_at, started = self._clock(), time.perf_counter()
        answer: Answer | None = None
        error: ApiError | None = None
        try:
            answer = self._exchange(call, started)
            if not 200 <= answer.status < 300:
                error = self._failed(call, answer)
        except ApiError as refused:  # by the egress guard, or for the size of the answer
            error = refused
        except NEVER_SENT as fault:
            error = self._lost(call, ApiFailure.UNREACHABLE, f"cannot be reached: {_words(fault)}")
        except UNSENDABLE as fault:
            error = self._lost(call, ApiFailure.REFUSED, f"cannot be sent: {_words(fault)}")
        except httpx.HTTPError as fault:
            error = self._lost(call, ApiFailure.UNANSWERED, f"sent, but not answered: {_words(fault)}")
        self._trace(call, sent_at, time.perf_counter() - started, answer, error)
        self._report(grant, answer, error)
        if error is not None:
            raise error
        assert answer is not None  # noqa: S101 - one of the two was set above
        return answer

    def _budget(self, call: "_Call") -> Grant:
        """One call's worth of the connection's budget, waited for if that is not too long."""
        if self._prepaid.granted and time.monotonic() < self._prepaid_until:
            self._prepaid = replace(self._prepaid, granted=self._prepaid.granted - 1)
            return replace(self._prepaid, granted=1)
        self.settle()
        waited = 0.0
        grant = self._governor.take(1)
        while not grant.granted:
            if waited + grant.wait > self._patience:
                raise self._error(
                    ApiFailure.THROTTLED,
                    f"{call.method} {call.path} is held back for {grant.wait:.1f} s: {grant.reason}",
                    retry_after=grant.wait,
                )
            self._sleep(grant.wait)
            waited += grant.wait
            grant = self._governor.take(1)
        return grant

    def _exchange(self, call: "_Call", started: float) -> Answer:
        response = self._http.send(call.request, stream=True)
        try:
            content = self._read(call, response, started)
        finally:
            response.close()
        text = content.decode(response.charset_encoding or "utf-8", "replace")
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status_code, headers, _parsed(content, headers), text)

    def _read(self, call: "_Call", response: httpx.Response, started: float) -> bytes:
        parts, size = [], 0
        for part in response.iter_bytes():
            parts.append(part)
            size += len(part)
            if size > LONGEST_ANSWER:
                raise self._lost(
                    call,
                    ApiFailure.REFUSED,
                    f"answered {response.status_code} with more than 10 MiB, which was cut off",
                )
            if time.perf_counter() - started > self._longest:
                raise self._lost(call, ApiFailure.UNANSWERED, f"answered too slowly: {self._longest:.0f} s")
        return b"".join(parts)

    def _failed(self, call: "_Call", answer: Answer) -> ApiError:
        failure = _failure(answer.status)
        what = f"{call.method} {call.path} answered {answer.status}"
        explained = self._explained(answer)
        if explained is not None:
            failure = explained.failure
            what = f"{what}: {explained}"
        elif 300 <= answer.status < 400:
            what = f"{what}, a redirect to {answer.headers.get('location', 'nowhere')}, which is not followed"
        else:
            what = f"{what}: {' '.join(self._redactor.excerpt(answer.text, QUOTED).split())}"
        asked = retry_after(answer.headers, self._clock())
        if asked is None and explained is not None:
            asked = explained.retry_after
        if asked is None and failure is ApiFailure.THROTTLED:
            asked = min(max(self._window, 1.0), LONGEST_GUESS)
        uncertain = failure is ApiFailure.UNAVAILABLE and not call.repeatable
        return self._error(
            failure,
            what,
            status=answer.status,
            retry_after=asked,
            uncertain=uncertain or (explained is not None and explained.uncertain),
        )

    def _explained(self, answer: Answer) -> ApiError | None:
        if self._explain is None:
            return None
        try:
            return self._explain(answer)
        except Exception as error:  # noqa: BLE001 - the plugin's; the status code still says enough
            log.warning("explain_error failed", vendor=self.connection.vendor, error=repr(error))
            return None

    def _lost(self, call: "_Call", failure: ApiFailure, what: str) -> ApiError:
        sent = failure is not ApiFailure.UNREACHABLE and "cannot be sent" not in what
        return self._error(
            failure, f"{call.method} {call.path} {what}", uncertain=sent and call.method not in READS
        )

    def _error(self, failure: ApiFailure, what: str, **more: Any) -> ApiError:
        where = f"{self.connection.vendor} ({self.connection.tenant}/{self.connection.name})"
        return ApiError(failure, self._redactor.url(f"{where}: {what}"), **more)

    def _trace(
        self, call: "_Call", sent_at: datetime, seconds: float, answer: Answer | None, error: ApiError | None
    ) -> None:
        self.calls.append(
            CallRecord(
                at=sent_at,
                method=call.method,
                url=self._redactor.url(str(call.request.url)),
                request=self._redactor.excerpt(call.request.content, TRACED),
                status=answer.status if answer else None,
                answer=self._redactor.excerpt(answer.text, TRACED) if answer else "",
                seconds=seconds,
                number=call.number,
                error=str(error) if error else None,
            )
        )

    def _report(self, grant: Grant, answer: Answer | None, error: ApiError | None) -> None:
        if error is None:
            pause = pause_asked(answer.headers, self._window, self._clock()) if answer else 0.0
            self._governor.record(
                Outcome.OK, pause=pause, reason="the vendor's limit is used up" if pause else ""
            )
        elif error.failure is ApiFailure.REFUSED and answer is None and not error.uncertain:
            self._governor.give_back(grant, 1)
        else:
            self._governor.record(_outcome(error), pause=error.retry_after or 0.0, reason=str(error))

    def _url(self, path: str, params: Mapping[str, Any] | None) -> str:
        if "://" in path or path.startswith("//"):
            target = self._base.join(path)
            if (target.scheme, target.host, target.port) != (
                self._base.scheme,
                self._base.host,
                self._base.port,
            ):
                raise self._error(
                    ApiFailure.REFUSED, f"only {self._base.host} may see the credentials, not {target.host}"
                )
            url = str(target)
        else:
            url = f"{self._root}/{path.lstrip('/')}" if path else self._root
        query = {**self._params, **(params or {})}
        pairs = {name: _plain(value) for name, value in query.items() if value is not None}
        if not pairs:
            return url
        # Movidesk wants the $ of `$filter` as it is, and OData a space as %20.
        return url + ("&" if "?" in url else "?") + urlencode(pairs, doseq=True, quote_via=quote, safe="$")


@dataclass(slots=True)
class _Call:
    request: httpx.Request
    path: str
    repeatable: bool
    number: int = 0

    @property
    def method(self) -> str:
        return self.request.method

    def worth_another_try(self, error: BaseException) -> bool:
        """In place and at once: only what was not done for sure, or may be done twice, and is soon over."""
        if not isinstance(error, ApiError) or (error.retry_after or 0.0) > IN_PLACE_WAIT:
            return False
        if error.failure is ApiFailure.UNREACHABLE:
            return True
        if error.status in (429, 503) and error.retry_after is not None:
            return True
        return self.repeatable and error.failure in (ApiFailure.UNAVAILABLE, ApiFailure.UNANSWERED)


def _failure(status: int) -> ApiFailure:
    return FAILURES.get(status, ApiFailure.UNAVAILABLE if status >= 500 else ApiFailure.REFUSED)


def _outcome(error: ApiError) -> Outcome:
    if error.status == 403 and error.failure is ApiFailure.UNAUTHORIZED:
        return Outcome.FORBIDDEN
    if error.failure in OUTCOMES:
        return OUTCOMES[error.failure]
    return Outcome.REFUSED if error.status and 400 <= error.status < 500 else Outcome.OK


def _parsed(content: bytes, headers: Mapping[str, str]) -> JSON:
    if not content or ("json" not in headers.get("content-type", "") and content[:1] not in b"{["):
        return None
    try:
        return jsonlib.loads(content)
    except (ValueError, RecursionError):
        return None


def _plain(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def _words(error: Exception) -> str:
    return f"{type(error).__name__} {error}".strip()
