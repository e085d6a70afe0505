"""Does every action take effect at Movidesk, exactly once, and without touching what others wrote?"""

import httpx
import pytest
import respx
from gateway_plugins import movidesk
from gateway_plugins.movidesk import convert, execute_action, find_effect, marker

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
from gateway.testing import api_for

WHY = {"reason": "test", "id": "5f0c9a51-1f7e-5d5e-9c41-b2a8e4a0f001"}
AURORA = Contact(
    name="Loja Nova", email="Nova@loja.example", phones=("+5511988887777",), document="11222333000181"
)


def create(**given):
    named = {
        "connection": "desk",
        "key": "core:1",
        "subject": "CORE - Loja Nova",
        "description": "1. Ligar\n2. <Agendar>",
    }
    return CreateTicket(**WHY, **(named | {"contact": AURORA} | given))


def to(ticket):
    return WHY | {"ticket": TicketRef("desk", ticket["id"])}


def read(sandbox, ticket):
    """The ticket as our converter understands it."""
    stored = next(one for one in sandbox.tickets() if one["id"] == ticket["id"])
    return convert.snapshot({"ticket": stored, "person": None}, sandbox.api.connection)


def test_a_ticket_is_created_whole_for_a_new_person(sandbox):
    action = create(
        team="GR", assignee="ag-9", tags=("core", "onboarding"), priority=Priority.HIGH, type="Implantação",
        custom_fields={"phone": "+5511988887777", "plan": ["Enterprise"]},
    )  # fmt: skip
    receipt = execute_action(action, sandbox.api)
    [stored] = sandbox.tickets()
    ticket = read(sandbox, stored).ticket
    assert receipt.remote_id == stored["id"]
    assert receipt.url == f"https://acme.movidesk.com/Ticket/Edit/{stored['id']}"
    assert (ticket.subject, ticket.description) == ("CORE - Loja Nova", "1. Ligar\n2. <Agendar>")
    assert (ticket.team, ticket.assignee.id, ticket.type) == ("GR", "ag-9", "Implantação")
    assert ticket.tags == {"core", "onboarding"}
    assert ticket.priority is Priority.HIGH
    assert ticket.custom_fields == {"phone": "+5511988887777", "plan": "Enterprise"}
    assert stored["createdBy"]["id"] == "gateway"
    assert (stored["type"], stored["actions"][0]["type"]) == (2, 1)
    person = sandbox.api.get("/persons", id=stored["clients"][0]["id"]).body
    assert (person["businessName"], person["cpfCnpj"], person["personType"]) == (
        "Loja Nova",
        "11222333000181",
        2,
    )
    assert person["emails"][0]["email"] == "Nova@loja.example"
    assert person["contacts"][0]["contact"] == "+5511988887777"


def test_the_first_text_is_public_where_the_settings_say_so(sandbox_with):
    with sandbox_with(settings={"public_description": True, "service_id": 101}) as sandbox:
        execute_action(create(description="<b>Oi</b>", is_html=True), sandbox.api)
        [stored] = sandbox.tickets()
        assert stored["actions"][0]["type"] == 2
        assert stored["actions"][0]["htmlDescription"] == "<b>Oi</b>"
        assert stored["serviceFirstLevelId"] == 101


@pytest.mark.parametrize(("contact", "calls"), [
    (Contact(document="12345678909"), 1),
    (Contact(document="00000000191", email="MARIA@loja.example"), 2),
    (Contact(email="outra@loja.example", phones=("+55 11 98888-7777",)), 2),
])  # fmt: skip
def test_a_known_person_is_found_by_document_then_email_then_phone(sandbox, contact, calls):
    client = {
        "name": "Maria",
        "email": "maria@loja.example",
        "phone": "(11) 98888-7777",
        "cpfCnpj": "123.456.789-09",
    }
    known = sandbox.open(client=client)["clients"][0]["id"]
    sandbox.open(client={"name": "Outra", "phone": "(21) 98888-7777"})
    execute_action(create(contact=contact), sandbox.api)
    assert sandbox.tickets()[-1]["clients"][0]["id"] == known
    assert sandbox.calls() == [("GET", "/persons")] * calls + [("POST", "/tickets")]


