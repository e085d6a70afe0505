"""PHP's brackets become maps of texts within limits, and nothing that anybody sends does more than that."""

import json
from urllib.parse import parse_qsl, quote

import pytest
from gateway_plugins.bitrix.desk import encoded
from gateway_plugins.bitrix.forms import (
    DEEPEST,
    HIDDEN,
    LARGEST,
    MOST_KEYS,
    Unreadable,
    at,
    items,
    parsed,
    text_at,
    without_secrets,
)
from hypothesis import given
from hypothesis import strategies as st

NAMES = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="[]"), min_size=1, max_size=8)
TEXTS = st.text(max_size=12).filter(lambda text: text != "undefined")
TREES = st.recursive(
    TEXTS, lambda inner: st.dictionaries(NAMES, inner, min_size=1, max_size=4), max_leaves=12
).filter(lambda tree: isinstance(tree, dict))


@pytest.mark.parametrize(
    ("body", "tree"),
    [
        (b"event=ONTASKADD&ts=1", {"event": "ONTASKADD", "ts": "1"}),
        (b"data%5BFIELDS%5D%5BID%5D=662", {"data": {"FIELDS": {"ID": "662"}}}),
        (b"data[FIELDS][ID]=662", {"data": {"FIELDS": {"ID": "662"}}}),
        (b"data%5BFIELDS%5D[ID]=6", {"data": {"FIELDS": {"ID": "6"}}}),
        (b"data[FIELDS_BEFORE]=undefined", {"data": {"FIELDS_BEFORE": None}}),
        (b"a=&b", {"a": "", "b": ""}),
        (b"a=Ol%C3%A1+mundo", {"a": "Olá mundo"}),
        (b"data[BOT][7][BOT_ID]=7", {"data": {"BOT": {"7": {"BOT_ID": "7"}}}}),
        (b"a[0]=x&a[1]=y", {"a": {"0": "x", "1": "y"}}),
        # PHP's own rules: the last one counts, also where a map and a text meet
        (b"a=1&a=2", {"a": "2"}),
        (b"a=1&a[b]=2", {"a": {"b": "2"}}),
        (b"a[b]=2&a=1", {"a": "1"}),
        # what is no bracket notation is a name like any other
        (b"a[b=1&[x]=2&a]b=3&a[b]c=4", {"a[b": "1", "[x]": "2", "a]b": "3", "a[b]c": "4"}),
        (b"__proto__[x]=1&constructor=2", {"__proto__": {"x": "1"}, "constructor": "2"}),
        (b"a[]=1&a[]=2", {"a": {"": "2"}}),
        (b"a=%ff", {"a": "�"}),
        (b"", {}),
    ],
)
def test_a_form_is_read_as_php_reads_it(body, tree):
    assert parsed(body) == tree


def test_json_is_read_into_the_same_shape():
    told = {
        "event": "X",
        "data": {"FIELDS": {"ID": 662}, "DATA": [{"a": True}], "none": None, "u": "undefined"},
    }
    assert parsed(json.dumps(told).encode()) == {
        "event": "X",
        "data": {"FIELDS": {"ID": "662"}, "DATA": {"0": {"a": "Y"}}, "none": None, "u": None},
    }


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"a=" + b"x" * LARGEST, "larger than"),
        (b"&".join(b"a%d=1" % number for number in range(MOST_KEYS + 1)), "more than"),
        (b"a" + b"[b]" * DEEPEST + b"=1", "deeper than"),
        (b"a[" + b"b" * 300 + b"]=1", "longer than"),
        (b"{", "neither a form nor JSON"),
        (b'{"a":' * (DEEPEST + 2) + b"1" + b"}" * (DEEPEST + 2), "deeper than"),
        (b'{"a":[' + b"1," * MOST_KEYS + b"1]}", "more than"),
        (b'{"a":' * 200_000 + b"1", "larger than|neither"),
    ],
)
def test_what_is_beyond_the_limits_is_refused_in_words(body, why):
    with pytest.raises(Unreadable, match=why):
        parsed(body)


def test_a_body_at_the_limits_is_read():
    fields = b"&".join(b"a%d=1" % number for number in range(MOST_KEYS))
    assert len(parsed(fields)) == MOST_KEYS
    assert parsed(b"a" + b"[b]" * (DEEPEST - 1) + b"=1")


@given(TREES)
def test_whatever_php_writes_is_read_back(tree):
    assert parsed(encoded(tree)) == tree


@given(st.binary(max_size=400) | st.text(alphabet='ab[]=&%5BD{}":,', max_size=80).map(str.encode))
def test_no_body_is_too_odd(body):
    try:
        tree = parsed(body)
    except Unreadable:
        return
    assert isinstance(tree, dict)
    items(at(tree, "a", "b"))
    text_at(tree, "a", "b", "c")


@given(TREES, st.text("abcdef0123456789", min_size=8, max_size=32))
def test_nothing_but_the_tokens_is_taken_out_of_what_is_kept(tree, token):
    secrets = dict.fromkeys(("access_token", "refresh_token", "application_token"), token)
    body = encoded({"tree": tree, "auth": {**secrets, "member_id": "m"}})
    kept = parsed(without_secrets(body))
    assert kept == {"tree": kept["tree"], "auth": {**dict.fromkeys(secrets, HIDDEN), "member_id": "m"}}
    names = [name for name, _ in parse_qsl(body.decode(), keep_blank_values=True)]
    if not any(
        "token" in name.lower() or "secret" in name.lower() for name in names if name.startswith("tree")
    ):
        assert kept["tree"] == tree


def test_tokens_of_bots_and_of_json_are_taken_out_too():
    body = b"data%5BBOT%5D%5B7%5D%5Bapplication_token%5D=hidden1&data%5BBOT%5D%5B7%5D%5BID%5D=7"
    assert (
        without_secrets(body)
        == b"data%5BBOT%5D%5B7%5D%5Bapplication_token%5D=[redacted]&data%5BBOT%5D%5B7%5D%5BID%5D=7"
    )
    told = {"auth": {"access_token": "hidden1", "list": [{"refresh_token": "hidden2"}], "domain": "d"}}
    kept = without_secrets(json.dumps(told).encode()).decode()
    assert json.loads(kept) == {
        "auth": {"access_token": HIDDEN, "list": [{"refresh_token": HIDDEN}], "domain": "d"}
    }


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"0": {"a": "1"}, "1": {"a": "2"}}, [{"a": "1"}, {"a": "2"}]),
        ({"connector": {"a": "1"}}, [{"connector": {"a": "1"}}]),
        ({"1": {"a": "1"}}, [{"1": {"a": "1"}}]),
        ({"0": {"a": "1"}, "2": {"a": "2"}}, [{"0": {"a": "1"}, "2": {"a": "2"}}]),
        ({"0": "x"}, []),
        ({}, []),
        (None, []),
        ("x", []),
    ],
)
def test_a_list_is_a_list_only_when_its_keys_are_exactly_counted(value, found):
    assert items(value) == found


def test_the_order_of_a_list_is_its_own_not_that_of_its_keys():
    body = b"&".join(b"d[%d][n]=%d" % (number, number) for number in reversed(range(12)))
    assert [each["n"] for each in items(parsed(body)["d"])] == [str(number) for number in range(12)]


def test_what_is_not_there_is_none_whatever_stands_in_the_way():
    tree = parsed(f"a[b]=1&c={quote('undefined')}".encode())
    assert at(tree, "a", "b", "c") is None
    assert text_at(tree, "a") is None
    assert text_at(tree, "c") is None
    assert text_at({"x": ""}, "x") is None
