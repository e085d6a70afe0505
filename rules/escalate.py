"""The chat team hands what it cannot solve to the support team, and gets the answer back, without copying by hand.

A tag, an assignment or `/escalar` in a private note opens a ticket at the other desk with the conversation in it.
From then on the customer's messages go over, the agents' replies come back, and so does the end.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import Field, model_validator

from gateway.api import (
    Action,
    AddComment,
    AddTags,
    AssignTo,
    Comment,
    CommentCreated,
    CreateTicket,
    Event,
    Facts,
    LinkTickets,
    Past,
    Person,
    RemoveTags,
    RuleInfo,
    RuleSettings,
    Scope,
    SetStatus,
    Skip,
    Status,
    Template,
    Ticket,
    TicketAssigned,
    TicketCreated,
    TicketEvent,
    TicketStatusChanged,
    TicketTagged,
    by_agent,
    folded,
    hookimpl,
    latest,
    same_message,
    same_words,
)

NAME = "escalate"
ASKED = "asked:"
LONG_AGO = datetime.min.replace(tzinfo=UTC)

INFO = RuleInfo(
    title={"pt-BR": "Escalar para o suporte", "en": "Escalate to support"},
    description={
        "pt-BR": "Uma tag, uma atribuição ou /escalar em nota interna abre um chamado no suporte com a conversa; as "
        "mensagens do cliente vão para ele, as respostas e o desfecho voltam para a conversa.",
        "en": "A tag, an assignment or /escalar in a private note opens a ticket at support with the conversation; "
        "the customer's messages go there, replies and the outcome come back to the conversation.",
    },
    enabled=True,
    hears_ours=True,  # to learn the address of the ticket that it opened; it leaves all else of ours alone
)

ORIGIN, SAID = (
    "{{ ticket.url or ticket.ref.id }}",
    "{% for message in messages %}\n\n{{ message }}\n{% endfor %}",
)

TEXTS = {
    "pt-BR": {
        "description": f"Conversa recebida do chat: {ORIGIN}\n{{% if omitted %}}\n\nAs {{{{ omitted }}}} mensagens "
        f"mais antigas ficaram na conversa.\n{{% endif %}}{SAID}",
        "briefing": "Escalado do chat{% if agent %} por {{ agent }}{% endif %}{% if reason %}: {{ reason }}{% endif %}"
        f"\n\n\nConversa: {ORIGIN}\n{SAID}",
        "receipt": "Escalado: o chamado é {{ url or number }}. As mensagens do cliente vão para lá e as respostas do "
        "suporte aparecem aqui.",
        "reply": "Resposta do suporte\n{{ message }}",
        "public_reply": "{{ text }}{% for file in attachments %}\n\n{{ file.name }}: {{ file.url }}{% endfor %}",
        "resolved": "O suporte encerrou o chamado {{ url or number }}. A conversa voltou para o chat: confirme com o "
        "cliente e finalize.",
        "reopened": "O suporte reabriu o chamado {{ url or number }}.",
    },
    "en": {
        "description": f"Conversation handed over by chat: {ORIGIN}\n{{% if omitted %}}\n\nThe {{{{ omitted }}}} "
        f"oldest messages stayed in the conversation.\n{{% endif %}}{SAID}",
        "briefing": "Escalated by chat{% if agent %} ({{ agent }}){% endif %}{% if reason %}: {{ reason }}{% endif %}"
        f"\n\n\nConversation: {ORIGIN}\n{SAID}",
        "receipt": "Escalated: the ticket is {{ url or number }}. The customer's messages go there and support's "
        "replies appear here.",
        "reply": "Reply from support\n{{ message }}",
        "public_reply": "{{ text }}{% for file in attachments %}\n\n{{ file.name }}: {{ file.url }}{% endfor %}",
        "resolved": "Support closed the ticket {{ url or number }}. The conversation is back with chat: check with the "
        "customer and finish.",
        "reopened": "Support reopened the ticket {{ url or number }}.",
    },
}

REASONS = {
    "pt-BR": {
        "no_desk": "a conexão {name!r} da regra não existe",
        "not_asked": "ninguém pediu para escalar, e não há chamado do outro lado",
        "gone": "o chamado foi excluído ou mesclado",
        "by_tag": "escalado pela tag {tag}",
        "by_team": "escalado pela atribuição à equipe {team}",
        "by_command": "escalado por {command} em nota interna",
        "again": "já há um chamado aberto, {other}: as mensagens novas vão para lá ({why})",
        "nothing_new": "já há um chamado aberto, {other}, e ele já tem todas as mensagens ({why})",
        "exists": "o chamado {other} foi aberto a pedido desta conversa",
        "told": "o endereço do chamado {other} já está na conversa",
        "customer": "mensagem do cliente na conversa, para o chamado {other}",
        "late": "mensagem anterior ao pedido que chegou depois, para o chamado {other}",
        "reply": "resposta pública de atendente, para {other}",
        "stays": "mensagem que fica só deste lado ({other} é o outro)",
        "has_it": "{other} já tem esta mensagem",
        "deleted": "{other} foi excluído",
        "resolved": "o outro lado, {this}, foi encerrado",
        "reopened": "o outro lado, {this}, foi reaberto",
        "status_old": "o status já mudou de novo",
        "status_same": "este status não muda nada do outro lado, {other}",
    },
    "en": {
        "no_desk": "the rule's connection {name!r} does not exist",
        "not_asked": "nobody asked to escalate, and there is no ticket at the other side",
        "gone": "the ticket was deleted or merged",
        "by_tag": "escalated by the tag {tag}",
        "by_team": "escalated by the assignment to the team {team}",
        "by_command": "escalated by {command} in a private note",
        "again": "there is an open ticket already, {other}: the new messages go there ({why})",
        "nothing_new": "there is an open ticket already, {other}, and it has all messages ({why})",
        "exists": "the ticket {other} was opened for this conversation",
        "told": "the address of the ticket {other} is in the conversation already",
        "customer": "the customer's message in the conversation, for the ticket {other}",
        "late": "a message from before the request that came later, for the ticket {other}",
        "reply": "an agent's public reply, for {other}",
        "stays": "a message that stays on this side ({other} is the other)",
        "has_it": "{other} has this message already",
        "deleted": "{other} was deleted",
        "resolved": "the other side, {this}, was closed",
        "reopened": "the other side, {this}, was reopened",
        "status_old": "the status has changed again",
        "status_same": "this status changes nothing at the other side, {other}",
    },
}


class Settings(RuleSettings):
    """Texts are Jinja2 templates with `ticket`, `tenant`, and what their defaults use; those left as they are appear
    in the tenant's language. `description` and `public_reply` are seen by the customer, all others are private."""

    from_connection: str = Field(min_length=1, description="the chat desk's connection")
    to_connection: str = Field(min_length=1, description="the support desk's connection")
    direction: Literal["forward", "both"] = Field(
        "forward", description="both: support may escalate to chat too"
    )
    scope: Scope = Scope()
    tag: str = Field("escalar", min_length=1, description="asks to escalate")
    teams: tuple[str, ...] = Field((), description="an assignment to one of these asks to escalate")
    command: str = Field(
        "/escalar", pattern=r"^\S{2,}$", description="at the start of a private note; a reason may follow"
    )
    from_team: str | None = Field(None, description="the chat team that gets the conversation back")
    to_team: str | None = Field(None, description="the support team that gets the ticket")
    tags: tuple[str, ...] = Field(
        ("escalado",), description="of the new ticket, with those of the conversation"
    )
    leave_tags: tuple[str, ...] = Field(("sem-telefone", "sem-bitrix"), description="not taken over")
    resolved_tag: str = Field("resolvido-suporte", min_length=1)
    public_replies: bool = Field(
        False, description="on: the customer sees support's replies in the conversation"
    )
    subject: Template = "{{ ticket.subject or (ticket.contact and ticket.contact.name) or ticket.ref.id }}"
    description: Template = TEXTS["pt-BR"]["description"]
    briefing: Template = TEXTS["pt-BR"]["briefing"]
    receipt: Template = TEXTS["pt-BR"]["receipt"]
    reply: Template = TEXTS["pt-BR"]["reply"]
    public_reply: Template = TEXTS["pt-BR"]["public_reply"]
    resolved: Template = TEXTS["pt-BR"]["resolved"]
    reopened: Template = TEXTS["pt-BR"]["reopened"]

    @model_validator(mode="after")
    def _two_desks(self) -> "Settings":
        if self.from_connection == self.to_connection:
            raise ValueError("from_connection and to_connection are the same")
        return self

    def opposite(self, connection: str) -> str | None:
        sides = {self.from_connection: self.to_connection, self.to_connection: self.from_connection}
        return sides.get(connection)

    def team_of(self, connection: str) -> str | None:
        return self.to_team if connection == self.to_connection else self.from_team


