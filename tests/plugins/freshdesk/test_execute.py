"""Is every action done once at Freshdesk, found again when its answer was lost, and explained when refused?"""

import pytest
from gateway_plugins import freshdesk
from gateway_plugins.freshdesk import execute, marker
from hypothesis import given
from hypothesis import strategies as st

from gateway.api import (
    AddComment,
    AddTags,
    ApiError,
    ApiFailure,
    AssignTo,
    Contact,
    CreateTicket,
    Notify,
    Priority,
    RemoveTags,
    SaveContact,
    SetFields,
    SetPriority,
    SetStatus,
    Status,
    TicketRef,
)

WHY = "a test"
RUI = Contact(name="Rui Costa", email="Rui@Cliente.example")


def create(**more):
    known = {
        "connection": "fd", "key": "core:1", "subject": "CORE", "description": "Ligar para o cliente",
        "contact": RUI,
    }  # fmt: skip
    return CreateTicket(**{"id": "act-1", "reason": WHY, **known, **more})


def act(kind, ref, **more):
    return kind(**{"id": "act-1", "reason": WHY, "ticket": ref, **more})


# --- new tickets --------------------------------------------------------------------------------------------


def test_a_ticket_is_created_with_all_that_was_asked_for(sandbox):
    receipt = sandbox.do(create(
        team="Financeiro", assignee="Ana Dias", tags=("VIP", "a, b"), priority=Priority.HIGH, type="Task",
        custom_fields={"phone": "+551135550199", "cf_order": "A-77", "seats": 3},
    ))  # fmt: skip
    assert receipt.url == f"https://acme.freshdesk.com/a/tickets/{receipt.remote_id}"
    ticket = sandbox.snapshot(TicketRef("fd", receipt.remote_id)).ticket
    assert (ticket.subject, ticket.description) == ("CORE", "Ligar para o cliente")
    assert (ticket.team, ticket.assignee.id) == ("Financeiro", "43000002")
    assert ticket.tags == {"VIP", "a b"}
    assert (ticket.priority, ticket.type, ticket.status) == (Priority.HIGH, "Task", Status.OPEN)
    assert ticket.custom_fields == {"phone": "+551135550199", "plan": None, "seats": 3}
    assert ticket.remote_fields["cf_order"] == "A-77"
    assert (ticket.contact.name, ticket.contact.email) == ("Rui Costa", "rui@cliente.example")


def test_the_least_that_a_ticket_needs_is_filled_in(sandbox):
    ref = TicketRef("fd", sandbox.do(create(contact=None)).remote_id)
    made = sandbox.ticket(ref)
    assert (made["status"], made["priority"], made["source"]) == (2, 1, 2)
    assert made["requester_id"] == 43000001
    assert made["tags"] == [marker.tag("act-1")]
    assert sandbox.calls()[0] == ("POST", "/tickets")


def test_what_the_accounts_form_requires_comes_from_the_settings(sandbox_with):
    settings = {"product_id": 501, "email_config_id": 601, "default_type": "Incident"}
    with sandbox_with(settings=settings) as sandbox:
        made = sandbox.ticket(TicketRef("fd", sandbox.do(create()).remote_id))
        assert (made["product_id"], made["email_config_id"], made["type"]) == (501, 601, "Incident")


@pytest.mark.parametrize("is_html", [False, True])
def test_html_is_cleaned_and_text_is_escaped(sandbox, is_html):
    body = "<b>Olá</b> <script>alert(1)</script>1 < 2"
    ref = TicketRef("fd", sandbox.do(create(description=body, is_html=is_html)).remote_id)
    sandbox.do(act(AddComment, ref, body=body, is_html=is_html))
    for html in (sandbox.ticket(ref)["description"], sandbox.ticket(ref)["conversations"][0]["body"]):
        assert "<script" not in html
        assert ("<b>Olá</b>" in html) is is_html
        assert ("&lt;b&gt;Olá&lt;/b&gt;" in html) is not is_html


def test_an_unanswered_creation_is_found_among_the_newest_tickets(sandbox):
    for _ in range(3):
        sandbox.open()
    assert sandbox.found(create()) is None
    sandbox.misbehave(kind="drop", times=1, method="POST", path="/api/v2/tickets")
    with pytest.raises(ApiError) as lost:
        sandbox.do(create())
    assert lost.value.uncertain
    assert len(sandbox.tickets()) == 4, "a POST is not repeated in place"
    assert sandbox.found(create()).remote_id == "4714"
    assert sandbox.found(create(id="act-2")) is None


