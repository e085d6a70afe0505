"""Does a scope admit the tickets it names, and say in the admin's language why it leaves out the others?"""

import pytest
from pydantic import ValidationError

from gateway.api import Choice, Scope, Ticket, TicketKind, TicketRef, folded

TICKET = Ticket(
    ref=TicketRef("movidesk", "7"),
    kind=TicketKind.TICKET,
    team="Gestão",
    tags=frozenset({"core", "Onboarding"}),
    channel="e-mail",
)


def scope(**settings) -> Scope:
    return Scope.model_validate(settings)


def test_an_open_scope_admits_everything():
    assert Scope().admits(TICKET) is None
    assert Choice().is_open


@pytest.mark.parametrize(
    "settings",
    [
        {"tags": {"any": ["outra", "CORE"]}},
        {"tags": {"all": ["core", "onboarding"]}},
        {"tags": {"not": ["teste"]}},
        {"tags": {"any": ["core"], "all": ["onboarding"], "not": ["teste"]}},
        {"teams": ["gestao"]},
        {"connections": "movidesk", "kinds": "ticket", "channels": ["E-Mail"]},
    ],
)
def test_a_ticket_within_is_admitted_without_regard_to_accents_and_case(settings):
    assert scope(**settings).admits(TICKET) is None


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"tags": ["vip", "ouro"]}, "fora do escopo (tags): nenhum de: vip, ouro"),
        ({"tags": {"all": ["core", "vip"]}}, "fora do escopo (tags): falta: vip"),
        ({"tags": {"not": ["CORE"]}}, "fora do escopo (tags): não pode ser: CORE"),
        ({"connections": ["zendesk"]}, "fora do escopo (conexão): nenhum de: zendesk"),
        ({"kinds": ["task"]}, "fora do escopo (tipo): nenhum de: task"),
        ({"teams": {"not": ["GESTAO"]}}, "fora do escopo (equipe): não pode ser: GESTAO"),
        ({"channels": ["chat"]}, "fora do escopo (canal): nenhum de: chat"),
    ],
)
def test_a_ticket_outside_is_left_out_with_the_reason(settings, reason):
    assert scope(**settings).admits(TICKET) == reason


def test_the_reason_is_in_the_tenants_language_and_in_portuguese_for_one_we_do_not_know():
    limited = scope(tags=["vip"])
    assert limited.admits(TICKET, locale="en") == "out of scope (tags): none of: vip"
    assert limited.admits(TICKET, locale="fr") == limited.admits(TICKET)


@pytest.mark.parametrize("settings", [{"tags": ["core"]}, {"teams": ["GR"]}, {"channels": {"all": ["chat"]}}])
def test_what_is_not_known_yet_is_held_against_a_ticket_only_when_it_is_known_in_full(settings):
    unknown = Ticket(ref=TicketRef("movidesk", "7"))
    assert scope(**settings).admits(unknown, partial=True) is None
    assert scope(**settings).admits(unknown) is not None


def test_what_is_known_of_a_partial_ticket_counts():
    known = Ticket(ref=TicketRef("movidesk", "7"), tags=frozenset())
    assert scope(tags=["core"]).admits(known, partial=True) is not None
    assert scope(connections=["zendesk"]).admits(known, partial=True) is not None


def test_an_unset_team_is_not_an_unwanted_one():
    assert scope(teams={"not": ["GR"]}).admits(Ticket(ref=TicketRef("movidesk", "7"))) is None


def test_settings_survive_being_stored():
    limited = scope(tags={"any": ["core"], "not": ["teste"]}, kinds="task")
    assert Scope.model_validate(limited.model_dump(mode="json")) == limited
    assert Scope.model_validate(limited.model_dump(mode="json", by_alias=True)) == limited


@pytest.mark.parametrize(
    "settings",
    [{"tag": ["core"]}, {"tags": {"some": ["core"]}}, {"kinds": ["email"]}, {"tags": 3}, {"tags": [1]}],
)
def test_a_mistake_is_refused_when_saved(settings):
    with pytest.raises(ValidationError):
        scope(**settings)


def test_words_are_compared_without_accents_case_and_outer_spaces():
    assert folded("  Agéndadô ") == "agendado"


def test_tags_are_compared_as_the_desk_spells_them():
    scope = Scope(tags=Choice(any=("#Novo Cliente",)))
    ticket = Ticket(ref=TicketRef("desk", "1"), tags=frozenset({"novo_cliente"}))
    assert scope.admits(ticket, locale="en") == "out of scope (tags): none of: #Novo Cliente"
    assert scope.admits(ticket, spell=lambda tag: tag.lower().replace(" ", "_").strip("#")) is None
