"""How are our actions done at Zendesk, how is it seen that one was done already, and what do its errors mean?

https://developer.zendesk.com/api-reference/ticketing/tickets/tickets/
https://developer.zendesk.com/api-reference/ticketing/introduction/ (idempotency, errors)
"""

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import phonenumbers

from gateway.api import (
    JSON,
    Action,
    AddComment,
    AddTags,
    Answer,
    ApiClient,
    ApiError,
    ApiFailure,
    AssignTo,
    Contact,
    CreateTicket,
    Receipt,
    RemoveTags,
    SaveContact,
    SetFields,
    SetPriority,
    SetStatus,
    Status,
)

from .accept import decimal
from .collect import pages

if TYPE_CHECKING:
    from . import Settings

STATUSES = {
    Status.NEW: "open",  # no ticket can be put back to new
    Status.OPEN: "open",
    Status.PENDING: "pending",
    Status.ON_HOLD: "hold",
    Status.RESOLVED: "solved",
    Status.CLOSED: "closed",
}
WORDS = {"new", "open", "pending", "hold", "solved", "closed"}
MARKER = "gateway_action"
AUDIT_PAGES = 5  # of a hundred audits: an interrupted comment is looked for among the newest

FAILURES = {
    400: ApiFailure.REFUSED, 401: ApiFailure.UNAUTHORIZED, 403: ApiFailure.UNAUTHORIZED,
    404: ApiFailure.MISSING, 409: ApiFailure.CONFLICT, 429: ApiFailure.THROTTLED,
}  # fmt: skip

_SPACES = re.compile(r"\s+")
_NOT_IN_TAGS = re.compile(r"[^\w/:-]")


def normal_tag(tag: str) -> str:
    """The tag as Zendesk keeps it: lower case; a space would make two tags of one; signs as `#` disappear.

    https://support.zendesk.com/hc/en-us/articles/4408888486170-About-tags
    """
    return _NOT_IN_TAGS.sub("", _SPACES.sub("_", tag.strip()).lower())


def perform(action: Action, api: ApiClient) -> Receipt | None:
    """Raises ApiError. Absolute writes may be repeated; a comment has no key and never is."""
    settings: Settings = api.connection.settings
    match action:
        case CreateTicket():
            return _create(action, api, settings)
        case AddComment():
            return _comment(action, api, settings)
        case AddTags(tags=tags):
            api.call("PUT", f"{_path(action)}/tags.json", json={"tags": _tags(tags)}, repeatable=True)
            return _receipt(None, settings, action.ticket.id)
        case RemoveTags(tags=tags):
            api.call("DELETE", f"{_path(action)}/tags.json", json={"tags": _tags(tags)}, repeatable=True)
            return _receipt(None, settings, action.ticket.id)
        case SetStatus() | SetPriority() | AssignTo() | SetFields():
            wanted = _wanted(action, api, settings)
            if wanted is None:
                return None
            api.call("PUT", f"{_path(action)}.json", json={"ticket": wanted}, repeatable=True)
            return _receipt(None, settings, action.ticket.id)
        case SaveContact(contact=contact):
            return Receipt(remote_id=str(_save_contact(contact, api, settings)))
        case _:
            return None


def find_effect(action: Action, api: ApiClient) -> Receipt | None:
    """Saving a contact again does no harm, so that is not looked for."""
    settings: Settings = api.connection.settings
    match action:
        case CreateTicket() if action.id:
            found = api.get("/tickets.json", external_id=action.id).body.get("tickets")
            return _receipt(str(found[0]["id"]), settings) if found else None
        case AddComment() if action.id:
            return _find_comment(action, api, settings)
        case AddTags(tags=tags) | RemoveTags(tags=tags):
            present = set(api.get(f"{_path(action)}/tags.json").body["tags"])
            done = present.issuperset if isinstance(action, AddTags) else present.isdisjoint
            return _receipt(None, settings, action.ticket.id) if done(_tags(tags)) else None
        case SetStatus() | SetPriority() | AssignTo() | SetFields():
            wanted = _wanted(action, api, settings)
            is_so = wanted is not None and _is_so(wanted, api.get(f"{_path(action)}.json").body["ticket"])
            return _receipt(None, settings, action.ticket.id) if is_so else None
        case _:
            return None


