"""What do Freshdesk's refusals mean?  https://developers.freshdesk.com/api/#error

Validation: `{"description", "errors": [{"field", "message", "code"}]}`; all others: `{"code", "message"}`; a 404 has
no body at all.
"""

from typing import Any

from gateway.api import Answer, ApiError, ApiFailure

from .hint import decimal

FAILURES = {
    401: ApiFailure.UNAUTHORIZED,
    403: ApiFailure.UNAUTHORIZED,
    404: ApiFailure.MISSING,
    429: ApiFailure.THROTTLED,
}
DUPLICATE = "duplicate_value"
LONGEST = 500


def explain(response: Answer) -> ApiError | None:
    """Freshdesk's reasons in one line. A duplicate names what is there already in `existing`; told as 409 or as
    400, it will be refused again. Any other 409 may pass."""
    status, body = response.status, response.body
    if not isinstance(body, dict) or status < 400:
        return None
    found = body.get("errors")
    errors = [error for error in found if isinstance(error, dict)] if isinstance(found, list) else []
    duplicates = [error for error in errors if error.get("code") == DUPLICATE]
    said = "; ".join(filter(None, map(_reason, errors))) or _line(
        body.get("code"), body.get("message") or body.get("description")
    )
    if not said:
        return None
    failure = FAILURES.get(status, ApiFailure.UNAVAILABLE if status >= 500 else ApiFailure.REFUSED)
    if status == 409 and not duplicates:
        failure = ApiFailure.CONFLICT
    existing = next(filter(None, map(_existing, duplicates)), None)
    return ApiError(failure, said[:LONGEST], status=status, existing=existing)


def _reason(error: dict[str, Any]) -> str:
    """`status: It should be one of these values: '2,3,4,5' (invalid_value)`"""
    said = _line(error.get("field"), error.get("message"))
    code = error.get("code")
    return f"{said} ({code})" if isinstance(code, str) and said else said or _line(code, None)


def _line(name: object, message: object) -> str:
    return ": ".join(part for part in (name, message) if isinstance(part, str) and part)


def _existing(error: dict[str, Any]) -> str | None:
    known = error.get("additional_info")
    return decimal(known.get("user_id")) if isinstance(known, dict) else None
