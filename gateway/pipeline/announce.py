"""How does a notice reach people, over the channel that a rule named?

No channel can be asked whether an earlier attempt arrived. One that was interrupted is therefore sent again a few
times at most, and says of itself that it may be a repetition: better told twice than never.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import groupby
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Row

from gateway.client import outcome_of
from gateway.model.action import Notify, parse_action
from gateway.model.connection import RateLimit
from gateway.model.errors import ApiError, ApiFailure
from gateway.pacing import Outcome
from gateway.runtime import Runtime
from gateway.store import actions
from gateway.store.tenants import Company

from .execute import BATCH, START_WITHIN, Result, Sent, after_failure, handed_back, record

log = structlog.get_logger(__name__)

CHANNELS_AT_ONCE = 4
RATE = RateLimit(calls=5, seconds=5, concurrency=1)
"""Slack takes one message a second from a webhook, and short bursts."""

COPIES = 3
"""As often a notice is sent whose earlier attempts may have arrived."""

REPEATED = {
    "pt-BR": "(Talvez repetido: um envio anterior foi interrompido.)",
    "en": "(Perhaps a repetition: an earlier attempt was interrupted.)",
}


def announce(runtime: Runtime, worker: int, tenant: str, ids: Sequence[UUID]) -> Sent:
    """Send these notices of one tenant: channels side by side, each at its own pace and in order."""
    now = runtime.clock()
    with runtime.db.begin() as db:
        company = runtime.directory.current(db).companies.get(tenant)
        claimed = actions.claim(db, tenant, "", ids, BATCH, worker, now)
    if not claimed:
        return Sent()
    by_channel = sorted(claimed, key=lambda row: (row.body["channel"], row.seq))
    lanes = [list(rows) for _, rows in groupby(by_channel, key=lambda row: row.body["channel"])]
    with ThreadPoolExecutor(min(CHANNELS_AT_ONCE, len(lanes)), thread_name_prefix="announce") as pool:
        results = [
            result
            for found in pool.map(lambda rows: _lane(runtime, company, rows), lanes)
            for result in found
        ]
    return record(runtime, tenant, "", results)


def _lane(runtime: Runtime, company: Company | None, rows: Sequence[Row[Any]]) -> list[Result]:
    """One channel's notices, oldest first; what does not get its turn soon is handed back."""
    deadline = runtime.clock() + timedelta(seconds=START_WITHIN)
    results: list[Result] = []
    for row in rows:
        stopped = bool(results) and results[-1].state == "pending"
        if stopped or runtime.stopping.is_set() or runtime.clock() > deadline:
            turn = results[-1].not_before if stopped else None
            results.append(handed_back(row, turn or runtime.clock()))
        else:
            results.append(_perform(runtime, company, row))
    return results


def _perform(runtime: Runtime, company: Company | None, row: Row[Any]) -> Result:
    started = runtime.clock()
    calls: list[dict[str, Any]] = []
    found: dict[str, Any] = {"state": "done"}
    try:
        error = _sent(runtime, company, row, calls)
        if error is not None:
            found = after_failure(error, row, runtime.clock(), uncertain=error.uncertain)
    except Exception as error:
        log.exception("announce_failed", tenant=row.tenant, action=str(row.id))
        refused = ApiError(ApiFailure.REFUSED, f"the channel {row.body.get('channel')!r} failed: {error!r}")
        found = after_failure(refused, row, runtime.clock(), uncertain=True)
    if found["state"] == "pending" and found["uncertain"] and row.attempts >= COPIES:
        found |= {
            "state": "dead",
            "not_before": None,
            "error": f"{found['error']}; it may have arrived all the same",
        }
    return Result(row=row, started_at=started, finished_at=runtime.clock(), calls=tuple(calls), **found)


def _sent(
    runtime: Runtime, company: Company | None, row: Row[Any], calls: list[dict[str, Any]]
) -> ApiError | None:
    """One try; its calls are added to `calls`. Nothing was sent while the channel's turn has not come."""
    from gateway import channels  # slow to import, and many workers never need it

    action = parse_action(row.body)
    url = company.channels.get(action.channel) if company and isinstance(action, Notify) else None
    if url is None or company is None or not isinstance(action, Notify):
        why = f"channel {row.body.get('channel')!r} does not exist or is not usable"
        return ApiError(ApiFailure.REFUSED, f"{why}; mend it, then retry this action")
    governor = runtime.channel_governor(row.tenant, action.channel, RATE)
    grant = governor.take()
    if not grant.granted:
        why = f"channel {action.channel} is held back for {grant.wait:.1f} s: {grant.reason}"
        return ApiError(ApiFailure.THROTTLED, why, retry_after=grant.wait)
    repeated = REPEATED.get(company.tenant.locale, REPEATED["pt-BR"])
    sending = channels.send(
        url.get_secret_value(), action.title, f"{action.body}\n\n{repeated}" if row.uncertain else action.body,
        http=runtime.http, allow_private=runtime.settings.allow_private_targets,
    )  # fmt: skip
    calls += [call.to_json() for call in sending.calls]
    error = sending.error
    pause = error.retry_after or 0.0 if error else 0.0
    governor.record(outcome_of(error) if error else Outcome.OK, pause=pause, reason=str(error or ""))
    return error
