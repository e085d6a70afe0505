"""What did the webhook leave out, and which things changed?

A webhook of Bitrix24 names a thing and no more, so it is read back:
https://apidocs.bitrix24.com/api-reference/crm/universal/crm-item-get.html (deals, contacts)
https://apidocs.bitrix24.com/api-reference/tasks/tasks-task-get.html
https://apidocs.bitrix24.com/api-reference/imopenlines/openlines/ (chats)
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from gateway.api import JSON, ApiClient, ApiError, ApiFailure, ChangedRef, TicketRef

from .accept import decimal, parted
from .portal import PAGE, missing, pages, read
from .words import instant

if TYPE_CHECKING:
    from . import Settings

TYPE_IDS = {"lead": 1, "deal": 2, "contact": 3, "company": 4, "quote": 7}
"""https://apidocs.bitrix24.com/api-reference/crm/data-types.html; smart processes are called `spa:TYPE:ID`."""

TASK_FIELDS = (
    "ID", "TITLE", "DESCRIPTION", "DESCRIPTION_IN_BBCODE", "STATUS", "PRIORITY", "CREATED_BY", "RESPONSIBLE_ID",
    "GROUP_ID", "TAGS", "CREATED_DATE", "CHANGED_DATE", "CHANGED_BY", "STATUS_CHANGED_BY", "CLOSED_DATE",
    "DEADLINE", "UF_CRM_TASK", "CHAT_ID",
)  # fmt: skip
"""UF_CRM_TASK and user fields come only when they are asked for."""

MOST_MESSAGES = 20  # pages of 50


def ticket(ref: TicketRef, api: ApiClient) -> JSON:
    """`{"kind": ..., ...}`, as the reader of that kind says. Raises ApiError; what is not there is MISSING."""
    kind, rest = parted(ref.id)
    reader = READERS.get(kind)
    if reader is None or not rest:
        raise ApiError(
            ApiFailure.REFUSED, f"Bitrix24: {ref.id!r} cannot be read; known kinds: {', '.join(READERS)}"
        )
    found: dict[str, Any] = reader(rest, api)
    return {"kind": kind, **found}


# --- CRM --------------------------------------------------------------------------------------------------------


def item(kind: str, id_: str, api: ApiClient) -> dict[str, Any]:
    """One card of the CRM, camelCase, its own fields under their original names (`UF_CRM_...`)."""
    type_id, number = crm_key(kind, id_)
    found = read(api, "crm.item.get", entityTypeId=type_id, id=number, useOriginalUfNames="Y")
    card = found.get("item") if isinstance(found, dict) else None
    if not isinstance(card, dict) or not card:
        raise missing(f"{kind} {id_}")
    return card


def crm_key(kind: str, id_: str) -> tuple[int, int]:
    """(entityTypeId, id) of `deal`, `1234` or of `spa`, `1040:9`. Raises ApiError."""
    type_id, _, number = id_.partition(":") if kind == "spa" else (str(TYPE_IDS[kind]), "", id_)
    if not decimal(type_id) or not decimal(number):
        raise ApiError(ApiFailure.REFUSED, f"Bitrix24: {kind}:{id_} names no card")
    return int(type_id), int(number)


def _deal(id_: str, api: ApiClient) -> dict[str, Any]:
    """`{"item": ..., "contact": ... | None, "stages": [...]}`; stages are read only when the deal does not say
    itself what its stage means."""
    found = item("deal", id_, api)
    stages = [] if found.get("stageSemanticId") else stages_of(found.get("categoryId"), api)
    return {"item": found, "contact": _person(found, api), "stages": stages}


def stages_of(category: JSON, api: ApiClient) -> list[JSON]:
    entity = f"DEAL_STAGE_{category}" if decimal(category) else "DEAL_STAGE"
    found = read(api, "crm.status.list", filter={"ENTITY_ID": entity})
    return found if isinstance(found, list) else []


def contact_id(card: dict[str, Any]) -> str | None:
    """Of a deal: the first contact. A deal has no phone of its own."""
    many = card.get("contactIds")
    return decimal(card.get("contactId")) or (decimal(many[0]) if isinstance(many, list) and many else None)


def _person(card: dict[str, Any], api: ApiClient) -> JSON:
    return _contact_or_none(contact_id(card), api)


def _contact_or_none(id_: str | None, api: ApiClient) -> JSON:
    if id_ is None:
        return None
    try:
        return item("contact", id_, api)
    except ApiError as error:
        if error.failure is not ApiFailure.MISSING:
            raise
    return None


def _contact(id_: str, api: ApiClient) -> dict[str, Any]:
    return {"item": item("contact", id_, api)}


def _timeline(id_: str, api: ApiClient) -> dict[str, Any]:
    """A comment in the timeline of a card: only itself knows of which."""
    found = read(api, "crm.timeline.comment.get", id=int(id_))
    if not isinstance(found, dict) or not decimal(found.get("ID")):
        raise missing(f"timeline comment {id_}")
    return {"comment": found}


# --- tasks ------------------------------------------------------------------------------------------------------


def _task(id_: str, api: ApiClient) -> dict[str, Any]:
    """`{"task": ..., "comments": [...] | "messages": [...], "users": [...], "contact": ... | None}`."""
    found = task(id_, api)
    bound = found.get("ufCrmTask") or ()
    people = [code.removeprefix("C_") for code in bound if isinstance(code, str) and code.startswith("C_")]
    contact = _contact_or_none(decimal(people[0]) if people else None, api)
    if chat := chat_of_task(found, api.connection.settings):
        messages, users = dialog(chat, api)
        return {"task": found, "messages": messages, "users": users, "contact": contact}
    return {"task": found, "comments": comments_of_task(id_, api), "contact": contact}


