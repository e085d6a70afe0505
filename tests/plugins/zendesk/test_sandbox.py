"""Does the sandbox call back as Zendesk does, in bodies that the plugin itself takes for authentic?"""

import time

import httpx
import pytest
from gateway_plugins import zendesk
from gateway_plugins.zendesk.sandbox import create_app
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from gateway.api import AddComment, AddTags, Contact, RateLimit, Status, TicketRef, Webhook
from gateway.clock import utc_now
from gateway.testing import api_for, serving

PLENTY = RateLimit(calls=10_000, seconds=60)
PERSON = {"name": "Ana Lima", "email": "ana@customer.example"}


class Wired:
    """A sandbox and somebody who listens to it, both over real sockets."""

    def __init__(self, url, heard, connection):
        self.http = httpx.Client(base_url=url, trust_env=False, timeout=10)
        self.heard, self.connection = heard, connection
        self.api = api_for(zendesk, connection, rate=PLENTY)

    def opens(self, **ticket):
        given = {"subject": "Invoice", "description": "Where is it?", "requester": PERSON, **ticket}
        answer = self.http.post("/_sandbox/human/tickets", json=given).raise_for_status()
        return TicketRef("zd", str(answer.json()["ticket"]["id"]))

    def changes(self, ref, **change):
        self.http.post(f"/_sandbox/human/tickets/{ref.id}", json=change).raise_for_status()

    def webhooks(self, count):
        """Exactly so many, each proven; and forgotten."""
        deadline = time.monotonic() + 10
        while self.http.get("/_sandbox/webhooks").json()["waiting"] and time.monotonic() < deadline:
            time.sleep(0.01)
        taken = [self.heard.pop(0) for _ in range(len(self.heard))]
        assert len(taken) == count
        proofs = [zendesk.verify_webhook(webhook=webhook, connection=self.connection) for webhook in taken]
        return list(zip(taken, proofs, strict=True))

    def events(self, count, before=None):
        converted = []
        for webhook, proof in self.webhooks(count):
            collected = None
            if proof.thin:
                collected = zendesk.collect_ticket(ref=TicketRef("zd", proof.subject), api=self.api)
            converted += zendesk.convert_webhook(
                webhook=webhook, collected=collected, before=before, connection=self.connection
            )
        return converted


@pytest.fixture
def wire(connected):
    opened = []

    def wired(**app):
        heard = []

        async def hear(request):
            heard.append(Webhook(dict(request.headers), await request.body(), received_at=utc_now()))
            return Response(status_code=202)

        listener = serving(Starlette(routes=[Route("/hook", hear, methods=["POST"])]))
        sandbox = serving(create_app(**{"calls_per_minute": None, **app}))
        target, url = listener.__enter__(), sandbox.__enter__()
        connection = connected(
            base_url=f"{url}/api/v2", oauth_token="sandbox-token", signing_secret="sandbox-secret",
            account_id=9001001, user_id="90001",
        )  # fmt: skip
        desk = Wired(url, heard, connection)
        desk.http.post("/_sandbox/webhooks", json={"url": f"{target}/hook"}).raise_for_status()
        opened.append((desk, sandbox, listener))
        return desk

    yield wired
    for desk, sandbox, listener in opened:
        desk.http.close()
        sandbox.__exit__(None, None, None)
        listener.__exit__(None, None, None)


def kinds(events):
    return [event.kind for event in events]


def test_a_new_requester_and_a_new_ticket_are_told(wire):
    desk = wire()
    ref = desk.opens(tags=["billing"], priority="high")
    contact, created = desk.events(2)
    assert contact.kind == "contact.updated"
    assert contact.contact == Contact(id=created.ticket.contact.id, email="ana@customer.example")
    assert created.id == f"created:{ref.id}"
    assert created.ticket.tags == {"billing"}
    assert created.ticket.channel == "email"


def test_the_first_comment_may_be_told_too_under_the_id_it_is_collected_with(wire):
    desk = wire(first_comment_event=True)
    ref = desk.opens()
    told = {event.id for event in desk.events(3) if event.kind == "comment.created"}
    collected = zendesk.collect_ticket(ref=ref, api=desk.api)
    read = zendesk.convert_webhook(
        webhook=Webhook({}, b"", received_at=utc_now()),
        collected=collected,
        before=None,
        connection=desk.connection,
    )
    assert told == {event.id for event in read if event.kind == "comment.created"}


def test_one_save_is_told_in_several_events(wire):
    desk = wire()
    ref = desk.opens()
    desk.webhooks(2)
    desk.changes(
        ref, status="solved", tags=["done"], assignee_id=80005, group_id=8002, priority="urgent",
        custom_fields=[{"id": 360001, "value": "A-77"}], comment={"body": "Done", "public": True},
    )  # fmt: skip
    events = desk.events(8)
    assert kinds(events) == [
        "comment.created", "ticket.updated", "ticket.status_changed", "ticket.updated", "ticket.assigned",
        "ticket.assigned", "ticket.tagged", "ticket.updated",
    ]  # fmt: skip
    assert {event.actor.id for event in events} == {"80005"}
    assert events[0].comment.author.is_agent
    assert events[2].new is Status.RESOLVED


def test_the_events_of_one_save_may_come_in_any_order(wire):
    desk = wire(shuffled=True)
    ref = desk.opens()
    desk.webhooks(2)
    desk.changes(ref, tags=["done"], comment={"body": "Done", "public": True})
    assert kinds(desk.events(2)) == ["ticket.tagged", "comment.created"]


