"""When a new customer's payment is confirmed, the onboarding ticket ("CORE") opens by itself.

A payment told twice changes nothing; a later payment is noted on the open CORE ticket; a payment that is
taken back is noted there too and marks the ticket with a tag.
"""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

from pydantic import Field

from gateway.api import (
    JSON,
    Action,
    AddComment,
    AddTags,
    CreateTicket,
    Customer,
    Event,
    Facts,
    LinkTickets,
    Payment,
    PaymentConfirmed,
    PaymentReversed,
    RuleInfo,
    RuleSettings,
    Skip,
    Template,
    Ticket,
    TicketRef,
    hookimpl,
)

INFO = RuleInfo(
    title={"pt-BR": "Chamado CORE no pagamento", "en": "CORE ticket on payment"},
    description={
        "pt-BR": "Quando o primeiro pagamento de um cliente é confirmado, abre o chamado de implantação e "
        "onboarding (CORE) para a equipe de relacionamento. Outros pagamentos e estornos viram comentários "
        "privados nele.",
        "en": "When a customer's first payment is confirmed, opens the implementation-and-onboarding ticket "
        "(CORE) for relationship management. Other payments and reversals become private comments on it.",
    },
    enabled=True,
)

SUBJECT_LENGTH = 250

TEXTS = {
    "pt-BR": {
        "description": """\
Pagamento confirmado: inicie a implantação deste cliente.

Cliente: {{ customer.name }}
{% if customer.document %}
CPF/CNPJ: {{ customer.document }}
{% endif %}
Plano: {{ payment.plan or customer.plan or "não informado" }}
Produtos: {{ (payment.products or customer.products) | join(", ") or "não informados" }}
Valor: {{ payment.amount_minor | money(payment.currency) }}
Referência do pagamento: {{ payment.reference or payment.id }}

Contato
Telefone: {{ customer.phones | join(", ") or "não informado" }}
E-mail: {{ customer.email or "não informado" }}

O que o GR faz primeiro
1. Ligar para o cliente, dar as boas-vindas e conferir os dados acima.
2. Agendar o 1º CORE e registrar a data neste chamado.
3. Enviar a confirmação do agendamento ao cliente.""",
        "later_payment": """\
Mais um pagamento deste cliente foi confirmado: {{ payment.amount_minor | money(payment.currency) }}\
{% if payment.plan %}, plano {{ payment.plan }}{% endif %}, referência {{ payment.reference or payment.id }}.
Este chamado CORE já estava aberto, por isso nenhum outro foi criado.""",
        "reversal": """\
Pagamento revertido (estorno ou contestação): {{ payment.amount_minor | money(payment.currency) }}, \
referência {{ payment.reference or payment.id }}.
Antes de continuar a implantação, confirme a situação com o financeiro.""",
    },
    "en": {
        "description": """\
Payment confirmed: start this customer's implementation.

Customer: {{ customer.name }}
{% if customer.document %}
Document: {{ customer.document }}
{% endif %}
Plan: {{ payment.plan or customer.plan or "not given" }}
Products: {{ (payment.products or customer.products) | join(", ") or "not given" }}
Amount: {{ payment.amount_minor | money(payment.currency) }}
Payment reference: {{ payment.reference or payment.id }}

Contact
Phone: {{ customer.phones | join(", ") or "not given" }}
E-mail: {{ customer.email or "not given" }}

What relationship management does first
1. Call the customer, welcome them and check the data above.
2. Schedule the 1st CORE and note its date on this ticket.
3. Send the customer the confirmation of the appointment.""",
        "later_payment": """\
Another payment of this customer was confirmed: {{ payment.amount_minor | money(payment.currency) }}\
{% if payment.plan %}, plan {{ payment.plan }}{% endif %}, reference {{ payment.reference or payment.id }}.
This CORE ticket was already open, so no other one was created.""",
        "reversal": """\
Payment reversed (refund or chargeback): {{ payment.amount_minor | money(payment.currency) }}, \
reference {{ payment.reference or payment.id }}.
Ask finance how things stand before you go on with the implementation.""",
    },
}

