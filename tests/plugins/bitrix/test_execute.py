"""What we do in the portal is done once, found again, and refused in words where it cannot be."""

from contextlib import suppress
from typing import Any

import pytest

from gateway.api import (
    AddComment,
    AddTags,
    ApiError,
    ApiFailure,
    AssignTo,
    CommentCreated,
    Contact,
    ContactUpdated,
    CreateTicket,
    DealUpdated,
    Notify,
    Priority,
    RemoveTags,
    SaveContact,
    SetFields,
    SetPriority,
    SetStatus,
    Status,
    TicketKind,
    TicketRef,
)
from gateway.model.echo import is_ours

ANA = Contact(
    name="Ana Souza", phones=("(11) 99999-0000",), email="ana@padaria.example", document="52998224725"
)


def on(id_: str, **more: Any) -> dict[str, Any]:
    return {
        "ticket": TicketRef("b24", id_),
        "reason": "r",
        "id": f"action-{id_}-{sorted(more.items())}",
        **more,
    }


def opening(**more: Any) -> CreateTicket:
    given = {
        "connection": "b24", "key": "k", "subject": "Implantar Ana", "description": "Plano [b]Pro[/b]",
        "reason": "r", "id": "action-open", "ticket_kind": TicketKind.TASK,
    }  # fmt: skip
    return CreateTicket(**{**given, **more})


def done_once(sandbox: Any, action: Any) -> Any:
    """Not found before, found after, with the same names."""
    assert sandbox.find(action) is None
    receipt = sandbox.do(action)
    found = sandbox.find(action)
    assert found.url == receipt.url
    assert None in (found.remote_id, receipt.remote_id) or found.remote_id == receipt.remote_id
    return receipt


# --- something new ----------------------------------------------------------------------------------------------


def test_a_deal_is_opened_with_its_contact(sandbox):
    receipt = done_once(
        sandbox,
        opening(
            type="Deal",
            contact=ANA,
            assignee="21",
            tags=("vip",),
            custom_fields={"ticket_url": "https://x.example/7"},
        ),
    )
    assert (
        receipt.url
        == f"https://acme.bitrix24.com.br/crm/deal/details/{receipt.remote_id.removeprefix('deal:')}/"
    )
    deal = sandbox.ticket(receipt.remote_id)
    assert (deal["title"], deal["stageId"], deal["assignedById"]) == ("Implantar Ana", "NEW", 21)
    assert (deal["UF_CRM_TAGS"], deal["UF_CRM_TICKET_URL"]) == (["vip"], "https://x.example/7")
    assert (deal["originatorId"], deal["originId"]) == ("gateway", "action-open")
    (event,) = sandbox.events(receipt.remote_id)
    assert event.customer.phones == ("+5511999990000",)
    assert is_ours(event, sandbox.connection.settings.own_ids(), [])


def test_a_deal_begins_where_the_settings_say(sandbox_with):
    with sandbox_with({"deal_pipeline": 3, "deal_stage": "C3:UC_8X1Y2Z", "responsible_id": 22}) as sandbox:
        deal = sandbox.ticket(sandbox.do(opening(type="deal")).remote_id)
    assert (deal["categoryId"], deal["stageId"], deal["assignedById"]) == (3, "C3:UC_8X1Y2Z", 22)


def test_a_task_is_bound_to_the_contact(sandbox):
    contact = sandbox.do(SaveContact(connection="b24", contact=ANA, reason="r", id="c1")).remote_id
    receipt = done_once(
        sandbox,
        opening(contact=ANA, team="Suporte", priority=Priority.URGENT, custom_fields={"ticket_url": "u"}),
    )
    task = sandbox.ticket(receipt.remote_id)
    assert (task["ufCrmTask"], task["groupId"], task["priority"], task["ufAuto1"]) == (
        [f"C_{contact}"],
        "31",
        "2",
        "u",
    )
    assert task["responsibleId"] == "15", "somebody must be"
    created = sandbox.events(receipt.remote_id)[0].ticket
    assert created.description == "Plano [b]Pro[/b]", "a customer's brackets are text, and our mark is gone"
    assert created.contact.phones == ("+5511999990000",)