def test_a_number_of_another_area_is_another_person(sandbox):
    known = sandbox.open(client={"name": "Outra", "phone": "(21) 98888-7777"})["clients"][0]["id"]
    execute_action(create(contact=Contact(name="Nova", phones=("+5511988887777",))), sandbox.api)
    assert sandbox.tickets()[-1]["clients"][0]["id"] != known


def test_without_a_contact_the_default_client_is_taken_or_it_is_refused(sandbox_with):
    with sandbox_with(settings={"default_client_id": "cli-77"}) as sandbox:
        execute_action(create(contact=None), sandbox.api)
        assert sandbox.tickets()[0]["clients"][0]["id"] == "cli-77"
    with sandbox_with() as sandbox:
        with pytest.raises(ApiError, match="default_client_id") as refused:
            execute_action(create(contact=None), sandbox.api)
        assert refused.value.failure is ApiFailure.REFUSED
        assert sandbox.calls() == []


def test_a_contact_known_by_its_id_alone_is_taken_at_its_word(sandbox):
    execute_action(create(contact=Contact(id="cli-77")), sandbox.api)
    assert sandbox.tickets()[0]["clients"][0]["id"] == "cli-77"


@pytest.mark.parametrize("is_private", [True, False])
def test_a_comment_is_private_or_public(sandbox, is_private):
    ticket = sandbox.open()
    receipt = execute_action(
        AddComment(**to(ticket), body="Falta o telefone\nde <contato>", is_private=is_private), sandbox.api
    )
    [comment] = read(sandbox, ticket).comments
    assert comment.is_private is is_private
    assert comment.body == "Falta o telefone\nde <contato>"
    assert comment.author.id == "gateway"
    assert receipt.url.endswith(ticket["id"])
    assert sandbox.calls() == [("PATCH", "/tickets")]


def test_html_comments_go_as_they_are(sandbox):
    ticket = sandbox.open()
    execute_action(AddComment(**to(ticket), body="<p>Olá <b>você</b></p>", is_html=True), sandbox.api)
    assert read(sandbox, ticket).comments[0].html == "<p>Olá <b>você</b></p>"


@pytest.mark.parametrize("status", [one for one in Status if one is not Status.ON_HOLD])
def test_every_status_goes_round(sandbox, status):
    ticket = sandbox.open()
    execute_action(SetStatus(**to(ticket), status=status), sandbox.api)
    assert read(sandbox, ticket).ticket.status is status
    assert sandbox.calls() == [("PATCH", "/tickets")]


def test_a_label_that_needs_a_justification_gets_the_configured_one(sandbox_with):
    reasons = {"Aguardando": ["Retorno do cliente", "Terceiros"]}
    justifications = {"Aguardando": "Retorno do cliente", "on_hold": "Terceiros"}
    with sandbox_with(reasons=reasons, settings={"justifications": justifications}) as sandbox:
        ticket = sandbox.open()
        for status in (Status.ON_HOLD, Status.PENDING, Status.OPEN):
            execute_action(SetStatus(**to(ticket), status=status), sandbox.api)
            assert read(sandbox, ticket).ticket.status is status
    with sandbox_with(reasons=reasons) as sandbox:
        with pytest.raises(ApiError, match="justificativa") as refused:
            execute_action(SetStatus(**to(sandbox.open()), status=Status.PENDING), sandbox.api)
        assert refused.value.failure is ApiFailure.REFUSED


def test_an_exact_label_wins_over_ours(sandbox):
    ticket = sandbox.open()
    execute_action(SetStatus(**to(ticket), status=Status.CLOSED, remote_status="Cancelado"), sandbox.api)
    assert read(sandbox, ticket).ticket.remote_status == "Cancelado"


@pytest.mark.parametrize("priority", list(Priority))
def test_every_priority_goes_round(sandbox, priority):
    ticket = sandbox.open()
    execute_action(SetPriority(**to(ticket), priority=priority), sandbox.api)
    assert read(sandbox, ticket).ticket.priority is priority