def task(id_: str, api: ApiClient) -> dict[str, Any]:
    """Raises ApiError: a task that is not there, or not for us, is "200" with an empty list."""
    settings: Settings = api.connection.settings
    wanted = [*TASK_FIELDS, *sorted(set(settings.fields_of("task").values()))]
    found = read(api, "tasks.task.get", taskId=int(decimal(id_) or 0), select=wanted)
    one = found.get("task") if isinstance(found, dict) else None
    if not isinstance(one, dict) or not one:
        raise missing(f"task {id_}")
    return one


def chat_of_task(found: dict[str, Any], settings: "Settings") -> str | None:
    """The chat that is the task's comments in the new card (tasks 25.700.0 and later)."""
    return None if settings.task_card == "old" else decimal(found.get("chatId"))


def comments_of_task(id_: str, api: ApiClient) -> list[JSON]:
    """Of the old card. The order of these parameters is part of the method."""
    found = read(api, "task.commentitem.getlist", TASKID=int(id_), ORDER={"ID": "asc"}, FILTER={})
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def dialog(chat: str, api: ApiClient) -> tuple[list[JSON], list[JSON]]:
    """A chat's messages, oldest first, and who wrote them; the newest thousand of them."""
    messages: dict[int, JSON] = {}
    users: dict[str, JSON] = {}
    older: dict[str, int] = {}
    for _ in range(MOST_MESSAGES):
        found = read(api, "im.dialog.messages.get", DIALOG_ID=f"chat{chat}", LIMIT=PAGE, **older)
        page = found.get("messages") if isinstance(found, dict) else None
        page = [each for each in page or () if isinstance(each, dict) and decimal(each.get("id"))]
        users |= {str(each.get("id")): each for each in found.get("users") or ()} if page else {}
        messages |= {int(each["id"]): each for each in page}
        if len(page) < PAGE or older.get("LAST_ID") == min(messages):
            break
        older = {"LAST_ID": min(messages)}
    return [messages[id_] for id_ in sorted(messages)], [users[id_] for id_ in sorted(users)]


# --- open lines -------------------------------------------------------------------------------------------------


def open_line(name: str, api: ApiClient) -> dict[str, Any]:
    """The dialog of an open line, by chat id, or by the user's code (`imol|...`) as links have it."""
    by = {"CHAT_ID": int(name)} if decimal(name) else {"USER_CODE": name.removeprefix("imol|")}
    found = read(api, "imopenlines.dialog.get", **by)
    if not isinstance(found, dict) or not decimal(found.get("id")):
        raise missing(f"chat {name}")
    return found


def session(id_: str, api: ApiClient) -> dict[str, Any]:
    found = read(api, "imopenlines.dialog.get", SESSION_ID=int(decimal(id_) or 0))
    if not isinstance(found, dict) or not decimal(found.get("id")):
        raise missing(f"session {id_}")
    return found


def bound(found: dict[str, Any]) -> dict[str, str]:
    """The cards that a dialog belongs to: `LEAD|0|COMPANY|0|CONTACT|3|DEAL|3` -> `{"contact": "3", "deal": "3"}`."""
    parts = str(found.get("entity_data_2") or "").split("|")
    pairs = zip(parts[::2], parts[1::2], strict=False)
    return {kind.lower(): id_ for kind, value in pairs if (id_ := decimal(value)) is not None}


def _chat(name: str, api: ApiClient) -> dict[str, Any]:
    return _conversation(open_line(name, api), api)


def _session(id_: str, api: ApiClient) -> dict[str, Any]:
    return _conversation(session(id_, api), api)


def _conversation(found: dict[str, Any], api: ApiClient) -> dict[str, Any]:
    """`{"dialog": ..., "history": ..., "contact": ... | None}`."""
    history = read(api, "imopenlines.session.history.get", CHAT_ID=int(found["id"]))
    return {
        "dialog": found,
        "history": history if isinstance(history, dict) else {},
        "contact": _contact_or_none(bound(found).get("contact"), api),
    }


READERS: dict[str, Callable[[str, ApiClient], dict[str, Any]]] = {
    "task": _task,
    "deal": _deal,
    "contact": _contact,
    "chat": _chat,
    "session": _session,
    "timeline": _timeline,
}


# --- what changed -----------------------------------------------------------------------------------------------


def changed(since: datetime, api: ApiClient) -> Iterator[TicketRef]:
    """Tasks, deals and contacts that changed after `since`; chats cannot be asked for."""
    moment = since.astimezone(UTC).isoformat(timespec="seconds")
    connection = api.connection.name
    tasks = pages(
        api, "tasks.task.list", "tasks",
        filter={">=CHANGED_DATE": moment}, select=["ID", "CHANGED_DATE"], order={"ID": "asc"},
    )  # fmt: skip
    yield from (_listed(connection, "task", row, "changedDate") for page in tasks for row in page)
    for kind in ("deal", "contact"):
        cards = pages(
            api, "crm.item.list", "items", entityTypeId=TYPE_IDS[kind],
            filter={">=updatedTime": moment}, select=["id", "updatedTime"], order={"id": "asc"},
        )  # fmt: skip
        yield from (_listed(connection, kind, row, "updatedTime") for page in cards for row in page)


def _listed(connection: str, kind: str, row: JSON, time: str) -> TicketRef:
    at, name = instant(row.get(time)), f"{kind}:{row['id']}"
    return ChangedRef(connection, name, at) if at else TicketRef(connection, name)
