"""Does a CORE ticket get its phone number, or its people one reminder, whatever comes first?"""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from gateway_rules import require_phone as rule
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.api import (
    Action,
    AddComment,
    AddTags,
    CollectFirst,
    Comment,
    CommentCreated,
    Contact,
    ContactUpdated,
    Event,
    Facts,
    Past,
    Person,
    RemoveTags,
    SetFields,
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

NOW = datetime(2024, 11, 21, 15, 0, tzinfo=UTC)
REF = TicketRef("movidesk", "7")
FIXED, MOBILE = "(11) 3555-0101", "+5511955550102"
PORTUGUESE, ENGLISH = Tenant(id="acme", name="Acme"), Tenant(id="acme", name="Acme", locale="en")


def ticket(**fields: Any) -> Ticket:
    known = {
        "subject": "CORE - Empresa Exemplo", "description": "Cliente novo.", "status": Status.OPEN,
        "remote_status": "Em atendimento", "tags": frozenset({"core"}), "contact": Contact(id="c1"),
    }  # fmt: skip
    return Ticket(ref=REF, **{**known, **fields})


def facts(known: Ticket | None = None, **given_facts: Any) -> Facts:
    settings = rule.Settings(**given_facts.pop("settings", {}))
    mapped = {REF.connection: frozenset({"phone", "telefone"})}
    defaults = {
        "tenant": PORTUGUESE, "now": NOW, "complete": True, "settings": settings, "mapped_fields": mapped,
    }  # fmt: skip
    return Facts(**{**defaults, "ticket": known, **given_facts})


def about(kind: type[Event], known: Ticket, **fields: Any) -> Any:
    return kind(id=f"{kind.__name__}:7", occurred_at=NOW, ticket=known, **fields)


def comment(body: str, id_: str = "1") -> Comment:
    return Comment(id=id_, body=body, author=Person(id="p1"), created_at=NOW)


def moved(known: Ticket, **fields: Any) -> TicketStatusChanged:
    return about(TicketStatusChanged, known, **{"old": Status.OPEN, "new": known.status, **fields})


def answers(event: Event, known: Facts) -> list[Action | Skip]:
    first, second = list(rule.on_event(event, known)), list(rule.on_event(event, known))
    assert first == second, "same event and facts, same answer"
    return first


def kinds(found: list[Action | Skip]) -> list[str]:
    return [type(answer).__name__ for answer in found]


def looked(known: Ticket, **given_facts: Any) -> list[Action | Skip]:
    return answers(about(TicketUpdated, known), facts(known, **given_facts))


def past(*actions: Action, by: str = "require_phone", remote_id: str | None = None) -> tuple[Past, ...]:
    return tuple(
        Past(rule=by, action=action, state="done", decided_at=NOW, remote_id=remote_id) for action in actions
    )


TAGGED = AddTags(ticket=REF, tags=("sem-telefone",), reason="-")
UNTAGGED = RemoveTags(ticket=REF, tags=("sem-telefone",), reason="-")


# --- where a number is looked for ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", [FIXED, "11955550102", 11955550102, "5511955550102", "11955550166", [None, "+55 11 3555-0101"]]
)
def test_a_number_in_the_field_satisfies(value):
    (skip,) = looked(ticket(custom_fields={"phone": value}))
    assert skip == Skip(reason="há um telefone válido no campo phone")


@pytest.mark.parametrize("value", [None, "", "não tem", "(11) 3555-01", "0800 555 0199", FIXED + " só whats"])
def test_a_field_without_a_conventional_number_does_not_satisfy(value):
    assert kinds(looked(ticket(custom_fields={"phone": value}))) == ["AddComment", "AddTags"]


def test_a_number_of_the_contact_satisfies_wherever_the_contact_is_known_from():
    contact = Contact(id="c1", phones=("ramal 12", MOBILE))
    expected = [Skip(reason="há um telefone válido no cadastro do contato")]
    assert looked(ticket(contact=contact)) == expected
    assert looked(ticket(contact=None), contact=contact) == expected