def test_the_customers_answer_opens_a_solved_ticket_again(wire):
    desk = wire()
    ref = desk.opens()
    desk.changes(ref, status="solved")
    desk.webhooks(4)
    desk.changes(ref, comment={"body": "Still broken", "public": True, "author": "requester"})
    comment, status, _ = desk.events(3)
    assert comment.actor.is_agent is False
    assert (status.old, status.new) == (Status.RESOLVED, Status.OPEN)


def test_a_phone_given_later_is_told(wire):
    desk = wire()
    ref = desk.opens()
    desk.webhooks(2)
    desk.changes(ref, requester_phone="+5511987654321")
    (event,) = desk.events(1)
    assert event.contact.phones == ("+5511987654321",)


def test_what_we_write_ourselves_comes_back_as_ours(wire):
    desk = wire()
    ref = desk.opens()
    desk.webhooks(2)
    said = AddComment(id="a", reason="a test", ticket=ref, body="Hello")
    receipt = zendesk.execute_action(action=said, api=desk.api)
    zendesk.execute_action(action=AddTags(id="b", reason="a test", ticket=ref, tags=("x",)), api=desk.api)
    comment, tagged = desk.events(2)
    assert comment.comment.id == receipt.remote_id
    assert {comment.actor.id, tagged.actor.id} == desk.connection.settings.own_ids()


def test_merging_and_deleting_are_told(wire):
    desk = wire()
    ref, other = desk.opens(), desk.opens()
    desk.webhooks(3)
    desk.changes(ref, merged_into=int(other.id))
    desk.changes(ref, deleted=True)
    merged, deleted = desk.events(2)
    assert merged.into == other
    assert deleted.kind == "ticket.deleted"


def test_a_trigger_tells_only_where_to_look(wire):
    desk = wire(webhooks="trigger")
    ref = desk.opens()
    created, comment = desk.events(1)
    assert (created.kind, comment.kind) == ("ticket.created", "comment.created")
    assert created.complete
    before = zendesk.convert.read_snapshot(
        zendesk.collect_ticket(ref=ref, api=desk.api), None, desk.connection
    )
    desk.changes(ref, status="hold")
    ((webhook, proof),) = desk.webhooks(1)
    assert b"On-hold" in webhook.body
    assert proof.thin
    collected = zendesk.collect_ticket(ref=ref, api=desk.api)
    (event,) = zendesk.convert_webhook(
        webhook=webhook, collected=collected, before=before, connection=desk.connection
    )
    assert (event.old, event.new) == (Status.NEW, Status.ON_HOLD)
    assert event.actor.id == "80005"


def test_bodies_are_written_as_zendesk_writes_them(wire):
    desk = wire()
    desk.opens()
    (webhook, proof), _ = desk.webhooks(2)
    assert webhook.body.startswith(b'{\n   "account_id": 9001001,')
    assert webhook.body.endswith(b"}\n")
    assert webhook.headers["user-agent"] == "Zendesk Webhook"
    assert webhook.headers["x-zendesk-account-id"] == "9001001"
    assert abs(proof.sent_at - webhook.received_at).total_seconds() < 60


def test_a_stale_update_is_a_conflict(wire):
    desk = wire()
    ref = desk.opens()
    update = {"ticket": {"status": "open", "safe_update": True, "updated_stamp": "2020-01-01T00:00:00Z"}}
    answer = desk.http.put(
        f"/api/v2/tickets/{ref.id}", json=update, headers={"Authorization": "Bearer sandbox-token"}
    )
    assert answer.status_code == 409
    assert answer.json()["error"] == "UpdateConflict"


def test_an_idempotency_key_is_a_miss_and_then_a_hit(wire):
    desk = wire()
    ticket = {"ticket": {"subject": "S", "comment": {"body": "B"}}}
    headers = {"Authorization": "Bearer sandbox-token", "Idempotency-Key": "k"}
    answers = [desk.http.post("/api/v2/tickets.json", json=ticket, headers=headers) for _ in range(2)]
    assert [answer.headers["x-idempotency-lookup"] for answer in answers] == ["miss", "hit"]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/tickets.json", {"ticket": {"subject": "no text"}}, 422),
        ("POST", "/tickets.json", {"ticket": {"comment": {"body": "x"}, "group_id": 1}}, 422),
        ("POST", "/users.json", {"user": {"name": "Twice", "email": "gateway@desk.example"}}, 422),
        ("POST", "/users.json", {"user": {"email": "nameless@desk.example"}}, 422),
        ("GET", "/tickets/1.json", None, 404),
        ("GET", "/users/1.json", None, 404),
        ("GET", "/incremental/tickets/cursor.json?start_time=99999999999", None, 400),
    ],
)
def test_refusals_have_zendesks_status_and_shape(wire, method, path, body, status):
    desk = wire()
    answer = desk.http.request(
        method, f"/api/v2{path}", json=body, headers={"Authorization": "Bearer sandbox-token"}
    )
    assert answer.status_code == status
    assert answer.json().keys() >= {"error", "description"}


def test_the_plain_factory_serves_an_account(connected):
    with serving(create_app()) as url:
        api = api_for(zendesk, connected(base_url=f"{url}/api/v2", oauth_token="sandbox-token"))
        assert api.get(zendesk.vendor_info().probe).body["user"]["role"] == "admin"
