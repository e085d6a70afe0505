"""How does a decision become a vendor's answer, once and only once?"""

import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Connection as Database
from sqlalchemy import Row

from gateway.calls import CallRecord
from gateway.model.action import parse_action
from gateway.model.connection import ApiSettings, Connection, Receipt
from gateway.model.errors import ApiError, ApiFailure
from gateway.model.event import TicketCreated
from gateway.model.ticket import Ticket, TicketRef
from gateway.pacing import Purse
from gateway.runtime import Runtime
from gateway.store import actions, deliveries, tickets
from gateway.store.database import first_line, is_away

from .retry import Again, next_attempt

log = structlog.get_logger(__name__)

BATCH = 100
START_WITHIN = 10.0
"""Seconds after its claim in which an action may be begun; later it is handed back."""
READS = frozenset({"GET", "HEAD"})
WORTH_A_THREAD = 0.02
"""Seconds: where a vendor answers faster, threads cost more than they save, as they only wait for each other."""


@dataclass(slots=True)
class Sent:
    """What a batch did, by final state, and what it leads to."""

    states: dict[str, int] = field(default_factory=dict)
    follow: list[UUID] = field(default_factory=list)
    again: list[tuple[UUID, datetime]] = field(default_factory=list)
    raised: list[int] = field(default_factory=list)
    waiting: int = 0

    def soon(self, now: datetime) -> dict[int, list[UUID]]:
        """By seconds from now, what is to be tried again within a minute; the sweep sees to the rest."""
        found: dict[int, list[UUID]] = {}
        for id_, at in self.again:
            seconds = math.ceil((at - now).total_seconds())
            if seconds <= 60:
                found.setdefault(max(seconds, 1), []).append(id_)
        return found

    def add(self, other: "Sent") -> None:
        self.follow += other.follow
        self.again += other.again
        self.raised += other.raised
        self.waiting += other.waiting
        for state, number in other.states.items():
            self.states[state] = self.states.get(state, 0) + number


@dataclass(frozen=True, slots=True)
class Result:
    """How one action ended."""

    row: Row[Any]
    state: str
    started_at: datetime
    finished_at: datetime
    calls: tuple[dict[str, Any], ...] = ()
    receipt: Receipt | None = None
    error: str | None = None
    outcome: str = "done"
    not_before: datetime | None = None
    uncertain: bool = False
    counts: bool = True


def execute(runtime: Runtime, worker: int, tenant: str, name: str, ids: Sequence[UUID]) -> Sent:
    """Carry out these actions and what else is due, as far as the connection's budget goes; the rest waits for its
    turn."""
    now = runtime.clock()
    with runtime.db.begin() as db:
        connection = runtime.directory.current(db).connection(tenant, name)
        ids = actions.with_others(db, tenant, name, ids, now, BATCH)
    api = runtime.api_settings(connection) if connection else None
    if connection is None or api is None:
        state, error = _nowhere_to_send(connection, name)
        with runtime.db.begin() as db:
            actions.end(db, ids, state, error, now)
        return Sent({state: len(ids)})
    purse = Purse(runtime.governor(connection, api), min(len(ids), BATCH))
    grant = purse.grant
    if not grant.granted:
        until = now + timedelta(seconds=max(grant.wait, 0.2))
        with runtime.db.begin() as db:
            actions.give_back(db, ids, until)
        return Sent(waiting=len(ids), again=[(id_, until) for id_ in ids])
    try:
        with runtime.db.begin() as db:
            settles = timedelta(seconds=api.settles)
            claimed = actions.claim(db, tenant, name, ids, grant.granted, worker, now, settles)
        results = _carry_out(runtime, connection, api, claimed, purse)
    finally:
        purse.close()
    return record(runtime, tenant, name, results)


def _nowhere_to_send(connection: Connection[Any] | None, name: str) -> tuple[str, str]:
    if connection is None:
        return "dead", f"connection {name!r} does not exist or is not usable; mend it, then retry this action"
    return "unsupported", f"{connection.vendor} only sends webhooks; it has no API to call"


