"""What does the fake portal of the sandbox answer to which REST method?

Shapes as at https://apidocs.bitrix24.com/api-reference/ : `crm.item.*` and `tasks.task.*` in camelCase, the rest in
capitals; a task that is not there is "200" with an empty list, a map without entries is a list.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from .desk import GATEWAY_USER, KINDS, STAGES, Data, Desk, Refusal
from .words import camel

PAGE = 50


def answer(desk: Desk, method: str, asked: Mapping[str, Any]) -> Data:
    """The whole body of a success. Raises Refusal."""
    try:
        found = METHODS[method.lower()]
    except KeyError:
        raise Refusal(404, "ERROR_METHOD_NOT_FOUND", "Method not found!") from None
    try:
        result = found(desk, asked)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise Refusal(400, "ERROR_ARGUMENT", f"wrong or missing parameter: {error!r}") from None
    return result if isinstance(result, dict) and "__list__" in result else {"result": result}


def _paged(rows: Iterable[Data], asked: Mapping[str, Any], within: str | None = None) -> Data:
    found, start = list(rows), int(asked.get("start") or 0)
    page = found[start : start + PAGE]
    body: Data = {"__list__": True, "result": {within: page} if within else page, "total": len(found)}
    return body | ({"next": start + PAGE} if start + PAGE < len(found) else {})


def _fits(row: Data, condition: Mapping[str, Any], spelled: Callable[[str], str]) -> bool:
    for key, wanted in condition.items():
        name = spelled(key.lstrip(">=<!@%"))
        value = row.get(name)
        if key.startswith(">="):
            if value is None or datetime.fromisoformat(str(value)) < datetime.fromisoformat(str(wanted)):
                return False
        elif str(value) != str(wanted):
            return False
    return True


def _ordered(rows: Iterable[Data], asked: Mapping[str, Any], by: str = "id") -> list[Data]:
    direction = next(iter((asked.get("order") or {}).values()), "asc")
    return sorted(rows, key=lambda row: int(row[by]), reverse=str(direction).lower() == "desc")


# --- CRM --------------------------------------------------------------------------------------------------------


def item_get(desk: Desk, asked: Mapping[str, Any]) -> Any:
    return {"item": _shown(desk.found(int(asked["entityTypeId"]), int(asked["id"])))}


def item_list(desk: Desk, asked: Mapping[str, Any]) -> Any:
    cards = desk.cards.get(int(asked["entityTypeId"]), {}).values()
    found = [card for card in cards if _fits(card, asked.get("filter") or {}, lambda name: name)]
    return _paged(map(_shown, _ordered(found, asked)), asked, "items")


def item_add(desk: Desk, asked: Mapping[str, Any]) -> Any:
    return {"item": _shown(desk.save(int(asked["entityTypeId"]), None, asked["fields"], GATEWAY_USER))}


def item_update(desk: Desk, asked: Mapping[str, Any]) -> Any:
    return {
        "item": _shown(desk.save(int(asked["entityTypeId"]), int(asked["id"]), asked["fields"], GATEWAY_USER))
    }


def _shown(card: Data) -> Data:
    """As it is, but for what is not known: then the member is missing."""
    return {name: value for name, value in card.items() if not (name == "stageSemanticId" and value is None)}


def deal_add(desk: Desk, asked: Mapping[str, Any]) -> Any:
    return desk.save(KINDS["deal"], None, asked["fields"], GATEWAY_USER)["id"]


def deal_list(desk: Desk, asked: Mapping[str, Any]) -> Any:
    cards = desk.cards.get(KINDS["deal"], {}).values()
    found = [card for card in cards if _fits(card, asked.get("filter") or {}, camel)]
    return _paged(({"ID": str(card["id"])} for card in _ordered(found, asked)), asked)


def contact_add(desk: Desk, asked: Mapping[str, Any]) -> Any:
    return desk.save(KINDS["contact"], None, asked["fields"], GATEWAY_USER)["id"]


def contact_update(desk: Desk, asked: Mapping[str, Any]) -> Any:
    desk.save(KINDS["contact"], int(asked["id"]), asked["fields"], GATEWAY_USER)
    return True


def find_by_comm(desk: Desk, asked: Mapping[str, Any]) -> Any:
    """Phones are compared by their digits."""

    def key(value: str) -> str:
        return "".join(filter(str.isdigit, value)) if asked["type"] == "PHONE" else value.strip().lower()

    wanted = {key(value) for value in asked["values"]}
    found = [
        id_
        for id_, card in desk.cards.get(KINDS["contact"], {}).items()
        if any(each["typeId"] == asked["type"] and key(each["value"]) in wanted for each in card["fm"])
    ]
    return {"CONTACT": found} if found else []


def status_list(_: Desk, asked: Mapping[str, Any]) -> Any:
    words = {None: "process", "S": "success", "F": "failure"}
    return [
        {
            "STATUS_ID": code,
            "NAME": code.title(),
            "SEMANTICS": meaning,
            "EXTRA": {"SEMANTICS": words[meaning]},
        }
        for code, meaning in STAGES.get(asked["filter"]["ENTITY_ID"], [])
    ]


def note_add(desk: Desk, asked: Mapping[str, Any]) -> Any:
    fields = asked["fields"]
    return desk.note(
        str(fields["ENTITY_TYPE"]), int(fields["ENTITY_ID"]), str(fields["COMMENT"]), GATEWAY_USER
    )


def note_get(desk: Desk, asked: Mapping[str, Any]) -> Any:
    try:
        return desk.timeline[int(asked["id"])]
    except KeyError:
        raise Refusal(400, "", "Not found") from None


def note_list(desk: Desk, asked: Mapping[str, Any]) -> Any:
    found = [each for each in desk.timeline.values() if _fits(each, asked.get("filter") or {}, str)]
    return _paged(_ordered(found, asked, "ID"), asked)


# --- tasks ------------------------------------------------------------------------------------------------------


def task_get(desk: Desk, asked: Mapping[str, Any]) -> Any:
    task = desk.tasks.get(int(asked["taskId"]))
    return {"task": _selected(task, asked)} if task else []


def task_list(desk: Desk, asked: Mapping[str, Any]) -> Any:
    found = [task for task in desk.tasks.values() if _fits(task, asked.get("filter") or {}, camel)]
    return _paged((_selected(task, asked) for task in _ordered(found, asked)), asked, "tasks")


def _selected(task: Data, asked: Mapping[str, Any]) -> Data:
    """Fields of one's own come only when they are asked for."""
    wanted = {camel(name) for name in asked.get("select") or ("ID", "TITLE", "STATUS")}
    return {name: value for name, value in task.items() if name in wanted or name == "id"}


