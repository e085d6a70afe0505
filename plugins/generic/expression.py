"""How is a value found in somebody else's JSON? JMESPath, and the few functions that real payloads need.

https://jmespath.org/specification.html
"""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import jmespath
from jmespath import functions
from jmespath.parser import ParsedResult
from pydantic import AfterValidator, Field

from gateway.api import JSON

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECONDS_FROM = 10**11
"""A number this large counts milliseconds: as seconds it would be the year 5138."""
LARGEST_AMOUNT = 10**12

_EPOCH_TEXT = re.compile(r"-?\d{9,14}(?:\.\d+)?", re.ASCII)
_BRAZILIAN = re.compile(r"-?\d{1,3}(?:\.\d{3})*,\d{1,2}|-?\d+,\d{1,2}|-?\d{1,3}(?:\.\d{3}){2,}", re.ASCII)
_PLAIN = re.compile(r"-?\d+(?:\.\d+)?", re.ASCII)
_THOUSANDS_OR_DECIMALS = re.compile(r"-?\d{1,3}\.\d{3}", re.ASCII)


class Functions(functions.Functions):
    """What JMESPath lacks for payloads of Brazilian systems. A missing value stays missing."""

    @functions.signature({"types": ["number", "string", "null"]})
    def _func_to_minor(self, amount: float | str | None) -> int | None:
        """Reais to centavos: `990.0`, `"990.5"`, `"1.530,75"`, `"R$ 1.530,75"`. Raises ValueError."""
        if amount is None or amount == "":
            return None
        exact = Decimal(_decimal_text(amount) if isinstance(amount, str) else repr(amount))
        if not abs(exact) < LARGEST_AMOUNT:
            raise ValueError("to_minor() got an amount that no payment has")
        return int((exact * 100).quantize(Decimal(1), ROUND_HALF_UP))

    @functions.signature({"types": ["string", "number", "null"]})
    def _func_digits(self, text: str | float | None) -> str | None:
        """Only the digits: `"123.456.789-09"` gives `"12345678909"`; None where there are none."""
        if isinstance(text, float):
            raise ValueError("digits() needs a text or a whole number")
        return re.sub(r"[^0-9]", "", "" if text is None else str(text)) or None

    @functions.signature({"types": ["string", "number", "null"]}, {"types": ["string"]})
    def _func_to_utc(self, moment: str | float | None, zone: str) -> str | None:
        """ISO text in UTC, of ISO text (no offset = local time of `zone`) or Unix seconds or milliseconds."""
        if moment is None or moment == "":
            return None
        if isinstance(moment, int | float) or _EPOCH_TEXT.fullmatch(moment):
            return (EPOCH + timedelta(seconds=_in_seconds(float(moment)))).isoformat()
        try:
            told = datetime.fromisoformat(moment)
        except ValueError:
            raise ValueError("to_utc() needs an ISO time or Unix seconds") from None
        local = told if told.tzinfo else told.replace(tzinfo=_zone(zone))
        return local.astimezone(UTC).isoformat()

    @functions.signature({"types": ["string", "number", "null"]}, {"types": ["string"]})
    def _func_to_date(self, moment: str | float | None, zone: str) -> str | None:
        """The day of that moment in `zone`, for dates that are told as times."""
        utc = self._func_to_utc(moment, zone)
        return None if utc is None else datetime.fromisoformat(utc).astimezone(_zone(zone)).date().isoformat()

    @functions.signature({"types": ["string", "number", "boolean", "null"]}, {"types": ["object"]})
    def _func_lookup(self, word: JSON, table: dict[str, JSON]) -> JSON:
        """What `table` has for `word`: ``lookup(state, `{"done": "resolved"}`)``; None where it has nothing."""
        return table.get(json.dumps(word) if isinstance(word, bool) else str(word))

    @functions.signature({"types": ["array", "null"]})
    def _func_object(self, pairs: list[JSON] | None) -> dict[str, JSON]:
        """An object of `[name, value]` pairs; the last of the same name stays, pairs without a name do not."""
        if any(not isinstance(pair, list) or len(pair) != 2 for pair in pairs or ()):
            raise ValueError("object() needs [name, value] pairs")
        named = {_name(name): value for name, value in pairs or ()}
        return {name: value for name, value in named.items() if name}

    @functions.signature({"types": ["object", "null"]}, {"types": ["object", "null"]})
    def _func_renamed(self, told: dict[str, JSON] | None, names: dict[str, JSON] | None) -> dict[str, JSON]:
        """The same object with its names looked up in another one; a name that is not there stays."""
        return {_name((names or {}).get(name)) or name: value for name, value in (told or {}).items()}


