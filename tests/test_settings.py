"""Variables of the environment: what they mean, and one clear line where they are wrong."""

from pathlib import Path

import pytest

from gateway.model.errors import InvalidConfiguration
from gateway.settings import Settings, read_settings


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"GATEWAY_{name.upper()}", raising=False)


def test_without_any_variable_everything_is_on_this_machine():
    found = read_settings()
    assert found.embedded
    assert (found.data_dir, found.max_body, found.log_format) == (Path(".gateway"), 1024 * 1024, "console")
    assert not found.allow_private_targets
    assert found.secret_keys == ()


@pytest.mark.parametrize(
    ("database", "redis", "embedded"),
    [("postgresql://x", "redis://x", False), ("postgresql://x", "", True), ("", "redis://x", True)],
)
def test_what_is_not_named_is_embedded(monkeypatch, database, redis, embedded):
    monkeypatch.setenv("GATEWAY_DATABASE_URL", database)
    monkeypatch.setenv("GATEWAY_REDIS_URL", redis)
    assert read_settings().embedded is embedded


def test_keys_are_a_list_with_commas_and_are_never_shown(monkeypatch):
    monkeypatch.setenv("GATEWAY_SECRET_KEYS", " first-key, second-key ,,")
    found = read_settings()
    assert [key.get_secret_value() for key in found.secret_keys] == ["first-key", "second-key"]
    assert "first-key" not in repr(found)
    assert "first-key" not in str(found.model_dump())


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("MAX_BODY", "plenty", "GATEWAY_MAX_BODY: Input should be a valid integer"),
        ("MAX_BODY", "10", "GATEWAY_MAX_BODY: Input should be greater than or equal to 1024"),
        ("MAX_BODY", str(2**40), "GATEWAY_MAX_BODY: Input should be less than or equal to"),
        ("LOG_FORMAT", "xml", "GATEWAY_LOG_FORMAT: Input should be 'console' or 'json'"),
        ("LOG_LEVEL", "loud", "GATEWAY_LOG_LEVEL: Input should be"),
        (
            "ALLOW_PRIVATE_TARGETS",
            "perhaps",
            "GATEWAY_ALLOW_PRIVATE_TARGETS: Input should be a valid boolean",
        ),
        ("ACTION_BUDGET", "0", "GATEWAY_ACTION_BUDGET: Input should be greater than or equal to 1"),
    ],
)
def test_a_wrong_variable_is_one_clear_line(monkeypatch, name, value, says):
    monkeypatch.setenv(f"GATEWAY_{name}", value)
    with pytest.raises(InvalidConfiguration) as raised:
        read_settings()
    message = str(raised.value)
    assert message.startswith(f"environment: {says}")
    assert "\n" not in message


def test_all_that_is_wrong_is_said_at_once(monkeypatch):
    monkeypatch.setenv("GATEWAY_MAX_BODY", "plenty")
    monkeypatch.setenv("GATEWAY_LOG_FORMAT", "xml")
    with pytest.raises(InvalidConfiguration, match=r"GATEWAY_MAX_BODY: .*; GATEWAY_LOG_FORMAT: "):
        read_settings()


def test_settings_do_not_change_while_a_process_runs():
    with pytest.raises(Exception, match="frozen"):
        read_settings().max_body = 5
