"""Is a conversation handed over once, with all that was said, and does the answer come back without an echo?"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from gateway_rules import escalate as rule
from pydantic import ValidationError

from gateway.api import (
    Action,
    AddComment,
    AddTags,
    AssignTo,
    Attachment,
    CollectFirst,
    Comment,
    CommentCreated,
    Contact,
    ContactUpdated,
    CreateTicket,
    Event,
    Facts,
    LinkTickets,
    Past,
    Person,
    Priority,
    RemoveTags,
    SetStatus,
    Skip,
    Status,
    Tenant,
    Ticket,
    TicketAssigned,
    TicketCreated,
    TicketRef,
    TicketStatusChanged,
    TicketTagged,
    TicketUpdated,
)

NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
CHAT, HELP = TicketRef("chat", "7"), TicketRef("support", "8")
DESKS = {"from_connection": "chat", "to_connection": "support"}
ANA = Contact(
    id="k1", name="Ana", email="ana@cliente.example", phones=("11 3555-0101",), custom_fields={"x": 1}
)
TALK = Ticket(
    ref=CHAT, subject="Erro no  relatório", status=Status.OPEN, contact=ANA, tags=frozenset({"vip", "sem-bitrix"}),
    url="https://chat.example/7", team="Chat", priority=Priority.HIGH,
)  # fmt: skip
CASE = Ticket(ref=HELP, subject="Erro no relatório", status=Status.OPEN, url="https://support.example/8")
OPENED = CreateTicket(
    connection="support", key="escalate:ticket:chat:7:0", subject="-", description="transcript", reason="-"
)


def at(minutes: int) -> datetime:
    return NOW + timedelta(minutes=minutes)


def said(minutes: int, body: str, *, agent: bool = False, private: bool = False, **fields: Any) -> Comment:
    author = Person(id="a" if agent else "c", name="Bia" if agent else "Ana", is_agent=agent)
    given = {"author": author, "is_private": private, "created_at": at(minutes), **fields}
    return Comment(id=f"c{minutes}", body=body, **given)


def note(minutes: int, body: str) -> Comment:
    return said(minutes, body, agent=True, private=True)


def past(*actions: Action, by: str = "escalate") -> tuple[Past, ...]:
    return tuple(Past(rule=by, action=action, state="done", decided_at=NOW) for action in actions)


def wrote(comment: Comment, ticket: Ticket = TALK, **fields: Any) -> CommentCreated:
    return CommentCreated(
        id="e", occurred_at=comment.created_at or NOW, ticket=ticket, comment=comment, **fields
    )


def about(kind: Any, ticket: Ticket = TALK, **fields: Any) -> Any:
    return kind(id="e", occurred_at=at(30), ticket=ticket, **fields)


def facts(
    ticket: Ticket = TALK, *comments: Comment, settings: dict[str, Any] | None = None, **given: Any
) -> Facts:
    defaults = {
        "tenant": Tenant(id="acme", name="Acme", locale=given.pop("locale", "en")), "now": NOW, "complete": True,
        "connections": {"chat": "intercom", "support": "freshdesk"},
        "settings": rule.Settings(**DESKS, **(settings or {})),
    }  # fmt: skip
    return Facts(**{**defaults, "ticket": ticket, "comments": comments, **given})


def in_chat(*comments: Comment, case: Ticket = CASE, did: tuple[Past, ...] = (), **given: Any) -> Facts:
    """The conversation, with a ticket at support that was opened for it."""
    linked = {"linked": (case,), "linked_past": {HELP: (*past(OPENED), *did)}}
    return facts(TALK, *comments, **linked, **given)


def at_support(*comments: Comment, talk: Ticket = TALK, case: Ticket = CASE, **given: Any) -> Facts:
    return facts(case, *comments, linked=(talk,), past=past(OPENED), **given)


def answers(event: Event, known: Facts) -> list[Any]:
    first = list(rule.on_event(event, known))
    assert first == list(rule.on_event(event, known)), "same event and facts, same answer"
    assert all(answer.reason for answer in first)
    return first


def reasons(event: Event, known: Facts) -> list[str]:
    found = answers(event, known)
    assert all(isinstance(each, Skip) for each in found)
    return [each.reason for each in found]


# --- asking -----------------------------------------------------------------------------------------------------


def test_a_tag_opens_a_ticket_with_the_conversation_in_it():
    files = (Attachment(name="tela.png", url="https://files.example/tela.png"), Attachment(name="log.txt"))
    comments = (said(1, "Deu erro"), said(2, "Segue", attachments=files), said(3, "Vou ver", agent=True))
    event = about(TicketTagged, added=frozenset({"Escalar"}))
    create, link, asked = answers(event, facts(TALK, *comments))
    assert create == CreateTicket(
        connection="support",
        key="escalate:ticket:chat:7:0",
        subject="Erro no relatório",
        description="""\
