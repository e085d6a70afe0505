"""From Intercom by Freshdesk and Bitrix24 to Movidesk, and back: is all that people say told once, and nothing twice?

Real sockets, real webhooks of four sandboxes, the five rules and one of a stranger's own.
"""

from collections import Counter
from typing import Any

import pytest
from tests_desks import VENDORS, Desks, desks
from tests_town import rows

from gateway import jobs
from gateway.runtime import Runtime
from gateway.store.tables import actions, deliveries, events, incidents, reconciliations

ANA = {"name": "Ana Lima", "email": "ana@cliente.example"}
TALK = "215000000000001"
LINK = "https://acme.bitrix24.com.br/crm/deal/details/1003/"
CASE = "https://acme.freshdesk.com/a/tickets/4711"
ORDER = "https://acme.movidesk.com/Ticket/Edit/50812"
INBOX = f"https://app.intercom.com/a/inbox/abc123/inbox/shared/all/conversation/{TALK}"

SAID = {
    "chat": [
        "Ana Lima: O boleto não chegou",
        "Rui Alves: Vou verificar",
        "*Rui Alves: /escalar cliente sem acesso",
        f"*Gateway: Escalado: o chamado é {CASE}. As mensagens do cliente vão para lá e as respostas do suporte "
        "aparecem aqui.",
        "*Gateway: Resposta do suporte Ana Dias: Pode tentar de novo?",
        "Ana Lima: Agora funcionou",
        f"*Gateway: O suporte encerrou o chamado {CASE}. A conversa voltou para o chat: confirme com o cliente e "
        "finalize.",
    ],
    "support": [
        f": Conversa recebida do chat: {INBOX} Ana Lima: O boleto não chegou Rui Alves: Vou verificar",
        f"*Gateway: Escalado do chat por Rui Alves: cliente sem acesso Conversa: {INBOX}",
        f"*Ana Dias: Negócio: {LINK}",
        "Ana Dias: Pode tentar de novo?",
        "*Gateway: Ana Prado: Liberado no sistema",
        "*Gateway: Atendente (nota interna): Renovação em março",
        "*Gateway: Ana Lima: Agora funcionou",
    ],
    "crm": [
        f"*Gateway: Atendimento ligado a este registro: Implantação {ORDER}",
        f"*Gateway: Atendimento ligado a este registro: O boleto não chegou {CASE}",
        "*Gateway: Ana Dias: Pode tentar de novo?",
        "*Gateway: Ana Prado: Liberado no sistema",
        "*Bia Ramos: Renovação em março",
    ],
    "desk": [
        "Ana Lima: Liberar o plano",
        f"*Ana Prado: Negócio: {LINK}",
        "*Gateway: Ana Dias: Pode tentar de novo?",
        "Ana Prado: Liberado no sistema",
        "*Gateway: Atendente (nota interna): Renovação em março",
    ],
}
"""What stands at each desk in the end. A star: customers do not see it."""

DEEDS = Counter({
    ("chat", "ticket.created"): 1, ("chat", "comment.created"): 4, ("chat", "ticket.status_changed"): 1,
    ("support", "comment.created"): 2, ("support", "ticket.status_changed"): 1,
    ("crm", "comment.created"): 1,
    ("desk", "ticket.created"): 1, ("desk", "comment.created"): 2,
})  # fmt: skip
"""What people did on tickets: that and nothing else is news."""


def told(town: Desks) -> None:
    """The story, each step of it once all that follows from the one before is done."""
    deal = town.opens("crm", kind="deal", title="Plano Pro", contact={"name": "Ana", "phone": "11999990000"})
    order = town.opens("desk", subject="Implantação", description="Liberar o plano", client=ANA)
    town.settle()
    town.changes("desk", order, comment={"body": f"Negócio: {LINK}", "agent": True, "public": False})
    town.settle()
    talk = town.opens("chat", contact=ANA, body="O boleto não chegou")
    town.changes("chat", talk, message_type="comment", type="admin", body="Vou verificar")
    town.changes("chat", talk, message_type="note", type="admin", body="/escalar cliente sem acesso")
    town.settle()
    [case] = town.found("support")
    assert (talk, f"https://acme.freshdesk.com/a/tickets/{case['id']}", deal) == (TALK, CASE, "deal:1003")
    town.changes("support", case["id"], comment={"body": f"Negócio: {LINK}", "private": True})
    town.settle()
    town.changes("support", case["id"], comment={"body": "Pode tentar de novo?"})
    town.settle()
    town.changes("desk", order, comment={"body": "Liberado no sistema", "agent": True})
    town.settle()
    town.changes("crm", deal, comment="Renovação em março")
    town.settle()
    town.changes("chat", talk, message_type="comment", type="user", body="Agora funcionou")
    town.changes("chat", talk, message_type="close", type="admin")
    town.settle()
    town.changes("support", case["id"], status=4)
    town.settle()