_OPTIONS = jmespath.Options(custom_functions=Functions())

FAILURES = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RecursionError)
"""What a search may raise: JMESPath's built-in functions let Python's own errors through."""


def search(expression: str, document: JSON) -> JSON:
    """The value at `expression`; None where there is nothing. Raises ValueError in one line."""
    path = _path(expression)
    if path:
        return _at(path, document)
    try:
        return _compiled(expression).search(document, _OPTIONS)
    except FAILURES as error:
        raise ValueError(f"{expression!r}: {_one_line(error)}") from None


def holds(expression: str, document: JSON) -> bool:
    """Is `expression` true of this document, as JMESPath understands truth (0 is true, empty is not)?

    An expression that does not fit the document's shape is not true of it: many shapes come to one URL.
    """
    try:
        value = search(expression, document)
    except ValueError:
        return False
    return value is not None and value is not False and value not in ("", [], {})


def check_expression(expression: str) -> str:
    """Refuse what cannot be evaluated when it is saved. Raises ValueError that names the expression."""
    try:
        for name, arguments in _calls(_compiled(expression).parsed):
            _check_call(name, arguments)
    except FAILURES as error:
        raise ValueError(f"bad JMESPath {expression!r}: {_one_line(error)}") from None
    return expression


Expression = Annotated[str, Field(max_length=1000), AfterValidator(check_expression)]
"""A settings field that holds a JMESPath expression."""


@lru_cache(maxsize=4096)
def _compiled(expression: str) -> ParsedResult:
    return jmespath.compile(expression)


@lru_cache(maxsize=4096)
def _path(expression: str) -> tuple[str, ...]:
    """The names in `a.b.c`, which is what most expressions are; empty for any other."""
    return _names(_compiled(expression).parsed)


def _names(node: Any) -> tuple[str, ...]:
    if node["type"] == "field":
        return (node["value"],)
    if node["type"] != "subexpression":
        return ()
    parts = [_names(child) for child in node["children"]]
    return sum(parts, ()) if all(parts) else ()


def _at(path: tuple[str, ...], document: JSON) -> JSON:
    """What JMESPath finds at these names, at a tenth of the cost."""
    for name in path:
        if not isinstance(document, dict):
            return None
        document = document.get(name)
    return document


def _calls(node: Any) -> Iterator[tuple[str, int]]:
    """Every function call in a parsed expression: its name and how many arguments it is given."""
    if isinstance(node, dict) and "type" in node:
        if node["type"] == "function_expression":
            yield node["value"], len(node["children"])
        for child in node["children"]:
            yield from _calls(child)


def _check_call(name: str, arguments: int) -> None:
    known = Functions.FUNCTION_TABLE
    if name not in known:
        raise ValueError(f"there is no function {name}(); known: {', '.join(sorted(known))}")
    wanted = known[name]["signature"]
    variadic = bool(wanted and wanted[-1].get("variadic"))
    if arguments < len(wanted) or (arguments > len(wanted) and not variadic):
        raise ValueError(f"{name}() takes {len(wanted)} argument(s), not {arguments}")


def _decimal_text(amount: str) -> str:
    text = re.sub(r"^(-?)R\$", r"\1", amount.strip()).replace("\xa0", "").replace(" ", "")
    if _THOUSANDS_OR_DECIMALS.fullmatch(text):
        raise ValueError("an amount like 1.530 may mean 1530,00 or 1,53: send it with its cents")
    if _BRAZILIAN.fullmatch(text):
        return text.replace(".", "").replace(",", ".")
    if _PLAIN.fullmatch(text):
        return text
    raise ValueError("to_minor() needs an amount like 1530.75 or 1.530,75")


def _name(value: JSON) -> str:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _in_seconds(number: float) -> float:
    return number / 1000 if abs(number) >= MILLISECONDS_FROM else number


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        raise ValueError(f"unknown time zone {name!r}; expected one like 'America/Sao_Paulo'") from None


def _one_line(error: BaseException) -> str:
    """The first line of the message; a recursion error and the like have only their names."""
    if isinstance(error, jmespath.exceptions.JMESPathTypeError):
        return f"{error.function_name}() needs {' or '.join(error.expected_types)}, got {error.actual_type}"
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(":")
