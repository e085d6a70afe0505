"""Is every action done once at Intercom, found again when its answer was lost, and explained when refused?"""

import time
from datetime import UTC, datetime, timedelta

import pytest
from gateway_plugins import intercom
from gateway_plugins.intercom import marker
from gateway_plugins.intercom.wording import written

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
    SetFields,
    SetPriority,
    SetStatus,
    Status,
    TicketKind,
    TicketRef,
)

WHY = "a test"
ANA = Contact(name="Ana Lima", email="ana@customer.example", phones=("(11) 3555-0199",))
BOTH = pytest.mark.parametrize("kind", ["conversation", "ticket"])


def opened(desk, kind):
    if kind == "conversation":
        return desk.person_opens(body="Invoice missing")
    return desk.person_opens(ticket_type_id="29", ticket_attributes={"_default_title_": "Invoice missing"})


def action(cls, ref, **fields):
    return cls(**{"id": "act-1", "reason": WHY, "ticket": ref, **fields})


def create(**more):
    given = {
        "connection": "ic",
        "key": "onboarding",
        "subject": "CORE - Ana",
        "description": "First call\n1st week",
    }
    return CreateTicket(**{"id": "act-1", "reason": WHY, **given, "contact": ANA, **more})


def dropped(desk, act, method, path):
    """Done, but the answer never came."""
    desk.misbehave(kind="drop", method=method, path=path, times=1)
    with pytest.raises(ApiError) as lost:
        desk.do(act)
    assert lost.value.uncertain
    desk.behave()


def writes(desk):
    return [call for call in desk.calls() if not call.startswith("GET") and not call.endswith("/search")]


# --- comments -------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("private", [True, False])
def test_a_comment_is_a_note_or_a_reply(desk, kind, private):
    ref = opened(desk, kind)
    receipt = desk.do(action(AddComment, ref, body="Call <her> & ask\nnow", is_private=private))
    part = desk.parts(ref)[-1]
    assert (part["id"], part["part_type"]) == (receipt.remote_id, "note" if private else "comment")
    assert part["author"]["id"] == "700"
    said = desk.read(ref).comments[-1]
    assert (said.id, said.body, said.is_private) == (receipt.remote_id, "Call <her> & ask\nnow", private)
    assert receipt.url.endswith(f"/conversation/{ref.id.removeprefix('ticket:')}")


def test_html_stays_html(desk):
    ref = opened(desk, "conversation")
    desk.do(action(AddComment, ref, body="<p>One</p><ul><li>two</li></ul>", is_html=True))
    assert desk.read(ref).comments[-1].body == "One\ntwo"


@BOTH
@pytest.mark.parametrize("drops_marks", [False, True])
def test_a_comment_whose_answer_was_lost_is_found(open_desk, kind, drops_marks):
    desk = open_desk(drops_marks=drops_marks)
    ref = opened(desk, kind)
    act = action(AddComment, ref, body="Call her")
    assert desk.found(act) is None
    path = "/conversations" if kind == "conversation" else "/tickets"
    dropped(desk, act, "POST", path)
    found = desk.found(act)
    assert found is not None
    assert found.remote_id == desk.parts(ref)[-1]["id"]
    assert [part["part_type"] for part in desk.parts(ref)].count("note") == 1


def test_the_same_words_of_another_action_are_not_taken_for_this_one(desk):
    ref = opened(desk, "conversation")
    desk.do(action(AddComment, ref, body="Call her", id="yesterday"))
    assert desk.found(action(AddComment, ref, body="Call her", id="today")) is None
    assert desk.found(action(AddComment, ref, body="Call her", id="yesterday")) is not None


def test_the_same_words_of_a_person_are_not_ours(desk):
    ref = opened(desk, "conversation")
    desk.person_changes(ref, message_type="note", type="admin", body="Call her")
    desk.person_changes(ref, message_type="comment", type="user", body="Call her")
    assert desk.found(action(AddComment, ref, body="Call her")) is None
    assert desk.found(action(AddComment, ref, body="Call her", is_private=False)) is None