def ended_well(town: Desks) -> None:
    """Everything was said once; all of ours came back and led to nothing."""
    for name, said in SAID.items():
        assert sorted(town.said(name)) == sorted(said), name
    [talk], [case], [deal], [order] = (town.found(name) for name in VENDORS)
    assert (talk["state"], talk["team_assignee_id"], _names(talk["tags"]["tags"])) == (
        "open", 802, {"financeiro", "resolvido-suporte"},
    )  # fmt: skip
    assert (case["status"], case["group_id"], case["custom_fields"]["cf_order"]) == (4, 8001, LINK)
    assert [value["value"] for value in order["customFieldValues"]] == [LINK]
    assert deal["ref"] == "deal:1003"

    decided, done = rows(town.gateway, events), rows(town.gateway, actions)
    assert {row.state for row in rows(town.gateway, deliveries)} == {"decided"}
    assert {row.state for row in done} == {"done"}
    assert rows(town.gateway, incidents) == []
    on_tickets = [row for row in decided if row.ticket_id and row.kind != "ticket.updated"]
    assert Counter((row.connection, row.kind) for row in on_tickets if not row.ours) == DEEDS
    for row in decided:
        answers = [answer["rule"] for answer in row.decisions if answer.get("acted")]
        assert not [answer for answer in row.decisions if answer.get("error")]
        assert not row.ours or answers == (["escalate"] if row.fact == f"exists:{case['id']}" else [])
    ours = sum(each.startswith("*Gateway:") for said in SAID.values() for each in said)
    assert sum(row.kind == "comment.created" and row.ours for row in decided) == ours


def _names(tags: list[dict[str, Any]]) -> set[str]:
    return {tag["name"] for tag in tags}


TIMELINE = "/rest/15/sandbox-secret/crm.timeline.comment.add"
WRITES = {
    ("chat", "POST", "/"): 9,
    ("support", "POST", "/"): 5,
    ("support", "PUT", "/"): 2,
    ("crm", "POST", TIMELINE): 4,
    ("desk", "PATCH", "/"): 3,
}
"""How often each desk is asked to write in the story, by where and how."""

ADDS: dict[str, tuple[Any, ...]] = {
    "chat": ("POST", 2), "support": ("POST", 0), "crm": ("POST", 0, TIMELINE), "desk": ("PATCH", 1),
}  # fmt: skip
"""Of each desk, a write that adds something and has no key: a note, the ticket, comments."""

ALL = tuple(VENDORS)
often = pytest.mark.slow


def silenced(town: Desks, name: str, method: str, skip: int, path: str = "/", **how: Any) -> None:
    """The desk does what it is asked for, and then breaks the connection instead of saying so."""
    town.misbehaves(name, kind="drop", method=method, skip=skip, path=path, **{"times": 1, **how})


def asked(town: Desks, name: str, method: str, path: str) -> int:
    return sum(call["method"] == method and call["path"].startswith(path) for call in town.calls(name))


def dropped(town: Desks) -> dict[str, int]:
    return {name: sum(call["status"] == 0 for call in town.calls(name)) for name in VENDORS}


@pytest.mark.parametrize(
    ("silent", "copies"),
    [
        *(((), copies) for copies in (1, 2)),
        *((ALL, copies) for copies in (1, 2)),
        *(((name,), 1) for name in VENDORS),
        *(pytest.param((name,), 2, marks=often) for name in VENDORS),
    ],
)
def test_everything_is_told_once(gateway: Runtime, silent: tuple[str, ...], copies: int) -> None:
    """:param silent: the desks that keep an answer to themselves
    :param copies: how often each webhook is delivered"""
    with desks(gateway, copies=copies) as town:
        for name in silent:
            silenced(town, name, *ADDS[name])
        told(town)
        ended_well(town)
        assert dropped(town) == {name: int(name in silent) for name in VENDORS}


def test_a_look_for_lost_webhooks_finds_nothing_that_was_not_told(gateway: Runtime) -> None:
    with desks(gateway) as town:
        told(town)
        assert {place: asked(town, *place) for place in WRITES} == WRITES
        jobs.become_worker(gateway)
        for name in VENDORS:
            jobs.reconcile("acme", name)
        town.settle()
        ended_well(town)
        looks = rows(gateway, reconciliations)
        assert {row.connection: (row.missed, row.error) for row in looks} == dict.fromkeys(VENDORS, (0, None))


@often
@pytest.mark.parametrize(
    ("name", "method", "path", "number"),
    [(*place, number) for place, most in WRITES.items() for number in range(most)],
)
def test_whichever_answer_is_lost(gateway: Runtime, name: str, method: str, path: str, number: int) -> None:
    with desks(gateway) as town:
        silenced(town, name, method, number, path)
        told(town)
        ended_well(town)
        assert dropped(town) == {each: int(each == name) for each in VENDORS}


@often
@pytest.mark.parametrize(("seed", "workers"), [*((seed, 0) for seed in range(6)), (6, 2), (7, 2)])
def test_many_answers_are_lost(gateway: Runtime, seed: int, workers: int) -> None:
    with desks(gateway, copies=2, workers=workers) as town:
        for number, (name, method, _) in enumerate(WRITES):
            silenced(town, name, method, 0, times=None, share=0.3, seed=10 * seed + number)
        told(town)
        ended_well(town)
        assert sum(dropped(town).values()) > 3


@often
@pytest.mark.parametrize("silent", [(), ALL])
def test_by_two_processes_at_once(gateway: Runtime, silent: tuple[str, ...]) -> None:
    with desks(gateway, copies=2, workers=2) as town:
        for name in silent:
            silenced(town, name, *ADDS[name])
        told(town)
        ended_well(town)
        assert dropped(town) == {name: int(name in silent) for name in VENDORS}
