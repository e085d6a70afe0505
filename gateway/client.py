"""The only way out: how does a call reach a vendor, paced, guarded, retried where safe, and traced?"""

import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any
from urllib.parse import quote, unquote, urlencode

import httpx
import structlog
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential, wait_random

from gateway.calls import Answer, CallRecord
from gateway.clock import utc_now
from gateway.model.connection import ApiSettings, Connection
from gateway.model.errors import ApiError, ApiFailure
from gateway.model.record import JSON
from gateway.pacing import Grant, Outcome, Pacing
from gateway.ratelimits import pause_asked, retry_after
from gateway.redaction import Redactor, secret_values
from gateway.transport import Lost, exchange, http_client, timeouts

__all__ = ["Answer", "ApiClient", "CallRecord", "http_client"]

log = structlog.get_logger()

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
    ApiFailure.UNAUTHORIZED: Outcome.UNAUTHORIZED,
    ApiFailure.THROTTLED: Outcome.THROTTLED,
    ApiFailure.UNAVAILABLE: Outcome.FAILED,
    ApiFailure.UNREACHABLE: Outcome.FAILED,
    ApiFailure.UNANSWERED: Outcome.FAILED,
}
WAITED_FOR = frozenset({ApiFailure.THROTTLED, ApiFailure.UNAVAILABLE})
"""Failures after which the whole connection waits as long as the vendor asks."""


