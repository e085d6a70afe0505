"""Do many writes to one ticket, by many workers, over the whole pipeline, leave what each of them wrote, once?"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from gateway_plugins import freshdesk
from tests_town import rows, rule

from gateway.api import AddTags, Connection, Tenant, TicketRef, Webhook
from gateway.model.event import CommentCreated
from gateway.pipeline.accept import admit
from gateway.pipeline.collect import collect
from gateway.pipeline.decide import decide
from gateway.pipeline.execute import execute
from gateway.registry import assemble
from gateway.runtime import Runtime
from gateway.store import deliveries, tenants
from gateway.store.tables import actions
from gateway.store.tenants import Directory

WORKERS = 4


def tagger(event: Any, _facts: Any) -> Iterator[AddTags]:
    """Every customer's word becomes a tag."""
    if isinstance(event, CommentCreated):
        yield AddTags(ticket=event.ticket.ref, tags=(event.comment.body,), reason="said")


class Desk:
    """The tenant `acme` with a Freshdesk that is the sandbox, and one rule. Nothing runs by itself."""

    def __init__(self, gateway: Runtime, sandbox: Any) -> None:
        gateway.registry = assemble({"freshdesk": freshdesk}, {"tagger": rule("tagger", tagger)})
        gateway.directory = Directory(gateway.registry, gateway.keyring)
        self.gateway, self.sandbox = gateway, sandbox
        self.connection: Connection[Any] = sandbox.api.connection
        with gateway.db.begin() as db:
            tenants.save_tenant(db, Tenant(id="acme", name="Acme Ltda"))
            tenants.save_connection(db, self.connection, gateway.keyring)
            tenants.changed(db, ["settled in"])

    def hinted(self, ref: TicketRef) -> None:
        """A webhook about the ticket, from its arrival to the decisions."""
        body = json.dumps({"freshdesk_webhook": {"event": "note_added", "ticket_id": ref.id}}).encode()
        webhook = Webhook({"x-gateway-key": "new-key"}, body, received_at=self.gateway.clock())
        with self.gateway.db.begin() as db:
            (stored,) = deliveries.insert(db, [admit(self.gateway.registry, webhook, self.connection)])
        collect(self.gateway, "acme", "fd", [stored.id])
        decide(self.gateway, [stored.id])

    def pending(self) -> list[Any]:
        return [row.id for row in rows(self.gateway, actions) if row.state != "done"]

    def work(self, worker: int) -> None:
        for _ in range(100):
            waiting = self.pending()
            if not waiting:
                return
            execute(self.gateway, worker, "acme", "fd", waiting)
        pytest.fail("the actions are never done")


def test_no_tag_is_lost_whoever_writes_it(gateway, sandbox_with):
    """Freshdesk replaces the whole list of tags, and answers late: only what comes one after the other survives."""
    with sandbox_with(settings={"calls_per_minute": 10_000}) as sandbox:
        desk = Desk(gateway, sandbox)
        ref = sandbox.open(tags=["there-before"])
        for number in range(8):
            sandbox.say(ref, f"word-{number}", customer=True)
        desk.hinted(ref)
        assert len(desk.pending()) == 8
        sandbox.misbehave(kind="slow", seconds=0.02, path=f"/api/v2/tickets/{ref.id}")
        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(desk.work, range(1, WORKERS + 1)))
        assert sorted(sandbox.ticket(ref)["tags"]) == [
            "there-before",
            *(f"word-{number}" for number in range(8)),
        ]
        assert sandbox.calls().count(("PUT", f"/tickets/{ref.id}")) == 8

        desk.hinted(ref)
        assert desk.pending() == [], "our own tags are no news"


def test_a_dropped_answer_leads_to_one_effect(gateway, sandbox_with):
    with sandbox_with(settings={"calls_per_minute": 10_000, "settle_seconds": 0}) as sandbox:
        desk = Desk(gateway, sandbox)
        ref = sandbox.open()
        sandbox.say(ref, "word", customer=True)
        desk.hinted(ref)
        sandbox.misbehave(kind="drop", times=1, method="PUT")
        (id_,) = desk.pending()
        execute(gateway, 1, "acme", "fd", [id_])
        (row,) = rows(gateway, actions)
        assert (row.state, row.uncertain) == ("pending", True)
        later = row.not_before
        gateway.clock = lambda: later
        execute(gateway, 1, "acme", "fd", [id_])
        assert [row.state for row in rows(gateway, actions)] == ["done"]
        assert sandbox.ticket(ref)["tags"] == ["word"]
        assert sandbox.calls().count(("PUT", f"/tickets/{ref.id}")) == 1, "it was found, not written again"