@pytest.mark.parametrize(
    "known",
    [
        {"subject": f"CORE - {FIXED}"},
        {"description": f"Falar com Ana, fone {FIXED}."},
        {"comments": (comment("sem número"), comment(f"Meu telefone é {FIXED}", "2"))},
    ],
)
def test_a_number_found_only_in_the_text_goes_to_the_field_without_a_note(known):
    comments = known.pop("comments", ())
    (action,) = looked(ticket(**known), comments=comments)
    assert action == SetFields(
        ticket=REF, fields={"phone": "+551135550101"},
        reason="há um telefone válido no texto, e ele faltava no campo phone",
    )  # fmt: skip


def test_the_comment_of_the_event_is_read_even_before_it_is_among_the_facts():
    event = about(CommentCreated, ticket(), comment=comment(f"Liguem no {FIXED}"))
    assert kinds(answers(event, facts(ticket()))) == ["SetFields"]


def test_the_field_has_the_name_that_the_settings_say():
    (action,) = looked(ticket(description=FIXED), settings={"phone_field": "telefone"})
    assert isinstance(action, SetFields)
    assert action.fields == {"telefone": "+551135550101"}


def test_what_was_sent_to_the_field_once_is_not_sent_again_when_the_desk_did_not_keep_it():
    sent = SetFields(ticket=REF, fields={"phone": "+551135550101"}, reason="-")
    (skip,) = looked(ticket(description=FIXED), past=past(sent))
    assert skip == Skip(reason="o telefone do texto já foi enviado para o campo phone")


def test_what_one_comment_keeps_for_whatsapp_is_not_taken_from_another():
    comments = (comment("11 95555-0103 só whats"), comment("meu número: 11 95555-0103", "2"))
    note, tagged = looked(ticket(), comments=comments)
    assert isinstance(tagged, AddTags)
    assert "somente WhatsApp" in note.body


@pytest.mark.parametrize(
    "text", ["CPF 111.444.777-35", "protocolo 1135550101", "CEP 01310-100", "https://wa.me/5511955550101"]
)
def test_other_numbers_do_not_satisfy(text):
    assert kinds(looked(ticket(description=text))) == ["AddComment", "AddTags"]


def test_the_companys_own_numbers_do_not_satisfy_wherever_they_stand():
    own = {"own_numbers": ("(11) 3555-0101",)}
    assert kinds(looked(ticket(description=f"Acme - {FIXED}"), settings=own)) == ["AddComment", "AddTags"]
    assert kinds(looked(ticket(custom_fields={"phone": FIXED}), settings=own)) == ["AddComment", "AddTags"]
    (found,) = looked(ticket(description=f"Acme - {FIXED}, cliente 21 3555-0109"), settings=own)
    assert found.fields == {"phone": "+552135550109"}


def test_our_own_comments_are_not_read():
    with_number = AddComment(ticket=REF, body=f"Peça um número como\n{FIXED}", reason="-")
    in_html = AddComment(ticket=REF, body=f"<p>Ex.: {FIXED}</p>", is_html=True, reason="-")
    ours = past(with_number, in_html, by="another_rule") + past(with_number, remote_id="99")
    comments = (
        comment(f"Peça um número  como {FIXED}"),
        comment(f"Ex.: {FIXED}", "2"),
        comment(f"{FIXED} reescrito pelo sistema", "99"),
    )
    assert kinds(looked(ticket(), comments=comments, past=ours)) == ["AddComment", "AddTags"]


def test_another_country_can_be_set_but_not_one_without_telephones():
    (found,) = looked(ticket(description="Ligue +351 912 345 678"), settings={"region": "PT"})
    assert found.fields == {"phone": "+351912345678"}
    with pytest.raises(ValidationError, match="no country with telephone numbers"):
        rule.Settings(region="XX")


# --- missing: once ------------------------------------------------------------------------------------------


