"""How is a REST method of the portal called, and what do its errors mean?

https://apidocs.bitrix24.com/local-integrations/local-webhooks.html (calls),
https://apidocs.bitrix24.com/limits.html and /error-codes.html (errors). Every call is a POST, reads too; an error may
come with any status, also 200, so `error` is looked for first.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from gateway.api import JSON, Answer, ApiClient, ApiError, ApiFailure

if TYPE_CHECKING:
    from . import Settings

PAGE = 50  # fixed by Bitrix24
MOST_PAGES = 200

FULL_BUCKET = 2.0
"""Seconds after QUERY_LIMIT_EXCEEDED: two calls a second drain. There is no Retry-After."""

SLOW_METHOD = 60.0
"""Seconds after OPERATION_TIME_LIMIT: baskets of a minute are forgotten one by one."""

BLOCKED = 900.0
"""Seconds after OVERLOAD_LIMIT: somebody at Bitrix24 has to lift it."""

CODES: dict[str, tuple[ApiFailure, float | None, str]] = {
    "QUERY_LIMIT_EXCEEDED": (ApiFailure.THROTTLED, FULL_BUCKET, ""),
    "OPERATION_TIME_LIMIT": (ApiFailure.THROTTLED, SLOW_METHOD, ""),
    "OVERLOAD_LIMIT": (
        ApiFailure.THROTTLED, BLOCKED, "Bitrix24 has blocked this portal's REST API by hand: ask its support",
    ),
    "EXPIRED_TOKEN": (ApiFailure.UNAUTHORIZED, None, "make a new inbound webhook"),
    "INVALID_TOKEN": (ApiFailure.UNAUTHORIZED, None, "check webhook_secret and user_id"),
    "NO_AUTH_FOUND": (ApiFailure.UNAUTHORIZED, None, "check webhook_secret and user_id"),
    "INVALID_CREDENTIALS": (ApiFailure.UNAUTHORIZED, None, "the webhook's user has no right to this"),
    "INSUFFICIENT_SCOPE": (ApiFailure.UNAUTHORIZED, None, "add the missing permission to the inbound webhook"),
    "ACCESS_DENIED": (
        ApiFailure.UNAUTHORIZED, None, "the webhook's user lacks the right, or the plan has no REST API",
    ),
    "USER_ACCESS_ERROR": (ApiFailure.UNAUTHORIZED, None, "the webhook's user may not use this"),
    "ERROR_METHOD_NOT_FOUND": (
        ApiFailure.UNAUTHORIZED, None, "the method is hidden while its permission is not granted to the webhook",
    ),
    "NOT_FOUND": (ApiFailure.MISSING, None, ""),
    "ERROR_NOT_FOUND": (ApiFailure.MISSING, None, ""),
    "INTERNAL_SERVER_ERROR": (ApiFailure.UNAVAILABLE, None, ""),
    "ERROR_UNEXPECTED_ANSWER": (ApiFailure.UNAVAILABLE, None, ""),
}  # fmt: skip

STATUSES = {
    401: ApiFailure.UNAUTHORIZED, 403: ApiFailure.UNAUTHORIZED, 404: ApiFailure.MISSING,
    409: ApiFailure.CONFLICT, 429: ApiFailure.THROTTLED,
}  # fmt: skip


def read(api: ApiClient, method: str, **asked: Any) -> JSON:
    """What a method that only reads answers, its `result`. Raises ApiError."""
    return _result(_answer(api, method, asked, repeatable=True), method)


def write(api: ApiClient, method: str, *, repeatable: bool, **given: Any) -> JSON:
    """What a method that changes something answers. `repeatable` = an absolute change. Raises ApiError.

    v2 knows no idempotency: what must not happen twice is looked for before it is sent again.
    """
    return _result(_answer(api, method, given, repeatable=repeatable), method, wrote=not repeatable)


def write_v3(api: ApiClient, method: str, *, key: str, **given: Any) -> JSON:
    """The same in REST v3, which keeps `key` for 24 hours and answers a copy without acting."""
    settings: Settings = api.connection.settings
    secret = settings.webhook_secret.get_secret_value()
    url = f"{settings.rest_url()}/api/{settings.user_id}/{secret}/{method}"
    answer = api.call("POST", url, json=given, idempotency_key=key or None)
    return _result(_checked(answer, api), method, wrote=not key)


def pages(api: ApiClient, method: str, within: str | None = None, **asked: Any) -> Iterator[list[JSON]]:
    """The pages of a list: `result`, or `result[within]`; the last one has no `next`."""
    start: Any = 0
    for _ in range(MOST_PAGES):
        answer = _answer(api, method, {**asked, "start": start}, repeatable=True)
        found = _result(answer, method)
        rows = found.get(within) if within and isinstance(found, dict) else found
        yield [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
        following = answer.body.get("next")
        if not isinstance(following, int) or following <= start:
            return
        start = following


def _answer(api: ApiClient, method: str, asked: Mapping[str, Any], *, repeatable: bool) -> Answer:
    return _checked(api.call("POST", f"/{method}", json=dict(asked), repeatable=repeatable), api)


def _checked(answer: Answer, api: ApiClient) -> Answer:
    """Some methods say "200" to a failure: for the client a success, so what is quoted there is still unredacted."""
    if not isinstance(answer.body, dict) or "error" not in answer.body or (error := explain(answer)) is None:
        return answer
    secret = api.connection.settings.webhook_secret.get_secret_value()
    raise ApiError(
        error.failure, f"Bitrix24: {str(error).replace(secret, '[redacted]')}", status=error.status,
        retry_after=error.retry_after, uncertain=error.uncertain,
    )  # fmt: skip


def _result(answer: Answer, method: str, *, wrote: bool = False) -> JSON:
    if not isinstance(answer.body, dict) or "result" not in answer.body:
        what = f"Bitrix24 answered {method} with something that is no answer of its REST API"
        raise ApiError(ApiFailure.UNAVAILABLE, what, status=answer.status, uncertain=wrote)
    return answer.body["result"]


def missing(what: str) -> ApiError:
    """For methods that answer 200 with nothing in it: it does not exist, or our user may not see it."""
    return ApiError(
        ApiFailure.MISSING, f"Bitrix24 shows no {what}: it does not exist, or our user may not see it"
    )


def explain(answer: Answer) -> ApiError | None:
    """`{"error": "CODE", "error_description": "text"}`; in v3 `error` is an object. None = the status says it all."""
    if 300 <= answer.status < 400:
        what = "the portal has another address now: set portal_host to it, and the old one as a former host"
        return ApiError(ApiFailure.UNAUTHORIZED, what, status=answer.status)
    body = answer.body
    if not isinstance(body, dict) or "error" not in body:
        return None
    code, text = _told(body)
    failure, wait, advice = CODES.get(code.upper(), (_failure(answer.status, text), None, ""))
    said = " ".join(filter(None, [code, text]))[:300] or "an error without a word"
    return ApiError(
        failure, f"{said} ({advice})" if advice else said, status=answer.status,
        retry_after=wait, uncertain=failure is ApiFailure.UNAVAILABLE and answer.status == 200,
    )  # fmt: skip


def _told(body: Mapping[str, Any]) -> tuple[str, str]:
    error = body["error"]
    if isinstance(error, Mapping):
        fields = [
            str(each.get("message") or "")
            for each in error.get("validation") or ()
            if isinstance(each, Mapping)
        ]
        return str(error.get("code") or ""), " ".join([str(error.get("message") or ""), *fields]).strip()
    return str(error or ""), str(body.get("error_description") or "").strip()


def _failure(status: int, text: str) -> ApiFailure:
    """By the status; an unknown id is a 400 whose code is empty."""
    if "not found" in text.lower() and status in (200, 400):
        return ApiFailure.MISSING
    if status >= 500:
        return ApiFailure.UNAVAILABLE
    return STATUSES.get(status, ApiFailure.REFUSED)
