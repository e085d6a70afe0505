"""Which tickets changed at the vendor without a webhook ever coming? They take the way of all webhooks.

What a vendor lists as changed is compared with what we know. Each ticket that we do not know, or not as new as the
vendor has it, becomes a thin delivery of our own: it is read back and decided like any other, so what turns out to be
known leads to nothing.
"""

import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any
from uuid import uuid5

import structlog

from gateway.calls import CallRecord
from gateway.client import ApiClient
from gateway.model.connection import ApiSettings, Connection
from gateway.model.errors import ApiError, ApiFailure
from gateway.model.ticket import ChangedRef, TicketRef
from gateway.pacing import Grant, Outcome, Pacing
from gateway.runtime import Runtime
from gateway.store import actions, events, reconciliations
from gateway.store.reconciliations import LONGEST_RUN, Name

from .decide import FACTS

log = structlog.get_logger(__name__)

HOOK = "list_changed"
SHARE = 0.5
"""Of a connection's budget: beyond it, calls are left to webhooks and actions."""

PATIENCE = 300.0
"""Seconds that one call of a look may wait for its turn."""

GROUP = 100
WAITING = 200
"""Hints of one connection that may be in the inbox at a time: readings are to come in between, not all at once."""

LISTED = 20_000
"""Tickets that one look goes through."""

SETTLED = timedelta(minutes=2)
"""What changed more recently may still be told by a webhook."""

SOON = timedelta(minutes=1)
"""Until a look that came to no end is begun again."""

KEPT_CALLS = 20


@dataclass(slots=True)
class Look:
    """What one look at a connection found. `queued` are hints to be collected; `whole` = it came to its end."""

    since: datetime
    listed: int = 0
    queued: list[int] = field(default_factory=list)
    whole: bool = False
    error: str | None = None


class Spare:
    """A connection's budget as reconciliation may use it: what others leave of it, a call at a time.

    Waits are told in small steps, so that a process which is to stop does not wait them out.
    """

    def __init__(self, governor: Pacing, runtime: Runtime) -> None:
        self._governor = governor
        self._runtime = runtime

    def take(self, wanted: int = 1) -> Grant:
        if self._runtime.stopping.is_set():
            raise ApiError(ApiFailure.THROTTLED, "this process is to stop")
        state = self._governor.state()
        if state["used"] >= max(state["limit"] * SHARE, 1):
            return Grant(0, 1.0, reason="the rest of the budget is for webhooks and actions")
        grant = self._governor.take(1)
        return grant if grant.granted else Grant(0, min(grant.wait, 1.0), at=grant.at, reason=grant.reason)

    def give_back(self, grant: Grant, unused: int) -> None:
        self._governor.give_back(grant, unused)

    def record(self, outcome: Outcome, *, pause: float = 0.0, reason: str = "") -> None:
        self._governor.record(outcome, pause=pause, reason=reason)

    def pause(self, seconds: float, reason: str) -> None:
        self._governor.pause(seconds, reason)

    def reset(self) -> None:
        self._governor.reset()

    def state(self) -> dict[str, Any]:
        return self._governor.state()


def due(runtime: Runtime) -> list[Name]:
    """The connections that are to be looked at now."""
    usual = runtime.settings.reconcile_minutes
    with runtime.db.begin() as db:
        companies = runtime.directory.current(db).companies
        every = {
            (tenant, name): timedelta(minutes=minutes)
            for tenant, company in companies.items()
            for name, connection in company.connections.items()
            if (minutes := _minutes(connection, usual)) and can_be_asked(runtime, connection)
        }
        return reconciliations.due(db, every, runtime.clock())


def _minutes(connection: Connection[Any], usual: int) -> int:
    own: int | None = connection.settings.reconcile_minutes
    return usual if own is None else own


def can_be_asked(runtime: Runtime, connection: Connection[Any]) -> bool:
    """Can the vendor list what changed, and can those tickets be read back?"""
    implements = runtime.registry.implements
    return (
        implements(connection.vendor, HOOK)
        and implements(connection.vendor, "collect_ticket")
        and runtime.api_settings(connection) is not None
    )


def reconcile(runtime: Runtime, tenant: str, name: str, since: datetime | None = None) -> Look | None:
    """Look once; None while somebody else does, or where nobody can.

    :param since: from when on, in place of where the look before left off
    """
    started = runtime.clock()
    lookback = timedelta(minutes=runtime.settings.reconcile_lookback_minutes)
    with runtime.db.begin() as db:
        connection = runtime.directory.current(db).connection(tenant, name)
        if connection is None or not can_be_asked(runtime, connection):
            return None
        reconciliations.meet(db, [(tenant, name)], started)
        begun = reconciliations.begin(db, (tenant, name), lookback, started)
    api = runtime.api_settings(connection)
    if begun is None or api is None:
        return None
    look = Look(since or begun)
    calls: Sequence[CallRecord] = ()
    try:
        client = _client(runtime, connection, api)
        calls = client.calls
        refs = runtime.registry.ask(connection.vendor, HOOK, since=look.since, api=client)
        _compare(runtime, connection, refs or (), look, started)
    except ApiError as failed:
        look.error = str(failed)
    except Exception as failed:
        log.exception("reconcile_failed", tenant=tenant, connection=name)
        look.error = f"{connection.vendor} plugin failed: {failed!r}"
    _note(runtime, (tenant, name), look, started, calls)
    return look


