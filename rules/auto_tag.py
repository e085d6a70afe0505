"""Tags make communication objective, so those that can be known are set by themselves.

Each entry of the settings says what must hold of a ticket, or be said on it, and which tags follow. The newest
words decide. A tag whose reason is gone is taken back; what people set or take off by hand stays so.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gateway.api import (
    Action,
    AddTags,
    Choice,
    CommentCreated,
    CreateTicket,
    Event,
    Facts,
    RemoveTags,
    RuleInfo,
    RuleSettings,
    Scope,
    Skip,
    Ticket,
    TicketAssigned,
    TicketCreated,
    TicketStatusChanged,
    TicketTagged,
    TicketUpdated,
    Wording,
    by_agent,
    folded,
    hookimpl,
)

NAME = "auto_tag"
HEARD = (TicketCreated, TicketUpdated, TicketTagged, TicketStatusChanged, TicketAssigned, CommentCreated)

INFO = RuleInfo(
    title={"pt-BR": "Tags automáticas", "en": "Automatic tags"},
    description={
        "pt-BR": "Põe e tira as tags que dá para saber pelo que foi dito no chamado, pelo canal, plano, segmento, "
        "equipe e status. O que alguém põe ou tira à mão fica como está.",
        "en": "Sets and removes the tags that follow from what was said on the ticket, its channel, plan, segment, "
        "team and status. What somebody sets or removes by hand stays as it is.",
    },
    enabled=True,
)

REASONS = {
    "pt-BR": {
        "gone": "o chamado foi excluído ou mesclado",
        "none": "nenhuma entrada se aplica a este chamado",
        "there": "as tags já estão no chamado: {tags}",
        "by_hand": "a tag {tag} já foi posta por esta regra e alguém a tirou",
        "kept": "a tag {tag} não foi posta por esta regra; fica como está",
        "slow": "o padrão {pattern} demorou demais e foi interrompido (entrada {entry})",
        "said": "entrada {entry}, por {words} ({where})",
        "holds": "entrada {entry}, pela situação do chamado",
        "over": "{tag}: o motivo deixou de existir",
        "subject": "assunto", "customer": "texto do cliente", "agent": "texto do agente",
    },
    "en": {
        "gone": "the ticket was deleted or merged",
        "none": "no entry fits this ticket",
        "there": "the tags are on the ticket already: {tags}",
        "by_hand": "this rule set the tag {tag} before and somebody took it off",
        "kept": "this rule did not set the tag {tag}; it stays as it is",
        "slow": "the pattern {pattern} took too long and was cut off (entry {entry})",
        "said": "entry {entry}, by {words} ({where})",
        "holds": "entry {entry}, by what the ticket is",
        "over": "{tag}: its reason is gone",
        "subject": "subject", "customer": "the customer's text", "agent": "an agent's text",
    },
}  # fmt: skip

Place = Literal["subject", "customer", "agent"]
Tag = Annotated[str, Field(min_length=1, max_length=100)]


class Entry(BaseModel):
    """Tags to add and to remove when everything holds; what is left open asks for nothing.

    `words` are looked for in each text at `places` by itself. `statuses` are ours or the desk's own labels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = ""
    words: Wording = Wording()
    places: tuple[Place, ...] = Field(("subject", "customer"), min_length=1)
    channels: Choice[str] = Choice()
    plans: Choice[str] = Choice()
    segments: Choice[str] = Choice()
    teams: Choice[str] = Choice()
    statuses: Choice[str] = Choice()
    add: tuple[Tag, ...] = ()
    remove: tuple[Tag, ...] = ()

    @model_validator(mode="after")
    def _useful(self) -> "Entry":
        if not (self.add or self.remove):
            raise ValueError("says no tag to add or remove")
        if both := {folded(tag) for tag in self.add} & {folded(tag) for tag in self.remove}:
            raise ValueError(f"adds and removes the same tag: {', '.join(sorted(both))}")
        conditions = (self.words, self.channels, self.plans, self.segments, self.teams, self.statuses)
        if all(condition.is_open for condition in conditions):
            raise ValueError(
                "says nothing that must hold: give words, channels, plans, segments, teams or statuses"
            )
        return self

    @property
    def label(self) -> str:
        return self.name or (*self.add, *self.remove)[0]


