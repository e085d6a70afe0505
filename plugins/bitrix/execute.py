"""How are our actions done at Bitrix24, and how is it seen that one was done already?

The prefix of a ticket's id says what it is: `task:8899`, `deal:1234`, `lead:77`, `contact:305`, `company:9`, `quote:5`,
`spa:1040:9` (a smart process), `chat:4321`.
"""

from typing import TYPE_CHECKING, Any

from gateway.api import (
    JSON,
    Action,
    AddComment,
    AddTags,
    ApiClient,
    ApiError,
    ApiFailure,
    AssignTo,
    CreateTicket,
    Priority,
    Receipt,
    RemoveTags,
    SaveContact,
    SetFields,
    SetPriority,
    SetStatus,
    Status,
)

from . import collect, comments, contacts, tasks, words
from .accept import decimal, parted
from .links import url_of
from .markup import mark, marked, to_bbcode
from .portal import missing, pages, read, write

if TYPE_CHECKING:
    from . import Settings

STATUSES = {
    Status.NEW: "2",
    Status.OPEN: "3",
    Status.PENDING: "6",  # deferred is the only state in which nobody is expected to work
    Status.ON_HOLD: "6",
    Status.RESOLVED: "4",
    Status.CLOSED: "5",
}
"""A task cannot be canceled."""

PRIORITIES = {Priority.LOW: "0", Priority.NORMAL: "1", Priority.HIGH: "2", Priority.URGENT: "2"}
DEAL = "deal"
MAX_TITLE = 250
LOOKED_AT = 3  # pages of our newest tasks

Change = SetStatus | SetPriority | AssignTo | AddTags | RemoveTags | SetFields


def perform(action: Action, api: ApiClient) -> Receipt | None:
    """Raises ApiError. Absolute changes may be sent twice."""
    match action:
        case CreateTicket():
            return _open_deal(action, api) if is_deal(action) else _open_task(action, api)
        case AddComment():
            return comments.say(action, api)
        case SetStatus() | SetPriority() | AssignTo() | AddTags() | RemoveTags() | SetFields():
            return _change(action, api)
        case SaveContact(contact=contact):
            id_ = contacts.save(contact, action.id, api)
            return Receipt(remote_id=id_, url=_url(f"contact:{id_}", api))
        case _:
            return None


def find_effect(action: Action, api: ApiClient) -> Receipt | None:
    match action:
        case CreateTicket() if is_deal(action):
            return _found_deal(action, api)
        case CreateTicket():
            return _found_task(action, api)
        case AddComment():
            return comments.found(action, api)
        case SetStatus() | SetPriority() | AssignTo() | AddTags() | RemoveTags() | SetFields():
            kind, id_ = parted(action.ticket.id)
            if (
                kind not in STORED
                or _lacking(action, {}, api) is None
                or _lacking(action, _stored(kind, id_, api), api)
            ):
                return None
            return Receipt(url=_url(action.ticket.id, api))
        case SaveContact(contact=contact):
            card = contacts.found(contact, api)
            if card is None or contacts.difference(contact, card, api.connection.settings):
                return None
            return Receipt(remote_id=str(int(card["id"])), url=_url(f"contact:{int(card['id'])}", api))
        case _:
            return None


def is_deal(action: CreateTicket) -> bool:
    """`type: deal` opens a deal; everything else becomes a task."""
    return (action.type or "").strip().casefold() == DEAL


def _url(id_: str, api: ApiClient) -> str:
    return url_of(id_, api.connection.settings.portal_url())


# --- something new ----------------------------------------------------------------------------------------------


def _open_task(action: CreateTicket, api: ApiClient) -> Receipt:
    settings: Settings = api.connection.settings
    own = _own_fields("task", action.custom_fields, settings)
    text = to_bbcode(action.description, is_html=action.is_html)
    fields: dict[str, JSON] = {
        "TITLE": action.subject[:MAX_TITLE] or "-",
        "DESCRIPTION": marked(text, action.id),
        "RESPONSIBLE_ID": _user(action.assignee) or settings.responsible_id or settings.user_id,
        "GROUP_ID": _group(action.team, settings),
        "PRIORITY": PRIORITIES[action.priority] if action.priority else None,
        "TAGS": list(dict.fromkeys(action.tags)),
    }
    if contact := contacts.known_or_new(action.contact, action.id, api):
        fields["UF_CRM_TASK"] = [f"C_{contact}"]
    sent = {name: value for name, value in fields.items() if value not in words.EMPTY} | own
    made = write(api, "tasks.task.add", repeatable=False, fields=sent)
    task = made.get("task") if isinstance(made, dict) else None
    return _made("task", task.get("id") if isinstance(task, dict) else None, api)