def test_a_priority_without_an_urgency_is_refused_before_any_call(sandbox_with):
    with sandbox_with(settings={"urgencies": {"Alta": "high"}}) as sandbox:
        with pytest.raises(ApiError, match="urgencies"):
            execute_action(SetPriority(**to({"id": "1"}), priority=Priority.LOW), sandbox.api)
        assert sandbox.calls() == []


@pytest.mark.parametrize(("assignee", "team", "owner", "owner_team"), [
    ("ag-9", "GR", "ag-9", "GR"),
    ("ag-9", None, "ag-9", "N1"),
    ("ag-10", None, "ag-10", "N2"),
    (None, "GR", None, "GR"),
    (None, None, None, None),
])  # fmt: skip
def test_assignment_names_owner_and_team_together(sandbox, assignee, team, owner, owner_team):
    ticket = sandbox.open(owner="ag-9", ownerTeam="N1")
    action = AssignTo(**to(ticket), assignee=assignee, team=team)
    execute_action(action, sandbox.api)
    stored = read(sandbox, ticket).ticket
    assert (stored.assignee.id if stored.assignee else None, stored.team) == (owner, owner_team)
    assert find_effect(action, sandbox.api) is not None


def test_an_agent_of_several_teams_stays_in_the_tickets(sandbox):
    ticket = sandbox.open(ownerTeam="GR")
    execute_action(AssignTo(**to(ticket), assignee="ag-9"), sandbox.api)
    assert read(sandbox, ticket).ticket.team == "GR"


def test_a_team_goes_alone_where_an_empty_owner_is_refused(sandbox_with):
    with sandbox_with(takes_null_owner=False) as sandbox:
        ticket = sandbox.open()
        execute_action(AssignTo(**to(ticket), team="GR"), sandbox.api)
        assert read(sandbox, ticket).ticket.team == "GR"


def test_tags_are_added_and_removed_among_others(sandbox):
    ticket = sandbox.open(tags=["vip", "#venda/tratativas com contato"])
    execute_action(AddTags(**to(ticket), tags=("sem-telefone", "vip")), sandbox.api)
    assert read(sandbox, ticket).ticket.tags == {"vip", "#venda/tratativas com contato", "sem-telefone"}
    execute_action(RemoveTags(**to(ticket), tags=("vip", "nunca-teve")), sandbox.api)
    assert read(sandbox, ticket).ticket.tags == {"#venda/tratativas com contato", "sem-telefone"}


def test_the_marker_of_our_own_ticket_survives_changes_of_its_tags(sandbox):
    action = create(tags=("core",))
    execute_action(action, sandbox.api)
    [stored] = sandbox.tickets()
    execute_action(AddTags(**to(stored), tags=("x",)), sandbox.api)
    assert sandbox.tickets()[0]["tags"] == ["core", marker.tag(action.id), "x"]


def test_nothing_is_written_where_nothing_changes(sandbox):
    ticket = sandbox.open(tags=["vip"])
    execute_action(AddTags(**to(ticket), tags=("vip",)), sandbox.api)
    execute_action(RemoveTags(**to(ticket), tags=("outra",)), sandbox.api)
    assert {method for method, _ in sandbox.calls()} == {"GET"}


def test_fields_are_set_without_losing_those_of_other_rules(sandbox):
    others = [
        {"customFieldId": 777, "customFieldRuleId": 9, "line": 2, "value": "2,00"},
        {"customFieldId": 13485, "customFieldRuleId": 9, "line": 1, "value": "de outra regra"},
        {"customFieldId": 778, "customFieldRuleId": 9, "line": 1, "items": [{"team": "N2"}, {"team": "GR"}]},
    ]
    ticket = sandbox.open(customFields=others)
    execute_action(
        SetFields(**to(ticket), fields={"phone": "+551135550199", "plan": ["A", "B"]}), sandbox.api
    )
    found = read(sandbox, ticket).ticket
    assert found.custom_fields == {"phone": "+551135550199", "plan": ["A", "B"]}
    assert found.remote_fields["777:2"] == "2,00"
    assert found.remote_fields["778"] == ["N2", "GR"]
    stored = sandbox.tickets()[0]["customFieldValues"]
    assert {
        "customFieldId": 13485,
        "customFieldRuleId": 9,
        "line": 1,
        "value": "de outra regra",
        "items": [],
    } in stored