Answers = Iterator[Action | Skip]


@dataclass(frozen=True, slots=True)
class Twin:
    """The ticket at the other side. `asked` is true there where somebody asked to escalate, false at who helps."""

    ticket: Ticket
    asked: bool
    past: tuple[Past, ...]
    said: tuple[Comment, ...]


@hookimpl
def on_event(event: Event, facts: Facts) -> Answers:
    ticket, settings = facts.ticket, facts.settings
    if not isinstance(event, TicketEvent) or ticket is None or not settings.opposite(ticket.ref.connection):
        return
    lost = {settings.from_connection, settings.to_connection} - facts.connections.keys()
    if lost:
        yield Skip(reason=_why(facts, "no_desk", name=min(lost)))
    elif event.ours:
        if isinstance(event, TicketCreated) and (twin := _twin(ticket, facts)) and twin.asked:
            yield from receipted(ticket, twin, facts)
    elif ticket.deleted or ticket.merged_into:
        yield Skip(reason=_why(facts, "gone"))
    else:
        yield from heard(event, ticket, facts)


def heard(event: TicketEvent, ticket: Ticket, facts: Facts) -> Answers:
    twin, settings = _twin(ticket, facts), facts.settings
    if (asked := _request(event, ticket, twin, facts)) is not None:
        why, reason = asked
        if twin and (twin.asked or _serves(twin.ticket, event.occurred_at)):
            yield from told_again(event, ticket, twin, why, facts)
        elif outside := facts.outside(settings.scope, ticket):
            yield Skip(reason=outside)
        else:
            yield from handed_over(event, facts.full_ticket(), why, reason, facts)
    elif twin is None:
        yield Skip(reason=_why(facts, "not_asked"))
    elif isinstance(event, CommentCreated):
        yield from passed_on(event.comment, ticket, twin, facts)
    elif isinstance(event, TicketStatusChanged):
        yield from status_told(event, ticket, twin, facts)