def _client(runtime: Runtime, connection: Connection[Any], api: ApiSettings) -> ApiClient:
    spare = Spare(runtime.governor(connection, api), runtime)
    return runtime.api(connection, api, secrets.token_hex(16), spare, patience=PATIENCE)


def _compare(
    runtime: Runtime, connection: Connection[Any], refs: Iterable[TicketRef], look: Look, started: datetime
) -> None:
    """Page by page, so that what was found is kept when the next page fails."""
    name = (connection.tenant, connection.name)
    with runtime.db.begin() as db:
        room = WAITING - reconciliations.waiting(db, name)
    for group in _groups(islice(refs, LISTED)):
        look.listed += len(group)
        with runtime.db.begin() as db:
            hints = list(_unheard(db, name, group, look.since, started))
            look.queued += reconciliations.hint(db, name, hints[: max(room, 0)], runtime.clock())
        room -= len(hints)
        if room < 0 or runtime.clock() - started > LONGEST_RUN / 2:
            return
    look.whole = look.listed < LISTED
    if not look.whole:
        _too_many(runtime, name, look)


def _groups(refs: Iterable[TicketRef]) -> Iterator[list[TicketRef]]:
    source = iter(refs)
    while group := list(islice(source, GROUP)):
        yield group


def _unheard(
    db: Any, name: Name, group: Sequence[TicketRef], since: datetime, started: datetime
) -> Iterator[dict[str, Any]]:
    """Hints about those of these tickets that the vendor has newer than we do, and of which nothing is on its way."""
    ids = [ref.id for ref in group]
    known = reconciliations.known(db, name, ids)
    underway = reconciliations.underway(db, name, ids)
    untold = _untold(db, name, known.values(), since)
    for ref in group:
        at = ref.changed_at if isinstance(ref, ChangedRef) else None
        if ref.id in underway or (at is not None and not since <= at <= started - SETTLED):
            continue
        row = known.get(ref.id)
        if row is None or _is_newer(at, since, row) or ref.id in untold:
            change = at.isoformat() if at is not None else f"after {since.isoformat()}"
            yield {
                "dedup_key": f"reconcile:{ref.id}@{change}", "sent_at": at, "subject": ref.id,
                "trace_id": secrets.token_hex(16),
            }  # fmt: skip


def _untold(db: Any, name: Name, known: Iterable[Any], since: datetime) -> set[str]:
    """Those of these tickets that were opened since, and whose creation nobody told: a later webhook came first."""
    facts = {
        uuid5(FACTS, f"{name[0]}/{name[1]}/created:{row.id}"): row.id
        for row in known
        if row.opened_at is not None and row.opened_at >= since
    }
    return set(facts.values()) - {facts[id_] for id_ in events.known(db, facts)}


def _is_newer(at: datetime | None, since: datetime, known: Any) -> bool:
    """Where the list does not say when a ticket changed, whatever was heard of it since `since` counts as that."""
    if at is None:
        return bool(known.seen_at < since)
    return known.updated_at is None or bool(known.updated_at < at)


def _too_many(runtime: Runtime, name: Name, look: Look) -> None:
    tenant, connection = name
    message = (
        f"{connection}: more than {LISTED} tickets changed since {look.since:%Y-%m-%d %H:%M} UTC; only those were "
        f"compared. The rest: gateway connections reconcile {connection} --tenant {tenant} --since TIME"
    )
    with runtime.db.begin() as db:
        actions.open_incident(
            db, tenant=tenant, kind="reconcile", subject=connection, message=message, now=runtime.clock()
        )


def _note(runtime: Runtime, name: Name, look: Look, started: datetime, calls: Sequence[CallRecord]) -> None:
    """Where the next look starts from, and what this one asked."""
    now = runtime.clock()
    ended = look.whole or look.listed >= LISTED
    with runtime.db.begin() as db:
        reconciliations.finish(
            db, name, now=now, listed=look.listed, queued=len(look.queued), error=look.error,
            looked_until=started - SETTLED if ended else None,
            next_at=None if ended or look.error else now + SOON,
        )  # fmt: skip
        if calls:
            tenant, connection = name
            actions.add_attempts(
                db,
                [{
                    "tenant": tenant, "connection": connection, "action_id": None, "delivery_id": None,
                    "started_at": started, "seconds": (now - started).total_seconds(),
                    "outcome": "failed" if look.error else "done", "error": look.error,
                    "calls": [call.to_json() for call in calls[-KEPT_CALLS:]],
                }],
            )  # fmt: skip
    if look.queued or look.error:
        log.info("reconciled", tenant=name[0], connection=name[1], listed=look.listed, queued=len(look.queued),
                 error=look.error)  # fmt: skip
