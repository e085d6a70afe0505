"""Is it Acme Desk, and which case does it hint at?

Acme Desk signs nothing: the only proof is the key in the address that the admin gave it. So nothing of the
body is believed but the case's number; everything else is read back through the API.
https://acme-desk.example/developers/hooks
"""

import json
from typing import TYPE_CHECKING

from gateway.api import Connection, Verified, Webhook, check_key

if TYPE_CHECKING:
    from . import Settings


def verify(webhook: Webhook, connection: "Connection[Settings]") -> Verified:
    check_key(webhook, connection.settings.hook_key)
    return Verified(subject=case_number(webhook.body), thin=True)


def case_number(body: bytes) -> str | None:
    """The number in `{"case": 31}`; None for anything else, which is accepted, parked and shown."""
    try:
        hint = json.loads(body)
    except (ValueError, RecursionError):
        return None
    number = hint.get("case") if isinstance(hint, dict) else None
    is_number = isinstance(number, int) and not isinstance(number, bool) and 0 < number < 10**12
    return str(number) if is_number else None
