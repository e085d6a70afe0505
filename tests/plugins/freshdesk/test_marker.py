"""Are our marks found in whatever Freshdesk makes of them, and never shown to anybody?"""

import pytest
from gateway_plugins.freshdesk import marker
from hypothesis import given
from hypothesis import strategies as st

from gateway.api import html_to_text, sanitised, text_to_html

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=60)


@given(TEXTS, st.text(min_size=1, max_size=40), st.text(min_size=1, max_size=40))
def test_a_marked_note_names_its_action_and_no_other_in_every_form(text, action_id, other):
    html = text_to_html(text) + marker.hidden(action_id)
    for form in (html, sanitised(html), html_to_text(html)):
        assert marker.names(form, action_id)
        assert marker.is_in(form)
        assert marker.names(form, other) is (other == action_id)


@given(TEXTS, st.text(min_size=1, max_size=40))
def test_without_its_mark_a_note_is_what_was_written(text, action_id):
    html = text_to_html(text)
    assert marker.without(html + marker.hidden(action_id)) == html
    assert html_to_text(marker.without(sanitised(html + marker.hidden(action_id)))) == html_to_text(html)
    read = marker.without(html_to_text(html + marker.hidden(action_id)))
    assert read.split() == html_to_text(html).split()


@given(TEXTS, st.text(min_size=1, max_size=40))
def test_a_marked_reply_shows_its_mark_to_nobody(text, action_id):
    html = marker.wrapped(text_to_html(text), action_id)
    assert marker.names(html, action_id)
    assert not marker.is_in(html_to_text(html))


@given(st.text(min_size=1, max_size=40))
def test_a_tag_is_a_mark_that_fits_freshdesk(action_id):
    tag = marker.tag(action_id)
    assert marker.is_tag(tag)
    assert len(tag) <= 32
    assert "," not in tag
    assert marker.names(tag, action_id)


@pytest.mark.parametrize(
    "word", ["gw-", "gw-0123456789a", "gw-0123456789abc", "gw-0123456789AB", "x gw-0123456789ab", "vip"]
)
def test_other_tags_are_not_ours(word):
    assert not marker.is_tag(word)


@given(st.text("gw:-0123456789abcdef <>span/", max_size=120))
def test_any_text_can_be_freed_of_marks(text):
    assert len(marker.without(text)) <= len(text)