def test_an_old_creation_is_found_by_the_search(sandbox_with, monkeypatch):
    monkeypatch.setattr(execute, "NEWEST_PAGES", 1)
    monkeypatch.setattr("gateway_plugins.freshdesk.collect.PAGE", 2)
    with sandbox_with(search_lag=-1) as sandbox:
        sandbox.do(create())
        for _ in range(3):
            sandbox.open()
        assert sandbox.found(create()).remote_id == "4711"


def test_an_answer_without_an_id_is_looked_into(sandbox):
    sandbox.misbehave(kind="status", status=201, times=1, method="POST")
    with pytest.raises(ApiError) as odd:
        sandbox.do(create())
    assert (odd.value.failure, odd.value.uncertain) == (ApiFailure.UNANSWERED, True)


# --- comments -----------------------------------------------------------------------------------------------


def test_a_private_comment_is_a_note_and_a_public_one_a_reply(sandbox):
    ref = sandbox.open()
    note = sandbox.do(act(AddComment, ref, body="só nós"))
    reply = sandbox.do(act(AddComment, ref, id="act-2", body="Olá & <tudo>\nbem?", is_private=False))
    first, second = sandbox.snapshot(ref).comments
    assert (first.id, first.body, first.is_private) == (note.remote_id, "só nós", True)
    assert (second.id, second.is_private) == (reply.remote_id, False)
    assert second.body == "Olá & <tudo>\nbem?"
    assert {comment.author.id for comment in (first, second)} == {"43000001"}
    assert [row["source"] for row in sandbox.ticket(ref)["conversations"]] == [2, 0]


def test_no_customer_ever_reads_a_marker(sandbox_with):
    for html in ("kept", "plain"):
        with sandbox_with(html=html) as sandbox:
            ref = sandbox.open()
            sandbox.do(act(AddComment, ref, body="Bom dia", is_private=False))
            assert sandbox.ticket(ref)["conversations"][0]["body_text"] == "Bom dia"


@pytest.mark.parametrize("html", ["kept", "plain"])
@pytest.mark.parametrize("is_private", [True, False])
def test_an_unanswered_comment_is_found_again_however_it_was_rewritten(sandbox_with, html, is_private):
    with sandbox_with(html=html) as sandbox:
        ref = sandbox.open()
        sandbox.say(ref, "Bom dia", customer=True)
        action = act(AddComment, ref, body="Bom <dia>", is_private=is_private)
        assert sandbox.found(action) is None
        sandbox.misbehave(kind="drop", times=1, method="POST")
        with pytest.raises(ApiError) as lost:
            sandbox.do(action)
        assert lost.value.uncertain
        rows = sandbox.ticket(ref)["conversations"]
        assert len(rows) == 2
        assert sandbox.found(action).remote_id == str(rows[1]["id"])
        assert sandbox.found(act(AddComment, ref, id="act-2", body="Até logo", is_private=is_private)) is None


def test_the_same_words_of_another_action_are_not_taken_for_ours(sandbox):
    ref = sandbox.open()
    sandbox.do(act(AddComment, ref, body="Bom dia"))
    sandbox.say(ref, "Bom dia", private=True)
    assert sandbox.found(act(AddComment, ref, id="act-2", body="Bom dia")) is None


# --- tags ---------------------------------------------------------------------------------------------------


def test_tags_are_merged_and_not_replaced(sandbox):
    ref = sandbox.open(tags=["billing", "VIP"])
    sandbox.do(act(AddTags, ref, tags=("vip", "sem-telefone", "um, dois")))
    assert sandbox.ticket(ref)["tags"] == ["billing", "VIP", "sem-telefone", "um dois"]
    sandbox.do(act(RemoveTags, ref, tags=("BILLING", "never there")))
    assert sandbox.ticket(ref)["tags"] == ["VIP", "sem-telefone", "um dois"]


def test_nothing_is_written_where_no_tag_is_missing(sandbox):
    ref = sandbox.open(tags=["vip"])
    sandbox.do(act(AddTags, ref, tags=("vip",)))
    sandbox.do(act(RemoveTags, ref, tags=("absent",)))
    assert {method for method, _ in sandbox.calls()} == {"GET"}


def test_a_tag_that_came_meanwhile_survives_a_lost_answer(sandbox):
    ref = sandbox.open(tags=["a"])
    action = act(AddTags, ref, tags=("ours",))
    sandbox.misbehave(kind="drop", times=1, method="PUT")
    with pytest.raises(ApiError) as lost:
        sandbox.do(action)
    assert lost.value.uncertain
    assert sandbox.calls().count(("PUT", f"/tickets/{ref.id}")) == 1, "an old list is not written twice"
    sandbox.change(ref, tags=["a", "theirs"])
    assert sandbox.found(action) is None
    sandbox.do(action)
    assert sandbox.ticket(ref)["tags"] == ["a", "theirs", "ours"]
    assert sandbox.found(action).url == f"https://acme.freshdesk.com/a/tickets/{ref.id}"


