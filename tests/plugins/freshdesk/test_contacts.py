"""Is a person found under any of their keys, made once, and never lost over a duplicate?"""

import pytest
from gateway_plugins.freshdesk import contacts
from hypothesis import given
from hypothesis import strategies as st

from gateway.api import ApiError, ApiFailure, Contact, CreateTicket, SaveContact

PHONE = "+551135550199"


def save(sandbox, **known):
    action = SaveContact(id="act-1", reason="a test", connection="fd", contact=Contact(**known))
    return sandbox.do(action).remote_id


def open_for(sandbox, **known):
    """The requester of a ticket of ours for this person."""
    ticket = CreateTicket(
        id="act-1",
        reason="a test",
        connection="fd",
        key="k",
        subject="s",
        description="d",
        contact=Contact(**known),
    )
    number = sandbox.do(ticket).remote_id
    return next(one["requester_id"] for one in sandbox.tickets() if str(one["id"]) == number)


def posted(sandbox):
    return [call for call in sandbox.calls() if call == ("POST", "/contacts")]


# --- saved --------------------------------------------------------------------------------------------------


def test_a_new_contact_is_made_with_all_that_is_known(sandbox):
    saved = save(
        sandbox, name="Eva Lima", email="Eva@Cliente.example", phones=("(11) 3555-0199", "11 98888-7777"),
        document="12345678909", custom_fields={"vip": True},
    )  # fmt: skip
    (contact,) = sandbox.contacts()
    assert str(contact["id"]) == saved
    assert (contact["name"], contact["email"]) == ("Eva Lima", "eva@cliente.example")
    assert (contact["phone"], contact["mobile"]) == (PHONE, "+5511988887777")
    assert (contact["unique_external_id"], contact["custom_fields"]) == ("12345678909", {"vip": True})


@pytest.mark.parametrize("known", [
    {"email": "eva@cliente.example"}, {"email": "EVA@cliente.example"}, {"document": "12345678909"},
    {"phones": ("11 3555-0199",)}, {"phones": ("(11) 98888-7777",)},
    {"email": "eva@other.example", "document": "12345678909"},
])  # fmt: skip
def test_a_known_contact_is_found_by_every_key(sandbox, known):
    first = save(
        sandbox,
        name="Eva",
        email="eva@cliente.example",
        phones=(PHONE, "+5511988887777"),
        document="12345678909",
    )
    assert save(sandbox, name="Eva Lima", **known) == first
    (contact,) = sandbox.contacts()
    assert contact["name"] == "Eva Lima"
    assert (contact["phone"], contact["mobile"]) == (PHONE, "+5511988887777")


def test_a_phone_is_found_as_it_was_typed(sandbox):
    sandbox.open(phone="(11) 3555-0199", name="Eva")
    save(sandbox, name="Eva", phones=("(11) 3555-0199",))
    assert [contact["phone"] for contact in sandbox.contacts()] == ["(11) 3555-0199"]


def test_another_number_goes_into_the_empty_place_and_then_replaces_the_first(sandbox):
    save(sandbox, name="Eva", email="eva@cliente.example", phones=(PHONE,))
    save(sandbox, email="eva@cliente.example", phones=("11 98888-7777",))
    save(sandbox, email="eva@cliente.example", phones=("11 3555-0200",))
    (contact,) = sandbox.contacts()
    assert (contact["phone"], contact["mobile"]) == ("+551135550200", "+5511988887777")


def test_nothing_is_written_that_is_known_already(sandbox):
    known = {
        "name": "Eva",
        "email": "eva@cliente.example",
        "phones": (PHONE,),
        "custom_fields": {"vip": True},
    }
    assert save(sandbox, **known) == save(sandbox, **known)
    assert [method for method, _ in sandbox.calls()] == ["GET", "POST", "GET"]


def test_an_id_of_freshdesks_needs_no_looking(sandbox):
    saved = save(sandbox, name="Eva", email="eva@cliente.example")
    assert save(sandbox, id=saved, name="Eva Lima") == saved
    assert sandbox.calls()[-1] == ("PUT", f"/contacts/{saved}")
    assert sandbox.contacts()[0]["name"] == "Eva Lima"


