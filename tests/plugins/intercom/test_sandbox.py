"""Does the sandbox call back as Intercom does, in bodies that the plugin itself takes for authentic?"""

import json
import time

import pytest
from gateway_plugins import intercom
from gateway_plugins.intercom.sandbox import create_app
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from gateway.api import (
    AddComment,
    AddTags,
    CreateTicket,
    SaveContact,
    SetStatus,
    Snapshot,
    Status,
    TicketRef,
    Webhook,
)
from gateway.clock import utc_now
from gateway.testing import api_for, serving

WHY = "a test"
ANA = {"email": "ana@customer.example", "name": "Ana Lima"}


@pytest.fixture
def wire(open_desk):
    """Opens workspaces with somebody who listens: `wire(webhooks="1.4")`."""
    opened = []

    def wired(settings=None, **app):
        heard = []

        async def hear(request):
            heard.append(Webhook(dict(request.headers), await request.body(), received_at=utc_now()))
            return Response(status_code=202)

        desk = open_desk({"ticket_type_id": "29", **(settings or {})}, **app)
        listener = serving(Starlette(routes=[Route("/hook", hear, methods=["POST"])]))
        opened.append(listener)
        target = listener.__enter__()
        desk.http.post("/_sandbox/webhooks", json={"url": f"{target}/hook"}).raise_for_status()

        def told(before=None):
            """`(topic, events)` of each notification since, in order, each proven."""
            deadline = time.monotonic() + 10
            while desk.http.get("/_sandbox/webhooks").json()["waiting"] and time.monotonic() < deadline:
                time.sleep(0.01)
            found = []
            for webhook in [heard.pop(0) for _ in range(len(heard))]:
                proof = intercom.verify_webhook(webhook=webhook, connection=desk.connection)
                collected = None
                if proof.thin:
                    collected = intercom.collect_ticket(ref=TicketRef("ic", proof.subject), api=desk.api)
                events = intercom.convert_webhook(
                    webhook=webhook, collected=collected, before=before, connection=desk.connection
                )
                found.append((json.loads(webhook.body)["topic"], events))
            return found

        desk.told = told
        desk.heard = heard
        return desk

    yield wired
    for listener in opened:
        listener.__exit__(None, None, None)


def kinds(found):
    return [(topic, [event.kind for event in events]) for topic, events in found]


@pytest.mark.parametrize("version", ["2.15", "2.11", "1.4"])
def test_a_conversation_is_told_from_its_first_message_to_its_end(wire, version):
    desk = wire(webhooks=version)
    ref = desk.person_opens(contact=ANA, body="Cadê o boleto?\nObrigada")
    desk.person_changes(ref, message_type="comment", type="admin", body="Já vejo")
    desk.person_changes(ref, message_type="note", type="admin", body="ver ERP")
    desk.person_changes(ref, message_type="assignment", type="team", assignee_id="801")
    desk.person_changes(ref, message_type="snoozed", snoozed_until=2_000_000_000)
    desk.person_changes(ref, message_type="comment", type="user", body="E aí?")
    desk.person_changes(ref, message_type="close")
    found = desk.told()
    assert kinds(found) == [
        ("contact.user.created", ["contact.updated"]),
        ("conversation.user.created", ["ticket.created", "comment.created"]),
        ("conversation.admin.replied", ["comment.created"]),
        ("conversation.admin.noted", ["comment.created"]),
        ("conversation.admin.assigned", ["ticket.assigned"]),
        ("conversation.admin.snoozed", ["ticket.status_changed"]),
        ("conversation.user.replied", ["comment.created"]),
        ("conversation.admin.closed", ["ticket.status_changed"]),
    ]
    told = [event for _, events in found[1:] for event in events]
    assert {event.ticket.ref for event in told} == {ref}
    assert [event.comment.body for event in told if event.kind == "comment.created"] == [
        "Cadê o boleto?\nObrigada", "Já vejo", "ver ERP", "E aí?",
    ]  # fmt: skip
    assert told[3].comment.is_private
    assert told[4].team == "Suporte"
    assert [event.new for event in told if event.kind == "ticket.status_changed"] == [
        Status.ON_HOLD,
        Status.CLOSED,
    ]


def test_the_versions_differ_in_shape_and_format(wire):
    bodies = {}
    for version in ("2.15", "2.11", "1.4"):
        desk = wire(webhooks=version, topics="conversation")
        desk.person_opens(body="Cadê <b>?")
        desk.told()
        desk.person_opens(body="Cadê <b>?")
        while not desk.heard:
            time.sleep(0.01)
        bodies[version] = json.loads(desk.heard[0].body)["data"]["item"]
    assert bodies["2.15"]["source"]["body"] == "Cadê <b>?"
    assert bodies["2.11"]["source"]["body"] == "<p>Cadê &lt;b&gt;?</p>"
    assert bodies["1.4"]["conversation_message"]["body"] == "<p>Cadê &lt;b&gt;?</p>"
    assert bodies["1.4"]["user"]["email"] == "ana@customer.example"
    assert bodies["1.4"]["assignee"]["type"] == "nobody_admin"


