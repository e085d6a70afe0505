"""Is it Movidesk, and which ticket does it hint at?

Movidesk signs nothing and adds no header: the only proof is the key inside the URL that the admin pasted into
the trigger (https://atendimento.movidesk.com/kb/article/55928). So nothing of the body is believed but the
ticket's id; everything else is read back through the API.
"""

import json
import re
from typing import TYPE_CHECKING, Any

from gateway.api import Connection, Verified, Webhook, check_key

if TYPE_CHECKING:
    from . import Settings

ID_KEYS = ("id", "ticketid", "ticket.id")
_ID = re.compile(r"0*([1-9][0-9]{0,17})")


def verify(webhook: Webhook, connection: "Connection[Settings]") -> Verified:
    check_key(webhook, connection.settings.hook_key)
    # No delivery id: two different changes may have the same body, and a hint dropped as a duplicate could
    # be the one that came after the reading. One reading answers all hints about a ticket anyway.
    return Verified(subject=ticket_id(webhook.body), thin=True)


def ticket_id(body: bytes) -> str | None:
    """The id, however its key is written: `Id`, `id`, `TicketId`, `Ticket.Id`, `{"Ticket": {"Id": ...}}`."""
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):
        return None
    named = _lower(payload)
    candidates = [named.get(key) for key in ID_KEYS] + [_lower(named.get("ticket")).get("id")]
    return next((found for candidate in candidates if (found := _id(candidate))), None)


def _lower(value: Any) -> dict[str, Any]:
    return {key.lower(): member for key, member in value.items()} if isinstance(value, dict) else {}


def _id(value: Any) -> str | None:
    """An id as text; Movidesk writes it as number or as string, and 0 for "not loaded"."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    match = _ID.fullmatch(str(value).strip())
    return match[1] if match else None
