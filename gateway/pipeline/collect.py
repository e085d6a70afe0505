"""What did the webhook leave out? Read back from the vendor, outside any transaction, once for many hints."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import Connection as Database
from sqlalchemy import Row

from gateway.calls import CallRecord
from gateway.model.connection import ApiSettings, Connection
from gateway.model.errors import ApiError, ApiFailure
from gateway.model.event import TicketDeleted
from gateway.model.ticket import Ticket, TicketRef
from gateway.runtime import Runtime
from gateway.store import actions, deliveries, reconciliations, tickets
from gateway.store.database import first_line, is_away
from gateway.store.reconciliations import ORIGIN

from .retry import Again, next_attempt

log = structlog.get_logger(__name__)

GONE = "the vendor does not have this ticket any more"


@dataclass(slots=True)
class Collected:
    """Deliveries that can be decided now, and tickets whose reading must wait."""

    ready: list[int] = field(default_factory=list)
    waiting: int = 0


def collect(runtime: Runtime, tenant: str, name: str, ids: Sequence[int]) -> Collected:
    """Read every ticket that these deliveries are about, as far as the connection's budget goes."""
    with runtime.db.begin() as db:
        connection = runtime.directory.current(db).connection(tenant, name)
        groups = deliveries.unread(db, tenant, name, ids)
    outcome = Collected()
    if not groups:
        return outcome
    api = runtime.api_settings(connection) if connection else None
    if (
        connection is None
        or api is None
        or not runtime.registry.implements(connection.vendor, "collect_ticket")
    ):
        with runtime.db.begin() as db:
            for rows in groups.values():
                reason = f"connection {name!r} cannot read tickets back"
                _unreadable(runtime, db, rows, reason, outcome)
        return outcome
    governor = runtime.governor(connection, api)
    grant = governor.take(len(groups))
    governor.give_back(grant, grant.granted)  # every call asks for itself; this was to see how far it goes
    granted = list(groups.items())[: grant.granted]
    if granted:
        workers = min(api.rate.concurrency, len(granted))
        with ThreadPoolExecutor(workers, thread_name_prefix="collect") as pool:
            readings = [pool.submit(_read, runtime, connection, api, *group) for group in granted]
            for reading in readings:
                outcome.ready += reading.result()
    _take_turns(runtime, list(groups.values())[grant.granted :], api, grant.wait, outcome)
    return outcome


def _take_turns(
    runtime: Runtime, groups: Sequence[Sequence[Row[Any]]], api: ApiSettings, wait: float, outcome: Collected
) -> None:
    """Those beyond the budget come back one after the other, at the pace that the vendor allows."""
    now, pace = runtime.clock(), api.rate.seconds / api.rate.calls
    with runtime.db.begin() as db:
        for turn, rows in enumerate(groups):
            until = now + timedelta(seconds=max(wait, pace) + turn * pace)
            deliveries.postpone(db, [row.id for row in rows], until, None, count=False)
    outcome.waiting += len(groups)


def _read(
    runtime: Runtime, connection: Connection[Any], api: ApiSettings, subject: str, rows: Sequence[Row[Any]]
) -> list[int]:
    """The ids that can be decided now. Once this process is to stop, the rest is left to the others."""
    if runtime.stopping.is_set():
        return []
    started = runtime.clock()
    calls: Sequence[CallRecord] = ()
    outcome, error, raw = "done", None, None
    ref = TicketRef(connection.name, subject)
    try:
        client = runtime.api(connection, api, rows[-1].trace_id)
        calls = client.calls
        raw = runtime.registry.ask(connection.vendor, "collect_ticket", ref=ref, api=client)
    except ApiError as failed:
        outcome, error = failed.failure.value, failed
    except Exception as failed:
        log.exception("collect_failed", tenant=connection.tenant, connection=connection.name)
        outcome, error = (
            "failed",
            ApiError(ApiFailure.REFUSED, f"{connection.vendor} plugin failed: {failed!r}"),
        )
    now = runtime.clock()
    with runtime.db.begin() as db:
        actions.add_attempts(
            db,
            [{
                "tenant": connection.tenant, "connection": connection.name, "action_id": None,
                "delivery_id": rows[-1].id, "started_at": started, "seconds": (now - started).total_seconds(),
                "outcome": outcome, "error": str(error) if error else None,
                "calls": [call.to_json() for call in calls],
            }],
        )  # fmt: skip
        error = error or _kept(db, rows, raw)
        if error is None:
            return [row.id for row in rows]
        if error.failure is ApiFailure.MISSING and all(row.origin == ORIGIN for row in rows):
            return _gone(runtime, db, ref, rows, connection.tenant)
        oldest = rows[0]
        plan = next_attempt(
            error, attempts=oldest.attempts, since=oldest.received_at, now=now, jitter=(oldest.id % 100) / 100
        )
        if isinstance(plan, Again):
            deliveries.postpone(db, [row.id for row in rows], plan.at, str(error), count=plan.counts)
            return []
        gone = Collected()
        _unreadable(runtime, db, rows, str(error), gone)
        return gone.ready


def _kept(db: Database, rows: Sequence[Row[Any]], raw: Any) -> ApiError | None:
    """Store the reading; what PostgreSQL does not take is as good as no answer, and no better the next time."""
    try:
        with db.begin_nested():
            deliveries.keep_reading(db, rows, raw)
    except Exception as failed:
        if is_away(failed):
            raise
        log.exception("reading_not_stored", deliveries=len(rows))
        return ApiError(
            ApiFailure.REFUSED, f"what the vendor answered cannot be stored: {first_line(failed)}"
        )
    return None


def _gone(runtime: Runtime, db: Database, ref: TicketRef, rows: Sequence[Row[Any]], tenant: str) -> list[int]:
    """The vendor lists the ticket as changed and does not have it: it was deleted, and nobody told us."""
    now = runtime.clock()
    deliveries.decided(db, [{"id": row.id, "notes": {"said": GONE}, "decided_at": now} for row in rows])
    known = tickets.load(db, [(tenant, ref)]).get((tenant, ref))
    if known is None or tickets.parsed(known).deleted:
        return []
    told = TicketDeleted(
        id=f"deleted:{ref.id}",
        occurred_at=now,
        connection=ref.connection,
        ticket=Ticket(ref=ref, deleted=True),
    )
    reconciliations.missed(db, {(tenant, ref.connection): 1}, now)
    raised = deliveries.raise_event(
        db, tenant=tenant, connection=ref.connection, dedup_key=f"gone:{ref.id}@{rows[-1].id}",
        subject=ref.id, event=told.to_json(), trace_id=rows[-1].trace_id, now=now,
    )  # fmt: skip
    return [raised] if raised is not None else []


def _unreadable(
    runtime: Runtime, db: Database, rows: Sequence[Row[Any]], reason: str, outcome: Collected
) -> None:
    """Hints are nothing without the ticket and are parked; webhooks that told something are decided without it."""
    hints = [row.id for row in rows if row.thin]
    told = [row.id for row in rows if not row.thin]
    if hints:
        deliveries.park(db, hints, reason, runtime.clock())
    if told:
        deliveries.keep_missing(db, told)
    outcome.ready += told
