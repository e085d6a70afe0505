"""Which rows does a `$filter` let through? The shapes that we send, for the sandbox; no general OData.

`eq ne gt ge lt le and or not`, parentheses, `contains(a,'b')` and `list/any(x: ...)`, with Movidesk's own
strictness: dates are unquoted and end in Z, a quoted number is a type error.
"""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

Row = Any
Test = Callable[[dict[str, Row]], bool]

_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<date>\d{4}-\d\d-\d\dT[\d:.]+\S*?(?=[\s)]|$))|(?P<number>-?\d+)"
    r"|(?P<word>[A-Za-z_][\w/]*)|(?P<mark>[():,]))"
)
CONSTANTS = {"true": True, "false": False, "null": None}
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "gt": lambda a, b: a is not None and a > b,
    "ge": lambda a, b: a is not None and a >= b,
    "lt": lambda a, b: a is not None and a < b,
    "le": lambda a, b: a is not None and a <= b,
}


def matching(where: str) -> Callable[[Row], bool]:
    """A test of one row. Raises ValueError for what Movidesk would refuse, or what this subset leaves out."""
    tokens = list(_tokens(where))
    test, rest = _either(tokens)
    if rest:
        raise ValueError(f"unexpected {rest[0]} in {where}")
    return lambda row: test({"": row})


def _tokens(where: str) -> Iterator[str]:
    at = 0
    while at < len(where.rstrip()):
        match = _TOKEN.match(where, at)
        if match is None:
            raise ValueError(f"cannot read {where[at:]!r}")
        yield match[0].strip()
        at = match.end()


def _either(tokens: list[str]) -> tuple[Test, list[str]]:
    left, tokens = _both(tokens)
    while tokens[:1] == ["or"]:
        right, tokens = _both(tokens[1:])
        left = _or(left, right)
    return left, tokens


def _both(tokens: list[str]) -> tuple[Test, list[str]]:
    left, tokens = _single(tokens)
    while tokens[:1] == ["and"]:
        right, tokens = _single(tokens[1:])
        left = _and(left, right)
    return left, tokens


def _or(left: Test, right: Test) -> Test:
    return lambda row: left(row) or right(row)


def _and(left: Test, right: Test) -> Test:
    return lambda row: left(row) and right(row)


def _single(tokens: list[str]) -> tuple[Test, list[str]]:
    match tokens:
        case ["not", *rest]:
            test, rest = _single(rest)
            return lambda row: not test(row), rest
        case ["(", *rest]:
            test, rest = _either(rest)
            return test, _after(")", rest)
        case ["contains", "(", path, ",", literal, *rest]:
            part = _literal(literal)
            return lambda row: part in (_value(row, path) or ""), _after(")", rest)
        case [path, "(", name, ":", *rest] if path.endswith("/any"):
            test, rest = _either(rest)
            members = path.removesuffix("/any")
            return lambda row: any(test(row | {name: one}) for one in _value(row, members) or ()), _after(
                ")", rest
            )
        case [path, word, literal, *rest] if word in COMPARISONS:
            compare, right = COMPARISONS[word], _literal(literal)
            return lambda row: compare(_typed(_value(row, path), right), right), rest
        case _:
            raise ValueError(f"cannot read {' '.join(tokens)!r}")


def _after(mark: str, tokens: list[str]) -> list[str]:
    if tokens[:1] != [mark]:
        raise ValueError(f"{mark} expected")
    return tokens[1:]


def _value(row: dict[str, Row], path: str) -> Any:
    """`x` alone, `x/email` inside a lambda, or a property of the row itself; names in any case."""
    first, *names = path.split("/")
    found = row[first] if first in row else _member(row[""], first)
    for name in names:
        found = _member(found, name)
    return found.casefold() if isinstance(found, str) else found


def _member(row: Row, name: str) -> Any:
    named = {key.lower(): value for key, value in row.items()} if isinstance(row, dict) else {}
    return named.get(name.lower())


def _literal(token: str) -> Any:
    if token.startswith("'"):
        return token[1:-1].replace("''", "'").casefold()
    if "T" in token and token[:4].isdecimal():
        if not token.endswith("Z"):
            raise ValueError(f"{token}: dates are UTC and end in Z")
        return datetime.fromisoformat(token)
    if token.lstrip("-").isdecimal():
        return int(token)
    if token not in CONSTANTS:
        raise ValueError(f"{token} is no value")
    return CONSTANTS[token]


def _typed(stored: Any, literal: Any) -> Any:
    if isinstance(literal, datetime) and isinstance(stored, str):
        return datetime.fromisoformat(stored).replace(tzinfo=UTC)
    if stored is not None and literal is not None and type(stored) is not type(literal):
        raise ValueError(f"a {type(stored).__name__} was compared with a {type(literal).__name__}")
    return stored