def test_where_there_is_none_one_private_comment_says_what_is_missing_and_the_ticket_is_tagged():
    note, tagged = looked(ticket())
    why = "nenhum telefone convencional no campo phone, no contato nem no texto"
    assert note.is_private
    assert note.reason == tagged.reason == why
    assert "Falta um telefone convencional" in note.body
    assert "excecao-contato" in note.body
    assert "somente WhatsApp" not in note.body
    assert not any(character.isdigit() for character in note.body)
    assert tagged == AddTags(ticket=REF, tags=("sem-telefone",), reason=why)


@pytest.mark.parametrize("kind", [TicketCreated, TicketUpdated, TicketTagged])
def test_every_event_that_may_show_the_fault_is_heard(kind):
    assert kinds(answers(about(kind, ticket()), facts(ticket()))) == ["AddComment", "AddTags"]


def test_other_events_are_none_of_its_business():
    assert answers(about(TicketAssigned, ticket(), team="GR"), facts(ticket())) == []
    assert answers(about(TicketUpdated, ticket()), facts(None)) == []


def test_an_english_tenant_is_told_in_english():
    note, tagged = looked(ticket(description="11 95555-0103 só whats"), tenant=ENGLISH)
    assert note.body.startswith("This ticket has no conventional phone number.")
    assert "WhatsApp only" in note.body
    assert tagged.reason == "no conventional phone number in the field phone, contact or text"


def test_a_text_that_the_admin_changed_is_used_in_every_language():
    changed = {"note": "Cadê o telefone de {{ ticket.subject }}? {{ missing_tag }}"}
    for tenant in (PORTUGUESE, ENGLISH):
        note, _ = looked(ticket(), tenant=tenant, settings=changed)
        assert note.body == "Cadê o telefone de CORE - Empresa Exemplo? sem-telefone"


@pytest.mark.parametrize(
    ("tags", "earlier"),
    [({"core", "Sem-Telefone"}, ()), ({"core"}, past(TAGGED)), ({"core"}, past(TAGGED, UNTAGGED, TAGGED))],
)
def test_nobody_is_told_twice(tags, earlier):
    told = [Skip(reason="ainda falta telefone, mas isso já foi avisado neste chamado")]
    assert looked(ticket(tags=frozenset(tags)), past=earlier) == told


@pytest.mark.parametrize("earlier", [past(TAGGED, UNTAGGED), past(TAGGED, by="another_rule"), ()])
def test_a_ticket_that_lost_its_number_again_is_told_again(earlier):
    assert kinds(looked(ticket(), past=earlier)) == ["AddComment", "AddTags"]


def test_a_ticket_that_is_over_is_left_in_peace():
    (skip,) = looked(ticket(status=Status.RESOLVED))
    assert skip.reason == "falta telefone, mas o chamado já está encerrado"


@pytest.mark.parametrize("fields", [{"deleted": True}, {"merged_into": "8"}])
def test_a_ticket_that_is_gone_is_left_in_peace(fields):
    assert looked(ticket(**fields)) == [Skip(reason="o chamado foi excluído ou mesclado")]


# --- scope, and how much of the ticket is read --------------------------------------------------------------


def test_a_ticket_out_of_scope_is_skipped_before_it_is_read_back():
    other = ticket(tags=frozenset({"suporte"}))
    (skip,) = looked(other, complete=False)
    assert skip.reason == "fora do escopo (tags): nenhum de: core"


def test_narrowing_the_scope_keeps_the_core_tag_and_an_empty_list_lifts_it():
    other = ticket(tags=frozenset())
    assert kinds(looked(other, settings={"scope": {"connections": ["movidesk"]}})) == ["Skip"]
    assert kinds(looked(other, settings={"scope": {"tags": []}})) == ["AddComment", "AddTags"]


def test_the_whole_ticket_is_asked_for_only_when_what_is_known_does_not_settle_it():
    assert kinds(looked(ticket(custom_fields={"phone": FIXED}), complete=False)) == ["Skip"]
    with pytest.raises(CollectFirst):
        looked(ticket(), complete=False)
    unknown = Ticket(ref=REF)
    with pytest.raises(CollectFirst):
        looked(unknown, complete=False)


