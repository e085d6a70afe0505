"""What does the fake portal of the sandbox know, and which events does a change in it raise?"""

import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Literal
from urllib.parse import urlencode

from .words import camel

HOST = "acme.bitrix24.com.br"
MEMBER_ID = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
GATEWAY_USER, HUMAN_USER, SECOND_USER = 15, 21, 22
PORTAL_ZONE = timezone(timedelta(hours=3))
"""Portals answer in their own zone, not in UTC."""

KINDS = {"lead": 1, "deal": 2, "contact": 3, "company": 4, "quote": 7}
NAMES = {number: name for name, number in KINDS.items()}
HANDLERS = ("ADD", "UPDATE", "DELETE")

STAGES = {
    "DEAL_STAGE": [
        ("NEW", None), ("PREPARATION", None), ("EXECUTING", None), ("WON", "S"), ("LOSE", "F"), ("APOLOGY", "F"),
    ],
    "DEAL_STAGE_3": [
        ("C3:NEW", None), ("C3:UC_8X1Y2Z", None), ("C3:1", "S"), ("C3:WON", "S"), ("C3:UC_LOST", "F"), ("C3:LOSE", "F"),
    ],
}  # fmt: skip
"""Of two pipelines; the second has a success and a failure whose codes say nothing of it."""

Data = dict[str, Any]


class Refusal(Exception):
    """What Bitrix24 answers instead of a result."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.body = {"error": code, "error_description": text}


def encoded(tree: Mapping[str, Any]) -> bytes:
    """PHP's bracket notation; what is empty or null vanishes, as there."""

    def pairs(value: Any, name: str) -> Iterable[tuple[str, str]]:
        if isinstance(value, Mapping):
            for key, item in value.items():
                yield from pairs(item, f"{name}[{key}]" if name else str(key))
        elif isinstance(value, list | tuple):
            for index, item in enumerate(value):
                yield from pairs(item, f"{name}[{index}]")
        elif value is not None:
            yield name, str(value)

    return urlencode(list(pairs(tree, ""))).encode()