# --- a new ticket -------------------------------------------------------------------------------------------


def _create(action: CreateTicket, api: ApiClient, settings: "Settings") -> Receipt:
    """The idempotency key is kept for two hours; `external_id` finds the ticket after that too.

    The submitter becomes the author of the first comment: it is ours, and comes back recognised as ours.
    """
    ticket: dict[str, JSON] = {
        "subject": action.subject,
        "comment": {_body_key(action.is_html): action.description, "public": True},
        "tags": _tags(action.tags),
        "external_id": action.id or None,
        "priority": action.priority,
        "type": action.type.lower() if action.type else None,
        "group_id": _group(action.team, settings),
        **_assignee(action.assignee),
        **_requester(action.contact, api, settings),
        "submitter_id": int(settings.user_id) if settings.user_id else None,
        "custom_fields": _custom_fields(action.custom_fields, settings),
    }
    sent = {name: value for name, value in ticket.items() if value not in (None, [])}
    answer = api.call("POST", "/tickets.json", json={"ticket": sent}, idempotency_key=action.id or None)
    return _receipt(str(answer.body["ticket"]["id"]), settings)


def _requester(contact: Contact | None, api: ApiClient, settings: "Settings") -> dict[str, JSON]:
    """Who the ticket is for. Inline, a requester has a name and an e-mail only: a phone costs a call or two.

    Whoever is known already is not renamed, and keeps the phone that Zendesk has. Without a contact the agent
    whose token this is requests the ticket. `contact.id` may be another system's, so it is not looked at.
    """
    if contact is None or not (contact.name or contact.email or contact.phones or contact.document):
        return {}
    if contact.email and not contact.phones:
        return {"requester": {"name": contact.name or contact.email, "email": contact.email}}
    if not contact.phones and not contact.document:
        return {"requester": {"name": contact.name}}
    found = _find_user(contact, api, settings)
    if found is None:
        return {"requester_id": _new_user(contact, api, settings)}
    if contact.phones and not found.get("phone"):
        _change_user(found["id"], {"phone": _e164(contact.phones[0], settings)}, api)
    return {"requester_id": found["id"]}


def _find_user(contact: Contact, api: ApiClient, settings: "Settings") -> dict[str, Any] | None:
    """By e-mail; by the document, where the company keeps it as `external_id`; by phone."""
    if contact.email:
        for user in _search(api, query=f"email:{contact.email}"):
            if str(user.get("email")).casefold() == contact.email.casefold():
                return user
    if contact.document:
        for user in _search(api, external_id=contact.document):
            return user
    if not contact.email:
        for phone in contact.phones:
            for user in _search(api, query=f'role:end-user phone:"{_e164(phone, settings)}"'):
                return user
    return None


def _search(api: ApiClient, **by: str) -> list[dict[str, Any]]:
    return list(api.get("/users/search.json", **by).body.get("users") or ())


def _save_contact(contact: Contact, api: ApiClient, settings: "Settings") -> int:
    user_id = decimal(contact.id)
    if user_id is None and not (contact.name and contact.email):
        found = _find_user(contact, api, settings)
        user_id = str(found["id"]) if found else None
    if user_id is None:
        return _new_user(contact, api, settings)
    _change_user(int(user_id), _user(contact, settings), api)
    return int(user_id)


