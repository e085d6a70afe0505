"""Are words and patterns found as whole words, whatever accents and case, and is no pattern able to hold us up?"""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.api import Wording
from gateway.model.wording import MAX_TEXT, PATIENCE


def found(text: str, *any_: str, **lists: tuple[str, ...]) -> tuple[str, ...] | None:
    return Wording.model_validate({"any": any_, **lists}).found_in(text)


@pytest.mark.parametrize(
    ("term", "text"),
    [
        ("cobrança", "Recebi uma COBRANCA indevida"),
        ("cobranca", "e a cobrança?"),
        ("segunda via", "quero a segunda-via,\nurgente"),
        ("1º contato", "fizemos o 1o contato hoje"),
        ("#suporte", "equipe suporte"),
        ("ação", "a\u00e7a\u0303o"),
        ("/(segunda|2a) vias?/", "a 2ª via do boleto"),
        ("/2[ªa] via/", "2a via"),
        (r"/nf-?e \d{3,}/", "NF-e 12345."),
    ],
)
def test_accents_case_and_signs_between_words_make_no_difference(term, text):
    assert found(text, term) == (term,)


@pytest.mark.parametrize(
    ("term", "text"),
    [
        ("boleto", "boletos"), ("via", "viagem"), ("segunda via", "segunda outra via"), ("a b", "ab"),
        ("/via/", "avia"), ("/via/", "viagem"), ("/a|b/", "ab"), ("boleto", ""),
    ],
)  # fmt: skip
def test_only_whole_words_count(term, text):
    assert found(text, term) is None


def test_any_all_and_not():
    assert found("boleto vencido", "boleto", "fatura") == ("boleto",)
    assert found("boleto vencido", all=("vencido", "boleto")) == ("vencido", "boleto")
    assert found("boleto", all=("vencido", "boleto")) is None
    assert found("boleto pago", "boleto", **{"not": ("pago",)}) is None
    assert found("boleto", "boleto", all=("vencido",)) is None
    assert found("whatever") == ()


@pytest.mark.parametrize(
    "bad", ["/(/", "/a)(b/", "/[/", "/*/", "!!", "", "x" * 201, "/(?P<n>a)(?P=m)/", "//"]
)
def test_what_can_never_be_found_is_refused_when_it_is_saved(bad):
    with pytest.raises(ValidationError):
        Wording(any=(bad,))


def test_a_bad_pattern_is_named():
    with pytest.raises(ValidationError, match=r"bad pattern /\(oi/: missing \)"):
        Wording(any=("/(oi/",))


@pytest.mark.parametrize("pattern", ["/(a|a)*c?b/", "/(a|aa)+c?y/"])
def test_a_pattern_that_would_take_for_ever_is_cut_off(pattern):
    began = time.process_time()
    with pytest.raises(TimeoutError, match=r"\("):
        found("a" * 40 + "x" * 40 + " b y", pattern)
    assert time.process_time() - began < 20 * PATIENCE


def test_only_the_beginning_of_a_very_long_text_is_looked_at():
    assert found("x " * (MAX_TEXT // 2) + "boleto", "boleto") is None
    assert found("x " * (MAX_TEXT // 2 - 4) + "boleto", "boleto") == ("boleto",)


@given(st.text(max_size=60), st.text(min_size=1, max_size=20))
def test_whatever_the_text_a_term_is_refused_or_found_in_itself(text, term):
    try:
        wording = Wording(any=(term,))
    except ValidationError:
        return
    assert wording.found_in(text) in {None, (term,)}
    if not term.startswith("/"):
        assert wording.found_in(f"{text} {term} {text}") == (term,)