def test_a_ticket_that_cannot_be_read_back_is_judged_by_what_is_known():
    assert kinds(looked(ticket(), complete=False, collectable=False)) == ["AddComment", "AddTags"]
    assert kinds(looked(Ticket(ref=REF), complete=False, collectable=False)) == ["Skip"]


# --- exceptions and mending ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"tags": frozenset({"core", "Exceção-Contato"})},
        {"custom_fields": {"excecao-contato": "só por e-mail"}},
        {"custom_fields": {"excecao-contato": True}},
    ],
)
def test_a_written_exception_satisfies_and_takes_the_tag_away(fields):
    assert looked(ticket(**fields)) == [Skip(reason="há uma exceção por escrito (excecao-contato)")]
    tags = fields.get("tags", frozenset({"core"})) | {"sem-telefone"}
    (action,) = looked(ticket(**{**fields, "tags": tags}))
    assert action == RemoveTags(
        ticket=REF, tags=("sem-telefone",),
        reason="a falta foi resolvida: há uma exceção por escrito (excecao-contato)",
    )  # fmt: skip


@pytest.mark.parametrize("value", [False, "", "Não", "no", 0, "false", None])
def test_an_exception_field_that_says_no_is_no_exception(value):
    assert kinds(looked(ticket(custom_fields={"excecao-contato": value}))) == ["AddComment", "AddTags"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"custom_fields": {"phone": FIXED}}, ["RemoveTags"]),
        ({"contact": Contact(id="c1", phones=(MOBILE,))}, ["RemoveTags"]),
        ({"description": f"fone {FIXED}"}, ["SetFields", "RemoveTags"]),
    ],
)
def test_mended_the_tag_goes(fields, expected):
    tagged = ticket(**fields, tags=frozenset({"core", "sem-telefone"}))
    assert kinds(looked(tagged, past=past(TAGGED))) == expected


def test_a_number_sent_to_the_field_earlier_still_takes_the_tag_away():
    sent = SetFields(ticket=REF, fields={"phone": "+551135550101"}, reason="-")
    tagged = ticket(description=FIXED, tags=frozenset({"core", "sem-telefone"}))
    assert kinds(looked(tagged, past=past(sent))) == ["RemoveTags"]


def test_a_number_put_in_the_contacts_record_mends_the_contacts_tickets_at_that_desk_only():
    def linked(
        id_: str, connection: str = "movidesk", tags: tuple[str, ...] = ("core", "sem-telefone"), **fields
    ):
        return Ticket(ref=TicketRef(connection, id_), tags=frozenset(tags), **fields)

    ana = Contact(id="c1")
    others = (
        linked("1", contact=ana), linked("2", contact=Contact(id="c2")), linked("3"),
        linked("4", connection="zendesk", contact=ana), linked("5", tags=("core",), contact=ana),
    )  # fmt: skip
    contact = Contact(id="c1", phones=(MOBILE,))
    event = ContactUpdated(id="contact:c1", occurred_at=NOW, connection="movidesk", contact=contact)
    removed, skip = answers(event, facts(linked=others))
    assert isinstance(removed, RemoveTags)
    assert removed.ticket == TicketRef("movidesk", "1")
    assert skip == Skip(reason="há um telefone válido no cadastro do contato")
    without = event.model_copy(update={"contact": ana})
    assert answers(without, facts(linked=others)) == []


# --- guarded statuses ---------------------------------------------------------------------------------------

GUARDED = [
    ({"status": Status.RESOLVED, "remote_status": "Resolvido"}, "resolved"),
    ({"status": Status.CLOSED, "remote_status": "Fechado"}, "closed"),
    ({"status": Status.PENDING, "remote_status": "AGENDADO"}, "label"),
]


