"""What did Bitrix24 write into the body? PHP's bracket notation, read within limits, and kept without secrets.

https://apidocs.bitrix24.com/api-reference/events/ - the JSON there is only a drawing: what is sent is
`data%5BFIELDS%5D%5BID%5D=662`, every value a text. The body is read before its token can be checked, so size,
number of keys and depth are limited, and a key is nothing but data.
"""

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

LARGEST = 512 * 1024
MOST_KEYS = 2_000
DEEPEST = 8
LONGEST_KEY = 256
MOST_ITEMS = 500
"""Of one list; an index beyond it is not an index."""

UNDEFINED = "undefined"
"""What PHP-side code writes for "there is none": also where a map is expected.
https://apidocs.bitrix24.com/api-reference/tasks/events-tasks/"""

HIDDEN = "[redacted]"

Tree = dict[str, Any]
"""Names to texts, None or further trees."""

_KEY = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_PART = re.compile(r"\[([^\[\]]*)\]")
_SECRET = re.compile(r"(?i)(?:^|\[)[a-z_]*(?:token|secret|password)\]?$")


class Unreadable(ValueError):
    """The body is not what Bitrix24 sends, or larger, longer or deeper than anything that it sends."""


def parsed(body: bytes) -> Tree:
    """The body as nested maps of texts; JSON too, which one community note claims to have seen. Raises Unreadable."""
    if len(body) > LARGEST:
        raise Unreadable(f"the body is larger than {LARGEST} bytes")
    text = body.decode("utf-8", "replace")
    return _from_json(text) if text.lstrip()[:1] == "{" else _from_form(text)


def _from_form(text: str) -> Tree:
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_KEYS, errors="replace")
    except ValueError:
        raise Unreadable(f"more than {MOST_KEYS} fields") from None
    tree: Tree = {}
    for key, value in pairs:
        *way, last = _path(key)
        place = tree
        for part in way:
            inner = place.get(part)
            if not isinstance(inner, dict):
                inner = place[part] = {}
            place = inner
        place[last] = None if value == UNDEFINED else value
    return tree


def _path(key: str) -> list[str]:
    """`data[FIELDS][ID]` as its parts. What is no such notation is one part, as it is."""
    if len(key) > LONGEST_KEY:
        raise Unreadable(f"a field's name is longer than {LONGEST_KEY} characters")
    match = _KEY.fullmatch(key)
    parts = [match[1], *_PART.findall(match[2])] if match else [key]
    if len(parts) > DEEPEST:
        raise Unreadable(f"fields are nested deeper than {DEEPEST}")
    return parts


def _from_json(text: str) -> Tree:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise Unreadable("the body is neither a form nor JSON") from None
    counted = iter(range(MOST_KEYS))

    def plain(value: Any, depth: int) -> Any:
        if depth > DEEPEST:
            raise Unreadable(f"fields are nested deeper than {DEEPEST}")
        if next(counted, None) is None:
            raise Unreadable(f"more than {MOST_KEYS} fields")
        if isinstance(value, dict):
            return {str(name): plain(item, depth + 1) for name, item in value.items()}
        if isinstance(value, list):
            return {str(index): plain(item, depth + 1) for index, item in enumerate(value)}
        if isinstance(value, bool):
            return "Y" if value else "N"
        return None if value in (None, UNDEFINED) else str(value)

    tree: Tree = plain(found, 0)
    return tree


def at(tree: Any, *names: str) -> Any:
    """The value at that place, whatever stands in the way; None where there is nothing."""
    for name in names:
        tree = tree.get(name) if isinstance(tree, Mapping) else None
    return tree


def text_at(tree: Any, *names: str) -> str | None:
    """The text at that place; None for nothing, for an empty text and for a map."""
    value = at(tree, *names)
    return value if isinstance(value, str) and value else None


def items(value: Any) -> list[Tree]:
    """A list that may have come as an object: `DATA` is `[0][connector]...` in older events, `[connector]...` in
    newer ones. A map is a list only when its keys are exactly 0..n-1."""
    if not isinstance(value, Mapping) or not value:
        return []
    if len(value) <= MOST_ITEMS and all(str(number) in value for number in range(len(value))):
        return [found for number in range(len(value)) if isinstance(found := value[str(number)], dict)]
    return [dict(value)]


def without_secrets(body: bytes) -> bytes:
    """The body to keep: tokens, which prove the origin or open the REST API, replaced; nothing else is touched."""
    if body.lstrip()[:1] == b"{":
        return _json_without_secrets(body)
    return b"&".join(_kept(pair) for pair in body.split(b"&"))


def _kept(pair: bytes) -> bytes:
    name, equals, _ = pair.partition(b"=")
    if equals and _SECRET.search(unquote_plus(name.decode("utf-8", "replace"))):
        return name + b"=" + HIDDEN.encode()
    return pair


def _json_without_secrets(body: bytes) -> bytes:
    def kept(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                name: HIDDEN if isinstance(item, str) and _SECRET.search(name) else kept(item)
                for name, item in value.items()
            }
        return [kept(item) for item in value] if isinstance(value, list) else value

    return json.dumps(kept(json.loads(body)), ensure_ascii=False).encode()