def test_a_task_among_many_is_found_by_its_mark(sandbox):
    receipt = sandbox.do(opening())
    for number in range(60):
        sandbox.do(opening(id=f"other-{number}", key=f"o{number}"))
    assert sandbox.find(opening()).remote_id == receipt.remote_id
    assert sandbox.find(opening(id="never")) is None


def test_a_title_too_long_is_cut_and_an_empty_one_is_a_dash(sandbox):
    assert len(sandbox.ticket(sandbox.do(opening(subject="x" * 300)).remote_id)["title"]) == 250
    assert sandbox.ticket(sandbox.do(opening(subject="", id="b")).remote_id)["title"] == "-"


# --- comments ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["deal", "lead", "contact"])
def test_a_note_on_a_card(sandbox, kind):
    id_ = sandbox.open(kind=kind, title="Plano", name="Ana")["id"]
    receipt = done_once(sandbox, AddComment(**on(id_, body="Veja https://desk.example/7")))
    (event,) = sandbox.events(receipt.remote_id)
    assert isinstance(event, CommentCreated)
    assert (event.ticket.ref.id, event.comment.body) == (id_, "Veja https://desk.example/7")
    assert event.comment.id == receipt.remote_id
    assert is_ours(event, sandbox.connection.settings.own_ids(), [])


def test_a_note_on_a_smart_process(sandbox):
    item = sandbox.http.post(
        "/rest/15/portal-secret-1/crm.item.add", json={"entityTypeId": 1040, "fields": {"title": "x"}}
    )
    id_ = f"spa:1040:{item.json()['result']['item']['id']}"
    receipt = done_once(sandbox, AddComment(**on(id_, body="oi")))
    assert sandbox.events(receipt.remote_id)[0].ticket.ref.id == id_


def test_the_same_words_said_for_another_reason_are_not_taken_for_ours(sandbox):
    id_ = sandbox.open(kind="deal", title="x")["id"]
    sandbox.do(AddComment(**on(id_, body="Cliente ligou", id="first")))
    assert sandbox.find(AddComment(**on(id_, body="Cliente ligou", id="second"))) is None
    sandbox.change(id_, comment="Cliente escreveu")
    assert sandbox.find(AddComment(**on(id_, body="Cliente escreveu", id="third"))) is None, (
        "a colleague's words"
    )


def test_our_words_are_found_although_their_mark_was_dropped(sandbox):
    id_ = sandbox.open(kind="deal", title="x")["id"]
    sandbox.change(id_, comment="Cliente [b]ligou[/b]", by=15)
    assert sandbox.find(AddComment(**on(id_, body="Cliente ligou", id="x"))) is not None


@pytest.mark.parametrize("card", ["old", "new"])
def test_a_comment_on_a_task_in_either_card(sandbox_with, card):
    with sandbox_with(task_card=card) as sandbox:
        id_ = sandbox.open(title="x")["id"]
        receipt = done_once(sandbox, AddComment(**on(id_, body="Falta o telefone")))
        comments = [e.comment for e in sandbox.events(id_) if isinstance(e, CommentCreated)]
        assert [c.body for c in comments] == ["Falta o telefone"]
        assert (receipt.remote_id is not None) == (card == "old")
        method = "task.commentitem.add" if card == "old" else "tasks.task.chat.message.send"
        assert method in sandbox.methods()


def test_the_old_method_can_be_chosen_where_the_third_version_is_closed(sandbox_with):
    with sandbox_with({"task_card": "old"}) as sandbox:
        id_ = sandbox.open(title="x")["id"]
        assert sandbox.do(AddComment(**on(id_, body="oi"))).remote_id
        assert "task.commentitem.add" in sandbox.methods()


@pytest.fixture
def chat(sandbox):
    """A customer's chat that belongs to a deal."""
    deal = sandbox.open(kind="deal", title="Plano")["id"]
    chat = sandbox.open(
        kind="chat", customer="5511999990000", message="Olá", deal=int(deal.removeprefix("deal:"))
    )
    return chat["id"], deal


def test_a_public_comment_in_a_chat_reaches_the_customer(sandbox, chat):
    receipt = done_once(sandbox, AddComment(**on(chat[0], body="Bom dia", is_private=False)))
    said = sandbox.ticket(chat[0])["messages"][-1]
    assert (said["text"], said["author_id"], receipt.remote_id) == ("Bom dia", 15, f"message:{said['id']}")
    told = [e for e in sandbox.events(chat[0]) if isinstance(e, CommentCreated)][-1]
    assert told.comment.id == receipt.remote_id
    assert is_ours(told, sandbox.connection.settings.own_ids(), [])


