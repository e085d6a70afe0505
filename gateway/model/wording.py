"""Does a text say any of these words or patterns?"""

import re
import unicodedata
from functools import cached_property, lru_cache
from typing import Annotated, Any

import regex
from pydantic import AfterValidator, Field

from .scope import Choice

MAX_TEXT = 10_000
"""Characters looked at; what follows is mostly quoted e-mail."""
PATIENCE = 0.1
"""Seconds of processor time that one pattern may take for one text."""

_MARKS = re.compile("[\u0300-\u036f]+")
_WORD = re.compile(r"\w+")
_PATTERN = re.compile(r"/(.+)/", re.DOTALL)


def check_term(term: str) -> str:
    """Refuse, when it is saved, a pattern that cannot be read and words without a letter or digit."""
    if _PATTERN.fullmatch(term):
        try:
            _compiled(term)
        except (regex.error, RecursionError, OverflowError) as error:
            raise ValueError(f"bad pattern {term}: {error}") from None
    elif not _words(term).strip():
        raise ValueError(f"{term!r} has no letter and no digit")
    return term


Term = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(check_term)]
"""Words (`segunda via`), or a pattern between slashes (`/2a? via( d[eo] boleto)?/`)."""


class Wording(Choice[Term]):
    """At least one of `any`, every one of `all`, none of `not`, as whole words, whatever accents and case."""

    def found_in(self, text: str) -> tuple[str, ...] | None:
        """The terms by which the text fits; None when it does not.

        Raises TimeoutError, naming the pattern, when one takes longer than PATIENCE.
        """
        plain, words = _spoken(text[:MAX_TEXT])
        if self.none and self._first_of("none", plain, words) is not None:
            return None
        if not all(_is_in(term, needle, plain, words) for term, needle in self._needles["all"]):
            return None
        if not self.any:
            return self.all
        one = self._first_of("any", plain, words)
        return None if one is None else (*self.all, one)

    def _first_of(self, name: str, plain: str, words: str) -> str | None:
        for term, needle in self._needles[name]:
            if needle in words if needle else _is_in(term, needle, plain, words):
                return term
        return None

    @cached_property
    def _needles(self) -> dict[str, tuple[tuple[str, str], ...]]:
        """By list, each term with the words it stands for; "" where it is a pattern."""
        return {
            name: tuple(
                (term, "" if _PATTERN.fullmatch(term) else _words(term)) for term in getattr(self, name)
            )
            for name in ("any", "all", "none")
        }


def _is_in(term: str, needle: str, plain: str, words: str) -> bool:
    if needle:
        return needle in words
    try:
        return _compiled(term).search(plain, timeout=PATIENCE) is not None
    except TimeoutError:
        raise TimeoutError(term) from None


@lru_cache(maxsize=256)
def _spoken(text: str) -> tuple[str, str]:
    """The text without accents, for patterns; and only its words, each between spaces."""
    plain = _plain(text)
    return plain, _between_spaces(plain)


def _words(term: str) -> str:
    return _between_spaces(_plain(term))


@lru_cache(maxsize=1024)
def _compiled(term: str) -> Any:
    """The pattern, which must be one by itself (`a)(b` is none), as whole words."""
    pattern = _plain(term[1:-1])
    regex.compile(pattern)
    return regex.compile(rf"(?<!\w)(?:{pattern})(?!\w)", regex.IGNORECASE)


def _between_spaces(plain: str) -> str:
    return f" {' '.join(_WORD.findall(plain.casefold()))} "


def _plain(text: str) -> str:
    return text if text.isascii() else _MARKS.sub("", unicodedata.normalize("NFKD", text))