@pytest.mark.parametrize("status", [400, 409])
def test_a_duplicate_answer_names_the_contact_to_use(sandbox_with, status):
    with sandbox_with(duplicate_status=status) as sandbox:
        saved = save(sandbox, name="Eva", email="eva@cliente.example")
        # no list shows a deleted contact, whose address stays taken all the same
        sandbox.http.delete(f"/api/v2/contacts/{saved}", auth=("sandbox-key", "X")).raise_for_status()
        assert save(sandbox, name="Eva Lima", email="eva@cliente.example", phones=(PHONE,)) == saved
        assert len(posted(sandbox)) == 2
        assert open_for(sandbox, name="Eva", email="eva@cliente.example", phones=(PHONE,)) == int(saved)


def test_an_agents_address_names_the_agent(sandbox):
    assert save(sandbox, name="Ana", email="ana.dias@desk.example") == "43000002"
    assert sandbox.contacts() == []


def test_a_duplicate_that_nobody_is_named_for_is_refused(sandbox):
    sandbox.misbehave(kind="status", status=409, method="POST", path="/api/v2/contacts")
    with pytest.raises(ApiError) as refused:
        save(sandbox, name="Eva", email="eva@cliente.example")
    assert refused.value.existing is None


@pytest.mark.parametrize("status", [401, 429, 500])
def test_a_found_duplicate_that_cannot_be_changed_now_is_tried_again(sandbox, status):
    sandbox.misbehave(kind="status", status=status, retry_after=60, method="PUT")
    with pytest.raises(ApiError) as failed:
        save(sandbox, name="Ana", email="ana.dias@desk.example")
    assert failed.value.passing


def test_nobody_can_be_saved_without_a_key(sandbox):
    with pytest.raises(ApiError, match="needs an e-mail, a phone or a document") as refused:
        save(sandbox, name="Eva")
    assert refused.value.failure is ApiFailure.REFUSED
    assert sandbox.calls() == []


def test_a_lost_answer_leaves_one_contact(sandbox):
    sandbox.misbehave(kind="drop", times=1, method="POST")
    save(sandbox, name="Eva", email="eva@cliente.example")
    assert len(sandbox.contacts()) == 1
    sandbox.misbehave(kind="drop", times=1, method="POST")
    with pytest.raises(ApiError):
        save(sandbox, name="Rui", phones=(PHONE,))
    assert str(save(sandbox, name="Rui", phones=(PHONE,))) == str(sandbox.contacts()[1]["id"])
    assert len(sandbox.contacts()) == 2


# --- whom a ticket is for -----------------------------------------------------------------------------------


def test_somebody_with_only_an_email_costs_no_call_more(sandbox):
    first = open_for(sandbox, name="Eva", email="Eva@Cliente.example")
    assert open_for(sandbox, email="eva@cliente.example") == first
    assert {path for _, path in sandbox.calls()} == {"/tickets"}
    assert sandbox.contacts()[0]["name"] == "Eva"


@pytest.mark.parametrize("known", [
    {"phones": ("11 3555-0199",)}, {"document": "12345678909"},
    {"email": "eva@cliente.example", "phones": (PHONE,), "document": "12345678909"},
])  # fmt: skip
def test_whoever_is_new_is_made_and_found_again(sandbox, known):
    first = open_for(sandbox, name="Eva", **known)
    assert open_for(sandbox, name="Somebody else's spelling", **known) == first
    assert [contact["name"] for contact in sandbox.contacts()] == ["Eva"], "whoever is known is not renamed"
    assert len(posted(sandbox)) == 1


def test_a_phone_is_added_where_there_is_none_and_never_replaced(sandbox):
    sandbox.open(email="eva@cliente.example", name="Eva")
    open_for(sandbox, email="eva@cliente.example", phones=(PHONE,))
    assert sandbox.contacts()[0]["phone"] == PHONE
    open_for(sandbox, email="eva@cliente.example", phones=("11 98888-7777", "11 3555-0200"))
    assert (sandbox.contacts()[0]["phone"], sandbox.contacts()[0]["mobile"]) == (PHONE, "+5511988887777")
    open_for(sandbox, email="eva@cliente.example", phones=("11 3555-0300",))
    assert (sandbox.contacts()[0]["phone"], sandbox.contacts()[0]["mobile"]) == (PHONE, "+5511988887777")


@pytest.mark.parametrize("known", [{}, {"name": "Eva"}, {"id": "77"}])
def test_a_ticket_for_nobody_who_can_be_reached_is_for_us(sandbox, known):
    assert open_for(sandbox, **known) == 43000001


@given(st.text(max_size=20))
def test_any_phone_is_written_the_same_way_twice(connection, phone):
    once = contacts.e164(phone, connection.settings)
    assert contacts.e164(once, connection.settings) == once
