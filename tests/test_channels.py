"""Notices: what may be a channel, what reaches it, and what of its URL is ever seen again."""

import io
import json
import logging
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from gateway import channels
from gateway.channels import problem, send
from gateway.model.errors import ApiFailure
from gateway.testing import serving
from gateway.transport import http_client

TOKEN = "TIiajkdnlazkcOXrIdevi7FQ"
SLACK = f"slack://T1JJ3T3L2/A1BRTD4JD/{TOKEN}/"


class Receiver:
    """Takes whatever is sent to it, and answers what a test wants."""

    def __init__(self) -> None:
        self.got: list[tuple[str, str, str]] = []
        self.answers: list[Response] = []
        self.url = ""

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def told(self) -> Any:
        """The newest body, as JSON."""
        return json.loads(self.got[-1][2])

    async def take(self, request: Request) -> Response:
        body = (await request.body()).decode()
        self.got.append((request.headers["host"], request.url.path, body))
        return self.answers.pop(0) if self.answers else PlainTextResponse("ok")


class Rerouted(httpx.HTTPTransport):
    """Every address leads to the receiver; what it is asked for stays as it was."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.url = request.url.copy_with(scheme="http", host="127.0.0.1", port=self._port)
        return super().handle_request(request)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    with serving(Starlette(routes=[Route("/{path:path}", made.take, methods=["GET", "POST"])])) as url:
        made.url = url
        yield made


@pytest.fixture
def anywhere(receiver: Receiver) -> Iterator[httpx.Client]:
    """A client for which the whole internet is the receiver."""
    with httpx.Client(transport=Rerouted(receiver.port), trust_env=False) as http:
        yield http


def private(receiver: Receiver) -> str:
    return f"{receiver.url.replace('http', 'json', 1)}/a-secret-path"


# --- what may be a channel --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "slack://ExampleA/ExampleB/ExampleC", "slack://xoxb-1234-1234-abc124/#ops", "json://localhost/path",
        "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ",
        "mailto://user:word@example.com", "tgram://123456789:abcdefg_hijklmnop/12315544/",
        "workflows://prod-1.westus.logic.azure.com:443/workflowid12/signatureab",
    ],
)  # fmt: skip
def test_what_speaks_http_and_email_may_be_a_channel(url: str) -> None:
    assert problem(url) is None


@pytest.mark.parametrize(
    "url", ["nowhere://ExampleA", "ExampleA", "slack://ExampleA", "file:///etc/passwd", "exec://x"]
)
def test_what_apprise_does_not_know_is_one_line(url: str) -> None:
    assert problem(url) == channels.EXPECTED
    assert "\n" not in channels.EXPECTED


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("syslog://", "only services that are reached by HTTP"),
        ("rsyslog://localhost", "only services that are reached by HTTP"),
        (f"{SLACK}?template=/etc/hostname", "would read a file of this machine"),
        (
            "fcm://project@APIKEY/DEVICE/?keyfile=/etc/hostname&mode=oauth2",
            "would read a file of this machine",
        ),
        (
            "mailto://user:word@example.com?pgp=encrypt&pgppub=/etc/hostname",
            "would read a file of this machine",
        ),
    ],
)
def test_what_does_something_to_this_machine_is_refused(url: str, why: str) -> None:
    assert why in (problem(url) or "")
    with httpx.Client() as http:
        refused = send(url, "t", "b", http=http).error
    assert refused
    assert why in str(refused)
    assert refused.failure is ApiFailure.REFUSED


# --- what reaches it --------------------------------------------------------------------------------------------


def test_a_notice_arrives_and_is_traced(receiver: Receiver) -> None:
    sending = send(
        private(receiver), "Título", "Corpo", http=http_client(allow_private=True), allow_private=True
    )
    assert sending.error is None
    assert (receiver.told["title"], receiver.told["message"]) == ("Título", "Corpo")
    (call,) = sending.calls
    assert (call.method, call.status, call.answer) == ("POST", 200, "ok")
    assert call.url == f"{receiver.url}/..."
    assert "Corpo" in call.request


UNFRIENDLY = "<!channel> & <@U0000000> *negrito* @everyone\nduas linhas"


def test_slack_gets_a_customers_text_as_text(receiver: Receiver, anywhere: httpx.Client) -> None:
    """https://docs.slack.dev/messaging/formatting-message-text: or a ticket could ring at everybody's."""
    assert send(SLACK, UNFRIENDLY, UNFRIENDLY, http=anywhere).error is None
    host, path, _ = receiver.got[-1]
    assert (host, path) == ("hooks.slack.com", f"/services/T1JJ3T3L2/A1BRTD4JD/{TOKEN}")
    (message,) = receiver.told["attachments"]
    escaped = "&lt;!channel&gt; &amp; &lt;@\u200bU0000000&gt; *negrito* @\u200beveryone\nduas linhas"
    assert message["text"] == escaped
    assert message["title"] == escaped
    assert receiver.told["mrkdwn"] is False
    assert "github" not in receiver.got[-1][2], "no picture is fetched from elsewhere"


