"""F1: does a confirmed payment open one CORE ticket, and everything after it only a note?"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from gateway_rules import core_ticket_on_payment as rule
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import TemplateError
from pydantic import ValidationError

from gateway.api import (
    AddComment,
    AddTags,
    Contact,
    CreateTicket,
    Customer,
    Facts,
    LinkTickets,
    Payment,
    PaymentConfirmed,
    PaymentOverdue,
    PaymentReversed,
    Skip,
    Status,
    Tenant,
    Ticket,
    TicketRef,
)

NOW = datetime(2026, 9, 14, 12, tzinfo=UTC)
PAYMENT = Payment(
    id="pay_1", amount_minor=153075, plan="Pro", products=("Fiscal", "Folha"), reference="deal-1234"
)
CUSTOMER = Customer(
    id="c1",
    name="Padaria Exemplo",
    document="11222333000181",
    email="ana@example.com",
    phones=("(11) 3555-0199",),
)
PLANNED = TicketRef("desk", "+core:c1")
OPEN = Ticket(ref=TicketRef("desk", "42"), status=Status.OPEN, tags=frozenset({"core", "onboarding"}))
CLOSED = OPEN.model_copy(update={"status": Status.CLOSED})


def settings(**changes: Any) -> rule.Settings:
    return rule.Settings.model_validate({"connection": "desk", **changes})


def facts(*linked: Ticket, locale: str = "pt-BR", **changes: Any) -> Facts:
    known = {
        "customer": CUSTOMER,
        "settings": settings(),
        "connections": {"desk": "movidesk", "chat": "intercom"},
        "mapped_fields": {
            "desk": frozenset({"plan", "amount", "payment_reference", "phone", "plano", "ref"})
        },
    }
    return Facts(
        tenant=Tenant(id="acme", name="Acme", locale=locale), now=NOW, linked=linked, **{**known, **changes}
    )


def confirmed(given_facts: Facts, **changes: Any) -> list:
    payment = PAYMENT.model_copy(update=changes)
    event = PaymentConfirmed(id=f"payment.confirmed:{payment.id}", occurred_at=NOW, payment=payment)
    return list(rule.on_event(event, given_facts))


def taken_back(given_facts: Facts, **changes: Any) -> list:
    payment = PAYMENT.model_copy(update=changes)
    event = PaymentReversed(id=f"payment.reversed:{payment.id}", occurred_at=NOW, payment=payment)
    return list(rule.on_event(event, given_facts))


def after(before: Facts, answers: list) -> Facts:
    """The facts of the next event about the same payment: what was decided is known at once."""
    created = [answer for answer in answers if isinstance(answer, CreateTicket)]
    tagged = {answer.ticket: answer.tags for answer in answers if isinstance(answer, AddTags)}
    linked = [
        ticket.model_copy(update={"tags": ticket.tags | frozenset(tagged.get(ticket.ref, ()))})
        for ticket in (
            *before.linked,
            *(Ticket(ref=each.ticket, status=Status.NEW, tags=frozenset(each.tags)) for each in created),
        )
    ]
    names = {name for each in answers if isinstance(each, LinkTickets) for name in (each.left, each.right)}
    return facts(
        *linked, settings=before.settings, customer=before.customer, links=before.links | names,
        connections=before.connections,
    )  # fmt: skip


def skipped(answers: list) -> str:
    (skip,) = answers
    assert isinstance(skip, Skip)
    return skip.reason


# --- the ticket -------------------------------------------------------------------------------------------


def test_a_first_payment_opens_the_ticket_and_ties_everything_together():
    create, to_customer, to_payment = confirmed(facts())
    assert create.model_dump(exclude={"description"}) == CreateTicket(
        connection="desk",
        key="core:c1",
        subject="CORE - Padaria Exemplo",
        description="",
        contact=Contact(
            name="Padaria Exemplo", document="11222333000181", email=CUSTOMER.email, phones=CUSTOMER.phones
        ),
        team="GR",
        tags=("core", "onboarding"),
        custom_fields={
            "plan": "Pro", "amount": "R$ 1.530,75", "payment_reference": "deal-1234",
            "phone": "(11) 3555-0199",
        },
        reason="pagamento pay_1 confirmado e o cliente não tem chamado CORE aberto",
    ).model_dump(exclude={"description"})  # fmt: skip
    assert create.ticket == PLANNED
    why = create.reason
    assert to_customer == LinkTickets(
        left="ticket:desk:+core:c1", right="customer:c1", relation="core", reason=why
    )
    assert to_payment == LinkTickets(left="ticket:desk:+core:c1", right="payment:pay_1", reason=why)


def test_the_description_says_what_was_bought_by_whom_and_what_comes_first():
    description = confirmed(facts())[0].description
    for text in (
        "Cliente: Padaria Exemplo\nCPF/CNPJ: 11222333000181\nPlano: Pro\nProdutos: Fiscal, Folha\n"
        "Valor: R$ 1.530,75\nReferência do pagamento: deal-1234\n",
        "Telefone: (11) 3555-0199\nE-mail: ana@example.com\n",
        "Agendar o 1º CORE",
    ):
        assert text in description


def test_only_what_is_known_is_filled_in():
    bare = Customer(id="c1", name="Padaria Exemplo", document="11222333000181")
    (create, *_) = confirmed(facts(customer=bare), amount_minor=None, plan=None, products=(), reference=None)
    assert create.custom_fields == {"payment_reference": "pay_1"}
    assert "Plano: não informado\nProdutos: não informados\nValor: -" in create.description
    assert "None" not in create.description


def test_plan_and_products_may_be_known_of_the_customer():
    customer = CUSTOMER.model_copy(update={"plan": "Básico", "products": ("RH",)})
    (create, *_) = confirmed(facts(customer=customer), plan=None, products=())
    assert create.custom_fields["plan"] == "Básico"
    assert "Plano: Básico\nProdutos: RH" in create.description


def test_only_fields_that_the_desk_has_are_filled_and_the_description_tells_the_rest():
    (create, *_) = confirmed(facts(mapped_fields={"desk": frozenset({"plan"})}))
    assert create.custom_fields == {"plan": "Pro"}
    assert "deal-1234" in create.description


def test_the_names_of_fields_are_the_tenants_and_an_empty_one_fills_nothing():
    named = settings(plan_field="plano", amount_field="", reference_field="ref", phone_field="")
    assert confirmed(facts(settings=named))[0].custom_fields == {"plano": "Pro", "ref": "deal-1234"}


@pytest.mark.parametrize(
    ("customer", "name"),
    [
        (Customer(id="c1", document="11222333000181", email="ana@example.com"), "11222333000181"),
        (Customer(id="c1", name="", email="ana@example.com"), "ana@example.com"),
        (Customer(id="c1", phones=("(11) 3555-0199",)), "(11) 3555-0199"),
    ],
)
def test_a_customer_without_a_name_is_called_by_what_is_known(customer, name):
    (create, *_) = confirmed(facts(customer=customer))
    assert (create.subject, create.contact.name) == (f"CORE - {name}", name)


def test_a_customer_of_whom_nothing_is_known_becomes_no_contact():
    (create, *_) = confirmed(facts(customer=Customer(id="c1")))
    assert (create.subject, create.contact) == ("CORE - c1", None)


def test_a_name_with_line_ends_stays_one_line_of_subject():
    customer = CUSTOMER.model_copy(update={"name": "Padaria\r\nBcc: x " + "y" * 999})
    subject = confirmed(facts(customer=customer))[0].subject
    assert subject.startswith("CORE - Padaria Bcc: x yyy")
    assert len(subject) == 250


# --- once -------------------------------------------------------------------------------------------------


def test_the_same_payment_told_again_changes_nothing():
    before = facts()
    later = after(before, confirmed(before))
    assert skipped(confirmed(later)) == "o pagamento pay_1 já foi tratado"


def test_another_payment_before_the_ticket_exists_is_noted_on_it():
    before = facts()
    comment, link = confirmed(after(before, confirmed(before)), id="pay_2")
    assert isinstance(comment, AddComment)
    assert (comment.ticket, comment.is_private) == (PLANNED, True)
    assert (link.left, link.right) == ("ticket:desk:+core:c1", "payment:pay_2")


def test_a_later_payment_is_noted_on_the_open_ticket_and_only_once():
    before = facts(OPEN)
    comment, link = answers = confirmed(before, id="pay_2")
    assert comment == AddComment(
        ticket=OPEN.ref,
        body="Mais um pagamento deste cliente foi confirmado: R$ 1.530,75, plano Pro, referência deal-1234.\n"
        "Este chamado CORE já estava aberto, por isso nenhum outro foi criado.",
        reason="pagamento pay_2 confirmado com o chamado CORE desk:42 já aberto",
    )
    assert (link.left, link.right) == ("ticket:desk:42", "payment:pay_2")
    assert skipped(confirmed(after(before, answers), id="pay_2")) == "o pagamento pay_2 já foi tratado"


def test_two_notices_that_race_name_the_same_ticket():
    (first, *_), (second, *_) = confirmed(facts()), confirmed(facts(), id="in_9", method="pix")
    assert first.key == second.key


@pytest.mark.parametrize("status", [Status.RESOLVED, Status.CLOSED, Status.CANCELED])
def test_a_customer_who_had_the_ticket_gets_no_other_one(status):
    done = OPEN.model_copy(update={"status": status})
    reason = skipped(confirmed(facts(done), id="pay_2"))
    assert reason == "não é o primeiro pagamento: o cliente já teve o chamado CORE desk:42"


def test_a_deleted_ticket_is_not_open_but_was_there():
    deleted = OPEN.model_copy(update={"deleted": True})
    assert "já teve o chamado CORE desk:42" in skipped(confirmed(facts(deleted)))


def test_a_ticket_at_the_desk_used_before_counts_as_had():
    elsewhere = OPEN.model_copy(update={"ref": TicketRef("old-desk", "7")})
    assert "já teve o chamado CORE old-desk:7" in skipped(confirmed(facts(elsewhere)))


def test_where_every_round_counts_a_closed_ticket_is_followed_by_another():
    every = settings(first_payment_only=False)
    (create, *_) = confirmed(facts(CLOSED, settings=every), id="pay_2")
    assert create.key == "core:c1:pay_2"
    assert isinstance(confirmed(facts(CLOSED, OPEN, settings=every), id="pay_3")[0], AddComment)


def test_other_tickets_of_the_customer_are_not_the_core_ticket():
    support = OPEN.model_copy(update={"tags": frozenset({"onboarding", "suporte"})})
    assert isinstance(confirmed(facts(support))[0], CreateTicket)


def test_the_desk_may_spell_the_tag_otherwise():
    shouting = OPEN.model_copy(update={"tags": frozenset({"CORE"})})
    assert isinstance(confirmed(facts(shouting))[0], AddComment)


# --- nothing to do ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"customer": None},
            "o aviso do pagamento pay_1 não diz de quem ele é (documento, e-mail, telefone)",
        ),
        (
            {"settings": settings(connection="x")},
            "a conexão 'x', onde o chamado CORE seria aberto, não existe",
        ),
        (
            {"settings": settings(plans=["Enterprise", "ME"])},
            "o plano 'Pro' não está entre os que abrem chamado CORE: Enterprise, ME",
        ),
        (
            {"settings": settings(min_amount="1530.76")},
            "o valor (R$ 1.530,75) não chega ao mínimo de 1530.76",
        ),
    ],
)
def test_it_says_why_it_does_nothing(changes, reason):
    assert skipped(confirmed(facts(**changes))) == reason


def test_an_unknown_amount_reaches_no_minimum_and_an_unknown_plan_is_in_no_list():
    assert "o valor (-)" in skipped(confirmed(facts(settings=settings(min_amount=1)), amount_minor=None))
    assert "o plano '-'" in skipped(confirmed(facts(settings=settings(plans=["Pro"])), plan=None))


def test_the_listed_plan_and_the_exact_minimum_are_enough():
    met = settings(plans=["PRO"], min_amount=Decimal("1530.75"))
    assert isinstance(confirmed(facts(settings=met))[0], CreateTicket)


def test_other_events_are_none_of_its_business():
    overdue = PaymentOverdue(id="payment.overdue:pay_1", occurred_at=NOW, payment=PAYMENT)
    assert list(rule.on_event(overdue, facts())) == []


# --- money that goes back ---------------------------------------------------------------------------------


def test_a_reversal_is_noted_and_tagged_on_the_ticket_once():
    before = facts(OPEN)
    link, comment, tag = answers = taken_back(before)
    assert (link.left, link.right, link.relation) == ("payment:pay_1", "reversal:pay_1", "reversed")
    assert (comment.ticket, comment.is_private) == (OPEN.ref, True)
    assert comment.body.startswith(
        "Pagamento revertido (estorno ou contestação): R$ 1.530,75, referência deal-1234."
    )
    assert tag == AddTags(ticket=OPEN.ref, tags=("pagamento-revertido",), reason="pagamento pay_1 revertido")
    assert skipped(taken_back(after(before, answers))) == "o pagamento pay_1 já foi tratado"


def test_a_second_payment_taken_back_is_noted_but_not_tagged_again():
    before = facts(OPEN)
    later = after(before, taken_back(before))
    assert [type(answer) for answer in taken_back(later, id="pay_2")] == [LinkTickets, AddComment]


def test_a_reversal_reaches_a_ticket_that_is_still_to_be_created():
    before = facts()
    answers = taken_back(after(before, confirmed(before)))
    assert {answer.ticket for answer in answers if isinstance(answer, AddComment | AddTags)} == {PLANNED}


def test_a_reversal_goes_to_the_open_ticket_and_else_to_the_closed_one():
    newer = OPEN.model_copy(update={"ref": TicketRef("desk", "99")})
    assert taken_back(facts(CLOSED, newer))[1].ticket == newer.ref
    assert taken_back(facts(CLOSED))[1].ticket == CLOSED.ref


def test_a_reversal_needs_no_customer_where_the_payment_is_tied_to_the_ticket():
    assert taken_back(facts(OPEN, customer=None))[1].ticket == OPEN.ref


@pytest.mark.parametrize(
    "linked",
    [
        (),
        (OPEN.model_copy(update={"deleted": True}),),
        (OPEN.model_copy(update={"ref": TicketRef("chat", "1")}),),
    ],
)
def test_a_reversal_without_a_ticket_is_only_remembered(linked):
    link, skip = taken_back(facts(*linked))
    assert link.right == "reversal:pay_1"
    assert skip == Skip(reason="o pagamento pay_1 foi revertido, mas o cliente não tem chamado CORE")


def test_a_confirmation_that_comes_after_its_reversal_opens_nothing():
    before = facts()
    later = facts(links=frozenset({"reversal:pay_1"}))
    assert taken_back(before)[0].right in later.links
    assert skipped(confirmed(later)) == "o pagamento pay_1 já foi revertido antes de chegar esta confirmação"
    assert isinstance(confirmed(later, id="pay_2")[0], CreateTicket)


def test_a_reversal_to_a_desk_that_is_gone_says_so():
    assert "não existe" in skipped(taken_back(facts(OPEN, settings=settings(connection="gone"))))


# --- texts and settings -----------------------------------------------------------------------------------


def test_an_english_tenant_reads_english():
    english = facts(OPEN, locale="en")
    assert "Schedule the 1st CORE" in confirmed(facts(locale="en"))[0].description
    assert confirmed(english)[0].body.startswith(
        "Another payment of this customer was confirmed: R$ 1.530,75"
    )
    assert taken_back(english)[1].body.startswith("Payment reversed")
    assert skipped(confirmed(facts(locale="en", customer=None))).startswith("the notice of payment pay_1")


def test_the_tenants_own_text_wins_in_every_language():
    own = settings(
        subject="{{ customer.name }}: {{ payment.plan }}", description="{{ tenant.name }}",
        later_payment="Ok", reversal="Volta",
    )  # fmt: skip
    (create, *_) = confirmed(facts(locale="en", settings=own))
    assert (create.subject, create.description) == ("Padaria Exemplo: Pro", "Acme")
    assert confirmed(facts(OPEN, locale="en", settings=own))[0].body == "Ok"
    assert taken_back(facts(OPEN, locale="en", settings=own))[1].body == "Volta"


def test_a_text_that_asks_for_what_there_is_not_is_an_error_not_a_ticket():
    with pytest.raises(TemplateError):
        confirmed(facts(settings=settings(description="{{ deal.title }}")))


@pytest.mark.parametrize(
    "wrong",
    [
        {"connection": ""}, {"min_amount": -1}, {"tags": []}, {"subject": "{{ customer.name"},
        {"reversed_tag": ""}, {"unheard_of": 1},
    ],
)  # fmt: skip
def test_settings_that_cannot_work_are_refused_when_saved(wrong):
    with pytest.raises(ValidationError):
        settings(**wrong)


def test_the_desk_must_be_named():
    with pytest.raises(ValidationError, match="connection"):
        rule.Settings()


def test_every_text_and_reason_is_there_in_both_languages():
    assert rule.TEXTS["en"].keys() == rule.TEXTS["pt-BR"].keys()
    assert all(reason.keys() == {"pt-BR", "en"} for reason in rule.REASONS.values())
    assert rule.INFO.title.keys() == rule.INFO.description.keys() == {"pt-BR", "en"}
    assert rule.INFO.enabled


PAYMENTS = st.builds(
    Payment,
    id=st.text(min_size=1, max_size=20),
    amount_minor=st.none() | st.integers(-(10**9), 10**12),
    plan=st.none() | st.text(max_size=20),
    products=st.lists(st.text(max_size=10), max_size=3).map(tuple),
)
CUSTOMERS = st.none() | st.builds(
    Customer,
    id=st.uuids().map(str),
    name=st.none() | st.text(max_size=40),
    phones=st.lists(st.text(max_size=15), max_size=2).map(tuple),
)
TICKETS = st.lists(st.sampled_from([OPEN, CLOSED, Ticket(ref=TicketRef("chat", "1"))]), max_size=3)


@given(PAYMENTS, CUSTOMERS, TICKETS, st.booleans(), st.sampled_from(["pt-BR", "en"]))
def test_the_same_event_and_facts_give_the_same_answers_and_a_second_telling_nothing(
    payment, customer, linked, back, locale
):
    kind = PaymentReversed if back else PaymentConfirmed
    event = kind(id="fact", occurred_at=NOW, payment=payment)
    given_facts = facts(*linked, customer=customer, locale=locale)
    answers = list(rule.on_event(event, given_facts))
    assert answers
    assert answers == list(rule.on_event(event, given_facts))
    assert all(answer.reason for answer in answers)
    again = list(rule.on_event(event, after(given_facts, answers)))
    assert [type(answer) for answer in again] == [Skip]
