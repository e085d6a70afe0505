"""What did the webhook leave out, and what did the API mean?

https://atendimento.movidesk.com/kb/article/256 (tickets), /kb/article/189 (persons)
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from gateway.api import JSON, Answer, ApiClient, ApiError, ApiFailure, TicketRef, html_to_text

PAGE = 100  # documented maximum; from 250 on, sporadic 500s
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
    """Tickets whose `lastUpdate` is after `since`. A page that is not full is the last one."""
    moment = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.00Z")  # without Z it would be misread
    skip = 0
    while True:
        page = listed(
            api, "/tickets", select="id,lastUpdate", where=f"lastUpdate gt {moment}", orderby="id asc",
            top=PAGE, skip=skip,
        )  # fmt: skip
        yield from (TicketRef(api.connection.name, str(row["id"])) for row in page)
        if len(page) < PAGE:
            return
        skip += PAGE


def listed(api: ApiClient, path: str, *, where: str, **options: Any) -> list[dict[str, Any]]:
    """Rows of a list by OData. Movidesk refuses a list of tickets without $select."""
    params = {"$filter": where} | {f"${name}": value for name, value in options.items()}
    rows = api.get(path, **params).body
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


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
