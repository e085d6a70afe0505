"""Does JMESPath find what admins ask for, and do its failures stay readable?"""

from contextlib import suppress
from datetime import UTC, datetime

import jmespath
import pytest
from gateway_plugins.generic.expression import check_expression, holds, search
from hypothesis import given
from hypothesis import strategies as st

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("amount", "minor"),
    [
        (990, 99000), (990.0, 99000), (19.99, 1999), (0.1 + 0.2, 30), (-5, -500),
        ("990.0", 99000), ("990", 99000), ("19.9", 1990), ("1530.75", 153075), ("-1.5", -150),
        ("1.530,75", 153075), ("1530,75", 153075), ("R$ 1.530,75", 153075), ("R$\xa010,00", 1000),
        ("1.234.567", 123456700), ("-R$ 3,50", -350), (None, None), ("", None),
    ],
)  # fmt: skip
def test_reais_become_centavos(amount, minor):
    assert search("to_minor(amount)", {"amount": amount}) == minor


@pytest.mark.parametrize(
    "amount", ["1.530", "1,530.75", "12,345", "ten", "NaN", "1e5", "१०", True, [], 10**15, 1e300]
)
def test_an_amount_that_could_mean_two_things_or_nothing_is_refused(amount):
    with pytest.raises(ValueError, match="to_minor"):
        search("to_minor(amount)", {"amount": amount})


@given(st.integers(-(10**13), 10**13))
def test_every_amount_of_centavos_survives_the_way_through_reais(minor):
    sign, (reais, cents) = "-" if minor < 0 else "", divmod(abs(minor), 100)
    assert search("to_minor(@)", f"{sign}{reais}.{cents:02d}") == minor
    assert search("to_minor(@)", f"{sign}{reais:,}".replace(",", ".") + f",{cents:02d}") == minor


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        ("123.456.789-09", "12345678909"),
        (12345678909, "12345678909"),
        ("none", None),
        ("", None),
        (None, None),
    ],
)
def test_documents_become_digits(text, digits):
    assert search("digits(document)", {"document": text}) == digits


def test_a_fraction_has_no_digits_that_mean_anything():
    with pytest.raises(ValueError, match="whole number"):
        search("digits(@)", 1.5)


@pytest.mark.parametrize(
    ("moment", "utc"),
    [
        ("2026-09-13 21:00:00", "2026-09-14T00:00:00+00:00"),
        ("2026-09-13T21:00:00-03:00", "2026-09-14T00:00:00+00:00"),
        ("2026-09-14T00:00:00.0000001Z", "2026-09-14T00:00:00+00:00"),
        ("2026-09-13", "2026-09-13T03:00:00+00:00"),
        (1789344000, "2026-09-14T00:00:00+00:00"),
        (1789344000000, "2026-09-14T00:00:00+00:00"),
        ("1789344000", "2026-09-14T00:00:00+00:00"),
        (None, None),
        ("", None),
    ],
)
def test_local_times_and_unix_times_become_utc(moment, utc):
    assert search("to_utc(at, 'America/Sao_Paulo')", {"at": moment}) == utc


@pytest.mark.parametrize("moment", ["yesterday", 1e300, -(10**400), "9999-12-31T23:59:59-12:00"])
def test_a_moment_that_is_none_is_refused(moment):
    with pytest.raises(ValueError, match="to_utc"):
        search("to_utc(@, 'America/Sao_Paulo')", moment)


@pytest.mark.parametrize("zone", ["Mars/Olympus", "America", "../etc/passwd", ""])
def test_an_unknown_time_zone_is_named(zone):
    with pytest.raises(ValueError, match="unknown time zone"):
        search(f"to_utc('2026-09-13', '{zone}')", {})


@given(st.integers(200_000_000, 2**33))
def test_seconds_milliseconds_and_iso_name_the_same_moment(seconds):
    iso = datetime.fromtimestamp(seconds, UTC).isoformat()
    assert search("to_utc(@, 'America/Sao_Paulo')", iso) == iso
    for told in (seconds, str(seconds), seconds * 1000, str(seconds * 1000)):
        assert search("to_utc(@, 'America/Sao_Paulo')", told) == iso


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("data.[", "Incomplete expression"),
        ("", "cannot be empty"),
        ("upper(name)", r"no function upper\(\); known: abs, .*to_minor"),
        ("{a: [nope(x)]}", r"no function nope\(\)"),
        ("to_utc(at)", r"to_utc\(\) takes 2 argument\(s\), not 1"),
        ("length(a, b)", r"length\(\) takes 1 argument\(s\), not 2"),
        ("(" * 900, "recursion"),
    ],
)
def test_an_expression_that_can_never_work_is_named(expression, complaint):
    with pytest.raises(ValueError, match=complaint) as refusal:
        check_expression(expression)
    assert repr(expression) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_built_in_functions_that_take_many_arguments_are_allowed():
    assert check_expression("not_null(a, b, merge(c, d, e), join('', [f, g]))")


