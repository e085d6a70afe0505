"""How is our own write recognised, at a vendor without idempotency keys and external ids?

A new ticket gets the tag `gw-<hash>`, a new comment ends with a hidden `<span>` that says `gw:<hash>`; the
hash is the action's id. A sanitiser that drops the style or the span leaves the bare text, recognised too
(an HTML comment would be dropped without a trace). No rule ever sees either: converting takes them out.
"""

import hashlib
import re

_DIGITS = 12
_TAG = re.compile(rf"gw-[0-9a-f]{{{_DIGITS}}}")
_TEXT = re.compile(rf"\s*(?:<span[^>]*>\s*)?\bgw:[0-9a-f]{{{_DIGITS}}}\b(?:\s*</span>)?")


def tag(action_id: str) -> str:
    return f"gw-{_hash(action_id)}"


def text(action_id: str) -> str:
    return f"gw:{_hash(action_id)}"


def hidden(action_id: str) -> str:
    return f'<span style="display:none;font-size:0">{text(action_id)}</span>'


def is_tag(word: str) -> bool:
    return _TAG.fullmatch(word) is not None


def is_in(body: str) -> bool:
    return _TEXT.search(body) is not None


def without(body: str) -> str:
    """The text or HTML as it was before it was marked."""
    return _TEXT.sub("", body)


def _hash(action_id: str) -> str:
    return hashlib.sha256(action_id.encode()).hexdigest()[:_DIGITS]