REASONS = {
    "no_connection": {
        "pt-BR": "a conexão {connection!r}, onde o chamado CORE seria aberto, não existe",
        "en": "the connection {connection!r}, where the CORE ticket would open, does not exist",
    },
    "no_customer": {
        "pt-BR": "o aviso do pagamento {payment} não diz de quem ele é (documento, e-mail, telefone)",
        "en": "the notice of payment {payment} does not say whose it is (document, e-mail, phone)",
    },
    "known": {
        "pt-BR": "o pagamento {payment} já foi tratado",
        "en": "payment {payment} was already handled",
    },
    "reversed_before": {
        "pt-BR": "o pagamento {payment} já foi revertido antes de chegar esta confirmação",
        "en": "payment {payment} was reversed before this confirmation came",
    },
    "other_plan": {
        "pt-BR": "o plano {plan!r} não está entre os que abrem chamado CORE: {plans}",
        "en": "plan {plan!r} is not among those that open a CORE ticket: {plans}",
    },
    "too_small": {
        "pt-BR": "o valor ({amount}) não chega ao mínimo de {minimum}",
        "en": "the amount ({amount}) does not reach the minimum of {minimum}",
    },
    "had_one": {
        "pt-BR": "não é o primeiro pagamento: o cliente já teve o chamado CORE {ticket}",
        "en": "not the first payment: the customer already had the CORE ticket {ticket}",
    },
    "no_core": {
        "pt-BR": "o pagamento {payment} foi revertido, mas o cliente não tem chamado CORE",
        "en": "payment {payment} was reversed, but the customer has no CORE ticket",
    },
    "opens": {
        "pt-BR": "pagamento {payment} confirmado e o cliente não tem chamado CORE aberto",
        "en": "payment {payment} was confirmed and the customer has no open CORE ticket",
    },
    "notes": {
        "pt-BR": "pagamento {payment} confirmado com o chamado CORE {ticket} já aberto",
        "en": "payment {payment} was confirmed while the CORE ticket {ticket} was already open",
    },
    "reverses": {
        "pt-BR": "pagamento {payment} revertido",
        "en": "payment {payment} was reversed",
    },
}


class Settings(RuleSettings):
    """Texts are Jinja2 templates with `customer`, `payment`, `tenant` and `now`.

    Texts left as they are appear in the tenant's language. A field's name left empty fills no field.
    """

    connection: str = Field(min_length=1, description="the ticket desk's connection")
    team: str | None = Field("GR", description="the desk's team for relationship management")
    subject: Template = "CORE - {{ customer.name }}"
    description: Template = TEXTS["pt-BR"]["description"]
    later_payment: Template = TEXTS["pt-BR"]["later_payment"]
    reversal: Template = TEXTS["pt-BR"]["reversal"]
    tags: tuple[str, ...] = Field(
        ("core", "onboarding"), min_length=1, description="the first marks a CORE ticket"
    )
    reversed_tag: str = Field("pagamento-revertido", min_length=1)
    first_payment_only: bool = Field(
        True, description="off: a customer whose CORE ticket is closed gets another"
    )
    plans: tuple[str, ...] = Field((), description="only these plans; empty = all")
    min_amount: Decimal = Field(Decimal(0), ge=0, le=10**9, description="in reais")
    plan_field: str = "plan"
    amount_field: str = "amount"
    reference_field: str = "payment_reference"
    phone_field: str = "phone"


Answers = Iterator[Action | Skip]


@hookimpl
def on_event(event: Event, facts: Facts) -> Answers:
    match event:
        case PaymentConfirmed(payment=payment):
            yield from _confirmed(payment, facts)
        case PaymentReversed(payment=payment):
            yield from _reversed(payment, facts)


def _confirmed(payment: Payment, facts: Facts) -> Answers:
    obstacle = _obstacle(payment, facts)
    tickets = _core_tickets(facts)
    here = [
        ticket for ticket in tickets if ticket.is_open and ticket.ref.connection == facts.settings.connection
    ]
    if obstacle is not None:
        yield Skip(reason=obstacle)
    elif here:
        yield from _noted(here[0].ref, payment, facts)
    elif facts.settings.first_payment_only and tickets:
        yield Skip(reason=_why(facts, "had_one", payment, ticket=_label(tickets[-1].ref)))
    else:
        yield from _opened(payment, facts)


def _obstacle(payment: Payment, facts: Facts) -> str | None:
    """Why this payment leads to nothing, if so."""
    settings, customer = facts.settings, facts.customer
    if settings.connection not in facts.connections:
        return _why(facts, "no_connection", payment, connection=settings.connection)
    if customer is None:
        return _why(facts, "no_customer", payment)
    if str(payment) in facts.links:
        return _why(facts, "known", payment)
    if _reversal(payment) in facts.links:
        return _why(facts, "reversed_before", payment)
    plan = payment.plan or customer.plan or "-"
    if settings.plans and plan.casefold() not in {each.casefold() for each in settings.plans}:
        return _why(facts, "other_plan", payment, plan=plan, plans=", ".join(settings.plans))
    minimum = int(settings.min_amount * 100)
    if minimum and (payment.amount_minor is None or payment.amount_minor < minimum):
        return _why(facts, "too_small", payment, amount=_amount(payment, facts), minimum=settings.min_amount)
    return None


