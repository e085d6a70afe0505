"""Which of our events does somebody's JSON stand for? The tenant's mapping, checked when it is saved."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, model_validator

from gateway.api import (
    JSON,
    AppointmentCancelled,
    AppointmentContacted,
    AppointmentFinished,
    AppointmentRescheduled,
    AppointmentScheduled,
    CallEnded,
    CommentCreated,
    ContactUpdated,
    CustomerUpdated,
    DealLost,
    DealUpdated,
    DealWon,
    Event,
    FormRequested,
    FormSubmitted,
    OnboardingFinished,
    PaymentConfirmed,
    PaymentOverdue,
    PaymentReversed,
    Snapshot,
    Ticket,
    TicketAssigned,
    TicketCreated,
    TicketDeleted,
    TicketEvent,
    TicketMerged,
    TicketRef,
    TicketStatusChanged,
    TicketTagged,
    TicketUpdated,
    UnreadableWebhook,
    UsageReported,
    changes,
    parse_event,
)

from .expression import Expression, holds, search

EVENTS: dict[str, type[Event]] = {
    event.model_fields["kind"].default: event
    for event in (
        AppointmentCancelled, AppointmentContacted, AppointmentFinished, AppointmentRescheduled,
        AppointmentScheduled, CallEnded, CommentCreated, ContactUpdated, CustomerUpdated, DealLost,
        DealUpdated, DealWon, FormRequested, FormSubmitted, OnboardingFinished, PaymentConfirmed,
        PaymentOverdue, PaymentReversed, TicketAssigned, TicketCreated, TicketDeleted, TicketMerged,
        TicketStatusChanged, TicketTagged, TicketUpdated, UsageReported,
    )
}  # fmt: skip
"""What a sender may tell. Timers are ours alone: a foreign `timer.fired` would speak for our own rules."""

SNAPSHOT = "ticket.snapshot"
"""Not an event but a whole ticket as it is now: the events are what changed since it was last seen."""

KINDS: dict[str, type[Event]] = {**EVENTS, SNAPSHOT: TicketUpdated}

GATEWAY = "gateway"
"""Where expressions find what came beside the body: `gateway.collected`, `.headers`, `.query`."""

ID_LENGTH = 200

NOT_MAPPED = frozenset({
    "kind", "id", "tenant", "connection", "ours", "occurred_at", "complete",
    "ticket.ref.connection",  # a sender tells of its own tickets only
    "payment.connection",
    "customer.id",  # ours; customers are found by document, e-mail or phone
})  # fmt: skip
"""Filled by the mapping itself or by the core, so they are no targets of `fields`."""


def _known_event(kind: str) -> str:
    if kind not in KINDS:
        raise ValueError(f"unknown event {kind!r}; allowed: {', '.join(sorted(KINDS))}")
    return kind


class EventMapping(BaseModel):
    """One canonical event and where its parts are found. All values but `event` are JMESPath.

    `id` names the fact, so that a fact told twice is one event: use the payment's id, not the message's.
    `fields` maps dotted canonical names (`payment.amount_minor`) to expressions; what is missing or empty in
    the JSON stays unknown. `occurred_at` gives ISO text with an offset, or Unix time; where there is none,
    the message's own time is taken. A `ticket.snapshot` needs no `id`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    when: Expression
    event: Annotated[str, AfterValidator(_known_event)]
    id: Expression | None = None
    occurred_at: Expression | None = None
    fields: dict[str, Expression] = {}

    @model_validator(mode="after")
    def _check_fields(self) -> "EventMapping":
        if self.id is None and self.event != SNAPSHOT:
            raise ValueError(f"{self.event} needs an `id` that names the fact")
        kind, allowed = KINDS[self.event], leaves(KINDS[self.event])
        for path in self.fields:
            parent, _, name = path.rpartition(".")
            named_freely = f"{parent}.*" in allowed and name not in {"", "*"}
            if name == "*" or not (path in allowed or named_freely):
                known = ", ".join(sorted(allowed))
                raise ValueError(f"unknown field {path!r} of {self.event}; allowed: {known}")
            if parent in self.fields:
                raise ValueError(f"{path!r} is already covered by {parent!r}; keep one of them")
        missing = sorted(set(_required(kind, "", frozenset(self.fields))) - set(self.fields) - NOT_MAPPED)
        if missing:
            raise ValueError(f"{self.event} cannot be told without the field(s) {', '.join(missing)}")
        return self


def fitting(document: JSON, mappings: Iterable[EventMapping], *, every: bool) -> list[EventMapping]:
    """The first mapping that fits the document, or `every` one that does."""
    found = [mapping for mapping in mappings if holds(mapping.when, document)]
    return found[: None if every else 1]


def events_in(
    document: JSON, mappings: Iterable[EventMapping], *, told_at: datetime, connection: str,
    before: Snapshot | None = None,
) -> list[Event]:  # fmt: skip
    """The events that `document` stands for by these mappings; none where a snapshot shows nothing new.

    `told_at` is the message's own time, `before` the ticket as it was last known. Raises UnreadableWebhook naming
    the field that the JSON does not fill as it should.
    """
    found: list[Event] = []
    for mapping in mappings:
        event = _event(document, mapping, told_at, connection)
        if mapping.event == SNAPSHOT and isinstance(event, TicketEvent):
            after = Snapshot(ticket=_newer(before, event.ticket), comments=event.comments)
            found += changes(before, after, seen_at=told_at, actor=event.actor)
        else:
            found.append(event)
    return found


