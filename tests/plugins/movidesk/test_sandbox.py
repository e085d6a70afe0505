"""Is the fake as strict as Movidesk is documented to be, and does the plugin live with that?"""

import json
import time
from datetime import UTC, datetime

import pytest
from gateway_plugins.movidesk import collect_ticket, convert, convert_webhook, execute_action, verify_webhook
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from gateway.api import (
    AddComment,
    ApiError,
    ApiFailure,
    RateLimit,
    SetStatus,
    Status,
    TicketRef,
    Webhook,
)
from gateway.testing import serving

SEEN = datetime.fromtimestamp(time.time(), UTC)
AUTH = {"token": "sandbox-token"}
RATE = RateLimit(calls=10, seconds=60, errors=3, error_seconds=60, concurrency=1)


def get(sandbox, path, **params):
    return sandbox.http.get(path, params=AUTH | {f"${k}" if k in ODATA else k: v for k, v in params.items()})


ODATA = {"select", "filter", "orderby", "top", "skip", "expand"}


def test_the_token_is_wanted_in_the_query(sandbox):
    assert sandbox.http.get("/tickets", params={"$select": "id"}).status_code == 401
    assert (
        sandbox.http.get("/tickets", params={"$select": "id"}, headers={"Authorization": "x"}).status_code
        == 401
    )
    assert get(sandbox, "/tickets", select="id").status_code == 200


def test_ids_are_strings_alone_and_numbers_in_lists(sandbox):
    number = sandbox.open()["id"]
    assert get(sandbox, "/tickets", id=number).json()["id"] == "50812"
    assert get(sandbox, "/tickets", select="id").json() == [{"id": 50812}]


@pytest.mark.parametrize(("where", "found"), [
    ("tags/any(x: x eq 'vip')", [50812]), ("tags/any(t: t eq 'v''ip')", []), ("id eq 50813", [50813]),
    ("baseStatus ne 'New'", []), ("not (id eq 50812) and subject eq 'ajuda'", [50813]),
    ("id eq 50812 or id eq 50813", [50812, 50813]), ("lastUpdate gt 2020-01-01T00:00:00.00Z", [50812, 50813]),
    ("lastUpdate gt 2999-01-01T00:00:00.00Z", []), ("contains(subject,'jud')", [50812, 50813]),
])  # fmt: skip
def test_lists_are_filtered(sandbox, where, found):
    sandbox.open(tags=["VIP"])
    sandbox.open()
    rows = get(sandbox, "/tickets", select="id", filter=where).json()
    assert [row["id"] for row in rows] == found


@pytest.mark.parametrize("where", [
    "id eq '50812'", "lastUpdate gt 2025-01-01T00:00:00", "lastUpdate gt 2025-01-01T00:00:00-03:00", "id eq",
    "(id eq 1", "id is 1", "id eq one", "id eq 1 1", "'", "tags/any(x: x eq 'a'",
])  # fmt: skip
def test_what_movidesk_would_not_understand_is_refused(sandbox, where):
    sandbox.open()
    assert get(sandbox, "/tickets", select="id", filter=where).status_code == 400


def test_a_list_without_select_is_refused(sandbox):
    assert get(sandbox, "/tickets").status_code == 400


def test_sent_lists_replace_stored_ones_but_actions_are_added(sandbox):
    number = sandbox.open(tags=["a"], customFields={"7": "x"})["id"]
    said = {"type": 1, "description": "nota", "createdBy": {"id": "gateway"}}
    body = {"tags": ["b"], "customFieldValues": [], "actions": [said]}
    answer = sandbox.http.patch("/tickets", params=AUTH | {"id": number}, json=body)
    stored = get(sandbox, "/tickets", id=number).json()
    assert answer.status_code == 200
    assert (stored["tags"], stored["customFieldValues"]) == (["b"], [])
    assert [action["id"] for action in stored["actions"]] == [1, 2]
    assert stored["lastUpdate"][-1] == "0"
    assert len(stored["lastUpdate"].partition(".")[2]) == 7


@pytest.mark.parametrize("body", [
    {"status": "Fechado"}, {"justification": "x"}, {"status": "Arquivado", "justification": None},
    {"urgency": "P1"},
    {"owner": {"id": "ag-10"}, "ownerTeam": "N1"}, {"owner": {"id": "nobody"}, "ownerTeam": "N1"},
    {"customFieldValues": [{"customFieldId": 1, "line": 1, "value": "x"}]},
    {"customFieldValues": [{"customFieldId": 1, "customFieldRuleId": 1, "line": 1, "items": [{}]}]},
    {"actions": [{"type": 3, "description": "x", "createdBy": {"id": "gateway"}}]}, {"actions": [{"id": 9}]},
    {"clients": [{"id": "nobody"}]},
])  # fmt: skip
def test_a_refused_change_changes_nothing(sandbox, body):
    number = sandbox.open()["id"]
    before = get(sandbox, "/tickets", id=number).json()
    answer = sandbox.http.patch("/tickets", params=AUTH | {"id": number}, json=body | {"subject": "outro"})
    assert answer.status_code == 400
    assert get(sandbox, "/tickets", id=number).json() == before