def test_a_private_comment_in_a_chat_is_a_note_on_its_deal(sandbox, chat):
    done_once(sandbox, AddComment(**on(chat[0], body="Cliente irritado")))
    assert "Cliente irritado" in sandbox.ticket(chat[1])["timeline"][0]["COMMENT"]
    assert len(sandbox.ticket(chat[0])["messages"]) == 1, "the customer sees nothing of it"


def test_a_chat_may_be_named_as_links_name_it(sandbox, chat):
    entity = sandbox.ticket(chat[0])["entity_id"]
    session = sandbox.ticket(chat[0])["session"]
    for number, id_ in enumerate((f"chat:{entity}", f"session:{session}")):
        sandbox.do(AddComment(**on(id_, body=f"oi {number}", is_private=False)))
    assert [each["text"] for each in sandbox.ticket(chat[0])["messages"]] == ["Olá", "oi 0", "oi 1"]


def test_a_chat_without_a_card_takes_nothing(sandbox):
    chat = sandbox.open(kind="chat", customer="5511888880000")["id"]
    assert sandbox.do(AddComment(**on(chat, body="x"))) is None, "there is no place for a note"
    with pytest.raises(ApiError, match="belongs to no card") as raised:
        sandbox.do(AddComment(**on(chat, body="x", is_private=False)))
    assert raised.value.failure is ApiFailure.REFUSED


def test_another_operator_may_speak(sandbox_with):
    with sandbox_with({"chat_user_id": 22}) as sandbox:
        deal = sandbox.open(kind="deal", title="x")["id"]
        chat = sandbox.open(kind="chat", deal=int(deal.removeprefix("deal:")))["id"]
        done_once(sandbox, AddComment(**on(chat, body="Bom dia", is_private=False)))
        assert sandbox.ticket(chat)["messages"][-1]["author_id"] == 22


# --- changes ----------------------------------------------------------------------------------------------------


def test_changes_of_a_task(sandbox):
    id_ = sandbox.open(title="x", tags=["antiga", "VIP"])["id"]
    for action in (
        SetStatus(**on(id_, status=Status.OPEN)),
        SetPriority(**on(id_, priority=Priority.HIGH)),
        AssignTo(**on(id_, assignee="22", team="Suporte")),
        AddTags(**on(id_, tags=("vip", "nova"))),
        RemoveTags(**on(id_, tags=("ANTIGA",))),
        SetFields(**on(id_, fields={"ticket_url": "u"})),
    ):
        done_once(sandbox, action)
    task = sandbox.ticket(id_)
    assert (task["status"], task["priority"], task["responsibleId"], task["groupId"]) == (
        "3",
        "2",
        "22",
        "31",
    )
    assert (sorted(tag["title"] for tag in task["tags"].values()), task["ufAuto1"]) == (["VIP", "nova"], "u")


def test_a_team_may_be_named_by_its_number_and_a_status_by_its_code(sandbox):
    id_ = sandbox.open(title="x")["id"]
    sandbox.do(AssignTo(**on(id_, team="32")))
    sandbox.do(SetStatus(**on(id_, status=Status.RESOLVED, remote_status="5")))
    task = sandbox.ticket(id_)
    assert (task["groupId"], task["status"], task["responsibleId"]) == ("32", "5", "21")


def test_what_is_so_already_is_not_written(sandbox):
    id_ = sandbox.open(title="x", tags=["vip"])["id"]
    assert sandbox.do(AddTags(**on(id_, tags=("vip",)))) is not None
    assert sandbox.do(RemoveTags(**on(id_, tags=("other",)))) is not None
    assert "tasks.task.update" not in sandbox.methods()


