"""Is this process alive, and is the installation doing its work?"""

import asyncio
from dataclasses import dataclass

from rq.worker import Worker
from sqlalchemy import text
from starlette.requests import Request
from starlette.responses import JSONResponse

from gateway import jobs
from gateway.runtime import Runtime
from gateway.store import database

STALL_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `detail` is for a person."""

    name: str
    ok: bool
    detail: str


def findings(runtime: Runtime) -> list[Finding]:
    """The store answers, the queue answers, and work is being done or there is none to do."""
    return [_store(runtime), _queue(runtime), _consumed(runtime)]


def _store(runtime: Runtime) -> Finding:
    try:
        database.check_schema(runtime.db)
    except Exception as error:  # noqa: BLE001 - a check reports, whatever it met
        return Finding("store", False, str(error).splitlines()[0])
    return Finding("store", True, "PostgreSQL answers")


def _queue(runtime: Runtime) -> Finding:
    try:
        runtime.redis.ping()
        workers = Worker.count(queue=jobs.queue(runtime.redis, jobs.DECIDE))
    except Exception as error:  # noqa: BLE001 - a check reports, whatever it met
        return Finding("queue", False, str(error).splitlines()[0])
    return Finding("queue", True, f"Redis answers, {workers} workers")


_OLDEST = text("""
    SELECT extract(epoch FROM now() - min(not_before)) FROM (
        (SELECT not_before FROM deliveries WHERE state = 'received' ORDER BY not_before LIMIT 1)
        UNION ALL
        (SELECT min(not_before) FROM actions WHERE state = 'pending' AND ticket_id NOT LIKE '+%')
    ) AS waiting
""")


def _consumed(runtime: Runtime) -> Finding:
    """Not a flag but a fact: nothing that is due has been waiting for long."""
    try:
        with runtime.db.connect() as db:
            seconds = db.execute(_OLDEST).scalar()
        queued = sum(jobs.queue(runtime.redis, name).count for name in jobs.QUEUES)
    except Exception as error:  # noqa: BLE001 - a check reports, whatever it met
        return Finding("work", False, str(error).splitlines()[0])
    late = float(seconds or 0)
    if late > STALL_SECONDS:
        return Finding(
            "work", False, f"work has been due for {late:.0f} s and nobody took it; is a worker running?"
        )
    return Finding("work", True, f"nothing is late; {queued} jobs queued")


async def healthz(_: Request) -> JSONResponse:
    return JSONResponse({"status": "alive"})


async def readyz(request: Request) -> JSONResponse:
    found = await asyncio.to_thread(findings, request.app.state.runtime)
    ready = all(finding.ok for finding in found)
    checks = {finding.name: {"ok": finding.ok, "detail": finding.detail} for finding in found}
    return JSONResponse(
        {"status": "ready" if ready else "not ready", "checks": checks}, 200 if ready else 503
    )
