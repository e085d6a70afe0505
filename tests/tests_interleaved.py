"""Whatever the order in which the news come, and however often: does the same become of the desks?

A story is told twice: once in order, each event decided and carried out before the next; once at random, where
notices overtake each other, come again, are decided in groups, and our own writes come back as echoes at any time.
"""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete
from tests_town import NOW, Settings, arrive, rows, settle_in, town

from gateway.api import (
    AddComment,
    AddTags,
    ApiSettings,
    AssignTo,
    Comment,
    CommentCreated,
    CreateTicket,
    Event,
    Person,
    RateLimit,
    Receipt,
    RemoveTags,
    SetFields,
    SetStatus,
    Ticket,
    TicketCreated,
    TicketEvent,
    TicketRef,
    TicketStatusChanged,
    TicketTagged,
    TicketUpdated,
    hookimpl,
)
from gateway.jobs import fire_timers
from gateway.model.connection import Connection
from gateway.pipeline.decide import decide
from gateway.pipeline.execute import execute
from gateway.runtime import Runtime
from gateway.store import actions as outbox
from gateway.store import tenants
from gateway.store.tables import events, metadata

CHOSEN = {"tenants", "connections", "channels", "rule_settings", "config_changes"}
FORGOTTEN = [table for table in reversed(metadata.sorted_tables) if table.name not in CHOSEN]

USUAL = {"deadline": None, "suppress_health_check": list(HealthCheck), "phases": [Phase.generate]}
FEW, MANY = 8, 100
"""Random orders tried of each story: by default, and by the slow runs."""

orders = given(rng=st.randoms(use_true_random=False))


def few(check: Any) -> Any:
    return settings(max_examples=FEW, derandomize=True, **USUAL)(orders(check))


def many(check: Any) -> Any:
    return pytest.mark.slow(settings(max_examples=MANY, **USUAL)(orders(check)))


@dataclass
class Kept:
    """A ticket as its desk keeps it. `opened_by` is the key of the action that opened it."""

    opened_by: str = ""
    subject: str = ""
    description: str = ""
    tags: set[str] = field(default_factory=set)
    status: str = "open"
    team: str | None = None
    fields: dict[str, Any] = field(default_factory=dict)
    written: list[tuple[str, bool, str]] = field(default_factory=list)


@dataclass
class Desks:
    """Every desk of the town. What the gateway writes is kept, and comes back as news."""

    kept: dict[TicketRef, Kept] = field(default_factory=dict)
    echoes: list[Event] = field(default_factory=list)

    def happened(self, event: Event) -> None:
        """What people did at a desk, whether we have heard of it or not."""
        if isinstance(event, TicketStatusChanged) and event.new is not None:
            self.kept.setdefault(event.ticket.ref, Kept()).status = event.new.value

    def carry_out(self, action: Any) -> Receipt | None:
        ref = action.ticket
        if isinstance(action, CreateTicket):
            number = sum(1 for other in self.kept.values() if other.opened_by)
            ref = TicketRef(action.connection, f"new{number}")
        known = self.kept.setdefault(ref, Kept())
        address = f"https://{ref.connection}.example/{ref.id}"
        match action:
            case CreateTicket():
                known.opened_by, known.subject, known.description = (
                    action.key,
                    action.subject,
                    action.description,
                )
                known.tags, known.team = set(action.tags), action.team
                known.fields = dict(action.custom_fields)
                told = {"subject": action.subject, "tags": frozenset(action.tags), "url": address}
                self._echo(TicketCreated, ref, fields=told)
                return Receipt(remote_id=ref.id, url=address)
            case AddComment():
                id_ = f"ours{sum(len(other.written) for other in self.kept.values())}"
                known.written.append((id_, action.is_private, action.body))
                said = Comment(id=id_, body=action.body, is_private=action.is_private, created_at=NOW)
                self._echo(CommentCreated, ref, comment=said)
                return Receipt(remote_id=id_, url=address)
            case AddTags(tags=tags):
                self._echo(TicketTagged, ref, added=frozenset(tags) - known.tags)
                known.tags |= set(tags)
            case RemoveTags(tags=tags):
                self._echo(TicketTagged, ref, removed=frozenset(tags) & known.tags)
                known.tags -= set(tags)
            case SetStatus(status=status):
                self._echo(TicketStatusChanged, ref, new=status)
                known.status = status.value
            case AssignTo(team=team):
                known.team = team
            case SetFields(fields=fields):
                known.fields |= fields
                self._echo(TicketUpdated, ref, changed=("custom_fields",))
            case _:
                return None
        return Receipt(url=address)

    def _echo(self, kind: type[Any], ref: TicketRef, **told: Any) -> None:
        """As the gateway's own user, or, where its content tells that it is ours, now and then of nobody's.

        Of a time before the story, so that it never passes for newer than what the story tells.
        """
        number = len(self.echoes)
        by_content = kind in (CommentCreated, TicketTagged) and number % 2
        actor = None if by_content else Person(id="us", is_agent=True)
        if "comment" in told:
            told["comment"] = told["comment"].model_copy(
                update={"author": actor or Person(id="?", is_agent=True)}
            )
        ticket = Ticket(ref=ref, **told.pop("fields", {}))
        self.echoes.append(
            kind(
                id=f"echo{number}:{ref}",
                occurred_at=NOW - timedelta(hours=3),
                ticket=ticket,
                actor=actor,
                **told,
            )
        )


