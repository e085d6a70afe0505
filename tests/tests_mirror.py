"""What one desk's colleagues write on a deal, the others that work on the same deal read as a private note.

A rule as somebody outside would write it, for a procedure that none of ours keeps.
"""

from collections.abc import Iterator

from gateway.api import (
    AddComment,
    CommentCreated,
    Event,
    Facts,
    RuleInfo,
    RuleSettings,
    Skip,
    TicketRef,
    by_agent,
    hookimpl,
)

INFO = RuleInfo(
    title={"pt-BR": "Notas espelhadas", "en": "Mirrored notes"},
    description={
        "pt-BR": "O que um colega escreve aparece como nota nos chamados ligados ao mesmo negócio.",
        "en": "What a colleague writes appears as a note on the tickets tied to the same deal.",
    },
    enabled=True,
)


class Settings(RuleSettings):
    connections: tuple[str, ...] = ()


@hookimpl
def on_event(event: Event, facts: Facts) -> Iterator[AddComment | Skip]:
    if not isinstance(event, CommentCreated) or event.ticket.ref.connection not in facts.settings.connections:
        return
    if not by_agent(event.comment):
        yield Skip(reason="only what colleagues write is mirrored")
        return
    for ref in _tied(facts):
        if ref != event.ticket.ref and ref.connection in facts.settings.connections:
            yield AddComment(
                ticket=ref, body=facts.transcribed(event.comment), reason=f"said on {event.ticket.ref}"
            )


def _tied(facts: Facts) -> Iterator[TicketRef]:
    """Directly or by way of one other thing, which is the deal."""
    for name in sorted(facts.links):
        kind, _, rest = name.partition(":")
        connection, _, id_ = rest.partition(":")
        if kind == "ticket":
            yield TicketRef(connection, id_)
