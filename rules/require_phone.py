"""A CORE ticket must carry a conventional telephone number, because onboarding analysts call.

A number that stands only in the text is filed in the ticket's phone field. Where there is none, the ticket
gets one private comment and a tag until somebody mends it, and is set back out of a guarded status.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from phonenumbers import SUPPORTED_REGIONS
from pydantic import Field, field_validator

from gateway.api import (
    Action,
    AddComment,
    AddTags,
    Choice,
    CommentCreated,
    ContactUpdated,
    Event,
    Facts,
    RemoveTags,
    RuleInfo,
    RuleSettings,
    Scope,
    SetFields,
    SetStatus,
    Skip,
    Template,
    Ticket,
    TicketCreated,
    TicketEvent,
    TicketStatusChanged,
    TicketTagged,
    TicketUpdated,
    find_phones,
    folded,
    hookimpl,
)

NAME = "require_phone"
HEARD = (TicketCreated, TicketUpdated, TicketTagged, TicketStatusChanged, CommentCreated)
NO = frozenset({"", "0", "false", "nao", "no"})
"""What an exception field says when there is no exception, folded."""

INFO = RuleInfo(
    title={"pt-BR": "Telefone obrigatório", "en": "Phone number required"},
    description={
        "pt-BR": "Todo chamado CORE precisa de um telefone convencional. Se ele está só no texto, vai para o "
        "campo; se falta, o chamado recebe um comentário privado e uma tag, e não avança de status.",
        "en": "Every CORE ticket needs a conventional phone number. One found only in the text goes to the "
        "field; where there is none, the ticket gets a private comment and a tag, and does not move on.",
    },
    enabled=True,
    hears_ours=True,  # a CORE ticket that we opened ourselves needs a number as much as any other
)

TEXTS = {
    "pt-BR": {
        "note": """\
Falta um telefone convencional neste chamado. O analista de implantação liga para o cliente, não usa WhatsApp.
{% if whatsapp_only %}
O número informado está marcado como somente WhatsApp, por isso não conta.
{% endif %}
Peça ao cliente um fixo ou celular com DDD que receba ligações e registre-o no campo de telefone, no \
cadastro do contato ou em um comentário. A tag {{ missing_tag }} sai sozinha quando o número aparecer.
Se foi combinada uma exceção, use a tag {{ exception_tag }}.""",
        "guard_note": """\
O chamado voltou para o status anterior porque ainda não tem um telefone convencional.
Registre o número no campo de telefone, no cadastro do contato ou em um comentário e mude o status de novo. \
Se foi combinada uma exceção, use a tag {{ exception_tag }}.""",
    },
    "en": {
        "note": """\
This ticket has no conventional phone number. The onboarding analyst calls the customer, not by WhatsApp.
{% if whatsapp_only %}
The number given is marked as WhatsApp only, so it does not count.
{% endif %}
Ask the customer for a landline or mobile number, with area code, that takes calls, and put it in the phone \
field, in the contact's record or in a comment. The tag {{ missing_tag }} goes by itself once there is one.
If an exception was agreed, use the tag {{ exception_tag }}.""",
        "guard_note": """\
The ticket was set back to its earlier status because it still has no conventional phone number.
Put the number in the phone field, in the contact's record or in a comment, and change the status again. \
If an exception was agreed, use the tag {{ exception_tag }}.""",
    },
}

REASONS = {
    "pt-BR": {
        "gone": "o chamado foi excluído ou mesclado",
        "exception": "há uma exceção por escrito ({settings.exception_tag})",
        "field": "há um telefone válido no campo {settings.phone_field}",
        "contact": "há um telefone válido no cadastro do contato",
        "text": "há um telefone válido no texto, e ele faltava no campo {settings.phone_field}",
        "unmapped": "há um telefone válido no texto; a conexão não tem o campo {field} para guardá-lo",
        "filed": "o telefone do texto já foi enviado para o campo {settings.phone_field}",
        "mended": "a falta foi resolvida: {why}",
        "missing": "nenhum telefone convencional no campo {settings.phone_field}, no contato nem no texto",
        "told": "ainda falta telefone, mas isso já foi avisado neste chamado",
        "over": "falta telefone, mas o chamado já está encerrado",
        "guarded": "movido para {new} sem telefone convencional; volta para {old}",
        "guard_unknown": "movido para {new} sem telefone, mas não se sabe qual era o status anterior",
        "guard_over": "movido para {new} sem telefone, mas já estava encerrado antes ({old})",
        "guard_left": "movido para {new} sem telefone, mas já não está nesse status",
    },
    "en": {
        "gone": "the ticket was deleted or merged",
        "exception": "there is a written exception ({settings.exception_tag})",
        "field": "there is a valid phone number in the field {settings.phone_field}",
        "contact": "there is a valid phone number in the contact's record",
        "text": "there is a valid phone number in the text, and the field {settings.phone_field} lacked it",
        "unmapped": "there is a valid phone number in the text; the connection has no field {field} to keep it",
        "filed": "the phone number in the text was already sent to the field {settings.phone_field}",
        "mended": "mended: {why}",
        "missing": "no conventional phone number in the field {settings.phone_field}, contact or text",
        "told": "there is still no phone number, but the ticket was already told so",
        "over": "there is no phone number, but the ticket is already over",
        "guarded": "moved to {new} without a conventional phone number; set back to {old}",
        "guard_unknown": "moved to {new} without a phone number, but the status before is not known",
        "guard_over": "moved to {new} without a phone number, but it was already over before ({old})",
        "guard_left": "moved to {new} without a phone number, but it is no longer there",
    },
}


