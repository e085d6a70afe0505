"""What Bitrix24 means by its errors, whatever status they come with; and how its lists and keys work."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from gateway_plugins import bitrix
from gateway_plugins.bitrix.portal import pages, read, write, write_v3
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from gateway.api import Answer, ApiError, ApiFailure, CreateTicket, RateLimit, SetStatus, Status, TicketRef
from gateway.testing import api_for, serving

F = ApiFailure
NOW = datetime(2026, 9, 14, tzinfo=UTC)


def explained(status: int, body: Any) -> ApiError | None:
    return bitrix.explain_error(response=Answer(status, {}, body, json.dumps(body)))


@pytest.mark.parametrize(
    ("status", "code", "text", "failure", "wait"),
    [
        (503, "QUERY_LIMIT_EXCEEDED", "Too many requests", F.THROTTLED, 2.0),
        (200, "QUERY_LIMIT_EXCEEDED", "Too many requests", F.THROTTLED, 2.0),
        (429, "OPERATION_TIME_LIMIT", "Method is blocked due to operation time limit.", F.THROTTLED, 60.0),
        (503, "OVERLOAD_LIMIT", "REST API is blocked due to overload.", F.THROTTLED, 900.0),
        (401, "expired_token", "The access token provided has expired.", F.UNAUTHORIZED, None),
        (401, "NO_AUTH_FOUND", "Wrong authorization data", F.UNAUTHORIZED, None),
        (401, "invalid_token", "Unable to get application by token", F.UNAUTHORIZED, None),
        (403, "insufficient_scope", "The request requires higher privileges", F.UNAUTHORIZED, None),
        (403, "INVALID_CREDENTIALS", "Invalid request credentials", F.UNAUTHORIZED, None),
        (403, "ACCESS_DENIED", "REST API is available only on commercial plans", F.UNAUTHORIZED, None),
        (200, "ACCESS_DENIED", "Access denied", F.UNAUTHORIZED, None),
        (403, "user_access_error", "The user does not have access", F.UNAUTHORIZED, None),
        (404, "ERROR_METHOD_NOT_FOUND", "Method not found!", F.UNAUTHORIZED, None),
        (400, "", "Not found", F.MISSING, None),
        (200, "", "Not found", F.MISSING, None),
        (400, "ERROR_CORE", "Task not found or not accessible", F.MISSING, None),
        (400, "ERROR_CORE", "TITLE is required", F.REFUSED, None),
        (400, "ERROR_BATCH_LENGTH_EXCEEDED", "Max batch length exceeded", F.REFUSED, None),
        (400, "INVALID_REQUEST", "Https required", F.REFUSED, None),
        (400, "CHAT_NOT_IN_CRM", "", F.REFUSED, None),
        (405, "ERROR_BATCH_METHOD_NOT_ALLOWED", "Method is not allowed for batch usage", F.REFUSED, None),
        (200, "CANCELED", "", F.REFUSED, None),
        (200, "INTERNAL_SERVER_ERROR", "", F.UNAVAILABLE, None),
        (500, "INTERNAL_SERVER_ERROR", "Internal server error", F.UNAVAILABLE, None),
        (500, "ERROR_UNEXPECTED_ANSWER", "Server returned an unexpected response", F.UNAVAILABLE, None),
        (502, "", "", F.UNAVAILABLE, None),
        (400, 100, "Invalid value", F.REFUSED, None),
    ],
)
def test_what_an_error_means(status, code, text, failure, wait):
    error = explained(status, {"error": code, "error_description": text})
    assert (error.failure, error.retry_after, error.status) == (failure, wait, status)
    assert text in str(error)
    assert error.uncertain == (status == 200 and failure is F.UNAVAILABLE)


def test_an_error_of_the_third_version_is_an_object():
    fields = [{"message": "taskId is required", "field": "taskId"}]
    error = explained(400, {"error": {"code": "VALIDATION", "message": "wrong", "validation": fields}})
    assert (error.failure, str(error)) == (F.REFUSED, "VALIDATION wrong taskId is required")


@pytest.mark.parametrize("body", [None, [], "x", {"result": True}, {}])
def test_where_nothing_is_explained_the_status_says_it_all(body):
    assert explained(500, body) is None


def test_a_portal_that_moved_says_what_to_do():
    error = explained(302, None)
    assert error.failure is F.UNAUTHORIZED
    assert "portal_host" in str(error)


def test_advice_is_for_people():
    assert "inbound webhook" in str(explained(403, {"error": "insufficient_scope"}))


# --- calls ------------------------------------------------------------------------------------------------------


@pytest.fixture
def answering(connected):
    """A client of ours to a portal that always answers this."""

    def client(body: str, status: int = 200, kind: str = "application/json"):
        async def answer(request):
            seen.append((request.url.path, await request.body(), request.headers.get("idempotency-key")))
            return Response(body, status, media_type=kind, headers={"Location": "https://neu.bitrix24.com/"})

        seen: list[Any] = []
        app = Starlette(routes=[Route("/{path:path}", answer, methods=["POST", "GET"])])
        return serving(app), seen

    return client


def api_to(url, connected):
    return api_for(bitrix, connected(base_url=f"{url}/rest"), rate=RateLimit(1000, 1))


def test_a_call_carries_the_secret_in_its_address_and_shows_it_nowhere(answering, connected):
    server, seen = answering('{"result": 5, "time": {}}')
    with server as url:
        api = api_to(url, connected)
        assert read(api, "crm.item.get", id=1) == 5
        assert write_v3(api, "tasks.task.chat.message.send", key="action-1", fields={}) == 5
    assert seen == [
        ("/rest/15/portal-secret-1/crm.item.get", b'{"id":1}', None),
        ("/rest/api/15/portal-secret-1/tasks.task.chat.message.send", b'{"fields":{}}', "action-1"),
    ]
    shown = json.dumps([call.to_json() for call in api.calls])
    assert "portal-secret-1" not in shown
    assert "[redacted]" in shown


@pytest.mark.parametrize("status", [200, 400])
def test_a_secret_that_an_error_quotes_is_not_shown(answering, connected, status):
    body = {"error": "X", "error_description": "POST /rest/15/portal-secret-1/crm.item.get"}
    server, _ = answering(json.dumps(body), status)
    with server as url, pytest.raises(ApiError) as raised:
        read(api_to(url, connected), "crm.item.get", id=1)
    assert "portal-secret-1" not in str(raised.value)


@pytest.mark.parametrize("repeatable", [True, False])
@pytest.mark.parametrize(
    ("body", "kind"),
    [("<html>login</html>", "text/html"), ("[]", "application/json"), ("{}", "application/json")],
)
def test_a_success_that_is_no_answer_may_have_had_an_effect(answering, connected, body, kind, repeatable):
    server, _ = answering(body, kind=kind)
    with server as url, pytest.raises(ApiError) as raised:
        write(api_to(url, connected), "crm.deal.add", repeatable=repeatable, fields={})
    assert raised.value.failure is F.UNAVAILABLE
    assert raised.value.uncertain is not repeatable


def test_a_redirect_is_not_followed(answering, connected):
    server, seen = answering("", 302)
    with server as url, pytest.raises(ApiError, match="portal_host"):
        read(api_to(url, connected), "crm.item.get", id=1)
    assert len(seen) == 1


def test_a_list_is_read_to_its_end(sandbox):
    ids = [sandbox.open(kind="task", title=f"t{number}")["id"] for number in range(120)]
    found = list(pages(sandbox.api(), "tasks.task.list", "tasks", order={"ID": "asc"}, select=["ID"]))
    assert [len(page) for page in found] == [50, 50, 20]
    assert [f"task:{row['id']}" for page in found for row in page] == ids


def test_a_list_that_never_ends_is_left(answering, connected):
    server, seen = answering('{"result": [{"ID": "1"}], "next": 50}')
    with server as url:
        found = list(pages(api_to(url, connected), "crm.deal.list"))
    assert (len(found), len(seen)) == (2, 2), "the second page says again that the next begins at 50"


@pytest.mark.parametrize(
    "body", ['{"result": []}', '{"result": false}', '{"result": {}}', '{"result": {"item": []}}']
)
@pytest.mark.parametrize(
    "id_", ["task:7", "deal:7", "contact:7", "timeline:7", "chat:7", "session:7", "chat:imol|a|1|b|c"]
)
def test_a_reading_without_anything_in_it_is_missing(answering, connected, body, id_):
    server, _ = answering(body)
    with server as url, pytest.raises(ApiError) as raised:
        bitrix.collect_ticket(ref=TicketRef("b24", id_), api=api_to(url, connected))
    assert raised.value.failure is F.MISSING


@pytest.mark.parametrize(
    "body", ['{"result": []}', '{"result": {"task": {}}}', '{"result": {"task": {"id": "0"}}}']
)
def test_a_new_task_without_an_id_is_looked_for_before_it_is_opened_again(answering, connected, body):
    server, _ = answering(body)
    action = CreateTicket(connection="b24", key="k", subject="s", description="d", reason="r", id="a")
    with server as url, pytest.raises(ApiError, match="did not say") as raised:
        bitrix.execute_action(action=action, api=api_to(url, connected))
    assert (raised.value.failure, raised.value.uncertain) == (F.UNANSWERED, True)


@pytest.mark.parametrize("result", ["[]", "false"])
def test_a_change_of_nothing_is_missing(answering, connected, result):
    server, _ = answering(f'{{"result": {result}}}')
    action = SetStatus(ticket=TicketRef("b24", "task:7"), status=Status.OPEN, reason="r", id="a")
    with server as url, pytest.raises(ApiError) as raised:
        bitrix.execute_action(action=action, api=api_to(url, connected))
    assert raised.value.failure is F.MISSING


def test_a_list_that_is_empty_in_php_s_way_has_no_changes(answering, connected):
    server, _ = answering('{"result": []}')
    with server as url:
        assert list(bitrix.list_changed(since=NOW, api=api_to(url, connected))) == []
