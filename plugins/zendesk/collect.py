"""What does Zendesk's API tell of a ticket beyond the webhook, and which tickets changed?

https://developer.zendesk.com/api-reference/ticketing/tickets/tickets/#show-ticket
https://developer.zendesk.com/api-reference/ticketing/ticket-management/incremental_exports/
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from gateway.api import (
    JSON,
    ApiClient,
    Attachment,
    ChangedRef,
    Comment,
    Connection,
    Contact,
    Person,
    Priority,
    Snapshot,
    Status,
    Ticket,
    TicketRef,
    sanitised,
)

from .accept import decimal

if TYPE_CHECKING:
    from . import Settings

PAGE_SIZE = 100
MAX_PAGES = 50  # a ticket holds 5,000 comments at most
SETTLED = timedelta(minutes=2)
"""The export leaves out the last minute and refuses to start in it, so every look overlaps the one before."""

STATUSES = {
    "new": Status.NEW,
    "open": Status.OPEN,
    "pending": Status.PENDING,
    "hold": Status.ON_HOLD,
    "solved": Status.RESOLVED,
    "closed": Status.CLOSED,
}
ARCHIVED = "archived"  # only events say so; the API goes on saying closed
GONE = {"deleted", "scrubbed"}

# Events name the channel of a ticket's creation otherwise than the API does.
CHANNELS = {"web_service": "api", "mail": "email", "web_form": "web"}

PRIORITIES = {
    "low": Priority.LOW, "normal": Priority.NORMAL, "high": Priority.HIGH, "urgent": Priority.URGENT,
}  # fmt: skip


def ticket(ref: TicketRef, api: ApiClient) -> JSON:
    """`{"ticket": {...}, "users": [...], "groups": [...], "comments": [...]}`, comments oldest first.

    Raises ApiError; a deleted ticket is MISSING.
    """
    shown = api.get(f"/tickets/{ref.id}.json", include="users,groups").body
    users = {user["id"]: user for user in shown.get("users") or ()}
    comments: list[JSON] = []
    for page in pages(api, f"/tickets/{ref.id}/comments.json", include="users"):
        comments.extend(page.get("comments") or ())
        users.update({user["id"]: user for user in page.get("users") or ()})
    return {
        "ticket": shown["ticket"],
        "users": [users[user_id] for user_id in sorted(users)],
        "groups": shown.get("groups") or [],
        "comments": comments,
    }


def pages(api: ApiClient, path: str, **params: Any) -> Iterator[dict[str, Any]]:
    """The pages of a list, by cursor, at most MAX_PAGES. `links.next` is there even on the last page."""
    cursor: dict[str, str] = {}
    for _ in range(MAX_PAGES):
        page = api.get(path, **params, **{"page[size]": PAGE_SIZE}, **cursor).body
        yield page
        meta = page.get("meta") or {}
        if not meta.get("has_more") or not meta.get("after_cursor"):
            return
        cursor = {"page[after]": meta["after_cursor"]}


def changed(since: datetime, api: ApiClient) -> Iterator[TicketRef]:
    """Each ticket that changed after `since`, once; deleted ones too. The export allows 10 calls a minute."""
    seen: set[int] = set()
    params: dict[str, Any] = {"start_time": int((since - SETTLED).timestamp())}
    while True:
        page = api.get("/incremental/tickets/cursor.json", **params).body
        for found in page.get("tickets") or ():
            if found["id"] not in seen:
                seen.add(found["id"])
                yield ChangedRef(api.connection.name, str(found["id"]), instant(found["updated_at"]))
        cursor = page.get("after_cursor")
        if page.get("end_of_stream") or not cursor or cursor == params.get("cursor"):
            return
        params = {"cursor": cursor}


def read_snapshot(
    collected: Mapping[str, Any], before: Snapshot | None, connection: "Connection[Settings]"
) -> Snapshot:
    """What `collect_ticket` gave, in our words. Another shape raises KeyError, TypeError or ValueError."""
    source = collected["ticket"]
    users = {str(user["id"]): user for user in collected.get("users") or ()}
    ref = TicketRef(connection.name, str(source["id"]))
    ticket = read_ticket(source, ref, users, before.ticket if before else None, connection.settings)
    comments = tuple(_read_comment(comment, users) for comment in collected.get("comments") or ())
    heard = _heard(comments, connection.settings.own_ids())
    return Snapshot(ticket=ticket.model_copy(update=heard), comments=comments)


def _heard(comments: Iterable[Comment], own_ids: frozenset[str]) -> dict[str, Any]:
    """Who was heard when. What we wrote ourselves is no agent's answer."""
    public = [c for c in comments if not c.is_private and c.author and c.author.id not in own_ids]
    by_agents = [c.created_at for c in public if c.author and c.author.is_agent]
    by_customers = [c.created_at for c in public if c.author and c.author.is_agent is False]
    return {
        "first_agent_comment_at": min(filter(None, by_agents), default=None),
        "last_agent_comment_at": max(filter(None, by_agents), default=None),
        "last_customer_comment_at": max(filter(None, by_customers), default=None),
    }


