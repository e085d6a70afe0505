"""Is every action done once at Zendesk, found again when its answer was lost, and explained when refused?"""

import pytest
from gateway_plugins.zendesk import execute
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
    RateLimit,
    RemoveTags,
    SaveContact,
    SetFields,
    SetPriority,
    SetStatus,
    Status,
    TicketRef,
)

PLENTY = RateLimit(calls=10_000, seconds=60)
ANA = Contact(name="Ana Lima", email="ana@customer.example")
WHY = "a test"


def create(**more):
    given = {
        "connection": "zd",
        "key": "onboarding",
        "subject": "Onboarding",
        "description": "Welcome",
        "contact": ANA,
    }
    return CreateTicket(**{"id": "act-1", "reason": WHY, **given, **more})


# --- new tickets ----------------------------------------------------------------------------------


def test_a_ticket_is_created_with_all_that_was_asked_for(desk):
    action = create(
        team="Financeiro", assignee="80005", tags=("VIP", "Onboarding Novo"), priority=Priority.HIGH,
        type="Task", custom_fields={"order": "A-77", "360009": True},
    )  # fmt: skip
    receipt = desk.do(action)
    ref = TicketRef("zd", receipt.remote_id)
    assert receipt.url == f"https://acme.zendesk.com/agent/tickets/{receipt.remote_id}"
    ticket = desk.snapshot(ref).ticket
    assert (ticket.subject, ticket.description) == ("Onboarding", "Welcome")
    assert ticket.team == "Financeiro"
    assert ticket.assignee.id == "80005"
    assert ticket.tags == {"vip", "onboarding_novo"}
    assert ticket.priority is Priority.HIGH
    assert ticket.type == "task"
    assert ticket.status is Status.OPEN
    assert ticket.custom_fields == {"order": "A-77"}
    assert ticket.remote_fields["360009"] is True
    assert (ticket.contact.name, ticket.contact.email) == ("Ana Lima", "ana@customer.example")
    assert desk.ticket(ref)["external_id"] == "act-1"


def test_the_first_comment_is_ours_and_no_agents_answer(desk):
    read = desk.snapshot(TicketRef("zd", desk.do(create()).remote_id))
    assert read.comments[0].author.id == "90001"
    assert read.ticket.first_agent_comment_at is None
    assert read.ticket.contact.email == "ana@customer.example"


def test_html_stays_html(desk):
    receipt = desk.do(create(description="<p>Olá <b>Ana</b></p>", is_html=True))
    first = desk.snapshot(TicketRef("zd", receipt.remote_id)).comments[0]
    assert "<b>Ana</b>" in first.html
    assert first.body == "Olá Ana"


def test_a_repeated_create_makes_one_ticket(desk):
    receipts = {desk.do(create()).remote_id for _ in range(3)}
    assert len(receipts) == 1
    assert len(desk.tickets()) == 1


def test_a_create_whose_answers_are_lost_makes_one_ticket_which_is_found(desk):
    desk.misbehave(kind="drop", method="POST", path="/api/v2/tickets", times=3)
    with pytest.raises(ApiError) as lost:
        desk.do(create())
    assert lost.value.uncertain
    assert len(desk.tickets()) == 1
    assert desk.found(create()).remote_id == str(desk.tickets()[0]["id"])


def test_a_create_that_never_happened_is_not_found(desk):
    assert desk.found(create()) is None


def test_the_same_key_in_other_words_is_looked_for_and_not_sent_again(desk):
    first = desk.do(create())
    with pytest.raises(ApiError) as conflict:
        desk.do(create(subject="Another"))
    assert conflict.value.failure is ApiFailure.CONFLICT
    assert conflict.value.uncertain
    assert desk.found(create(subject="Another")).remote_id == first.remote_id


