"""Do the tags follow from what was said and what the ticket is, and do people's own tags stay theirs?"""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from gateway_rules import auto_tag as rule
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.api import (
    Action,
    AddComment,
    AddTags,
    Comment,
    CommentCreated,
    Contact,
    ContactUpdated,
    CreateTicket,
    Customer,
    Facts,
    Past,
    Person,
    RemoveTags,
    Skip,
    Status,
    Tenant,
    Ticket,
    TicketCreated,
    TicketRef,
    TicketTagged,
    TicketUpdated,
)

NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
REF = TicketRef("desk", "7")
WITH, WITHOUT = "#venda/tratativas com contato", "#venda/tratativas sem contato"


def ticket(*tags: str, **fields: Any) -> Ticket:
    return Ticket(ref=REF, tags=frozenset(tags), **{"status": Status.OPEN, "team": None, **fields})


def comment(id_: str, body: str, *, agent: bool = False) -> Comment:
    author = Person(id="a" if agent else "c", is_agent=agent)
    return Comment(id=id_, body=body, author=author, created_at=NOW + timedelta(minutes=int(id_)))


def looked(
    known: Ticket, *comments: Comment, by: Any = TicketUpdated, locale: str = "en", **given_facts: Any
):
    """What the rule answers to an event: about the last comment, or of kind `by`."""
    if comments and by is TicketUpdated:
        event: Any = CommentCreated(id="e", occurred_at=NOW, ticket=known, comment=comments[-1])
    else:
        event = by(id="e", occurred_at=NOW, ticket=known)
    entries = given_facts.pop("entries", None)
    settings = rule.Settings(**({"entries": entries} if entries else {}), **given_facts.pop("settings", {}))
    facts = Facts(
        tenant=Tenant(id="acme", name="Acme", locale=locale), now=NOW, settings=settings, ticket=known,
        comments=comments, complete=True, **given_facts,
    )  # fmt: skip
    first = list(rule.on_event(event, facts))
    assert first == list(rule.on_event(event, facts)), "same event and facts, same answer"
    return first


def past(*actions: Action, by: str = "auto_tag") -> tuple[Past, ...]:
    return tuple(Past(rule=by, action=action, state="done", decided_at=NOW) for action in actions)


def added(*tags: str) -> AddTags:
    return AddTags(ticket=REF, tags=tags, reason="-")


def removed(*tags: str) -> RemoveTags:
    return RemoveTags(ticket=REF, tags=tags, reason="-")


def short(answers: list[Any]) -> list[Any]:
    """Tags with + or -, reasons of skips as they are."""
    signs = {AddTags: "+", RemoveTags: "-"}
    return [
        a.reason if isinstance(a, Skip) else signs[type(a)] + ", ".join(a.tags) for a in answers
    ]  # fmt: skip


# --- the entries as shipped -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("Preciso da segunda via do boleto", "financeiro"),
        ("quero a 2ª VIA", "financeiro"),
        ("Recebi COBRANCA em dobro", "financeiro"),
        ("Gostaria de cancelar o meu plano", "cancelamento"),
        ("Solicito o cancelamento.", "cancelamento"),
        ("Por favor, cancelem nossa assinatura", "cancelamento"),
        ("Como faço para emitir o relatório?", "duvida-de-uso"),
        ("tenho uma duvida", "duvida-de-uso"),
        ("Atendimento péssimo, vou ao Procon!", "reclamacao"),
    ],
)
@pytest.mark.parametrize("where", ["subject", "description", "comment"])
def test_what_a_customer_says_gives_the_tag(text, tag, where):
    if where == "comment":
        answers = looked(ticket(), comment("1", text))
    else:
        answers = looked(ticket(**{where: text}), by=TicketCreated)
    assert short(answers) == [f"+{tag}"]


@pytest.mark.parametrize(
    "text", ["Bom dia", "Quero cancelar a reunião de amanhã", "boletim escolar", "A viagem foi boa"]
)
def test_other_words_give_nothing(text):
    assert short(looked(ticket(), comment("1", text))) == ["no entry fits this ticket"]