@dataclass
class Desk:
    """One portal. `tell` sends an event; `card` is how comments of tasks are kept; `lines` how DATA is written."""

    tell: Callable[[str, Data], None]
    card: Literal["old", "new"] = "new"
    lines: Literal["list", "object"] = "list"
    tells_semantics: bool = True
    clock: Callable[[], float] = time.time
    cards: dict[int, dict[int, Data]] = field(default_factory=dict)
    tasks: dict[int, Data] = field(default_factory=dict)
    forum: dict[int, list[Data]] = field(default_factory=dict)
    timeline: dict[int, Data] = field(default_factory=dict)
    chats: dict[int, Data] = field(default_factory=dict)
    messages: dict[int, list[Data]] = field(default_factory=dict)
    users: dict[int, str] = field(
        default_factory=lambda: {GATEWAY_USER: "Gateway", HUMAN_USER: "Bia Ramos", SECOND_USER: "Caio Dias"}
    )
    customers: set[int] = field(default_factory=set)
    _last: int = 1000

    def next_id(self) -> int:
        self._last += 1
        return self._last

    def now(self) -> str:
        return self.at(self.clock())

    @staticmethod
    def at(moment: float) -> str:
        return datetime.fromtimestamp(moment, UTC).astimezone(PORTAL_ZONE).isoformat(timespec="seconds")

    # --- cards of the CRM ---

    def found(self, type_id: int, id_: int) -> Data:
        try:
            return self.cards[type_id][id_]
        except KeyError:
            raise Refusal(400, "", "Not found") from None

    def save(self, type_id: int, id_: int | None, given: Mapping[str, Any], by: int) -> Data:
        """A new card, or a changed one; `given` in capitals or as `crm.item.*` spells it."""
        cards, now = self.cards.setdefault(type_id, {}), self.now()
        if id_ is None:
            id_ = self.next_id()
            card: Data = {
                "id": id_, "createdTime": now, "movedTime": now, "createdBy": by, "movedBy": by, "assignedById": by,
                "fm": [], "contactIds": [], "opportunity": 0, "currencyId": "BRL", "categoryId": 0,
            }  # fmt: skip
            event = "ADD"
        else:
            card, event = self.found(type_id, id_), "UPDATE"
        before = card.get("stageId")
        for name, value in given.items():
            if name in ("PHONE", "EMAIL"):
                self._reach(card, name, value)
            else:
                card[name if re.match(r"UF_", name) or not name.isupper() else camel(name)] = value
        if type_id == KINDS["deal"]:
            self._stage(card, before, by)
        if card["contactIds"] and not card.get("contactId"):
            card["contactId"] = int(card["contactIds"][0])
        card |= {"updatedTime": now, "updatedBy": by}
        cards[id_] = card
        self._tell_of_card(type_id, id_, event)
        return card

    def _stage(self, card: Data, before: str | None, by: int) -> None:
        category = int(card["categoryId"])
        stages = STAGES.get(f"DEAL_STAGE_{category}" if category else "DEAL_STAGE", [])
        card.setdefault("stageId", stages[0][0] if stages else "NEW")
        if card["stageId"] not in dict(stages):
            raise Refusal(400, "ERROR_CORE", f"unknown stage {card['stageId']}")
        card["stageSemanticId"] = dict(stages)[card["stageId"]] or "P" if self.tells_semantics else None
        if before != card["stageId"]:
            card |= {"movedTime": self.now(), "movedBy": by}

    def _reach(self, card: Data, kind: str, entries: Iterable[Data]) -> None:
        """Without ID: added; with ID and VALUE: changed; with ID alone: deleted; what is not listed stays."""
        for entry in entries:
            if (id_ := entry.get("ID")) is not None:
                card["fm"] = [each for each in card["fm"] if each["id"] != int(id_)]
            if entry.get("VALUE"):
                card["fm"].append({
                    "id": int(id_ or self.next_id()), "typeId": kind, "value": entry["VALUE"],
                    "valueType": entry.get("VALUE_TYPE", "WORK"),
                })  # fmt: skip

    def _tell_of_card(self, type_id: int, id_: int, event: str) -> None:
        if type_id in NAMES:
            self.tell(f"ONCRM{NAMES[type_id].upper()}{event}", {"FIELDS": {"ID": id_}})
        else:
            self.tell(f"ONCRMDYNAMICITEM{event}", {"FIELDS": {"ID": id_, "ENTITY_TYPE_ID": type_id}})

    def delete(self, type_id: int, id_: int) -> None:
        self.found(type_id, id_)
        del self.cards[type_id][id_]
        self._tell_of_card(type_id, id_, "DELETE")

    def note(self, entity_type: str, entity_id: int, text: str, by: int) -> int:
        """A comment in the timeline of a card."""
        kind, _, dynamic = entity_type.partition("_")
        self.found(int(dynamic) if dynamic else KINDS.get(kind, 0), entity_id)
        id_ = self.next_id()
        self.timeline[id_] = {
            "ID": str(id_), "ENTITY_ID": entity_id, "ENTITY_TYPE": entity_type, "CREATED": self.now(),
            "COMMENT": text, "AUTHOR_ID": str(by),
        }  # fmt: skip
        self.tell("ONCRMTIMELINECOMMENTADD", {"FIELDS": {"ID": id_}})
        return id_

    # --- tasks ---

    def task(self, id_: int) -> Data:
        try:
            return self.tasks[id_]
        except KeyError:
            raise Refusal(400, "ERROR_CORE", "Task not found or not accessible") from None

    def open_task(self, given: Mapping[str, Any], by: int) -> Data:
        if not given.get("TITLE") or not given.get("RESPONSIBLE_ID"):
            raise Refusal(400, "ERROR_CORE", "TITLE and RESPONSIBLE_ID are required")
        id_, now = self.next_id(), self.now()
        task: Data = {
            "id": str(id_), "status": "2", "subStatus": "2", "priority": "1", "createdBy": str(by), "groupId": "0",
            "createdDate": now, "closedDate": None, "deadline": None, "statusChangedBy": str(by), "tags": [],
            "description": "", "descriptionInBbcode": "Y", "ufCrmTask": False, "chatId": None,
        }  # fmt: skip
        if self.card == "new":
            chat = self.next_id()
            task["chatId"] = str(chat)
            self.messages[chat] = []
            self._message(chat, 0, f"{self.users.get(by, by)} created the task")
        self.tasks[id_] = task
        self._set_task(task, given, by)
        before, after = "undefined", {"ID": id_}
        self._tell_of_task("ONTASKADD", before, after)
        return task

    def change_task(self, id_: int, given: Mapping[str, Any], by: int) -> Data:
        task = self.task(id_)
        self._set_task(task, given, by)
        self._tell_of_task("ONTASKUPDATE", {"ID": id_}, {"ID": id_})
        return task

    def _set_task(self, task: Data, given: Mapping[str, Any], by: int) -> None:
        for name, value in given.items():
            if name == "TAGS":
                numbers = (self.next_id() for _ in value)
                task["tags"] = {
                    str(n): {"id": n, "title": tag} for n, tag in zip(numbers, value, strict=False)
                } or []
            elif name == "STATUS":
                task |= {"status": str(value), "statusChangedBy": str(by)}
                task["closedDate"] = self.now() if str(value) == "5" else None
            else:
                own = name.startswith("UF_")
                task[camel(name)] = value if own or value is None else str(value)
        task |= {"changedDate": self.now(), "changedBy": str(by)}

    def delete_task(self, id_: int) -> None:
        self.task(id_)
        del self.tasks[id_]
        self._tell_of_task("ONTASKDELETE", {"ID": id_}, "undefined")

    def _tell_of_task(self, event: str, before: Any, after: Any) -> None:
        access = {"IS_ACCESSIBLE_BEFORE": "undefined", "IS_ACCESSIBLE_AFTER": "undefined"}
        if event == "ONTASKADD":
            access["IS_ACCESSIBLE_BEFORE"] = "N"
        elif event == "ONTASKDELETE":
            access["IS_ACCESSIBLE_AFTER"] = "N"
        self.tell(event, {"FIELDS_BEFORE": before, "FIELDS_AFTER": after, **access})

    def comment(self, task_id: int, text: str, by: int) -> int:
        """In the task's chat (new card) or forum (old card); the comment's or message's id."""
        task = self.task(task_id)
        if task["chatId"]:
            id_ = self._message(int(task["chatId"]), by, text)["id"]
            after = {"ID": 0, "MESSAGE_ID": id_, "TASK_ID": task_id}
        else:
            id_ = self.next_id()
            self.forum.setdefault(task_id, []).append({
                "ID": str(id_), "POST_MESSAGE": text, "AUTHOR_ID": str(by), "POST_DATE": self.now(),
                "AUTHOR_NAME": self.users.get(by, ""),
            })  # fmt: skip
            after = {"ID": id_, "TASK_ID": task_id}
        self._tell_of_task("ONTASKCOMMENTADD", "undefined", after)
        return int(id_)

    def _message(self, chat: int, by: int, text: str) -> Data:
        message = {"id": self.next_id(), "chat_id": chat, "author_id": by, "date": self.now(), "text": text}
        self.messages.setdefault(chat, []).append(message)
        return message

    # --- open lines ---

    def chat(self, id_: int) -> Data:
        try:
            return self.chats[id_]
        except KeyError:
            raise Refusal(400, "DIALOG_NOT_FOUND", "Not found") from None

    def write_in(self, customer: str, text: str, deal: int | None = None, contact: int | None = None) -> Data:
        """A customer writes to the line: their chat is opened, or opened again."""
        chat = next((each for each in self.chats.values() if each["external"] == customer), None)
        if chat is None:
            user, id_ = self.next_id(), self.next_id()
            self.customers.add(user)
            self.users[user] = customer
            chat = self.chats[id_] = {
                "id": str(id_), "name": f"{customer} - WhatsApp", "external": customer, "user": user, "session": None,
                "entity_type": "LINES", "entity_id": f"acme_whats|3|{customer}|{user}", "date_create": self.now(),
            }  # fmt: skip
        chat |= {key: value for key, value in (("deal", deal), ("contact", contact)) if value}
        if chat["session"] is None:
            chat["session"] = self.next_id()
            self._tell_of_session("ONSESSIONSTART", chat, "N")
        self.say_in(int(chat["id"]), chat["user"], text)
        return chat

    def say_in(self, chat_id: int, by: int, text: str) -> int:
        chat = self.chat(chat_id)
        id_ = int(self._message(chat_id, by, text)["id"])
        message = {"id": id_, "text": text, "system": "N", "user_id": by}
        self.tell("ONOPENLINEMESSAGEADD", self._lined({**self._about(chat), "message": message}))
        return id_

    def finish(self, chat_id: int) -> None:
        chat = self.chat(chat_id)
        self._tell_of_session("ONSESSIONFINISH", chat, "Y")
        chat["session"] = None

    def _tell_of_session(self, event: str, chat: Data, closed: str) -> None:
        session = {"id": chat["session"], "closed": closed, "parent_id": 0, "close_term": 60}
        self.tell(event, self._lined({**self._about(chat), "session": session, "user": {"id": chat["user"]}}))

    def _about(self, chat: Data) -> Data:
        connector = {
            "connector_id": "acme_whats", "line_id": 3, "chat_id": chat["external"], "user_id": chat["user"],
        }  # fmt: skip
        return {"connector": connector, "chat": {"id": chat["id"]}}

    def _lined(self, told: Data) -> Data:
        return {"DATA": [told] if self.lines == "list" else told}

    # --- telephone ---

    def call(self, phone: str, kind: str, code: str, seconds: int, by: int = HUMAN_USER) -> str:
        id_ = f"externalCall.{self.next_id()}"
        self.tell("ONVOXIMPLANTCALLEND", {
            "CALL_ID": id_, "CALL_TYPE": kind, "PHONE_NUMBER": phone, "PORTAL_USER_ID": by, "CALL_DURATION": seconds,
            "CALL_START_DATE": self.at(self.clock() - seconds), "COST": 0, "COST_CURRENCY": "",
            "CALL_FAILED_CODE": code, "CALL_FAILED_REASON": "", "CRM_ACTIVITY_ID": self.next_id(),
        })  # fmt: skip
        return id_