SALES, ONBOARDING = ["Vendas", "Comercial", "Sales"], ["Onboarding", "Implantação", "GR"]
REACHED = [
    "falei com", "conversei com", "consegui contato", "consegui falar", "contato realizado", "cliente atendeu",
    "cliente retornou", "cliente respondeu", "em contato com o cliente",
]  # fmt: skip
UNREACHED = [
    "sem contato", "não atende", "não atendeu", "não consegui contato", "não consegui falar", "não falei com",
    "caixa postal", "sem retorno", "não retornou", "não respondeu", "tentativa de contato",
]  # fmt: skip
MET, UNMET = {"any": REACHED, "not": UNREACHED}, {"any": UNREACHED}
TALKED, UNTALKED = "#venda/tratativas com contato", "#venda/tratativas sem contato"
ENTRIES = tuple(map(Entry.model_validate, (
    {"words": MET, "places": ["agent"], "teams": SALES, "add": [TALKED], "remove": [UNTALKED]},
    {"words": UNMET, "places": ["agent"], "teams": SALES, "add": [UNTALKED], "remove": [TALKED]},
    {"words": UNMET, "places": ["agent"], "teams": {"not": SALES}, "add": ["#tratativas sem contato"]},
    {"name": "contato feito", "words": MET, "places": ["agent"], "remove": ["#tratativas sem contato"]},
    {
        "words": ["primeiro contato", "1º contato", "boas-vindas", "bem-vindo", "bem-vinda"],
        "places": ["agent"], "teams": ONBOARDING, "add": ["#onboarding 1º contato"],
    },
    {"teams": ["Suporte", "Support"], "add": ["#suporte"]},
    {
        "words": [
            "boleto", "boletos", "fatura", "faturas", "nota fiscal", "mensalidade", "cobrança", "reembolso", "estorno",
            "segunda via", "2ª via",
        ],
        "add": ["financeiro"],
    },
    {
        "words": [
            "cancelamento", "rescisão", "distrato", "encerrar o contrato", "encerrar meu contrato",
            "/cancel(ar|e|em|o|ando) .{0,30}(contrato|plano|assinatura|servico|conta)/",
        ],
        "add": ["cancelamento"],
    },
    {
        "words": [
            "como faço", "como fazer", "como funciona", "como posso", "não sei como", "onde encontro", "onde fica",
            "dúvida", "dúvidas", "passo a passo", "tutorial",
        ],
        "add": ["duvida-de-uso"],
    },
    {
        "words": [
            "reclamação", "reclamar", "péssimo", "péssima", "horrível", "absurdo", "insatisfeito", "insatisfeita",
            "inaceitável", "descaso", "falta de respeito", "procon", "reclame aqui",
        ],
        "add": ["reclamacao"],
    },
)))  # fmt: skip


class Settings(RuleSettings):
    """Words are compared without accents and case, as whole words; `/a pattern/` stands between slashes."""

    scope: Scope = Scope()
    entries: tuple[Entry, ...] = Field(ENTRIES, max_length=200, description="the newest words decide")


Answers = Iterator[Action | Skip]


@dataclass(frozen=True, slots=True)
class Claim:
    """What an entry wants of its tags, and why. `told` is the comment that says so, "" the ticket's own text, None
    what the ticket is; of two claims on a tag the one with the later `moment` counts."""

    moment: float
    why: str
    told: str | None = None
    adds: bool = True


@dataclass(frozen=True, slots=True)
class Reading:
    """What all entries together say: the claim on each tag, tags that cannot be judged, and slow patterns."""

    claims: dict[str, Claim] = field(default_factory=dict)
    unsure: set[str] = field(default_factory=set)
    slow: list[str] = field(default_factory=list)


@hookimpl
def on_event(event: Event, facts: Facts) -> Answers:
    ticket = facts.ticket
    if not isinstance(event, HEARD) or ticket is None:
        return
    if outside := facts.outside(facts.settings.scope, ticket):
        yield Skip(reason=outside)
    elif ticket.deleted or ticket.merged_into:
        yield Skip(reason=_why(facts, "gone"))
    else:
        yield from tagged(event, ticket, facts)


