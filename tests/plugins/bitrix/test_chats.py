"""An open-line chat is a conversation; its sessions end and begin again, in whatever order that is told."""

import pytest
from gateway_plugins import bitrix

from gateway.api import (
    Comment,
    CommentCreated,
    Snapshot,
    Status,
    Ticket,
    TicketCreated,
    TicketKind,
    TicketRef,
    TicketStatusChanged,
    UnreadableWebhook,
    Webhook,
)

AT = "2026-09-14T03:0{}:00+03:00"
DIALOG = {
    "id": "4321", "name": "Ana - WhatsApp", "entity_id": "acme_whats|3|5511999990000|905",
    "entity_data_1": "Y|DEAL|1234|N|N|777|1789344000|0|0|0", "entity_data_2": "LEAD|0|COMPANY|0|CONTACT|3|DEAL|1234",
    "date_create": AT.format(0),
}  # fmt: skip
HISTORY = {
    "chatId": "4321", "sessionId": "777",
    "message": {
        "60003": {"id": "60003", "senderid": "21", "date": AT.format(2), "text": "[b]Bom[/b] dia[br]Ana"},
        "60001": {"id": "60001", "senderid": "0", "date": AT.format(0), "text": "Conversa iniciada"},
        "60002": {"id": "60002", "senderid": "905", "date": AT.format(1), "text": "Olá"},
    },
    "users": {"905": {"id": "905", "name": "Ana", "connector": True}, "21": {"id": "21", "name": "Bia"}},
}  # fmt: skip


def collected(**changes):
    return {"kind": "chat", "dialog": {**DIALOG, **changes}, "history": HISTORY, "contact": None}


def closed(session="777", **more):
    ref = TicketRef("b24", "chat:4321")
    ticket = Ticket(
        ref=ref,
        kind=TicketKind.CONVERSATION,
        status=Status.CLOSED,
        remote_fields={"session": session},
        **more,
    )
    return Snapshot(ticket=ticket)


def converted(told, connection, name=None, collected=None, before=None, *changes):
    webhook = told(name, *changes) if name else Webhook({}, b"", received_at=told("ONTASKADD").received_at)
    return bitrix.convert_webhook(webhook=webhook, collected=collected, before=before, connection=connection)


def test_a_chat_that_was_read_back(told, connection):
    created, first, second = converted(told, connection, "ONOPENLINEMESSAGEADD.array", collected())
    assert isinstance(created, TicketCreated)
    ticket = created.ticket
    assert (ticket.kind, ticket.status, ticket.channel) == (
        TicketKind.CONVERSATION,
        Status.OPEN,
        "acme_whats",
    )
    assert ticket.subject == "Ana - WhatsApp"
    assert ticket.url == "https://acme.bitrix24.com.br/online/?IM_DIALOG=chat4321"
    assert ticket.remote_fields == {
        "connector": "acme_whats", "line": "3", "external_chat": "5511999990000", "external_user": "905",
        "session": "777", "cards": "LEAD|0|COMPANY|0|CONTACT|3|DEAL|1234",
    }  # fmt: skip
    assert (first.comment.body, first.comment.author.is_agent, first.comment.author.name) == (
        "Olá",
        False,
        "Ana",
    )
    assert (second.comment.body, second.comment.author.is_agent) == ("Bom dia\nAna", True)
    assert ticket.last_customer_comment_at < ticket.first_agent_comment_at == ticket.last_agent_comment_at
    assert not first.comment.is_private


def test_a_chat_read_again_tells_only_what_is_new(told, connection):
    (created, *_) = converted(told, connection, None, collected())
    before = Snapshot(ticket=created.ticket, comments=created.comments[:1])
    (event,) = converted(told, connection, None, collected(), before)
    assert isinstance(event, CommentCreated)
    assert event.id == "comment@message:60003:chat:4321"