def _request(event: TicketEvent, ticket: Ticket, twin: Twin | None, facts: Facts) -> tuple[str, str] | None:
    """Why this event asks to escalate, if it does, and the reason that somebody gave."""
    settings = facts.settings
    if twin is None and settings.direction != "both" and ticket.ref.connection != settings.from_connection:
        return None
    if isinstance(event, CommentCreated) and (reason := _command(event.comment, settings)) is not None:
        return _why(facts, "by_command", command=settings.command), reason
    new, is_new = event.ticket, isinstance(event, TicketCreated)
    tags = event.added if isinstance(event, TicketTagged) else new.tags if is_new else frozenset()
    if facts.tagged(new.model_copy(update={"tags": tags}), settings.tag):
        return _why(facts, "by_tag", tag=settings.tag), ""
    team = event.team if isinstance(event, TicketAssigned) else new.team if is_new else None
    if team and folded(team) in map(folded, settings.teams):
        return _why(facts, "by_team", team=team), ""
    return None


def handed_over(event: TicketEvent, ticket: Ticket, why: str, reason: str, facts: Facts) -> Answers:
    settings = facts.settings
    said = list(_said(event, ticket, facts))
    public, omitted = latest(facts.transcribed(comment) for comment in said if not comment.is_private)
    notes, _ = latest(facts.transcribed(comment) for comment in said if comment.is_private)
    to = settings.opposite(ticket.ref.connection)
    marks = (settings.tag, settings.resolved_tag, *settings.leave_tags)
    left = {facts.tagged(ticket, mark) for mark in marks}
    action = CreateTicket(
        connection=to,
        key=f"escalate:{ticket.ref}:{len(_helpers(ticket, facts))}",
        subject=" ".join(_text(facts, "subject").split())[:250] or ticket.ref.id,
        description=_text(facts, "description", messages=public, omitted=omitted),
        contact=ticket.contact.elsewhere() if ticket.contact else None,
        team=settings.team_of(to),
        tags=tuple(dict.fromkeys((*settings.tags, *sorted(ticket.tags - left)))),
        priority=ticket.priority,
        reason=why,
        awaited=True,
    )
    yield action
    yield LinkTickets(left=str(ticket.ref), right=str(action.ticket), relation="escalated", reason=why)
    yield _asked(event, ticket, why)
    if reason or notes:
        agent = event.comment.author if isinstance(event, CommentCreated) else event.actor
        body = _text(facts, "briefing", agent=agent and agent.name, reason=reason, messages=notes)
        yield AddComment(ticket=action.ticket, body=body, reason=why)


