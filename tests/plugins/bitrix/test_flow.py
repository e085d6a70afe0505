"""Over the whole pipeline: a won deal leads to one task, links in comments are known, and no token is stored."""

from collections.abc import Iterator
from typing import Any

from gateway_plugins import bitrix
from gateway_plugins.bitrix.desk import encoded
from tests_town import rows, rule

from gateway.api import (
    AddComment,
    CommentCreated,
    CreateTicket,
    DealWon,
    LinkTickets,
    Tenant,
    TicketKind,
    TicketRef,
    Webhook,
)
from gateway.clock import utc_now
from gateway.pipeline.accept import admit
from gateway.pipeline.collect import collect
from gateway.pipeline.decide import decide
from gateway.pipeline.execute import execute
from gateway.registry import assemble
from gateway.runtime import Runtime
from gateway.store import deliveries, tenants
from gateway.store.tables import actions, events
from gateway.store.tables import deliveries as inbox
from gateway.store.tables import links as ties
from gateway.store.tenants import Directory

TOKEN = "sandbox-application-token"
MEMBER = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"


def procedure(event: Any, facts: Any) -> Iterator[Any]:
    """A won deal gets a task, a note, and whatever comments point at is tied to where it was said."""
    if isinstance(event, DealWon):
        deal = TicketRef("b24", event.deal.id)
        task = CreateTicket(
            connection="b24", key=f"onboarding-{event.deal.id}", subject=event.deal.title, description="Implantar",
            ticket_kind=TicketKind.TASK, reason="won",
        )  # fmt: skip
        yield task
        yield AddComment(ticket=deal, body="Implantação aberta", reason="won")
    elif isinstance(event, CommentCreated):
        for reference in facts.references_in(event.comment.body):
            yield LinkTickets(left=str(event.ticket.ref), right=str(reference.ref), reason=reference.url)


class Company:
    """The tenant with a portal that is the sandbox, and one rule. Nothing runs by itself."""

    def __init__(self, gateway: Runtime, sandbox: Any) -> None:
        gateway.registry = assemble({"bitrix": bitrix}, {"procedure": rule("procedure", procedure)})
        gateway.directory = Directory(gateway.registry, gateway.keyring)
        self.gateway, self.connection, self.tenant = gateway, sandbox.connection, sandbox.connection.tenant
        with gateway.db.begin() as db:
            tenants.save_tenant(db, Tenant(id=self.tenant, name="Acme Ltda"))
            tenants.save_connection(db, self.connection, gateway.keyring)
            tenants.changed(db, ["settled in"])

    def hears(self, event: str, data: Any) -> None:
        """A webhook, from its arrival to the decisions and their execution."""
        auth = {"member_id": MEMBER, "application_token": TOKEN, "domain": "evil.example"}
        body = encoded({"event": event, "data": data, "ts": int(utc_now().timestamp()), "auth": auth})
        webhook = Webhook({}, body, received_at=self.gateway.clock())
        with self.gateway.db.begin() as db:
            (stored,) = deliveries.insert(db, [admit(self.gateway.registry, webhook, self.connection)])
        collect(self.gateway, self.tenant, "b24", [stored.id])
        decide(self.gateway, [stored.id])
        if waiting := [row.id for row in rows(self.gateway, actions) if row.state == "pending"]:
            execute(self.gateway, 1, self.tenant, "b24", waiting)


def test_a_won_deal_leads_to_one_task_and_what_we_did_comes_back_as_ours(gateway, sandbox):
    company = Company(gateway, sandbox)
    deal = sandbox.open(kind="deal", title="Plano Pro", contact={"name": "Ana", "phone": "11999990000"})["id"]
    fields = {"FIELDS": {"ID": deal.removeprefix("deal:")}}
    company.hears("ONCRMDEALADD", fields)
    assert rows(gateway, actions) == []
    sandbox.change(deal, stageId="WON")
    for _ in range(2):
        company.hears("ONCRMDEALUPDATE", fields)
    sandbox.change(deal, title="Plano Pro anual")
    company.hears("onCrmDealUpdate", fields)

    created, noted = rows(gateway, actions)
    assert (created.state, noted.state) == ("done", "done")
    task, note = created.receipt["remote_id"], noted.receipt["remote_id"]
    assert (
        len(
            [each for each in sandbox.http.get("/_sandbox/tickets").json() if each["ref"].startswith("task:")]
        )
        == 1
    )
    assert len(sandbox.ticket(deal)["timeline"]) == 1

    company.hears(
        "ONTASKADD", {"FIELDS_BEFORE": "undefined", "FIELDS_AFTER": {"ID": task.removeprefix("task:")}}
    )
    company.hears("ONCRMTIMELINECOMMENTADD", {"ID": note.removeprefix("timeline:")})
    told = {row.kind: row.ours for row in rows(gateway, events)}
    assert told == {"deal.updated": False, "deal.won": False, "ticket.updated": True, "comment.created": True}
    assert len(rows(gateway, actions)) == 2


def test_a_link_in_a_colleagues_comment_ties_the_two_together(gateway, sandbox):
    company = Company(gateway, sandbox)
    task = sandbox.open(title="Implantar")["id"]
    sandbox.change(task, comment="Negócio: https://acme.bitrix24.com.br/crm/deal/details/1234/?IFRAME=Y")
    sandbox.change(task, comment="Não: https://acme.bitrix24.com.br.evil.com/crm/deal/details/9/")
    data = {"FIELDS_AFTER": {"ID": 0, "MESSAGE_ID": 1, "TASK_ID": task.removeprefix("task:")}}
    company.hears("ONTASKCOMMENTADD", data)
    assert {tuple(sorted((row.source, row.target))) for row in rows(gateway, ties)} == {
        ("ticket:b24:deal:1234", f"ticket:b24:{task}")
    }


def test_no_token_is_stored(gateway, sandbox):
    Company(gateway, sandbox).hears("ONCRMLEADADD", {"FIELDS": {"ID": 7}})
    (row,) = rows(gateway, inbox)
    assert TOKEN.encode() not in bytes(row.body)
    assert b"redacted" in bytes(row.body)
    assert [each.kind for each in rows(gateway, events)] == ["unrecognized"]
