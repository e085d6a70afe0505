"""A sandbox goes wrong exactly as it was told to."""

import time
from collections.abc import Iterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from gateway.testing import misbehaving, serving


@pytest.fixture
def acted() -> list[str]:
    return []


@pytest.fixture
def http(acted: list[str]) -> Iterator[httpx.Client]:
    async def act(request: Request) -> JSONResponse:
        acted.append(request.url.path)
        return JSONResponse({"ok": True})

    methods = ["GET", "POST"]
    app = misbehaving(Starlette(routes=[Route("/tickets", act, methods=methods), Route("/persons", act)]))
    with serving(app) as url, httpx.Client(base_url=url, trust_env=False) as client:
        yield client


def test_it_behaves_until_told_otherwise(http, acted):
    assert http.get("/tickets").json() == {"ok": True}
    assert acted == ["/tickets"]


def test_status_answers_without_acting_for_so_many_calls(http, acted):
    http.post("/_sandbox/misbehave", json={"kind": "status", "status": 429, "retry_after": 2, "times": 2})
    answers = [http.get("/tickets") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert answers[0].headers["retry-after"] == "2"
    assert len(acted) == 1


def test_drop_acts_and_breaks_the_connection(http, acted):
    http.post("/_sandbox/misbehave", json={"kind": "drop", "times": 1})
    with pytest.raises(httpx.RemoteProtocolError):
        http.post("/tickets")
    assert acted == ["/tickets"]
    assert http.post("/tickets").status_code == 200


def test_slow_acts_and_answers_late(http, acted):
    http.post("/_sandbox/misbehave", json={"kind": "slow", "seconds": 0.2, "times": 1})
    started = time.monotonic()
    assert http.get("/tickets").status_code == 200
    assert time.monotonic() - started >= 0.2


def test_only_where_it_matches(http):
    http.post("/_sandbox/misbehave", json={"kind": "status", "method": "POST", "path": "/tick"})
    answers = [http.get("/tickets"), http.get("/persons"), http.post("/tickets")]
    assert [answer.status_code for answer in answers] == [200, 200, 503]


def test_a_share_of_the_calls_the_same_share_again_with_the_same_seed(http):
    runs = []
    for _ in range(2):
        http.delete("/_sandbox/misbehave")
        http.post("/_sandbox/misbehave", json={"kind": "status", "status": 500, "share": 0.3, "seed": 7})
        runs.append([http.get("/tickets").status_code for _ in range(60)])
    assert runs[0] == runs[1]
    assert 5 <= runs[0].count(500) <= 30


def test_it_can_be_told_to_behave_again(http):
    http.post("/_sandbox/misbehave", json={"kind": "status"})
    http.delete("/_sandbox/misbehave")
    assert http.get("/tickets").status_code == 200


def test_nonsense_is_refused(http):
    assert http.post("/_sandbox/misbehave", json={"kind": "explode"}).status_code == 400
    assert http.post("/_sandbox/misbehave", json={"kind": "drop", "tims": 1}).status_code == 400


def test_it_remembers_the_calls_but_not_those_to_the_sandbox_itself(http):
    http.post("/_sandbox/misbehave", json={"kind": "drop", "times": 1})
    with pytest.raises(httpx.RemoteProtocolError):
        http.get("/tickets")
    http.post("/tickets?id=5")
    calls = http.get("/_sandbox/calls").json()
    assert [(call["method"], call["path"], call["query"], call["status"]) for call in calls] == [
        ("GET", "/tickets", "", 0),
        ("POST", "/tickets", "id=5", 200),
    ]
    assert calls[0]["at"] == pytest.approx(time.time(), abs=10)
