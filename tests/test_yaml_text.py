"""Does YAML mean what it looks like, and come back as it was?"""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model.errors import InvalidConfiguration
from gateway.yaml_text import dump, load

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.sampled_from(
    ["yes", "NO", "null", "~", "10:30", "0800", "1e3", "1_000", "2026-01-01", "<<", "=", "0x1F", "1.5", "a: b", ""]
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_what_is_written_is_read_back_the_same(value: Any) -> None:
    assert load(dump(value)) == value


@given(st.text(max_size=60) | st.binary(max_size=60))
def test_any_text_is_json_or_refused_in_one_line(content: str | bytes) -> None:
    problem = ""
    try:
        load(content)
    except InvalidConfiguration as error:
        problem = str(error)
    assert len(problem.splitlines()) <= 1


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"), ("on", "on"), ("10:30", "10:30"), ("0800", "0800"), ("2026-01-01", "2026-01-01"),
        ("1_000", "1_000"), ("+55", 55), ("12", 12), ("-3", -3), ("1.50", 1.5), ("true", True), ("False", False),
        ("~", None), ("", None), (".inf", ".inf"), ("0x10", "0x10"), ("'12'", "12"),
    ],
)  # fmt: skip
def test_a_plain_value_is_what_it_looks_like(text: str, value: Any) -> None:
    found = load(text)

    assert (found, type(found)) == (value, type(value))


def test_keys_are_text_as_they_are_written() -> None:
    assert load("{yes: 1, 007: 2, 5: 3, null: 4}") == {"yes": 1, "007": 2, "5": 3, "null": 4}


def test_a_key_may_override_what_is_merged_in() -> None:
    text = "base: &base {a: 1, b: 2}\nmore: &more {<<: *base, b: 3}\nmost: {<<: *more, a: 4}"

    assert load(text)["most"] == {"a": 4, "b": 3}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: 2\na: 3", "line 3, column 1: the key 'a' is there twice, first in line 1"),
        ("x: {a: 1, 'a': 2}", "line 1, column 11: the key 'a' is there twice, first in line 1"),
        ("a: [1", "line 1, column 6: expected ',' or ']'"),
        ("a: 1\n\tb: 2", "line 2, column 1: found character '\\t' that cannot start any token"),
        ("a: *nowhere", "line 1, column 4: found undefined alias 'nowhere'"),
        ("? [a]\n: 1", "line 1, column 3: a key should be text"),
        ("a: !!python/object:os.system x", "line 1, column 4: could not determine a constructor for the tag"),
        ("a: !!timestamp 2026-01-01", "line 1, column 4: could not determine a constructor for the tag"),
        ("a: 1\n---\nb: 2", "line 2, column 1: but found another document (expected a single document"),
        ("a: \x00", "position 3: not text: special characters are not allowed"),
        ("[" * 5000, "nested too deeply"),
        ("a: " + "9" * 5000, "a value cannot be read: Exceeds the limit"),
        ("a: !!int x", "a value cannot be read: invalid literal for int()"),
    ],
)
def test_a_mistake_is_named_with_line_and_column(text: str, problem: str) -> None:
    with pytest.raises(InvalidConfiguration) as refused:
        load(text)

    assert str(refused.value).startswith(problem)


def test_texts_of_several_lines_are_written_as_blocks() -> None:
    assert dump({"text": "Olá {{ name }}\nAté logo"}) == "text: |-\n  Olá {{ name }}\n  Até logo\n"