def _new_user(contact: Contact, api: ApiClient, settings: "Settings") -> int:
    """Matched again by e-mail or external id, never by phone: so whoever has no e-mail gets an external id.

    `role` is left out: a new user becomes an end user, and a colleague with that e-mail stays an agent.
    """
    user = _user(contact, settings)
    if not contact.email:
        user["external_id"] = contact.document or user.get("phone")
    named = contact.name or contact.email or user["external_id"]
    if not named or not (contact.email or user["external_id"]):
        raise ApiError(ApiFailure.REFUSED, "Zendesk: a contact needs an e-mail, a phone or a document")
    user |= {"name": named, "skip_verify_email": True}
    saved = api.call("POST", "/users/create_or_update.json", json={"user": user}, repeatable=True)
    return int(saved.body["user"]["id"])


def _change_user(user_id: int, user: Mapping[str, JSON], api: ApiClient) -> None:
    api.call("PUT", f"/users/{user_id}.json", json={"user": dict(user)}, repeatable=True)


def _user(contact: Contact, settings: "Settings") -> dict[str, JSON]:
    phone = _e164(contact.phones[0], settings) if contact.phones else None
    known = {
        "name": contact.name,
        "email": contact.email,
        "phone": phone,
        "user_fields": contact.custom_fields,
    }
    return {name: value for name, value in known.items() if value}


def _e164(phone: str, settings: "Settings") -> str:
    try:
        number = phonenumbers.parse(phone, settings.phone_region)
    except phonenumbers.NumberParseException:
        return phone
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


# --- a ticket that exists -----------------------------------------------------------------------------------


def _comment(action: AddComment, api: ApiClient, settings: "Settings") -> Receipt:
    """A retried PUT would say it twice, so the action's id is left in the audit, where nobody reads it."""
    comment = {_body_key(action.is_html): action.body, "public": not action.is_private}
    change: dict[str, JSON] = {"comment": comment}
    if action.id:
        change["metadata"] = {MARKER: action.id}
    answer = api.call("PUT", f"{_path(action)}.json", json={"ticket": change}, repeatable=False)
    return _receipt(_comment_id((answer.body or {}).get("audit") or {}), settings, action.ticket.id)


def _find_comment(action: AddComment, api: ApiClient, settings: "Settings") -> Receipt | None:
    newest_first = pages(api, f"{_path(action)}/audits.json", sort="-created_at")
    for _, page in zip(range(AUDIT_PAGES), newest_first, strict=False):
        for audit in page.get("audits") or ():
            custom = (audit.get("metadata") or {}).get("custom") or {}
            if custom.get(MARKER) == action.id:
                return _receipt(_comment_id(audit), settings, action.ticket.id)
    return None


def _comment_id(audit: Mapping[str, Any]) -> str | None:
    said = [event for event in audit.get("events") or () if event.get("type") == "Comment"]
    return str(said[0]["id"]) if said else None


def _wanted(
    action: SetStatus | SetPriority | AssignTo | SetFields, api: ApiClient, settings: "Settings"
) -> dict[str, JSON] | None:
    """What the ticket shall be, in the fields of an update."""
    match action:
        case SetStatus():
            return _status(action, api)
        case SetPriority(priority=priority):
            return {"priority": priority.value}
        case SetFields(fields=fields):
            return {"custom_fields": _custom_fields(fields, settings)}
        case AssignTo(assignee=None, team=None):
            return {"assignee_id": None}  # the group keeps the ticket: it is back in its queue
        case AssignTo(assignee=assignee, team=team):
            group = _group(team, settings)
            return {**_assignee(assignee), **({"group_id": group} if group else {})}


def _status(action: SetStatus, api: ApiClient) -> dict[str, JSON] | None:
    label = (action.remote_status or "").strip()
    if not label:
        word = STATUSES.get(action.status)
        return {"status": word} if word else None
    if label.lower() in WORDS:
        return {"status": label.lower()}
    if decimal(label):
        return {"custom_status_id": int(label)}
    for custom in api.get("/custom_statuses.json").body.get("custom_statuses") or ():
        if str(custom.get("agent_label", "")).casefold() == label.casefold():
            return {"custom_status_id": custom["id"]}
    raise ApiError(ApiFailure.REFUSED, f"Zendesk: the account has no ticket status {label!r}")


