"""What did the webhook leave out, and what did the API mean?

https://atendimento.movidesk.com/kb/article/256 (tickets), /kb/article/189 (persons)
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from gateway.api import JSON, Answer, ApiClient, ApiError, ApiFailure, ChangedRef, TicketRef, html_to_text

from .convert import instant

PAGE = 100  # documented maximum; from 250 on, sporadic 500s
PAST = timedelta(days=89)  # documented: 90 days without change; from which hour on is not
PENALTY = 60.0  # seconds; the shortest of 60, 120, 300

# Links mailed to clients carry a token that opens the ticket to whoever has it.
_ACCESS_TOKEN = re.compile(r"(/Ticket/[^\s\"'<>?]*)\?token=[^\s\"'<>&]*", re.IGNORECASE)

FAILURES = {
    401: ApiFailure.UNAUTHORIZED,
    403: ApiFailure.UNAUTHORIZED,
    404: ApiFailure.MISSING,  # unknown id, or a replica that has not heard of a new ticket yet
    409: ApiFailure.CONFLICT,
    429: ApiFailure.THROTTLED,
}


def ticket(ref: TicketRef, api: ApiClient) -> JSON:
    """`{"ticket": ..., "person": ...}`; the person is the client's, read only when the ticket has no phone
    of it (`clients[].phone` often is null), as only 10 calls a minute are allowed."""
    found = read(ref.id, api)
    for action in found.get("actions") or ():
        for name in ("description", "htmlDescription"):
            if isinstance(action.get(name), str):
                action[name] = _ACCESS_TOKEN.sub(r"\1", action[name])
    return {"ticket": found, "person": _person(found, api)}


def read(ticket_id: str, api: ApiClient) -> dict[str, Any]:
    """The whole ticket. Tickets untouched for 90 days are only at /tickets/past. Raises ApiError."""
    try:
        return one(api.get("/tickets", id=ticket_id), f"ticket {ticket_id}")
    except ApiError as error:
        if error.failure is not ApiFailure.MISSING:
            raise
    return one(api.get("/tickets/past", id=ticket_id), f"ticket {ticket_id}")


def one(answer: Answer, what: str) -> dict[str, Any]:
    """The object that was asked for by id; an empty answer means the same as 404."""
    body = answer.body[0] if isinstance(answer.body, list) and answer.body else answer.body
    if not isinstance(body, dict) or not body:
        raise ApiError(ApiFailure.MISSING, f"Movidesk gave no {what}", status=answer.status)
    return body


def _person(found: dict[str, Any], api: ApiClient) -> JSON:
    clients = found.get("clients") or [{}]
    person_id = clients[0].get("id")
    if not person_id or clients[0].get("phone"):
        return None
    try:
        return one(api.get("/persons", id=person_id), f"person {person_id}")
    except ApiError as error:
        if error.failure is not ApiFailure.MISSING:
            raise
    return None


def changed(since: datetime, api: ApiClient) -> Iterator[TicketRef]:
    """Each ticket whose `lastUpdate` is after `since`, once; also those before it that a lagging replica may not
    have shown then. A call for each 100 tickets, and where `since` is that long ago, for the old ones as well."""
    since -= timedelta(seconds=api.connection.settings.replica_lag_seconds)
    seen: set[int] = set()
    for path in ("/tickets", "/tickets/past"):
        for answer in _pages(api, path, since):
            for row in (row for row in rows(answer) if row["id"] not in seen):
                seen.add(row["id"])
                yield _listed(api.connection.name, row)
        if since > _past_until(answer):
            return


def _listed(connection: str, row: Mapping[str, Any]) -> TicketRef:
    at = instant(row.get("lastUpdate"))
    return ChangedRef(connection, str(row["id"]), at) if at else TicketRef(connection, str(row["id"]))


def _pages(api: ApiClient, path: str, since: datetime) -> Iterator[Answer]:
    """From id to id: counting pages would skip a ticket whenever one of an earlier page leaves the list. A page that
    is not full is the last one."""
    where = f"lastUpdate gt {since.astimezone(UTC):%Y-%m-%dT%H:%M:%S.00Z}"  # without Z it would be misread
    options = {"select": "id,lastUpdate", "orderby": "id asc", "top": PAGE}
    answer = asked(api, path, where=where, **options)
    yield answer
    while len(found := rows(answer)) >= PAGE:
        answer = asked(api, path, where=f"{where} and id gt {found[-1]['id']}", **options)
        yield answer


def _past_until(answer: Answer) -> datetime:
    """Tickets last changed before this may be old ones by the vendor's clock; for ever if it does not say its time."""
    told = answer.headers.get("date")
    return parsedate_to_datetime(told) - PAST if told else datetime.max.replace(tzinfo=UTC)


def listed(api: ApiClient, path: str, *, where: str, **options: Any) -> list[dict[str, Any]]:
    """Rows of a list by OData."""
    return rows(asked(api, path, where=where, **options))


def asked(api: ApiClient, path: str, *, where: str, **options: Any) -> Answer:
    """A list by OData. Movidesk refuses one of tickets without $select."""
    return api.get(path, **{"$filter": where}, **{f"${name}": value for name, value in options.items()})


def rows(answer: Answer) -> list[dict[str, Any]]:
    return [row for row in answer.body if isinstance(row, dict)] if isinstance(answer.body, list) else []


def quoted(text: str) -> str:
    """An OData string."""
    return "'" + text.replace("'", "''") + "'"


def explained(response: Answer) -> ApiError | None:
    """Movidesk's reason in the error; a 5xx says all by its status.

    429 comes from two sources: the budget of calls, and "Too many failed requests" after 3 erroneous ones.
    """
    if response.status < 400 or response.status >= 500:
        return None
    wait = response.headers.get("retry-after", "")
    failure = FAILURES.get(response.status, ApiFailure.REFUSED)
    return ApiError(
        failure,
        (_message(response.body) or html_to_text(response.text))[:300],
        status=response.status,
        retry_after=(float(wait) if wait.isdecimal() else PENALTY)
        if failure is ApiFailure.THROTTLED
        else None,
    )


def _message(body: JSON) -> str:
    """`{"message"}`, `{"errorMessage", "propertyName"}`, a list of these, or a bare string."""
    match body:
        case str():
            return body
        case list():
            return "; ".join(filter(None, map(_message, body)))
        case {"errorMessage": str(message)}:
            return f"{body['propertyName']}: {message}" if body.get("propertyName") else message
        case {"message": str(message)}:
            return message
        case _:
            return ""