def test_a_phone_is_kept_with_the_new_requester(desk):
    desk.do(
        create(contact=Contact(name="Ana Lima", email="ana@customer.example", phones=("(11) 98765-4321",)))
    )
    ref = TicketRef("zd", str(desk.tickets()[0]["id"]))
    assert desk.snapshot(ref).ticket.contact.phones == ("+5511987654321",)


def test_a_requester_without_email_is_found_by_phone(desk):
    known = desk.person_opens(requester={"name": "Rui", "phone": "+5511987654321"})
    receipt = desk.do(create(contact=Contact(name="Someone", phones=("11 98765-4321",))))
    mine = desk.ticket(TicketRef("zd", receipt.remote_id))
    assert mine["requester_id"] == desk.ticket(known)["requester_id"]
    assert desk.snapshot(known).ticket.contact.name == "Rui"


def test_a_requester_without_email_is_made_once(desk):
    contact = Contact(name="Rui", phones=("+5511987654321",), document="00000000191")
    one, two = (desk.do(create(id=name, contact=contact)) for name in ("act-1", "act-2"))
    assert one.remote_id != two.remote_id
    assert len({ticket["requester_id"] for ticket in desk.tickets()}) == 1
    assert desk.snapshot(TicketRef("zd", one.remote_id)).ticket.contact.phones == ("+5511987654321",)


def test_a_known_requester_keeps_name_and_phone(desk):
    known = desk.person_opens(requester={**ANA.known(), "phone": "+551133334444"})
    desk.do(create(contact=Contact(name="A. Lima", email="Ana@customer.example", phones=("+5511987654321",))))
    contact = desk.snapshot(known).ticket.contact
    assert (contact.name, contact.phones) == ("Ana Lima", ("+551133334444",))


def test_another_systems_contact_id_is_not_taken_for_zendesks(desk):
    receipt = desk.do(create(contact=Contact(id="80005", email="new@customer.example")))
    assert desk.snapshot(TicketRef("zd", receipt.remote_id)).ticket.contact.email == "new@customer.example"


def test_without_a_contact_the_gateway_itself_asks(desk):
    receipt = desk.do(create(contact=None))
    assert desk.ticket(TicketRef("zd", receipt.remote_id))["requester_id"] == 90001


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"team": "GR"}, "groups"),
        ({"assignee": "Rui"}, "assignee"),
        ({"custom_fields": {"cnpj": "1"}}, "custom_fields"),
    ],
)
def test_what_the_settings_do_not_know_is_refused_by_name(desk, wrong, said):
    with pytest.raises(ApiError, match=said) as refused:
        desk.do(create(**wrong))
    assert refused.value.failure is ApiFailure.REFUSED
    assert desk.tickets() == []


# --- comments -------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_private", [True, False])
def test_a_comment_is_as_visible_as_asked_for(desk, is_private):
    ref = desk.person_opens()
    receipt = desk.do(
        AddComment(id="act-2", reason=WHY, ticket=ref, body="Looking into it", is_private=is_private)
    )
    comment = desk.snapshot(ref).comments[-1]
    assert (comment.id, comment.body, comment.is_private) == (
        receipt.remote_id,
        "Looking into it",
        is_private,
    )
    assert comment.author.id == "90001"


def test_a_comment_whose_answer_is_lost_is_said_once_and_found(desk):
    ref = desk.person_opens()
    action = AddComment(id="act-2", reason=WHY, ticket=ref, body="Once")
    assert desk.found(action) is None
    desk.misbehave(kind="drop", method="PUT", path="/api/v2/tickets", times=1)
    with pytest.raises(ApiError) as lost:
        desk.do(action)
    assert lost.value.uncertain
    said = [comment for comment in desk.snapshot(ref).comments if comment.body == "Once"]
    assert [comment.id for comment in said] == [desk.found(action).remote_id]


def test_a_comment_is_found_behind_many_later_changes(open_desk):
    desk = open_desk(largest_page=2)
    ref = desk.person_opens()
    action = AddComment(id="act-2", reason=WHY, ticket=ref, body="Once")
    receipt = desk.do(action)
    for number in range(6):
        desk.person_changes(ref, tags=[f"t{number}"])
    assert desk.found(action).remote_id == receipt.remote_id


