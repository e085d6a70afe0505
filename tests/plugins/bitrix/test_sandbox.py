"""The fake portal calls back in the shapes of the examples, keeps the documented limits, and its chain holds."""

import re
from pathlib import Path
from urllib.parse import parse_qsl

import httpx
import pytest
from gateway_plugins import bitrix
from gateway_plugins.bitrix.forms import parsed
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from gateway.api import (
    ApiError,
    ApiFailure,
    CallEnded,
    CommentCreated,
    ContactUpdated,
    DealWon,
    Status,
    TicketCreated,
    TicketDeleted,
    TicketRef,
    TicketStatusChanged,
    Unrecognized,
    Webhook,
)
from gateway.clock import utc_now
from gateway.pipeline.world import learned
from gateway.testing import serving

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture
def listening(sandbox_with):
    """A sandbox of that sort, and the bodies that it sends."""

    def start(**options):
        heard = []

        async def hear(request):
            heard.append(await request.body())
            return Response(status_code=202)

        return heard, serving(Starlette(routes=[Route("/hook", hear, methods=["POST"])])), options

    return start


def wait(sandbox):
    while sandbox.http.get("/_sandbox/webhooks").json()["waiting"]:
        pass


def taken_in(sandbox, heard, known):
    """The events of what was heard, as the pipeline would get them."""
    wait(sandbox)
    events = []
    while heard:
        webhook = Webhook({}, heard.pop(0), received_at=utc_now())
        proof = bitrix.verify_webhook(webhook=webhook, connection=sandbox.connection)
        collected = sandbox.read(proof.subject) if proof.thin else None
        before = known.get(TicketRef("b24", proof.subject)) if proof.subject else None
        for event in bitrix.convert_webhook(
            webhook=webhook, collected=collected, before=before.snapshot if before else None,
            connection=sandbox.connection,
        ):  # fmt: skip
            events.append(event)
            if hasattr(event, "ticket"):
                known[event.ticket.ref] = learned(known.get(event.ticket.ref), event)
    return events


SETTINGS = {"application_token": "sandbox-application-token"}


@pytest.mark.parametrize(
    "options",
    [{}, {"task_card": "old", "open_lines": "object", "mixed_case": True, "tells_semantics": False}],
)
def test_a_day_at_the_portal_is_told_whole(sandbox_with, listening, options):
    heard, ears, options = listening(**options)
    with ears as url, sandbox_with(SETTINGS, **options) as sandbox:
        sandbox.http.post("/_sandbox/webhooks", json={"url": f"{url}/hook"})
        known = {}

        task = sandbox.open(title="Implantar")["id"]
        sandbox.change(task, comment="oi")
        sandbox.change(task, status=5)
        kinds = [type(event) for event in taken_in(sandbox, heard, known)]
        assert kinds == [TicketCreated, CommentCreated], "read when all three had happened"
        assert known[TicketRef("b24", task)].ticket.status is Status.CLOSED
        sandbox.change(task, status=3)
        (event,) = taken_in(sandbox, heard, known)
        assert (type(event), event.actor.id) == (TicketStatusChanged, "21")
        sandbox.change(task, deleted=True)
        assert [type(event) for event in taken_in(sandbox, heard, known)] == [TicketDeleted]

        deal = sandbox.open(kind="deal", title="Plano", contact={"name": "Ana", "phone": "11999990000"})["id"]
        sandbox.change(deal, stageId="WON")
        events = taken_in(sandbox, heard, known)
        assert {type(event) for event in events} >= {ContactUpdated, DealWon}
        assert len({event.id for event in events if isinstance(event, DealWon)}) == 1
        sandbox.change(deal, comment="ganhamos")
        (event,) = taken_in(sandbox, heard, known)
        assert (type(event), event.ticket.ref.id) == (CommentCreated, deal)

        chat = sandbox.open(kind="chat", message="Olá")["id"]
        events = taken_in(sandbox, heard, known)
        assert [type(event) for event in events] == [TicketCreated, CommentCreated]
        sandbox.change(chat, finish=True)
        taken_in(sandbox, heard, known)
        assert known[TicketRef("b24", chat)].ticket.status is Status.CLOSED
        sandbox.change(chat, message="Voltei")
        events = taken_in(sandbox, heard, known)
        assert {type(event) for event in events} == {TicketStatusChanged, CommentCreated}
        assert known[TicketRef("b24", chat)].ticket.status is Status.OPEN

        sandbox.call(code="304")
        sandbox.call(code="200", seconds=30)
        missed, answered = taken_in(sandbox, heard, known)
        assert (type(missed), missed.call.answered, answered.call.answered) == (CallEnded, False, True)
        sandbox.open(kind="lead", title="x")
        assert [type(event) for event in taken_in(sandbox, heard, known)] == [Unrecognized]


def shape(body: bytes) -> tuple[str, frozenset[str]]:
    """The code and the names of a body, lists and their only entry taken as one."""
    pairs = dict(parse_qsl(body.decode(), keep_blank_values=True))
    names = {re.sub(r"\[0\]", "", name) for name, value in pairs.items() if value}
    return pairs["event"].upper(), frozenset(name for name in names if name.startswith(("data", "ts")))


