"""Is what was said written down alike each time, and cut off at the right end?"""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from gateway.api import Attachment, Calendar, Comment, Person, latest, same_message
from gateway.model.transcript import TOGETHER, transcribed

NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)


def test_when_who_what_and_what_was_attached():
    files = (Attachment(name="a.png", url="https://files.example/a"), Attachment(name="b"))
    comment = Comment(
        id="1", body=" Oi\n", author=Person(id="c", name="Ana"), created_at=NOW, attachments=files
    )
    assert transcribed(comment, Calendar(), "pt-BR") == (
        "[02/03/2026 12:00:00] Ana:\nOi\n- a.png: https://files.example/a\n- b"
    )


def test_what_is_not_known_is_left_out():
    assert transcribed(Comment(id="1", body="Oi"), Calendar(), "fr") == "Cliente:\nOi"
    assert transcribed(Comment(id="1", body="", is_private=True), Calendar(), "en") == "Agent (private note):"


@given(st.lists(st.text(max_size=30), max_size=8), st.integers(0, 60))
def test_the_last_messages_that_fit_and_never_none(messages, room):
    kept, omitted = latest(messages, room)
    assert messages[omitted:] == kept
    assert bool(kept) == bool(messages)
    assert len(kept) <= 1 or sum(map(len, kept)) <= room
    if omitted:
        assert sum(map(len, messages[omitted - 1 :])) > room


def test_one_message_in_two_desks():
    ana, bia = Person(id="1", is_agent=False), Person(id="2", is_agent=True)
    one = Comment(id="1", body="Oi", author=ana, created_at=NOW)
    assert same_message(one, one.model_copy(update={"id": "9", "created_at": NOW + TOGETHER}))
    assert not same_message(one, one.model_copy(update={"created_at": NOW + TOGETHER + timedelta(seconds=1)}))
    assert not same_message(one, one.model_copy(update={"author": bia}))
    assert not same_message(one, one.model_copy(update={"body": "Olá"}))
    assert not same_message(one, one.model_copy(update={"created_at": None}))
