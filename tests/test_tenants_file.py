"""Does a tenants.yaml mean what it says, and is every mistake in it named by its place?"""

from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import pytest
from pydantic import Field, Secret, SecretStr, field_validator

from gateway import registry
from gateway.api import ConnectionSettings, RuleInfo, RuleSettings, SecretList, Template, VendorInfo, hookimpl
from gateway.model.errors import InvalidConfiguration
from gateway.registry import Registry
from gateway.tenants_file import read, secret


class DeskSettings(ConnectionSettings):
    subdomain: str = Field(pattern="^[a-z]+$")
    numbers: tuple[int, ...] = ()
    token: SecretStr
    hook_key: SecretList | None = None

    @field_validator("token")
    @classmethod
    def _check(cls, token: SecretStr) -> SecretStr:
        if token.get_secret_value().startswith("bad"):
            raise ValueError(f"the token {token.get_secret_value()} is no token")
        return token


class GreetSettings(RuleSettings):
    connection: str
    copy_connection: str | None = None
    text: Template = "Olá {{ ticket.subject }}"
    level: Literal["low", "high"] = "low"


@pytest.fixture(scope="module")
def installed() -> Registry:
    """One vendor, `desk`, and one rule, `greet`."""
    desk, greet = ModuleType("desk"), ModuleType("greet")
    desk.vendor_info = hookimpl(lambda: VendorInfo(label="Desk", settings=DeskSettings))  # type: ignore[attr-defined]
    greet.on_event = hookimpl(lambda event, facts: ())  # type: ignore[attr-defined]
    greet.INFO = RuleInfo(title={"en": "Greet"}, description={"en": "Greets."}, enabled=True)  # type: ignore[attr-defined]
    greet.Settings = GreetSettings  # type: ignore[attr-defined]
    return registry.assemble({"desk": desk}, {"greet": greet})


ACME = """\
tenants:
  acme:
    name: Acme
    timezone: America/Manaus
    connections:
      main: {vendor: desk, settings: {subdomain: acme}, secrets: {token: {env: TOKEN}}}
    rules:
      greet: {settings: {connection: main}}
"""
ENVIRONMENT = {"TOKEN": "example-token", "EMPTY": "", "BAD": "bad-example"}


def said(text: str, installed: Registry, folder: Path = Path()) -> Any:
    return read(text.encode(), folder, ENVIRONMENT, installed).tenants


def test_the_file_is_read_into_its_own_shape(installed: Registry) -> None:
    assert said(ACME, installed) == {
        "acme": {
            "name": "Acme",
            "timezone": "America/Manaus",
            "connections": {
                "main": {
                    "vendor": "desk",
                    "settings": {"subdomain": "acme"},
                    "secrets": {"token": Secret("example-token")},
                }
            },
            "rules": {"greet": {"enabled": True, "settings": {"connection": "main"}}},
        }
    }


def test_a_secret_is_not_shown_when_what_was_read_is_printed(installed: Registry) -> None:
    assert "example-token" not in repr(said(ACME, installed)) + str(said(ACME, installed))


def test_a_file_without_tenants_says_nothing(installed: Registry) -> None:
    assert said("tenants: {}", installed) == {}


def test_a_rule_that_is_off_may_still_lack_its_settings(installed: Registry) -> None:
    off = ACME.replace("{settings: {connection: main}}", "{enabled: false, settings: {level: high}}")

    rule = said(off, installed)["acme"]["rules"]["greet"]

    assert rule == {"enabled": False, "settings": {"level": "high"}}


def test_a_rule_that_is_off_may_not_have_wrong_settings(installed: Registry) -> None:
    off = ACME.replace("{settings: {connection: main}}", "{enabled: false, settings: {level: middle}}")

    with pytest.raises(
        InvalidConfiguration, match=r"rules\.greet\.settings\.level: should be 'low' or 'high'"
    ):
        said(off, installed)


