"""Secrets at rest: sealed, opened, and rotated."""

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from gateway.model.errors import GatewayError
from gateway.store.secrets import Keyring

OLD, NEW, OTHER = (Fernet.generate_key().decode() for _ in range(3))
SECRETS = {"token": "a-test-token", "keys": ["one", "two"]}


@given(st.dictionaries(st.text(), st.text() | st.lists(st.text())))
def test_what_is_sealed_is_what_is_opened(secrets):
    assert Keyring([NEW]).open(Keyring([NEW]).seal(secrets)) == secrets


def test_what_is_sealed_shows_nothing_and_never_looks_the_same():
    sealed = Keyring([NEW]).seal(SECRETS)
    assert b"test-token" not in sealed
    assert sealed != Keyring([NEW]).seal(SECRETS)


def test_the_first_key_seals_and_every_key_opens():
    old = Keyring([OLD]).seal(SECRETS)
    rotating = Keyring([NEW, OLD])
    assert rotating.open(old) == SECRETS
    assert Keyring([NEW]).open(rotating.seal(SECRETS)) == SECRETS
    with pytest.raises(GatewayError):
        Keyring([OLD]).open(rotating.seal(SECRETS))


@pytest.mark.parametrize("sealed", [b"", b"plain", Keyring([OTHER]).seal(SECRETS)])
def test_what_no_key_opens_says_which_setting_to_mend(sealed):
    with pytest.raises(GatewayError, match="GATEWAY_SECRET_KEYS"):
        Keyring([NEW, OLD]).open(sealed)


def test_what_was_tampered_with_is_refused():
    sealed = bytearray(Keyring([NEW]).seal(SECRETS))
    sealed[-5] ^= 1
    with pytest.raises(GatewayError, match="cannot be decrypted"):
        Keyring([NEW]).open(bytes(sealed))


@pytest.mark.parametrize(
    "key", ["", "short", "ü" * 44, pytest.param(NEW[:-1], id="cut off"), "not base64 " * 4]
)
def test_a_key_that_is_none_is_refused_without_being_shown(key):
    with pytest.raises(GatewayError, match="GATEWAY_SECRET_KEYS: each key must be") as raised:
        Keyring([NEW, key])
    assert not key or key not in str(raised.value)


def test_without_any_key_nothing_starts():
    with pytest.raises(GatewayError, match="set GATEWAY_SECRET_KEYS"):
        Keyring([])