def test_webhooks_have_the_shapes_of_the_examples(sandbox_with, listening):
    bodies = []
    for card in ("old", "new"):
        heard, ears, _ = listening()
        with ears as url, sandbox_with(SETTINGS, task_card=card) as sandbox:
            sandbox.http.post("/_sandbox/webhooks", json={"url": f"{url}/hook"})
            task = sandbox.open(title="x")["id"]
            sandbox.change(task, status=3, comment="x")
            sandbox.change(task, deleted=True)
            deal = sandbox.open(kind="deal", title="x", contact={"name": "x"})["id"]
            sandbox.change(deal, title="y", comment="z")
            chat = sandbox.open(kind="chat")["id"]
            sandbox.change(chat, finish=True)
            sandbox.open(kind="lead", title="x")
            sandbox.call()
            wait(sandbox)
            bodies += heard
    sent = {shape(body) for body in bodies}
    for code, names in {shape(path.read_bytes()) for path in FIXTURES.glob("*.form.txt")}:
        if found := [theirs for theirs_code, theirs in sent if theirs_code == code]:
            assert any(
                names <= theirs | {"data[PORTAL_NUMBER]", "data[CALL_FAILED_REASON]", "data[ID]"}
                for theirs in found
            ), code
    told = {code for code, _ in sent}
    assert told >= {
        "ONTASKADD", "ONTASKUPDATE", "ONTASKCOMMENTADD", "ONTASKDELETE", "ONCRMDEALADD", "ONCRMDEALUPDATE",
        "ONCRMCONTACTADD", "ONCRMTIMELINECOMMENTADD", "ONSESSIONSTART", "ONOPENLINEMESSAGEADD", "ONSESSIONFINISH",
        "ONCRMLEADADD",
        "ONVOXIMPLANTCALLEND",
    }  # fmt: skip
    for body in bodies:
        tree = parsed(body)
        assert tree["auth"]["member_id"]
        assert "access_token" not in tree["auth"]


def test_the_bucket_overflows_and_we_keep_below_it(sandbox_with):
    with sandbox_with(limited=True) as sandbox:
        answers = [sandbox.http.get("/rest/15/portal-secret-1/profile") for _ in range(60)]
        refused = [answer for answer in answers if answer.status_code == 503]
        assert 8 <= len(refused) <= 10
        assert refused[0].json()["error"] == "QUERY_LIMIT_EXCEEDED"
    with sandbox_with(limited=True) as sandbox:
        api = sandbox.api(limited=True)
        for _ in range(40):
            api.get("/profile")
        assert {call["status"] for call in sandbox.app.calls} == {200}


@pytest.mark.parametrize(
    "path", ["/rest/15/wrong/profile", "/rest/16/portal-secret-1/profile", "/rest/api/15/wrong/x"]
)
def test_nobody_else_is_let_in(sandbox, path):
    answer = sandbox.http.post(path, json={})
    assert answer.status_code == 401
    assert "NO_AUTH_FOUND" in answer.text


@pytest.mark.parametrize(
    ("method", "body", "status", "code"),
    [
        ("crm.unknown", {}, 404, "ERROR_METHOD_NOT_FOUND"),
        ("tasks.task.chat.message.send", {}, 404, "ERROR_METHOD_NOT_FOUND"),
        ("crm.item.get", {"entityTypeId": 2, "id": 999}, 400, ""),
        ("crm.item.get", {}, 400, "ERROR_ARGUMENT"),
        ("tasks.task.add", {"fields": {}}, 400, "ERROR_CORE"),
        ("crm.item.add", {"entityTypeId": 2, "fields": {"stageId": "X"}}, 400, "ERROR_CORE"),
        ("imopenlines.dialog.get", {"CHAT_ID": 5}, 400, "DIALOG_NOT_FOUND"),
        ("im.dialog.messages.get", {"DIALOG_ID": "chat5"}, 403, "ACCESS_ERROR"),
    ],
)
def test_it_refuses_as_bitrix24_does(sandbox, method, body, status, code):
    answer = sandbox.http.post(f"/rest/15/portal-secret-1/{method}", json=body)
    assert (answer.status_code, answer.json()["error"]) == (status, code)


def test_a_body_that_is_no_map_is_refused(sandbox):
    for content in (b"x", b"[]"):
        answer = sandbox.http.post("/rest/15/portal-secret-1/crm.item.get", content=content)
        assert (answer.status_code, answer.json()["error"]) == (400, "INVALID_REQUEST")


def test_a_task_that_is_not_there_is_an_empty_list(sandbox):
    answer = sandbox.http.post("/rest/15/portal-secret-1/tasks.task.get.json", json={"taskId": 5})
    assert (answer.status_code, answer.json()["result"]) == (200, [])


def test_the_third_version_keeps_its_keys(sandbox):
    task = sandbox.open(title="x")
    body = {"fields": {"taskId": int(task["id"].removeprefix("task:")), "text": "oi"}}
    url = "/rest/api/15/portal-secret-1/tasks.task.chat.message.send"
    first, second = (sandbox.http.post(url, json=body, headers={"Idempotency-Key": "k"}) for _ in range(2))
    assert first.json() == second.json()
    assert second.headers["idempotent-replayed"] == "true"
    assert len(sandbox.ticket(task["id"])["comments"]) == 2, "the system's word and ours"
    wrong = sandbox.http.post("/rest/api/15/portal-secret-1/crm.item.get", json={})
    assert wrong.json()["error"]["code"]


def test_a_wrong_secret_breaks_the_connection_and_says_so(sandbox_with):
    with (
        sandbox_with({"webhook_secret": "old-secret"}) as sandbox,
        pytest.raises(ApiError, match="webhook_secret") as raised,
    ):
        sandbox.read("task:1")
    assert raised.value.failure is ApiFailure.UNAUTHORIZED


def test_it_is_usable_with_uvicorns_factory():
    from gateway_plugins.bitrix.sandbox import create_app

    with serving(create_app()) as url:
        answer = httpx.get(f"{url}/rest/15/sandbox-secret/profile", trust_env=False)
    assert answer.json()["result"]["ID"] == "15"