def _carry_out(
    runtime: Runtime, connection: Connection[Any], api: ApiSettings, claimed: Sequence[Row[Any]], purse: Purse
) -> list[Result]:
    """Tickets side by side where the vendor is slow, the actions of one ticket one after the other."""
    if not claimed:
        return []
    deadline = runtime.clock() + timedelta(seconds=START_WITHIN)
    by_ticket = sorted(claimed, key=lambda row: (row.ticket_id or str(row.id), row.seq))
    lanes = [list(rows) for _, rows in groupby(by_ticket, key=lambda row: row.ticket_id or str(row.id))]

    def lane(rows: list[Row[Any]]) -> list[Result]:
        results: list[Result] = []
        for row in rows:
            stopped = bool(results) and results[-1].state == "pending"
            if stopped or runtime.stopping.is_set() or runtime.clock() > deadline:
                results.append(handed_back(row, runtime.clock()))
            else:
                results.append(_perform(runtime, connection, api, row, purse))
        return results

    if api.rate.concurrency == 1 or len(lanes) == 1:
        return [result for rows in lanes for result in lane(rows)]
    with ThreadPoolExecutor(api.rate.concurrency, thread_name_prefix="execute") as pool:
        begun, made = time.monotonic(), len(lanes[0])
        beside = [pool.submit(lane, lanes.pop(0))]
        wait(beside, WORTH_A_THREAD * made)  # no longer: it may hang until nothing else may be begun
        alone: list[Result] = []
        while lanes and beside[0].done() and time.monotonic() - begun < WORTH_A_THREAD * made:
            alone += lane(lanes.pop(0))
            made = len(alone) + len(beside[0].result())
        beside += [pool.submit(lane, rows) for rows in lanes]
        return [*alone, *(result for found in beside for result in found.result())]


def handed_back(row: Row[Any], now: datetime) -> Result:
    return Result(
        row, "pending", now, now, not_before=now, uncertain=row.uncertain, counts=False, outcome="not sent"
    )


def _perform(
    runtime: Runtime, connection: Connection[Any], api: ApiSettings, row: Row[Any], purse: Purse
) -> Result:
    """One action: looked for first if an earlier attempt was interrupted, then sent."""
    started = runtime.clock()
    ask = runtime.registry.ask
    calls: Sequence[CallRecord] = ()
    found: dict[str, Any] = {"state": "done"}
    try:
        action = parse_action(row.body)
        client = runtime.api(connection, api, row.trace_id, purse)
        calls = client.calls
        receipt = None
        if row.uncertain:
            receipt = ask(connection.vendor, "find_effect", action=action, api=client)
            found["outcome"] = "found" if receipt is not None else "done"
        if receipt is None:
            receipt = ask(connection.vendor, "execute_action", action=action, api=client)
        if receipt is None:
            error = f"{connection.vendor} does not support {action.kind}"
            found = {"state": "unsupported", "outcome": "unsupported", "error": error}
        else:
            found["receipt"] = receipt
    except ApiError as error:
        wrote = any(call.method not in READS and call.status is not None for call in calls)
        found = after_failure(
            error, row, runtime.clock(), uncertain=error.uncertain or (wrote and error.passing)
        )
    except Exception as error:
        log.exception("execute_failed", vendor=connection.vendor, action=str(row.id))
        refused = ApiError(ApiFailure.REFUSED, f"{connection.vendor} plugin failed: {error!r}")
        found = after_failure(refused, row, runtime.clock(), uncertain=bool(calls))
    traced = tuple(call.to_json() for call in calls)
    return Result(row=row, started_at=started, finished_at=runtime.clock(), calls=traced, **found)


def after_failure(error: ApiError, row: Row[Any], now: datetime, *, uncertain: bool) -> dict[str, Any]:
    """What a failure means for the row. `uncertain` = something was written, or may have been."""
    plan = next_attempt(
        error, attempts=row.attempts, since=row.created_at, now=now, jitter=row.id.int % 100 / 100
    )
    found: dict[str, Any] = {"outcome": error.failure.value, "error": str(error)}
    if isinstance(plan, Again):
        return found | {
            "state": "pending", "not_before": plan.at, "counts": plan.counts,
            "uncertain": uncertain or row.uncertain,
        }  # fmt: skip
    return found | {"state": "dead", "uncertain": uncertain or row.uncertain}