def test_public_replies_can_be_left_unmarked(open_desk):
    desk = open_desk({"mark_replies": False})
    ref = opened(desk, "conversation")
    desk.do(action(AddComment, ref, body="Hello", is_private=False))
    assert not marker.is_in(desk.parts(ref)[-1]["body"])
    assert desk.found(action(AddComment, ref, body="Hello", is_private=False)) is not None
    desk.do(action(AddComment, ref, body="Hello"))
    assert marker.is_in(desk.parts(ref)[-1]["body"])


def test_a_mark_stands_inside_the_last_element():
    assert written("a", False, "M") == "<p>aM</p>"
    assert written("<p>a</p><ul><li>b</li></ul>\n", True, "M") == "<p>a</p><ul><li>b</li>M</ul>\n"
    assert written("just <b>so</b> it", True, "M") == "<p>just <b>so</b> itM</p>"


# --- states ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "state", "read"),
    [
        (Status.CLOSED, "closed", Status.CLOSED),
        (Status.RESOLVED, "closed", Status.CLOSED),
        (Status.ON_HOLD, "snoozed", Status.ON_HOLD),
        (Status.PENDING, "snoozed", Status.ON_HOLD),
    ],
)
def test_a_conversation_is_closed_snoozed_and_opened(desk, status, state, read):
    ref = opened(desk, "conversation")
    act = action(SetStatus, ref, status=status)
    assert desk.found(act) is None
    desk.do(act)
    assert desk.source(ref)["state"] == state
    assert desk.read(ref).ticket.status is read
    assert desk.found(act) is not None
    desk.do(action(SetStatus, ref, status=Status.OPEN))
    assert desk.source(ref)["state"] == "open"
    assert desk.found(act) is None


def test_a_conversation_is_snoozed_for_the_hours_of_the_setting_or_until_a_time(open_desk):
    desk = open_desk({"snooze_hours": 2})
    ref = opened(desk, "conversation")
    desk.do(action(SetStatus, ref, status=Status.ON_HOLD))
    until = datetime.fromtimestamp(desk.source(ref)["snoozed_until"], UTC)
    changed = datetime.fromtimestamp(desk.source(ref)["updated_at"], UTC)
    assert timedelta(minutes=119) < until - changed < timedelta(minutes=121)
    when = datetime(2030, 1, 2, 9, tzinfo=UTC)
    desk.do(action(SetStatus, ref, status=Status.ON_HOLD, remote_status=when.isoformat()))
    assert desk.source(ref)["snoozed_until"] == when.timestamp()


def test_a_state_that_does_not_exist_is_refused_and_canceled_is_unsupported(desk):
    for kind in ("conversation", "ticket"):
        ref = opened(desk, kind)
        assert desk.do(action(SetStatus, ref, status=Status.CANCELED)) is None
        with pytest.raises(ApiError) as refused:
            desk.do(action(SetStatus, ref, status=Status.OPEN, remote_status="Inventado"))
        assert refused.value.failure is ApiFailure.REFUSED


@pytest.mark.parametrize(
    ("fields", "state", "read"),
    [
        ({"status": Status.NEW}, "4501", Status.OPEN),
        ({"status": Status.OPEN}, "4502", Status.OPEN),
        ({"status": Status.PENDING}, "4503", Status.PENDING),
        ({"status": Status.RESOLVED}, "4504", Status.RESOLVED),
        ({"status": Status.OPEN, "remote_status": "agendado"}, "4505", Status.OPEN),
        ({"status": Status.OPEN, "remote_status": "4505"}, "4505", Status.OPEN),
    ],
)
def test_a_ticket_gets_the_state_of_its_own_type(desk, fields, state, read):
    ref = opened(desk, "ticket")
    desk.do(action(SetStatus, ref, status=Status.PENDING if state != "4503" else Status.OPEN))
    act = action(SetStatus, ref, **fields)
    assert desk.found(act) is None
    desk.do(act)
    assert desk.source(ref)["ticket_state"]["id"] == state
    assert desk.read(ref).ticket.status is read
    assert desk.found(act) is not None


def test_a_ticket_is_closed_snoozed_and_opened_again(desk):
    ref = opened(desk, "ticket")
    for status in (Status.ON_HOLD, Status.CLOSED):
        act = action(SetStatus, ref, status=status)
        assert desk.found(act) is None
        desk.do(act)
        assert desk.read(ref).ticket.status is status
        assert desk.found(act) is not None
    desk.do(action(SetStatus, ref, status=Status.OPEN))
    assert desk.read(ref).ticket.status is Status.OPEN
    assert desk.source(ref)["open"] is True


