"""Is everything that the webhook left out read back, with as few calls as possible?"""

from datetime import UTC, datetime, timedelta

import httpx
import pytest
import respx
from gateway_plugins import movidesk
from gateway_plugins.movidesk import collect_ticket, convert, explain_error, list_changed

from gateway.api import Answer, ApiError, ApiFailure, RateLimit, TicketRef
from gateway.testing import api_for


def test_the_ticket_comes_with_its_clients_person(sandbox):
    opened = sandbox.open(client={"name": "Maria", "phone": "(11) 98888-7777", "cpfCnpj": "123.456.789-09"})
    collected = collect_ticket(TicketRef("desk", opened["id"]), sandbox.api)
    contact = convert.snapshot(collected, sandbox.api.connection).ticket.contact
    assert (contact.phones, contact.document) == (("(11) 98888-7777",), "12345678909")
    assert sandbox.calls() == [("GET", "/tickets"), ("GET", "/persons")]


def test_a_ticket_untouched_for_ninety_days_is_read_from_the_past(sandbox):
    opened = sandbox.open()
    sandbox.change(opened["id"], age_days=91)
    collected = collect_ticket(TicketRef("desk", opened["id"]), sandbox.api)
    assert collected["ticket"]["id"] == opened["id"]
    assert sandbox.calls()[:2] == [("GET", "/tickets"), ("GET", "/tickets/past")]


def test_a_ticket_that_is_nowhere_is_missing_after_one_look_into_the_past(sandbox):
    with pytest.raises(ApiError) as missing:
        collect_ticket(TicketRef("desk", "999"), sandbox.api)
    assert (missing.value.failure, missing.value.status) == (ApiFailure.MISSING, 404)
    assert sandbox.calls() == [("GET", "/tickets"), ("GET", "/tickets/past")]


def test_a_new_ticket_on_a_lagging_replica_is_missing_for_a_while(sandbox_with):
    clock = [1_741_608_000.0]
    with sandbox_with(replica_lag=30.0, clock=lambda: clock[0]) as sandbox:
        ref = TicketRef("desk", sandbox.open()["id"])
        with pytest.raises(ApiError) as missing:
            collect_ticket(ref, sandbox.api)
        assert missing.value.failure is ApiFailure.MISSING
        clock[0] += 31
        assert collect_ticket(ref, sandbox.api)["ticket"]["id"] == ref.id


@pytest.fixture
def api(connected):
    return api_for(movidesk, connected(base_url="http://127.0.0.1:9"), rate=RateLimit(1000, 1))


@pytest.fixture
def answers():
    with respx.mock(base_url="http://127.0.0.1:9") as router:
        yield router


def test_no_person_is_read_where_the_ticket_has_the_phone(answers, api, fixture):
    ticket = fixture("ticket_created")["collected"]["ticket"]
    ticket["clients"][0]["phone"] = "(11) 3555-0199"
    answers.get("/tickets").respond(json=ticket)
    collected = collect_ticket(TicketRef("desk", "50812"), api)
    assert collected["person"] is None
    assert convert.snapshot(collected, api.connection).ticket.contact.phones == ("(11) 3555-0199",)


@pytest.mark.parametrize("answer", [
    httpx.Response(200), httpx.Response(204), httpx.Response(200, json=[]), httpx.Response(200, json={}),
])  # fmt: skip
def test_an_empty_answer_means_missing_as_well(answers, api, fixture, answer):
    ticket = fixture("ticket_created")["collected"]["ticket"]
    answers.get("/tickets").mock(return_value=answer)
    answers.get("/tickets/past").respond(json=[ticket])
    answers.get("/persons").respond(404)
    assert collect_ticket(TicketRef("desk", "50812"), api) == {"ticket": ticket, "person": None}


