"""Which tickets, deals and chats of a tenant's other systems does a text point at?"""

from collections.abc import Callable, Collection
from typing import Any

from gateway.model.connection import Connection
from gateway.model.reference import Reference
from gateway.registry import Registry

HOOK = "find_references"


def finder(
    registry: Registry, connections: Collection[Connection[Any]]
) -> Callable[[str], tuple[Reference, ...]]:
    """Asks each of these connections whose vendor knows how its own links look; pure, as the hook is."""

    def find(text: str) -> tuple[Reference, ...]:
        return tuple(
            reference
            for connection in connections
            if registry.implements(connection.vendor, HOOK)
            for reference in registry.ask(connection.vendor, HOOK, text=text, connection=connection) or ()
        )

    return find