def test_changes_of_a_deal(sandbox):
    id_ = sandbox.open(kind="deal", title="x", categoryId=3)["id"]
    for action in (
        SetStatus(**on(id_, status=Status.CLOSED, remote_status="C3:1")),
        AssignTo(**on(id_, assignee="22")),
        AddTags(**on(id_, tags=("vip", "novo"))),
        RemoveTags(**on(id_, tags=("vip",))),
        SetFields(**on(id_, fields={"plan": "pro", "ticket_url": "u"})),
    ):
        done_once(sandbox, action)
    deal = sandbox.ticket(id_)
    assert (deal["stageSemanticId"], deal["assignedById"], deal["UF_CRM_TAGS"]) == ("S", 22, ["novo"])
    assert (deal["UF_CRM_PLAN"], deal["UF_CRM_TICKET_URL"]) == ("pro", "u")
    updated, won = sandbox.events(id_)
    assert isinstance(updated, DealUpdated)
    assert (won.kind, won.actor.id) == ("deal.won", "15"), "we moved it ourselves"


@pytest.mark.parametrize(
    "action",
    [
        SetStatus(**on("task:1", status=Status.CANCELED)),
        AssignTo(**on("task:1")),
        SetStatus(**on("deal:1", status=Status.CLOSED)),
        SetPriority(**on("deal:1", priority=Priority.HIGH)),
        AssignTo(**on("deal:1", team="Suporte")),
        AddTags(**on("lead:1", tags=("x",))),
        SetStatus(**on("chat:1", status=Status.CLOSED)),
        AssignTo(**on("chat:1", assignee="21")),
        AddTags(**on("chat:1", tags=("x",))),
        AddComment(**on("user:1", body="x")),
        AddComment(**on("other:1", body="x")),
        Notify(channel="c", title="t", body="b", reason="r"),
    ],
    ids=lambda action: f"{action.kind}-{getattr(action, 'ticket', '')}",
)
def test_what_cannot_be_done_is_unsupported_without_a_call(sandbox, action):
    assert sandbox.do(action) is None
    assert sandbox.find(action) is None
    assert [method for method in sandbox.methods() if method not in ("tasks.task.get", "crm.item.get")] == []


