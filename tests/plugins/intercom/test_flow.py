"""Over the whole pipeline: is one deed decided once, our echo left alone, and a lost answer no second write?"""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from gateway_plugins import intercom
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
from tests_town import rows, rule

from gateway.api import Action, AddComment, AddTags, CommentCreated, Tenant, Webhook
from gateway.clock import utc_now
from gateway.pipeline.accept import admit
from gateway.pipeline.collect import collect
from gateway.pipeline.decide import decide
from gateway.pipeline.execute import execute
from gateway.registry import assemble
from gateway.store import deliveries, tenants
from gateway.store.tables import actions, events
from gateway.store.tenants import Directory
from gateway.testing import serving


def parrot(event: Any, _facts: Any) -> Iterator[Action]:
    """Every word is answered by a note, and tagged: a loop, if an echo were taken for news."""
    if isinstance(event, CommentCreated):
        yield AddComment(ticket=event.ticket.ref, body=f"heard: {event.comment.body}", reason="said")
        yield AddTags(ticket=event.ticket.ref, tags=("heard",), reason="said")


class Line:
    """The tenant `acme` with an Intercom that is the sandbox. Nothing runs by itself."""

    def __init__(self, gateway, desk, heard):
        gateway.registry = assemble({"intercom": intercom}, {"parrot": rule("parrot", parrot)})
        gateway.directory = Directory(gateway.registry, gateway.keyring)
        self.gateway, self.desk, self.heard = gateway, desk, heard
        with gateway.db.begin() as db:
            tenants.save_tenant(db, Tenant(id="acme", name="Acme Ltda"))
            tenants.save_connection(db, desk.connection, gateway.keyring)
            tenants.changed(db, ["settled in"])

    def take_in(self):
        """Everything that Intercom told since, from its arrival to the decisions; how many notifications."""
        deadline = time.monotonic() + 10
        while self.desk.http.get("/_sandbox/webhooks").json()["waiting"] and time.monotonic() < deadline:
            time.sleep(0.01)
        taken = [self.heard.pop(0) for _ in range(len(self.heard))]
        with self.gateway.db.begin() as db:
            arrivals = [admit(self.gateway.registry, webhook, self.desk.connection) for webhook in taken]
            stored = [row.id for arrival in arrivals for row in deliveries.insert(db, [arrival])]
        collect(self.gateway, "acme", "ic", stored)
        decide(self.gateway, stored)
        return len(taken)

    def waiting(self):
        return [row.id for row in rows(self.gateway, actions) if row.state == "pending"]

    def work(self):
        for _ in range(10):
            if not self.waiting():
                return
            execute(self.gateway, 1, "acme", "ic", self.waiting())
        pytest.fail("the actions are never done")

    def decided(self):
        return [row.state for row in rows(self.gateway, actions)]


@pytest.fixture
def line(gateway, open_desk):
    heard: list[Webhook] = []

    async def hear(request):
        heard.append(Webhook(dict(request.headers), await request.body(), received_at=utc_now()))
        return Response(status_code=202)

    with serving(Starlette(routes=[Route("/hook", hear, methods=["POST"])])) as ears:
        desk = open_desk({"tenant": "acme"}, assigns_on_reply=True, topics="conversation")
        desk.http.post("/_sandbox/webhooks", json={"url": f"{ears}/hook"}).raise_for_status()
        yield Line(gateway, desk, heard)


def notes(line, ref):
    return [part["body"] for part in line.desk.parts(ref) if part["part_type"] == "note"]


def test_what_is_told_twice_is_decided_once_and_our_own_words_are_no_news(line):
    ref = line.desk.person_opens(body="Oi")
    assert line.take_in() == 1
    line.work()
    assert len(notes(line, ref)) == 1
    line.desk.person_changes(
        ref, message_type="comment", type="admin", body="Assumo"
    )  # replied, and assigned
    line.take_in()
    line.work()
    assert len(notes(line, ref)) == 2
    for _ in range(3):
        line.take_in()
        line.work()
    assert len(notes(line, ref)) == 2
    assert line.decided() == ["done"] * 4
    told = [row for row in rows(line.gateway, events) if row.kind == "comment.created"]
    assert sorted(row.ours for row in told) == [False, False, True, True]
    assert len([row for row in rows(line.gateway, events) if row.kind == "ticket.assigned"]) == 1


@pytest.mark.parametrize("path", ["reply", "tags"])
def test_a_dropped_answer_leads_to_one_effect(line, path):
    ref = line.desk.person_opens(body="Oi")
    line.take_in()
    line.desk.misbehave(kind="drop", times=1, method="POST", path=f"/conversations/{ref.id}/{path}")
    execute(line.gateway, 1, "acme", "ic", line.waiting())
    later = max(row.not_before for row in rows(line.gateway, actions) if row.state == "pending")
    line.gateway.clock = lambda: later
    line.work()
    assert set(line.decided()) == {"done"}
    assert len(notes(line, ref)) == 1
    assert line.desk.read(ref).ticket.tags == {"heard"}
    assert line.desk.calls().count(f"POST /conversations/{ref.id}/{path}") == 1, (
        "it was found, not written again"
    )
