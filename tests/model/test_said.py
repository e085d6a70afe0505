"""Are people's words told from our own, and agents' from the customer's?"""

import pytest
from tests_town import NOW

from gateway.api import (
    AddComment,
    AddTags,
    Comment,
    CommentCreated,
    Past,
    Person,
    Ticket,
    TicketRef,
    by_agent,
)
from gateway.model.said import said, same_words

REF = TicketRef("desk", "7")


def comment(id_: str, body: str, **fields: object) -> Comment:
    return Comment(id=id_, body=body, **fields)


def noted(body: str, *, is_html: bool = False, remote_id: str | None = None) -> Past:
    action = AddComment(ticket=REF, body=body, is_html=is_html, reason="-")
    return Past(rule="any", action=action, state="done", decided_at=NOW, remote_id=remote_id)


def test_our_own_notes_are_left_out_by_id_and_by_their_words():
    past = [
        noted("other", remote_id="1"),
        noted("<p>Falta o <b>telefone</b></p>", is_html=True),
        noted("a\n b"),
    ]
    past.append(past[0].model_copy(update={"action": AddTags(ticket=REF, tags=("x",), reason="-")}))
    people = comment("4", "Bom dia")
    written = [comment("1", "changed"), comment("2", "Falta  o telefone\n"), comment("3", "a b"), people]
    assert said(written, past) == (people,)


def test_the_comment_of_the_event_is_there_once():
    one, two = comment("1", "um"), comment("2", "dois")
    event = CommentCreated(id="c", occurred_at=NOW, ticket=Ticket(ref=REF), comment=two)
    assert said([one], [], event) == (one, two)
    assert said([two, one], [], event) == (two, one)


@pytest.mark.parametrize(
    ("is_agent", "is_private", "expected"),
    [
        (True, False, True),
        (False, False, False),
        (None, False, False),
        (None, True, True),
        (False, True, False),
    ],
)
def test_who_is_an_agent(is_agent, is_private, expected):
    assert (
        by_agent(comment("1", "x", author=Person(id="p", is_agent=is_agent), is_private=is_private))
        is expected
    )


def test_a_comment_of_nobody_is_an_agents_if_the_customer_cannot_see_it():
    assert by_agent(comment("1", "x", is_private=True))
    assert not by_agent(comment("1", "x"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ainda não  funciona.\n", "Ainda não funciona."),
        (
            "Obrigada!\n\nEm seg., 2 de mar. de 2026 às 12:01, Suporte <s@x.example> escreveu:\n> oi",
            "Obrigada!",
        ),
        ("Obrigada!\n\nOn Mon, 2 Mar 2026, Support wrote:\n\noi", "Obrigada!\n> oi"),
        ("Ok\n----- Mensagem original -----\nDe: a", "Ok"),
    ],
)
def test_the_same_words_in_two_desks_are_known_for_the_same(one, other):
    assert same_words(one, other)
    assert same_words(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [("a", "b"), ("", ""), ("> oi", "> oi"), ("Em breve ligo", "Em breve"), ("Ana escreveu: oi", "Ana")],
)
def test_other_words_are_others(one, other):
    assert not same_words(one, other)