@pytest.mark.parametrize("shape", ["list", "object"])
def test_the_end_of_a_session_closes_the_chat_whatever_shape_it_comes_in(told, connection, shape):
    body = told("ONSESSIONFINISH.object").body
    if shape == "list":
        body = body.replace(b"%5BDATA%5D", b"%5BDATA%5D%5B0%5D")
    (event,) = converted(told, connection, body)
    assert isinstance(event, TicketStatusChanged)
    assert event.id == "closed:chat:4321@777"
    assert (event.new, event.ticket.status, event.ticket.ref.id) == (
        Status.CLOSED,
        Status.CLOSED,
        "chat:4321",
    )
    assert event.ticket.remote_fields == {"session": "777"}


def test_a_message_read_back_after_the_end_does_not_open_the_chat_again(told, connection):
    for event in converted(told, connection, None, collected(), closed()):
        assert "status" not in event.ticket.model_fields_set
    for event in converted(told, connection, None, collected(), closed(session="778")):
        assert "status" not in event.ticket.model_fields_set, "an older session tells nothing either"


def test_a_later_session_opens_the_chat_again(told, connection):
    events = converted(told, connection, None, collected(), closed(session="776"))
    (reopened,) = [event for event in events if isinstance(event, TicketStatusChanged)]
    assert (reopened.old, reopened.new) == (Status.CLOSED, Status.OPEN)


def test_the_end_of_a_session_before_the_present_one_is_no_news(told, connection):
    ref = TicketRef("b24", "chat:4321")
    later = Snapshot(
        ticket=Ticket(ref=ref, status=Status.OPEN, remote_fields={"session": "778", "line": "3"})
    )
    assert converted(told, connection, "ONSESSIONFINISH.object", None, later) == []
    present = Snapshot(
        ticket=Ticket(ref=ref, status=Status.OPEN, remote_fields={"session": "777", "line": "3"})
    )
    (event,) = converted(told, connection, "ONSESSIONFINISH.object", None, present)
    assert (event.old, event.ticket.remote_fields) == (Status.OPEN, {"session": "777", "line": "3"})


@pytest.mark.parametrize("change", [("=4321", "=0"), ("%5BDATA%5D", "%5BOTHER%5D")])
def test_an_end_of_nothing_is_unreadable(told, connection, change):
    with pytest.raises(UnreadableWebhook):
        converted(told, connection, "ONSESSIONFINISH.object", None, None, change)


def test_a_notice_about_several_chats_is_told_from_itself(told, connection):
    more = b"&data[DATA][1][chat][id]=4322&data[DATA][1][message][id]=9&data[DATA][1][message][text]=Oi"
    more += b"&data[DATA][1][message][user_id]=906&data[DATA][2][chat][id]=4323&data[DATA][2][message][id]=10"
    more += b"&data[DATA][2][message][system]=Y&data[DATA][2][message][user_id]=1"
    events = converted(told, connection, told("ONOPENLINEMESSAGEADD.array").body + more)
    assert [(e.ticket.ref.id, e.comment.id, e.comment.body, e.actor.id) for e in events] == [
        ("chat:4321", "message:60002", "Olá", "905"),
        ("chat:4322", "message:9", "Oi", "906"),
    ]
    assert all(event.comment.author.is_agent is None for event in events), "nobody says who that is"


def test_what_our_connector_is_to_deliver_is_an_operators(told, connection):
    second = b"&data[MESSAGES][1]"
    more = second + b"[im][chat_id]=4322" + second + b"[im][message_id]=7" + second + b"[message][user_id]=21"
    events = converted(told, connection, told("ONIMCONNECTORMESSAGEADD").body + more)
    assert [(e.ticket.ref.id, e.comment.body, e.comment.author.is_agent) for e in events] == [
        ("chat:4321", "Ana Souza:\nBom dia, posso ajudar?", True),
        ("chat:4322", "", True),
    ]


def test_an_empty_history_is_an_empty_list(told, connection):
    empty = {**collected(), "history": {"message": [], "users": []}}
    (created,) = converted(told, connection, None, empty)
    assert created.comments == ()


def test_a_message_keeps_its_id_whether_it_was_told_or_read(told, connection):
    comments = {
        e.comment.id for e in converted(told, connection, None, collected()) if isinstance(e, CommentCreated)
    }
    assert comments == {"message:60002", "message:60003"}
    assert isinstance(next(iter(converted(told, connection, None, collected()))).comments[0], Comment)
