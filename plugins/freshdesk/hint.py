"""Which ticket does a webhook's body name, and what does it say happened to it?

Simple content is a fixed wrapper, Advanced content whatever the admin wrote; placeholders are substituted as
text, so an unquoted one breaks the JSON. https://support.freshdesk.com/en/support/solutions/articles/132589
"""

import json
import re
from dataclasses import dataclass
from typing import Any

WRAPPER = "freshdesk_webhook"

# What rules that tell of a deletion say, in `event` (our template's literal) or `triggered_event`.
DELETIONS = {"ticket_deleted", "deleted", "delete"}

PLAIN_KEYS = {"event", "helpdesk", "ticket_id", "triggered_event"}
"""What our template holds. Other values may be text that a customer wrote, and Freshdesk need not escape it: then
the body can be made to say anything, and is believed in nothing but the ticket's id."""

LONGEST = 500
_ID = re.compile(r"0*([1-9][0-9]{0,18})")
_ID_IN_TEXT = re.compile(r'"ticket_id"\s*:\s*"?0*([1-9][0-9]{0,18})(?![0-9])')
_CHANGE = re.compile(r"\{?([^:{},]+):\s*(?:\{([^:{},]+):([^,{}]*),([^:{},]+):([^,{}]*)\}|([^,{}]*))")


@dataclass(frozen=True, slots=True)
class Change:
    """What `triggered_event` told: `{status:{from:4,to:6}}` or `{note_type:private}` (then `old` is None)."""

    field: str
    old: str | None
    new: str | None


@dataclass(frozen=True, slots=True)
class Hint:
    """What is made of a body. `kind` is None when it is no JSON object."""

    ticket_id: str | None = None
    change: Change | None = None
    kind: str | None = None
    deletes: bool = False


def read(body: bytes) -> Hint:
    """Never fails: what cannot be read hints at nothing."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        match = _ID_IN_TEXT.search(body.decode("utf-8", "replace"))
        return Hint(ticket_id=match[1] if match else None)
    if not isinstance(parsed, dict):
        return Hint()
    wrapped = parsed.get(WRAPPER)
    said: dict[str, Any] = wrapped if isinstance(wrapped, dict) else parsed
    literal, change = said.get("event"), read_change(said.get("triggered_event"))
    ticket_id = decimal(said.get("ticket_id"))
    kind = literal if isinstance(literal, str) and literal else (change.field if change else "")
    told_of = change.new if change and change.field == "ticket_action" else None
    deletes = (
        ticket_id is not None
        and said.keys() <= PLAIN_KEYS
        and not DELETIONS.isdisjoint({kind.lower(), (told_of or "").lower()})
    )
    return Hint(ticket_id, change, kind, deletes)


def read_change(triggered_event: object) -> Change | None:
    """The first change that `{key:value}` or `{key:{from:x,to:y}}` tells of; keys and values are not quoted, and
    which there are is not documented. An object is taken too, should Freshdesk ever send one."""
    if isinstance(triggered_event, dict):
        triggered_event = json.dumps(triggered_event, ensure_ascii=False)
    if not isinstance(triggered_event, str):
        return None
    match = _CHANGE.match(triggered_event[:LONGEST].strip())
    if match is None:
        return None
    field, first, first_value, second, second_value, value = (_bare(part) for part in match.groups())
    if field is None:
        return None
    if first is None:
        return Change(field, None, value)
    sides = {first.lower(): first_value, (second or "").lower(): second_value}
    return Change(field, sides.get("from"), sides.get("to"))


def decimal(value: object) -> str | None:
    """An id as text, whether it came as a number or as text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    if isinstance(value, int) and not 0 < value < 10**19:
        return None
    match = _ID.fullmatch(str(value).strip())
    return match[1] if match else None


def _bare(part: str | None) -> str | None:
    """Without quotes and spaces; nothing, `null` and `--` (any) are None."""
    bare = (part or "").strip(" \t\r\n\"'")
    return None if bare in ("", "null", "nil", "--") else bare