def test_more_than_ten_calls_a_minute_are_too_many(sandbox_with):
    clock = [1_741_608_000.0]
    with sandbox_with(calls_per_minute=10, clock=lambda: clock[0]) as sandbox:
        answers = [get(sandbox, "/tickets", select="id") for _ in range(11)]
        assert [answer.status_code for answer in answers] == [200] * 10 + [429]
        assert int(answers[-1].headers["retry-after"]) in (60, 61)
        clock[0] += 60.5
        assert get(sandbox, "/tickets", select="id").status_code == 200


def test_three_erroneous_requests_lock_out_ever_longer(sandbox_with):
    clock = [1_741_608_000.0]
    with sandbox_with(clock=lambda: clock[0]) as sandbox:
        for penalty in (60, 120, 300, 300):
            assert [get(sandbox, "/tickets").status_code for _ in range(4)] == [400, 400, 400, 429]
            locked = get(sandbox, "/tickets", select="id")
            assert "Too many failed requests" in locked.text
            assert int(locked.headers["retry-after"]) in (penalty, penalty + 1)
            clock[0] += penalty + 0.5
            assert get(sandbox, "/tickets", select="id").status_code == 200


def test_the_plugins_own_pace_never_provokes_a_429(sandbox_with):
    with sandbox_with(calls_per_minute=10, rate=RATE) as sandbox:
        ticket = TicketRef("desk", sandbox.open()["id"])
        for number in range(10):
            execute_action(AddComment(id=f"a{number}", reason="r", ticket=ticket, body="x"), sandbox.api)
        with pytest.raises(ApiError) as held_back:
            execute_action(AddComment(id="b", reason="r", ticket=ticket, body="x"), sandbox.api)
        assert held_back.value.failure is ApiFailure.THROTTLED
        assert held_back.value.retry_after > 10
        assert [call["status"] for call in sandbox.app.calls] == [200] * 10


def test_errors_stop_before_they_provoke_the_penalty(sandbox_with):
    with sandbox_with(calls_per_minute=10, rate=RATE) as sandbox:
        ticket = TicketRef("desk", sandbox.open()["id"])
        wrong = SetStatus(id="a", reason="r", ticket=ticket, status=Status.OPEN, remote_status="Arquivado")
        failures = []
        for _ in range(4):
            with pytest.raises(ApiError) as error:
                execute_action(wrong, sandbox.api)
            failures.append(error.value.failure)
        assert failures == [ApiFailure.REFUSED] * 2 + [ApiFailure.THROTTLED] * 2
        assert [call["status"] for call in sandbox.app.calls] == [400, 400]


def test_a_429_that_came_all_the_same_is_respected(sandbox):
    sandbox.misbehave(kind="status", status=429, retry_after=60, times=1, path="/tickets")
    for _ in range(3):
        with pytest.raises(ApiError) as throttled:
            collect_ticket(TicketRef("desk", "50812"), sandbox.api)
        assert throttled.value.failure is ApiFailure.THROTTLED
        assert throttled.value.retry_after > 50
    assert len(sandbox.calls()) == 1


@pytest.fixture
def inbox():
    """A place that webhooks can be sent to: what came, and its address."""
    received = []

    async def receive(request):
        received.append(
            Webhook(dict(request.headers), await request.body(), dict(request.query_params), SEEN)
        )
        return Response(status_code=202)

    with serving(Starlette(routes=[Route("/hooks/acme/desk", receive, methods=["POST"])])) as url:
        yield received, f"{url}/hooks/acme/desk?key=new-key"


def test_webhooks_lead_from_peoples_changes_to_our_events(sandbox, inbox):
    received, url = inbox
    connection = sandbox.api.connection
    sandbox.http.post("/_sandbox/webhooks", json={"url": url}).raise_for_status()
    number = sandbox.open(client={"name": "Maria", "phone": "(11) 98888-7777"})["id"]
    told, before = [], None
    steps = (
        {},
        {"comment": {"body": "Oi", "public": True, "agent": True}},
        {"status": "Aguardando", "justification": "Retorno do cliente"},
        {"tags": ["vip"], "owner": "ag-10"},
        {"phone": "(11) 3555-0199", "customFields": {"13485": "(11) 3555-0199"}},
    )
    for seen, step in enumerate(steps, start=1):
        if step:
            sandbox.change(number, **step)
        wait_until(lambda seen=seen: len(received) == seen)
        webhook = received[-1]
        verified = verify_webhook(webhook, connection)
        collected = collect_ticket(TicketRef("desk", verified.subject), sandbox.api)
        told.append([event.kind for event in convert_webhook(webhook, collected, before, connection)])
        before = convert.snapshot(collected, connection)
    assert told == [
        ["ticket.created"], ["comment.created"], ["ticket.status_changed"],
        ["ticket.assigned", "ticket.tagged"], ["ticket.updated"],
    ]  # fmt: skip


def test_a_webhook_is_partial_and_has_zeros_where_nothing_was_loaded(sandbox, inbox):
    received, url = inbox
    sandbox.http.post("/_sandbox/webhooks", json={"url": url}).raise_for_status()
    sandbox.open()
    wait_until(lambda: received)
    body = json.loads(received[0].body)
    assert (body["Id"], body["Type"], body["Actions"][0]["Type"]) == (50812, 0, 0)
    assert not {"Tags", "Owner", "BaseStatus", "Clients"} & body.keys()


def wait_until(done):
    deadline = time.monotonic() + 10
    while not done():
        assert time.monotonic() < deadline, "no webhook came"
        time.sleep(0.01)
