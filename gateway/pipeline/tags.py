"""How do the tenant's desks keep the tags that rules speak of?"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from gateway.model.action import Action, AddTags, CreateTicket, RemoveTags
from gateway.model.connection import Connection
from gateway.model.facts import Decision
from gateway.registry import Registry

HOOK = "spell_tag"

Spell = Callable[[str, str], str]
"""(connection, tag) -> the tag as it is kept there."""


def speller(registry: Registry, connections: Mapping[str, Connection[Any]]) -> Spell:
    """Asks the connection's vendor; one that keeps tags as they are typed does not implement the hook."""

    @cache
    def spell(name: str, tag: str) -> str:
        connection, plain = connections.get(name), " ".join(tag.split())
        if connection is None or not registry.implements(connection.vendor, HOOK):
            return plain
        spelled: str = registry.ask(connection.vendor, HOOK, tag=plain, connection=connection)
        return spelled

    return spell


def spelled(decision: Decision, spell: Spell) -> Decision:
    """The same decision, with the tags of its actions as each ticket's desk keeps them."""
    if not decision.actions:
        return decision
    actions = tuple(_spelled(action, spell) for action in decision.actions)
    return decision.model_copy(update={"actions": actions})


def _spelled(action: Action, spell: Spell) -> Action:
    match action:
        case AddTags() | RemoveTags() | CreateTicket() if action.tags:
            connection = action.ticket.connection
            tags = dict.fromkeys(spell(connection, tag) for tag in action.tags)
            return action.model_copy(update={"tags": tuple(tag for tag in tags if tag)})
    return action