@pytest.mark.parametrize(("fields", "_"), GUARDED, ids=[name for _, name in GUARDED])
def test_a_ticket_moved_to_a_guarded_status_is_set_back_with_a_private_comment(fields, _):
    there = ticket(**fields)
    event = moved(there, old_remote="Em atendimento", new_remote=fields["remote_status"])
    back, note, tagged = answers(event, facts(there))
    assert back == SetStatus(
        ticket=REF, status=Status.OPEN, remote_status="Em atendimento",
        reason=f"movido para {fields['remote_status']} sem telefone convencional; volta para Em atendimento",
    )  # fmt: skip
    assert note.is_private
    assert "voltou para o status anterior" in note.body
    assert tagged == AddTags(ticket=REF, tags=("sem-telefone",), reason=tagged.reason)


def test_a_ticket_already_told_is_set_back_without_another_tag():
    there = ticket(status=Status.RESOLVED, tags=frozenset({"core", "sem-telefone"}))
    assert kinds(answers(moved(there), facts(there))) == ["SetStatus", "AddComment"]


def test_each_move_is_set_back_but_a_move_told_twice_only_once():
    there = ticket(status=Status.RESOLVED, remote_status="Resolvido")
    again = ticket(
        status=Status.OPEN, remote_status="Em atendimento", tags=frozenset({"core", "sem-telefone"})
    )
    event = moved(there, old_remote="Em atendimento", new_remote="Resolvido")
    told = answers(event, facts(again, past=past(TAGGED)))
    assert [skip.reason for skip in told] == [
        "movido para Resolvido sem telefone, mas já não está nesse status",
        "ainda falta telefone, mas isso já foi avisado neste chamado",
    ]


def test_the_same_status_under_another_label_counts_as_left():
    waiting = ticket(remote_status="Em atendimento")
    event = moved(waiting, old=Status.PENDING, old_remote="Aguardando", new_remote="Agendado")
    assert kinds(answers(event, facts(waiting, past=past(TAGGED)))) == ["Skip", "Skip"]


@pytest.mark.parametrize(
    ("old", "reason"),
    [
        ({"old": None}, "movido para resolved sem telefone, mas não se sabe qual era o status anterior"),
        (
            {"old": Status.RESOLVED},
            "movido para resolved sem telefone, mas não se sabe qual era o status anterior",
        ),
        ({"old": Status.CLOSED}, "movido para resolved sem telefone, mas já estava encerrado antes (closed)"),
    ],
)
def test_where_the_way_back_is_not_known_or_was_over_already_it_says_so(old, reason):
    there = ticket(status=Status.RESOLVED)
    found = answers(moved(there, **old), facts(there))
    assert found[0] == Skip(reason=reason)
    assert kinds(found) == ["Skip", "Skip"]


def test_an_unknown_way_back_still_tells_the_people_of_an_open_ticket():
    there = ticket(status=Status.PENDING, remote_status="Agendado")
    event = moved(there, old=None, new_remote="Agendado")
    assert kinds(answers(event, facts(there))) == ["Skip", "AddComment", "AddTags"]


def test_a_move_with_a_number_in_hand_is_not_touched():
    there = ticket(status=Status.RESOLVED, description=FIXED)
    assert kinds(answers(moved(there), facts(there))) == ["SetFields"]


def test_other_statuses_are_free_and_the_guard_can_be_lifted():
    there = ticket(status=Status.PENDING)
    assert kinds(answers(moved(there), facts(there))) == ["AddComment", "AddTags"]
    over = ticket(status=Status.CLOSED)
    assert kinds(answers(moved(over), facts(over, settings={"guard_statuses": ()}))) == ["Skip"]


def test_a_status_known_only_in_our_words_is_enough():
    there = Ticket(ref=REF, tags=frozenset({"core", "sem-telefone"}))
    event = moved(there, new=Status.CLOSED)
    assert kinds(answers(event, facts(there))) == ["SetStatus", "AddComment"]


# --- any order ----------------------------------------------------------------------------------------------


def carried_out(known: Ticket, found: list[Action | Skip]) -> Ticket:
    for answer in found:
        match answer:
            case AddTags(tags=tags):
                known = known.model_copy(update={"tags": known.tags | set(tags)})
            case RemoveTags(tags=tags):
                known = known.model_copy(update={"tags": known.tags - set(tags)})
            case SetFields(fields=fields):
                known = known.model_copy(update={"custom_fields": {**known.custom_fields, **fields}})
            case SetStatus(status=status):
                known = known.model_copy(update={"status": status})
    return known