def _newer(before: Snapshot | None, ticket: Ticket) -> Ticket:
    """A ticket as it was before is no news: then only comments that we did not know may be."""
    known, told = before.ticket.remote_updated_at if before else None, ticket.remote_updated_at
    return before.ticket if before and known and told and told < known else ticket


def _event(document: JSON, mapping: EventMapping, told_at: datetime, connection: str) -> Event:
    kind = KINDS[mapping.event]
    data: dict[str, Any] = {
        "kind": kind.model_fields["kind"].default, "id": _fact(document, mapping), "occurred_at": told_at,
    }  # fmt: skip
    if kind.about_ticket and search(f"{GATEWAY}.collected", document) is not None:
        data["complete"] = True
    expressions = dict(mapping.fields)
    if mapping.occurred_at:
        expressions["occurred_at"] = mapping.occurred_at
    allowed = leaves(kind)
    for path, expression in expressions.items():
        value = _fitted(_found(document, mapping.event, path, expression), allowed.get(path))
        if value not in (None, "", [], {}):
            _put(data, path, value)
        elif mapping.event == SNAPSHOT:
            _put_nothing(data, path)
    for path in _ticket_refs(mapping.event):
        _complete_ref(data, path, connection)
    try:
        return parse_event(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        path = ".".join(str(part) for part in first["loc"][1:])
        source = f" ({expressions[path]})" if path in expressions else ""
        raise UnreadableWebhook(f"{mapping.event}: {path}{source}: {first['msg']}") from None


def _fact(document: JSON, mapping: EventMapping) -> str:
    if mapping.id is None:
        return mapping.event
    fact = _found(document, mapping.event, "id", mapping.id)
    if isinstance(fact, bool) or not isinstance(fact, str | int) or not 0 < len(str(fact)) <= ID_LENGTH:
        raise UnreadableWebhook(f"{mapping.event}: id ({mapping.id}): no text or whole number there")
    return f"{mapping.event}:{fact}"


def _found(document: JSON, event: str, path: str, expression: str) -> JSON:
    try:
        return search(expression, document)
    except ValueError as error:
        raise UnreadableWebhook(f"{event}: {path}: {error}") from None


def _fitted(value: JSON, wanted: Any) -> JSON:
    """Ids often come as numbers and lists as one value; what is missing inside a list is no member of it."""
    if wanted is str and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if get_origin(wanted) in {tuple, frozenset}:
        member = get_args(wanted)[0]
        members = value if isinstance(value, list) else [value]
        return [_fitted(each, member) for each in members if each not in (None, "")]
    if isinstance(wanted, type) and issubclass(wanted, BaseModel) and isinstance(value, dict):
        fields = wanted.model_fields
        return {
            name: _fitted(part, _bare(fields[name].annotation) if name in fields else Any)
            for name, part in value.items()
        }
    return value


def _put(data: dict[str, Any], path: str, value: JSON) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        if not data.get(parent):
            data[parent] = {}
        data = data[parent]
    data[last] = value


def _put_nothing(data: dict[str, Any], path: str) -> None:
    """In a whole ticket, what is looked for and not there is known to be empty; only a status there always is."""
    parent, _, rest = path.partition(".")
    name = rest.partition(".")[0]
    if parent == "ticket" and name not in {"ref", "status"}:
        data.setdefault(parent, {}).setdefault(name, Ticket.model_fields[name].get_default())


def _complete_ref(data: dict[str, Any], path: str, connection: str) -> None:
    """A ticket that is named by its id alone is one of this connection."""
    *parents, last = path.split(".")
    for parent in parents:
        data = data.get(parent, {})
    if last in data:
        data[last].setdefault("connection", connection)


# --- what there is to fill in ---


@lru_cache(maxsize=64)
def leaves(event: type[Event]) -> Mapping[str, Any]:
    """The dotted names that a mapping of `event` may fill, each with its type; `x.*` = any name under `x`."""
    return {path: kind for path, kind in _leaves(event, "") if path not in NOT_MAPPED}


@lru_cache(maxsize=64)
def _ticket_refs(kind: str) -> tuple[str, ...]:
    paths = (path for path, _ in _leaves(KINDS[kind], ""))
    return tuple(
        path.removesuffix(".connection")
        for path in paths
        if path.endswith(".connection") and path != "payment.connection"
    )


def _leaves(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, field in model.model_fields.items():
        path, kind = prefix + name, _bare(field.annotation)
        if kind is TicketRef:
            yield from ((f"{path}.connection", str), (f"{path}.id", str))
        elif isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _leaves(kind, path + ".")
        elif get_origin(kind) is dict:
            yield from ((path, kind), (f"{path}.*", Any))
        else:
            yield path, kind


def _required(model: type[BaseModel], prefix: str, mapped: frozenset[str]) -> Iterator[str]:
    """The names that `model` cannot be without, also inside optional parts of which something is mapped."""
    for name, field in model.model_fields.items():
        path, kind = prefix + name, _bare(field.annotation)
        if not field.is_required() and not any(each.startswith(f"{path}.") for each in mapped):
            continue
        if kind is TicketRef:
            yield f"{path}.id"
        elif isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _required(kind, f"{path}.", mapped)
        elif field.is_required():
            yield path


def _bare(annotation: Any) -> Any:
    """The type without `| None`."""
    if get_origin(annotation) in {Union, UnionType}:
        others = [each for each in get_args(annotation) if each is not type(None)]
        return others[0] if len(others) == 1 else annotation
    return annotation