Conversation handed over by chat: https://chat.example/7

[2026-03-02 12:01:00] Ana:
Deu erro

[2026-03-02 12:02:00] Ana:
Segue
- tela.png: https://files.example/tela.png
- log.txt

[2026-03-02 12:03:00] Bia:
Vou ver
""",
        contact=Contact(name="Ana", email="ana@cliente.example", phones=("11 3555-0101",), document=None),
        tags=("escalado", "vip"),
        priority=Priority.HIGH,
        reason="escalated by the tag escalar",
        awaited=True,
    )
    assert (link.left, link.right) == ("ticket:chat:7", "ticket:support:+escalate:ticket:chat:7:0")
    assert asked.right == f"asked:ticket:chat:7@{at(30).isoformat()}"


@pytest.mark.parametrize(
    ("event", "why"),
    [
        (about(TicketTagged, added=frozenset({"escalar", "x"})), "by the tag escalar"),
        (
            about(TicketCreated, TALK.model_copy(update={"tags": frozenset({"escalar"})})),
            "by the tag escalar",
        ),
        (about(TicketAssigned, team="n2"), "by the assignment to the team n2"),
        (about(TicketCreated, TALK.model_copy(update={"team": "N2"})), "by the assignment to the team N2"),
        (wrote(note(5, "/escalar")), "by /escalar in a private note"),
        (wrote(note(5, "  /ESCALAR: não abre\nnem no celular")), "by /escalar in a private note"),
    ],
)
def test_what_asks_to_escalate(event, why):
    create, *_ = answers(event, facts(event.ticket, settings={"teams": ["N2"]}))
    assert isinstance(create, CreateTicket)
    assert create.reason == f"escalated {why}"


@pytest.mark.parametrize(
    "event",
    [
        about(TicketTagged, added=frozenset({"outra"})),
        about(
            TicketTagged, TALK.model_copy(update={"tags": frozenset({"escalar"})}), removed=frozenset({"vip"})
        ),
        about(TicketUpdated, TALK.model_copy(update={"tags": frozenset({"escalar"}), "team": "N2"})),
        about(TicketAssigned, team="N1"),
        about(TicketAssigned, team=None),
        wrote(said(5, "/escalar", agent=True)),
        wrote(said(5, "/escalar")),
        wrote(note(5, "/escalarei amanhã")),
        wrote(note(5, "vou /escalar")),
        wrote(note(5, "")),
    ],
)
def test_what_does_not(event):
    assert reasons(event, facts(event.ticket, settings={"teams": ["N2"]})) == [
        "nobody asked to escalate, and there is no ticket at the other side"
    ]


def test_reason_and_internal_notes_go_into_a_private_comment_never_into_the_description():
    event = wrote(note(5, "/escalar cliente sem acesso\nresto"))
    comments = (said(1, "Não entra"), note(2, "Já é a 3ª vez"), event.comment)
    create, _, _, briefing = answers(event, facts(TALK, *comments))
    assert "3ª" not in create.description
    assert "/escalar" not in create.description
    assert briefing.is_private
    assert briefing.ticket == create.ticket
    assert (
        briefing.body
        == """\
Escalated by chat (Bia): cliente sem acesso

Conversation: https://chat.example/7