def test_an_empty_audit_gives_no_comment_id(desk):
    ref = desk.person_opens()
    assert desk.do(AddComment(id="act-2", reason=WHY, ticket=ref, body="")).remote_id is None


# --- what a ticket is -----------------------------------------------------------------------------


def test_tags_are_added_and_removed_and_others_stay(desk):
    ref = desk.person_opens(tags=["old"])
    add = AddTags(id="a", reason=WHY, ticket=ref, tags=("Novo Cliente", "vip"))
    remove = RemoveTags(id="b", reason=WHY, ticket=ref, tags=("VIP", "old"))
    assert desk.found(add) is None
    desk.do(add)
    assert desk.snapshot(ref).ticket.tags == {"old", "novo_cliente", "vip"}
    assert desk.found(add) is not None
    assert desk.found(remove) is None
    desk.do(remove)
    assert desk.snapshot(ref).ticket.tags == {"novo_cliente"}
    assert desk.found(remove) is not None


@pytest.mark.parametrize(
    "status", [Status.OPEN, Status.PENDING, Status.ON_HOLD, Status.RESOLVED, Status.CLOSED]
)
def test_a_status_set_is_read_back(desk, status):
    ref = desk.person_opens()
    action = SetStatus(id="a", reason=WHY, ticket=ref, status=status)
    assert desk.found(action) is None
    assert desk.do(action) is not None
    assert desk.snapshot(ref).ticket.status is status
    assert desk.found(action) is not None


def test_new_is_opened_and_canceled_is_not_zendesks(desk):
    ref = desk.person_opens()
    desk.do(SetStatus(id="a", reason=WHY, ticket=ref, status=Status.NEW))
    assert desk.snapshot(ref).ticket.status is Status.OPEN
    assert desk.do(SetStatus(id="b", reason=WHY, ticket=ref, status=Status.CANCELED)) is None
    assert desk.found(SetStatus(id="b", reason=WHY, ticket=ref, status=Status.CANCELED)) is None


@pytest.mark.parametrize("label", ["aguardando boleto", "3006"])
def test_a_custom_status_goes_by_label_or_id(desk, label):
    ref = desk.person_opens()
    action = SetStatus(id="a", reason=WHY, ticket=ref, status=Status.PENDING, remote_status=label)
    desk.do(action)
    assert desk.ticket(ref)["custom_status_id"] == 3006
    assert desk.snapshot(ref).ticket.status is Status.PENDING
    assert desk.found(action) is not None


def test_a_status_category_goes_by_its_word(desk):
    ref = desk.person_opens()
    desk.do(SetStatus(id="a", reason=WHY, ticket=ref, status=Status.PENDING, remote_status="Hold"))
    assert desk.snapshot(ref).ticket.status is Status.ON_HOLD


def test_an_unknown_status_label_is_refused_by_name(desk):
    ref = desk.person_opens()
    with pytest.raises(ApiError, match="Em análise"):
        desk.do(SetStatus(id="a", reason=WHY, ticket=ref, status=Status.OPEN, remote_status="Em análise"))


@pytest.mark.parametrize("priority", list(Priority))
def test_a_priority_set_is_read_back(desk, priority):
    ref = desk.person_opens()
    action = SetPriority(id="a", reason=WHY, ticket=ref, priority=priority)
    assert desk.found(action) is None
    desk.do(action)
    assert desk.snapshot(ref).ticket.priority is priority
    assert desk.found(action) is not None