def _open_deal(action: CreateTicket, api: ApiClient) -> Receipt:
    """Found again by ORIGIN_ID, which nobody sees."""
    settings: Settings = api.connection.settings
    own = _own_fields(DEAL, action.custom_fields, settings)
    fields: dict[str, JSON] = {
        "TITLE": action.subject[:MAX_TITLE] or "-",
        "COMMENTS": to_bbcode(action.description, is_html=action.is_html),
        "CATEGORY_ID": settings.deal_pipeline,
        "STAGE_ID": settings.deal_stage,
        "ASSIGNED_BY_ID": _user(action.assignee) or settings.responsible_id,
        "ORIGINATOR_ID": contacts.ORIGINATOR,
        "ORIGIN_ID": action.id,
    }
    if settings.deal_tag_field and action.tags:
        fields[settings.deal_tag_field] = list(dict.fromkeys(action.tags))
    if contact := contacts.known_or_new(action.contact, action.id, api):
        fields["CONTACT_IDS"] = [int(contact)]
    sent = {name: value for name, value in fields.items() if value not in words.EMPTY} | own
    return _made(DEAL, write(api, "crm.deal.add", repeatable=False, fields=sent), api)


def _made(kind: str, number: JSON, api: ApiClient) -> Receipt:
    if not decimal(number):
        what = f"Bitrix24 did not say the new {kind}'s id"
        raise ApiError(ApiFailure.UNANSWERED, what, uncertain=True)
    id_ = f"{kind}:{int(number)}"
    return Receipt(remote_id=id_, url=_url(id_, api))


def _found_task(action: CreateTicket, api: ApiClient) -> Receipt | None:
    """v2 has no key for a task, so our newest ones are looked through for the mark."""
    settings: Settings = api.connection.settings
    newest = pages(
        api, "tasks.task.list", "tasks", filter={"CREATED_BY": settings.user_id}, order={"ID": "desc"},
        select=["ID", "DESCRIPTION"],
    )  # fmt: skip
    for _, page in zip(range(LOOKED_AT), newest, strict=False):
        for task in page:
            if mark(action.id) in str(task.get("description") or ""):
                return _made("task", task["id"], api)
    return None


def _found_deal(action: CreateTicket, api: ApiClient) -> Receipt | None:
    rows = read(
        api, "crm.deal.list", select=["ID"], order={"ID": "ASC"}, start=0,
        filter={"ORIGINATOR_ID": contacts.ORIGINATOR, "ORIGIN_ID": action.id},
    )  # fmt: skip
    return _made(DEAL, rows[0]["ID"], api) if isinstance(rows, list) and rows else None


# --- something that exists --------------------------------------------------------------------------------------

STORED = {"task", *comments.CARDS}


def _stored(kind: str, id_: str, api: ApiClient) -> dict[str, Any]:
    return collect.task(id_, api) if kind == "task" else collect.item(kind, id_, api)


def _change(action: Change, api: ApiClient) -> Receipt | None:
    """Tags are one list, which is read, merged and written whole; everything else is written unread."""
    kind, id_ = parted(action.ticket.id)
    if kind not in STORED:
        return None
    is_list = isinstance(action, AddTags | RemoveTags)
    stored = _stored(kind, id_, api) if is_list and _tag_field(kind, api.connection.settings) else {}
    lacking = _lacking(action, stored, api)
    if lacking is None:
        return None
    if lacking and kind == "task":
        if write(api, "tasks.task.update", repeatable=True, taskId=_number(id_), fields=lacking) in (
            [],
            False,
        ):
            raise missing(f"task {id_}")
    elif lacking:
        type_id, number = collect.crm_key(kind, id_)
        write(
            api, "crm.item.update", repeatable=True, entityTypeId=type_id, id=number, useOriginalUfNames="Y",
            fields=lacking,
        )  # fmt: skip
    return Receipt(url=_url(action.ticket.id, api))


