"""What do Intercom's errors mean?

https://developers.intercom.com/docs/references/rest-api/errors/error-codes
"""

import re
from typing import Any

from gateway.api import Answer, ApiError, ApiFailure

FAILURES = {
    401: ApiFailure.UNAUTHORIZED, 403: ApiFailure.UNAUTHORIZED, 404: ApiFailure.MISSING, 409: ApiFailure.CONFLICT,
    429: ApiFailure.THROTTLED,
}  # fmt: skip
CODES = {
    "assignee_not_found": ApiFailure.REFUSED,  # the conversation is there, the assignee is not
    "rate_limit_exceeded": ApiFailure.THROTTLED,
    "token_suspended": ApiFailure.UNAUTHORIZED,
    "unauthorized": ApiFailure.UNAUTHORIZED,
}
ARCHIVED = "archived contact"

_EXISTING = re.compile(r"\bid=([0-9a-f]{24})\b")


def explain(response: Answer) -> ApiError | None:
    """`{"type": "error.list", "request_id", "errors": [{"code", "message", "field"?}]}`."""
    body = response.body
    rows = body.get("errors") if isinstance(body, dict) else None
    errors = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    if not errors:
        return None
    status = response.status
    failure = FAILURES.get(status, ApiFailure.UNAVAILABLE if status >= 500 else ApiFailure.REFUSED)
    failure = CODES.get(str(errors[0].get("code")), failure)
    said = "; ".join(map(_line, errors))[:500]
    request_id = body.get("request_id")
    existing = _EXISTING.search(said)
    return ApiError(
        failure,
        f"{said} (request_id {request_id})" if request_id else said,
        status=status,
        existing=existing[1] if existing and failure is ApiFailure.CONFLICT else None,
    )


def _line(error: dict[str, Any]) -> str:
    words = [str(error[name]) for name in ("code", "message") if error.get(name)]
    field = f" ({error['field']})" if error.get("field") else ""
    return ": ".join(words) + field