def test_what_an_agent_says_is_not_the_customers():
    assert short(looked(ticket(), comment("1", "Segue o boleto", agent=True))) == [
        "no entry fits this ticket"
    ]


def test_sales_contact_made_and_not_made_take_turns_and_the_newest_words_decide():
    sold = ticket(team="Vendas")
    missed, met = comment("1", "Cliente não atendeu", agent=True), comment("2", "Falei com a Ana", agent=True)
    assert short(looked(sold, missed)) == [f"+{WITHOUT}"]
    worn = ticket(WITHOUT, team="Vendas")
    answers = looked(worn, missed, met, past=past(added(WITHOUT)))
    assert short(answers) == [f"+{WITH}", f"-{WITHOUT}"]
    assert answers[0].reason == f'{WITH}: entry {WITH}, by "falei com" (an agent\'s text)'
    assert short(looked(sold, met, missed, by=TicketTagged)) == [f"+{WITHOUT}"], (
        "order is that of the comments"
    )


def test_denied_contact_is_no_contact():
    answers = looked(ticket(team="Vendas"), comment("1", "Ainda não consegui contato com ele", agent=True))
    assert short(answers) == [f"+{WITHOUT}"]


def test_without_contact_elsewhere_is_another_tag_and_contact_takes_it_back():
    missed, met = (
        comment("1", "Caixa postal", agent=True),
        comment("2", "Conversei com o cliente", agent=True),
    )
    assert short(looked(ticket(team="Suporte N2"), missed)) == ["+#tratativas sem contato"]
    worn = ticket("#tratativas sem contato")
    assert short(looked(worn, missed, met)) == ["-#tratativas sem contato"], (
        "also one that somebody set by hand"
    )


def test_onboarding_and_support():
    hello = comment("1", "Seja bem-vindo! Este é o nosso 1º contato.", agent=True)
    assert short(looked(ticket(team="implantacao"), hello)) == ["+#onboarding 1º contato"]
    assert short(looked(ticket(team="Suporte"))) == ["+#suporte"]


# --- any entry ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "known", "other"),
    [
        ({"channels": ["chat"]}, {"channel": "Chat"}, {"channel": "email"}),
        ({"teams": {"not": ["N2"]}}, {"team": "N1"}, {"team": "N2"}),
        ({"statuses": ["resolved"]}, {"status": Status.RESOLVED}, {"status": Status.OPEN}),
        (
            {"statuses": ["Aguardando peça"]},
            {"remote_status": "aguardando peca"},
            {"remote_status": "Aberto"},
        ),
    ],
)
def test_what_the_ticket_is(condition, known, other):
    entries = [{**condition, "add": ["x"]}]
    (answer,) = looked(ticket(**known), entries=entries)
    assert (answer.tags, answer.reason) == (("x",), "x: entry x, by what the ticket is")
    assert short(looked(ticket(**other), entries=entries)) == ["no entry fits this ticket"]


@pytest.mark.parametrize(("condition", "field"), [("plans", "plan"), ("segments", "segment")])
def test_what_the_customer_is(condition, field):
    entries = [{condition: ["Enterprise"], "add": ["vip"]}]
    assert short(looked(ticket(), entries=entries, customer=Customer(**{field: "enterprise"}))) == ["+vip"]
    assert short(looked(ticket(), entries=entries, customer=Customer(**{field: "ME"}))) == [
        "no entry fits this ticket"
    ]


def test_a_tag_whose_reason_is_gone_is_taken_back_if_this_rule_set_it():
    entries = [{"statuses": ["pending"], "add": ["espera"]}]
    own = past(added("espera"))
    (answer,) = looked(ticket("espera"), entries=entries, past=own)
    assert (answer.tags, answer.reason) == (("espera",), "espera: its reason is gone")
    assert short(looked(ticket("espera"), entries=entries)) == ["no entry fits this ticket"]
    assert short(looked(ticket("espera"), entries=entries, past=past(added("espera"), by="other"))) == [
        "no entry fits this ticket"
    ]
    again = looked(ticket(status=Status.PENDING), entries=entries, past=(*own, *past(removed("espera"))))
    assert short(again) == ["+espera"]