def test_removed_tags_are_found_gone(sandbox):
    ref = sandbox.open(tags=["a", "b"])
    action = act(RemoveTags, ref, tags=("b",))
    assert sandbox.found(action) is None
    sandbox.do(action)
    assert sandbox.found(action)


def test_our_mark_stays_when_tags_are_merged(sandbox):
    ref = TicketRef("fd", sandbox.do(create(tags=("core",))).remote_id)
    sandbox.do(act(RemoveTags, ref, tags=("core",)))
    assert sandbox.ticket(ref)["tags"] == [marker.tag("act-1")]
    assert sandbox.snapshot(ref).ticket.tags == frozenset()


@given(st.text(max_size=60))
def test_a_normal_tag_stays_as_it_is_and_fits(tag):
    normal = execute.normal_tag(tag)
    assert execute.normal_tag(normal) == normal
    assert len(normal) <= 32
    assert "," not in normal


@given(
    st.lists(st.text("aAbB,- ", max_size=5), max_size=5), st.lists(st.text("aAbB-", min_size=1), max_size=5)
)
def test_adding_and_removing_tags_again_changes_nothing(tags, present):
    ref = TicketRef("fd", "1")
    for kind in (AddTags, RemoveTags):
        once = execute._merged(act(kind, ref, tags=tuple(tags)), present)
        assert execute._merged(act(kind, ref, tags=tuple(tags)), once) == once


# --- fields -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "number"), [
    (Status.NEW, 2), (Status.OPEN, 2), (Status.PENDING, 3), (Status.ON_HOLD, 7), (Status.RESOLVED, 4),
    (Status.CLOSED, 5),
])  # fmt: skip
def test_statuses_round_trip(sandbox, status, number):
    ref = sandbox.open(status=6)
    action = act(SetStatus, ref, status=status)
    assert sandbox.found(action) is None
    sandbox.do(action)
    assert sandbox.ticket(ref)["status"] == number
    assert sandbox.found(action)
    assert sandbox.snapshot(ref).ticket.status is (Status.OPEN if status is Status.NEW else status)


@pytest.mark.parametrize("label", ["Agendado", "agendado", "8"])
def test_the_accounts_own_statuses_are_set_by_their_label_or_number(sandbox, label):
    ref = sandbox.open()
    sandbox.do(act(SetStatus, ref, status=Status.ON_HOLD, remote_status=label))
    assert sandbox.ticket(ref)["status"] == 8
    read = sandbox.snapshot(ref).ticket
    assert (read.remote_status, read.status) == ("Agendado", None)


def test_a_status_of_the_settings_has_our_word(sandbox_with):
    with sandbox_with(settings={"statuses": {"Agendado": {"id": 8, "means": "on_hold"}}}) as sandbox:
        ref = sandbox.open()
        sandbox.do(act(SetStatus, ref, status=Status.ON_HOLD))
        assert sandbox.ticket(ref)["status"] == 8
        assert sandbox.snapshot(ref).ticket.status is Status.ON_HOLD
        assert ("GET", "/ticket_fields") not in sandbox.calls()


def test_a_status_of_its_own_takes_the_place_of_no_usual_one_but_is_preferred_to_waiting(sandbox_with):
    own = {
        "Agendado": {"id": 8, "means": "open"}, "Aberto": {"id": 2, "means": "open"},
        "Esperando cliente": {"id": 6, "means": "on_hold"},
    }  # fmt: skip
    with sandbox_with(settings={"statuses": own}) as sandbox:
        ref = sandbox.open(status=5)
        for status, number in ((Status.OPEN, 2), (Status.ON_HOLD, 6), (Status.NEW, 2)):
            sandbox.do(act(SetStatus, ref, status=status))
            assert sandbox.ticket(ref)["status"] == number
        sandbox.do(act(SetStatus, ref, status=Status.OPEN, remote_status="agendado "))
        assert sandbox.ticket(ref)["status"] == 8


def test_a_status_that_the_account_lacks_is_refused_by_name(sandbox):
    with pytest.raises(ApiError, match="no ticket status 'Nunca'") as refused:
        sandbox.do(act(SetStatus, sandbox.open(), status=Status.OPEN, remote_status="Nunca"))
    assert refused.value.failure is ApiFailure.REFUSED


def test_cancelled_is_no_status_of_freshdesk_unless_the_settings_say_so(sandbox_with):
    settings = {"statuses": {"Agendado": {"id": 8, "means": "canceled"}}}
    with sandbox_with() as plain, sandbox_with(settings=settings) as mapped:
        canceled = act(SetStatus, plain.open(), status=Status.CANCELED)
        assert (plain.do(canceled), plain.found(canceled)) == (None, None)
        assert mapped.do(act(SetStatus, mapped.open(), status=Status.CANCELED))