@pytest.mark.parametrize("version", ["2.15", "2.11"])
def test_a_ticket_is_told_from_its_opening_to_its_end(wire, version):
    desk = wire(webhooks=version, topics="ticket.")
    ref = desk.person_opens(contact=ANA, ticket_type_id="29", ticket_attributes={"_default_title_": "Boleto"})
    desk.person_changes(ref, message_type="comment", type="admin", body="Já vejo")
    desk.person_changes(ref, message_type="comment", type="user", body="E aí?")
    desk.person_changes(ref, assignee_id="702", ticket_attributes={"Order": "A-77"})
    desk.person_changes(ref, ticket_state_id="4504")
    desk.person_changes(ref, open=False)
    found = desk.told()
    assert kinds(found) == [
        ("ticket.created", ["ticket.created"]),
        ("ticket.state.updated", []),
        ("ticket.admin.replied", ["comment.created"]),
        ("ticket.contact.replied", ["comment.created"]),
        ("ticket.admin.assigned", ["ticket.assigned"]),
        ("ticket.attribute.updated", ["ticket.updated"]),
        ("ticket.state.updated", ["ticket.status_changed"]),
        ("ticket.resolved", ["ticket.status_changed"]),
        ("ticket.closed", ["ticket.status_changed"]),
    ]
    (resolved,), (again,), (closed,) = (events for _, events in found[-3:])
    assert resolved.id == again.id != closed.id
    assert (resolved.new, closed.new) == (Status.RESOLVED, Status.CLOSED)
    assert {event.ticket.ref for _, events in found for event in events} == {ref}


def test_what_is_done_once_but_told_twice_is_one_fact(wire):
    desk = wire(assigns_on_reply=True, topics="conversation")
    ref = desk.person_opens(body="Oi")
    desk.told()
    desk.person_changes(ref, message_type="comment", type="admin", body="Assumo")
    replied, assigned = desk.told()
    assert [topic for topic, _ in (replied, assigned)] == [
        "conversation.admin.replied",
        "conversation.admin.assigned",
    ]
    facts = [[event.id for event in events] for _, events in (replied, assigned)]
    assert facts[0] == facts[1]
    assert len(facts[0]) == 2
    desk.person_changes(ref, message_type="close", body="Pronto")
    replied, closed = desk.told()
    assert sorted(event.id for event in replied[1]) == sorted(event.id for event in closed[1])


@pytest.mark.parametrize("place", ["part", "item", "tags_added"])
def test_a_tag_is_told_once_wherever_it_stands(wire, place):
    desk = wire(tags_in=place, topics="conversation")
    ref = desk.person_opens(body="Oi", tags=["old"])
    desk.person_changes(ref, message_type="comment", type="user", body="E aí?")
    desk.told()
    before = Snapshot(ticket=desk.read(ref).ticket)
    desk.person_changes(ref, tags=["novo", "old"])
    ((topic, (event,)),) = desk.told(before)
    assert topic == "conversation_part.tag.created"
    assert event.added == {"novo"}
    assert event.ticket.tags == {"old", "novo"}


def test_an_attached_contact_is_only_hinted_at(wire):
    desk = wire(topics="conversation")
    ref = desk.person_opens(contact=ANA, body="Oi")
    desk.told()
    before = Snapshot(ticket=desk.read(ref).ticket)
    desk.person_changes(ref, attach={"email": "eva@customer.example", "name": "Eva"})
    ((topic, events),) = desk.told(before)
    assert topic == "conversation.contact.attached"
    updated = next(event for event in events if event.kind == "ticket.updated")
    assert "contact" in updated.changed
    assert updated.ticket.contact.name == "Eva"


def test_deletions_pings_and_contacts_are_told(wire):
    desk = wire()
    ref = desk.person_opens(contact=ANA, body="Oi")
    contact_id = desk.read(ref).ticket.contact.id
    desk.told()
    desk.http.post(
        f"/_sandbox/human/contacts/{contact_id}", json={"email": "a@customer.example"}
    ).raise_for_status()
    desk.person_changes(ref, deleted=True)
    desk.http.post(f"/_sandbox/human/contacts/{contact_id}", json={"deleted": True}).raise_for_status()
    desk.http.post("/_sandbox/ping").raise_for_status()
    found = desk.told()
    assert kinds(found) == [
        ("contact.user.updated", ["contact.updated"]),
        ("contact.email.updated", ["contact.updated"]),
        ("conversation.deleted", ["ticket.deleted"]),
        ("contact.deleted", ["unrecognized"]),
        ("ping", []),
    ]
    assert found[0][1][0].id == found[1][1][0].id


