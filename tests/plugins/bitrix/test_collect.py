"""What is read back is all that is there, with as few calls as that takes."""

from datetime import timedelta

import pytest
from gateway_plugins import bitrix

from gateway.api import ApiError, ApiFailure, CommentCreated, DealLost, DealWon, Status, TicketRef
from gateway.clock import utc_now


def test_a_deal_with_its_contact_is_two_calls(sandbox):
    id_ = sandbox.open(kind="deal", title="Plano", contact={"name": "Ana", "phone": "11999990000"})["id"]
    found = sandbox.read(id_)
    assert (found["kind"], found["item"]["title"], found["contact"]["name"]) == ("deal", "Plano", "Ana")
    assert sandbox.methods() == ["crm.item.get", "crm.item.get"]


@pytest.mark.parametrize("tells", [True, False])
@pytest.mark.parametrize(
    ("category", "stage", "kinds"),
    [
        (0, "WON", [DealWon]), (0, "APOLOGY", [DealLost]), (0, "EXECUTING", []), (3, "C3:1", [DealWon]),
        (3, "C3:UC_LOST", [DealLost]), (3, "C3:UC_8X1Y2Z", []),
    ],
)  # fmt: skip
def test_the_meaning_of_a_stage_is_asked_for_where_the_deal_does_not_tell(
    sandbox_with, tells, category, stage, kinds
):
    with sandbox_with(tells_semantics=tells) as sandbox:
        id_ = sandbox.open(kind="deal", title="x", categoryId=category)["id"]
        sandbox.change(id_, stageId=stage)
        assert [type(event) for event in sandbox.events(id_)[1:]] == kinds
        assert ("crm.status.list" in sandbox.methods()) is not tells


def test_a_contact_that_is_gone_is_nobody(sandbox):
    id_ = sandbox.open(kind="deal", title="x", contact={"name": "Ana"})["id"]
    contact = sandbox.read(id_)["contact"]["id"]
    sandbox.change(f"contact:{contact}", deleted=True)
    assert sandbox.read(id_)["contact"] is None


@pytest.mark.parametrize("card", ["old", "new"])
def test_a_task_with_all_that_was_said_on_it(sandbox_with, card):
    with sandbox_with(task_card=card) as sandbox:
        id_ = sandbox.open(title="x", contact={"name": "Ana", "phone": "11999990000"})["id"]
        for number in range(130):
            sandbox.change(id_, comment=f"nota {number}")
        events = sandbox.events(id_)
        said = [event.comment.body for event in events if isinstance(event, CommentCreated)]
        assert said == [f"nota {number}" for number in range(130)]
        assert events[0].ticket.contact.phones == ("+5511999990000",)


def test_a_chat_with_its_contact(sandbox):
    contact = sandbox.open(kind="contact", name="Ana", phone="11999990000")["id"].removeprefix("contact:")
    chat = sandbox.open(kind="chat", message="Olá", contact=int(contact))["id"]
    sandbox.change(chat, message="Bom dia", author="operator")
    created, first, second = sandbox.events(chat)
    assert (created.ticket.status, created.ticket.contact.phones) == (Status.OPEN, ("+5511999990000",))
    assert [(each.comment.body, each.comment.author.is_agent) for each in (first, second)] == [
        ("Olá", False), ("Bom dia", True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "id_",
    [
        "task:999",
        "999",
        "deal:999",
        "contact:999",
        "chat:999",
        "session:999",
        "timeline:999",
        "chat:imol|a|1|b|c",
    ],
)
def test_what_is_not_there_is_missing(sandbox, id_):
    with pytest.raises(ApiError) as raised:
        sandbox.read(id_)
    assert raised.value.failure is ApiFailure.MISSING


@pytest.mark.parametrize("id_", ["lead:7", "user:7", "spa:1040:9", "deal:", ":7", "deal:x", "+k"])
def test_what_cannot_be_read_is_refused(sandbox, id_):
    with pytest.raises(ApiError) as raised:
        sandbox.read(id_)
    assert raised.value.failure in (ApiFailure.REFUSED, ApiFailure.MISSING)


def test_what_changed_is_listed_once_and_in_pages(sandbox):
    long_ago = sandbox.open(title="x")["id"]
    ids = {
        sandbox.open(kind=kind, title="x", name="x")["id"]
        for kind in ("task", "deal", "contact")
        for _ in range(60)
    }
    since = utc_now() - timedelta(minutes=1)
    found = list(bitrix.list_changed(since=since, api=sandbox.api()))
    assert len(found) == len(set(found))
    assert set(found) == {TicketRef("b24", id_) for id_ in {*ids, long_ago}}
    assert list(bitrix.list_changed(since=utc_now() + timedelta(hours=1), api=sandbox.api())) == []
