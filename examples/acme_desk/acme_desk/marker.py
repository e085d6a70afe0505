"""How is our own write recognised, at a helpdesk without idempotency keys and external ids?

A case that we open and a note that we write end with `[gw:<hash>]`, the hash being the action's id. People
see it; rules do not, as converting takes it out.
"""

import hashlib
import re

_MARK = re.compile(r"\s*\[gw:[0-9a-f]{12}\]")


def mark(action_id: str) -> str:
    return f"[gw:{hashlib.sha256(action_id.encode()).hexdigest()[:12]}]"


def marked(text: str, action_id: str) -> str:
    return f"{text}\n\n{mark(action_id)}"


def without(text: str) -> str:
    return _MARK.sub("", text)
