"""Whoever first deals with a customer pastes the Bitrix24 link of the deal, task, chat or card, then and not later.

A link that is found is filed and tied, and the deal learns of the ticket. Where it is missing, the agent is told;
when it is still missing after a while of working time, the supervisors are, and a task or deal may be opened.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Literal

from pydantic import Field

from gateway.api import (
    Action,
    AddComment,
    AddTags,
    CancelTimer,
    Choice,
    Comment,
    CommentCreated,
    CreateTicket,
    Event,
    Facts,
    LinkTickets,
    Notify,
    Reference,
    RemoveTags,
    RuleInfo,
    RuleSettings,
    Scope,
    SetFields,
    Skip,
    StartTimer,
    Template,
    Ticket,
    TicketAssigned,
    TicketCreated,
    TicketKind,
    TicketStatusChanged,
    TicketTagged,
    TicketUpdated,
    TimerFired,
    by_agent,
    folded,
    hookimpl,
)

NAME = "require_bitrix_link"
HEARD = (TicketCreated, TicketUpdated, TicketTagged, TicketStatusChanged, TicketAssigned, CommentCreated)

INFO = RuleInfo(
    title={"pt-BR": "Link do Bitrix obrigatório", "en": "Bitrix link required"},
    description={
        "pt-BR": "Na primeira interação o agente cola o link do Bitrix24. O link vai para o campo, e o negócio ou "
        "tarefa recebe o endereço do chamado; se falta, o agente é avisado e, passado o prazo, a supervisão.",
        "en": "At the first interaction the agent pastes the Bitrix24 link. It goes to the field, and the deal or task "
        "gets the ticket's address; where it is missing, the agent is told and, after the deadline, the supervisors.",
    },
    enabled=True,
    hears_ours=True,  # to learn the address of what it opened at Bitrix24; it leaves all else of ours alone
)

TEXTS = {
    "pt-BR": {
        "note": "{{ agent or 'Equipe' }}, falta o link do Bitrix neste atendimento. Cole aqui, em um comentário, o "
        "link da conversa, tarefa, negócio ou cartão{% if mapped %}, ou preencha o campo {{ link_field }}{% endif %}. "
        "A tag {{ missing_tag }} sai sozinha. Prazo: {{ deadline_minutes }} minutos de expediente.",
        "backlink": "Atendimento ligado a este registro: {{ ticket.subject or ticket.ref.id }}\n"
        "{{ ticket.url or ticket.ref.id }}",
        "notice_title": "Atendimento sem link do Bitrix",
        "notice": "{{ agent or 'Um agente' }} atendeu e, passados {{ deadline_minutes }} minutos, ainda falta o link "
        "do Bitrix: {{ ticket.subject or ticket.ref.id }} {{ ticket.url or '' }}",
        "new_subject": "{{ ticket.subject or ticket.ref.id }}",
        "new_description": "Aberto porque o atendimento estava sem link do Bitrix.\n{{ ticket.url or ticket.ref.id }}",
        "opened": "O registro no Bitrix foi aberto: {{ url or number }}",
    },
    "en": {
        "note": "{{ agent or 'Team' }}, the Bitrix link is missing here. Paste the link of the conversation, task, "
        "deal or card in a comment{% if mapped %}, or fill in the field {{ link_field }}{% endif %}. The tag "
        "{{ missing_tag }} goes by itself. Deadline: {{ deadline_minutes }} minutes of working time.",
        "backlink": "Ticket tied to this record: {{ ticket.subject or ticket.ref.id }}\n"
        "{{ ticket.url or ticket.ref.id }}",
        "notice_title": "No Bitrix link on a ticket",
        "notice": "{{ agent or 'An agent' }} answered and after {{ deadline_minutes }} minutes the Bitrix link is "
        "still missing: {{ ticket.subject or ticket.ref.id }} {{ ticket.url or '' }}",
        "new_subject": "{{ ticket.subject or ticket.ref.id }}",
        "new_description": "Opened because the ticket had no Bitrix link.\n{{ ticket.url or ticket.ref.id }}",
        "opened": "The record at Bitrix was opened: {{ url or number }}",
    },
}

REASONS = {
    "pt-BR": {
        "no_connection": "a conexão {name!r} da regra não existe",
        "gone": "o chamado foi excluído ou mesclado",
        "waits": "nenhum agente escreveu ainda",
        "not_first": "não é a primeira interação de um agente",
        "told": "ainda falta o link do Bitrix, mas isso já foi avisado",
        "over": "falta o link do Bitrix, mas o chamado já está encerrado",
        "missing": "a primeira interação não tem link válido do Bitrix",
        "mended": "o link do Bitrix apareceu: {url}",
        "found": "link do Bitrix encontrado: {url}",
        "linked": "o link do Bitrix já está registrado: {url}",
        "tied": "o registro {other} do Bitrix já está ligado, por este chamado ou pelo que lhe deu origem",
        "late": "o prazo passou e ainda falta o link do Bitrix",
        "unknown": "o prazo passou, mas o chamado não é conhecido",
        "opened": "o registro {other} foi aberto no Bitrix para este chamado",
    },
    "en": {
        "no_connection": "the rule's connection {name!r} does not exist",
        "gone": "the ticket was deleted or merged",
        "waits": "no agent has written yet",
        "not_first": "not the first interaction of an agent",
        "told": "the Bitrix link is still missing, but the ticket was already told so",
        "over": "the Bitrix link is missing, but the ticket is already over",
        "missing": "the first interaction has no valid Bitrix link",
        "mended": "the Bitrix link is there now: {url}",
        "found": "Bitrix link found: {url}",
        "linked": "the Bitrix link is on file already: {url}",
        "tied": "the Bitrix record {other} is tied already, by this ticket or by the one it comes from",
        "late": "the deadline has passed and the Bitrix link is still missing",
        "unknown": "the deadline has passed, but the ticket is not known",
        "opened": "the record {other} was opened at Bitrix for this ticket",
    },
}


class Dealings(Scope):
    kinds: Choice[TicketKind] = Choice[TicketKind].model_validate({"not": [TicketKind.TASK]})


class Settings(RuleSettings):
    """Texts are Jinja2 templates with `ticket`, `tenant`, `agent`, `link_field`, `mapped`, `missing_tag` and
    `deadline_minutes`; those left as they are appear in the tenant's language."""

    connection: str = Field(min_length=1, description="the Bitrix24 connection")
    scope: Dealings = Dealings()
    kinds: tuple[str, ...] = Field(
        (), description="what a link may name (deal, task, chat, lead ...); empty = all"
    )
    link_field: str = Field("bitrix_link", min_length=1, description="the custom field for the link")
    missing_tag: str = Field("sem-bitrix", min_length=1)
    deadline_minutes: int = Field(30, ge=1, le=10_080, description="of working time, from the interaction on")
    channel: str | None = Field("supervisores", description="who is told after the deadline; null = nobody")
    write_back: bool = Field(
        True, description="the deal, task or chat gets a comment with the ticket's address"
    )
    create_when_missing: Literal["none", "task", "deal"] = Field(
        "none", description="opened after the deadline"
    )
    note: Template = TEXTS["pt-BR"]["note"]
    backlink: Template = TEXTS["pt-BR"]["backlink"]
    notice_title: Template = TEXTS["pt-BR"]["notice_title"]
    notice: Template = TEXTS["pt-BR"]["notice"]
    new_subject: Template = TEXTS["pt-BR"]["new_subject"]
    new_description: Template = TEXTS["pt-BR"]["new_description"]
    opened: Template = TEXTS["pt-BR"]["opened"]