# --- assignments, tags, fields --------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    ("to", "admin", "team"),
    [
        ({"assignee": "702"}, "702", None),
        ({"assignee": "bia@desk.example"}, "702", None),
        ({"team": "Suporte"}, None, "801"),
        ({"team": "802"}, None, "802"),
        ({"assignee": "702", "team": "Chat"}, "702", "802"),
    ],
)
def test_teammate_and_team_are_assigned_each_in_its_place(desk, kind, to, admin, team):
    ref = opened(desk, kind)
    act = action(AssignTo, ref, **to)
    assert desk.found(act) is None
    desk.do(act)
    ticket = desk.read(ref).ticket
    names = {None: None, "801": "Suporte", "802": "Chat"}
    assert (ticket.assignee and ticket.assignee.id, ticket.team) == (admin, names[team])
    assert desk.found(act) is not None


@BOTH
def test_nobody_is_a_teammate_less(desk, kind):
    ref = opened(desk, kind)
    desk.do(action(AssignTo, ref, assignee="702", team="Chat"))
    desk.do(action(AssignTo, ref))
    ticket = desk.read(ref).ticket
    assert (ticket.assignee, ticket.team) == (None, "Chat")
    assert desk.found(action(AssignTo, ref)) is not None


def test_of_two_assignments_only_the_missing_one_is_made(desk):
    ref = opened(desk, "conversation")
    desk.do(action(AssignTo, ref, team="Chat"))
    desk.do(action(AssignTo, ref, assignee="702", team="Chat"))
    assert [part["assigned_to"]["type"] for part in desk.parts(ref)] == ["team", "admin"]


@BOTH
def test_unknown_assignees_teams_and_fields_are_refused_by_name(desk, kind):
    ref = opened(desk, kind)
    for act, said in (
        (action(AssignTo, ref, team="Comercial"), "Comercial"),
        (action(AssignTo, ref, assignee="nobody@desk.example"), "nobody@desk.example"),
        (action(AssignTo, ref, assignee="999"), "assignee_not_found"),
        (action(SetFields, ref, fields={"colour": "red"}), "colour"),
    ):
        with pytest.raises(ApiError, match=said) as refused:
            desk.do(act)
        assert refused.value.failure is ApiFailure.REFUSED


def test_tags_are_made_or_found_by_name_and_set_by_id(open_desk):
    desk = open_desk(folds_tags=True)
    ref = desk.person_opens(body="x", tags=["Billing"])
    act = action(AddTags, ref, tags=("billing", "sem telefone", "#venda/1º contato"))
    assert desk.found(act) is None
    desk.do(act)
    assert desk.read(ref).ticket.tags == {"Billing", "sem telefone", "#venda/1º contato"}
    assert desk.found(act) is not None
    assert [call for call in desk.calls() if call.endswith("/tags") and "conversations" in call] == [
        f"POST /conversations/{ref.id}/tags"
    ] * 2
    gone = action(RemoveTags, ref, tags=("BILLING", "never there"))
    assert desk.found(gone) is None
    desk.do(gone)
    assert desk.read(ref).ticket.tags == {"sem telefone", "#venda/1º contato"}
    assert desk.found(gone) is not None


def test_where_case_makes_two_tags_both_are_removed(desk):
    ref = desk.person_opens(body="x", tags=["VIP", "vip", "novo"])
    desk.do(action(RemoveTags, ref, tags=("Vip",)))
    assert desk.read(ref).ticket.tags == {"novo"}


def test_tags_of_a_ticket_are_set_and_removed_without_being_seen(desk):
    ref = opened(desk, "ticket")
    desk.do(action(AddTags, ref, tags=("core", "onboarding")))
    assert desk.source(ref)["tags"] == ["core", "onboarding"]
    assert desk.found(action(AddTags, ref, tags=("core",))) is None
    for _ in range(2):  # the second finds it gone already
        desk.do(action(RemoveTags, ref, tags=("core", "unknown")))
        assert desk.source(ref)["tags"] == ["onboarding"]