[2026-03-02 12:02:00] Bia (private note):
Já é a 3ª vez
"""
    )


def test_the_opening_text_is_handed_over_once():
    opened = TALK.model_copy(update={"description": "Não consigo entrar", "remote_created_at": NOW})
    event = about(TicketTagged, opened, added=frozenset({"escalar"}))
    create, *_ = answers(event, facts(opened, said(1, "Alguém?")))
    assert create.description.count("[2026-03-02 12:00:00] Ana:\nNão consigo entrar") == 1
    create, *_ = answers(event, facts(opened, said(0, "Não consigo  entrar")))
    assert create.description.count("consigo") == 1


def test_a_contact_without_a_name_and_a_ticket_without_subject_or_contact():
    bare = Ticket(ref=CHAT, description="Oi")
    create, *_ = answers(about(TicketTagged, bare, added=frozenset({"escalar"})), facts(bare))
    assert (create.subject, create.contact) == ("7", None)
    assert create.description == "Conversation handed over by chat: 7\n\nCustomer:\nOi\n"


def test_of_a_long_conversation_the_end_is_handed_over():
    comments = [said(minute, "x" * 4000) for minute in range(6)]
    create, *_ = answers(about(TicketTagged, added=frozenset({"escalar"})), facts(TALK, *comments))
    assert "The 3 oldest messages stayed in the conversation." in create.description
    assert create.description.count("Ana:") == 3
    assert len(create.description) < 20_000


def test_what_agents_write_after_the_request_stays_and_what_the_customer_writes_goes():
    comments = (said(1, "Deu erro"), said(31, "Depois", agent=True), said(32, "Oi?"))
    create, *_ = answers(about(TicketTagged, added=frozenset({"escalar"})), facts(TALK, *comments))
    assert "Depois" not in create.description
    assert "Oi?" in create.description


def test_teams_and_tags_by_settings():
    settings = {"to_team": "N2", "tags": ["chat"], "leave_tags": ["VIP"]}
    create, *_ = answers(about(TicketTagged, added=frozenset({"escalar"})), facts(settings=settings))
    assert (create.team, create.tags) == ("N2", ("chat", "sem-bitrix"))


def test_the_whole_conversation_is_read_first():
    event = about(TicketTagged, added=frozenset({"escalar"}))
    with pytest.raises(CollectFirst):
        list(rule.on_event(event, facts(complete=False)))


def test_out_of_scope_is_not_escalated():
    event = about(TicketTagged, added=frozenset({"escalar"}))
    settings = {"scope": {"tags": {"not": ["vip"]}}}
    assert reasons(event, facts(settings=settings)) == ["out of scope (tags): must not be: vip"]


def test_a_desk_that_does_not_exist_is_said():
    event = about(TicketTagged, added=frozenset({"escalar"}))
    assert reasons(event, facts(connections={"chat": "intercom"})) == [
        "the rule's connection 'support' does not exist"
    ]


def test_other_desks_other_events_and_what_is_gone():
    other = Ticket(ref=TicketRef("sales", "1"))
    assert answers(about(TicketUpdated, other), facts(other)) == []
    assert answers(ContactUpdated(id="e", occurred_at=NOW, contact=ANA), facts()) == []
    assert answers(ContactUpdated(id="e", occurred_at=NOW, contact=ANA), replace(facts(), ticket=None)) == []
    gone = TALK.model_copy(update={"deleted": True})
    assert reasons(about(TicketUpdated, gone), facts(gone)) == ["the ticket was deleted or merged"]


# --- asking again -----------------------------------------------------------------------------------------------


def test_asked_again_the_new_messages_go_to_the_open_ticket():
    asked = frozenset({f"asked:ticket:chat:7@{at(2).isoformat()}"})
    event = wrote(note(9, "/escalar"))
    comments = (
        said(1, "transcript"),
        said(3, "Vou ver", agent=True),
        note(4, "hm"),
        said(5, "Oi?"),
        event.comment,
    )
    sent = past(AddComment(ticket=HELP, body="[2026-03-02 12:05:00] Ana:\nOi?", reason="-"))
    link, comment = answers(event, in_chat(*comments, did=sent, links=asked))
    assert isinstance(link, LinkTickets)
    assert (comment.ticket, comment.is_private) == (HELP, True)
    assert (
        comment.body == "[2026-03-02 12:03:00] Bia:\nVou ver\n\n[2026-03-02 12:04:00] Bia (private note):\nhm"
    )
    assert comment.reason.startswith(
        "there is an open ticket already, ticket:support:8: the new messages go there"
    )


def test_asked_again_without_news_nothing_is_written():
    event = wrote(note(9, "/escalar"))
    sent = past(AddComment(ticket=HELP, body="[2026-03-02 12:05:00] Ana:\nOi?", reason="-"))
    link, skip = answers(event, in_chat(said(5, "Oi?"), event.comment, did=sent))
    assert isinstance(link, LinkTickets)
    assert skip.reason == (
        "there is an open ticket already, ticket:support:8, and it has all messages "
        "(escalated by /escalar in a private note)"
    )


def test_a_closed_ticket_is_followed_by_a_new_one():
    closed = CASE.model_copy(update={"status": Status.RESOLVED, "remote_updated_at": at(20)})
    create, *_ = answers(about(TicketTagged, added=frozenset({"escalar"})), in_chat(case=closed))
    assert create.key == "escalate:ticket:chat:7:1"


def test_a_request_from_before_the_end_that_comes_late_opens_nothing():
    closed = CASE.model_copy(update={"status": Status.RESOLVED, "resolved_at": at(40)})
    link, skip = answers(about(TicketTagged, added=frozenset({"escalar"})), in_chat(case=closed))
    assert isinstance(link, LinkTickets)
    assert isinstance(skip, Skip)


def test_a_ticket_tied_by_somebody_else_is_no_escalation():
    known = facts(linked=(CASE,), linked_past={HELP: past(OPENED, by="other")})
    assert reasons(wrote(said(5, "Oi?")), known) == [
        "nobody asked to escalate, and there is no ticket at the other side"
    ]


# --- the address ------------------------------------------------------------------------------------------------


def test_who_asked_learns_the_address_once():
    event = about(TicketCreated, CASE, ours=True)
    (receipt,) = answers(event, at_support())
    assert (receipt.ticket, receipt.is_private) == (CHAT, True)
    assert "https://support.example/8" in receipt.body
    assert receipt.reason == "the ticket ticket:support:8 was opened for this conversation"
    assert reasons(event, at_support(linked_past={CHAT: past(receipt)})) == [
        "the address of the ticket ticket:support:8 is in the conversation already"
    ]


def test_whatever_else_we_did_is_left_alone():
    mine = wrote(note(5, "/escalar"), ours=True)
    assert answers(mine, in_chat()) == []
    assert answers(about(TicketCreated, ours=True), in_chat()) == []
    assert answers(about(TicketCreated, ours=True), facts()) == []


# --- afterwards -------------------------------------------------------------------------------------------------


def test_the_customers_message_goes_to_the_ticket():
    (comment,) = answers(wrote(said(5, "E agora?")), in_chat())
    assert comment == AddComment(
        ticket=HELP, body="[2026-03-02 12:05:00] Ana:\nE agora?", is_private=True,
        reason="the customer's message in the conversation, for the ticket ticket:support:8",
    )  # fmt: skip


def test_an_agents_reply_comes_back_private_or_as_set_public():
    reply = said(
        5, "Corrigido", agent=True, attachments=(Attachment(name="a.pdf", url="https://f.example/a"),)
    )
    (private,) = answers(wrote(reply, CASE), at_support())
    assert (private.ticket, private.is_private) == (CHAT, True)
    assert private.body == (
        "Reply from support\n[2026-03-02 12:05:00] Bia:\nCorrigido\n- a.pdf: https://f.example/a"
    )
    (public,) = answers(wrote(reply, CASE), at_support(settings={"public_replies": True}))
    assert (public.is_private, public.body) == (False, "Corrigido\na.pdf: https://f.example/a")


@pytest.mark.parametrize("comment", [said(5, "ok", agent=True), note(5, "hm")])
def test_what_chat_agents_write_stays_until_they_ask_again(comment):
    assert reasons(wrote(comment), in_chat()) == [
        "a message that stays on this side (ticket:support:8 is the other)"
    ]


@pytest.mark.parametrize("comment", [said(5, "oi"), note(5, "hm"), note(5, "/escalar ainda não")])
def test_at_support_customers_and_notes_stay(comment):
    if comment.body.startswith("/"):
        link, add = answers(wrote(comment, CASE), at_support(said(4, "Veja", agent=True), comment))
        assert isinstance(link, LinkTickets)
        assert (add.ticket, "Veja" in add.body) == (CHAT, True)
    else:
        assert reasons(wrote(comment, CASE), at_support()) == [
            "a message that stays on this side (ticket:chat:7 is the other)"
        ]


def test_a_message_from_before_the_request_that_comes_late_goes_too():
    links = frozenset({f"asked:ticket:chat:7@{at(6).isoformat()}", "customer:1"})
    (comment,) = answers(wrote(note(5, "hm")), in_chat(links=links))
    assert (
        comment.reason == "a message from before the request that came later, for the ticket ticket:support:8"
    )
    undated = note(5, "hm").model_copy(update={"created_at": None})
    assert reasons(wrote(undated), in_chat(links=links)) == [
        "a message that stays on this side (ticket:support:8 is the other)"
    ]


def test_nothing_is_told_twice():
    has = ["ticket:support:8 has this message already"]
    told = past(AddComment(ticket=HELP, body="x\n\n[2026-03-02 12:05:00] Ana:\nE agora?", reason="-"))
    assert reasons(wrote(said(5, "E agora?")), in_chat(did=told)) == has
    opened = past(OPENED.model_copy(update={"description": "[2026-03-02 12:05:00] Ana:\nE agora?\n"}))
    known = replace(in_chat(), linked_past={HELP: opened})
    assert reasons(wrote(said(5, "E agora?")), known) == has


def test_mail_that_reached_both_desks_is_not_copied():
    there = said(7, "E agora?\n\nOn Mon, 2 Mar 2026, Support wrote:\n> oi")
    known = in_chat(linked_comments={HELP: (there,)})
    assert reasons(wrote(said(5, "E agora?")), known) == ["ticket:support:8 has this message already"]
    assert isinstance(answers(wrote(said(90, "E agora?")), known)[0], AddComment), (
        "the same words later are new"
    )
    answered = said(5, "E agora?", agent=True)
    known = in_chat(linked_comments={HELP: (answered,)})
    assert isinstance(answers(wrote(said(5, "E agora?")), known)[0], AddComment), (
        "of the other side they are new"
    )


def test_nothing_goes_to_a_deleted_ticket():
    deleted = CASE.model_copy(update={"deleted": True})
    assert reasons(wrote(said(5, "Oi?")), in_chat(case=deleted)) == ["ticket:support:8 was deleted"]


def test_the_newest_open_ticket_is_the_other_side():
    old = CASE.model_copy(update={"ref": TicketRef("support", "3"), "status": Status.CLOSED})
    known = facts(linked=(old, CASE), linked_past={HELP: past(OPENED), old.ref: past(OPENED)})
    (comment,) = answers(wrote(said(5, "Oi?")), known)
    assert comment.ticket == HELP


def test_the_end_at_support_gives_the_conversation_back():
    over = CASE.model_copy(update={"status": Status.RESOLVED})
    talk = TALK.model_copy(update={"status": Status.CLOSED})
    event = about(TicketStatusChanged, over, new=Status.RESOLVED)
    note_, tag, back, reopened = answers(
        event, at_support(talk=talk, case=over, settings={"from_team": "Chat 1"})
    )
    assert isinstance(note_, AddComment)
    assert note_.is_private
    assert tag == AddTags(ticket=CHAT, tags=("resolvido-suporte",), reason=tag.reason)
    assert back == AssignTo(ticket=CHAT, team="Chat 1", reason=tag.reason)
    assert reopened == SetStatus(ticket=CHAT, status=Status.OPEN, reason=tag.reason)
    assert tag.reason == "the other side, ticket:support:8, was closed"
    assert len(answers(event, at_support(case=over))) == 3, "no team is named"


def test_reopened_at_support_takes_it_back():
    marked = TALK.model_copy(update={"tags": frozenset({"Resolvido-Suporte"})})
    event = about(TicketStatusChanged, CASE, new=Status.OPEN)
    note_, untag = answers(event, at_support(talk=marked))
    assert "reopened" in note_.body
    assert untag == RemoveTags(ticket=CHAT, tags=("Resolvido-Suporte",), reason=note_.reason)


def test_a_status_that_changes_nothing_at_the_other_side():
    same = "this status changes nothing at the other side, ticket:{}"
    assert reasons(about(TicketStatusChanged, CASE, new=Status.OPEN), at_support()) == [same.format("chat:7")]
    closed = TALK.model_copy(update={"status": Status.CLOSED})
    event = about(TicketStatusChanged, closed, new=Status.CLOSED)
    known = replace(in_chat(), ticket=closed)
    assert reasons(event, known) == [same.format("support:8")]
    stale = about(TicketStatusChanged, CASE, new=Status.RESOLVED)
    assert reasons(stale, at_support()) == ["the status has changed again"]


def test_other_changes_of_a_pair_are_nothing():
    assert answers(about(TicketUpdated), in_chat()) == []


# --- the other way ----------------------------------------------------------------------------------------------


def test_support_may_escalate_to_chat_where_that_is_allowed():
    event = about(TicketTagged, CASE, added=frozenset({"escalar"}))
    assert reasons(event, facts(CASE)) == [
        "nobody asked to escalate, and there is no ticket at the other side"
    ]
    settings = {"direction": "both", "from_team": "Chat 1"}
    create, link, _ = answers(event, facts(CASE, settings=settings))
    assert (create.connection, create.team, create.key) == ("chat", "Chat 1", "escalate:ticket:support:8:0")
    assert link.left == "ticket:support:8"


# --- settings and words -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"to_connection": ""}, {"to_connection": "chat"}, {"direction": "back"}, {"tag": ""}, {"command": "/"},
        {"command": "/escalar já"}, {"subject": "{{"}, {"resolved_tag": ""}, {"unheard_of": 1},
    ],
)  # fmt: skip
def test_settings_that_cannot_work_are_refused_when_saved(wrong):
    with pytest.raises(ValidationError):
        rule.Settings(**{**DESKS, **wrong})


def test_both_desks_must_be_named():
    with pytest.raises(ValidationError, match="from_connection"):
        rule.Settings(to_connection="support")


def test_every_text_and_reason_is_there_in_both_languages():
    assert rule.TEXTS["en"].keys() == rule.TEXTS["pt-BR"].keys()
    assert rule.REASONS["en"].keys() == rule.REASONS["pt-BR"].keys()
    assert rule.INFO.title.keys() == rule.INFO.description.keys() == {"pt-BR", "en"}
    assert rule.INFO.enabled


def test_texts_in_portuguese_and_of_the_tenants_own():
    event = wrote(note(5, "/escalar sem acesso"))
    create, _, _, briefing = answers(event, facts(TALK, said(1, "Oi"), event.comment, locale="pt-BR"))
    assert create.description.startswith("Conversa recebida do chat: https://chat.example/7")
    assert "[02/03/2026 12:01:00] Ana:\nOi" in create.description
    assert briefing.body.startswith("Escalado do chat por Bia: sem acesso")
    own = {"subject": "[Chat] {{ ticket.subject }}", "reply": "N2: {{ text }}"}
    create, *_ = answers(event, facts(settings=own))
    assert create.subject == "[Chat] Erro no relatório"
    (reply,) = answers(wrote(said(5, "Ok", agent=True), CASE), at_support(settings=own, locale="pt-BR"))
    assert reply.body == "N2: Ok"