Answers = Iterator[Action | Skip]


@hookimpl
def on_event(event: Event, facts: Facts) -> Answers:
    ticket, settings = facts.ticket, facts.settings
    if isinstance(event, TimerFired) and event.rule == NAME:
        yield from overdue(event, ticket, facts)
    elif not isinstance(event, HEARD) or ticket is None:
        return
    elif event.ours or ticket.ref.connection == settings.connection:
        if event.ours and isinstance(event, TicketCreated):
            yield from opened(ticket, facts)
    elif settings.connection not in facts.connections:
        yield Skip(reason=_why(facts, "no_connection", name=settings.connection))
    elif outside := facts.outside(settings.scope, ticket):
        yield Skip(reason=outside)
    elif ticket.deleted or ticket.merged_into:
        yield Skip(reason=_why(facts, "gone"))
    elif named := _named(ticket, facts, event):
        yield from linked(ticket, named, facts)
    else:
        yield from unlinked(event, ticket, facts)


def linked(ticket: Ticket, named: list[Reference], facts: Facts) -> Answers:
    """Every record that is named is tied and told once; the field holds the one that was named first."""
    settings, field = facts.settings, facts.settings.link_field
    first, done = named[0], True
    for reference in named:
        if str(reference.ref) not in facts.links:
            done, why = False, _why(facts, "found", url=reference.url)
            yield LinkTickets(left=str(ticket.ref), right=str(reference.ref), relation="bitrix", reason=why)
            if settings.write_back:
                yield AddComment(ticket=reference.ref, body=_text(facts, "backlink"), reason=why)
    current = ticket.custom_fields.get(field)
    if _is_mapped(ticket, facts) and current != first.url and (not current or current in _filed(facts)):
        done = False
        yield SetFields(
            ticket=ticket.ref, fields={field: first.url}, reason=_why(facts, "found", url=first.url)
        )
    if _was_told(ticket, facts):
        why = _why(facts, "mended", url=first.url)
        if worn := facts.tagged(ticket, settings.missing_tag):
            done = False
            yield RemoveTags(ticket=ticket.ref, tags=(worn,), reason=why)
            yield CancelTimer(key=_timer(ticket), reason=why)
    if done:
        yield Skip(reason=_why(facts, "linked", url=first.url))


