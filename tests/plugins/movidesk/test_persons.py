"""Is the right person taken for a contact, and the same one every time?"""

import pytest
import respx
from gateway_plugins import movidesk
from gateway_plugins.movidesk import persons

from gateway.api import Contact, RateLimit
from gateway.testing import api_for


def person(person_id, **more):
    return {"id": person_id, "isActive": True, "profileType": 2} | more


@pytest.mark.parametrize("rows", [
    [person("b"), person("a", isActive=False)],
    [person("a", profileType=1), person("b", profileType=3)],
    [person("c"), person("b")],
])  # fmt: skip
def test_of_several_an_active_client_is_taken_always_the_same(connected, rows):
    api = api_for(movidesk, connected(base_url="http://127.0.0.1:9"), rate=RateLimit(1000, 1))
    for order in (rows, rows[::-1]):
        with respx.mock(base_url="http://127.0.0.1:9") as router:
            router.get("/persons").respond(json=order)
            assert persons.find(Contact(email="a@loja.example"), api)["id"] == "b"


@pytest.mark.parametrize(("one", "other", "same"), [
    ("+5511988887777", "(11) 98888-7777", True),
    ("11 98888.7777", "+55 (11) 98888 7777", True),
    ("+5511988887777", "(21) 98888-7777", False),
    ("+5511988887777", "98888-7777", False),
    ("+5511988887777", "ramal 20", False),
    ("", "", False),
])  # fmt: skip
def test_phones_are_compared_with_their_area_code(one, other, same):
    assert persons.same_phone(one, other) is same


def test_a_reference_follows_from_who_it_is_not_from_how_it_is_written():
    by_document = Contact(document="12345678909", email="a@loja.example")
    assert persons.reference(by_document, "1") == persons.reference(Contact(document="12345678909"), "2")
    by_email = persons.reference(Contact(email=" A@Loja.example"), "1")
    assert by_email == persons.reference(Contact(email="a@loja.example", phones=("1",)), "2")
    by_phone = persons.reference(Contact(phones=("+55 11 98888-7777",)), "1")
    assert by_phone == persons.reference(Contact(phones=("(11) 98888-7777",)), "2")
    assert len({by_email, by_phone, persons.reference(by_document, "1")}) == 3


def test_people_who_share_no_more_than_a_name_are_told_apart():
    ana = Contact(name="Ana")
    assert persons.reference(ana, "1") == persons.reference(ana, "1")
    assert persons.reference(ana, "1") != persons.reference(ana, "2")
    assert len(persons.reference(ana, "1")) <= 64


@pytest.mark.parametrize(("digits", "written"), [
    ("12345678909", "123.456.789-09"), ("11222333000181", "11.222.333/0001-81"), ("123", "123"),
])  # fmt: skip
def test_documents_are_punctuated_as_people_do(digits, written):
    assert persons.punctuated(digits) == written


def test_a_quote_in_an_address_stays_inside_the_filter(sandbox):
    assert persons.find(Contact(email="o'neil@loja.example"), sandbox.api) is None
    assert [call["status"] for call in sandbox.app.calls] == [200]
