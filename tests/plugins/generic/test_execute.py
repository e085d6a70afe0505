"""Is a system without a plugin called as its settings say, once, and what it answers understood?"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
import respx
from gateway_plugins import generic
from gateway_plugins.generic.sandbox import DESK_SETTINGS, TOKEN, create_app

from gateway.api import (
    AddComment,
    AddTags,
    ApiError,
    ApiFailure,
    ChangedRef,
    Connection,
    CreateTicket,
    Status,
    TicketRef,
    Webhook,
)
from gateway.clock import utc_now
from gateway.testing import api_for, serving

URL = "https://erp.example/api"
CREATE = CreateTicket(
    id="a-1", reason="r", connection="erp", key="k", subject="S", description="D", tags=("core",)
)
REQUEST = {
    "method": "POST", "path": "/orders", "body": {"title": "{{ subject }}", "ref": "{{ id }}"},
    "remote_id": "body.data.number", "url": "headers.location",
    "find": {"path": "/orders", "params": {"ref": "{{ id }}"}, "remote_id": "body.data[0].number"},
}  # fmt: skip


def connection(**settings: Any) -> Connection[Any]:
    told = {"base_url": URL, "api_token": TOKEN, "requests": {"create_ticket": REQUEST}, **settings}
    return Connection("acme", "erp", "generic", generic.Settings.model_validate(told))


@pytest.fixture
def erp() -> Iterator[respx.MockRouter]:
    with respx.mock(base_url=URL) as router:
        yield router


def failure(call: Any, *given: Any) -> ApiError:
    with pytest.raises(ApiError) as error:
        call(*given)
    assert TOKEN not in str(error.value)
    return error.value


def api(**settings: Any) -> Any:
    return api_for(generic, connection(**settings))


def test_the_request_is_made_and_the_receipt_read_from_body_and_headers(erp):
    answer = httpx.Response(
        201, json={"data": {"number": 42}}, headers={"Location": "https://erp.example/42"}
    )
    route = erp.post("/orders").mock(answer)
    headers = {"Authorization": "Bearer {{ secrets.api_token }}", "X-Api-Key": "{{ secrets.api_key }}"}
    receipt = generic.execute_action(CREATE, api(api={"headers": headers}, api_key="another"))
    assert (receipt.remote_id, receipt.url) == ("42", "https://erp.example/42")
    request = route.calls.last.request
    assert request.read() == b'{"title":"S","ref":"a-1"}'
    assert (request.headers["authorization"], request.headers["x-api-key"]) == (f"Bearer {TOKEN}", "another")
    assert "idempotency-key" not in request.headers


def test_the_trace_shows_no_secret(erp):
    erp.post("/orders").mock(httpx.Response(400, text=f"you said {TOKEN}"))
    client = api(api={"headers": {"Authorization": "Bearer {{ secrets.api_token }}"}})
    failure(generic.execute_action, CREATE, client)
    assert TOKEN not in str([call.to_json() for call in client.calls])


def test_basic_auth_is_made_of_templates_too(erp):
    route = erp.post("/orders").mock(httpx.Response(201, json={}))
    auth = {"user": "{{ secrets.api_user }}", "password": "{{ secrets.api_password }}"}
    assert (
        generic.execute_action(
            CREATE, api(api={"basic_auth": auth}, api_user="u", api_password="p")
        ).remote_id
        is None
    )
    assert route.calls.last.request.headers["authorization"] == httpx.BasicAuth("u", "p")._auth_header


def test_an_idempotency_key_is_the_actions_id_and_lets_it_be_sent_again(erp):
    request = {**REQUEST, "find": None, "idempotency_header": "X-Once"}
    route = erp.post("/orders")
    route.side_effect = [httpx.Response(502), httpx.Response(201, json={"data": {"number": 42}})]
    client = api(requests={"create_ticket": request})
    assert generic.execute_action(CREATE, client).remote_id == "42"
    assert [call.request.headers["x-once"] for call in route.calls] == ["a-1", "a-1"]
    assert generic.find_effect(CREATE, client) is None
    assert len(route.calls) == 2


def test_what_may_not_be_repeated_is_not_and_is_looked_for(erp):
    erp.post("/orders").mock(httpx.Response(502))
    client = api()
    assert failure(generic.execute_action, CREATE, client).uncertain
    assert len(client.calls) == 1
    lookup = erp.get("/orders", params={"ref": "a-1"})
    lookup.side_effect = [
        httpx.Response(200, json={"data": []}),
        httpx.Response(404),
        httpx.Response(200, json={"data": [{"number": 42}]}),
        httpx.Response(401),
    ]
    assert generic.find_effect(CREATE, api()) is None
    assert generic.find_effect(CREATE, api()) is None
    assert generic.find_effect(CREATE, api()).remote_id == "42"
    assert failure(generic.find_effect, CREATE, api()).failure is ApiFailure.UNAUTHORIZED


def test_an_answer_that_says_no_is_no_success(erp):
    erp.post("/orders").mock(httpx.Response(200, json={"success": False, "message": f"no, {TOKEN}"[:9]}))
    error = failure(
        generic.execute_action, CREATE, api(requests={"create_ticket": {**REQUEST, "ok": "body.success"}})
    )
    assert (error.failure, error.passing) == (ApiFailure.REFUSED, False)
    assert "not that it was done" in str(error)


def test_what_cannot_be_made_of_this_action_is_said_and_nothing_is_sent(erp):
    request = {**REQUEST, "body": {"n": "{{ 1 / (subject | length - 1) }}"}, "path": "/orders"}
    broken = CREATE.model_copy(update={"subject": "S"})
    settings = {
        "create_ticket": {**request, "body": {"n": "{{ subject.split('-')[1] if 'x' in subject else '' }}"}}
    }
    client = api(requests=settings)
    error = failure(generic.execute_action, broken.model_copy(update={"subject": "x"}), client)
    assert error.failure is ApiFailure.REFUSED
    assert "create_ticket" not in str(error)
    assert "the request cannot be made: body.n" in str(error)
    assert client.calls == []
    assert not erp.calls


def test_what_has_no_request_is_unsupported():
    tags = AddTags(id="a", reason="r", ticket=TicketRef("erp", "7"), tags=("a",))
    client = api()
    assert generic.execute_action(tags, client) is None
    assert generic.find_effect(tags, client) is None
    assert generic.collect_ticket(TicketRef("erp", "7"), client) is None
    assert list(generic.list_changed(utc_now(), client)) == []
    assert client.calls == []


def test_a_system_that_only_sends_is_not_called():
    settings = generic.Settings.model_validate({"mapping": "typeform", "secret": "s"})
    assert generic.connect_api(Connection("acme", "form", "generic", settings)) is None


@pytest.mark.parametrize(
    ("times", "known"),
    [
        (["2026-09-14T00:00:00Z", "2026-09-14T00:00:00-03:00"], [True, True]),
        (["2026-09-14T00:00:00", 7], [False, False]),
        ([None, "2026-09-14T00:00:00Z"], [False, False]),
    ],
)
def test_when_it_changed_is_told_where_the_list_says_so(erp, times, known):
    items = [{"id": number, "at": at} for number, at in enumerate(times)]
    erp.get("/t").mock(httpx.Response(200, json={"items": items}))
    listing = {"path": "/t", "ids": "body.items[].id", "times": "body.items[].at"}
    found = list(generic.list_changed(utc_now(), api(changed=listing)))
    assert [ref.id for ref in found] == ["0", "1"]
    assert [isinstance(ref, ChangedRef) for ref in found] == known


def test_a_list_of_another_shape_is_an_error_and_not_empty(erp):
    erp.get("/t").mock(httpx.Response(200, json={"items": "none"}))
    listed = generic.list_changed(utc_now(), api(changed={"path": "/t", "ids": "body.items"}))
    assert "there is no list at 'body.items'" in str(failure(next, listed))


def test_a_page_of_another_host_is_not_followed(erp):
    page = {"items": [{"id": 1}], "next": "https://evil.example/api/t?page=2"}
    erp.get("/t").mock(httpx.Response(200, json=page))
    client = api(
        changed={
            "path": "/t",
            "params": {"a": "{{ since_unix }}"},
            "ids": "body.items[].id",
            "next": "body.next",
        }
    )
    found = generic.list_changed(utc_now(), client)
    assert next(found) == TicketRef("erp", "1")
    assert failure(next, found).failure is ApiFailure.REFUSED


# --- against the sandbox ---


@pytest.fixture
def desk() -> Iterator[Connection[Any]]:
    with serving(create_app(limited=False)) as url:
        settings = {**DESK_SETTINGS, "secret": "whsec_" + "QUJD" * 8, "api_token": TOKEN, "base_url": url}
        yield Connection("acme", "erp", "generic", generic.Settings.model_validate(settings))


def test_a_ticket_is_opened_commented_and_read_back(desk):
    client = api_for(generic, desk)
    receipt = generic.execute_action(CREATE, client)
    assert generic.find_effect(CREATE, client).remote_id == receipt.remote_id
    ref = TicketRef("erp", receipt.remote_id)
    comment = AddComment(id="c-1", reason="r", ticket=ref, body="Oi")
    assert generic.execute_action(comment, client) == generic.execute_action(comment, client)
    collected = generic.collect_ticket(ref, client)
    (created, said) = generic.convert_webhook(Webhook({}, b"", received_at=utc_now()), collected, None, desk)
    assert (created.kind, created.complete, created.ticket.status) == ("ticket.created", True, Status.NEW)
    assert (created.ticket.tags, created.ticket.assignee, created.ticket.team) == ({"core"}, None, None)
    assert (said.kind, said.comment.body, said.comment.is_private) == ("comment.created", "Oi", True)
    assert list(generic.list_changed(utc_now() - timedelta(minutes=1), client)) == [ref]


def test_many_changed_tickets_are_listed_page_by_page(desk):
    url = str(desk.settings.base_url)
    for _ in range(51):
        httpx.post(f"{url}_sandbox/human/tickets", json={"title": "T"}).raise_for_status()
    found = list(generic.list_changed(utc_now() - timedelta(minutes=1), api_for(generic, desk)))
    assert len(found) == len(set(found)) == 51
