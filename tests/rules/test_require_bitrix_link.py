"""Is the Bitrix link filed and tied where it is pasted, and asked for, once, where it is not?"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from gateway_plugins import bitrix
from gateway_rules import require_bitrix_link as rule
from pydantic import ValidationError

from gateway.api import (
    Action,
    AddComment,
    AddTags,
    CancelTimer,
    CollectFirst,
    Comment,
    CommentCreated,
    Connection,
    Contact,
    ContactUpdated,
    CreateTicket,
    Event,
    Facts,
    LinkTickets,
    Notify,
    Past,
    Person,
    RemoveTags,
    SetFields,
    Skip,
    StartTimer,
    Status,
    Tenant,
    Ticket,
    TicketCreated,
    TicketKind,
    TicketRef,
    TicketUpdated,
    TimerFired,
)

NOW = datetime(
    2026, 3, 2, 20, 45, tzinfo=UTC
)  # a Monday, 17:45 in São Paulo: fifteen minutes before closing time
REF, DEAL, TASK = TicketRef("desk", "7"), TicketRef("bitrix", "deal:12"), TicketRef("bitrix", "task:8017")
DEAL_LINK = "https://acme.bitrix24.com.br/crm/deal/details/12/"
TASK_LINK = "https://acme.bitrix24.com.br/company/personal/user/5/tasks/task/view/8017/"
TICKET = Ticket(
    ref=REF, subject="Dúvida", status=Status.OPEN, url="https://desk.example/7", contact=Contact(id="c")
)
PORTAL = Connection(
    "acme", "bitrix", "bitrix",
    bitrix.Settings.model_construct(portal_host="acme.bitrix24.com.br", former_hosts=(), base_path=""),
)  # fmt: skip


def references(text: str) -> Any:
    return bitrix.find_references(text=text, connection=PORTAL)


def said(minutes: int, body: str, *, agent: bool = True, **fields: Any) -> Comment:
    author = Person(id="a" if agent else "c", name="Bia" if agent else "Ana", is_agent=agent)
    return Comment(id=f"c{minutes}", body=body, **{"author": author, "created_at": at(minutes), **fields})


def at(minutes: int) -> datetime:
    return NOW + timedelta(minutes=minutes)


def facts(*comments: Comment, ticket: Ticket | None = TICKET, settings: Any = None, **given: Any) -> Facts:
    defaults = {
        "tenant": Tenant(id="acme", name="Acme", locale=given.pop("locale", "en")), "now": NOW, "complete": True,
        "connections": {"desk": "zendesk", "bitrix": "bitrix"}, "find_references": references,
        "mapped_fields": {"desk": frozenset({"bitrix_link"})},
        "settings": rule.Settings(connection="bitrix", **(settings or {})),
    }  # fmt: skip
    return Facts(**{**defaults, "ticket": ticket, "comments": comments, **given})


def wrote(comment: Comment, ticket: Ticket = TICKET, **fields: Any) -> CommentCreated:
    return CommentCreated(
        id="e", occurred_at=comment.created_at or NOW, ticket=ticket, comment=comment, **fields
    )  # fmt: skip


def updated(ticket: Ticket = TICKET) -> TicketUpdated:
    return TicketUpdated(id="e", occurred_at=NOW, ticket=ticket)


def fired(ref: TicketRef | None = REF, by: str = "require_bitrix_link") -> TimerFired:
    payload = {"agent": "Bia"}
    return TimerFired(
        id="t", occurred_at=NOW, key="k", rule=by, due_at=NOW, payload=payload, ticket=ref
    )  # fmt: skip


def answers(event: Event, known: Facts) -> list[Any]:
    first = list(rule.on_event(event, known))
    assert first == list(rule.on_event(event, known)), "same event and facts, same answer"
    assert all(answer.reason for answer in first)
    return first


def heard(*comments: Comment, **given: Any) -> list[Any]:
    """The answer to the last of these comments."""
    known = facts(*comments, **given)
    return answers(wrote(comments[-1], known.ticket or TICKET), known)


def reason(found: list[Any]) -> str:
    (skip,) = found
    assert isinstance(skip, Skip)
    return skip.reason


def past(*actions: Action, by: str = "require_bitrix_link") -> tuple[Past, ...]:
    return tuple(Past(rule=by, action=action, state="done", decided_at=NOW) for action in actions)


TOLD = past(AddTags(ticket=REF, tags=("sem-bitrix",), reason="-"))
TAGGED = TICKET.model_copy(update={"tags": frozenset({"sem-bitrix"})})


# --- a link -----------------------------------------------------------------------------------------------------


def test_a_link_is_tied_told_and_filed():
    link, backlink, field = heard(said(1, f"Olá! Ver {DEAL_LINK}?utm=1"))
    why = f"Bitrix link found: {DEAL_LINK}"
    assert link == LinkTickets(left=str(REF), right=str(DEAL), relation="bitrix", reason=why)
    assert (backlink.ticket, backlink.is_private) == (DEAL, True)
    assert backlink.body == "Ticket tied to this record: Dúvida\nhttps://desk.example/7"
    assert field == SetFields(ticket=REF, fields={"bitrix_link": DEAL_LINK}, reason=why)


@pytest.mark.parametrize(
    "comment",
    [
        said(1, DEAL_LINK, is_private=True),
        said(1, "aqui", html=f'<p><a href="{DEAL_LINK}">aqui</a></p>'),
        said(1, DEAL_LINK, author=None, is_private=True),
    ],
)
def test_where_an_agent_may_put_it(comment):
    assert isinstance(heard(comment)[0], LinkTickets)


def test_it_may_stand_in_an_earlier_comment_or_in_the_field():
    assert heard(said(1, DEAL_LINK), said(2, "Oi"))[0].right == str(DEAL)
    filled = TICKET.model_copy(update={"custom_fields": {"bitrix_link": DEAL_LINK}})
    link, backlink = heard(said(1, "Oi"), ticket=filled)
    assert (link.right, backlink.ticket) == (str(DEAL), DEAL)


@pytest.mark.parametrize(
    "text",
    [
        "https://acme.bitrix24.com.br.evil.com/crm/deal/details/12/",
        "https://acme.bitrix24.com.br/rest/5/abcdefgh12345678/crm.deal.get?id=12",
        "http://acme.bitrix24.com.br/crm/deal/details/12/",
        "https://outra.bitrix24.com.br/crm/deal/details/12/",
        "acme.bitrix24.com.br deal 12",
    ],
)
def test_what_is_no_link_of_the_portal_does_not_count_and_is_never_repeated(text):
    note, tag, timer = heard(said(1, text))
    assert isinstance(tag, AddTags)
    assert text not in f"{note.body} {note.reason} {timer.payload}"


def test_a_customers_link_does_not_count():
    assert reason(heard(said(1, DEAL_LINK, agent=False))) == "no agent has written yet"


def test_only_links_of_the_rules_connection_and_kinds_count():
    kinds = {"kinds": ["task"]}
    assert isinstance(heard(said(1, DEAL_LINK), settings=kinds)[0], AddComment)
    assert heard(said(1, f"{DEAL_LINK} {TASK_LINK}"), settings=kinds)[0].right == str(TASK)
    both = {"bitrix": "bitrix", "other": "bitrix", "desk": "zendesk"}
    other = {"connection": "other"}
    known = replace(facts(said(1, DEAL_LINK), connections=both), settings=rule.Settings(**other))
    assert isinstance(answers(wrote(said(1, DEAL_LINK)), known)[0], AddComment)


def test_every_record_is_tied_and_the_field_keeps_the_one_named_first():
    comments = (said(1, DEAL_LINK), said(2, TASK_LINK))
    filed = TICKET.model_copy(update={"custom_fields": {"bitrix_link": DEAL_LINK}})
    link, backlink = heard(*comments, ticket=filed, links=frozenset({str(DEAL)}))
    assert (link.right, backlink.ticket) == (str(TASK), TASK)
    task_url = references(TASK_LINK)[0].url
    ours = past(SetFields(ticket=REF, fields={"bitrix_link": task_url}, reason="-"))
    filed = TICKET.model_copy(update={"custom_fields": {"bitrix_link": task_url}})
    tied = frozenset({str(DEAL), str(TASK)})
    (field,) = heard(*comments, ticket=filed, links=tied, past=ours)
    assert field.fields == {"bitrix_link": DEAL_LINK}
    assert (
        reason(heard(*comments, ticket=filed, links=tied))
        == f"the Bitrix link is on file already: {DEAL_LINK}"
    )


def test_what_is_filed_already_is_not_filed_again():
    filed = TICKET.model_copy(update={"custom_fields": {"bitrix_link": DEAL_LINK}})
    found = heard(said(1, DEAL_LINK), ticket=filed, links=frozenset({str(DEAL)}))
    assert reason(found) == f"the Bitrix link is on file already: {DEAL_LINK}"


def test_without_the_field_or_without_writing_back_the_rest_is_done():
    link, backlink = heard(said(1, DEAL_LINK), mapped_fields={})
    assert (type(link), type(backlink)) == (LinkTickets, AddComment)
    link, field = heard(said(1, DEAL_LINK), settings={"write_back": False})
    assert (type(link), type(field)) == (LinkTickets, SetFields)


def test_a_link_that_comes_later_mends_it():
    *_, untag, cancel = heard(said(1, "Oi"), said(2, DEAL_LINK), ticket=TAGGED, past=TOLD)
    why = f"the Bitrix link is there now: {DEAL_LINK}"
    assert untag == RemoveTags(ticket=REF, tags=("sem-bitrix",), reason=why)
    assert cancel == CancelTimer(key="require_bitrix_link:ticket:desk:7", reason=why)
    tagged = TAGGED.model_copy(update={"custom_fields": {"bitrix_link": DEAL_LINK}})
    assert [type(each) for each in answers(updated(tagged), facts(ticket=tagged))] == [
        LinkTickets, AddComment, RemoveTags, CancelTimer,
    ]  # fmt: skip


def test_a_tag_that_somebody_took_off_is_not_taken_off_again():
    found = heard(said(1, "Oi"), said(2, DEAL_LINK), past=TOLD)
    assert [type(each) for each in found] == [LinkTickets, AddComment, SetFields]


# --- no link ----------------------------------------------------------------------------------------------------


def test_a_missing_link_is_asked_for_and_the_clock_runs_in_working_time():
    note, tag, timer = heard(said(0, "Bom dia"))
    assert (note.ticket, note.is_private) == (REF, True)
    assert note.body.startswith("Bia, the Bitrix link is missing here.")
    assert "or fill in the field bitrix_link" in note.body
    assert tag == AddTags(ticket=REF, tags=("sem-bitrix",), reason=note.reason)
    assert note.reason == "the first interaction has no valid Bitrix link"
    tomorrow = datetime(2026, 3, 3, 12, 15, tzinfo=UTC)  # 09:15, a quarter of an hour after opening
    assert timer == StartTimer(
        key="require_bitrix_link:ticket:desk:7", at=tomorrow, payload={"agent": "Bia"}, ticket=REF,
        reason=note.reason,
    )  # fmt: skip


def test_an_agent_without_a_name_and_a_desk_without_the_field():
    note, *_ = heard(said(0, "Bom dia", author=Person(id="a", is_agent=True)), mapped_fields={})
    assert note.body.startswith("Team, the Bitrix link")
    assert "field" not in note.body
    assert heard(said(0, "Bom dia", author=None, is_private=True))[0].body.startswith("Team")


@pytest.mark.parametrize("told", [{"ticket": TAGGED}, {"past": TOLD}])
def test_it_is_asked_for_once(told):
    assert (
        reason(heard(said(1, "Oi"), **told))
        == "the Bitrix link is still missing, but the ticket was already told so"
    )


def test_a_ticket_whose_conversation_is_tied_is_tied():
    found = heard(said(1, "Oi"), links=frozenset({"ticket:chat:1", str(DEAL), "customer:1"}))
    assert reason(found) == (
        "the Bitrix record ticket:bitrix:deal:12 is tied already, by this ticket or by the one it comes from"
    )


def test_only_the_first_interaction_is_judged():
    assert reason(heard(said(1, "Oi"), said(2, "E aí"))) == "not the first interaction of an agent"
    assert isinstance(heard(said(1, "Oi", agent=False), said(2, "E aí"))[0], AddComment)
    late = wrote(said(1, "Oi"))
    assert isinstance(answers(late, facts(said(1, "Oi"), said(2, "E aí")))[0], AddComment)


def test_the_whole_ticket_is_read_before_it_is_called_missing():
    with pytest.raises(CollectFirst):
        heard(said(1, "Oi"), complete=False)
    assert isinstance(heard(said(1, DEAL_LINK), complete=False)[0], LinkTickets), (
        "what is found needs no reading"
    )


def test_who_is_left_alone():
    assert reason(heard(said(1, "Oi"), ticket=TICKET.model_copy(update={"status": Status.CLOSED}))) == (
        "the Bitrix link is missing, but the ticket is already over"
    )
    gone = TICKET.model_copy(update={"merged_into": "9"})
    assert reason(heard(said(1, "Oi"), ticket=gone)) == "the ticket was deleted or merged"
    task = TICKET.model_copy(update={"kind": TicketKind.TASK})
    assert reason(heard(said(1, "Oi"), ticket=task)) == "out of scope (kind): must not be: task"
    assert reason(heard(said(1, "Oi"), connections={"desk": "zendesk"})) == (
        "the rule's connection 'bitrix' does not exist"
    )
    assert reason(answers(updated(), facts())) == "no agent has written yet"


def test_our_own_and_other_events_are_none_of_its_business():
    assert answers(wrote(said(1, "Oi"), ours=True), facts(said(1, "Oi"))) == []
    there = Ticket(ref=DEAL)
    assert answers(wrote(said(1, "Oi"), there), facts(ticket=there)) == []
    assert answers(ContactUpdated(id="e", occurred_at=NOW, contact=Contact(id="c")), facts()) == []
    assert answers(fired(by="other"), facts()) == []
    assert answers(updated(), facts(ticket=None)) == []


# --- the deadline -----------------------------------------------------------------------------------------------


def test_after_the_deadline_the_supervisors_are_told():
    (notify,) = answers(fired(), facts(said(1, "Oi"), ticket=TAGGED))
    assert notify == Notify(
        channel="supervisores", title="No Bitrix link on a ticket",
        body="Bia answered and after 30 minutes the Bitrix link is still missing: Dúvida https://desk.example/7",
        reason="the deadline has passed and the Bitrix link is still missing",
    )  # fmt: skip
    assert answers(fired(), facts(ticket=TAGGED, settings={"channel": None})) == []


def test_a_link_in_time_and_tickets_that_are_gone_or_unknown():
    assert (
        reason(answers(fired(), facts(said(1, DEAL_LINK))))
        == f"the Bitrix link is on file already: {DEAL_LINK}"
    )
    gone = TICKET.model_copy(update={"deleted": True})
    assert reason(answers(fired(), facts(ticket=gone))) == "the ticket was deleted or merged"
    assert (
        reason(answers(fired(None), facts(ticket=None)))
        == "the deadline has passed, but the ticket is not known"
    )


@pytest.mark.parametrize("kind", ["task", "deal"])
def test_a_task_or_deal_may_be_opened_then(kind):
    ticket = TAGGED.model_copy(update={"contact": Contact(id="c", name="Ana", email="ana@cliente.example")})
    settings = {"create_when_missing": kind, "channel": None}
    create, link = answers(fired(), facts(said(1, "Oi"), ticket=ticket, settings=settings))
    assert (create.connection, create.key, create.type) == ("bitrix", "bitrix:ticket:desk:7", kind)
    assert (create.subject, create.awaited) == ("Dúvida", True)
    assert "https://desk.example/7" in create.description
    assert create.contact == Contact(name="Ana", email="ana@cliente.example", phones=(), document=None)
    assert (link.left, link.right) == (str(REF), str(create.ticket))
    create, _ = answers(fired(), facts(ticket=TICKET.model_copy(update={"contact": None}), settings=settings))
    assert create.contact is None


OPENED = past(CreateTicket(connection="bitrix", key="k", subject="s", description="d", reason="-"))
RECORD = Ticket(ref=TASK, url=TASK_LINK)


def opened(**given: Any) -> list[Any]:
    known = facts(**{"ticket": RECORD, "past": OPENED, "linked": (TAGGED,), **given})
    return answers(TicketCreated(id="e", occurred_at=NOW, ticket=RECORD, ours=True), known)


def test_what_was_opened_is_linked_like_an_agent_would():
    field, untag = opened()
    why = "the record ticket:bitrix:task:8017 was opened at Bitrix for this ticket"
    assert field == SetFields(ticket=REF, fields={"bitrix_link": TASK_LINK}, reason=why)
    assert untag == RemoveTags(ticket=REF, tags=("sem-bitrix",), reason=why)
    note, _ = opened(mapped_fields={})
    assert (note.ticket, TASK_LINK in note.body) == (REF, True)
    filled = TICKET.model_copy(update={"custom_fields": {"bitrix_link": DEAL_LINK}})
    assert opened(linked=(filled,)) == [], "somebody was quicker"


def test_what_others_opened_at_bitrix_is_not_ours():
    assert opened(past=past(OPENED[0].action, by="other")) == []


# --- settings and words -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"connection": ""}, {"deadline_minutes": 0}, {"deadline_minutes": 10_081}, {"create_when_missing": "lead"},
        {"link_field": ""}, {"missing_tag": ""}, {"note": "{{ agent"}, {"unheard_of": 1},
    ],
)  # fmt: skip
def test_settings_that_cannot_work_are_refused_when_saved(wrong):
    with pytest.raises(ValidationError):
        rule.Settings(**{"connection": "bitrix", **wrong})


def test_the_connection_must_be_named():
    with pytest.raises(ValidationError, match="connection"):
        rule.Settings()


def test_every_text_and_reason_is_there_in_both_languages():
    assert rule.TEXTS["en"].keys() == rule.TEXTS["pt-BR"].keys()
    assert rule.REASONS["en"].keys() == rule.REASONS["pt-BR"].keys()
    assert rule.INFO.title.keys() == rule.INFO.description.keys() == {"pt-BR", "en"}
    assert rule.INFO.enabled


def test_texts_in_portuguese_and_of_the_tenants_own():
    assert heard(said(1, "Oi"), locale="pt-BR")[0].body.startswith(
        "Bia, falta o link do Bitrix neste atendimento."
    )
    own = {"note": "{{ agent }}: {{ missing_tag }} {{ deadline_minutes }}", "deadline_minutes": 5}
    assert heard(said(1, "Oi"), settings=own, locale="pt-BR")[0].body == "Bia: sem-bitrix 5"