def test_a_link_that_grants_access_is_not_stored(answers, api, fixture):
    ticket = fixture("comment_public")["collected"]["ticket"]
    link = "https://acme.movidesk.com/Ticket/Edit/50812?token=c0ffee-123&x=1"
    ticket["actions"][1] |= {
        "description": f"Veja {link} ou ligue",
        "htmlDescription": f'<a href="{link}">Veja</a>',
    }
    answers.get("/tickets").respond(json=ticket)
    answers.get("/persons").respond(404)
    collected = collect_ticket(TicketRef("desk", "50812"), api)
    assert "c0ffee" not in str(collected)
    assert (
        "https://acme.movidesk.com/Ticket/Edit/50812&x=1" in collected["ticket"]["actions"][1]["description"]
    )


def test_filters_go_with_a_literal_dollar_and_the_token_in_the_query(answers, api):
    route = answers.get(path="/tickets").respond(json=[])
    assert list(list_changed(datetime(2025, 3, 10, 10, 0, 0, 5, tzinfo=UTC), api)) == []
    raw = route.calls[0].request.url.raw_path.decode()
    assert "$filter=lastUpdate%20gt%202025-03-10T10%3A00%3A00.00Z" in raw
    assert "token=sandbox-token" in raw


def test_changed_tickets_are_listed_page_by_page(sandbox):
    for _ in range(103):
        sandbox.open()
    sandbox.change("50812", age_days=2)
    since = datetime.now(UTC) - timedelta(days=1)  # noqa: TID251 - the sandbox runs on the real clock
    found = list(list_changed(since, sandbox.api))
    assert found == [TicketRef("desk", str(number)) for number in range(50813, 50915)]
    assert sandbox.calls() == [("GET", "/tickets"), ("GET", "/tickets")]


@pytest.mark.parametrize(("status", "body", "text", "failure", "message"), [
    (400, {"message": "Categoria não existe"}, "", ApiFailure.REFUSED, "Categoria não existe"),
    (400, {"errorMessage": "Required", "propertyName": "cc"}, "", ApiFailure.REFUSED, "cc: Required"),
    (400, [{"errorMessage": "a"}, {"message": "b"}, 3], "", ApiFailure.REFUSED, "a; b"),
    (400, "texto", '"texto"', ApiFailure.REFUSED, "texto"),
    (400, None, "<html><h1>Bad</h1> request</html>", ApiFailure.REFUSED, "Bad\n request"),
    (401, {"message": "Token inválido"}, "", ApiFailure.UNAUTHORIZED, "Token inválido"),
    (403, None, "Forbidden", ApiFailure.UNAUTHORIZED, "Forbidden"),
    (404, None, "", ApiFailure.MISSING, ""),
    (409, {"message": None}, "x", ApiFailure.CONFLICT, "x"),
])  # fmt: skip
def test_errors_are_read_in_every_shape(status, body, text, failure, message):
    error = explain_error(Answer(status, {}, body, text))
    assert (error.failure, error.status, error.retry_after) == (failure, status, None)
    assert str(error).split() == message.split()


def test_too_many_calls_say_how_long_to_wait():
    assert explain_error(Answer(429, {"retry-after": "120"}, {"message": "x"}, "")).retry_after == 120
    assert explain_error(Answer(429, {}, None, "Too many failed requests")).retry_after == 60
    assert explain_error(Answer(429, {}, None, "x")).failure is ApiFailure.THROTTLED


def test_a_server_error_says_all_by_its_status():
    assert explain_error(Answer(502, {}, None, "<h1>Bad gateway</h1>")) is None


def test_errors_never_show_the_token(sandbox_with):
    with (
        sandbox_with(settings={"token": "another-secret-token"}) as sandbox,
        pytest.raises(ApiError) as refused,
    ):
        collect_ticket(TicketRef("desk", "1"), sandbox.api)
    assert refused.value.failure is ApiFailure.UNAUTHORIZED
    assert "another-secret-token" not in f"{refused.value} {sandbox.api.calls}"
