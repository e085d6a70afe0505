"""The way out, over real sockets: what is sent, told apart, tried again, and never shown."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
import respx
from pydantic import SecretStr
from redis import Redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from gateway import transport
from gateway.client import Answer, ApiClient, http_client
from gateway.governor import Governor, LocalGovernor
from gateway.model.connection import ApiSettings, Connection, ConnectionSettings, RateLimit
from gateway.model.errors import ApiError, ApiFailure
from gateway.testing import misbehaving, serving
from gateway.testing.sandbox import MisbehavingApp

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
TOKEN = "opensesame-42"
RATE = RateLimit(1000, 1)


class Settings(ConnectionSettings):
    token: SecretStr = SecretStr(TOKEN)


CONNECTION = Connection("acme", "desk", "fake", Settings())


async def echo(request: Request) -> JSONResponse:
    body = await request.body()
    return JSONResponse(
        {
            "method": request.method,
            "path": request.url.path,
            "query": request.scope["query_string"].decode(),
            "headers": dict(request.headers),
            "body": body.decode(),
        }
    )


async def status(request: Request) -> Response:
    return JSONResponse({"message": "no"}, status_code=request.path_params["code"])


async def redirect(request: Request) -> Response:
    return RedirectResponse(f"http://127.0.0.1:{request.url.port}/elsewhere?token={TOKEN}", status_code=302)


async def cookie(request: Request) -> Response:
    response = PlainTextResponse(request.headers.get("cookie", "none"))
    response.set_cookie("session", "of-another-tenant")
    return response


async def text(request: Request) -> Response:
    return Response(b"caf\xe9", media_type="text/plain; charset=iso-8859-1")


async def odd(request: Request) -> Response:
    return Response(b"{not json \xff", headers={"Content-Type": "application/json; charset=klingon"})


async def large(request: Request) -> Response:
    return Response(b"x" * 3_000_000)


async def leaky(request: Request) -> Response:
    return PlainTextResponse(f"wrong token\n{TOKEN}!\n" + "x" * 1000, status_code=400)


ROUTES = [
    Route("/echo", echo, methods=["GET", "POST", "PUT", "DELETE"]),
    Route("/v1/echo", echo),
    Route("/status/{code:int}", status, methods=["GET", "POST"]),
    Route("/redirect", redirect),
    Route("/cookie", cookie),
    Route("/text", text),
    Route("/odd", odd),
    Route("/large", large, methods=["GET", "POST"]),
    Route("/leaky", leaky),
]


@pytest.fixture(scope="module")
def vendor() -> Iterator[tuple[MisbehavingApp, str]]:
    app = misbehaving(Starlette(routes=ROUTES))
    with serving(app) as url:
        yield app, url


@pytest.fixture
def app(vendor: tuple[MisbehavingApp, str]) -> MisbehavingApp:
    vendor[0].calls.clear()
    return vendor[0]


@pytest.fixture
def misbehave(vendor: tuple[MisbehavingApp, str], app: MisbehavingApp) -> Iterator[Callable[..., None]]:
    def configure(kind: str, **fault: Any) -> None:
        httpx.post(f"{vendor[1]}/_sandbox/misbehave", json={"kind": kind, **fault}).raise_for_status()

    yield configure
    httpx.delete(f"{vendor[1]}/_sandbox/misbehave")


@pytest.fixture
def api(vendor: tuple[MisbehavingApp, str]) -> Callable[..., ApiClient]:
    def built(
        *, base_url: str = "", rate: RateLimit = RATE, governor: Any = None, explain: Any = None, **more: Any
    ) -> ApiClient:
        own = {name: more.pop(name) for name in ("auth", "headers", "params", "timeout") if name in more}
        return ApiClient(
            CONNECTION,
            ApiSettings(base_url or vendor[1], rate=rate, **own),
            http=http_client(allow_private=True),
            governor=governor or LocalGovernor(RATE),
            explain=explain,
            **more,
        )

    return built


def failure_of(call: Callable[[], Any]) -> ApiError:
    with pytest.raises(ApiError) as failure:
        call()
    return failure.value


# --- what is sent -------------------------------------------------------------------------------------------


def test_credentials_parameters_and_trace_id_go_along(api):
    client = api(
        auth=("agent@acme.example/token", TOKEN),
        headers={"X-Plan": "pro"},
        params={"token": TOKEN},
        trace_id="d-1",
    )
    got = client.call("POST", "/echo", params={"id": 5}, json={"a": "ç"}, idempotency_key="act-1").body
    assert got["query"] == f"token={TOKEN}&id=5"
    assert json.loads(got["body"]) == {"a": "ç"}
    headers = got["headers"]
    assert httpx.BasicAuth("agent@acme.example/token", TOKEN)._auth_header == headers["authorization"]
    assert (headers["x-plan"], headers["x-request-id"], headers["idempotency-key"]) == ("pro", "d-1", "act-1")
    assert headers["content-type"] == "application/json"


def test_a_form_is_sent_as_one(api):
    got = api().call("POST", "/echo", form={"title": "a b"}).body
    assert (got["body"], got["headers"]["content-type"]) == ("title=a+b", "application/x-www-form-urlencoded")


def test_parameters_keep_the_dollar_of_odata_and_leave_out_what_is_unknown(api):
    given = {"$filter": "id eq 'a&b'", "include": ["x", "y"], "all": True, "page": None}
    query = api().get("/echo?fixed=1", **given).body["query"]
    assert query == "fixed=1&$filter=id%20eq%20%27a%26b%27&include=x&include=y&all=true"


@pytest.mark.parametrize("path", ["echo", "/echo"])
def test_paths_are_relative_to_the_path_of_the_base_url(api, vendor, path):
    assert api(base_url=f"{vendor[1]}/v1/").get(path).body["path"] == "/v1/echo"


def test_a_link_to_the_next_page_is_followed_only_at_the_same_host(api, vendor, app):
    client = api()
    assert client.get(f"{vendor[1]}/echo?page=2", size=1).body["query"] == "page=2&size=1"
    for elsewhere in ("https://evil.example/echo", "//evil.example/echo", "http://127.0.0.1:1/echo"):
        error = failure_of(lambda url=elsewhere: client.get(url))
        assert error.failure is ApiFailure.REFUSED
        assert "may see the credentials" in str(error)
    assert len(app.calls) == 1


@pytest.mark.parametrize("id_", ["../status/200", "..", "x/%2e%2e/echo", "..\\echo", "./echo"])
def test_an_id_cannot_choose_another_endpoint(api, app, id_):
    assert failure_of(lambda: api().get(f"/echo/{id_}")).failure is ApiFailure.REFUSED
    assert not app.calls


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/a\x00b", {}),
        ("/echo", {"headers": {"X-Note": "two\r\nlines"}}),
        ("/echo", {"headers": {"X-Note": "não"}}),
        ("/echo", {"json": {"hours": float("nan")}}),
    ],
)
def test_what_cannot_be_sent_is_refused_and_spends_nothing(api, app, path, more):
    governor = LocalGovernor(RATE)
    error = failure_of(lambda: api(governor=governor).call("POST", path, **more))
    assert (error.failure, error.uncertain) == (ApiFailure.REFUSED, False)
    assert governor.state()["used"] == 0
    assert not app.calls


@pytest.mark.parametrize("base_url", ["ftp://desk.example", "http://desk.example:port", "desk.example"])
def test_a_senseless_base_url_is_refused(api, base_url):
    error = failure_of(lambda: api(base_url=base_url).get("/echo"))
    assert error.failure is ApiFailure.REFUSED


def test_one_tenants_cookies_are_not_sent_for_the_next(api):
    assert [api().get("/cookie").text for _ in range(2)] == ["none", "none"]


def test_the_http_client_is_one_for_the_whole_process():
    assert http_client(allow_private=True) is http_client(allow_private=True)
    assert http_client() is not http_client(allow_private=True)


def test_a_closed_http_client_is_replaced():
    closed = http_client()
    closed.close()
    assert not http_client().is_closed


def test_private_targets_are_refused_unless_allowed(vendor, app):
    governor = LocalGovernor(RATE)
    client = ApiClient(CONNECTION, ApiSettings(vendor[1]), http=http_client(), governor=governor)
    error = failure_of(lambda: client.get("/echo"))
    assert error.failure is ApiFailure.REFUSED
    assert "GATEWAY_ALLOW_PRIVATE_TARGETS" in str(error)
    assert governor.state()["used"] == 0, "nothing was sent, so nothing was spent"
    assert not app.calls


# --- what comes back ----------------------------------------------------------------------------------------


def test_text_is_read_in_its_own_charset_and_is_no_json(api):
    answer = api().get("/text")
    assert (answer.status, answer.body, answer.text) == (200, None, "café")


def test_an_answer_that_only_claims_to_be_json_is_text(api):
    answer = api().get("/odd")
    assert answer.body is None
    assert answer.text.startswith("{not json")


@pytest.mark.parametrize(
    ("code", "failure", "passing"),
    [
        (400, ApiFailure.REFUSED, False),
        (401, ApiFailure.UNAUTHORIZED, True),
        (403, ApiFailure.UNAUTHORIZED, True),
        (404, ApiFailure.MISSING, False),
        (405, ApiFailure.REFUSED, False),
        (409, ApiFailure.CONFLICT, True),
        (410, ApiFailure.MISSING, False),
        (413, ApiFailure.REFUSED, False),
        (422, ApiFailure.REFUSED, False),
        (429, ApiFailure.THROTTLED, True),
        (500, ApiFailure.UNAVAILABLE, True),
        (501, ApiFailure.UNAVAILABLE, True),
    ],
)
def test_statuses_become_failures(api, code, failure, passing):
    error = failure_of(lambda: api(rate=RateLimit(100, 60)).call("POST", f"/status/{code}"))
    assert (error.failure, error.status, error.passing) == (failure, code, passing)
    assert error.uncertain is (code >= 500)
    assert str(error) == f'fake (acme/desk): POST /status/{code} answered {code}: {{"message":"no"}}'


def test_a_redirect_is_not_followed_and_its_secrets_are_not_shown(api, app):
    error = failure_of(lambda: api().get("/redirect"))
    assert error.failure is ApiFailure.REFUSED
    assert "a redirect to http://127.0.0.1" in str(error)
    assert TOKEN not in str(error)
    assert [call["path"] for call in app.calls] == ["/redirect"]


def test_the_vendors_own_explanation_wins(api):
    def explain(answer: Answer) -> ApiError:
        return ApiError(ApiFailure.THROTTLED, f"quota of {TOKEN}\nused up", retry_after=7.0)

    governor = LocalGovernor(RATE)
    error = failure_of(lambda: api(explain=explain, governor=governor).call("POST", "/status/503"))
    assert (error.failure, error.status, error.retry_after) == (ApiFailure.THROTTLED, 503, 7.0)
    assert str(error) == "fake (acme/desk): POST /status/503 answered 503: quota of [redacted] used up"
    assert governor.take().wait == pytest.approx(7, abs=0.5)


def test_a_broken_explanation_does_not_hide_the_status(api, caplog):
    error = failure_of(lambda: api(explain=lambda answer: answer.body["errors"][0]).get("/status/422"))
    assert error.failure is ApiFailure.REFUSED
    assert "explain_error failed" in caplog.text


def test_a_conflict_does_not_hold_back_the_connection(api):
    def explain(answer: Answer) -> ApiError:
        return ApiError(ApiFailure.CONFLICT, "changed meanwhile", retry_after=5.0)

    governor = LocalGovernor(RATE)
    assert failure_of(lambda: api(explain=explain, governor=governor).get("/status/409")).retry_after == 5
    assert governor.take().granted == 1


def test_what_is_there_already_is_named_to_the_plugin(api):
    duplicate = ApiError(ApiFailure.REFUSED, "duplicate", status=409, existing="43000009")
    assert failure_of(lambda: api(explain=lambda _: duplicate).get("/status/409")).existing == "43000009"
    assert failure_of(lambda: api().get("/status/409")).existing is None


def test_too_large_an_answer_is_cut_off(api, monkeypatch):
    monkeypatch.setattr(transport, "LONGEST_ANSWER", 2 * 1024 * 1024)
    error = failure_of(lambda: api().call("POST", "/large"))
    assert (error.failure, error.uncertain) == (ApiFailure.REFUSED, True)
    assert "answered 200 with more than 2 MiB" in str(error)


def test_an_answer_that_drips_is_given_up(api):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            stream, _ = listener.accept()
            with stream:
                stream.recv(4096)
                try:
                    stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                    for _ in range(40):
                        stream.sendall(b"x")
                        time.sleep(0.05)
                except OSError:
                    return

        thread = threading.Thread(target=drip)
        thread.start()
        client = api(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=0.1)
        error = failure_of(lambda: client.call("POST", "/"))
        thread.join()
    assert (error.failure, error.uncertain) == (ApiFailure.UNANSWERED, True)
    assert "too slowly" in str(error)


# --- what is tried again ------------------------------------------------------------------------------------


def test_a_read_is_tried_again_after_a_500(api, app, misbehave):
    misbehave("status", status=500, times=2)
    client = api()
    assert client.get("/echo").status == 200
    assert [call["status"] for call in app.calls] == [500, 500, 200]
    assert [record.number for record in client.calls] == [1, 2, 3]


def test_three_tries_at_most(api, app, misbehave):
    misbehave("status", status=502)
    assert failure_of(lambda: api().get("/echo")).failure is ApiFailure.UNAVAILABLE
    assert len(app.calls) == 3


@pytest.mark.parametrize("kind", ["drop", "slow"])
def test_a_write_whose_answer_is_lost_is_not_sent_twice(api, app, misbehave, kind):
    misbehave(kind, seconds=1, times=1)
    error = failure_of(lambda: api(timeout=0.3).call("POST", "/echo", json={}))
    assert (error.failure, error.uncertain) == (ApiFailure.UNANSWERED, True)
    assert len(app.calls) == 1


def test_a_write_that_failed_with_500_is_not_sent_twice(api, app, misbehave):
    misbehave("status", status=500)
    assert failure_of(lambda: api().call("PUT", "/echo", json={})).uncertain
    assert len(app.calls) == 1


@pytest.mark.parametrize("safe", [{"idempotency_key": "act-1"}, {"repeatable": True}])
@pytest.mark.parametrize("kind", ["drop", "status"])
def test_a_write_that_may_be_repeated_is(api, app, misbehave, safe, kind):
    misbehave(kind, status=500, times=1)
    assert api().call("POST", "/echo", json={}, **safe).status == 200
    assert len(app.calls) == 2


def test_a_read_declared_not_repeatable_is_not_repeated(api, app, misbehave):
    misbehave("status", status=500)
    failure_of(lambda: api().call("GET", "/echo", repeatable=False))
    assert len(app.calls) == 1


@pytest.mark.parametrize("code", [429, 503])
def test_a_short_retry_after_is_waited_for_even_by_a_write(api, app, misbehave, code):
    misbehave("status", status=code, retry_after=1, times=1)
    started = time.monotonic()
    assert api().call("POST", "/echo", json={}).status == 200
    assert time.monotonic() - started >= 1
    assert len(app.calls) == 2


def test_a_long_retry_after_is_handed_on(api, app, misbehave):
    misbehave("status", status=429, retry_after=30)
    governor = LocalGovernor(RATE)
    assert failure_of(lambda: api(governor=governor).get("/echo")).retry_after == 30
    assert len(app.calls) == 1
    assert governor.take().wait == pytest.approx(30, abs=0.5)


def test_a_429_without_retry_after_still_makes_everybody_wait(api, app, misbehave):
    misbehave("status", status=429)
    rate = RateLimit(100, 30)
    governor = LocalGovernor(rate)
    error = failure_of(lambda: api(governor=governor, rate=rate).get("/echo"))
    assert error.retry_after == 30, "the window of the rate"
    assert len(app.calls) == 1
    assert not governor.take().granted


def test_nobody_listens(api):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    client = api(base_url=f"http://127.0.0.1:{port}")
    error = failure_of(lambda: client.call("POST", "/echo", json={}))
    assert (error.failure, error.uncertain) == (ApiFailure.UNREACHABLE, False)
    assert len(client.calls) == 3, "never sent, so even a write is tried again"


def test_once_uncertain_always_uncertain(api, misbehave):
    """First the answer is lost, then the connection is refused: what happened is still unknown."""
    breaking = LocalGovernor(RateLimit(1, 60))
    misbehave("drop", times=1)
    client = api(governor=breaking)
    error = failure_of(lambda: client.call("POST", "/echo", json={}, idempotency_key="act-1"))
    assert (error.failure, error.uncertain) == (ApiFailure.UNANSWERED, True)
    assert error.retry_after == pytest.approx(61, abs=1)
    assert len(client.calls) == 1


# --- the budget ---------------------------------------------------------------------------------------------


def test_a_short_wait_is_waited_a_long_one_is_handed_on(api, app):
    governor = LocalGovernor(RateLimit(1, 0.3))
    client = api(governor=governor)
    started = time.monotonic()
    client.get("/echo")
    client.get("/echo")
    assert time.monotonic() - started >= 0.3
    governor.pause(60, "the vendor asked for it")
    error = failure_of(lambda: client.get("/echo"))
    assert (error.failure, error.uncertain) == (ApiFailure.THROTTLED, False)
    assert error.retry_after == pytest.approx(60, abs=1)
    assert "GET /echo is held back for" in str(error)
    assert len(app.calls) == 2


def test_wrong_credentials_stop_the_connection(api):
    governor = LocalGovernor(RATE)
    failure_of(lambda: api(governor=governor).get("/status/401"))
    assert governor.state()["breaker"] == "open"


def test_errors_are_counted_for_vendors_that_lock_out(api):
    governor = LocalGovernor(RateLimit(10, 60, errors=3))
    client = api(governor=governor)
    for code in (422, 404):
        failure_of(lambda code=code: client.get(f"/status/{code}"))
    assert "error budget" in str(failure_of(lambda: client.get("/echo")))


def test_with_the_shared_governor(api, valkey_url):
    with Redis.from_url(valkey_url) as redis:
        redis.flushall()
        governor = Governor(redis, "acme:desk", RateLimit(5, 60))
        client = api(governor=governor)
        for _ in range(5):
            client.get("/echo")
        assert failure_of(lambda: client.get("/echo")).failure is ApiFailure.THROTTLED
        assert governor.state()["used"] == 5


# --- odd headers --------------------------------------------------------------------------------------------


@pytest.fixture
def answering() -> Callable[..., tuple[LocalGovernor, ApiError | None]]:
    def get(status: int, headers: dict[str, str]) -> tuple[LocalGovernor, ApiError | None]:
        governor = LocalGovernor(RateLimit(100, 60))
        with respx.mock() as mocked, httpx.Client() as http:
            mocked.get("https://desk.example/x").mock(return_value=httpx.Response(status, headers=headers))
            settings = ApiSettings("https://desk.example")
            client = ApiClient(CONNECTION, settings, http=http, governor=governor, clock=lambda: NOW)
            try:
                client.get("/x")
            except ApiError as error:
                return governor, error
        return governor, None

    return get


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (format_datetime(NOW.replace(minute=1), usegmt=True), 60),
        ("90", 90),
        ("2.5", 2.5),
        ("-5", 0),
        ("99999999", 86_400),
        (format_datetime(NOW.replace(year=2025), usegmt=True), 0),
    ],
)
def test_retry_after_in_seconds_or_as_a_date(answering, value, seconds):
    _, error = answering(429, {"Retry-After": value})
    assert error.retry_after == seconds


@pytest.mark.parametrize("value", ["soon", "", "nan", "inf", "Mon, 99 Foo 2026"])
def test_a_senseless_retry_after_is_as_good_as_none(answering, value):
    _, error = answering(429, {"Retry-After": value})
    assert error.retry_after == 60


@pytest.mark.parametrize(
    ("headers", "pause"),
    [
        ({"ratelimit-remaining": "0", "ratelimit-reset": "17"}, 17),
        ({"x-rate-limit-remaining": "0", "ratelimit-reset": "17"}, 17),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(NOW.timestamp() + 21)}, 21),
        ({"ratelimit-remaining": "0"}, 60),
        ({"zendesk-ratelimit-tickets-index": "total=100; remaining=0; resets=47"}, 47),
        ({"zendesk-ratelimit-tickets-index": "total=100; remaining=1; resets=47"}, 0),
        ({"ratelimit-remaining": "3", "ratelimit-reset": "17"}, 0),
        ({"ratelimit-remaining": "none", "ratelimit-reset": "later"}, 0),
        ({"ratelimit-remaining": "0", "ratelimit-reset": "-4"}, 60),
        ({"zendesk-ratelimit-x": "remaining; resets"}, 0),
        ({}, 0),
    ],
)
def test_a_limit_used_up_is_learnt_from_the_headers(answering, headers, pause):
    governor, error = answering(200, headers)
    assert error is None
    assert governor.take().wait == pytest.approx(pause, abs=1)


# --- what is traced -----------------------------------------------------------------------------------------


def test_every_try_is_traced_without_secrets(api, misbehave):
    misbehave("status", status=500, times=1)
    client = api(params={"token": TOKEN}, clock=lambda: NOW)
    client.call("PUT", "/echo", json={"note": f"my token is {TOKEN}"}, repeatable=True)
    first, second = (record.to_json() for record in client.calls)
    assert first | {"url": "", "seconds": 0} == {
        "at": "2026-03-02T12:00:00+00:00", "method": "PUT", "url": "",
        "request": '{"note":"my token is [redacted]"}', "status": 500, "answer": '{"error":"misbehaving"}',
        "seconds": 0, "number": 1,
        "error": 'fake (acme/desk): PUT /echo answered 500: {"error":"misbehaving"}',
    }  # fmt: skip
    assert first["url"].endswith("/echo?token=[redacted]")
    assert (second["number"], second["status"], second["error"]) == (2, 200, None)
    assert TOKEN not in json.dumps([first, second])


def test_bodies_are_kept_up_to_4_kib(api):
    client = api()
    client.call("POST", "/echo", json={"note": "x" * 9000})
    record = client.calls[0]
    assert len(record.request) == len(record.answer) == 4096 + 3


def test_errors_quote_little_of_the_answer_on_one_line_and_no_secret(api):
    error = failure_of(lambda: api().get("/leaky"))
    assert str(error).startswith("fake (acme/desk): GET /leaky answered 400: wrong token [redacted]! xxx")
    assert len(str(error)) < 400


def test_many_threads_share_the_connections(api):
    statuses: list[int] = []

    def work() -> None:
        client = api()
        statuses.extend(client.get("/echo").status for _ in range(20))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 160