def test_a_ticket_is_assigned_and_given_back_to_its_queue(desk):
    ref = desk.person_opens()
    assign = AssignTo(id="a", reason=WHY, ticket=ref, assignee="80005", team="Financeiro")
    assert desk.found(assign) is None
    desk.do(assign)
    ticket = desk.snapshot(ref).ticket
    assert (ticket.assignee.id, ticket.team) == ("80005", "Financeiro")
    assert desk.found(assign) is not None
    desk.do(AssignTo(id="b", reason=WHY, ticket=ref))
    ticket = desk.snapshot(ref).ticket
    assert (ticket.assignee, ticket.team) == (None, "Financeiro")


def test_a_ticket_is_assigned_by_email_and_group_id(desk):
    ref = desk.person_opens()
    action = AssignTo(id="a", reason=WHY, ticket=ref, assignee="ana.souza@desk.example", team="8002")
    desk.do(action)
    ticket = desk.snapshot(ref).ticket
    assert (ticket.assignee.id, ticket.team) == ("80005", "Financeiro")
    assert desk.found(action) is None  # an e-mail is not told back, and assigning again does no harm


def test_only_the_named_fields_change(desk):
    ref = desk.person_opens(custom_fields=[{"id": 360001, "value": "A-1"}, {"id": 360002, "value": "x"}])
    action = SetFields(id="a", reason=WHY, ticket=ref, fields={"phone": "+5511987654321"})
    assert desk.found(action) is None
    desk.do(action)
    assert desk.snapshot(ref).ticket.custom_fields == {"order": "A-1", "phone": "+5511987654321"}
    assert desk.found(action) is not None


def test_an_absolute_write_whose_answer_is_lost_is_made_again(desk):
    ref = desk.person_opens()
    desk.misbehave(kind="drop", method="PUT", path="/api/v2/tickets", times=1)
    assert desk.do(SetStatus(id="a", reason=WHY, ticket=ref, status=Status.PENDING)) is not None
    assert desk.snapshot(ref).ticket.status is Status.PENDING


def test_what_zendesk_cannot_do_is_unsupported(desk):
    notify = Notify(id="a", reason=WHY, channel="c", title="t", body="b")
    assert desk.do(notify) is None
    assert desk.found(notify) is None


# --- contacts -------------------------------------------------------------------------------------


def save(contact):
    return SaveContact(id="a", reason=WHY, connection="zd", contact=contact)


def test_a_contact_is_made_once_and_then_updated(desk):
    ref = desk.person_opens()
    made = desk.do(save(Contact(name="Ana L.", email="ana@customer.example", phones=("11987654321",))))
    contact = desk.snapshot(ref).ticket.contact
    assert contact.id == made.remote_id
    assert (contact.name, contact.phones) == ("Ana L.", ("+5511987654321",))


def test_a_contact_goes_by_zendesks_id(desk):
    ref = desk.person_opens()
    contact = desk.snapshot(ref).ticket.contact
    desk.do(save(Contact(id=contact.id, phones=("+5511987654321",))))
    after = desk.snapshot(ref).ticket.contact
    assert (after.name, after.phones) == ("Ana Lima", ("+5511987654321",))


def test_a_contact_without_a_name_is_not_renamed(desk):
    ref = desk.person_opens()
    desk.do(save(Contact(email="ana@customer.example", phones=("+5511987654321",))))
    assert desk.snapshot(ref).ticket.contact.name == "Ana Lima"


def test_a_contact_that_nothing_tells_apart_is_refused(desk):
    with pytest.raises(ApiError, match="e-mail, a phone or a document"):
        desk.do(save(Contact(name="Ana")))


def test_a_colleague_stays_an_agent(desk):
    desk.do(save(Contact(name="Ana Souza", email="ana.souza@desk.example", phones=("+5511987654321",))))
    ref = desk.person_opens()
    desk.person_changes(ref, comment={"body": "Hi", "public": True})
    assert desk.snapshot(ref).comments[-1].author.is_agent


@given(st.text(max_size=30))
def test_a_normal_tag_stays_as_it_is(tag):
    normal = execute.normal_tag(tag)
    assert execute.normal_tag(normal) == normal
    assert not any(character.isspace() for character in normal)
