"""Which tickets does a rule speak about?"""

import unicodedata
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .ticket import Ticket, TicketKind

T = TypeVar("T", bound=str)
Spelling = Callable[[str], str]


@lru_cache(maxsize=8192)
def folded(word: str) -> str:
    """The word as it is compared: without accents, case and outer spaces."""
    plain = unicodedata.normalize("NFKD", word.strip())
    return "".join(c for c in plain if not unicodedata.combining(c)).casefold()


class Choice(BaseModel, Generic[T]):
    """At least one of `any`, every one of `all`, none of `not`; an empty list asks for nothing.

    A plain list, or one word, means `any`. Compared without accents and case.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    any: tuple[T, ...] = Field(default=(), description="at least one of these")
    all: tuple[T, ...] = Field(default=(), description="every one of these")
    none: tuple[T, ...] = Field(default=(), alias="not", description="none of these")

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"any": [value]}
        return {"any": value} if isinstance(value, list | tuple) else value

    @property
    def is_open(self) -> bool:
        """True when it leaves nothing out."""
        return not (self.any or self.all or self.none)

    def respelled(self, spell: Spelling) -> "Choice[T]":
        """The same choice in other words."""
        lists = {name: tuple(map(spell, getattr(self, name))) for name in ("any", "all", "none")}
        return self.model_copy(update=lists)

    def misses(self, words: Iterable[str]) -> tuple[str, tuple[T, ...]] | None:
        """What `words` lack or have too much: `any`, `all` or `not`, and the words that it names."""
        given = {folded(word) for word in words}
        if self.any and not any(folded(word) in given for word in self.any):
            return "any", self.any
        if absent := tuple(word for word in self.all if folded(word) not in given):
            return "all", absent
        if unwanted := tuple(word for word in self.none if folded(word) in given):
            return "not", unwanted
        return None


class Scope(BaseModel):
    """Limits a rule to some tickets. Everything is open until it is limited."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    connections: Choice[str] = Choice()
    kinds: Choice[TicketKind] = Choice()
    teams: Choice[str] = Choice()
    tags: Choice[str] = Choice()
    channels: Choice[str] = Choice()

    def admits(
        self, ticket: Ticket, *, locale: str = "pt-BR", partial: bool = False, spell: Spelling | None = None
    ) -> str | None:
        """Why the ticket is left out, in words for an admin; None when the rule may look at it.

        :param partial: the ticket is not known in full: what is not known yet is not held against it
        :param spell: a tag as the ticket's desk keeps it
        """
        reasons = REASONS.get(locale, REASONS["pt-BR"])
        for name, (field, words) in _facets(ticket).items():
            choice: Choice[Any] = getattr(self, name)
            if choice.is_open or (partial and field not in ticket.model_fields_set):
                continue
            if name == "tags" and spell is not None:
                choice = choice.respelled(spell)
            if missed := choice.misses(words):
                demand, named = missed
                return reasons[demand].format(facet=reasons[name], words=", ".join(map(str, named)))
        return None


def _facets(ticket: Ticket) -> dict[str, tuple[str, Iterable[str]]]:
    """What each setting looks at: the ticket's field, and the words in it."""
    return {
        "connections": ("ref", (ticket.ref.connection,)),
        "kinds": ("ref", (ticket.kind,)),
        "teams": ("team", (ticket.team,) if ticket.team else ()),
        "tags": ("tags", ticket.tags),
        "channels": ("channel", (ticket.channel,) if ticket.channel else ()),
    }


REASONS = {
    "pt-BR": {
        "any": "fora do escopo ({facet}): nenhum de: {words}",
        "all": "fora do escopo ({facet}): falta: {words}",
        "not": "fora do escopo ({facet}): não pode ser: {words}",
        "connections": "conexão", "kinds": "tipo", "teams": "equipe", "tags": "tags", "channels": "canal",
    },
    "en": {
        "any": "out of scope ({facet}): none of: {words}",
        "all": "out of scope ({facet}): lacks: {words}",
        "not": "out of scope ({facet}): must not be: {words}",
        "connections": "connection", "kinds": "kind", "teams": "team", "tags": "tags", "channels": "channel",
    },
}  # fmt: skip
