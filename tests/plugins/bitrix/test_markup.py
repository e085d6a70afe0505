"""What we write is text to Bitrix24 and comes back as it was; our mark is seen by nobody."""

import pytest
from gateway_plugins.bitrix.markup import has_mark, mark, marked, same_words, to_bbcode, to_text, without_mark
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("bbcode", "text"),
    [
        ("[b]Ana[/b] [i]x[/i]", "Ana x"),
        ("[B]Ana Souza:[/B][br]Bom dia", "Ana Souza:\nBom dia"),
        ("[url=https://x.example/1]aqui[/url]", "aqui (https://x.example/1)"),
        ("[url=https://x.example/1]https://x.example/1[/url]", "https://x.example/1"),
        ("[url]https://x.example/1[/url]", "https://x.example/1"),
        ("[USER=15]Caio[/USER], veja", "Caio, veja"),
        ("[list][*]um[*]dois[/list]", "um\ndois"),
        ("[quote]a[/quote]b", "a\nb"),
        ("[size=20pt][color=#fff]x[/color][/size]", "x"),
        ("nota [1] e [sic]", "nota [1] e [sic]"),
        ("", ""),
        (None, ""),
    ],
)
def test_bbcode_is_read_as_a_person_reads_it(bbcode, text):
    assert to_text(bbcode) == text


@pytest.mark.parametrize(
    ("html", "bbcode"),
    [
        ("<p>Olá <b>Ana</b></p><p>fim</p>", "Olá [b]Ana[/b]\nfim"),
        ('<a href="https://x.example/?a=1&amp;b=2">aqui</a>', "[url=https://x.example/?a=1&b=2]aqui[/url]"),
        ("<script>alert(1)</script>x", "x"),
        ('<a href="javascript:alert(1)">x</a>', "x"),
        ("<em>a</em> &lt;b&gt;", "[i]a[/i] <b>"),
    ],
)
def test_of_html_links_and_emphasis_are_kept(html, bbcode):
    assert to_bbcode(html, is_html=True) == bbcode


@pytest.mark.parametrize(
    "text", ["[b]x[/b]", "[send=/apagar]Sim[/send]", "[USER=15]x[/USER]", "[url=https://evil.example]x[/url]"]
)
def test_a_customers_text_can_draw_nothing(text):
    sent = to_bbcode(f"Cliente: {text}")
    assert text not in sent
    assert to_text(sent) == f"Cliente: {text}"
    assert text not in to_bbcode(f"<p>{text}</p>", is_html=True)


@given(st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\u200b"), max_size=120))
def test_every_text_comes_back_with_the_same_words(text):
    if not has_mark(text):
        assert same_words(to_text(marked(to_bbcode(text), "action-1")), text)


@given(st.text(max_size=80), st.text(min_size=1, max_size=40))
def test_the_mark_is_found_and_taken_out_whether_its_dress_is_kept_or_not(text, action_id):
    full = marked(text, action_id)
    assert mark(action_id) in full
    assert mark(action_id) not in without_mark(full)
    bare = f"{text} {mark(action_id)}"
    assert mark(action_id) not in without_mark(bare)


def test_two_actions_have_two_marks():
    assert mark("one") != mark("two")
    assert not has_mark("gw:xyz gwx:0123456789ab")


@pytest.mark.parametrize(
    "text",
    [
        " " * 300_000 + "x",
        "[url=a]" * 30_000,
        "[size=" * 30_000,
        "[b=" * 60_000,
        "[url=" * 30_000,
        "[" * 300_000,
    ],
)
def test_a_text_made_to_take_for_ever_does_not(text):
    """Backtracking without bounds would keep this test busy for minutes."""
    assert has_mark(text) is False
    assert isinstance(to_text(text), str)
    assert isinstance(to_bbcode(text), str)