def _noted(ref: TicketRef, payment: Payment, facts: Facts) -> Answers:
    why = _why(facts, "notes", payment, ticket=_label(ref))
    yield AddComment(ticket=ref, body=_text("later_payment", payment, facts), reason=why)
    yield LinkTickets(left=str(ref), right=str(payment), reason=why)


def _opened(payment: Payment, facts: Facts) -> Answers:
    settings, customer, why = facts.settings, _named(facts), _why(facts, "opens", payment)
    action = CreateTicket(
        connection=settings.connection,
        # The customer's id, not the payment's: two providers may count their payments alike.
        key=f"core:{customer.id}" + ("" if settings.first_payment_only else f":{_full_id(payment)}"),
        subject=" ".join(_text("subject", payment, facts).split())[:SUBJECT_LENGTH],
        description=_text("description", payment, facts),
        contact=None if customer.name == customer.id else customer.as_contact(),
        team=settings.team,
        tags=settings.tags,
        custom_fields=_fields(payment, customer, facts),
        reason=why,
    )
    yield action
    yield LinkTickets(left=str(action.ticket), right=str(customer), relation="core", reason=why)
    yield LinkTickets(left=str(action.ticket), right=str(payment), reason=why)


def _reversed(payment: Payment, facts: Facts) -> Answers:
    settings, why = facts.settings, _why(facts, "reverses", payment)
    if settings.connection not in facts.connections:
        yield Skip(reason=_why(facts, "no_connection", payment, connection=settings.connection))
    elif _reversal(payment) in facts.links:
        yield Skip(reason=_why(facts, "known", payment))
    else:
        # Kept also where there is nothing to note it on: the confirmation may come after the reversal.
        yield LinkTickets(left=str(payment), right=_reversal(payment), relation="reversed", reason=why)
        there = [each for each in _core_tickets(facts) if each.ref.connection == settings.connection]
        for ticket in sorted((each for each in there if not each.deleted), key=lambda each: not each.is_open)[
            :1
        ]:
            yield AddComment(ticket=ticket.ref, body=_text("reversal", payment, facts), reason=why)
            if not facts.tagged(ticket, settings.reversed_tag):
                yield AddTags(ticket=ticket.ref, tags=(settings.reversed_tag,), reason=why)
            return
        yield Skip(reason=_why(facts, "no_core", payment))


def _core_tickets(facts: Facts) -> list[Ticket]:
    """The customer's CORE tickets, open or not, those that we are still to create among them."""
    return [ticket for ticket in facts.linked if facts.tagged(ticket, facts.settings.tags[0])]


def _reversal(payment: Payment) -> str:
    """The name that is tied to a payment once we know that it was taken back."""
    return f"reversal:{_full_id(payment)}"


def _full_id(payment: Payment) -> str:
    """The payment's id, with its connection where that is known."""
    return str(payment).removeprefix("payment:")


def _named(facts: Facts) -> Customer:
    """The customer, called by whatever is known of them."""
    customer = facts.customer or Customer()
    known = (customer.name, customer.document, customer.email, *customer.phones, customer.id)
    return customer.model_copy(update={"name": next((each for each in known if each), None)})


def _fields(payment: Payment, customer: Customer, facts: Facts) -> dict[str, JSON]:
    settings = facts.settings
    values = {
        settings.plan_field: payment.plan or customer.plan,
        settings.amount_field: None if payment.amount_minor is None else _amount(payment, facts),
        settings.reference_field: payment.reference or payment.id,
        settings.phone_field: next(iter(customer.phones), None),
    }
    mapped = facts.mapped_fields.get(settings.connection, frozenset())  # the description tells the rest
    return {field: value for field, value in values.items() if field in mapped and value}


def _amount(payment: Payment, facts: Facts) -> str:
    return facts.render("{{ payment.amount_minor | money(payment.currency) }}", payment=payment)


def _text(name: str, payment: Payment, facts: Facts) -> str:
    """A text of the settings; one that nobody changed, in the tenant's language."""
    template = getattr(facts.settings, name)
    if template == TEXTS["pt-BR"].get(name):
        template = TEXTS[_locale(facts)][name]
    return replace(facts, customer=_named(facts)).render(template, payment=payment)


def _why(facts: Facts, reason: str, payment: Payment, **parts: object) -> str:
    return REASONS[reason][_locale(facts)].format(payment=payment.id, **parts)


def _label(ref: TicketRef) -> str:
    return str(ref).removeprefix("ticket:")


def _locale(facts: Facts) -> str:
    return "en" if facts.tenant.locale.lower().startswith("en") else "pt-BR"