@pytest.mark.parametrize(("said", "stored"), [
    ("texto", "texto"), (1530, "1530"), (1530.75, "1.530,75"), (["a", "b"], "a, b"), (None, None), ("", None),
])  # fmt: skip
def test_values_are_written_the_brazilian_way(sandbox, said, stored):
    ticket = sandbox.open(customFields={"13485": "antes"})
    action = SetFields(**to(ticket), fields={"phone": said})
    execute_action(action, sandbox.api)
    values = {v["customFieldRuleId"]: v["value"] for v in sandbox.tickets()[0]["customFieldValues"]}
    assert values.get(21751) == stored
    assert find_effect(action, sandbox.api) is not None


def test_an_unmapped_field_is_refused_before_any_call(sandbox):
    with pytest.raises(ApiError, match=r"cor_do_logo.*custom_fields") as refused:
        execute_action(
            SetFields(**to({"id": "1"}), fields={"phone": "1", "cor_do_logo": "azul"}), sandbox.api
        )
    assert refused.value.failure is ApiFailure.REFUSED
    assert sandbox.calls() == []


def test_a_contact_is_saved_without_losing_what_the_person_had(sandbox):
    known = sandbox.open(client={"name": "Maria", "email": "maria@loja.example", "phone": "(11) 3555-0199"})[
        "clients"
    ][0]["id"]
    contact = Contact(
        email="maria@loja.example",
        name="Maria Souza",
        phones=("+5511988887777", "1135550199"),
        document="12345678909",
    )
    receipt = execute_action(SaveContact(**WHY, connection="desk", contact=contact), sandbox.api)
    person = sandbox.api.get("/persons", id=known).body
    assert receipt.remote_id == known
    assert person["businessName"] == "Maria Souza"
    assert person["cpfCnpj"] == "12345678909"
    assert [entry["contact"] for entry in person["contacts"]] == ["(11) 3555-0199", "+5511988887777"]
    assert [entry["email"] for entry in person["emails"]] == ["maria@loja.example"]


def test_a_contact_with_fields_is_saved_by_its_id(sandbox):
    contact = Contact(id="cli-77", custom_fields={"plan": "Enterprise"})
    action = SaveContact(**WHY, connection="desk", contact=contact)
    assert find_effect(action, sandbox.api) is None
    execute_action(action, sandbox.api)
    assert sandbox.api.get("/persons", id="cli-77").body["customFieldValues"][0]["items"] == [
        {"customFieldItem": "Enterprise"}
    ]
    assert find_effect(action, sandbox.api).remote_id == "cli-77"


def test_an_unknown_contact_becomes_one_person_however_often_it_is_saved(sandbox):
    action = SaveContact(
        **WHY, connection="desk", contact=AURORA.model_copy(update={"id": "from-another-desk"})
    )
    first = execute_action(action, sandbox.api)
    assert execute_action(action, sandbox.api).remote_id == first.remote_id


def test_a_person_made_by_a_lost_attempt_is_found_by_its_reference(sandbox):
    """Also while the search does not know of the person: here because it lost all that is searched for."""
    first = execute_action(create(), sandbox.api)
    [stored] = sandbox.tickets()
    person_id = stored["clients"][0]["id"]
    empty = {"emails": [], "contacts": [], "cpfCnpj": ""}
    sandbox.api.call("PATCH", "/persons", params={"id": person_id}, json=empty)
    second = execute_action(create(), sandbox.api)
    assert sandbox.tickets()[-1]["clients"][0]["id"] == person_id
    assert first.remote_id != second.remote_id