def task_add(desk: Desk, asked: Mapping[str, Any]) -> Any:
    return {"task": _selected(desk.open_task(asked["fields"], GATEWAY_USER), {})}


def task_update(desk: Desk, asked: Mapping[str, Any]) -> Any:
    return {"task": _selected(desk.change_task(int(asked["taskId"]), asked["fields"], GATEWAY_USER), {})}


def comment_add(desk: Desk, asked: Mapping[str, Any]) -> Any:
    return desk.comment(int(asked["TASKID"]), str(asked["FIELDS"]["POST_MESSAGE"]), GATEWAY_USER)


def comment_list(desk: Desk, asked: Mapping[str, Any]) -> Any:
    return list(desk.forum.get(int(asked["TASKID"]), []))


def message_send(desk: Desk, asked: Mapping[str, Any]) -> Any:
    desk.comment(int(asked["fields"]["taskId"]), str(asked["fields"]["text"]), GATEWAY_USER)
    return {"result": True}


# --- chats ------------------------------------------------------------------------------------------------------


def messages_get(desk: Desk, asked: Mapping[str, Any]) -> Any:
    """The newest, newest first; older ones than LAST_ID with it."""
    chat = int(str(asked["DIALOG_ID"]).removeprefix("chat"))
    if chat not in desk.messages:
        raise Refusal(403, "ACCESS_ERROR", "You do not have access to this chat")
    before = int(asked.get("LAST_ID") or 10**18)
    older = [each for each in desk.messages[chat] if each["id"] < before]
    page = older[::-1][: min(int(asked.get("LIMIT") or 20), PAGE)]
    authors = sorted({each["author_id"] for each in page if each["author_id"]})
    return {
        "chat_id": chat, "messages": page,
        "users": [{"id": id_, "name": desk.users.get(id_, "")} for id_ in authors],
    }  # fmt: skip