def test_what_nobody_is_told_is_seen_by_reading(wire):
    desk = wire()
    ref = desk.person_opens(body="Oi", tags=["old"])
    desk.told()
    desk.person_changes(ref, removed_tags=["old"], custom_attributes={"Order": "A-77"})
    assert desk.told() == []
    ticket = desk.read(ref).ticket
    assert (ticket.tags, ticket.custom_fields) == (frozenset(), {"order": "A-77"})


def test_what_the_api_does_is_told_and_known_as_ours(wire):
    desk = wire(topics="conversation")
    ref = desk.person_opens(body="Oi")
    desk.told()
    for act in (
        AddComment(id="a", reason=WHY, ticket=ref, body="Olá"),
        SetStatus(id="b", reason=WHY, ticket=ref, status=Status.CLOSED),
    ):
        desk.do(act)
    events = [event for _, events in desk.told() for event in events]
    assert {event.actor.id for event in events} == desk.connection.settings.own_ids()
    assert events[0].comment.body == "Olá"
    desk.do(AddTags(id="c", reason=WHY, ticket=ref, tags=("vip",)))
    ((_, (tagged,)),) = desk.told()
    assert tagged.added == {"vip"}


@pytest.mark.parametrize(
    "settings", [{}, {"ticket_type_id": None}, {"ticket_type_id": None, "open_as": "admin"}]
)
def test_what_we_open_is_told_as_opened_by_us(wire, settings):
    desk = wire(settings)
    desk.do(SaveContact(id="c", reason=WHY, connection="ic", contact={"email": "ana@customer.example"}))
    desk.told()
    desk.do(
        CreateTicket(
            id="a", reason=WHY, connection="ic", key="k", subject="CORE", description="D",
            contact={"email": "ana@customer.example"},
        )
    )  # fmt: skip
    events = [event for _, events in desk.told() for event in events]
    assert events[0].kind == "ticket.created"
    assert {event.actor.id for event in events} == {"700"}


def test_notifications_look_like_intercoms(wire):
    desk = wire(topics="conversation")
    desk.person_opens(body="olá ✓")
    while not desk.heard:
        time.sleep(0.01)
    webhook = desk.heard[0]
    assert webhook.headers["user-agent"] == "intercom-parrot-service-client/1.0"
    assert webhook.headers["x-hub-signature"].startswith("sha1=")
    assert "✓".encode() in webhook.body
    body = json.loads(webhook.body)
    assert body["id"].startswith("notif_")
    assert (body["type"], body["app_id"], body["delivery_attempts"]) == ("notification_event", "abc123", 1)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/conversations/1", None, 404, "not_found"),
        ("GET", "/tickets/1", None, 404, "ticket_not_found"),
        ("GET", "/contacts/1", None, 404, "not_found"),
        (
            "POST",
            "/tickets",
            {"contacts": [{"email": "a@b.example"}], "ticket_type_id": "1"},
            400,
            "parameter_invalid",
        ),
        ("POST", "/tickets/search", {"query": {"field": "id", "operator": "?"}}, 400, "parameter_invalid"),
        (
            "POST",
            "/contacts/search",
            {"query": {"operator": "OR", "value": [{}] * 16}},
            400,
            "parameter_invalid",
        ),
        ("POST", "/contacts/search", [], 400, "parameter_invalid"),
        ("DELETE", "/conversations/1/tags/5", {"admin_id": "9"}, 400, "parameter_invalid"),
    ],
)
def test_refusals_have_intercoms_status_and_shape(desk, method, path, body, status, code):
    answer = desk.http.request(method, path, json=body, headers={"Authorization": "Bearer sandbox-token"})
    assert answer.status_code == status
    read = answer.json()
    assert (read["type"], read["errors"][0]["code"]) == ("error.list", code)
    assert read["request_id"]


def test_a_version_is_asked_for_and_answered(desk):
    answer = desk.api.get("/me")
    assert answer.headers["intercom-version"] == "2.15"
    assert answer.body["app"]["id_code"] == "abc123"


def test_the_plain_factory_serves_a_workspace(connected):
    with serving(create_app()) as url:
        api = api_for(intercom, connected(base_url=url, access_token="sandbox-token"))
        assert api.get(intercom.vendor_info().probe).body["id"] == "700"