def told_again(event: TicketEvent, ticket: Ticket, twin: Twin, why: str, facts: Facts) -> Answers:
    since, there = _asked_at(ticket, facts), twin.ticket.ref
    recent = [c for c in _said(event, ticket, facts) if c.created_at is None or c.created_at > since]
    new, _ = latest(facts.transcribed(comment) for comment in recent if not _has(twin, comment, facts))
    yield _asked(event, ticket, why)
    if not new:
        yield Skip(reason=_why(facts, "nothing_new", other=there, why=why))
    else:
        why = _why(facts, "again", other=there, why=why)
        yield AddComment(ticket=there, body="\n\n".join(new), reason=why)


def _serves(helper: Ticket, moment: datetime) -> bool:
    """Whether the ticket was still open when somebody asked, however late we hear of that."""
    over_since = helper.resolved_at or helper.closed_at or helper.remote_updated_at
    return helper.is_open or (over_since is not None and moment <= over_since)


def _asked(event: TicketEvent, ticket: Ticket, why: str) -> LinkTickets:
    """Remembers when somebody asked: what was said until then belongs to the other side too, however late it comes."""
    moment = f"{ASKED}{ticket.ref}@{event.occurred_at.isoformat()}"
    return LinkTickets(left=str(ticket.ref), right=moment, relation="asked", reason=why)


def _asked_at(ticket: Ticket, facts: Facts) -> datetime:
    start = f"{ASKED}{ticket.ref}@"
    asked = [name.removeprefix(start) for name in facts.links if name.startswith(start)]
    return max(map(datetime.fromisoformat, asked), default=LONG_AGO)


def receipted(ticket: Ticket, twin: Twin, facts: Facts) -> Answers:
    """Who asked learns where the ticket is, as soon as it has an address."""
    body = _text(facts, "receipt", url=ticket.url, number=ticket.ref.id)
    if any(isinstance(entry.action, AddComment) and entry.action.body == body for entry in twin.past):
        yield Skip(reason=_why(facts, "told", other=ticket.ref))
    else:
        yield AddComment(ticket=twin.ticket.ref, body=body, reason=_why(facts, "exists", other=ticket.ref))


def passed_on(comment: Comment, ticket: Ticket, twin: Twin, facts: Facts) -> Answers:
    """The customer's words to who helps, an agent's public words to who asked, nothing twice and nothing back."""
    other, public = twin.ticket.ref, twin.asked and facts.settings.public_replies
    wanted = _wanted(comment, twin, _asked_at(ticket, facts))
    if wanted is None or _command(comment, facts.settings) is not None:
        yield Skip(reason=_why(facts, "stays", other=other))
    elif _has(twin, comment, facts):
        yield Skip(reason=_why(facts, "has_it", other=other))
    elif twin.ticket.deleted:
        yield Skip(reason=_why(facts, "deleted", other=other))
    else:
        body = facts.transcribed(comment)
        if wanted == "reply":
            words = {"message": body, "text": comment.body, "attachments": comment.attachments}
            body = _text(facts, "public_reply" if public else "reply", **words)
        yield AddComment(
            ticket=other, body=body, is_private=not public, reason=_why(facts, wanted, other=other)
        )


def _wanted(comment: Comment, twin: Twin, asked_at: datetime) -> str | None:
    """Why the other side should have this message, if it should."""
    if not comment.is_private and by_agent(comment) == twin.asked:
        return "reply" if twin.asked else "customer"
    return "late" if comment.created_at is not None and comment.created_at <= asked_at else None