class ApiClient:
    """One connection's API, for the length of one piece of work. `calls` traces every try."""

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
        try:
            self._base = httpx.URL(api.base_url)
        except httpx.InvalidURL as error:
            raise ApiError(ApiFailure.REFUSED, f"{connection.vendor}: base_url: {error}") from None
        self._root = str(self._base).rstrip("/")
        self._timeout = timeouts(api.timeout)
        self._longest = 3 * api.timeout
        self._params = dict(api.params)
        self._headers = dict(api.headers)
        if api.auth:
            self._headers["Authorization"] = f"Basic {b64encode(':'.join(api.auth).encode()).decode()}"
        if trace_id:
            self._headers["X-Request-Id"] = trace_id
        known = {*secrets, *secret_values(connection.settings), *api.params.values(), *(api.auth or ())[1:]}
        self._redactor = _redactor(frozenset(known))
        self._window = api.rate.seconds
        self._retrying = Retrying(
            stop=stop_after_attempt(TRIES),
            wait=wait_exponential(multiplier=0.2, max=IN_PLACE_WAIT) + wait_random(0, 0.3),
            sleep=sleep,
            reraise=True,
        )

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
        method = method.upper()
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
        except (httpx.InvalidURL, ValueError) as error:
            raise self._error(ApiFailure.REFUSED, f"{method} {path}: {error}") from None
        again = repeatable if repeatable is not None else method in READS or idempotency_key is not None
        call = _Call(request, path.partition("?")[0], again)
        return self._retrying.copy(retry=retry_if_exception(call.worth_another_try))(self._try, call)

    def _try(self, call: "_Call") -> Answer:
        call.number += 1
        grant = self._budget(call)
        sent_at, started = self._clock(), time.perf_counter()
        result = self._exchange(call, grant)
        self._trace(call, sent_at, time.perf_counter() - started, result)
        if isinstance(result, ApiError):
            raise call.remembered(result)
        return result

    def _exchange(self, call: "_Call", grant: Grant) -> Answer | ApiError:
        call.answer = None
        try:
            answer = call.answer = exchange(self._http, call.request, self._longest)
        except Lost as lost:
            error = self._lost(call, lost)
            if lost.failure is ApiFailure.REFUSED and not lost.sent:
                self._governor.give_back(grant, 1)
            else:
                self._report(error)
            return error
        if 200 <= answer.status < 300:
            pause = pause_asked(answer.headers, self._window, self._clock())
            self._governor.record(
                Outcome.OK, pause=pause, reason="the vendor's limit is used up" if pause else ""
            )
            return answer
        error = self._failed(call, answer)
        self._report(error)
        return error

    def _budget(self, call: "_Call") -> Grant:
        """One call's worth of the connection's budget, waited for if that is not too long."""
        waited = 0.0
        grant = self._governor.take(1)
        while not grant.granted:
            if waited + grant.wait > self._patience:
                raise self._held_back(call, grant)
            self._sleep(grant.wait)
            waited += grant.wait
            grant = self._governor.take(1)
        return grant

    def _held_back(self, call: "_Call", grant: Grant) -> ApiError:
        if call.error is not None:  # an earlier try says more, also about what may have happened
            call.given_up = True
            call.error.retry_after = max(call.error.retry_after or 0.0, grant.wait)
            return call.error
        what = f"{call.method} {call.path} is held back for {grant.wait:.1f} s: {grant.reason}"
        return self._error(ApiFailure.THROTTLED, what, retry_after=grant.wait)

    def _failed(self, call: "_Call", answer: Answer) -> ApiError:
        explained = self._explained(answer)
        failure = explained.failure if explained else failure_of(answer.status)
        if explained is not None:
            why = f": {explained}"
        elif 300 <= answer.status < 400:
            why = f", a redirect to {answer.headers.get('location', 'nowhere')}, which is not followed"
        else:
            why = f": {self._redactor.excerpt(answer.text, QUOTED)}"
        now = self._clock()
        asked = retry_after(answer.headers, now)
        if asked is None and explained is not None:
            asked = explained.retry_after
        if asked is None and failure is ApiFailure.THROTTLED:
            asked = pause_asked(answer.headers, self._window, now) or min(
                max(self._window, 1.0), LONGEST_GUESS
            )
        return self._error(
            failure,
            f"{call.method} {call.path} answered {answer.status}{why}",
            status=answer.status,
            retry_after=asked,
            uncertain=bool(explained and explained.uncertain)
            or (failure is ApiFailure.UNAVAILABLE and not call.repeatable),
            existing=explained.existing if explained else None,
        )

    def _explained(self, answer: Answer) -> ApiError | None:
        if self._explain is None:
            return None
        try:
            return self._explain(answer)
        except Exception as error:  # noqa: BLE001 - the plugin's; the status code still says enough
            log.warning("explain_error failed", vendor=self.connection.vendor, error=repr(error))
            return None

    def _lost(self, call: "_Call", lost: Lost) -> ApiError:
        what = f"{call.method} {call.path} {lost}"
        uncertain = lost.sent and call.method not in READS
        return self._error(lost.failure, what, status=lost.status, uncertain=uncertain)

    def _error(self, failure: ApiFailure, what: str, **more: Any) -> ApiError:
        where = f"{self.connection.vendor} ({self.connection.tenant}/{self.connection.name})"
        return ApiError(failure, self._redactor.url(f"{where}: {' '.join(what.split())}"), **more)

    def _report(self, error: ApiError) -> None:
        pause = error.retry_after or 0.0 if error.failure in WAITED_FOR else 0.0
        self._governor.record(outcome_of(error), pause=pause, reason=str(error))

    def _trace(self, call: "_Call", sent_at: datetime, seconds: float, result: Answer | ApiError) -> None:
        self.calls.append(
            CallRecord(
                at=sent_at,
                method=call.method,
                url=self._redactor.url(str(call.request.url)),
                request=self._redactor.excerpt(call.request.content, TRACED),
                status=call.answer.status if call.answer else None,
                answer=self._redactor.excerpt(call.answer.text, TRACED) if call.answer else "",
                seconds=seconds,
                number=call.number,
                error=str(result) if isinstance(result, ApiError) else None,
            )
        )

    def _url(self, path: str, params: Mapping[str, Any] | None) -> str:
        place = path.partition("?")[0]
        if "://" in place or place.startswith("//"):
            target = self._base.join(path)
            if _origin(target) != _origin(self._base):
                what = f"only {self._base.host} may see the credentials, not {target.host}"
                raise self._error(ApiFailure.REFUSED, what)
            url = str(target)
        elif _climbs(place):
            raise self._error(ApiFailure.REFUSED, f"the path {place!r} leads out of where it should")
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
    answer: Answer | None = None
    error: ApiError | None = None
    given_up: bool = False

    @property
    def method(self) -> str:
        return self.request.method

    def remembered(self, error: ApiError) -> ApiError:
        """Once uncertain, always uncertain: a later try that never left does not undo an earlier one."""
        error.uncertain = error.uncertain or (self.error is not None and self.error.uncertain)
        self.error = error
        return error

    def worth_another_try(self, error: BaseException) -> bool:
        """In place and at once: only what was not done for sure, or may be done twice, and is soon over."""
        if self.given_up or not isinstance(error, ApiError) or (error.retry_after or 0.0) > IN_PLACE_WAIT:
            return False
        if error.failure is ApiFailure.UNREACHABLE:
            return True
        if error.status in (429, 503) and error.failure in WAITED_FOR and error.retry_after is not None:
            return True
        return self.repeatable and error.failure in (ApiFailure.UNAVAILABLE, ApiFailure.UNANSWERED)


@lru_cache(maxsize=256)
def _redactor(secrets: frozenset[str]) -> Redactor:
    """Prepared once a connection: every form of every secret would otherwise be made anew for each action."""
    return Redactor(secrets)


def failure_of(status: int) -> ApiFailure:
    """What a status code means that is no success."""
    return FAILURES.get(status, ApiFailure.UNAVAILABLE if status >= 500 else ApiFailure.REFUSED)


def outcome_of(error: ApiError) -> Outcome:
    """What a failed call means for the pace of the next ones."""
    if error.status == 403 and error.failure is ApiFailure.UNAUTHORIZED:
        return Outcome.FORBIDDEN
    if error.failure in OUTCOMES:
        return OUTCOMES[error.failure]
    return Outcome.REFUSED if error.status and 400 <= error.status < 500 else Outcome.OK


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _climbs(path: str) -> bool:
    """`/tickets/../users/1`, in any spelling: an id that came from outside must not choose the endpoint."""
    if "." not in path and "%" not in path:
        return False
    return not {".", ".."}.isdisjoint(unquote(path).replace("\\", "/").split("/"))


def _plain(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value