@pytest.mark.parametrize(
    ("action", "why"),
    [
        (SetFields(**on("task:1", fields={"plan": "x", "nix": 1})), "nix, plan is no field of a task"),
        (AssignTo(**on("task:1", assignee="ana@acme.example")), "no user's id"),
        (AssignTo(**on("task:1", team="Outra")), "not in the connection's `groups`"),
        (SetStatus(**on("task:x", status=Status.OPEN)), "names no task"),
        (AddComment(**on("deal:x", body="x")), "names no card"),
        (AddComment(**on("spa:9", body="x")), "names no card"),
        (opening(custom_fields={"nix": 1}), "nix is no field"),
        (opening(assignee="ana"), "no user's id"),
        (SaveContact(connection="b24", contact=Contact(), reason="r"), "needs a name"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_in_words(sandbox, action, why):
    with pytest.raises(ApiError, match=why) as raised:
        sandbox.do(action)
    assert raised.value.failure is ApiFailure.REFUSED
    assert not raised.value.uncertain


@pytest.mark.parametrize("id_", ["task:999999", "deal:999999"])
def test_what_is_not_there_is_missing(sandbox, id_):
    for action in (
        AddComment(**on(id_, body="x")),
        AssignTo(**on(id_, assignee="22")),
        AddTags(**on(id_, tags=("x",))),
    ):
        with pytest.raises(ApiError) as raised:
            sandbox.do(action)
        assert raised.value.failure is ApiFailure.MISSING, action.kind


# --- contacts ---------------------------------------------------------------------------------------------------


def saved(sandbox: Any, contact: Contact) -> str:
    action = SaveContact(connection="b24", contact=contact, reason="r", id=f"save-{contact}")
    receipt = sandbox.do(action)
    assert sandbox.find(action).remote_id == receipt.remote_id
    return receipt.remote_id


def known(sandbox: Any, id_: str) -> Contact:
    (event,) = sandbox.events(f"contact:{id_}")
    assert isinstance(event, ContactUpdated)
    return event.contact


def test_a_new_contact(sandbox):
    id_ = saved(sandbox, ANA)
    found = known(sandbox, id_)
    assert (found.name, found.email, found.phones) == (
        "Ana Souza",
        "ana@padaria.example",
        ("+5511999990000",),
    )
    assert found.document == "52998224725"


@pytest.mark.parametrize(
    "told",
    [
        Contact(document="52998224725", name="A. Souza"),
        Contact(email="ANA@padaria.example"),
        Contact(phones=("+55 11 99999-0000",)),
        Contact(phones=("(11) 99999-0000",), name="Outra"),
    ],
)
def test_whoever_is_known_is_found_and_not_made_again(sandbox, told):
    id_ = saved(sandbox, ANA)
    assert saved(sandbox, told) == id_
    assert known(sandbox, id_).name == "Ana Souza", "nobody is renamed"


def test_a_number_filed_before_the_ninth_digit_is_found(sandbox):
    id_ = sandbox.open(kind="contact", name="Ana", phone="+551199990000")["id"].removeprefix("contact:")
    assert saved(sandbox, Contact(phones=("(11) 99999-0000",))) == id_
    assert known(sandbox, id_).phones == ("+551199990000", "+5511999990000"), "both are kept"


def test_what_is_missing_is_added_and_what_is_there_stays(sandbox):
    id_ = saved(sandbox, Contact(name="Ana", phones=("1133334444",)))
    assert saved(sandbox, Contact(id=id_, phones=("11999990000",), email="ana@x.example")) == id_
    assert known(sandbox, id_).phones == ("+551133334444", "+5511999990000")
    before = len(sandbox.methods())
    assert saved(sandbox, Contact(id=id_, email="Ana@X.example")) == id_
    assert "crm.contact.update" not in sandbox.methods()[before:], "there was nothing to write"


def test_a_contact_without_a_name_is_called_by_what_is_known(sandbox):
    assert known(sandbox, saved(sandbox, Contact(phones=("11999990000",)))).name == "11999990000"


def test_a_deleted_contact_is_made_anew(sandbox):
    id_ = saved(sandbox, ANA)
    sandbox.change(f"contact:{id_}", deleted=True)
    assert saved(sandbox, ANA.model_copy(update={"id": id_})) != id_


def test_the_id_of_a_tickets_contact_may_be_another_systems(sandbox):
    stranger = sandbox.open(kind="contact", name="Outra")["id"].removeprefix("contact:")
    receipt = sandbox.do(opening(contact=ANA.model_copy(update={"id": stranger})))
    assert sandbox.ticket(receipt.remote_id)["ufCrmTask"] != [f"C_{stranger}"]


# --- interrupted ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda s: opening(type="deal", contact=ANA),
        lambda s: AddComment(**on(s.open(kind="deal", title="x")["id"], body="oi")),
        lambda s: SetFields(**on(s.open(kind="deal", title="x")["id"], fields={"plan": "pro"})),
        lambda s: AddTags(**on(s.open(kind="deal", title="x")["id"], tags=("vip",))),
        lambda s: AddComment(**on(chat_of_a_deal(s), body="oi", is_private=False)),
    ],
    ids=["deal", "note", "fields", "tags", "chat"],
)  # fmt: skip
def test_an_answer_that_was_lost_leads_to_no_second_effect(sandbox, make):
    """Every call in turn acts, and is not answered."""
    for number in range(4):
        action = make(sandbox)
        action = action.model_copy(update={"id": f"{action.id}-{number}"})
        before = writes(sandbox)
        sandbox.misbehave(kind="drop", skip=number, times=3)
        with suppress(ApiError):
            sandbox.do(action)
        sandbox.http.delete("/_sandbox/misbehave")
        receipt = sandbox.find(action) or sandbox.do(action)
        assert receipt is not None
        assert writes(sandbox) - before == 1


def chat_of_a_deal(sandbox: Any) -> str:
    deal = sandbox.open(kind="deal", title="x")["id"].removeprefix("deal:")
    return str(sandbox.open(kind="chat", deal=int(deal))["id"])


def writes(sandbox: Any) -> int:
    """Effects so far: things made, words said, and fields changed for good."""
    tickets = sandbox.http.get("/_sandbox/tickets").json()
    deals = [each for each in tickets if each["ref"].startswith("deal:")]
    return (
        sum("originId" in deal for deal in deals)
        + sum(len(deal["timeline"]) for deal in deals)
        + sum("UF_CRM_PLAN" in deal for deal in deals)
        + sum(len(deal.get("UF_CRM_TAGS", [])) for deal in deals)
        + sum(len(each["messages"]) - 1 for each in tickets if each["ref"].startswith("chat:"))
    )