def read_ticket(
    source: Mapping[str, Any], ref: TicketRef, users: Mapping[str, Any], before: Ticket | None,
    settings: "Settings",
) -> Ticket:  # fmt: skip
    """Only what `source` says is set. Ids, words and times may be in the API's or in the envelopes' form."""
    agent_url = f"https://{settings.subdomain}.zendesk.com/agent/tickets/{ref.id}"  # their `url` is the API's
    known: dict[str, Any] = {"ref": ref, "url": agent_url}
    for theirs, (ours, read) in PLAIN.items():
        if theirs in source:
            known[ours] = read(source[theirs])
    known.update(_read_status(lower(source.get("status"))))
    if "priority" in source:
        word = lower(source["priority"])
        known |= {"priority": PRIORITIES.get(word or ""), "remote_priority": word}
    if "requester_id" in source:
        known["contact"] = _read_contact(source, users, before)
    if "assignee_id" in source:
        known["assignee"] = _read_assignee(decimal(source["assignee_id"]), users, before)
    if "group_id" in source:
        group = decimal(source["group_id"])
        known["team"] = team_names(settings).get(group, group) if group else None
    if "custom_fields" in source:
        remote = {str(field["id"]): field.get("value") for field in source["custom_fields"] or ()}
        names = field_names(settings)
        known["remote_fields"] = remote
        known["custom_fields"] = {names[key]: value for key, value in remote.items() if key in names}
    channel = (source.get("via") or {}).get("channel")
    if channel:
        known["channel"] = CHANNELS.get(str(channel), str(channel))
    return Ticket(**known)


def _read_status(word: str | None) -> dict[str, Any]:
    if word is None:
        return {}
    if word in GONE:
        return {"deleted": True}
    word = "closed" if word == ARCHIVED else word
    known: dict[str, Any] = {"remote_status": word, "deleted": False}
    return known | ({"status": STATUSES[word]} if word in STATUSES else {})


def _read_contact(
    source: Mapping[str, Any], users: Mapping[str, Any], before: Ticket | None
) -> Contact | None:
    contact_id = decimal(source["requester_id"])
    if contact_id is None:
        return None
    user = users.get(contact_id)
    if user is None:  # an id alone must not make us forget the name and phone of the same person
        old = before.contact if before else None
        return old if old and old.id == contact_id else Contact(id=contact_id)
    caller = ((source.get("via") or {}).get("source") or {}).get("from") or {}
    phones = dict.fromkeys(phone for phone in (user.get("phone"), caller.get("phone")) if phone)
    known = {
        "id": contact_id,
        "name": user.get("name"),
        "email": user.get("email") or None,
        "phones": tuple(phones),
    }
    return Contact(**known, **({"custom_fields": user["user_fields"]} if user.get("user_fields") else {}))


def _read_assignee(agent: str | None, users: Mapping[str, Any], before: Ticket | None) -> Person | None:
    if agent is None:
        return None
    old = before.assignee if before else None
    return person_of(agent, users) or (old if old and old.id == agent else Person(id=agent))


def _read_comment(comment: Mapping[str, Any], users: Mapping[str, Any]) -> Comment:
    author = decimal(comment.get("author_id"))
    html = comment.get("html_body")
    return Comment(
        id=str(comment["id"]),
        body=comment.get("body") or comment.get("plain_body") or "",
        html=sanitised(html) if html else None,
        author=(person_of(author, users) or Person(id=author)) if author else None,
        is_private=comment.get("public") is not True,
        created_at=moment(comment.get("created_at")),
        attachments=tuple(
            Attachment(
                name=str(file.get("file_name") or file.get("id")),
                url=file.get("content_url"),
                content_type=file.get("content_type"),
            )
            for file in comment.get("attachments") or ()
        ),
    )


def person_of(user_id: str, users: Mapping[str, Any]) -> Person | None:
    user = users.get(user_id)
    if user is None:
        return None
    return Person(
        id=user_id,
        name=user.get("name"),
        email=user.get("email") or None,
        phones=(user["phone"],) if user.get("phone") else (),
        is_agent=is_staff(user),
    )


def is_staff(user: Mapping[str, Any]) -> bool:
    return lower(user.get("role")) in {"agent", "admin"}


def team_names(settings: "Settings") -> dict[str, str]:
    return {str(group): name for name, group in settings.groups.items()}


def field_names(settings: "Settings") -> dict[str, str]:
    return {str(field): name for name, field in settings.custom_fields.items()}


def lower(value: object) -> str | None:
    return value.lower() if isinstance(value, str) and value else None


def text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def tags_of(value: object) -> frozenset[str]:
    """A list; null for none; and one text with spaces, as triggers write it, has been guarded against too."""
    if value is None or isinstance(value, str):
        return frozenset((value or "").split())
    return frozenset(map(str, value))  # type: ignore[call-overload]


def instant(value: object) -> datetime:
    """An RFC 3339 time with up to nine fractional digits. Raises ValueError, OverflowError or TypeError."""
    read = datetime.fromisoformat(value)  # type: ignore[arg-type]
    return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)


def moment(value: object) -> datetime | None:
    return instant(value) if value else None


# What the API's tickets and the envelopes' details call by the same names: theirs -> ours and how it is read.
PLAIN: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "subject": ("subject", text),
    "description": ("description", text),
    "type": ("type", lower),
    "tags": ("tags", tags_of),
    "created_at": ("remote_created_at", moment),
    "updated_at": ("remote_updated_at", moment),
    "due_at": ("due_at", moment),
}