def test_telegram_gets_html_that_is_escaped(receiver: Receiver, anywhere: httpx.Client) -> None:
    assert (
        send("tgram://123456789:abcdefg_hijklmnop/12315544/", "t", "<b>x</b> & y", http=anywhere).error
        is None
    )
    assert "&lt;b&gt;x&lt;/b&gt; &amp; y" in receiver.told["text"]
    assert receiver.told["parse_mode"] == "HTML"


def test_teams_gets_a_card_without_marks_that_the_text_never_meant(
    receiver: Receiver, anywhere: httpx.Client
) -> None:
    url = "workflows://prod-1.westus.logic.azure.com:443/workflowid12/signatureab"
    assert send(url, "t", "_sublinhado_ # um", http=anywhere).error is None
    card = receiver.told["attachments"][0]["content"]
    assert card["body"][1]["text"] == "\\_sublinhado\\_ \\# um"


def test_discord_cannot_be_made_to_ring(receiver: Receiver, anywhere: httpx.Client) -> None:
    assert send(f"discord://4174216298/{TOKEN}", "t", "@everyone <@&123> @here", http=anywhere).error is None
    assert "@\u200beveryone <@\u200b&123> @\u200bhere" in receiver.told["content"]


# --- what goes wrong --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "failure", "passing"),
    [
        (PlainTextResponse("no_service", 404), ApiFailure.REFUSED, False),
        (PlainTextResponse("invalid_token", 403), ApiFailure.REFUSED, False),
        (PlainTextResponse("channel_is_archived", 410), ApiFailure.REFUSED, False),
        (PlainTextResponse("no_text", 400), ApiFailure.REFUSED, False),
        (PlainTextResponse("rate_limited", 429, {"Retry-After": "30"}), ApiFailure.THROTTLED, True),
        (PlainTextResponse("rollup_error", 500), ApiFailure.UNAVAILABLE, True),
    ],
)
def test_what_slack_refuses_is_told_from_what_may_pass(
    receiver: Receiver, anywhere: httpx.Client, answer: Response, failure: ApiFailure, passing: bool
) -> None:
    receiver.answers = [answer]
    sending = send(SLACK, "t", "b", http=anywhere)
    assert sending.error
    assert (sending.error.failure, sending.error.passing) == (failure, passing)
    assert (sending.error.status, sending.calls[0].status) == (answer.status_code,) * 2
    assert bytes(answer.body).decode() in str(sending.error)
    assert sending.error.retry_after == (30 if answer.status_code == 429 else None)


@pytest.mark.parametrize(
    ("code", "failure"),
    [("not_in_channel", ApiFailure.REFUSED), ("internal_error", ApiFailure.UNAVAILABLE)],
)
def test_a_slack_bot_is_refused_with_status_200(
    receiver: Receiver, anywhere: httpx.Client, code: str, failure: ApiFailure
) -> None:
    receiver.answers = [Response(json.dumps({"ok": False, "error": code}), media_type="application/json")]
    error = send("slack://xoxb-1234-1234-abc124/#ops", "t", "b", http=anywhere).error
    assert error
    assert error.failure is failure
    assert code in str(error)
    assert receiver.told["channel"] == "#ops"


def test_a_target_in_our_own_network_is_refused_and_hears_nothing(receiver: Receiver) -> None:
    sending = send(private(receiver), "t", "b", http=http_client(), allow_private=False)
    assert sending.error
    assert sending.error.failure is ApiFailure.REFUSED
    assert "egress guard: 127.0.0.1" in str(sending.error)
    assert receiver.got == []
    assert sending.calls[0].status is None


def test_a_redirect_is_not_followed_into_it(receiver: Receiver) -> None:
    receiver.answers = [PlainTextResponse("", 302, {"Location": f"{receiver.url}/elsewhere"})]
    sending = send(private(receiver), "t", "b", http=http_client(allow_private=True), allow_private=True)
    assert sending.error
    assert len(receiver.got) == 1


