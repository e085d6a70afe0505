"""What an admin fills in for a connection."""

import pytest
from pydantic import SecretStr, ValidationError

from gateway.model.connection import ConnectionSettings, SecretList
from gateway.model.customer import Customer, Payment
from gateway.model.person import Contact


class Settings(ConnectionSettings):
    keys: SecretList


def keys(value: object) -> list[str]:
    return [key.get_secret_value() for key in Settings(keys=value).keys]


def test_a_secret_is_one_or_a_list_while_it_rotates():
    assert keys("only") == ["only"]
    assert keys(["new", "old"]) == keys(("new", "old")) == ["new", "old"]
    assert keys(SecretStr("sealed")) == ["sealed"]


@pytest.mark.parametrize("value", [[], ["a", "b", "c", "d"], None, {"env": "NAME"}, [["a"]]])
def test_anything_else_is_no_secret(value):
    with pytest.raises(ValidationError, match="keys"):
        Settings(keys=value)


def test_secrets_are_not_printed():
    assert "hidden" not in repr(Settings(keys=["hidden"]))


def test_settings_that_a_vendor_does_not_have_are_refused():
    with pytest.raises(ValidationError, match="color"):
        Settings(keys="a", color="red")


@pytest.mark.parametrize("address", ["desk.example", "ftp://desk.example", "https://", "javascript:alert(1)"])
def test_an_address_is_one_of_the_web(address):
    with pytest.raises(ValidationError, match="base_url"):
        Settings(keys="a", base_url=address)


def test_a_vendor_that_knows_no_user_of_ours_recognises_none():
    assert Settings(keys="a").own_ids() == frozenset()


def test_a_customer_is_filed_at_a_desk_as_the_same_person():
    customer = Customer(id="c", name="Padaria", email="a@x.example", phones=("1",), document="2", plan="Pro")
    assert customer.as_contact() == Contact(name="Padaria", email="a@x.example", phones=("1",), document="2")
    assert (str(customer), str(Payment(id="p"))) == ("customer:c", "payment:p")
    assert str(Payment(id="p", connection="asaas")) == "payment:asaas/p"
