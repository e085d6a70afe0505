"""The log: in one form, without secrets and without the insides of a failed function."""

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from pydantic import SecretStr

from gateway import logs

PASSWORD = "a-test-password"
ADDRESS = f"https://user:{PASSWORD}@desk.example/api?token={PASSWORD}&page=2"


class Log:
    """What was written to stderr, in this form."""

    def __init__(self, form: str, stream: io.StringIO) -> None:
        self.form = form
        self._stream = stream

    @property
    def text(self) -> str:
        return self._stream.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


@pytest.fixture(params=["console", "json"])
def log(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.configure(request.param, "info")
    yield Log(request.param, stream)
    root.handlers[:] = handlers
    root.setLevel(level)


def logger() -> Any:
    return structlog.get_logger("gateway.some.place")


def test_a_line_says_when_where_and_what(log):
    logger().info("webhook_stored", delivery=7)
    for part in ("webhook_stored", "gateway.some.place", "info", "Z"):
        assert part in log.text
    if log.form == "json":
        [line] = log.lines
        assert (line["event"], line["delivery"], line["level"]) == ("webhook_stored", 7, "info")
        assert line["timestamp"].endswith("Z")


def test_what_libraries_say_is_a_line_of_the_same_form(log):
    logging.getLogger("some.library").warning("lost %s of %d", "one", 3)
    assert "lost one of 3" in log.text
    if log.form == "json":
        assert log.lines[0]["level"] == "warning"


@pytest.mark.parametrize(
    "given",
    [
        {"token": PASSWORD},
        {"authorization": f"Bearer {PASSWORD}"},
        {"hook_key": SecretStr(PASSWORD)},
        {"value": SecretStr(PASSWORD)},
        {"url": ADDRESS},
        {"headers": {"Authorization": PASSWORD, "accept": "*/*"}},
        {"calls": [{"url": ADDRESS}, {"nested": {"api_key": PASSWORD}}]},
        {"settings": {"subdomain": "acme", "client_secret": PASSWORD}},
    ],
)
def test_no_field_shows_a_secret(log, given):
    logger().warning("called", **given)
    assert "called" in log.text
    assert PASSWORD not in log.text


def test_no_message_of_a_library_shows_a_secret_in_an_address(log):
    logging.getLogger("some.library").warning("GET %s failed", ADDRESS)
    assert PASSWORD not in log.text
    assert "page=2" in log.text


def failing(secret: str) -> None:
    local = {"token": secret}
    raise ConnectionError(f"cannot reach {ADDRESS} with {len(local)} fields")


@pytest.mark.parametrize("through", ["structlog", "logging"])
def test_an_exception_is_told_without_its_locals_and_without_secrets(log, through):
    try:
        failing(PASSWORD)
    except ConnectionError:
        if through == "structlog":
            logger().exception("call_failed", connection="desk")
        else:
            logging.getLogger("some.library").exception("call failed")
    assert "ConnectionError" in log.text
    assert "in failing" in log.text, "where it happened"
    assert PASSWORD not in log.text


def test_an_exception_is_one_line_of_json(log):
    if log.form == "console":
        return
    try:
        failing(PASSWORD)
    except ConnectionError:
        logger().exception("call_failed")
    [line] = log.lines
    assert line["exception"].startswith("Traceback")
    assert "\n" in line["exception"]


def test_below_the_level_nothing_is_said_and_noisy_libraries_only_warn(log):
    logger().debug("detail")
    for name in ("httpx", "rq", "alembic"):
        logging.getLogger(name).info("chatter")
    assert log.text == ""
    logging.getLogger("httpx").warning("trouble")
    assert "trouble" in log.text


def test_odd_values_break_no_line(log):
    logger().warning("odd", lone="\ud800", nul="\x00", raw=b"\xff", thing=object(), many={1, 2})
    assert "odd" in log.text
