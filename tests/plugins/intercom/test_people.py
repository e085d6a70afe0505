"""Is everybody found who is there, and nobody made twice?"""

import pytest
from gateway_plugins import intercom
from gateway_plugins.intercom import people
from gateway_plugins.intercom.errors import explain
from hypothesis import given
from hypothesis import strategies as st

from gateway.api import Answer, ApiError, ApiFailure, Contact, CreateTicket, SaveContact

WHY = "a test"
ANA = {"email": "ana@customer.example", "name": "Ana Lima", "phone": "+551135550199", "external_id": "u-77"}


def save(**contact):
    return SaveContact(id="act-1", reason=WHY, connection="ic", contact=Contact(**contact))


def contacts(desk):
    query = {"query": {"field": "created_at", "operator": ">", "value": 0}}
    return list(desk.api.call("POST", "/contacts/search", json=query, repeatable=True).body["data"])


@pytest.mark.parametrize(
    "known",
    [
        {"email": "ANA@customer.example"},
        {"phones": ("(11) 3555-0199",)},
        {"email": "ana@customer.example", "phones": ("(11) 3555-0100",)},
    ],
)
def test_a_contact_that_is_there_is_changed_not_made_again(desk, known):
    desk.person_opens(contact=ANA)
    receipt = desk.do(save(name="Ana Maria Lima", **known))
    (contact,) = contacts(desk)
    assert (contact["id"], contact["name"]) == (receipt.remote_id, "Ana Maria Lima")


def test_a_contact_is_found_by_its_own_id(desk):
    ref = desk.person_opens(contact=ANA)
    contact_id = desk.read(ref).ticket.contact.id
    assert desk.do(save(id=contact_id, phones=("11 93555-0100",))).remote_id == contact_id
    assert desk.read(ref).ticket.contact.phones == ("+5511935550100",)


def test_an_id_of_another_system_or_of_nobody_is_no_hindrance(desk):
    for foreign in ("9001", "66aa0000000000000000ffff"):
        assert desk.do(save(id=foreign, email="new@customer.example")).remote_id
    assert len(contacts(desk)) == 1


def test_a_document_is_kept_where_the_setting_says_and_found_there(open_desk):
    desk = open_desk({"document_attribute": "cpf"})
    first = desk.do(save(name="Ana", email="a@customer.example", document="52998224725"))
    assert contacts(desk)[0]["custom_attributes"] == {"cpf": "52998224725"}
    assert desk.do(save(document="52998224725", phones=("+551135550199",))).remote_id == first.remote_id
    external = open_desk({"document_attribute": "external_id"})
    first = external.do(save(name="Ana", email="a@customer.example", document="52998224725"))
    assert external.do(save(document="52998224725")).remote_id == first.remote_id
    assert contacts(external)[0]["external_id"] == "52998224725"


def test_somebody_without_an_email_is_not_made_twice_though_the_search_is_late(open_desk):
    desk = open_desk(search_lag=3600)
    ids = {
        desk.do(save(name="Ana", phones=(phone,))).remote_id for phone in ("(11) 3555-0199", "+551135550199")
    }
    assert len(ids) == 1


def test_a_conflict_names_who_is_there_already(open_desk):
    desk = open_desk(search_lag=3600)
    ids = [desk.do(save(email="ana@customer.example", name=name)).remote_id for name in ("Ana", "Ana Lima")]
    assert ids[0] == ids[1]
    assert desk.api.get(f"/contacts/{ids[0]}").body["name"] == "Ana Lima"


def test_an_archived_contact_is_taken_back(desk):
    receipt = desk.do(save(email="ana@customer.example"))
    desk.http.post(
        f"/_sandbox/human/contacts/{receipt.remote_id}", json={"archived": True}
    ).raise_for_status()
    assert contacts(desk) == []
    assert desk.do(save(email="ana@customer.example", name="Ana")).remote_id == receipt.remote_id
    assert contacts(desk)[0]["name"] == "Ana"


def test_a_user_comes_before_a_lead_with_the_same_email(desk):
    for role in ("lead", "user"):
        desk.api.call("POST", "/contacts", json={"role": role, "email": "ana@customer.example"})
    found = people.find(Contact(email="ana@customer.example"), desk.api)
    assert found.role == "user"


def test_a_lost_answer_makes_no_second_contact(desk):
    desk.misbehave(kind="drop", method="POST", path="/contacts", times=1)
    desk.do(save(email="ana@customer.example"))
    assert len(contacts(desk)) == 1


def test_nobody_is_made_of_a_name_alone(desk):
    with pytest.raises(ApiError, match="e-mail, a phone or a document") as refused:
        desk.do(save(name="Ana"))
    assert refused.value.failure is ApiFailure.REFUSED


def test_a_ticket_is_for_whoever_is_there(desk):
    ref = desk.person_opens(contact=ANA)
    contact_id = desk.read(ref).ticket.contact.id
    act = CreateTicket(
        id="a",
        reason=WHY,
        connection="ic",
        key="k",
        subject="S",
        description="D",
        contact=Contact(email=ANA["email"]),
    )
    opened = desk.do(act).remote_id
    source = next(row for row in desk.everything() if row["id"] == opened.removeprefix("ticket:"))
    assert source["contacts"]["contacts"][0]["id"] == contact_id


@pytest.mark.parametrize(
    ("status", "code", "failure"),
    [
        (404, "ticket_not_found", ApiFailure.MISSING), (404, "assignee_not_found", ApiFailure.REFUSED),
        (400, "ticket_state_id_invalid", ApiFailure.REFUSED), (409, "conflict", ApiFailure.CONFLICT),
        (429, "rate_limit_exceeded", ApiFailure.THROTTLED), (403, "api_plan_restricted", ApiFailure.UNAUTHORIZED),
        (500, "server_error", ApiFailure.UNAVAILABLE), (401, "unauthorized", ApiFailure.UNAUTHORIZED),
    ],
)  # fmt: skip
def test_errors_are_told_by_code_message_and_request(status, code, failure):
    body = {
        "type": "error.list",
        "request_id": "r-1",
        "errors": [{"code": code, "message": "Why", "field": "f"}],
    }
    error = explain(Answer(status, {}, body, ""))
    assert (error.failure, error.status) == (failure, status)
    assert str(error) == f"{code}: Why (f) (request_id r-1)"


def test_only_a_conflict_names_somebody():
    said = "A contact matching those details already exists with id=66aa00000000000000000001"
    body = {"errors": [{"code": "conflict", "message": said}]}
    assert explain(Answer(409, {}, body, "")).existing == "66aa00000000000000000001"
    assert explain(Answer(400, {}, body, "")).existing is None


@given(
    body=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=9),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=8,
    )
    | st.fixed_dictionaries({"errors": st.lists(st.fixed_dictionaries({"code": st.integers()}))}),
    status=st.sampled_from([400, 404, 409, 418, 429, 500, 503]),
)
def test_whatever_is_answered_is_explained_or_left_to_its_status(body, status):
    error = intercom.explain_error(response=Answer(status, {}, body, ""))
    assert error is None or (error.status == status and str(error) is not None)


@given(phone=st.text(max_size=30))
def test_whatever_stands_for_a_phone_stays_a_text(connection, phone):
    assert isinstance(people.e164(phone, connection.settings), str)