def dialog_get(desk: Desk, asked: Mapping[str, Any]) -> Any:
    if "SESSION_ID" in asked:
        return _dialog(
            next((c for c in desk.chats.values() if c["session"] == int(asked["SESSION_ID"])), None)
        )
    if "USER_CODE" in asked:
        return _dialog(next((c for c in desk.chats.values() if c["entity_id"] == asked["USER_CODE"]), None))
    return _dialog(desk.chat(int(asked["CHAT_ID"])))


def _dialog(chat: Data | None) -> Data:
    if chat is None:
        raise Refusal(400, "DIALOG_NOT_FOUND", "Not found")
    deal, contact = chat.get("deal") or 0, chat.get("contact") or 0
    return {
        "id": chat["id"], "name": chat["name"], "type": "lines", "entity_type": "LINES",
        "entity_id": chat["entity_id"], "date_create": chat["date_create"], "dialog_id": f"chat{chat['id']}",
        "entity_data_1": f"{'Y' if deal else 'N'}|DEAL|{deal}|N|N|{chat['session'] or 0}|0|0|0|0",
        "entity_data_2": f"LEAD|0|COMPANY|0|CONTACT|{contact}|DEAL|{deal}",
    }  # fmt: skip


def history_get(desk: Desk, asked: Mapping[str, Any]) -> Any:
    chat = desk.chat(int(asked["CHAT_ID"]))
    said = desk.messages[int(chat["id"])]
    messages = {
        str(each["id"]): {
            "id": str(each["id"]), "chatid": chat["id"], "senderid": str(each["author_id"]), "date": each["date"],
            "text": each["text"],
        }
        for each in said
    }  # fmt: skip
    users = {
        str(id_): {"id": str(id_), "name": desk.users.get(id_, ""), "connector": id_ in desk.customers}
        for id_ in {each["author_id"] for each in said if each["author_id"]}
    }
    return {
        "chatId": chat["id"], "sessionId": str(chat["session"] or ""), "message": messages or [], "users": users or [],
    }  # fmt: skip


def message_add(desk: Desk, asked: Mapping[str, Any]) -> Any:
    chat = desk.chat(int(asked["CHAT_ID"]))
    if chat.get(str(asked["CRM_ENTITY_TYPE"]).lower()) != int(asked["CRM_ENTITY"]):
        raise Refusal(400, "CHAT_NOT_IN_CRM", "Chat does not belong to this CRM entity")
    return desk.say_in(int(chat["id"]), int(asked["USER_ID"]), str(asked["MESSAGE"]))


def profile(_: Desk, __: Mapping[str, Any]) -> Any:
    return {"ID": str(GATEWAY_USER), "ADMIN": False, "NAME": "Gateway", "LAST_NAME": "", "TIME_ZONE": ""}


METHODS: dict[str, Callable[[Desk, Mapping[str, Any]], Any]] = {
    "crm.item.get": item_get,
    "crm.item.list": item_list,
    "crm.item.add": item_add,
    "crm.item.update": item_update,
    "crm.deal.add": deal_add,
    "crm.deal.list": deal_list,
    "crm.contact.add": contact_add,
    "crm.contact.update": contact_update,
    "crm.duplicate.findbycomm": find_by_comm,
    "crm.status.list": status_list,
    "crm.timeline.comment.add": note_add,
    "crm.timeline.comment.get": note_get,
    "crm.timeline.comment.list": note_list,
    "tasks.task.get": task_get,
    "tasks.task.list": task_list,
    "tasks.task.add": task_add,
    "tasks.task.update": task_update,
    "task.commentitem.add": comment_add,
    "task.commentitem.getlist": comment_list,
    "tasks.task.chat.message.send": message_send,
    "im.dialog.messages.get": messages_get,
    "imopenlines.dialog.get": dialog_get,
    "imopenlines.session.history.get": history_get,
    "imopenlines.crm.message.add": message_add,
    "profile": profile,
}
V3 = {"tasks.task.chat.message.send"}
"""Only there, and only these."""