@pytest.mark.parametrize("priority", Priority)
def test_priorities_round_trip(sandbox, priority):
    ref = sandbox.open(priority=4 if priority is not Priority.URGENT else 1)
    action = act(SetPriority, ref, priority=priority)
    assert sandbox.found(action) is None
    sandbox.do(action)
    assert sandbox.snapshot(ref).ticket.priority is priority
    assert sandbox.found(action)


@pytest.mark.parametrize(("to", "responder", "group"), [
    ({"assignee": "43000003"}, 43000003, 8001), ({"assignee": "Ana Dias"}, 43000002, 8001),
    ({"assignee": "bruno.reis@desk.example"}, 43000003, 8001), ({"team": "Financeiro"}, None, 8002),
    ({"team": "8002", "assignee": "43000002"}, 43000002, 8002), ({}, None, 8001),
])  # fmt: skip
def test_tickets_are_assigned(sandbox, to, responder, group):
    ref = sandbox.open(group_id=8001)
    sandbox.change(ref, responder_id=43000001)
    action = act(AssignTo, ref, **to)
    assert sandbox.found(action) is None
    sandbox.do(action)
    made = sandbox.ticket(ref)
    assert (made["responder_id"], made["group_id"]) == (responder, group)
    assert sandbox.found(action)


@pytest.mark.parametrize("to", [{"assignee": "Nobody"}, {"assignee": "no@one.example"}, {"team": "Nowhere"}])
def test_nobody_is_assigned_who_does_not_exist(sandbox, to):
    with pytest.raises(ApiError) as refused:
        sandbox.do(act(AssignTo, sandbox.open(), **to))
    assert refused.value.failure is ApiFailure.REFUSED


def test_only_the_fields_that_are_named_are_set(sandbox):
    ref = sandbox.open(custom_fields={"cf_order": "A-1", "cf_plan": "Basic"})
    action = act(SetFields, ref, fields={"plan": "Pro", "phone": "+551135550199"})
    assert sandbox.found(action) is None
    sandbox.do(action)
    assert sandbox.found(action)
    assert sandbox.ticket(ref)["custom_fields"] == {
        "cf_phone": "+551135550199", "cf_order": "A-1", "cf_plan": "Pro", "cf_seats": None,
    }  # fmt: skip


@pytest.mark.parametrize(("fields", "said"), [
    ({"unheard": 1}, "custom_fields`: unheard"), ({"plan": "Gold"}, "one of these values"),
    ({"seats": "3"}, "datatype_mismatch"), ({"cf_none": "x"}, "invalid_field"),
])  # fmt: skip
def test_a_field_that_cannot_be_set_is_refused_with_the_reason(sandbox, fields, said):
    with pytest.raises(ApiError, match=said) as refused:
        sandbox.do(act(SetFields, sandbox.open(), fields=fields))
    assert refused.value.failure is ApiFailure.REFUSED


def test_an_absolute_write_is_repeated_in_place(sandbox):
    ref = sandbox.open()
    sandbox.misbehave(kind="drop", times=1, method="PUT")
    sandbox.do(act(SetPriority, ref, priority=Priority.HIGH))
    assert sandbox.calls().count(("PUT", f"/tickets/{ref.id}")) == 2


# --- what is not done ---------------------------------------------------------------------------------------


def test_a_notice_is_not_freshdesks_business(sandbox):
    notice = Notify(id="act-1", reason=WHY, channel="x", title="t", body="b")
    assert (sandbox.do(notice), sandbox.found(notice)) == (None, None)


def test_actions_without_an_id_are_done_unmarked_and_not_looked_for(sandbox):
    ref = TicketRef("fd", sandbox.do(create(id="")).remote_id)
    comment = act(AddComment, ref, id="", body="Oi")
    sandbox.do(comment)
    made = sandbox.ticket(ref)
    assert made["tags"] == []
    assert not marker.is_in(made["conversations"][0]["body"])
    assert (sandbox.found(create(id="")), sandbox.found(comment)) == (None, None)
    assert sandbox.found(SaveContact(id="a", reason=WHY, connection="fd", contact=RUI)) is None


def test_what_cannot_be_repeated_is_not_and_what_does_not_exist_is_missing(sandbox):
    with pytest.raises(ApiError) as missing:
        sandbox.do(act(SetPriority, TicketRef("fd", "1"), priority=Priority.LOW))
    assert missing.value.failure is ApiFailure.MISSING
    assert freshdesk.explain_error is not None
