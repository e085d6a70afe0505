"""Are form fields read as PHP and Rails nest them, and anything else refused?"""

from contextlib import suppress
from urllib.parse import urlencode

import pytest
from gateway_plugins.generic.form import read_form
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"event=invoice.due&data%5Bid%5D=7", {"event": "invoice.due", "data": {"id": "7"}}),
        (b"a[b][c]=1&a[b][d]=2", {"a": {"b": {"c": "1", "d": "2"}}}),
        (b"tags[]=a&tags[]=b", {"tags": ["a", "b"]}),
        (b"rows[][id]=1&rows[][id]=2", {"rows": [{"id": "1"}, {"id": "2"}]}),
        (b"a=1&a=2&b=", {"a": "2", "b": ""}),
        (b"odd]key=1&[x]=2", {"odd]key": "1", "[x]": "2"}),
        (b"nome=Jo%C3%A3o+Souza", {"nome": "João Souza"}),
    ],
)
def test_brackets_nest(body, told):
    assert read_form(body) == told


@pytest.mark.parametrize(
    "body",
    [
        b"", b"&&", b"\xff", b"a=1&a[b]=2", b"a[]=1&a[b]=2", b"a[b]=1&a=2&a[]=3",
        b"&".join([b"a=1"] * 1001), b"a" + b"[b]" * 11 + b"=1",
    ],
)  # fmt: skip
def test_what_contradicts_itself_or_is_too_much_is_refused(body):
    with pytest.raises(ValueError, match=r"."):
        read_form(body)


NAMES = st.text(st.characters(exclude_characters="[]", exclude_categories=["Cs"]), min_size=1, max_size=8)


@given(
    st.dictionaries(
        NAMES, st.text(st.characters(exclude_categories=["Cs"]), max_size=20), min_size=1, max_size=6
    )
)
def test_what_is_encoded_is_read_back(fields):
    assert read_form(urlencode(fields).encode()) == fields
    nested = urlencode({f"data[{name}]": value for name, value in fields.items()})
    assert read_form(nested.encode()) == {"data": fields}


@given(st.binary(max_size=300) | st.text(alphabet="ab[]=&%5BD", max_size=60).map(str.encode))
def test_any_bytes_are_fields_or_refused(body):
    found = {"refused": True}
    with suppress(ValueError):
        found = read_form(body)
    assert found
