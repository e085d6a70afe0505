"""How is an action done, found again and read back at a system that only templates know?"""

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, cast

from gateway.api import (
    JSON,
    Action,
    Answer,
    ApiClient,
    ApiError,
    ApiFailure,
    ApiSettings,
    ChangedRef,
    Connection,
    RateLimit,
    Receipt,
    TicketRef,
)

from .expression import holds, search
from .outbound import Changed, document_of
from .request import Lookup, Parts, Request, filled, filled_headers

if TYPE_CHECKING:
    from .settings import Settings

MOST_PAGES = 100
QUOTED = 200


def connect(connection: "Connection[Settings]") -> ApiSettings | None:
    """None where the system only sends."""
    settings, api = connection.settings, connection.settings.inbound.api
    if not settings.is_called:
        return None
    auth = None
    if api.basic_auth is not None:
        parts = {"user": api.basic_auth.user, "password": api.basic_auth.password}
        found = filled_headers(parts, {}, settings.secrets, "basic_auth")
        auth = (found.get("user", ""), found.get("password", ""))
    return ApiSettings(
        base_url=str(settings.inbound.base_url).rstrip("/"),
        auth=auth,
        headers={"accept": "application/json", **filled_headers(api.headers, {}, settings.secrets)},
        rate=RateLimit(calls=api.calls_per_minute, seconds=60, concurrency=api.concurrency),
        timeout=api.timeout_seconds,
        settles=api.settles_seconds,
    )


def perform(action: Action, api: ApiClient) -> Receipt | None:
    """None for a kind of action for which the settings have no request. Raises ApiError."""
    settings: Settings = api.connection.settings
    request = _request(settings, action)
    if request is None:
        return None
    told = document_of(action, settings.words, settings.custom_fields)
    headers = {request.idempotency_header: action.id} if request.idempotency_header and action.id else {}
    answer = _call(request, told, api, repeatable=request.may_repeat, **headers)
    seen = _seen(answer, told)
    if request.ok is not None and not holds(request.ok, seen):
        raise _refused(
            api, f"{action.kind}: answered {answer.status}, but not that it was done: {answer.text[:QUOTED]}"
        )
    return _receipt(request, seen)


def find_effect(action: Action, api: ApiClient) -> Receipt | None:
    """By the request's own lookup. Without one the same request may be sent again, or it could not be saved."""
    settings: Settings = api.connection.settings
    request = _request(settings, action)
    if request is None or request.find is None:
        return None
    told = document_of(action, settings.words, settings.custom_fields)
    try:
        answer = _call(request.find, told, api, repeatable=True)
    except ApiError as error:
        if error.failure is ApiFailure.MISSING:
            return None
        raise
    seen = _seen(answer, told)
    receipt = _receipt(request.find, seen)
    found = receipt.remote_id is not None if request.find.found is None else holds(request.find.found, seen)
    return receipt if found else None


def collect(ref: TicketRef, api: ApiClient) -> JSON:
    """The body of the answer; None where the settings do not say how to read it back."""
    settings: Settings = api.connection.settings
    parts = settings.inbound.collect
    if parts is None or not settings.reads_back:
        return None
    return _call(parts, {"id": ref.id}, api, repeatable=True).body


def changed(since: datetime, api: ApiClient) -> Iterator[TicketRef]:
    """The tickets that changed after `since`, page by page. Raises ApiError, also for an answer of another shape."""
    settings: Settings = api.connection.settings
    if settings.changed is None:
        return
    told = {"since": since.isoformat(), "since_unix": int(since.timestamp())}
    answer = _call(settings.changed, told, api, repeatable=True)
    for _ in range(MOST_PAGES):
        seen = _seen(answer, {})
        yield from _changed(settings.changed, api, seen)
        following = search(settings.changed.next, seen) if settings.changed.next else None
        if not isinstance(following, str) or not following:
            return
        answer = api.get(following)


def _changed(listing: Changed, api: ApiClient, seen: JSON) -> Iterator[TicketRef]:
    ids = search(listing.ids, seen)
    if not isinstance(ids, list):
        raise _refused(api, f"changed.ids: there is no list at {listing.ids!r} of the answer")
    times = search(listing.times, seen) if listing.times else None
    if not isinstance(times, list) or len(times) != len(ids):  # one that says no time is missing here
        times = [None] * len(ids)
    for id_, time in zip(ids, times, strict=True):
        moment, name = _moment(time), api.connection.name
        yield TicketRef(name, str(id_)) if moment is None else ChangedRef(name, str(id_), moment)


def _moment(told: JSON) -> datetime | None:
    try:
        moment = datetime.fromisoformat(told)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else None


def _request(settings: "Settings", action: Action) -> Request | None:
    return cast("dict[str, Request]", settings.requests).get(action.kind)


def _call(parts: Parts, told: dict[str, JSON], api: ApiClient, *, repeatable: bool, **headers: str) -> Answer:
    settings: Settings = api.connection.settings
    try:
        request = filled(parts, told, settings.secrets)
    except ValueError as error:
        raise _refused(api, f"the request cannot be made: {error}") from None
    return api.call(
        parts.method,
        request.path,
        params=request.params,
        json=request.body,
        form=request.form,
        headers=request.headers | headers,
        repeatable=repeatable,
    )


def _seen(answer: Answer, told: dict[str, JSON]) -> dict[str, JSON]:
    return {"status": answer.status, "headers": dict(answer.headers), "body": answer.body, "action": told}


def _receipt(request: Request | Lookup, seen: JSON) -> Receipt:
    return Receipt(remote_id=_one(request.remote_id, seen), url=_one(request.url, seen))


def _one(expression: str | None, seen: JSON) -> str | None:
    """The text or number that is there; nothing else is an id."""
    try:
        found = search(expression, seen) if expression is not None else None
    except ValueError:
        return None
    is_one = isinstance(found, str | int) and not isinstance(found, bool) and found != ""
    return str(found) if is_one else None


def _refused(api: ApiClient, what: str) -> ApiError:
    where = f"{api.connection.vendor} ({api.connection.tenant}/{api.connection.name})"
    return ApiError(ApiFailure.REFUSED, f"{where}: {' '.join(what.split())}")