class Desk:
    """A ticket, what was said on it and what we did, as the core keeps them between events."""

    def __init__(self) -> None:
        self.ticket = ticket()
        self.comments: tuple[Comment, ...] = ()
        self.past: tuple[Past, ...] = ()
        self.actions: list[Action] = []

    def happens(self, step: str) -> None:
        event: Event = about(TicketUpdated, self.ticket)
        match step:
            case "field":
                self.ticket = self.ticket.model_copy(update={"custom_fields": {"phone": FIXED}})
            case "contact":
                self.ticket = self.ticket.model_copy(update={"contact": Contact(id="c1", phones=(MOBILE,))})
            case "description":
                self.ticket = self.ticket.model_copy(update={"description": f"fone {FIXED}"})
            case "comment":
                said = comment(f"meu telefone é {FIXED}")
                self.comments = (said,)
                event = about(CommentCreated, self.ticket, comment=said)
            case "exception":
                tags = self.ticket.tags | {"excecao-contato"}
                self.ticket = self.ticket.model_copy(update={"tags": tags})
                event = about(TicketTagged, self.ticket, added=frozenset({"excecao-contato"}))
            case "resolved":
                old = self.ticket.status
                self.ticket = self.ticket.model_copy(update={"status": Status.RESOLVED})
                event = moved(self.ticket, old=old)
            case "created":
                event = about(TicketCreated, self.ticket)
        found = answers(event, facts(self.ticket, comments=self.comments, past=self.past))
        done = [answer for answer in found if isinstance(answer, Action)]
        self.ticket = carried_out(self.ticket, done)
        self.past += past(*done)
        self.actions += done


MENDING = ["field", "contact", "description", "comment", "exception"]


@given(
    st.lists(st.sampled_from([*MENDING, "created", "resolved", "nothing"]), max_size=8),
    st.sampled_from(MENDING),
    st.randoms(use_true_random=False),
)
def test_in_any_order_a_mended_ticket_ends_without_the_tag_and_was_told_at_most_once(steps, mending, order):
    steps = [*steps, mending]
    order.shuffle(steps)
    desk = Desk()
    for step in steps:
        desk.happens(step)
    assert "sem-telefone" not in desk.ticket.tags
    assert sum(isinstance(action, AddTags) for action in desk.actions) <= 1
    assert sum(isinstance(action, SetFields) for action in desk.actions) <= 1
    for step in steps:
        before = len(desk.actions)
        desk.happens(step if step != "resolved" else "nothing")
        assert len(desk.actions) == before, "nothing is left to do when it is all told again"


def test_every_reason_exists_in_both_languages():
    assert rule.REASONS["pt-BR"].keys() == rule.REASONS["en"].keys()
    assert rule.TEXTS["pt-BR"].keys() == rule.TEXTS["en"].keys()


def test_the_rule_is_on_by_default_and_its_settings_are_a_form_that_refuses_what_it_does_not_know():
    assert rule.INFO.enabled
    assert rule.INFO.hears_ours
    assert rule.Settings.model_validate(rule.Settings().model_dump(mode="json")) == rule.Settings()
    with pytest.raises(ValidationError):
        rule.Settings(fone="phone")
    with pytest.raises(ValidationError, match="bad template"):
        rule.Settings(note="{% if %}")


def test_work_does_not_depend_on_when_it_is_done():
    later = facts(ticket(), now=NOW + timedelta(days=400))
    assert answers(about(TicketUpdated, ticket()), later) == looked(ticket())


def test_a_number_in_the_text_is_enough_where_the_desk_has_no_field_for_it():
    known = ticket(description=f"Ligar para {FIXED}", tags=frozenset({"core", "sem-telefone"}))
    answers = looked(known, mapped_fields={})
    assert kinds(answers) == ["RemoveTags"]
    assert "phone" in answers[0].reason
