"""Is everything that the webhook left out read back, with as few calls as possible?"""

from datetime import UTC, datetime, timedelta
from itertools import islice

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
    route = answers.get(path="/tickets").respond(json=[], headers={"date": "Mon, 10 Mar 2025 10:05:00 GMT"})
    assert list(list_changed(datetime(2025, 3, 10, 10, 0, 0, 5, tzinfo=UTC), api)) == []
    raw = route.calls[0].request.url.raw_path.decode()
    assert "$filter=lastUpdate%20gt%202025-03-10T09%3A57%3A00.00Z" in raw, "a replica may be 180 s behind"
    assert "token=sandbox-token" in raw


@pytest.fixture
def ago():
    now = datetime.now(UTC)  # noqa: TID251 - the sandbox runs on the real clock
    return lambda days: now - timedelta(days=days)


def refs(numbers):
    return [TicketRef("desk", str(number)) for number in numbers]


def test_changed_tickets_are_listed_page_by_page(sandbox, ago):
    for _ in range(203):
        sandbox.open()
    sandbox.change("50812", age_days=2)
    assert list(list_changed(ago(days=1), sandbox.api)) == refs(range(50813, 51015))
    assert sandbox.calls() == [("GET", "/tickets")] * 3


def test_a_full_last_page_is_followed_by_an_empty_one(sandbox, ago):
    for _ in range(100):
        sandbox.open()
    assert list(list_changed(ago(days=1), sandbox.api)) == refs(range(50812, 50912))
    assert sandbox.calls() == [("GET", "/tickets")] * 2


def test_tickets_that_leave_the_list_meanwhile_hide_no_other(sandbox, ago):
    for _ in range(103):
        sandbox.open()
    listed = list_changed(ago(days=1), sandbox.api)
    first = next(listed)
    for number in range(50813, 50820):
        sandbox.change(str(number), age_days=2)
    assert [first, *listed][100:] == refs([50912, 50913, 50914])


def test_a_look_reaches_as_far_back_as_a_replica_may_be_behind(sandbox_with, ago):
    """What was changed just before the last look may not have been shown to it."""
    with sandbox_with(settings={"replica_lag_seconds": 60}) as sandbox:
        sandbox.open()
        assert list(list_changed(ago(days=0) + timedelta(seconds=50), sandbox.api)) == refs([50812])
        assert list(list_changed(ago(days=0) + timedelta(seconds=90), sandbox.api)) == []


def test_after_a_long_silence_old_tickets_are_listed_too(sandbox, ago):
    for age in (120, 95, 1):
        sandbox.change(sandbox.open()["id"], age_days=age)
    assert list(list_changed(ago(days=100), sandbox.api)) == refs([50814, 50813])
    assert sandbox.calls() == [("GET", "/tickets"), ("GET", "/tickets/past")]


def test_a_ticket_that_grows_old_while_it_is_listed_is_told_once(answers, api):
    old = {"id": 7, "lastUpdate": "2025-01-01T00:00:00.0000000"}
    answers.get("/tickets").respond(json=[old], headers={"date": "Tue, 01 Apr 2025 00:00:00 GMT"})
    answers.get("/tickets/past").respond(json=[old, {**old, "id": 8}])
    assert list(list_changed(datetime(2024, 12, 31, tzinfo=UTC), api)) == refs([7, 8])


def test_where_the_vendor_does_not_say_its_time_old_tickets_are_listed_too(answers, api):
    answers.get("/tickets").respond(json=[])
    past = answers.get("/tickets/past").respond(json=[])
    assert list(list_changed(datetime(2025, 3, 10, tzinfo=UTC), api)) == []
    assert past.called


def test_a_long_list_stops_where_the_account_allows_no_more_calls(sandbox_with, ago):
    with sandbox_with(calls_per_minute=1) as sandbox:
        for _ in range(101):
            sandbox.open()
        listed = list_changed(ago(days=1), sandbox.api)
        assert list(islice(listed, 100)) == refs(range(50812, 50912))
        with pytest.raises(ApiError) as stopped:
            next(listed)
        assert stopped.value.failure is ApiFailure.THROTTLED


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