@BOTH
def test_fields_are_set_by_their_mapped_names(desk, kind):
    ref = opened(desk, kind)
    act = action(SetFields, ref, fields={"order": "A-77", "phone": "+551135550199"})
    assert desk.found(act) is None
    desk.do(act)
    assert desk.read(ref).ticket.custom_fields == {"order": "A-77", "phone": "+551135550199"}
    assert desk.found(act) is not None


@BOTH
def test_a_priority_is_an_attribute_by_convention_or_unsupported(open_desk, kind):
    desk = open_desk({"priority_attribute": "Prioridade", "priorities": {"high": "Alta", "low": "Baixa"}})
    ref = opened(desk, kind)
    act = action(SetPriority, ref, priority=Priority.HIGH)
    desk.do(act)
    assert desk.read(ref).ticket.priority is Priority.HIGH
    assert desk.found(act) is not None
    assert desk.do(action(SetPriority, ref, priority=Priority.URGENT)) is None
    plain = open_desk()
    assert plain.do(action(SetPriority, opened(plain, kind), priority=Priority.HIGH)) is None


@BOTH
@pytest.mark.parametrize(
    ("cls", "fields", "method"),
    [
        (SetStatus, {"status": Status.CLOSED}, None),
        (AssignTo, {"assignee": "702"}, None),
        (SetFields, {"fields": {"order": "A-77"}}, "PUT"),
    ],
)
def test_no_change_is_written_twice_after_a_lost_answer(desk, kind, cls, fields, method):
    ref = opened(desk, kind)
    act = action(cls, ref, **fields)
    path, verb = ("/conversations", "POST") if kind == "conversation" else ("/tickets", "PUT")
    dropped(desk, act, method or verb, path)
    assert desk.found(act) is not None
    assert len(writes(desk)) == 1


def test_what_intercom_cannot_do_is_unsupported(desk):
    assert desk.do(Notify(id="n", reason=WHY, channel="c", title="t", body="b")) is None
    assert desk.found(Notify(id="n", reason=WHY, channel="c", title="t", body="b")) is None


# --- opening --------------------------------------------------------------------------------------


FULL = {"assignee": "702", "team": "Chat", "tags": ("core", "novo"), "custom_fields": {"order": "A-77"}}


def test_a_ticket_is_opened_with_all_that_is_asked(desk):
    receipt = desk.do(create(**FULL))
    ref = TicketRef("ic", receipt.remote_id)
    assert ref.id.startswith("ticket:")
    ticket = desk.read(ref).ticket
    assert (ticket.subject, ticket.description) == ("CORE - Ana", "First call\n1st week")
    assert (ticket.assignee.id, ticket.team, ticket.custom_fields) == ("702", "Chat", {"order": "A-77"})
    assert (ticket.contact.email, ticket.contact.phones) == ("ana@customer.example", ("+551135550199",))
    assert desk.source(ref)["tags"] == ["core", "novo"]


@pytest.mark.parametrize("open_as", ["contact", "admin"])
@pytest.mark.parametrize("word", ["in_app", "inapp"])
def test_a_conversation_is_opened_with_all_that_is_asked(open_desk, open_as, word):
    desk = open_desk({"open_as": open_as}, in_app_word=word)
    receipt = desk.do(create(**FULL))
    ref = TicketRef("ic", receipt.remote_id)
    ticket = desk.read(ref).ticket
    assert ticket.kind is TicketKind.CONVERSATION
    assert (ticket.subject, ticket.tags) == ("CORE - Ana", {"core", "novo"})
    assert (ticket.assignee.id, ticket.team, ticket.custom_fields) == ("702", "Chat", {"order": "A-77"})
    (first,) = desk.read(ref).comments
    assert first.body == "CORE - Ana\n\nFirst call\n1st week"
    assert first.author.id == "700"


def test_a_message_that_is_refused_by_either_name_stays_refused(open_desk):
    desk = open_desk({"open_as": "admin"}, in_app_word="push")
    with pytest.raises(ApiError, match="Message type is invalid") as refused:
        desk.do(create())
    assert refused.value.failure is ApiFailure.REFUSED
    assert desk.everything() == []


def test_a_conversation_can_be_asked_for_where_tickets_are_usual(desk):
    assert not desk.do(create(ticket_kind=TicketKind.CONVERSATION)).remote_id.startswith("ticket:")