class CoreTickets(Scope):
    tags: Choice[str] = Choice(any=("core",))


class Settings(RuleSettings):
    """Texts are Jinja2 templates with `ticket`, `tenant`, `missing_tag`, `exception_tag`, `phone_field` and
    `whatsapp_only`; those left as they are appear in the tenant's language."""

    scope: CoreTickets = CoreTickets()
    region: str = Field("BR", description="the country whose numbers count (ISO 3166)")
    phone_field: str = Field("phone", min_length=1, description="the custom field for the number")
    missing_tag: str = Field("sem-telefone", min_length=1)
    exception_tag: str = Field("excecao-contato", min_length=1, description="a tag, or a field of this name")
    own_numbers: tuple[str, ...] = Field(
        (), description="the company's own, as in signatures: never the customer's"
    )
    guard_statuses: tuple[str, ...] = Field(
        ("resolved", "closed", "agendado"), description="our statuses, or the desk's own labels"
    )
    note: Template = TEXTS["pt-BR"]["note"]
    guard_note: Template = TEXTS["pt-BR"]["guard_note"]

    @field_validator("region")
    @classmethod
    def _known(cls, region: str) -> str:
        if region not in SUPPORTED_REGIONS:  # or no number would ever count
            raise ValueError(f"{region!r} is no country with telephone numbers, e.g. 'BR'")
        return region


Answers = Iterator[Action | Skip]


@hookimpl
def on_event(event: Event, facts: Facts) -> Answers:
    if isinstance(event, ContactUpdated):
        yield from contact_mended(event, facts)
    elif isinstance(event, HEARD) and facts.ticket is not None:
        yield from looked_at(event, facts.ticket, facts)


def looked_at(event: TicketEvent, ticket: Ticket, facts: Facts) -> Answers:
    if outside := facts.outside(facts.settings.scope, ticket):
        yield Skip(reason=outside)
    elif ticket.deleted or ticket.merged_into:
        yield Skip(reason=_why(facts, "gone"))
    elif met := _met(ticket, facts):
        yield from mended(ticket, met, facts)
    else:
        texts = _texts(event, facts.full_ticket(), facts)
        if number := _number_in(texts, facts):
            yield from filed(ticket, number, facts)
        else:
            yield from missing(event, ticket, texts, facts)


def contact_mended(event: ContactUpdated, facts: Facts) -> Answers:
    """A contact's record is not on the ticket: its tickets are found among the linked ones."""
    if not _numbers(event.contact.phones, facts):
        return
    for ticket in facts.linked:
        same_desk = ticket.ref.connection == event.connection
        if same_desk and ticket.contact and event.contact.id and ticket.contact.id == event.contact.id:
            yield from mended(ticket, _why(facts, "contact"), facts)


def mended(ticket: Ticket, why: str, facts: Facts) -> Answers:
    if worn := facts.tagged(ticket, facts.settings.missing_tag):
        why = _why(facts, "mended", why=why)
        yield RemoveTags(ticket=ticket.ref, tags=(worn,), reason=why)
    else:
        yield Skip(reason=why)


def filed(ticket: Ticket, number: str, facts: Facts) -> Answers:
    fields = {facts.settings.phone_field: number}
    if facts.settings.phone_field not in facts.mapped_fields.get(ticket.ref.connection, ()):
        yield from mended(ticket, _why(facts, "unmapped", field=facts.settings.phone_field), facts)
        return
    done = any(isinstance(action, SetFields) and action.fields == fields for action in _own_actions(facts))
    why = _why(facts, "filed" if done else "text")
    if not done:
        yield SetFields(ticket=ticket.ref, fields=fields, reason=why)
    if done or facts.tagged(ticket, facts.settings.missing_tag):
        yield from mended(ticket, why, facts)


def missing(event: TicketEvent, ticket: Ticket, texts: list[str], facts: Facts) -> Answers:
    settings, why, told = facts.settings, _why(facts, "missing"), _was_told(ticket, facts)
    tagged = AddTags(ticket=ticket.ref, tags=(settings.missing_tag,), reason=why)
    back = _way_back(event, ticket, facts)
    if back:
        yield back
    if isinstance(back, SetStatus):
        yield AddComment(ticket=ticket.ref, body=_text(facts, "guard_note", texts), reason=back.reason)
        if not told:
            yield tagged
    elif told:
        yield Skip(reason=_why(facts, "told"))
    elif not ticket.is_open:
        yield Skip(reason=_why(facts, "over"))
    else:
        yield AddComment(ticket=ticket.ref, body=_text(facts, "note", texts), reason=why)
        yield tagged