class Town:
    """A gateway with one rule, and desks that remember."""

    def __init__(
        self, gateway: Runtime, rule: Any, names: Iterable[str], chosen: Mapping[str, Any] | None = None,
        connection: Mapping[str, Any] | None = None, **hooks: Any,
    ) -> None:  # fmt: skip
        self.gateway, self.desks, self._heard = gateway, Desks(), 0
        self._orderly: dict[int, Any] = {}
        name = rule.__name__.rpartition(".")[2]

        @hookimpl
        def connect_api() -> ApiSettings:
            return ApiSettings(
                base_url="http://127.0.0.1:1", rate=RateLimit(calls=10**6, seconds=1, concurrency=1)
            )

        @hookimpl
        def execute_action(action: Any) -> Receipt | None:
            return self.desks.carry_out(action)

        vendor = town(connect_api=connect_api, execute_action=execute_action, **hooks)
        settle_in(gateway, vendor, {name: rule}, names)
        with gateway.db.begin() as db:
            for each in names:
                made = Connection("acme", each, "town", Settings(**(connection or {})))
                tenants.save_connection(db, made, gateway.keyring)
            tenants.save_rule(db, "acme", name, enabled=True, settings=dict(chosen or {}))
            tenants.changed(db, ["the rule's settings"])

    def in_order(self, story: Iterable[Event]) -> Desks:
        self._forget(story)
        for event in story:
            decide(self.gateway, [self._arrive(event)])
            self._settle()
        return self.desks

    def orderly(self, story: Sequence[Event], look: Callable[[Desks], Any], **later: float) -> Any:
        """What is seen when all is told in order, and some time after; worked out once for each story."""
        if id(story) not in self._orderly:
            self.in_order(story)
            self._orderly[id(story)] = look(self.time_passes(**later))
        return self._orderly[id(story)]

    def at_random(
        self, story: Iterable[Event], rng: random.Random, after: Mapping[str, str] | None = None
    ) -> Desks:
        """:param after: by event, the one that must have been decided before it can happen"""
        self._forget(story)
        pool, told, waiting = list(story), [], []
        while pool or waiting:
            pool += self._echoes()
            turn = rng.random()
            possible = [event for event in pool if self._can_be(event, after or {})]
            if possible and turn < 0.5:
                pool.remove(event := rng.choice(possible))
                told.append(event)
                waiting += [self._arrive(event) for _ in range(rng.choice((1, 1, 1, 2)))]
            elif told and turn < 0.6:
                waiting.append(self._arrive(rng.choice(told)))
            elif waiting and turn < 0.85:
                some = rng.sample(waiting, rng.randint(1, len(waiting)))
                waiting = [id_ for id_ in waiting if id_ not in some]
                decide(self.gateway, some)
                self._decided = {row.fact for row in self.rows(events)}
            else:
                self._send()
        self._settle()
        return self.desks

    def rows(self, table: Any, **where: Any) -> list[Any]:
        return rows(self.gateway, table, **where)

    def time_passes(self, **span: float) -> Desks:
        """Timers that come due meanwhile are fired."""
        moment = self.gateway.clock() + timedelta(**span)
        self.gateway.clock = lambda: moment
        decide(self.gateway, fire_timers(self.gateway))
        self._settle()
        return self.desks

    def _forget(self, story: Iterable[Event]) -> None:
        """As on the first day; the settings stay."""
        self.desks, self._heard, self._decided = Desks(), 0, set[str]()
        self._to_come = sorted(story, key=lambda event: event.occurred_at)
        self.gateway.clock = lambda: NOW - timedelta(hours=1)
        with self.gateway.db.begin() as db:
            for table in FORGOTTEN:
                db.execute(delete(table))

    def _arrive(self, event: Event) -> int:
        """Told after it happened, with the tags that the ticket has by now."""
        moment = max(self.gateway.clock(), event.occurred_at + timedelta(seconds=1))
        self.gateway.clock = lambda: moment
        while self._to_come and self._to_come[0].occurred_at <= moment:
            self.desks.happened(self._to_come.pop(0))
        if not isinstance(event, TicketEvent):
            return arrive(self.gateway, event, connection=event.connection)
        ticket = event.ticket
        if ref := self.desks.kept.get(ticket.ref):
            ticket = ticket.model_copy(update={"tags": ticket.tags | ref.tags})
        told = event.model_copy(update={"ticket": ticket})
        return arrive(self.gateway, told, subject=ticket.ref.id, connection=ticket.ref.connection)

    def _can_be(self, event: Event, after: Mapping[str, str]) -> bool:
        """Nothing happens on a ticket that we are still to open."""
        if event.id in after and after[event.id] not in self._decided:
            return False
        ref = event.ticket.ref if isinstance(event, TicketEvent) else None
        return ref is None or not ref.id.startswith("new") or ref in self.desks.kept

    def _settle(self) -> None:
        """All that is left to do, and its echoes, until nothing moves any more."""
        for _ in range(50):
            sent, echoes = self._send(), self._echoes()
            for event in echoes:
                decide(self.gateway, [self._arrive(event)])
            if not sent and not echoes:
                return
        raise AssertionError("it never ends: a loop")

    def _echoes(self) -> list[Event]:
        """What came back since we last looked."""
        new, self._heard = self.desks.echoes[self._heard :], len(self.desks.echoes)
        return new

    def _send(self) -> int:
        """Carry out what is due; tickets that exist now are told."""
        with self.gateway.db.begin() as db:
            due = outbox.overdue(db, self.gateway.clock(), timedelta(0), 1000)
        for name in sorted({row.connection for row in due if row.connection}):  # notices stay in the outbox
            ids = [row.id for row in due if row.connection == name]
            decide(self.gateway, execute(self.gateway, 1, "acme", name, ids).raised)
        return sum(1 for row in due if row.connection)
