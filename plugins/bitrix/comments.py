"""How do we say something on a task, on a card, in a chat, and how is it seen that we said it already?

https://apidocs.bitrix24.com/api-reference/crm/timeline/comments/crm-timeline-comment-add.html
https://apidocs.bitrix24.com/api-reference/tasks/ (old card: forum; new card: the task's chat, by REST v3)
https://apidocs.bitrix24.com/api-reference/imopenlines/openlines/messages/ (to a customer)
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from gateway.api import JSON, AddComment, ApiClient, ApiError, ApiFailure, Receipt

from . import collect
from .accept import decimal, parted
from .cards import comment_id, entity_type
from .links import url_of
from .markup import has_mark, mark, marked, same_words, to_bbcode, to_text
from .portal import pages, read, write, write_v3

if TYPE_CHECKING:
    from . import Settings

CARDS = {*collect.TYPE_IDS, "spa"}
CHATS = {"chat": collect.open_line, "session": collect.session}
LOOKED_AT = 100
"""An interrupted comment is looked for among the newest so many."""


def say(action: AddComment, api: ApiClient) -> Receipt | None:
    """Raises ApiError. None = nothing of this kind can be commented on."""
    kind, id_ = parted(action.ticket.id)
    if kind == "task":
        return _on_task(action, id_, api)
    if kind in CARDS:
        return _on_card(action, kind, id_, api)
    if kind in CHATS:
        return _in_chat(action, CHATS[kind](id_, api), api)
    return None


def found(action: AddComment, api: ApiClient) -> Receipt | None:
    kind, id_ = parted(action.ticket.id)
    if kind == "task":
        return _found_on_task(action, id_, api)
    if kind in CARDS:
        return _found_on_card(action, kind, id_, api)
    if kind in CHATS:
        return _found_in_chat(action, CHATS[kind](id_, api), api)
    return None


def _text(action: AddComment) -> str:
    return to_bbcode(action.body, is_html=action.is_html)


# --- tasks ------------------------------------------------------------------------------------------------------


def _on_task(action: AddComment, id_: str, api: ApiClient) -> Receipt:
    settings: Settings = api.connection.settings
    text, url = marked(_text(action), action.id), url_of(action.ticket.id, settings.portal_url())
    if settings.task_card == "new" or collect.chat_of_task(collect.task(id_, api), settings):
        message = {"taskId": _number(id_), "text": text}
        write_v3(api, "tasks.task.chat.message.send", key=action.id, fields=message)
        return Receipt(url=url)  # v3 does not say the message's id
    number = write(
        api, "task.commentitem.add", repeatable=False, TASKID=_number(id_), FIELDS={"POST_MESSAGE": text}
    )
    return Receipt(remote_id=f"task:{_number(id_)}:{int(number)}", url=url)


def _found_on_task(action: AddComment, id_: str, api: ApiClient) -> Receipt | None:
    settings: Settings = api.connection.settings
    if chat := collect.chat_of_task(collect.task(id_, api), settings):
        messages, _ = collect.dialog(chat, api)
        hit = _hit(action, messages[-LOOKED_AT:], "text", "author_id", settings)
        return _receipt(f"message:{int(hit['id'])}", action, settings) if hit else None
    hit = _hit(action, collect.comments_of_task(id_, api), "POST_MESSAGE", "AUTHOR_ID", settings)
    return _receipt(f"task:{_number(id_)}:{int(hit['ID'])}", action, settings) if hit else None


# --- the CRM's timeline -----------------------------------------------------------------------------------------


def _on_card(action: AddComment, kind: str, id_: str, api: ApiClient) -> Receipt:
    collect.crm_key(kind, id_)
    entity, number = entity_type(kind, id_)
    fields = {"ENTITY_ID": number, "ENTITY_TYPE": entity, "COMMENT": marked(_text(action), action.id)}
    made = write(api, "crm.timeline.comment.add", repeatable=False, fields=fields)
    return Receipt(
        remote_id=comment_id(made), url=url_of(f"{kind}:{id_}", api.connection.settings.portal_url())
    )


def _found_on_card(action: AddComment, kind: str, id_: str, api: ApiClient) -> Receipt | None:
    entity, number = entity_type(kind, id_)
    settings: Settings = api.connection.settings
    newest: list[JSON] = []
    for page in pages(
        api, "crm.timeline.comment.list", order={"ID": "DESC"}, select=["ID", "COMMENT", "AUTHOR_ID"],
        filter={"ENTITY_ID": number, "ENTITY_TYPE": entity},
    ):  # fmt: skip
        newest += page
        if len(newest) >= LOOKED_AT:
            break
    hit = _hit(action, newest, "COMMENT", "AUTHOR_ID", settings)
    if hit is None:
        return None
    return Receipt(remote_id=comment_id(hit["ID"]), url=url_of(f"{kind}:{id_}", settings.portal_url()))


# --- open lines -------------------------------------------------------------------------------------------------


def _in_chat(action: AddComment, dialog: dict[str, Any], api: ApiClient) -> Receipt | None:
    """To the customer by way of the card that the chat belongs to; a private note goes into that card's timeline,
    as an open line has no place that the customer does not see."""
    card = _card(dialog)
    if action.is_private:
        return _on_card(action, *card, api) if card else None
    if card is None:
        what = f"Bitrix24: {action.ticket.id} belongs to no card of the CRM, so nothing can be sent to it"
        raise ApiError(ApiFailure.REFUSED, what)
    settings: Settings = api.connection.settings
    made = write(
        api, "imopenlines.crm.message.add", repeatable=False, CRM_ENTITY_TYPE=card[0], CRM_ENTITY=int(card[1]),
        USER_ID=_speaker(settings), CHAT_ID=int(dialog["id"]), MESSAGE=_text(action),
    )  # fmt: skip
    return _receipt(f"message:{int(made)}" if decimal(made) else None, action, settings)


def _found_in_chat(action: AddComment, dialog: dict[str, Any], api: ApiClient) -> Receipt | None:
    """Customers read it, so no mark is planted: the same words of our speaker count, in the present session."""
    card = _card(dialog)
    if action.is_private:
        return _found_on_card(action, *card, api) if card else None
    settings: Settings = api.connection.settings
    history = read(api, "imopenlines.session.history.get", CHAT_ID=int(dialog["id"]))
    messages = (history.get("message") if isinstance(history, dict) else None) or {}
    wanted = to_text(_text(action))
    for each in sorted(messages.values(), key=lambda each: -int(each["id"]))[:LOOKED_AT]:
        ours = decimal(each.get("senderid")) == str(_speaker(settings))
        if ours and same_words(to_text(each.get("text")), wanted):
            return _receipt(f"message:{int(each['id'])}", action, settings)
    return None


def _card(dialog: dict[str, Any]) -> tuple[str, str] | None:
    cards = collect.bound(dialog)
    return next(
        ((kind, cards[kind]) for kind in ("deal", "lead", "contact", "company") if kind in cards), None
    )


def _speaker(settings: "Settings") -> int:
    return settings.chat_user_id or settings.user_id


# --- found again ------------------------------------------------------------------------------------------------


def _hit(
    action: AddComment, entries: Iterable[JSON], text: str, author: str, settings: "Settings"
) -> dict[str, Any] | None:
    """By our mark; where it was dropped whole, by our user's same words."""
    wanted = to_text(_text(action))
    for each in entries:
        said = str(each.get(text) or "")
        if mark(action.id) in said:
            return dict(each)
        by_us = decimal(each.get(author)) in settings.own_ids()
        if by_us and not has_mark(said) and same_words(to_text(said), wanted):
            return dict(each)
    return None


def _receipt(remote_id: str | None, action: AddComment, settings: "Settings") -> Receipt:
    return Receipt(remote_id=remote_id, url=url_of(action.ticket.id, settings.portal_url()))


def _number(id_: str) -> int:
    number = decimal(id_)
    if number is None:
        raise ApiError(ApiFailure.REFUSED, f"Bitrix24: task:{id_} names no task")
    return int(number)