@pytest.mark.parametrize("drops_marks", [False, True])
@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({"ticket_type_id": "29"}, "/tickets"),
        ({}, "/conversations"),
        ({"open_as": "admin"}, "/messages"),
    ],
)
def test_what_was_opened_without_an_answer_is_found_and_finished(open_desk, settings, path, drops_marks):
    desk = open_desk(settings, drops_marks=drops_marks)
    act = create(**FULL)
    assert desk.found(act) is None
    dropped(desk, act, "POST", path)
    found = desk.found(act)
    assert found is not None
    (source,) = desk.everything()
    assert found.remote_id.removeprefix("ticket:") == source["id"]
    ref = TicketRef("ic", found.remote_id)
    ticket = desk.read(ref).ticket
    assert (ticket.assignee.id, ticket.team, ticket.custom_fields) == ("702", "Chat", {"order": "A-77"})
    tags = source["tags"] if source["type"] == "ticket" else desk.read(ref).ticket.tags
    assert sorted(tags) == ["core", "novo"]


def test_what_was_interrupted_between_two_steps_is_finished_without_doing_any_twice(open_desk):
    desk = open_desk()
    act = create(**FULL)
    desk.misbehave(kind="drop", method="POST", path="/conversations/2", times=1)  # the first assignment
    with pytest.raises(ApiError):
        desk.do(act)
    desk.behave()
    found = desk.found(act)
    source = desk.source(TicketRef("ic", found.remote_id))
    assert len(desk.everything()) == 1
    assert [part["assigned_to"]["type"] for part in source["conversation_parts"]["conversation_parts"]] == [
        "team",
        "admin",
    ]
    assert [call for call in desk.calls() if call.startswith("PUT")] == [f"PUT /conversations/{source['id']}"]


def test_another_ticket_of_the_same_contact_is_not_taken_for_this_one(desk):
    desk.do(create(id="yesterday"))
    assert desk.found(create(id="today")) is None
    assert desk.found(create(id="yesterday")) is not None


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"contact": None}, "needs a contact"),
        ({"contact": Contact(name="Ana")}, "needs a contact"),
        ({"team": "Comercial"}, "Comercial"),
        ({"custom_fields": {"colour": "red"}}, "colour"),
    ],
)
def test_nothing_is_opened_that_could_not_be_finished(desk, wrong, said):
    with pytest.raises(ApiError, match=said) as refused:
        desk.do(create(**wrong))
    assert refused.value.failure is ApiFailure.REFUSED
    assert desk.everything() == []


# --- budget and errors ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (400, ApiFailure.REFUSED), (401, ApiFailure.UNAUTHORIZED), (403, ApiFailure.UNAUTHORIZED),
        (404, ApiFailure.MISSING), (409, ApiFailure.CONFLICT), (422, ApiFailure.REFUSED),
        (429, ApiFailure.THROTTLED), (500, ApiFailure.UNAVAILABLE),
    ],
)  # fmt: skip
def test_refusals_are_classified(desk, status, failure):
    ref = opened(desk, "conversation")
    desk.misbehave(kind="status", status=status, path="/conversations")
    with pytest.raises(ApiError) as refused:
        desk.do(action(AddComment, ref, body="x"))
    assert refused.value.failure is failure
    assert refused.value.status == status


def test_a_wrong_token_is_told_without_being_shown(open_desk):
    desk = open_desk({"access_token": "quite-another-token"})
    with pytest.raises(ApiError, match="Access Token Invalid") as refused:
        desk.api.get("/me")
    assert refused.value.failure is ApiFailure.UNAUTHORIZED
    assert "quite-another-token" not in f"{refused.value} {desk.api.calls}"


def test_the_limit_is_enforced_by_tens_of_seconds_and_says_when_it_is_over(open_desk):
    desk = open_desk(calls_per_minute=18)
    answers = [desk.http.get("/me", headers={"Authorization": "Bearer sandbox-token"}) for _ in range(7)]
    assert {answer.status_code for answer in answers} == {200, 429}
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.json()["errors"][0]["code"] == "rate_limit_exceeded"
    assert refused.headers["x-ratelimit-remaining"] == "0"
    assert 0 <= int(refused.headers["x-ratelimit-reset"]) - time.time() + 1 <= 11
    assert intercom.connect_api(connection=desk.connection).rate == RateLimit(calls=1666, seconds=10)
