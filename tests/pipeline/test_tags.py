"""A tag is stored, sent and recognised as its desk keeps it."""

from typing import Any

import pytest
from gateway_plugins import freshdesk, zendesk
from tests_town import NOW, arrive, rows, rule, run, settle_in, town

from gateway.api import (
    AddTags,
    Comment,
    Connection,
    CreateTicket,
    Facts,
    LinkTickets,
    RemoveTags,
    Skip,
    Tenant,
    Ticket,
    TicketCreated,
    TicketRef,
    TicketUpdated,
    hookimpl,
)
from gateway.pipeline.tags import speller
from gateway.registry import assemble
from gateway.runtime import Runtime
from gateway.store.tables import actions, events

REF = TicketRef("desk", "7")


@hookimpl
def spell_tag(tag: str) -> str:
    return tag.lower().replace(" ", "_").replace("#", "")


def test_a_vendor_without_the_hook_keeps_tags_as_they_are_typed():
    registry = assemble({"plain": town(), "spelling": town(spell_tag=spell_tag)}, {})
    settings: Any = None
    spell = speller(
        registry,
        {"a": Connection("acme", "a", "plain", settings), "b": Connection("acme", "b", "spelling", settings)},
    )
    assert spell("a", " #Novo  Cliente ") == "#Novo Cliente"
    assert spell("b", "#Novo  Cliente") == "novo_cliente"
    assert spell("gone", "#Novo Cliente") == "#Novo Cliente"


def test_zendesk_keeps_lower_case_and_few_signs():
    assert zendesk.spell_tag(tag="#venda/tratativas com contato") == "venda/tratativas_com_contato"
    assert zendesk.spell_tag(tag="#Onboarding 1º contato!") == "onboarding_1º_contato"


def test_freshdesk_keeps_signs_but_no_comma_and_no_more_than_32_characters():
    assert freshdesk.spell_tag(tag="#venda/tratativas com contato") == "#venda/tratativas com contato"
    assert freshdesk.spell_tag(tag="a, b" + "c" * 40) == "a b" + "c" * 29


def test_every_action_with_tags_is_stored_as_the_desk_spells_them(gateway: Runtime) -> None:
    def tagging(event: Any, facts: Any) -> Any:
        yield AddTags(ticket=REF, tags=("#Novo Cliente", "novo cliente", "#"), reason="-")
        yield RemoveTags(ticket=REF, tags=("#Velho",), reason="-")
        new = {"subject": "s", "description": "d", "tags": ("#A B",), "reason": "-"}
        yield CreateTicket(connection="desk", key="k", **new)

    settle_in(gateway, vendor=town(spell_tag=spell_tag), rules={"tagging": rule("tagging", tagging)})
    created = TicketCreated(id="c", occurred_at=NOW, ticket=Ticket(ref=REF))
    run(gateway, arrive(gateway, created, subject="7"))
    assert [row.body["tags"] for row in rows(gateway, actions)] == [["novo_cliente"], ["velho"], ["a_b"]]


def test_a_rule_knows_its_own_tag_again_when_it_comes_back_spelled_otherwise(gateway: Runtime) -> None:
    def tagging(event: Any, facts: Facts) -> Any:
        if worn := facts.tagged(facts.ticket, "#Novo Cliente"):  # type: ignore[arg-type]
            yield Skip(reason=worn)
        else:
            yield AddTags(ticket=REF, tags=("#Novo Cliente",), reason="-")

    settle_in(gateway, vendor=town(spell_tag=spell_tag), rules={"tagging": rule("tagging", tagging)})
    run(gateway, arrive(gateway, TicketCreated(id="c", occurred_at=NOW, ticket=Ticket(ref=REF)), subject="7"))
    told = Ticket(ref=REF, tags=frozenset({"novo_cliente"}))
    run(gateway, arrive(gateway, TicketUpdated(id="u", occurred_at=NOW, ticket=told), subject="7"))
    assert len(rows(gateway, actions)) == 1
    assert rows(gateway, events)[1].decisions == [{"rule": "tagging", "skipped": ["novo_cliente"]}]


def test_without_a_speller_tags_are_compared_without_accents_and_case():
    facts = Facts(tenant=Tenant(id="acme", name="Acme"), now=NOW)
    ticket = Ticket(ref=REF, tags=frozenset({"Reclamação"}))
    assert facts.tagged(ticket, "reclamacao") == "Reclamação"
    assert facts.tagged(ticket, "outra") is None


def test_what_was_done_and_said_on_linked_tickets_is_a_fact(gateway: Runtime) -> None:
    seen: list[Facts] = []
    twin = TicketRef("desk", "8")

    def linking(event: Any, facts: Facts) -> Any:
        seen.append(facts)
        if event.id == "c":
            yield LinkTickets(left=str(REF), right=str(twin), reason="-")
            yield AddTags(ticket=twin, tags=("x",), reason="-")

    settle_in(gateway, rules={"linking": rule("linking", linking)})
    comment = Comment(id="1", body="oi", created_at=NOW)
    first = TicketCreated(
        id="t", occurred_at=NOW, ticket=Ticket(ref=twin), comments=(comment,), complete=True
    )
    run(gateway, arrive(gateway, first, subject="8"))
    for fact in "c", "d":
        event = TicketUpdated(id=fact, occurred_at=NOW, ticket=Ticket(ref=REF))
        run(gateway, arrive(gateway, event, subject="7"))
    assert seen[-1].linked_comments == {twin: (comment,)}
    assert [entry.action.tags for entry in seen[-1].linked_past[twin]] == [("x",)]


@pytest.mark.parametrize("tag", ["Sem Telefone!", "sem-telefone"])
def test_a_rule_takes_its_mark_back_whatever_a_real_desk_made_of_it(acme: Any, tag: str) -> None:
    acme.configure(require_phone={"missing_tag": tag, "scope": {"tags": ["#Core"]}})
    opened = acme.opens({"subject": "Boleto", "tags": ["core"], "description": "Oi"})

    def told(kind: str, change: dict[str, Any]) -> None:
        (known,) = [each for each in acme.tickets if each["id"] == opened["id"]]
        id_ = acme.notice(known, kind, change)
        acme.decide(id_)
        acme.collect(id_)
        acme.decide(id_)
        acme.execute()

    told("created", {})
    (ticket,) = acme.tickets
    assert set(ticket["tags"]) == {"core", zendesk.spell_tag(tag=tag)}
    told("subject_changed", {"previous": "a", "current": "Boleto"})
    assert len(acme.rows(actions)) == 2, "known again, not set twice"
    who = {"id": "70001", "name": "Ana", "is_staff": False}
    said = {"id": "990001", "body": "Ligue (11) 3555-0101", "is_public": True, "author": who}
    told("comment_added", {"comment": said})
    (ticket,) = acme.tickets
    assert ticket["tags"] == ["core"]
