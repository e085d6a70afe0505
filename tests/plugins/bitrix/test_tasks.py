"""A task is a ticket of its own kind, with the comments of whichever card it has."""

from typing import Any

import pytest
from gateway_plugins import bitrix

from gateway.api import (
    CommentCreated,
    Priority,
    Snapshot,
    Status,
    TicketCreated,
    TicketDeleted,
    TicketKind,
    TicketStatusChanged,
    TicketUpdated,
    UnreadableWebhook,
    Unrecognized,
)

TASK = {
    "id": "8899", "title": "Implantar Ana", "description": "[b]Plano[/b] Pro\n[size=1]gw:0123456789ab[/size]",
    "descriptionInBbcode": "Y", "status": "3", "subStatus": "-1", "priority": "2", "createdBy": "21",
    "creator": {"id": "21", "name": "Bia Ramos"}, "responsibleId": "15", "responsible": {"id": "15", "name": "Caio"},
    "groupId": "31", "createdDate": "2026-09-14T03:00:00+03:00", "changedDate": "2026-09-14T03:00:01+03:00",
    "changedBy": "22", "statusChangedBy": "15", "closedDate": None, "deadline": "2026-09-15T18:00:00-03:00",
    "ufCrmTask": ["D_1234", "C_305"], "chatId": "4400", "tags": {"17": {"id": 17, "title": "vip"}}, "ufAuto1": "pro",
}  # fmt: skip
MESSAGES = [
    {"id": 1, "author_id": 0, "date": "2026-09-14T03:00:00+03:00", "text": "Bia created the task"},
    {"id": 2, "author_id": 21, "date": "2026-09-14T03:00:01+03:00", "text": "Ligar [USER=15]Caio[/USER]"},
]
FORUM = [
    {"ID": "7002", "POST_MESSAGE": "depois", "AUTHOR_ID": "21", "POST_DATE": "2026-09-14T03:00:02+03:00"},
    {"ID": "7001", "POST_MESSAGE": "antes", "AUTHOR_ID": "15", "POST_DATE": "2026-09-14T03:00:01+03:00",
     "AUTHOR_NAME": "Caio"},
]  # fmt: skip


def collected(**changes: Any) -> dict[str, Any]:
    comments = changes.pop("comments", {"messages": MESSAGES, "users": [{"id": 21, "name": "Bia Ramos"}]})
    return {"kind": "task", "task": {**TASK, **changes}, "contact": None, **comments}


@pytest.fixture
def converted(told, connected):
    connection = connected(groups={"Suporte": 31}, custom_fields={"plan": {"task": "UF_AUTO_1"}})

    def convert(name: str = "ONTASKUPDATE", read: Any = None, before: Any = None) -> list[Any]:
        return bitrix.convert_webhook(
            webhook=told(name), collected=read, before=before, connection=connection
        )

    return convert


def test_a_new_task(converted):
    created, comment = converted("ONTASKADD", collected())
    assert isinstance(created, TicketCreated)
    assert created.actor.known() == {"id": "21", "name": "Bia Ramos", "is_agent": True}
    ticket = created.ticket
    assert (ticket.ref.id, ticket.kind) == ("task:8899", TicketKind.TASK)
    assert (ticket.subject, ticket.description) == ("Implantar Ana", "Plano Pro")
    assert (ticket.status, ticket.remote_status) == (Status.OPEN, "3")
    assert (ticket.priority, ticket.remote_priority) == (Priority.HIGH, "2")
    assert (ticket.assignee.id, ticket.assignee.name, ticket.team) == ("15", "Caio", "Suporte")
    assert ticket.tags == {"vip"}
    assert ticket.custom_fields == {"plan": "pro"}
    assert ticket.remote_fields == {
        "subStatus": "-1", "groupId": "31", "ufCrmTask": ["D_1234", "C_305"], "chatId": "4400",
    }  # fmt: skip
    assert ticket.due_at.isoformat() == "2026-09-15T21:00:00+00:00"
    assert ticket.url == "https://acme.bitrix24.com.br/company/personal/user/0/tasks/task/view/8899/"
    assert isinstance(comment, CommentCreated)
    assert (comment.comment.id, comment.comment.body, comment.comment.is_private) == (
        "message:2",
        "Ligar Caio",
        True,
    )
    assert comment.actor.name == "Bia Ramos"


def test_the_old_card_keeps_comments_in_a_forum(converted):
    _, one, other = converted(
        "ONTASKCOMMENTADD.oldcard", collected(chatId=None, comments={"comments": FORUM})
    )
    assert [e.comment.id for e in (one, other)] == ["task:8899:7001", "task:8899:7002"]
    assert (one.comment.body, one.comment.author.name) == ("antes", "Caio")