def unlinked(event: Event, ticket: Ticket, facts: Facts) -> Answers:
    here = f"ticket:{facts.settings.connection}:"
    if tied := next((name for name in sorted(facts.links) if name.startswith(here)), None):
        yield Skip(reason=_why(facts, "tied", other=tied))
    elif _was_told(ticket, facts):
        yield Skip(reason=_why(facts, "told"))
    elif not isinstance(event, CommentCreated) or not by_agent(event.comment):
        yield Skip(reason=_why(facts, "waits"))
    elif _named(facts.full_ticket(), facts, event) or not _is_first(event.comment, facts):
        yield Skip(reason=_why(facts, "not_first"))
    elif not ticket.is_open:
        yield Skip(reason=_why(facts, "over"))
    else:
        settings, why = facts.settings, _why(facts, "missing")
        agent = event.comment.author.name if event.comment.author else None
        deadline = timedelta(minutes=settings.deadline_minutes)
        yield AddComment(ticket=ticket.ref, body=_text(facts, "note", agent=agent), reason=why)
        yield AddTags(ticket=ticket.ref, tags=(settings.missing_tag,), reason=why)
        yield StartTimer(
            key=_timer(ticket), at=facts.calendar.add_working_time(event.occurred_at, deadline),
            payload={"agent": agent}, ticket=ticket.ref, reason=why,
        )  # fmt: skip


def overdue(event: TimerFired, ticket: Ticket | None, facts: Facts) -> Answers:
    settings = facts.settings
    if ticket is None:
        yield Skip(reason=_why(facts, "unknown"))
    elif ticket.deleted or ticket.merged_into:
        yield Skip(reason=_why(facts, "gone"))
    elif named := _named(ticket, facts, event):
        yield Skip(reason=_why(facts, "linked", url=named[0].url))
    else:
        why, agent = _why(facts, "late"), event.payload.get("agent")
        if settings.channel:
            title, body = (_text(facts, name, agent=agent) for name in ("notice_title", "notice"))
            yield Notify(channel=settings.channel, title=title, body=body.strip(), reason=why)
        if settings.create_when_missing != "none":
            record = CreateTicket(
                connection=settings.connection,
                key=f"bitrix:{ticket.ref}",
                subject=" ".join(_text(facts, "new_subject").split())[:250],
                description=_text(facts, "new_description"),
                ticket_kind=TicketKind.TASK,
                type=settings.create_when_missing,
                contact=ticket.contact.elsewhere() if ticket.contact else None,
                reason=why,
                awaited=True,
            )
            yield record
            yield LinkTickets(left=str(ticket.ref), right=str(record.ticket), relation="bitrix", reason=why)