def test_what_is_not_known_yet_is_neither_set_nor_taken_back():
    entries = [{"channels": ["chat"], "add": ["chat"]}, {"plans": ["Pro"], "add": ["pro"]}]
    worn = ticket("chat", "pro")
    assert short(looked(worn, entries=entries, past=past(added("chat", "pro")))) == [
        "no entry fits this ticket"
    ]
    known = ticket("chat", channel="email")
    assert short(looked(known, entries=entries, past=past(added("chat", "pro")))) == ["-chat"]


def test_a_tag_that_is_there_is_not_set_again():
    assert short(looked(ticket("Financeiro"), comment("1", "boleto"))) == [
        "the tags are on the ticket already: financeiro"
    ]


def test_a_tag_that_somebody_took_off_stays_off():
    assert short(looked(ticket(), comment("1", "boleto"), past=past(added("financeiro")))) == [
        "this rule set the tag financeiro before and somebody took it off"
    ]


def test_a_tag_set_by_hand_after_the_words_that_remove_it_stays():
    met = comment("1", "Falei com o cliente", agent=True)
    worn = ticket("#tratativas sem contato")
    assert short(looked(worn, met, by=TicketTagged)) == [
        "this rule did not set the tag #tratativas sem contato; it stays as it is"
    ]


def test_a_state_that_removes_does_so_once():
    entries = [{"statuses": ["open"], "remove": ["x"]}]
    assert short(looked(ticket("X"), entries=entries)) == ["-X"], "as the ticket has it"
    assert short(looked(ticket("x"), entries=entries, past=past(removed("x")))) == [
        "this rule did not set the tag x; it stays as it is"
    ]


def test_words_of_the_ticket_itself_remove_only_when_it_is_opened():
    entries = [{"words": ["teste"], "remove": ["x"]}]
    known = ticket("x", subject="teste")
    assert short(looked(known, entries=entries, by=TicketCreated)) == ["-x"]
    assert short(looked(known, entries=entries, by=TicketTagged)) == [
        "this rule did not set the tag x; it stays as it is"
    ]


def test_of_equals_the_entry_further_down_decides():
    entries = [{"statuses": ["open"], "add": ["x"]}, {"statuses": ["open"], "remove": ["x"]}]
    assert short(looked(ticket(), entries=entries)) == ["no entry fits this ticket"]
    assert short(looked(ticket(), entries=entries[::-1])) == ["+x"]


def test_a_slow_pattern_is_cut_off_and_said_and_takes_nothing_back():
    entries = [{"name": "lenta", "words": ["/(a|a)*c?b/"], "add": ["x"]}, {"words": ["b"], "add": ["y"]}]
    slow = comment("1", "a" * 60 + " b")
    assert short(looked(ticket("x"), slow, entries=entries, past=past(added("x")))) == [
        "+y", "the pattern /(a|a)*c?b/ took too long and was cut off (entry lenta)",
    ]  # fmt: skip


def test_patterns_with_braces_are_shown_as_they_are():
    (answer,) = looked(ticket(), comment("1", "NF 123"), entries=[{"words": ["/nf \\d{3}/"], "add": ["nf"]}])
    assert answer.reason == 'nf: entry nf, by "/nf \\d{3}/" (the customer\'s text)'


def test_our_own_words_are_nobodys():
    note = AddComment(ticket=REF, body="Pague o boleto", reason="-")
    assert short(looked(ticket(), comment("1", "Pague o  boleto"), past=past(note))) == [
        "no entry fits this ticket"
    ]
    opened = CreateTicket(connection="desk", key="k", subject="boleto", description="boleto", reason="-")
    own = ticket(subject="boleto", description="boleto")
    assert short(looked(own, past=past(opened))) == ["no entry fits this ticket"]


def test_a_tag_that_the_desk_spells_otherwise_is_known_again():
    facts = {"spell_tag": lambda connection, tag: tag.lower().replace(" ", "_").replace("#", "")}
    assert short(looked(ticket("suporte", team="Suporte"), **facts)) == [
        "the tags are on the ticket already: #suporte"
    ]
    off = looked(ticket(team="Suporte"), past=past(added("suporte")), **facts)
    assert short(off) == ["this rule set the tag #suporte before and somebody took it off"]