def tagged(event: Event, ticket: Ticket, facts: Facts) -> Answers:
    reading = read(event, ticket, facts)
    marks = _marks(facts)
    new = event.comment.id if isinstance(event, CommentCreated) else ""
    brings = isinstance(event, CommentCreated | TicketCreated)
    add: dict[str, str] = {}
    remove: dict[str, str] = {}
    there, left = [], list(reading.slow)
    for tag in dict.fromkeys(tag for entry in facts.settings.entries for tag in (*entry.add, *entry.remove)):
        claim, worn = reading.claims.get(tag), facts.tagged(ticket, tag)
        mark = marks.get(folded(facts.spelled(ticket.ref.connection, tag)))
        if claim is not None and claim.adds:
            if worn:
                there.append(tag)
            elif mark is AddTags:
                left.append(_why(facts, "by_hand", tag=tag))
            else:
                add[tag] = f"{tag}: {claim.why}"
        elif worn and claim is not None:
            fresh = mark is None if claim.told is None else brings and claim.told == new
            if fresh or mark is AddTags:
                remove[worn] = f"{tag}: {claim.why}"
            else:
                left.append(_why(facts, "kept", tag=tag))
        elif worn and mark is AddTags and tag not in reading.unsure:
            remove[worn] = _why(facts, "over", tag=tag)
    if add:
        yield AddTags(ticket=ticket.ref, tags=tuple(add), reason="; ".join(add.values()))
    if remove:
        yield RemoveTags(ticket=ticket.ref, tags=tuple(remove), reason="; ".join(remove.values()))
    if there and not (add or remove):
        left.append(_why(facts, "there", tags=", ".join(there)))
    for reason in left:
        yield Skip(reason=reason)
    if not (add or remove or left):
        yield Skip(reason=_why(facts, "none"))


def read(event: Event, ticket: Ticket, facts: Facts) -> Reading:
    """Every entry asked; on each tag the newest claim, and of equals the one further down the list."""
    reading, texts = Reading(), list(_texts(event, ticket, facts))
    for entry in facts.settings.entries:
        holds = _holds(entry, ticket, facts)
        try:
            claim = _claim(entry, texts, facts) if holds else None
        except TimeoutError as error:
            reading.slow.append(_why(facts, "slow", pattern=error, entry=entry.label))
            holds = None
        if holds is None:
            reading.unsure.update(entry.add)
        elif claim is not None:
            for tags, adds in ((entry.add, True), (entry.remove, False)):
                for tag in tags:
                    if tag not in reading.claims or reading.claims[tag].moment <= claim.moment:
                        reading.claims[tag] = replace(claim, adds=adds)
    return reading


def _texts(event: Event, ticket: Ticket, facts: Facts) -> Iterator[tuple[int, Place, str, str]]:
    """When, where, what and by which comment: all that people wrote on the ticket, oldest first."""
    if not any(isinstance(entry.action, CreateTicket) for entry in facts.past):
        yield -2, "subject", ticket.subject or "", ""
        yield -1, "customer", ticket.description or "", ""
    for moment, comment in enumerate(facts.said(event)):
        yield moment, "agent" if by_agent(comment) else "customer", comment.body, comment.id


def _holds(entry: Entry, ticket: Ticket, facts: Facts) -> bool | None:
    """Whether the ticket is what the entry asks for; None where that is not known yet."""
    customer, known = facts.customer, ticket.model_fields_set
    facets: Iterable[tuple[Choice[str], bool, tuple[str | None, ...]]] = (
        (entry.channels, "channel" in known, (ticket.channel,)),
        (entry.teams, "team" in known, (ticket.team,)),
        (entry.statuses, "status" in known, (ticket.status, ticket.remote_status)),
        (entry.plans, customer is not None, (customer.plan if customer else None,)),
        (entry.segments, customer is not None, (customer.segment if customer else None,)),
    )
    asked = [facet for facet in facets if not facet[0].is_open]
    if any(sure and choice.misses(filter(None, words)) for choice, sure, words in asked):
        return False
    return True if all(sure for _, sure, _ in asked) else None


def _claim(entry: Entry, texts: list[tuple[int, Place, str, str]], facts: Facts) -> Claim | None:
    """By the newest text that fits; without words, by what the ticket is, which is newer than any text."""
    if entry.words.is_open:
        return Claim(float("inf"), _why(facts, "holds", entry=entry.label))
    for moment, place, text, told in reversed(texts):
        if place in entry.places and (found := entry.words.found_in(text)) is not None:
            words = ", ".join(f'"{term}"' for term in found)
            where = _why(facts, place)
            return Claim(moment, _why(facts, "said", entry=entry.label, words=words, where=where), told)
    return None


def _marks(facts: Facts) -> dict[str, type[Action]]:
    """By tag, what this rule did with it last on this ticket."""
    return {
        folded(tag): type(entry.action)
        for entry in facts.past
        if entry.rule == NAME and isinstance(entry.action, AddTags | RemoveTags)
        for tag in entry.action.tags
    }


def _why(facts: Facts, key: str, **words: object) -> str:
    return REASONS.get(facts.tenant.locale, REASONS["pt-BR"])[key].format(**words)
