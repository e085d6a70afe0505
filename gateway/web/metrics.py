"""What does Prometheus get to see? Counters of all processes, and ages read from the rows themselves."""

import asyncio
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from redis.exceptions import RedisError
from rq.worker import Worker
from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import Response

from gateway import jobs, metrics, sources
from gateway.runtime import Runtime
from gateway.store import incidents, reconciliations

COUNTERS = {
    "received": "Webhooks accepted for the first time",
    "duplicates": "Webhooks that were known already",
    "refused": "Webhooks refused, by reason",
    "collected": "Deliveries whose ticket was read back",
    "decided": "Deliveries decided",
    "parked": "Deliveries set aside with an error",
    "attempts": "Attempts to carry an action out, by the state they led to",
    "reconciled": "Tickets that a vendor lists as newer than we know them, and that were read back therefore",
    "governor_waits": "Times that work waited for a connection's budget",
}

_WAITING = text("""
    SELECT 'deliveries' AS what, coalesce(reading, 'decide') AS state, count(*) AS number,
           coalesce(extract(epoch FROM now() - min(received_at)), 0) AS age
    FROM deliveries WHERE state = 'received' GROUP BY 2
    UNION ALL
    SELECT 'deliveries', 'parked', count(*), 0 FROM deliveries WHERE state = 'parked'
    UNION ALL
    SELECT 'actions', state, count(*), coalesce(extract(epoch FROM now() - min(created_at)), 0)
    FROM actions WHERE state = 'pending' OR state = 'executing' GROUP BY 2
    UNION ALL
    SELECT 'actions', state, count(*), 0
    FROM actions WHERE state IN ('dead', 'held', 'unsupported') GROUP BY 2
    UNION ALL
    SELECT 'timers', 'late', count(*), coalesce(extract(epoch FROM now() - min(at)), 0)
    FROM timers WHERE state = 'waiting' AND at <= now()
    UNION ALL
    SELECT 'incidents', 'open', count(*), 0 FROM incidents WHERE closed_at IS NULL
""")


class Installation(Collector):
    """Read anew at every scrape; a store that is away leaves its metrics out and says so in `gateway_up`."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def collect(self) -> Iterable[Metric]:
        up = GaugeMetricFamily("gateway_up", "Whether a store answers", labels=["store"])
        try:
            found = list(self._of_redis())
            up.add_metric(["redis"], 1)
        except RedisError:
            found = []
            up.add_metric(["redis"], 0)
        try:
            found += self._of_rows()
            up.add_metric(["postgresql"], 1)
        except SQLAlchemyError:
            up.add_metric(["postgresql"], 0)
        return [up, *found]

    def _of_redis(self) -> Iterable[Metric]:
        redis = self._runtime.redis
        metrics.flush(redis)
        counts = metrics.read(redis)
        for name, meaning in COUNTERS.items():
            mine = {labels: number for (counted, labels), number in counts.items() if counted == name}
            names = sorted({label for labels in mine for label, _ in labels})
            family = CounterMetricFamily(f"gateway_{name}", meaning, labels=names)
            for labels, number in mine.items():
                family.add_metric([value for _, value in labels], number)
            if not mine:
                family.add_metric([], 0)
            yield family
        queued = GaugeMetricFamily("gateway_jobs_queued", "Jobs waiting in RQ", labels=["queue"])
        for queue in jobs.QUEUES:
            queued.add_metric([queue], jobs.queue(redis, queue).count)
        yield queued
        yield GaugeMetricFamily(
            "gateway_workers", "Live workers", value=Worker.count(queue=jobs.queue(redis, jobs.DECIDE))
        )

    def _of_rows(self) -> Iterable[Metric]:
        number = GaugeMetricFamily("gateway_rows", "Unfinished rows, by state", labels=["what", "state"])
        age = GaugeMetricFamily(
            "gateway_oldest_seconds", "Age of the oldest such row", labels=["what", "state"]
        )
        with self._runtime.db.connect() as db:
            for row in db.execute(_WAITING):
                number.add_metric([row.what, row.state], row.number)
                age.add_metric([row.what, row.state], float(row.age))
            return [number, age, *self._of_connections(db)]

    def _of_connections(self, db: Connection) -> Iterable[Metric]:
        """By vendor: whose they are is nobody's business who may scrape."""
        missed = GaugeMetricFamily(
            "gateway_missed_webhooks", "Webhooks that never came, found by reconciliation", labels=["vendor"]
        )
        looked = GaugeMetricFamily(
            "gateway_reconciled_seconds",
            "Longest time since a vendor's list was gone through",
            labels=["vendor"],
        )
        silent = GaugeMetricFamily(
            "gateway_quiet_sources", "Connections gone quiet against their habit", labels=["vendor"]
        )
        now, known = self._runtime.clock(), self._runtime.directory.current(db)
        alarms = incidents.open_ones(db, sources.QUIET)
        rows = {(row.tenant, row.connection): row for row in reconciliations.all_of(db)}
        by_vendor: dict[str, list[tuple[str, str]]] = {}
        for tenant, company in known.companies.items():
            for name, vendor in company.vendors.items():
                by_vendor.setdefault(vendor, []).append((tenant, name))
        for vendor, names in sorted(by_vendor.items()):
            silent.add_metric([vendor], sum(name in alarms for name in names))
            if mine := [rows[name] for name in names if name in rows]:
                missed.add_metric([vendor], sum(row.missed for row in mine))
                looked.add_metric(
                    [vendor], max((now - (row.finished_at or row.began_at)).total_seconds() for row in mine)
                )
        return [missed, looked, silent]


async def exposition(request: Request) -> Response:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Installation(request.app.state.runtime))
    content = await asyncio.to_thread(generate_latest, registry)
    return Response(content, media_type="text/plain; version=0.0.4; charset=utf-8")