def test_nobody_there_is_no_attempt_that_may_have_arrived() -> None:
    error = send(
        "json://127.0.0.1:1/x", "t", "b", http=http_client(allow_private=True), allow_private=True
    ).error
    assert error
    assert (error.failure, error.uncertain) == (ApiFailure.UNREACHABLE, False)


def test_a_dropped_answer_may_have_arrived() -> None:
    class Dropping(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65_536)

    with _listening(Dropping) as port:
        http = http_client(allow_private=True)
        error = send(f"json://127.0.0.1:{port}/x", "t", "b", http=http, allow_private=True).error
    assert error
    assert (error.failure, error.uncertain) == (ApiFailure.UNANSWERED, True)


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """All that reaches the log at its most talkative. (caplog also hears those who speak to nobody.)"""
    text = io.StringIO()
    root = logging.getLogger()
    for name in ("", "apprise"):
        monkeypatch.setattr(logging.getLogger(name), "level", logging.DEBUG)
    handler = logging.StreamHandler(text)
    root.addHandler(handler)
    yield text
    root.removeHandler(handler)


def test_no_secret_of_the_url_is_seen_again(
    receiver: Receiver, anywhere: httpx.Client, logged: io.StringIO
) -> None:
    secrets = {
        SLACK: [TOKEN],
        "slack://xoxb-1234-1234-abc124/#ops": ["xoxb-1234-1234-abc124"],
        f"pover://{'u' * 30}@{'t' * 30}": ["u" * 30, "t" * 30],  # these travel in the body
        "json://usuario:passaporte9@example.com/a-secret-path": ["passaporte9", "a-secret-path"],
        "tgram://123456789:abcdefg_hijklmnop/12315544/": ["abcdefg_hijklmnop"],
    }
    for url, hidden in secrets.items():
        receiver.answers = [PlainTextResponse(f"bad: {url} {' '.join(hidden)}", 400)]
        sending = send(url, "t", "b", http=anywhere)
        assert sending.calls, url
        seen = json.dumps([call.to_json() for call in sending.calls]) + str(sending.error) + logged.getvalue()
        assert [secret for secret in hidden if secret in seen] == []


# --- e-mail -----------------------------------------------------------------------------------------------------


class Postman(socketserver.StreamRequestHandler):
    """As much SMTP as one letter needs."""

    letters: list[str] = []
    recipients = b"250 OK\r\n"

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        while line := self.rfile.readline():
            word = line[:4].upper()
            if word == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                parts = []
                while (part := self.rfile.readline()) != b".\r\n":
                    parts.append(part)
                self.letters.append(b"".join(parts).decode())
            elif word == b"QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            self.wfile.write(self.recipients if word == b"RCPT" else b"250 OK\r\n")


@contextmanager
def _listening(handler: Any) -> Iterator[int]:
    with socketserver.TCPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_a_letter_is_plain_text() -> None:
    class Post(Postman):
        letters: list[str] = []

    with _listening(Post) as port, httpx.Client() as http:
        url = f"mailto://127.0.0.1:{port}?from=gateway@acme.example&to=suporte@acme.example"
        sending = send(url, "Titulo", "a <b> & c", http=http, allow_private=True)
    assert sending.error is None
    (letter,) = Post.letters
    assert "Subject: Titulo" in letter
    assert "text/plain" in letter
    assert "a <b> & c" in letter
    (call,) = sending.calls
    assert (call.method, call.url, call.status) == ("SMTP", f"smtp://127.0.0.1:{port}", 250)


def test_a_letter_that_is_refused_is_tried_again() -> None:
    class Closed(Postman):
        recipients = b"450 try later\r\n"

    with _listening(Closed) as port, httpx.Client() as http:
        url = f"mailto://127.0.0.1:{port}?from=gateway@acme.example&to=suporte@acme.example"
        sending = send(url, "Titulo", "b", http=http, allow_private=True)
    assert sending.error
    assert sending.error.passing
    assert sending.calls[0].status is None


def test_no_letter_goes_to_a_server_in_our_own_network() -> None:
    class Post(Postman):
        letters: list[str] = []

    with _listening(Post) as port, httpx.Client() as http:
        url = f"mailto://mail.example:{port}?from=gateway@acme.example&to=suporte@acme.example"
        sending = send(url, "t", "b", http=http, resolver=lambda host, port: ["10.0.0.7"])
    assert "egress guard: mail.example is at 10.0.0.7" in str(sending.error)
    assert Post.letters == []
    assert sending.calls[0].status is None