def test_the_contact_comes_with_the_task(converted):
    contact = {"id": 305, "name": "Ana", "fm": [{"typeId": "PHONE", "value": "11999990000"}]}
    (created, *_) = converted("ONTASKADD", {**collected(), "contact": contact})
    assert created.ticket.contact.phones == ("+5511999990000",)
    assert "contact" not in converted("ONTASKADD", collected())[0].ticket.model_fields_set


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("1", Status.NEW), ("2", Status.NEW), ("3", Status.OPEN), ("4", Status.RESOLVED), ("5", Status.CLOSED),
        ("6", Status.ON_HOLD), ("7", Status.CANCELED), ("8", None), (5, Status.CLOSED),
    ],
)  # fmt: skip
def test_statuses(converted, word, status):
    ticket = converted("ONTASKADD", collected(status=word))[0].ticket
    assert (ticket.status, ticket.remote_status) == (status, str(word))


def read(converted: Any, **changes: Any) -> Snapshot:
    (created, *_) = converted("ONTASKADD", collected(**changes))
    return Snapshot(ticket=created.ticket, comments=created.comments)


def test_a_status_is_told_with_whoever_changed_it(converted):
    (event,) = converted("ONTASKUPDATE", collected(), read(converted, status="2"))
    assert isinstance(event, TicketStatusChanged)
    assert (event.old, event.new, event.actor.id) == (Status.NEW, Status.OPEN, "15")


def test_a_colleagues_change_right_before_ours_is_not_taken_for_ours(converted):
    (event,) = converted("ONTASKUPDATE", collected(changedBy="15"), read(converted, title="Outra"))
    assert isinstance(event, TicketUpdated)
    assert event.actor is None
    (event,) = converted("ONTASKUPDATE", collected(), read(converted, title="Outra"))
    assert event.actor.id == "22"


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ({"1": {"id": 1, "title": "a"}}, {"a"}), ([], set()), (["a", "b"], {"a", "b"}), ([{"title": "a"}], {"a"}),
        (None, set()),
    ],
)  # fmt: skip
def test_tags_in_all_their_shapes(converted, tags, found):
    assert converted("ONTASKADD", collected(tags=tags))[0].ticket.tags == found


def test_a_description_may_be_html(converted):
    ticket = converted("ONTASKADD", collected(descriptionInBbcode="N", description="<p>Olá <b>Ana</b></p>"))[
        0
    ].ticket
    assert ticket.description == "Olá Ana"


def test_a_user_field_that_is_empty_is_known_to_be(converted):
    for empty in ("", False, [], None):
        assert converted("ONTASKADD", collected(ufAuto1=empty))[0].ticket.custom_fields == {"plan": None}
    task = {name: value for name, value in TASK.items() if name != "ufAuto1"}
    assert converted("ONTASKADD", {**collected(), "task": task})[0].ticket.custom_fields == {}


def test_a_team_without_a_name_of_ours_is_its_number(converted):
    assert converted("ONTASKADD", collected(groupId="32"))[0].ticket.team == "32"
    assert converted("ONTASKADD", collected(groupId="0"))[0].ticket.team is None


def test_a_deleted_task_is_told_without_being_read(converted):
    (event,) = converted("ONTASKDELETE")
    assert isinstance(event, TicketDeleted)
    assert (event.id, event.ticket.ref.id, event.ticket.deleted) == ("deleted:task:8899", "task:8899", True)


@pytest.mark.parametrize(
    "name", ["ONTASKADD", "ONTASKUPDATE", "ONCRMDEALADD", "ONCRMTIMELINECOMMENTADD.fields"]
)
def test_a_hint_alone_says_nothing(converted, name):
    with pytest.raises(UnreadableWebhook, match="not read back"):
        converted(name)


@pytest.mark.parametrize(
    "name",
    ["ONAPPINSTALL", "ONAPPUNINSTALL", "ONCRMACTIVITYADD", "ONCRMLEADADD", "ONCRMDYNAMICITEMADD"],
)
def test_what_we_have_no_word_for_is_kept(converted, name):
    (event,) = converted(name)
    assert isinstance(event, Unrecognized)
    assert event.remote_kind == name


@pytest.mark.parametrize("moment", ["2026-09-14T03:00:00", "14.09.2026", "", None, 5])
def test_a_moment_without_a_zone_is_not_guessed(converted, moment):
    assert converted("ONTASKADD", collected(deadline=moment))[0].ticket.due_at is None
