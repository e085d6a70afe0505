"""A ticket of a customer whom somebody marked as important is dealt with first, at whichever desk it lies."""

from collections.abc import Iterator

from gateway.api import (
    Action,
    AddComment,
    Event,
    Facts,
    Priority,
    RuleInfo,
    RuleSettings,
    SetPriority,
    Skip,
    Template,
    TicketCreated,
    TicketTagged,
    folded,
    hookimpl,
)
from pydantic import Field

INFO = RuleInfo(
    title={"pt-BR": "VIP primeiro", "en": "VIP first"},
    description={
        "pt-BR": "Um chamado com a tag de VIP recebe prioridade alta e um comentário privado com o motivo.",
        "en": "A ticket with the VIP tag gets a high priority, and a private comment that says why.",
    },
    enabled=False,
)


class Settings(RuleSettings):
    tag: str = Field("vip", min_length=1, description="the tag that makes a ticket important")
    priority: Priority = Field(Priority.HIGH, description="what it gets")
    note: Template = Field("Prioridade alta: cliente {{ tag }}.", description="the comment; empty = none")


@hookimpl
def on_event(event: Event, facts: Facts) -> Iterator[Action | Skip]:
    if not isinstance(event, TicketCreated | TicketTagged):
        return
    settings: Settings = facts.settings
    ticket = facts.ticket or event.ticket
    if folded(settings.tag) not in map(folded, ticket.tags):
        yield Skip(reason=f"not tagged {settings.tag!r}")
    elif ticket.priority in (settings.priority, Priority.URGENT):
        yield Skip(reason=f"its priority is {ticket.priority} already")
    else:
        reason = f"tagged {settings.tag!r}"
        yield SetPriority(ticket=ticket.ref, priority=settings.priority, reason=reason)
        if settings.note:
            text = facts.render(settings.note, tag=settings.tag)
            yield AddComment(ticket=ticket.ref, body=text, reason=reason)
