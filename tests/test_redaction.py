"""No secret is ever shown, in any of the forms in which it travels."""

import base64
import json
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from gateway.model.connection import ConnectionSettings, SecretList
from gateway.redaction import (
    REDACTED,
    Redactor,
    is_sensitive,
    redact_headers,
    redact_log,
    redact_text,
    redact_url,
    secret_values,
)

SECRETS = st.text(min_size=6, max_size=60).filter(lambda secret: secret not in REDACTED)
TEXTS = st.text(max_size=80)


@pytest.mark.parametrize(
    "name",
    [
        "Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie", "token", "access_token", "key",
        "api_key", "X-Api-Key", "X-Gateway-Key", "secret", "client_secret", "auth", "hook_key", "password",
        "signature", "X-Zendesk-Webhook-Signature", "asaas-access-token",
    ],
)  # fmt: skip
def test_these_names_hold_secrets(name):
    assert is_sensitive(name)


@pytest.mark.parametrize("name", ["Idempotency-Key", "dedup_key", "X-Request-Id", "monkey", "id", "Accept"])
def test_these_names_do_not(name):
    assert not is_sensitive(name)


def test_headers():
    headers = {"Authorization": "Bearer opensesame", "Accept": "application/json"}
    assert redact_headers(headers) == {"Authorization": REDACTED, "Accept": "application/json"}


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://a.example/t?token=abc&id=5", "https://a.example/t?token=[redacted]&id=5"),
        ("https://a.example/t?id=5&KEY=abc#top", "https://a.example/t?id=5&KEY=[redacted]#top"),
        ("https://a.example/t?auth[access_token]=abc", "https://a.example/t?auth[access_token]=[redacted]"),
        ("redis://user:opensesame@localhost:6379/0", "redis://[redacted]@localhost:6379/0"),
        ("https://a.example/t?id=5", "https://a.example/t?id=5"),
        ("https://a.example/users/a@b.example", "https://a.example/users/a@b.example"),
    ],
)
def test_urls(url, shown):
    assert redact_url(url) == shown


@given(name=st.sampled_from(["token", "key", "access_token", "api_key"]), value=SECRETS, other=TEXTS)
def test_no_sensitive_parameter_survives_in_a_url(name, value, other):
    assume(quote_plus(value) not in quote_plus(other))
    url = "https://a.example/x?" + urlencode({"q": other, name: value})
    assert quote_plus(value) not in redact_url(url).removeprefix("https://a.example/x?q=" + quote_plus(other))
    assert f"{name}={REDACTED}" in redact_url(url)


@given(secret=SECRETS, before=TEXTS, after=TEXTS)
def test_no_form_of_a_secret_survives_in_a_text(secret, before, after):
    assume(secret not in before + after)
    for form in (
        secret,
        quote(secret, safe=""),
        quote_plus(secret),
        quote(secret, safe="").lower() if secret.islower() else quote(secret),
        json.dumps(secret)[1:-1],
    ):
        assert form not in redact_text(f"{before} {form} {after}", [secret]).replace(before, "").replace(
            after, ""
        )


@given(
    secret=st.text(alphabet="abcdefghijklmnop0123456789", min_size=12, max_size=40),
    user=st.text("xyz", max_size=9),
)
def test_a_secret_inside_a_basic_authorization_is_found(secret, user):
    header = base64.b64encode(f"{user}:{secret}".encode()).decode()
    shown = redact_text(f"Basic {header}", [secret])
    assert REDACTED in shown
    assert len(shown.replace(REDACTED, "")) <= len("Basic ") + len(user) * 2 + 10


@given(
    secret=st.text(alphabet="0123456789", min_size=8, max_size=30),
    parts=st.lists(st.integers(0, 30), min_size=1, max_size=8),
    length=st.integers(1, 120),
    raw=st.booleans(),
)
def test_an_excerpt_never_ends_in_half_a_secret(secret, parts, length, raw):
    text = "".join("-" * filling + secret for filling in parts)
    shown = Redactor([secret]).excerpt(text.encode() if raw else text, length)
    assert not any(digit in shown for digit in "0123456789")
    assert len(shown) <= length + len("...")


@given(text=st.text(max_size=50), length=st.integers(50, 60))
def test_a_short_text_without_secrets_is_shown_whole(text, length):
    assert Redactor(["opensesame"]).excerpt(text, length) == text


def test_a_single_letter_is_no_secret():
    assert redact_text("Xerox", ["X", ""]) == "Xerox"


def test_secrets_are_found_wherever_settings_hold_them():
    class Inner(BaseModel):
        deep: SecretStr

    class Settings(ConnectionSettings):
        token: SecretStr
        hook_key: SecretList
        inner: Inner
        by_name: dict[str, SecretStr]
        plain: str
        absent: SecretStr | None = None

    settings = Settings(
        token="one", hook_key=["two", "three"], inner={"deep": "four"}, by_name={"a": "five"}, plain="shown"
    )
    assert secret_values(settings) == ("one", "two", "three", "four", "five")


def test_log_lines():
    event = {
        "event": "calling https://a.example/t?token=abc&id=5",
        "Authorization": "Bearer opensesame",
        "settings": {"api_key": "opensesame", "subdomain": "acme", "nested": [{"password": "opensesame"}]},
        "secret": SecretStr("opensesame"),
        "given": [SecretStr("opensesame")],
        "attempt": 3,
    }
    assert redact_log(None, "info", event) == {
        "event": "calling https://a.example/t?token=[redacted]&id=5",
        "Authorization": REDACTED,
        "settings": {"api_key": REDACTED, "subdomain": "acme", "nested": [{"password": REDACTED}]},
        "secret": REDACTED,
        "given": [REDACTED],
        "attempt": 3,
    }
