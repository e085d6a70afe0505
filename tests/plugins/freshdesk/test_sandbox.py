"""Is the fake as strict as Freshdesk is documented to be, and does what it tells lead back to what happened?"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from gateway_plugins import freshdesk

from gateway.api import AddComment, AddTags, ApiError, ApiFailure, CreateTicket, TicketRef, Webhook

AUTH = ("sandbox-key", "X")


def call(sandbox, method, path, **more):
    return sandbox.http.request(method, f"/api/v2{path}", **{"auth": AUTH, **more})


@contextmanager
def listening() -> Iterator[tuple[str, list[Webhook]]]:
    """An address for webhooks, and what came there."""
    came: list[Webhook] = []

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            came.append(Webhook({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(202)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = HTTPServer(("127.0.0.1", 0), Listener)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hooks/acme/fd", came
    server.shutdown()
    server.server_close()
    thread.join()


def all_of(sandbox, came, count):
    for _ in range(200):
        told = sandbox.http.get("/_sandbox/webhooks").json()
        if len(came) >= count and not told["waiting"]:
            break
        time.sleep(0.02)
    return [json.loads(webhook.body)["freshdesk_webhook"] for webhook in came]


# --- what it wants ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("auth", [None, ("wrong", "X"), ("X", "sandbox-key")])
def test_the_key_is_the_user_name_of_basic(sandbox, auth):
    answer = call(sandbox, "GET", "/agents/me", auth=auth)
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_credentials")
    assert call(sandbox, "GET", "/agents/me", auth=("sandbox-key", "anything")).json()["id"] == 43000001


def test_what_does_not_exist_is_404_without_a_body(sandbox):
    ref = sandbox.open()
    sandbox.change(ref, archived=True)
    for path in ("/tickets/1", f"/tickets/{ref.id}", "/tickets/archived/1", "/contacts/43000001", "/nothing"):
        answer = call(sandbox, "GET", path)
        assert answer.status_code == 404
    assert call(sandbox, "GET", "/tickets/1").content == b""


@pytest.mark.parametrize(("body", "code"), [
    ({"subject": "x"}, "missing_field"), ({"status": 9}, "invalid_value"), ({"priority": 5}, "invalid_value"),
    ({"unheard": 1}, "invalid_field"), ({"status": "4"}, "datatype_mismatch"), ({"tags": ["a,b"]}, "invalid_value"),
    ({"status": True}, "datatype_mismatch"), ({"tags": ["x" * 33]}, "invalid_value"), ({"type": "?"}, "invalid_value"),
    ({"group_id": 1}, "invalid_value"), ({"responder_id": 1}, "invalid_value"), ({"requester_id": 1}, "invalid_value"),
    ({"custom_fields": {"cf_no": 1}}, "invalid_field"), ({"email": None}, "missing_field"),
    ({"email": None, "phone": "+551135550199"}, "missing_field"),
])  # fmt: skip
def test_what_is_wrong_is_refused_with_its_code(sandbox, body, code):
    right = {"subject": "s", "description": "d", "status": 2, "priority": 1, "email": "a@b.example"}
    given = body if code == "missing_field" and "subject" in body else right | body
    answer = call(sandbox, "POST", "/tickets", json=given)
    assert answer.status_code == 400
    assert code in {error["code"] for error in answer.json()["errors"]}
    assert sandbox.tickets() == []


@pytest.mark.parametrize(("body", "code"), [
    ({"email": "a@b.example"}, "missing_field"), ({"name": "A"}, "missing_field"),
    ({"name": "A", "email": "a@b.example", "nick": "a"}, "invalid_field"),
    ({"name": "A", "email": "Ana.Dias@desk.example"}, "duplicate_value"),
])  # fmt: skip
def test_a_contact_that_is_wrong_is_refused_with_its_code(sandbox, body, code):
    answer = call(sandbox, "POST", "/contacts", json=body)
    assert answer.json()["errors"][0]["code"] == code
    assert answer.status_code == (409 if code == "duplicate_value" else 400)


def test_an_agent_may_ask_for_something_too(sandbox):
    ref = sandbox.open(email="Ana.Dias@desk.example")
    assert sandbox.ticket(ref)["requester_id"] == 43000002
    assert sandbox.contacts() == []


def test_a_spam_ticket_counts_as_deleted_and_a_contact_is_shown(sandbox):
    ref = sandbox.open()
    sandbox.change(ref, spam=True, phone="+551135550199")
    assert sandbox.snapshot(ref).ticket.deleted
    number = sandbox.ticket(ref)["requester_id"]
    assert call(sandbox, "GET", f"/contacts/{number}").json()["phone"] == "+551135550199"
    assert (
        call(
            sandbox, "GET", f"/contacts/{number}", headers={"Authorization": "Basic !"}, auth=None
        ).status_code
        == 401
    )


def test_bodies_must_be_json(sandbox):
    typed = {"Content-Type": "application/json"}
    for body in (b"{", b"[]"):
        assert call(sandbox, "POST", "/tickets", content=body, headers=typed).json()["code"] == "invalid_json"
    assert call(sandbox, "POST", "/tickets", data={"a": "b"}).status_code == 415


def test_a_list_of_tags_is_replaced_and_custom_fields_are_merged(sandbox):
    ref = sandbox.open(tags=["a", "b"], custom_fields={"cf_order": "1"})
    call(sandbox, "PUT", f"/tickets/{ref.id}", json={"tags": ["c"], "custom_fields": {"cf_plan": "Pro"}})
    made = sandbox.ticket(ref)
    assert made["tags"] == ["c"]
    assert (made["custom_fields"]["cf_order"], made["custom_fields"]["cf_plan"]) == ("1", "Pro")


def test_notes_are_private_unless_told_and_a_reply_cannot_be(sandbox):
    ref = sandbox.open()
    note = call(sandbox, "POST", f"/tickets/{ref.id}/notes", json={"body": "x"})
    assert (note.status_code, note.json()["private"], note.json()["source"]) == (201, True, 2)
    assert note.json()["id"] > 2**31
    refused = call(sandbox, "POST", f"/tickets/{ref.id}/reply", json={"body": "x", "private": True})
    assert refused.json()["errors"][0]["code"] == "invalid_field"
    for path in ("notes", "reply"):
        assert call(sandbox, "POST", f"/tickets/{ref.id}/{path}", json={"body": ""}).status_code == 400


def test_only_ten_conversations_come_with_the_ticket(sandbox):
    ref = sandbox.open()
    for number in range(12):
        sandbox.say(ref, str(number))
    assert len(call(sandbox, "GET", f"/tickets/{ref.id}?include=conversations").json()["conversations"]) == 10


@pytest.mark.parametrize(("query", "found"), [
    ("\"tag:'vip'\"", ["4711"]), ("\"tag:'vip' AND status:2\"", ["4711"]), ("\"status:3\"", []), ("tag:'vip'", None),
    ("\"subject:vip\"", None), ("", []),
])  # fmt: skip
def test_the_search_wants_its_outer_quotes(sandbox_with, query, found):
    with sandbox_with(search_lag=-1) as sandbox:
        sandbox.open(tags=["vip"])
        answer = call(sandbox, "GET", "/search/tickets", params={"query": query})
        if found:
            assert [str(row["id"]) for row in answer.json()["results"]] == found
        else:
            assert (answer.json().get("results") or []) == []
            assert answer.status_code == (200 if found == [] and query else 400)


def test_the_search_is_behind(sandbox):
    sandbox.open(tags=["vip"])
    assert call(sandbox, "GET", "/search/tickets", params={"query": "\"tag:'vip'\""}).json()["total"] == 0


def test_what_was_deleted_can_be_restored(sandbox):
    ref = sandbox.open()
    assert call(sandbox, "DELETE", f"/tickets/{ref.id}").status_code == 204
    assert sandbox.snapshot(ref).ticket.deleted
    assert call(sandbox, "PUT", f"/tickets/{ref.id}/restore", json={}).status_code == 204
    assert not sandbox.snapshot(ref).ticket.deleted


def test_there_is_no_300_and_first_page(sandbox):
    assert call(sandbox, "GET", "/tickets?page=301").status_code == 400
    assert call(sandbox, "GET", "/groups").json()[0] == {"id": 8001, "name": "Suporte"}
    assert call(sandbox, "GET", "/tickets?filter=unheard").status_code == 400


# --- its limits ---------------------------------------------------------------------------------------------


def test_every_answer_says_what_is_left_and_includes_cost_more(sandbox_with):
    with sandbox_with(calls_per_minute=200) as sandbox:
        ref = sandbox.open()
        headers = call(sandbox, "GET", f"/tickets/{ref.id}?include=requester,stats").headers
        assert headers["x-ratelimit-total"] == "200"
        assert headers["x-ratelimit-remaining"] == "197"
        assert headers["x-ratelimit-used-currentrequest"] == "3"
        assert headers["x-freshdesk-api-version"] == "latest=v2; requested=v2"
        assert call(sandbox, "GET", "/tickets/1").headers["x-ratelimit-remaining"] == "196", "failures count"


def test_over_the_limit_is_429_with_retry_after_until_the_minute_is_over(sandbox_with):
    now = [1_800_000_000.0]
    with sandbox_with(calls_per_minute=3, clock=lambda: now[0]) as sandbox:
        assert [call(sandbox, "GET", "/agents/me").status_code for _ in range(4)] == [200, 200, 200, 429]
        now[0] += 20
        answer = call(sandbox, "GET", "/agents/me")
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "41")
        now[0] += 41
        assert call(sandbox, "GET", "/agents/me").status_code == 200


@pytest.mark.parametrize(("method", "path", "most"), [
    ("GET", "/tickets", 20), ("GET", "/contacts?email=x", 20), ("PUT", "/tickets/4711", 80),
])  # fmt: skip
def test_some_endpoints_trip_while_much_remains(sandbox_with, method, path, most):
    with sandbox_with(calls_per_minute=200) as sandbox:
        sandbox.open()
        body = {"json": {"priority": 2}} if method == "PUT" else {}
        answers = [call(sandbox, method, path, **body) for _ in range(most + 1)]
        assert {answer.status_code for answer in answers[:-1]} == {200}
        assert answers[-1].status_code == 429
        assert int(answers[-1].headers["x-ratelimit-remaining"]) >= 100


def test_our_own_pace_never_provokes_a_refusal(sandbox_with):
    with sandbox_with(calls_per_minute=200, rate=None) as sandbox:
        ref = sandbox.open()
        for _ in range(40):
            sandbox.collect(ref)
        with pytest.raises(ApiError, match="held back") as waits:
            sandbox.collect(ref)
        assert waits.value.failure is ApiFailure.THROTTLED
        statuses = [made["status"] for made in sandbox.app.calls]
        assert set(statuses) == {200}
        assert len(statuses) == 80


def test_nothing_is_sent_once_nothing_remains(sandbox_with):
    with sandbox_with(calls_per_minute=5) as sandbox:
        ref = sandbox.open()
        sandbox.collect(ref)
        with pytest.raises(ApiError, match="used up"):
            sandbox.collect(ref)
        assert len(sandbox.app.calls) == 2


def test_retry_after_is_obeyed(sandbox_with):
    with sandbox_with(calls_per_minute=200) as sandbox:
        ref = sandbox.open()
        for _ in range(80):
            call(sandbox, "PUT", f"/tickets/{ref.id}", json={"priority": 2})
        with pytest.raises(ApiError) as waits:
            sandbox.do(AddTags(id="a", reason="a test", ticket=ref, tags=("x",)))
        assert waits.value.failure is ApiFailure.THROTTLED
        assert 50 <= waits.value.retry_after <= 61
        assert not waits.value.uncertain


# --- what it tells ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", ["advanced", "simple", "unquoted"])
@pytest.mark.parametrize("proof", ["header", "basic", "api key", "none"])
def test_its_webhooks_are_accepted_and_lead_back_to_what_happened(sandbox_with, connected, content, proof):
    with sandbox_with(content=content, proof=proof) as sandbox, listening() as (url, came):
        sandbox.http.post("/_sandbox/webhooks", json={"url": url})
        ref = sandbox.open(subject="Onde está?")
        sandbox.change(ref, status=4)
        for _ in range(200):
            if len(came) >= 2:
                break
            time.sleep(0.02)
        connection = connected(hook_key="sandbox-hook-key")
        first, second = came
        query = {"key": "sandbox-hook-key"} if proof == "none" else {}
        for webhook in (first, second):
            webhook = Webhook(webhook.headers, webhook.body, query)
            verified = freshdesk.verify_webhook(webhook=webhook, connection=connection)
            assert (verified.subject, verified.thin) == (ref.id, True)
        before = sandbox.snapshot(ref)
        assert before.ticket.remote_status == "Resolved"


def test_each_change_is_told_by_its_own_rule_also_when_we_made_it(sandbox):
    with listening() as (url, came):
        sandbox.http.post("/_sandbox/webhooks", json={"url": url})
        ref = sandbox.open()
        sandbox.change(
            ref, status=3, tags=["a"], responder_id=43000002, custom_fields={"cf_order": "1"}, group_id=8002
        )
        sandbox.say(ref, "Oi", customer=True)
        sandbox.do(AddComment(id="a", reason="a test", ticket=ref, body="nota"))
        sandbox.do(AddComment(id="b", reason="a test", ticket=ref, body="olá", is_private=False))
        sandbox.change(ref, deleted=True)
        told = [(one["event"], one["triggered_event"]) for one in all_of(sandbox, came, 10)]
    assert told == [
        ("ticket_created", "{ticket_action:created}"), ("status_changed", "{status:{from:2,to:3}}"),
        ("assigned", "{responder_id:{from:,to:43000002}}"), ("group_changed", ""), ("tags_changed", ""),
        ("ticket_updated", ""), ("customer_replied", ""), ("note_added", "{note_type:private}"), ("reply_sent", ""),
        ("ticket_deleted", "{ticket_action:delete}"),
    ]  # fmt: skip


def test_simple_content_has_every_field_under_its_name(sandbox_with):
    with sandbox_with(content="simple") as sandbox, listening() as (url, came):
        sandbox.http.post("/_sandbox/webhooks", json={"url": url})
        ref = sandbox.open(tags=["a", "b"], name="Eva", email="eva@cliente.example", group_id=8001)
        sandbox.say(ref, "Oi", user_id=43000002)
        created, said = all_of(sandbox, came, 2)
    assert (created["ticket_id"], created["ticket_tags"], created["ticket_status"]) == (4711, "a, b", "Open")
    assert (created["ticket_contact_name"], created["ticket_agent_name"]) == ("Eva", None)
    assert (created["ticket_group_name"], created["ticket_cf_order"]) == ("Suporte", None)
    assert said["ticket_latest_public_comment"].startswith("Ana Dias : <div")


def test_our_own_writing_comes_back_as_ours(sandbox):
    ref = TicketRef("fd", sandbox.do(
        CreateTicket(id="c", reason="a test", connection="fd", key="k", subject="s", description="d")
    ).remote_id)  # fmt: skip
    sandbox.do(AddComment(id="a", reason="a test", ticket=ref, body="nota"))
    found = freshdesk.convert_webhook(
        webhook=Webhook({}, b"", received_at=sandbox.snapshot(ref).ticket.remote_updated_at),
        collected=sandbox.collect(ref), before=None, connection=sandbox.api.connection,
    )  # fmt: skip
    assert [(event.kind, event.actor.id) for event in found] == [
        ("ticket.created", "43000001"), ("comment.created", "43000001"),
    ]  # fmt: skip


def test_two_sandboxes_share_nothing(sandbox_with):
    with sandbox_with() as one, sandbox_with() as other:
        one.open()
        assert (len(one.tickets()), len(one.contacts())) == (1, 1)
        assert (other.tickets(), other.contacts()) == ([], [])