def opened(record: Ticket, facts: Facts) -> Answers:
    """What this rule had opened at Bitrix24 has an address now: it goes where an agent would have put it."""
    asked = any(entry.rule == NAME and isinstance(entry.action, CreateTicket) for entry in facts.past)
    for ticket in facts.linked if asked else ():
        why, address = _why(facts, "opened", other=record.ref), record.url or record.ref.id
        if _is_mapped(ticket, facts) and not ticket.custom_fields.get(facts.settings.link_field):
            yield SetFields(ticket=ticket.ref, fields={facts.settings.link_field: address}, reason=why)
        elif not _is_mapped(ticket, facts):
            body = _text(facts, "opened", url=record.url, number=record.ref.id)
            yield AddComment(ticket=ticket.ref, body=body, reason=why)
        if worn := facts.tagged(ticket, facts.settings.missing_tag):
            yield RemoveTags(ticket=ticket.ref, tags=(worn,), reason=why)


def _named(ticket: Ticket, facts: Facts, event: Event) -> list[Reference]:
    """The records that agents named, first to last, and that of the field; a customer's link counts for nothing."""
    texts = [f"{each.body}\n{each.html or ''}" for each in facts.said(event) if by_agent(each)]
    value = ticket.custom_fields.get(facts.settings.link_field)
    found = [
        reference
        for text in (*texts, str(value or ""))
        for reference in facts.references_in(text)
        if reference.connection == facts.settings.connection
        and (not facts.settings.kinds or reference.kind in facts.settings.kinds)
    ]
    return list(dict.fromkeys(found))


def _is_first(comment: Comment, facts: Facts) -> bool:
    """Whether no agent wrote before; a comment without a date came as it was told."""
    others = (each for each in facts.said() if by_agent(each) and each.id != comment.id)
    return not any(
        each.created_at
        and comment.created_at
        and (each.created_at, each.id) < (comment.created_at, comment.id)
        for each in others
    )


def _is_mapped(ticket: Ticket, facts: Facts) -> bool:
    return facts.settings.link_field in facts.mapped_fields.get(ticket.ref.connection, ())


def _filed(facts: Facts) -> list[Any]:
    """What this rule put into the field before."""
    own = (entry.action for entry in facts.past if entry.rule == NAME)
    return [action.fields.get(facts.settings.link_field) for action in own if isinstance(action, SetFields)]


def _was_told(ticket: Ticket, facts: Facts) -> bool:
    """The tag is there, or we set it and never took it back: who removes it by hand is not told again."""
    tag = folded(facts.spelled(ticket.ref.connection, facts.settings.missing_tag))
    own = [entry.action for entry in facts.past if entry.rule == NAME]
    marks = [a for a in own if isinstance(a, AddTags | RemoveTags) and tag in map(folded, a.tags)]
    return bool(facts.tagged(ticket, tag)) or (bool(marks) and isinstance(marks[-1], AddTags))


def _timer(ticket: Ticket) -> str:
    return f"{NAME}:{ticket.ref}"


def _text(facts: Facts, name: str, **context: Any) -> str:
    """A text of the settings; one that nobody changed, in the tenant's language."""
    settings = facts.settings
    template = getattr(settings, name)
    if template == TEXTS["pt-BR"][name]:
        template = TEXTS.get(facts.tenant.locale, TEXTS["pt-BR"])[name]
    given = {"agent": None, "mapped": facts.ticket is not None and _is_mapped(facts.ticket, facts), **context}
    return facts.render(
        template, link_field=settings.link_field, missing_tag=settings.missing_tag,
        deadline_minutes=settings.deadline_minutes, **given,
    )  # fmt: skip


def _why(facts: Facts, key: str, **words: object) -> str:
    return REASONS.get(facts.tenant.locale, REASONS["pt-BR"])[key].format(**words)
