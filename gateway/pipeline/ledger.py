"""What exactly is written because of a batch, so that the same decision is never carried out twice?"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import Connection as Database
from sqlalchemy import Row

from gateway.model.action import (
    Action,
    CancelTimer,
    CreateTicket,
    LinkTickets,
    Notify,
    RaiseEvent,
    SaveContact,
    StartTimer,
    TicketAction,
)
from gateway.model.event import Event, TicketDeleted, TicketEvent, TicketMerged
from gateway.model.facts import Decision
from gateway.model.ticket import TicketRef
from gateway.store import actions, customers, deliveries, endings, events, tickets, timers
from gateway.store.customers import keys_of
from gateway.store.tickets import Key

from .world import Known, World, ref_of

HOUR = timedelta(hours=1)
DELETED = "its ticket was deleted at the vendor"
COMMENTS = frozenset({"comments"})


@dataclass(slots=True)
class Ledger:
    """Rows in the making. `budget` = actions that one ticket may get in an hour."""

    now: datetime
    budget: int
    sendable: dict[tuple[str, str], list[UUID]] = field(default_factory=dict)
    raised: list[int] = field(default_factory=list)
    _events: list[dict[str, Any]] = field(default_factory=list)
    _actions: list[dict[str, Any]] = field(default_factory=list)
    _links: list[dict[str, Any]] = field(default_factory=list)
    _timers: dict[tuple[str, str], dict[str, Any] | None] = field(default_factory=dict)
    _raise: list[dict[str, Any]] = field(default_factory=list)
    _tickets: dict[tuple[str, TicketRef], Known] = field(default_factory=dict)
    _comments: dict[tuple[str, TicketRef, str], Any] = field(default_factory=dict)
    _decided: list[dict[str, Any]] = field(default_factory=list)
    _merged: dict[tuple[str, TicketRef], TicketRef] = field(default_factory=dict)
    _deleted: dict[tuple[str, TicketRef], None] = field(default_factory=dict)
    _spent: Counter[tuple[str, TicketRef]] = field(default_factory=Counter)
    _over_budget: set[tuple[str, TicketRef]] = field(default_factory=set)

    def decided(self, delivery_id: int, notes: dict[str, Any]) -> None:
        self._decided.append({"id": delivery_id, "notes": notes, "decided_at": self.now})

    def keep(self, tenant: str, before: Known | None, after: Known) -> None:
        """The ticket as it is known now, and the comments that are new."""
        ref = after.ticket.ref
        self._tickets[tenant, ref] = after
        old = set(before.comments) if before else set()
        for comment in after.comments:
            if comment not in old:
                self._comments[tenant, ref, comment.id] = comment

    def record(
        self, row: Row[Any], event: Event, id_: UUID, decisions: Iterable[Decision], vendors: Mapping[str, str],
        world: World,
    ) -> None:  # fmt: skip
        """One event with all that was decided about it."""
        told = []
        for decision in decisions:
            answer: dict[str, Any] = {"rule": decision.rule}
            if decision.actions:
                answer["acted"] = [
                    self._action(row, event, id_, decision.rule, ordinal, action, vendors, world)
                    for ordinal, action in enumerate(decision.actions)
                ]
            if decision.skipped:
                answer["skipped"] = list(decision.skipped)
            if decision.error:
                answer["error"] = decision.error
            told.append(answer)
        ref = event.ticket.ref if isinstance(event, TicketEvent) else getattr(event, "ticket", None)
        match event:
            case TicketMerged(into=into) if into is not None and ref is not None:
                self._merged[row.tenant, ref] = into
            case TicketDeleted() if ref is not None:
                self._deleted[row.tenant, ref] = None
        self._events.append({
            "id": id_, "tenant": row.tenant, "connection": event.connection or row.connection,
            "delivery_id": row.id, "ticket_id": ref.id if ref else None, "kind": event.kind, "fact": event.id,
            "occurred_at": event.occurred_at, "recorded_at": self.now, "ours": event.ours,
            "body": event.to_json(without=COMMENTS), "decisions": told,
        })  # fmt: skip

    def _action(
        self, row: Row[Any], event: Event, event_id: UUID, rule: str, ordinal: int, action: Action,
        vendors: Mapping[str, str], world: World,
    ) -> dict[str, Any]:  # fmt: skip
        id_ = uuid5(event_id, f"{rule}:{ordinal}")
        action = _to_survivor(action, row.tenant, world).model_copy(update={"id": str(id_)})
        connection, ref = _target(action)
        state, error = "pending", None
        if action.core:
            state = "done"
            self._do(row, event, rule, action, id_)
        elif not isinstance(action, Notify) and connection not in vendors:
            state, error = "dead", f"connection {connection!r} does not exist"
        elif ref is not None and (known := world.tickets.get((row.tenant, ref))) and known.ticket.deleted:
            state, error = "canceled", DELETED
        elif ref is not None and self._exceeds(row.tenant, ref, world):
            state, error = "held", f"more than {self.budget} actions on this ticket within an hour"
        self._actions.append({
            "id": id_, "tenant": row.tenant, "connection": connection, "event_id": event_id,
            "delivery_id": row.id, "rule": rule, "ordinal": ordinal, "kind": action.kind,
            "ticket_id": ref.id if ref else None, "key": action.key if isinstance(action, CreateTicket) else None,
            "body": action.to_json(), "reason": action.reason, "trace_id": row.trace_id, "state": state,
            "error": error, "not_before": self.now, "created_at": self.now,
            "finished_at": None if state == "pending" else self.now,
        })  # fmt: skip
        return {"id": str(id_), "kind": action.kind, "reason": action.reason}

    def _exceeds(self, tenant: str, ref: TicketRef, world: World) -> bool:
        """Loops that slip through every other guard end here, visibly."""
        key = (tenant, ref)
        if key not in self._spent:
            stored = (past for past in world.past.get(key, ()) if past.action.id)
            self._spent[key] = sum(
                1 for past in stored if past.decided_at > self.now - HOUR and past.state != "held"
            )
        if self._spent[key] >= self.budget:
            self._over_budget.add(key)
            return True
        self._spent[key] += 1
        return False

    def _do(self, row: Row[Any], event: Event, rule: str, action: Action, id_: UUID) -> None:
        """What the core carries out itself, in this very transaction."""
        match action:
            case LinkTickets(left=left, right=right, relation=relation):
                self._links.append({
                    "tenant": row.tenant, "source": left, "target": right, "relation": relation,
                    "made_at": self.now,
                })  # fmt: skip
            case StartTimer(key=key, at=at, payload=payload, ticket=ref):
                self._timers[row.tenant, key] = {
                    "tenant": row.tenant, "key": key, "rule": rule, "at": at, "payload": payload,
                    "connection": ref.connection if ref else None, "ticket_id": ref.id if ref else None,
                    "changed_at": self.now,
                }  # fmt: skip
            case CancelTimer(key=key):
                self._timers[row.tenant, key] = None
            case RaiseEvent(event=raised):
                about: dict[str, Any] = raised.get("ticket") or {}
                ref_json: dict[str, Any] = about.get("ref", about)
                self._raise.append({
                    "tenant": row.tenant, "connection": ref_json.get("connection") or row.connection,
                    "dedup_key": f"raised:{id_}", "subject": ref_json.get("id"),
                    "event": {"connection": row.connection, **raised}, "trace_id": row.trace_id, "now": self.now,
                })  # fmt: skip

    # --- writing ---

    def flush(self, db: Database, world: World) -> None:
        """Everything at once; the caller's transaction makes it all or nothing."""
        self._settle_keys(db)
        events.add(db, self._events)
        actions.add(db, self._actions)
        for row in self._actions:
            if row["state"] == "pending" and (row["key"] or not (row["ticket_id"] or "").startswith("+")):
                self.sendable.setdefault((row["tenant"], row["connection"]), []).append(row["id"])
        tickets.save_links(db, self._links)
        self._flush_customers(db, world)
        self._flush_tickets(db, world)
        timers.start(db, [row for row in self._timers.values() if row is not None])
        timers.cancel(db, [name for name, row in self._timers.items() if row is None], self.now)
        for (tenant, old), into in self._merged.items():
            endings.merge(db, tenant, old, into)
        for tenant, ref in self._deleted:
            endings.delete(db, tenant, ref, DELETED, self.now)
        raised = (deliveries.raise_event(db, **given) for given in self._raise)
        self.raised = [id_ for id_ in raised if id_ is not None]
        for tenant, ref in sorted(self._over_budget):
            message = f"{ref}: more than {self.budget} actions within an hour; the rest is held. A loop?"
            actions.open_incident(
                db, tenant=tenant, kind="action_budget", subject=str(ref), message=message, now=self.now
            )
        deliveries.decided(db, self._decided)

    def _settle_keys(self, db: Database) -> None:
        """A key creates one ticket, ever: what names a key that was used before means that earlier ticket."""
        wanted = {
            (row["tenant"], row["connection"], row["ticket_id"][1:])
            for row in self._actions
            if (row["ticket_id"] or "").startswith("+")
        }
        wanted |= {
            (row["tenant"], ref.connection, ref.id[1:])
            for row in self._links
            for name in (row["source"], row["target"])
            if (ref := ref_of(name)) is not None and ref.is_planned
        }
        real = actions.created_by_key(db, wanted, hold=True)
        if not real:
            return
        self._actions = [
            row
            for row in self._actions
            if not row["key"] or (row["tenant"], row["connection"], row["key"]) not in real
        ]
        over = actions.given_up(db, real)
        for row in self._actions:
            used = (row["tenant"], row["connection"], (row["ticket_id"] or " ")[1:])
            if used in real and (row["ticket_id"] or "").startswith("+"):
                row["ticket_id"] = real[used]
                row["body"]["ticket"] = {**row["body"]["ticket"], "id": real[used]}
                if used in over:
                    row |= {"state": "dead", "error": "its ticket was not created", "finished_at": self.now}
        for row in self._links:
            for side in ("source", "target"):
                ref = ref_of(row[side])
                if (
                    ref is not None
                    and ref.is_planned
                    and (found := real.get((row["tenant"], ref.connection, ref.id[1:])))
                ):
                    row[side] = str(TicketRef(ref.connection, found))
        for tenant, connection, key in real:
            self._tickets.pop((tenant, TicketRef(connection, "+" + key)), None)

    def _flush_customers(self, db: Database, world: World) -> None:
        met = [(name, world.customers[name]) for name in sorted(world.met)]
        customers.save(
            db,
            [
                {"tenant": tenant, "id": id_, "body": customer.to_json(), "updated_at": self.now}
                for (tenant, id_), customer in met
            ],
            [
                {"tenant": tenant, "key": key, "customer_id": id_}
                for (tenant, id_), customer in met
                for key in keys_of(customer)
            ],
        )

    def _flush_tickets(self, db: Database, world: World) -> None:
        planned = {
            (row["tenant"], TicketRef(row["connection"], row["ticket_id"]))
            for row in self._actions
            if row["key"] and row["state"] == "pending"
        }
        for key in planned:
            self._tickets.setdefault(key, world.tickets[key])
        tickets.save(
            db,
            [
                {
                    "tenant": tenant, "connection": ref.connection, "id": ref.id, "body": known.ticket.to_json(),
                    "complete": known.complete, "updated_at": known.updated_at, "seen_at": self.now,
                }
                for (tenant, ref), known in sorted(self._tickets.items(), key=lambda item: item[0])
            ],
        )  # fmt: skip
        tickets.save_comments(
            db,
            [
                {
                    "tenant": tenant, "connection": ref.connection, "ticket_id": ref.id, "id": id_,
                    "body": comment.to_json(), "created_at": comment.created_at,
                }
                for (tenant, ref, id_), comment in self._comments.items()
            ],
        )  # fmt: skip