def test_what_movidesk_cannot_do_is_unsupported(sandbox):
    notify = Notify(**WHY, channel="x", title="t", body="b")
    assert execute_action(notify, sandbox.api) is None
    assert find_effect(notify, sandbox.api) is None


# --- after an answer that never came


def after_a_lost_answer(sandbox, action, method, path):
    sandbox.misbehave(kind="drop", times=1, method=method, path=path)
    assert find_effect(action, sandbox.api) is None
    with pytest.raises(ApiError) as lost:
        execute_action(action, sandbox.api)
    assert lost.value.uncertain
    assert lost.value.retry_after == 180, "looking at once might miss what a replica does not know yet"
    return find_effect(action, sandbox.api)


def test_a_ticket_whose_answer_was_lost_is_found_and_not_made_again(sandbox):
    receipt = after_a_lost_answer(sandbox, create(), "POST", "/tickets")
    [stored] = sandbox.tickets()
    assert receipt.remote_id == stored["id"]


@pytest.mark.parametrize("answer", [httpx.Response(200), httpx.Response(200, json={}), httpx.Response(503)])
def test_an_answer_without_the_new_ticket_is_no_answer(connected, answer):
    api = api_for(movidesk, connected(base_url="http://127.0.0.1:9"), rate=RateLimit(1000, 1))
    with respx.mock(base_url="http://127.0.0.1:9") as router:
        route = router.post("/tickets").mock(return_value=answer)
        with pytest.raises(ApiError) as lost:
            execute_action(create(contact=Contact(id="cli-77")), api)
    assert lost.value.uncertain
    assert lost.value.retry_after == 180
    assert route.call_count == 1


def test_a_ticket_that_a_lagging_replica_hides_is_found_later(sandbox_with):
    clock = [1_741_608_000.0]
    with sandbox_with(replica_lag=30.0, clock=lambda: clock[0]) as sandbox:
        receipt = execute_action(create(), sandbox.api)
        assert find_effect(create(), sandbox.api) is None
        clock[0] += 31
        assert find_effect(create(), sandbox.api).remote_id == receipt.remote_id


@pytest.mark.parametrize("options", [
    {}, {"html_in_ticket": False}, {"keeps_hidden_text": False},
    {"html_in_ticket": False, "keeps_hidden_text": False},
])  # fmt: skip
def test_a_comment_whose_answer_was_lost_is_found(sandbox_with, options):
    with sandbox_with(**options) as sandbox:
        ticket = sandbox.open()
        sandbox.change(ticket["id"], comment={"body": "Falta o telefone", "agent": True})
        action = AddComment(**to(ticket), body="Falta o telefone")
        receipt = after_a_lost_answer(sandbox, action, "PATCH", "/tickets")
        assert receipt.remote_id == f"{ticket['id']}:3"
        assert len(read(sandbox, ticket).comments) == 2


def test_the_same_words_of_another_action_are_another_comment(sandbox):
    ticket = sandbox.open()
    execute_action(AddComment(**to(ticket), body="Ligar"), sandbox.api)
    again = AddComment(**(to(ticket) | {"id": "another-action"}), body="Ligar")
    assert find_effect(again, sandbox.api) is None


@pytest.mark.parametrize(("kind", "given"), [
    (SetStatus, {"status": Status.RESOLVED}), (SetPriority, {"priority": Priority.URGENT}),
    (AssignTo, {"assignee": "ag-10", "team": "N2"}), (AddTags, {"tags": ("novo",)}),
    (RemoveTags, {"tags": ("vip",)}), (SetFields, {"fields": {"phone": "+551135550199"}}),
])  # fmt: skip
def test_an_absolute_change_is_repeated_in_place_or_found(sandbox, kind, given):
    ticket = sandbox.open(tags=["vip"])
    action = kind(**to(ticket), **given)
    assert find_effect(action, sandbox.api) is None
    sandbox.misbehave(kind="drop", times=1, method="PATCH", path="/tickets")
    execute_action(action, sandbox.api)
    assert find_effect(action, sandbox.api) is not None