def status_told(event: TicketStatusChanged, ticket: Ticket, twin: Twin, facts: Facts) -> Answers:
    """Who asked gets the conversation back when who helps is done, and learns when that was not the end."""
    settings, origin = facts.settings, twin.ticket
    mark = facts.tagged(origin, settings.resolved_tag)
    over = event.new is not None and event.new.is_over
    words = {"url": ticket.url, "number": ticket.ref.id}
    if event.new != ticket.status:
        yield Skip(reason=_why(facts, "status_old"))
    elif not twin.asked or over == bool(mark):
        yield Skip(reason=_why(facts, "status_same", other=origin.ref))
    elif over:
        why, team = _why(facts, "resolved", this=ticket.ref), settings.team_of(origin.ref.connection)
        yield AddComment(ticket=origin.ref, body=_text(facts, "resolved", **words), reason=why)
        yield AddTags(ticket=origin.ref, tags=(settings.resolved_tag,), reason=why)
        # Whatever is known of the conversation: that it was closed meanwhile may be told later.
        if team:
            yield AssignTo(ticket=origin.ref, team=team, reason=why)
        yield SetStatus(ticket=origin.ref, status=Status.OPEN, reason=why)
    else:
        why = _why(facts, "reopened", this=ticket.ref)
        yield AddComment(ticket=origin.ref, body=_text(facts, "reopened", **words), reason=why)
        yield RemoveTags(ticket=origin.ref, tags=(mark or settings.resolved_tag,), reason=why)


def _twin(ticket: Ticket, facts: Facts) -> Twin | None:
    """Who asked, if this ticket was opened to help; else the newest ticket that was opened to help this one."""
    asked = _opened(facts.past) is not None
    if asked:
        there = [each for each in _across(ticket, facts) if not _opened(facts.linked_past.get(each.ref, ()))]
    else:
        there = _helpers(ticket, facts)
    if not there:
        return None
    past = {each.ref: facts.linked_past.get(each.ref, ()) for each in there}
    other = max(there, key=lambda each: (each.is_open, _opened(past[each.ref]) or LONG_AGO))
    return Twin(other, asked, past[other.ref], facts.said_on(other.ref))


def _helpers(ticket: Ticket, facts: Facts) -> list[Ticket]:
    return [each for each in _across(ticket, facts) if _opened(facts.linked_past.get(each.ref, ()))]


def _across(ticket: Ticket, facts: Facts) -> list[Ticket]:
    there = facts.settings.opposite(ticket.ref.connection)
    return [each for each in facts.linked if each.ref.connection == there]


def _has(twin: Twin, comment: Comment, facts: Facts) -> bool:
    """Whether the other side was told already, by us or by mail that went to both."""
    message = facts.transcribed(comment)
    sent = (getattr(entry.action, "body", getattr(entry.action, "description", "")) for entry in twin.past)
    return any(message in text for text in sent) or any(same_message(comment, other) for other in twin.said)


def _opened(past: Iterable[Past]) -> datetime | None:
    """When this rule decided to open the ticket that these actions are about, if it did."""
    return next((e.decided_at for e in past if e.rule == NAME and isinstance(e.action, CreateTicket)), None)


def _said(event: Event, ticket: Ticket, facts: Facts) -> Iterator[Comment]:
    """What there is to hand over: the ticket's own text, if no comment repeats it, what people wrote until they were
    asked to, and all that the customer wrote."""
    said = facts.said(event)
    opening = ticket.description or ""
    if opening and not _opened(facts.past) and not any(same_words(opening, each.body) for each in said):
        author = Person(id="", name=ticket.contact.name if ticket.contact else None, is_agent=False)
        yield Comment(id="", body=opening, author=author, created_at=ticket.remote_created_at)
    for comment in said:
        is_customers = not comment.is_private and not by_agent(comment)
        in_time = comment.created_at is None or comment.created_at <= event.occurred_at
        if (is_customers or in_time) and _command(comment, facts.settings) is None:
            yield comment


def _command(comment: Comment, settings: Settings) -> str | None:
    """The reason given after `/escalar`, perhaps empty; None when the comment is no such note."""
    if not (comment.is_private and by_agent(comment)):
        return None
    word, _, reason = comment.body.strip().partition("\n")[0].partition(" ")
    return reason.strip() if folded(word.rstrip(":,.;")) == folded(settings.command) else None


def _text(facts: Facts, name: str, **context: Any) -> str:
    """A text of the settings; one that nobody changed, in the tenant's language."""
    template = getattr(facts.settings, name)
    if template == TEXTS["pt-BR"].get(name):
        template = TEXTS.get(facts.tenant.locale, TEXTS["pt-BR"])[name]
    return facts.render(template, **context)


def _why(facts: Facts, key: str, **words: object) -> str:
    return REASONS.get(facts.tenant.locale, REASONS["pt-BR"])[key].format(**words)