def targets(tenant: str, decisions: Iterable[Decision]) -> Iterator[Key]:
    """The tickets that these actions name and that are there already: they may have been merged, or be gone."""
    for decision in decisions:
        for action in decision.actions:
            named = (action.left, action.right) if isinstance(action, LinkTickets) else ()
            for ref in (getattr(action, "ticket", None), *map(ref_of, named)):
                if isinstance(ref, TicketRef) and not ref.is_planned:
                    yield tenant, ref


def _to_survivor(action: Action, tenant: str, world: World) -> Action:
    """The same action about the ticket that its own was merged into, if it was."""
    if isinstance(action, LinkTickets):
        names = {
            "left": _survivor(action.left, tenant, world),
            "right": _survivor(action.right, tenant, world),
        }
        return action.model_copy(update=names)
    ref = getattr(action, "ticket", None)
    if isinstance(action, CreateTicket) or not isinstance(ref, TicketRef):
        return action
    survivor = world.survivor(tenant, ref)
    return action if survivor == ref else action.model_copy(update={"ticket": survivor})


def _survivor(name: str, tenant: str, world: World) -> str:
    ref = ref_of(name)
    return name if ref is None else str(world.survivor(tenant, ref))


def _target(action: Action) -> tuple[str, TicketRef | None]:
    """The connection an action goes to, and the ticket it is about; '' for what goes to no vendor."""
    match action:
        case TicketAction(ticket=ref):
            return ref.connection, ref
        case CreateTicket():
            return action.connection, action.ticket
        case SaveContact(connection=connection):
            return connection, None
    return "", None