def _is_so(wanted: Mapping[str, Any], ticket: Mapping[str, Any]) -> bool:
    fields = {field["id"]: field.get("value") for field in ticket.get("custom_fields") or ()}
    for name, value in wanted.items():
        if name == "custom_fields":
            if any(fields.get(field["id"]) != field["value"] for field in value):
                return False
        elif name not in ticket or ticket[name] != value:  # assignee_email is never told back
            return False
    return True


def _group(team: str | None, settings: "Settings") -> int | None:
    if team is None:
        return None
    if team in settings.groups:
        return settings.groups[team]
    if decimal(team):
        return int(team)
    raise ApiError(ApiFailure.REFUSED, f"Zendesk: team {team!r} is not in the connection's `groups`")


def _assignee(assignee: str | None) -> dict[str, JSON]:
    if assignee is None:
        return {}
    if "@" in assignee:
        return {"assignee_email": assignee}
    if decimal(assignee):
        return {"assignee_id": int(assignee)}
    raise ApiError(
        ApiFailure.REFUSED, f"Zendesk: assignee {assignee!r} is neither an agent's id nor an e-mail"
    )


def _custom_fields(fields: Mapping[str, JSON], settings: "Settings") -> list[JSON]:
    unknown = sorted(name for name in fields if name not in settings.custom_fields and not decimal(name))
    if unknown:
        raise ApiError(
            ApiFailure.REFUSED, f"Zendesk: not in the connection's `custom_fields`: {', '.join(unknown)}"
        )
    return [
        {"id": settings.custom_fields.get(name) or int(name), "value": value}
        for name, value in fields.items()
    ]


def _tags(tags: Iterable[str]) -> list[str]:
    return sorted({normal_tag(tag) for tag in tags} - {""})


def _body_key(is_html: bool) -> str:
    return "html_body" if is_html else "body"


def _path(action: Any) -> str:
    return f"/tickets/{action.ticket.id}"


def _receipt(remote_id: str | None, settings: "Settings", ticket_id: str | None = None) -> Receipt:
    shown = ticket_id or remote_id
    return Receipt(remote_id=remote_id, url=f"https://{settings.subdomain}.zendesk.com/agent/tickets/{shown}")


# --- errors -------------------------------------------------------------------------------------------------


def explain(response: Answer) -> ApiError | None:
    """`error` is a word with a `description`, or `{"title", "message"}`; 5xx is often an HTML page."""
    status, body = response.status, response.body
    if status >= 500 and not isinstance(body, dict):
        return ApiError(ApiFailure.UNAVAILABLE, "an error page instead of an answer", status=status)
    failure = FAILURES.get(status, ApiFailure.UNAVAILABLE if status >= 500 else ApiFailure.REFUSED)
    if not isinstance(body, dict):
        return None
    error: Any = body.get("error")
    said = body.get("description") or body.get("error_description")
    if isinstance(error, dict):
        error, said = error.get("title"), error.get("message")
    details = _details(body.get("details"))
    if "closed prevents ticket update" in details:
        return ApiError(
            ApiFailure.REFUSED, "the ticket is closed and cannot be changed; open a follow-up", status=status
        )
    if error == "IdempotentRequestError":
        # An earlier attempt got through, and its requester is found otherwise now: look for its ticket.
        return ApiError(
            ApiFailure.CONFLICT, "this ticket was asked for already", status=status, uncertain=True
        )
    parts = [part for part in (error, said, details) if isinstance(part, str) and part]
    return ApiError(failure, ": ".join(parts)[:500], status=status) if parts else None


def _details(details: Any) -> str:
    """`{field: [{"description", "error"?}]}` -> one line."""
    if not isinstance(details, dict):
        return ""
    found = [
        str(reason.get("description") or reason.get("error") or "")
        if isinstance(reason, dict)
        else str(reason)
        for reasons in details.values()
        for reason in (reasons if isinstance(reasons, list) else [reasons])
    ]
    return "; ".join(filter(None, found))