def record(runtime: Runtime, tenant: str, name: str, results: Sequence[Result]) -> Sent:
    """Receipts, attempts, and what waited for a ticket that exists now: one transaction.

    What happened at the vendor must not be forgotten because of one odd answer: each result is then kept alone, and
    the one that cannot be ends as dead.
    """
    sent = Sent()
    if not results:
        return sent
    try:
        with runtime.db.begin() as db:
            _keep(db, tenant, name, results, sent)
    except Exception as error:
        if is_away(error):
            raise
        log.exception("results_not_stored", results=len(results))
        sent = Sent()
        if len(results) > 1:
            for result in results:
                sent.add(record(runtime, tenant, name, [result]))
            return sent
        why = f"what the vendor answered cannot be stored: {first_line(error)}"
        found = replace(results[0], state="dead", receipt=None, calls=(), error=why, uncertain=True)
        with runtime.db.begin() as db:
            _keep(db, tenant, name, [found], sent)
    return sent


def _keep(db: Database, tenant: str, name: str, results: Sequence[Result], sent: Sent) -> None:
    in_order = sorted(results, key=lambda result: result.row.seq)  # as others lock them
    actions.finish(db, [_finished(result) for result in in_order])
    actions.add_attempts(db, [_attempt(tenant, name, result) for result in results if result.calls])
    for result in results:
        sent.states[result.state] = sent.states.get(result.state, 0) + 1
        if result.not_before is not None:
            sent.again.append((result.row.id, result.not_before))
    created = [result for result in in_order if result.row.kind == "create_ticket"]
    sent.follow += _created(db, tenant, name, created)
    sent.raised += [id_ for result in created if (id_ := _announced(db, tenant, name, result)) is not None]


def _created(db: Database, tenant: str, name: str, results: Sequence[Result]) -> list[UUID]:
    """Planned tickets are real, or will never be; either way nothing waits for them any longer."""
    real: list[tuple[TicketRef, TicketRef]] = []
    for result in results:
        planned = TicketRef(name, "+" + result.row.key)
        if result.state == "done" and result.receipt and result.receipt.remote_id:
            real.append((planned, TicketRef(name, result.receipt.remote_id)))
        elif result.state != "pending":
            tickets.forget_planned(db, tenant, planned)
            error = f"its ticket was not created: {result.error}"
            if result.state == "done":
                error = "its ticket was created, but the vendor did not say its id"
            actions.end_dependents(db, tenant, planned, error, result.finished_at)
    if not real:
        return []
    tickets.settle(db, tenant, real, max(result.finished_at for result in results))
    return actions.waiting_on(db, tenant, name, [ref.id for _, ref in real])


def _announced(db: Database, tenant: str, name: str, result: Result) -> int | None:
    """A rule that waits for the ticket is told that it exists, and where: an event of our own, once."""
    row, receipt = result.row, result.receipt
    if not (row.body.get("awaited") and result.state == "done" and receipt and receipt.remote_id):
        return None
    ref = TicketRef(name, receipt.remote_id)
    event = TicketCreated(
        # As of when it was decided: whatever its desk tells of it is newer.
        id=f"exists:{receipt.remote_id}", connection=name, occurred_at=row.created_at, ours=True,
        ticket=Ticket(ref=ref, url=receipt.url) if receipt.url else Ticket(ref=ref),
    )  # fmt: skip
    return deliveries.raise_event(
        db, tenant=tenant, connection=name, dedup_key=f"exists:{row.id}", subject=receipt.remote_id,
        event=event.to_json(), trace_id=row.trace_id, now=result.finished_at,
    )  # fmt: skip


def _finished(result: Result) -> dict[str, Any]:
    over = result.state != "pending"
    return {
        "id": result.row.id,
        "state": result.state,
        "not_before": result.not_before or result.row.not_before,
        "uncertain": result.uncertain,
        "receipt": result.receipt.to_json() if result.receipt else None,
        "error": result.error,
        "finished_at": result.finished_at if over else None,
        "given_back": 0 if result.counts else 1,
    }


def _attempt(tenant: str, name: str, result: Result) -> dict[str, Any]:
    return {
        "tenant": tenant, "connection": name, "action_id": result.row.id, "delivery_id": result.row.delivery_id,
        "started_at": result.started_at, "seconds": (result.finished_at - result.started_at).total_seconds(),
        "outcome": result.outcome, "error": result.error, "calls": list(result.calls),
    }  # fmt: skip