def _way_back(event: TicketEvent, ticket: Ticket, facts: Facts) -> SetStatus | Skip | None:
    """Out of a guarded status, if the event moved the ticket there and it is still there."""
    if event.ours or not isinstance(event, TicketStatusChanged):
        return None
    names = {folded(name) for name in (event.new, event.new_remote) if name}
    if names.isdisjoint(map(folded, facts.settings.guard_statuses)):
        return None
    words = {"new": event.new_remote or event.new, "old": event.old_remote or event.old}
    if event.old is None or (event.old == event.new and not event.old_remote):
        return Skip(reason=_why(facts, "guard_unknown", **words))
    if event.old.is_over and event.new is not None and event.new.is_over:
        return Skip(reason=_why(facts, "guard_over", **words))
    if _differ(ticket.status, event.new) or _differ(ticket.remote_status, event.new_remote):
        return Skip(reason=_why(facts, "guard_left", **words))
    why = _why(facts, "guarded", **words)
    return SetStatus(ticket=ticket.ref, status=event.old, remote_status=event.old_remote, reason=why)


def _differ(now: str | None, then: str | None) -> bool:
    return now is not None and then is not None and now != then


def _met(ticket: Ticket, facts: Facts) -> str | None:
    """Why the ticket is in order, as far as that can be told without reading its text."""
    settings, fields = facts.settings, ticket.custom_fields
    written = fields.get(settings.exception_tag)
    if facts.tagged(ticket, settings.exception_tag) or (written and folded(str(written)) not in NO):
        return _why(facts, "exception")
    value = fields.get(settings.phone_field)
    if _numbers(value if isinstance(value, list) else [value], facts):
        return _why(facts, "field")
    contacts = (contact for contact in (facts.contact, ticket.contact) if contact)
    if _numbers((phone for contact in contacts for phone in contact.phones), facts):
        return _why(facts, "contact")
    return None


def _numbers(values: Iterable[Any], facts: Facts) -> set[str]:
    """The numbers that count among the contents of phone fields."""
    texts = (str(value) for value in values if value)
    found = {p.e164 for text in texts for p in find_phones(text, facts.settings.region, labelled=True)}
    return found - _company(facts)


def _number_in(texts: list[str], facts: Facts) -> str | None:
    """The first number that counts; what one text keeps for WhatsApp is not taken from another."""
    refused = _company(facts) | _whatsapp_only(texts, facts)
    found = (phone.e164 for text in texts for phone in find_phones(text, facts.settings.region))
    return next((number for number in found if number not in refused), None)


def _whatsapp_only(texts: list[str], facts: Facts) -> set[str]:
    region = facts.settings.region
    return {phone.e164 for text in texts for phone in find_phones(text, region, whatsapp_only=True)}


def _company(facts: Facts) -> set[str]:
    numbers, region = facts.settings.own_numbers, facts.settings.region
    return {phone.e164 for text in numbers for phone in find_phones(text, region, labelled=True)}


def _texts(event: TicketEvent, ticket: Ticket, facts: Facts) -> list[str]:
    """Everything that people wrote on the ticket, without our own comments."""
    written = (comment.body for comment in facts.said(event))
    return [text for text in (ticket.subject, ticket.description, *written) if text]


def _own_actions(facts: Facts) -> list[Action]:
    return [entry.action for entry in facts.past if entry.rule == NAME]


def _was_told(ticket: Ticket, facts: Facts) -> bool:
    """The tag is there, or we set it and never took it back: who removes it by hand is not told again."""
    tag = facts.spelled(ticket.ref.connection, facts.settings.missing_tag)
    marks = [a for a in _own_actions(facts) if isinstance(a, AddTags | RemoveTags) and tag in a.tags]
    return bool(facts.tagged(ticket, tag)) or (bool(marks) and isinstance(marks[-1], AddTags))


def _text(facts: Facts, name: str, texts: list[str]) -> str:
    """The message from the settings; one that nobody changed, in the tenant's language."""
    settings = facts.settings
    template = getattr(settings, name)
    if template == TEXTS["pt-BR"][name]:
        template = TEXTS.get(facts.tenant.locale, TEXTS["pt-BR"])[name]
    return facts.render(
        template,
        whatsapp_only=bool(_whatsapp_only(texts, facts)),
        missing_tag=settings.missing_tag,
        exception_tag=settings.exception_tag,
        phone_field=settings.phone_field,
    )


def _why(facts: Facts, key: str, **words: object) -> str:
    return REASONS.get(facts.tenant.locale, REASONS["pt-BR"])[key].format(settings=facts.settings, **words)