def test_out_of_scope_gone_and_none_of_its_business():
    scope = {"scope": {"connections": ["chat"]}}
    assert short(looked(ticket(), settings=scope)) == ["out of scope (connection): none of: chat"]
    assert short(looked(ticket(deleted=True))) == ["the ticket was deleted or merged"]
    assert short(looked(ticket(merged_into="9"))) == ["the ticket was deleted or merged"]
    facts = Facts(tenant=Tenant(id="acme", name="Acme"), now=NOW, settings=rule.Settings())
    assert list(rule.on_event(ContactUpdated(id="e", occurred_at=NOW, contact=Contact(id="c")), facts)) == []


def test_reasons_are_there_in_both_languages():
    assert rule.REASONS["en"].keys() == rule.REASONS["pt-BR"].keys()
    assert rule.INFO.title.keys() == rule.INFO.description.keys() == {"pt-BR", "en"}
    assert rule.INFO.enabled
    (answer,) = looked(ticket(), comment("1", "boleto"), locale="pt-BR")
    assert answer.reason == 'financeiro: entrada financeiro, por "boleto" (texto do cliente)'
    assert short(looked(ticket(), locale="fr")) == ["nenhuma entrada se aplica a este chamado"]


def test_the_entries_of_the_procedure_are_shipped():
    assert {tag for entry in rule.Settings().entries for tag in entry.add} == {
        WITH, WITHOUT, "#tratativas sem contato", "#onboarding 1º contato", "#suporte", "financeiro",
        "cancelamento", "duvida-de-uso", "reclamacao",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"words": ["x"]}, "no tag to add or remove"),
        ({"add": ["x"]}, "nothing that must hold"),
        ({"words": ["x"], "add": ["Ação"], "remove": ["acao"]}, "adds and removes the same tag: acao"),
        ({"words": ["/(/"], "add": ["x"]}, "bad pattern"),
        ({"words": ["x"], "add": [""]}, "at least 1 character"),
        ({"words": ["x"], "add": ["x"], "places": []}, "at least 1 item"),
        ({"words": ["x"], "add": ["x"], "places": ["title"]}, "'subject', 'customer' or 'agent'"),
        ({"words": ["x"], "add": ["x"], "color": "red"}, "Extra inputs"),
    ],
)
def test_an_entry_that_cannot_work_is_refused_when_saved(entry, why):
    with pytest.raises(ValidationError, match=why):
        rule.Settings(entries=[entry])


def test_settings_survive_being_stored():
    settings = rule.Settings(entries=[{"words": {"any": ["a"], "not": ["b"]}, "teams": "N1", "add": ["x"]}])
    stored = settings.model_dump(mode="json", by_alias=True, exclude_unset=True)
    assert rule.Settings.model_validate(stored) == settings
    shipped = rule.Settings().model_dump(mode="json", by_alias=True)
    assert rule.Settings.model_validate(shipped) == rule.Settings()


WORDS = st.sampled_from(
    ["boleto", "falei com", "não atendeu", "bom dia", "como faço", "cancelar o plano", "péssimo"]
)
COMMENTS = st.lists(st.tuples(WORDS, st.booleans()), max_size=4)


@given(COMMENTS, st.sampled_from([None, "Vendas", "Suporte"]), st.sampled_from(["pt-BR", "en"]))
def test_once_it_has_acted_it_has_nothing_more_to_do(said, team, locale):
    comments = [comment(str(n), body, agent=agent) for n, (body, agent) in enumerate(said)]
    first = looked(ticket(team=team), *comments, locale=locale)
    tags = frozenset(tag for a in first if isinstance(a, AddTags) for tag in a.tags)
    own = past(*(a for a in first if isinstance(a, Action)))
    again = looked(ticket(*tags, team=team), *comments, locale=locale, past=own)
    assert [type(answer) for answer in again] == [Skip]
    assert all(answer.reason for answer in (*first, *again))