@pytest.mark.parametrize(
    ("value", "held"),
    [
        (None, False),
        (False, False),
        ("", False),
        ([], False),
        ({}, False),
        (0, True),
        ("x", True),
        (True, True),
    ],
)
def test_truth_is_jmespaths(value, held):
    assert holds("value", {"value": value}) is held


def test_an_expression_that_does_not_fit_the_document_is_not_true_of_it():
    assert holds("starts_with(type, 'payment')", {"type": "payment.confirmed"})
    assert not holds("starts_with(type, 'payment')", {"other": 1})


EXPRESSIONS = [
    "to_minor(@)", "digits(@)", "to_utc(@, 'America/Sao_Paulo')", "a.b", "@[0]", "@[*].a", "sort(@)",
    "avg(@)", "sum(@)", "max_by(@, &a)", "join('', @)", "keys(@)", "to_number(@)", "length(@)", "ceil(@)",
    "merge(@, @)", "sort_by(@, &b)", "reverse(@)", "map(&a, @)", "contains(@, 'a')",
]  # fmt: skip


@given(st.sampled_from(EXPRESSIONS), JSON_VALUES)
def test_a_search_raises_nothing_but_one_line_of_value_error(expression, document):
    message = f"{expression!r}: as it should"
    try:
        search(expression, document)
    except ValueError as error:
        message = str(error)
    assert message.startswith(f"{expression!r}: ")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("expression", "document", "found"),
    [
        ('lookup(state, `{"done": "resolved"}`)', {"state": "done"}, "resolved"),
        ('lookup(state, `{"3": "closed", "true": "open"}`)', {"state": 3}, "closed"),
        ('lookup(state, `{"3": "closed", "true": "open"}`)', {"state": True}, "open"),
        ('lookup(state, `{"done": "resolved"}`)', {"state": "odd"}, None),
        ('lookup(state, `{"done": "resolved"}`)', {}, None),
        ("object(answers[].[ref, text])", {"answers": [{"ref": "a", "text": 1}, {"ref": 2}]}, {"a": 1, "2": None}),
        ("object(answers[].[ref, text])", {"answers": [{"ref": "a", "text": 1}, {"ref": "a", "text": 2}]}, {"a": 2}),
        ("object(answers[].[ref, text])", {"answers": [{"text": 1}, {"ref": True, "text": 1}]}, {}),
        ("object(nothing)", {}, {}),
        ("renamed(told, names)", {"told": {"a": 1, "b": 2}, "names": {"a": "Plano", "b": ""}}, {"Plano": 1, "b": 2}),
        ("renamed(told, names)", {}, {}),
        ("to_date(at, 'America/Sao_Paulo')", {"at": "2026-09-15T23:59:59.000-03:00"}, "2026-09-15"),
        ("to_date(at, 'America/Sao_Paulo')", {"at": "2026-09-16T01:00:00Z"}, "2026-09-15"),
        ("to_date(at, 'America/Sao_Paulo')", {"at": None}, None),
        ("renamed(told, names)", {"told": {"a": 1}}, {"a": 1}),
    ],
)  # fmt: skip
def test_tables_and_pairs_become_words_and_objects(expression, document, found):
    assert search(expression, document) == found


@pytest.mark.parametrize("pairs", [[1], [["a"]], [["a", 1, 2]], ["ab"]])
def test_an_object_is_made_of_pairs(pairs):
    with pytest.raises(ValueError, match="pairs"):
        search("object(@)", pairs)


@given(JSON_VALUES, JSON_VALUES)
def test_whatever_they_are_given_they_answer_or_refuse(first, second):
    for expression in ("lookup(a, b)", "object(a)", "renamed(a, b)"):
        found = None
        with suppress(ValueError):
            found = search(expression, {"a": first, "b": second})
        assert expression.startswith("lookup") or found is None or isinstance(found, dict)


NAMES = st.sampled_from(("a", "b", "c", '"a.b"', '"é"', "@", "a[0]", "a || b", "*", "a[]"))
NESTED = st.recursive(
    JSON_VALUES,
    lambda inner: st.dictionaries(st.sampled_from(("a", "b", "c", "a.b", "é")), inner),
    max_leaves=20,
)


@given(st.lists(NAMES, min_size=1, max_size=4).map(".".join), NESTED)
def test_a_walk_along_names_finds_what_jmespath_finds(expression, document):
    try:
        wanted = jmespath.search(expression, document)
    except jmespath.exceptions.JMESPathError:
        return
    assert search(expression, document) == wanted
