"""For each of the five rules: whatever the order in which its events come, and however often, the desks end alike."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from gateway_rules import auto_tag, escalate
from hypothesis import given
from hypothesis import strategies as st
from tests_interleaved import Desks, Town, few
from tests_town import NOW

from gateway.api import (
    Comment,
    CommentCreated,
    Contact,
    Event,
    Person,
    Status,
    Ticket,
    TicketAssigned,
    TicketCreated,
    TicketEvent,
    TicketRef,
    TicketStatusChanged,
    TicketTagged,
    TicketUpdated,
)
from gateway.model.record import merged
from gateway.runtime import Runtime

REF = TicketRef("desk", "7")
CUSTOMER, AGENT = Person(id="c", name="Ana", is_agent=False), Person(id="a", name="Bia", is_agent=True)
orders = given(rng=st.randoms(use_true_random=False))


def at(minutes: int) -> datetime:
    """The story is over by NOW."""
    return NOW + timedelta(minutes=minutes - 60)


def told(
    kind: type[Any], minutes: int, ref: TicketRef = REF, *, fields: dict[str, Any] | None = None, **more: Any
):
    ticket = Ticket(ref=ref, remote_updated_at=at(minutes), **(fields or {}))
    return kind(id=f"{kind.__name__}@{minutes}:{ref.id}", occurred_at=at(minutes), ticket=ticket, **more)


def wrote(
    minutes: int, body: str, who: Person, ref: TicketRef = REF, *, is_private: bool = False
) -> CommentCreated:
    comment = Comment(
        id=f"c{minutes}", body=body, author=who, is_private=is_private, created_at=at(minutes)
    )  # fmt: skip
    return told(CommentCreated, minutes, ref, comment=comment)


def seen_whole(story: list[Event]) -> list[Event]:
    """Each event with the whole ticket as it was then, as desks tell it."""
    known: dict[TicketRef, Ticket] = {}
    whole: list[Event] = []
    for event in story:
        if isinstance(event, TicketEvent):
            ref = event.ticket.ref
            known[ref] = merged(known[ref], event.ticket) if ref in known else event.ticket
            event = event.model_copy(update={"ticket": known[ref]})
        whole.append(event)
    return whole


# --- F4 auto_tag ------------------------------------------------------------------------------------------------

TAGGED = seen_whole(
    [
        told(
            TicketCreated,
            0,
            fields={"subject": "Segunda via", "status": Status.NEW, "team": None, "channel": "email"},
        ),
        wrote(1, "Quero cancelar o meu plano", CUSTOMER),
        told(TicketAssigned, 2, fields={"team": "Vendas"}, team="Vendas"),
        wrote(3, "Cliente não atendeu", AGENT),
        wrote(4, "Falei com a Ana", AGENT),
        told(TicketStatusChanged, 5, fields={"status": Status.PENDING}, new=Status.PENDING),
        wrote(6, "Como faço para pagar? Péssimo atendimento", CUSTOMER),
        told(TicketStatusChanged, 7, fields={"status": Status.OPEN}, new=Status.OPEN),
        wrote(8, "Deixei recado na caixa postal", AGENT),
        told(TicketAssigned, 9, fields={"team": "Suporte"}, team="Suporte"),
        told(TicketUpdated, 10, fields={"channel": "chat"}, changed=("channel",)),
    ]
)
MORE = [
    {"statuses": ["pending"], "add": ["espera"]}, {"channels": ["chat"], "add": ["chat"]},
    {"channels": ["email"], "add": ["e-mail"]},
]  # fmt: skip


def tags(desks: Desks) -> set[str]:
    return desks.kept[REF].tags


@pytest.fixture
def tagging(gateway: Runtime) -> Town:
    shipped = auto_tag.Settings().model_dump(mode="json", by_alias=True)["entries"]
    return Town(gateway, auto_tag, ["desk"], {"entries": shipped + MORE})


@few
@orders
def test_auto_tag(tagging: Town, rng: Any) -> None:
    assert tags(tagging.at_random(TAGGED, rng)) == tags(tagging.in_order(TAGGED))


def test_auto_tag_in_order(tagging: Town) -> None:
    assert tags(tagging.in_order(TAGGED)) == {
        "financeiro", "cancelamento", "duvida-de-uso", "reclamacao", "#tratativas sem contato", "#suporte", "chat",
    }  # fmt: skip


# --- F5 escalate ------------------------------------------------------------------------------------------------

CHAT = TicketRef("chat", "7")
HELP = TicketRef("support", "new0")
FROM_CHAT = [
    told(
        TicketCreated, 0, CHAT,
        fields={"subject": "Erro no relatório", "status": Status.OPEN, "url": "https://chat.example/7",
                "contact": Contact(id="k1", name="Ana", email="ana@cliente.example"), "team": "Chat"},
    ),
    wrote(1, "Deu erro no relatório", CUSTOMER, CHAT),
    wrote(2, "Pode mandar a tela?", AGENT, CHAT),
    wrote(3, "O cliente parece irritado", AGENT, CHAT, is_private=True),
    told(TicketTagged, 4, CHAT, fields={"tags": frozenset({"escalar"})}, added=frozenset({"escalar"})),
    wrote(5, "Segue a tela", CUSTOMER, CHAT),
    wrote(6, "Vou pedir ao suporte", AGENT, CHAT),
    wrote(8, "/escalar tem a tela agora", AGENT, CHAT, is_private=True),
    wrote(9, "Obrigado, aguarde", AGENT, CHAT),
    wrote(11, "Alguma novidade?", CUSTOMER, CHAT),
    told(TicketStatusChanged, 14, CHAT, fields={"status": Status.CLOSED}, new=Status.CLOSED),
]  # fmt: skip
FROM_SUPPORT = [
    wrote(10, "Estamos analisando", AGENT, HELP),
    wrote(12, "Só entre nós: é o cache", AGENT, HELP, is_private=True),
    wrote(13, "Corrigido, pode testar", AGENT, HELP),
    told(TicketStatusChanged, 16, HELP, fields={"status": Status.RESOLVED}, new=Status.RESOLVED),
]
ESCALATED = seen_whole(sorted(FROM_CHAT + FROM_SUPPORT, key=lambda event: event.occurred_at))
MESSAGES = [event.comment.body for event in ESCALATED if isinstance(event, CommentCreated)]


def handed_over(desks: Desks) -> dict[str, Any]:
    """What each desk was told, however it was packed, and what became of both."""
    (help_,), chat = [kept for kept in desks.kept.values() if kept.opened_by], desks.kept[CHAT]
    public, private = help_.description, "\n".join(body for _, _, body in help_.written)
    return {
        "at support": {body: (public + "\n" + private).count(f":\n{body}") for body in MESSAGES},
        "customers see internal words": any(word in public for word in ("irritado", "/escalar")),
        "support": (help_.opened_by, help_.subject, help_.tags, help_.team, {p for _, p, _ in help_.written}),
        "in the chat": sorted(body for _, _, body in chat.written),
        "chat": (chat.tags, chat.status, chat.team),
    }


@pytest.fixture
def escalating(gateway: Runtime) -> Town:
    chosen = {
        "from_connection": "chat", "to_connection": "support", "from_team": "Chat 1", "to_team": "N1",
    }  # fmt: skip
    return Town(gateway, escalate, ["chat", "support"], chosen)


def test_escalate_in_order(escalating: Town) -> None:
    found = handed_over(escalating.in_order(ESCALATED))
    assert found["at support"] == {
        "Deu erro no relatório": 1, "Pode mandar a tela?": 1, "O cliente parece irritado": 1, "Segue a tela": 1,
        "Vou pedir ao suporte": 1, "/escalar tem a tela agora": 0, "Obrigado, aguarde": 0, "Estamos analisando": 0,
        "Alguma novidade?": 1, "Só entre nós: é o cache": 0, "Corrigido, pode testar": 0,
    }  # fmt: skip
    assert not found["customers see internal words"]
    assert len(found["in the chat"]) == 4, "where the ticket is, two replies, the end"
    assert found["chat"] == ({"resolvido-suporte"}, "open", "Chat 1")


@few
@orders
def test_escalate(escalating: Town, rng: Any) -> None:
    orderly = handed_over(escalating.in_order(ESCALATED))
    assert handed_over(escalating.at_random(ESCALATED, rng)) == orderly