def _lacking(action: Change, stored: dict[str, Any], api: ApiClient) -> dict[str, JSON] | None:
    """The fields of an update that brings `stored` to what is wanted; empty = it is so; None = cannot be."""
    kind, _ = parted(action.ticket.id)
    settings: Settings = api.connection.settings
    if isinstance(action, AddTags | RemoveTags):
        return _tags(action, kind, stored, settings)
    wanted = _of_task(action, settings) if kind == "task" else _of_card(action, kind, settings)
    if wanted is None:
        return None
    return {name: value for name, value in wanted.items() if not _is_so(name, value, stored)}


def _of_task(action: Change, settings: "Settings") -> dict[str, JSON] | None:
    match action:
        case SetStatus(status=status, remote_status=label):
            word = label if label in tasks.STATUSES else STATUSES.get(status)
            return {"STATUS": word} if word else None
        case SetPriority(priority=priority):
            return {"PRIORITY": PRIORITIES[priority]}
        case AssignTo(assignee=assignee, team=team):  # somebody must be responsible
            wanted = {"RESPONSIBLE_ID": _user(assignee), "GROUP_ID": _group(team, settings)}
            return {name: value for name, value in wanted.items() if value} or None
        case SetFields(fields=fields):
            return _own_fields("task", fields, settings)
        case _:
            return None


def _of_card(action: Change, kind: str, settings: "Settings") -> dict[str, JSON] | None:
    """A card's status is its stage, which only the company knows the meaning of."""
    match action:
        case SetStatus(remote_status=str() as stage):
            return {"stageId": stage}
        case AssignTo(assignee=str() as assignee):
            return {"assignedById": _user(assignee)}
        case SetFields(fields=fields):
            return _own_fields(kind, fields, settings)
        case _:
            return None


def _tags(
    action: AddTags | RemoveTags, kind: str, stored: dict[str, Any], settings: "Settings"
) -> dict[str, JSON] | None:
    field = _tag_field(kind, settings)
    if field is None:
        return None
    present = tasks.tags(stored) if kind == "task" else [str(tag) for tag in stored.get(field) or ()]
    given = {tag.casefold() for tag in action.tags}
    if isinstance(action, RemoveTags):
        left = [tag for tag in present if tag.casefold() not in given]
    else:
        known = {tag.casefold() for tag in present}
        left = [*present, *(tag for tag in dict.fromkeys(action.tags) if tag.casefold() not in known)]
    return {} if left == present else {field: left}


def _tag_field(kind: str, settings: "Settings") -> str | None:
    """Deals have no tags; a company may keep them in a field of its own."""
    return "TAGS" if kind == "task" else settings.deal_tag_field if kind == DEAL else None


def _is_so(name: str, value: JSON, stored: dict[str, Any]) -> bool:
    for spelled in (name, words.camel(name)):
        if spelled in stored:
            told = stored[spelled]
            return told in words.EMPTY if value in words.EMPTY else str(told) == str(value)
    return False


def _own_fields(kind: str, fields: dict[str, JSON], settings: "Settings") -> dict[str, JSON]:
    names = settings.fields_of(kind)
    if unknown := sorted(name for name in fields if name not in names):
        what = f"Bitrix24: {', '.join(unknown)} is no field of a {kind} in the connection's `custom_fields`"
        raise ApiError(ApiFailure.REFUSED, what)
    return {names[name]: value for name, value in fields.items()}


def _user(assignee: str | None) -> int | None:
    if assignee is None:
        return None
    if not decimal(assignee):
        raise ApiError(ApiFailure.REFUSED, f"Bitrix24: assignee {assignee!r} is no user's id")
    return int(assignee)


def _group(team: str | None, settings: "Settings") -> int | None:
    if team is None:
        return None
    if team in settings.groups:
        return settings.groups[team]
    if decimal(team):
        return int(team)
    raise ApiError(ApiFailure.REFUSED, f"Bitrix24: team {team!r} is not in the connection's `groups`")


def _number(id_: str) -> int:
    number = decimal(id_)
    if number is None:
        raise ApiError(ApiFailure.REFUSED, f"Bitrix24: task:{id_} names no task")
    return int(number)