@pytest.mark.parametrize(
    ("was", "now", "expected"),
    [
        ("tenants:", "tenant:", "tenant: unknown setting (known: tenants)"),
        ("name: Acme", "name: ''", "tenants.acme.name: should have at least 1 character"),
        ("name: Acme", "name: 5", "tenants.acme.name: should be text: put it in quotes"),
        ("Manaus", "Atlantis", "tenants.acme.timezone: no such time zone; expected an IANA name such as"),
        ("name: Acme", "locale: es", "tenants.acme.locale: should be 'pt-BR' or 'en'"),
        ("acme:\n", "Acme:\n", "tenants.Acme: a name has at most 63 lowercase letters, digits, _ and -"),
        ("acme:\n", f"{'a' * 64}:\n", f"tenants.{'a' * 64}: a name has at most 63 lowercase letters"),
        ("main:", "main.desk:", "tenants.acme.connections.main.desk: a name has at most 63"),
        ("main:", "gateway:", "tenants.acme.connections.gateway: the connection name 'gateway' is reserved"),
        ("main: {vendor: desk", "main: {vendors: 1, vendor: desk", "main.vendors: unknown setting (known: vendor, set"),
        ("vendor: desk", "vendor: disk", "connections.main.vendor: unknown vendor 'disk'; installed: desk"),
        ("vendor: desk, ", "", "tenants.acme.connections.main.vendor: is required"),
        ("subdomain: acme", "subdomain: Acme", "main.settings.subdomain: should match pattern '^[a-z]+$'"),
        ("subdomain: acme", "subdomain: acme, numbers: [1, x]", "main.settings.numbers.1: should be a valid integer"),
        ("subdomain: acme", "subdomain: acme, numbers: 1", "main.settings.numbers: should be a list"),
        ("subdomain: acme", "subdomain: acme, base_url: desk", "main.settings.base_url: should be a valid URL"),
        ("subdomain: acme", "subdomain: acme, x: 1", "main.settings.x: unknown setting (known: base_url, "),
        ("subdomain: acme", "subdomain: acme, token: x", "main.settings.token: is a secret: put it under secrets"),
        ("{token:", "{subdomain: x, token:", "secrets.subdomain: is not a secret: put it under settings"),
        ("{token:", "{tokem: x, token:", "secrets.tokem: unknown secret (known: token, hook_key)"),
        ("{env: TOKEN}", "{env: NOT_SET}", "secrets.token: the environment variable NOT_SET is not set"),
        ("{env: TOKEN}", "{env: EMPTY}", "secrets.token: the environment variable EMPTY is empty"),
        ("{env: TOKEN}", "{env: BAD}", "secrets.token: the token [redacted] is no token"),
        ("{env: TOKEN}", "[{env: TOKEN}]", "secrets.token: should be a valid string"),
        ("{env: TOKEN}", "[]", "secrets.token: should be {env: NAME}, {file: PATH} or text"),
        ("{env: TOKEN}", "5", "secrets.token: should be text: put it in quotes"),
        ("{env: TOKEN}", "{env: TOKEN, file: x}", "secrets.token: should be {env: NAME}, {file: PATH} or text"),
        ("secrets: {token: {env: TOKEN}}", "secrets: [x]", "main.secrets: should be a mapping (name: value)"),
        ("greet:", "great:", "tenants.acme.rules.great: unknown rule 'great'; installed: greet"),
        ("greet: {", "greet: {enabled: maybe, ", "rules.greet.enabled: should be true or false"),
        ("{connection: main}", "{}", "rules.greet.settings.connection: is required"),
        ("{connection: main}", "{connection: main, txt: x}", "settings.txt: unknown setting (known: connection, copy_"),
        ("{connection: main}", "{connection: main, text: '{{ x'}", "greet.settings.text: bad template (line 1): "),
        ("rules:", "channels: {ops: {}}\n    rules:", "tenants.acme.channels.ops.url: is required"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_by_its_place_and_by_what_was_expected(
    installed: Registry, was: str, now: str, expected: str
) -> None:
    assert was in ACME

    with pytest.raises(InvalidConfiguration) as refused:
        said(ACME.replace(was, now, 1), installed)

    assert expected in str(refused.value)
    assert "bad-example" not in str(refused.value)


def test_a_channel_whose_url_is_not_at_hand_gets_one_line(installed: Registry) -> None:
    with pytest.raises(InvalidConfiguration) as refused:
        said("tenants: {acme: {channels: {ops: {url: {env: NOT_SET}}}}}", installed)

    expected = "tenants.acme.channels.ops.url: the environment variable NOT_SET is not set"
    assert str(refused.value) == expected


@pytest.mark.parametrize("text", ["", "null", "[]", "5", "# nothing"])
def test_a_file_that_is_no_mapping_is_refused(installed: Registry, text: str) -> None:
    with pytest.raises(InvalidConfiguration, match="begins with `tenants:`"):
        said(text, installed)


def test_a_secret_in_the_open_is_noted_with_its_place(installed: Registry) -> None:
    reading = read(ACME.replace("{env: TOKEN}", "in-the-open").encode(), Path(), ENVIRONMENT, installed)

    (note,) = reading.notes
    assert note.startswith("tenants.acme.connections.main.secrets.token: ")
    assert "in-the-open" not in note


def test_a_file_of_a_secret_is_found_from_the_folder_and_loses_its_last_line_end(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("first line\nsecond line\r\n")

    assert secret({"file": "one"}, tmp_path, {}) == "first line\nsecond line"
    assert secret({"file": str(tmp_path / "one")}, Path("/"), {}) == "first line\nsecond line"


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "cannot be read: No such file"), (b"\n", "is empty"), (b"\xff\xfe\xff", "is not text")],
)
def test_a_file_that_holds_no_secret_is_refused(tmp_path: Path, content: bytes | None, problem: str) -> None:
    if content is not None:
        (tmp_path / "one").write_bytes(content)

    with pytest.raises(ValueError, match=problem):
        secret({"file": "one"}, tmp_path, {})
