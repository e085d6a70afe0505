"""Is this installation well, and if not, what is to be done about it?"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from redis.exceptions import RedisError
from rq.worker import Worker
from sqlalchemy.exc import SQLAlchemyError

from gateway import embedded, jobs, sources
from gateway.embedded import Stores
from gateway.model.connection import Connection
from gateway.model.errors import ApiError, ApiFailure, GatewayError
from gateway.runtime import Runtime
from gateway.settings import Settings
from gateway.store import condition, database, history, incidents, reconciliations
from gateway.store.secrets import Keyring
from gateway.store.tenants import Company

Level = Literal["ok", "warn", "fail"]

LATE = timedelta(seconds=60)
VERY_LATE = timedelta(minutes=10)
SKEW = timedelta(seconds=2)
LARGE_SKEW = timedelta(seconds=60)
"""Signatures of webhooks are refused a few minutes off; timers are to be exact to the minute."""

FORGOTTEN = timedelta(minutes=10)
RECENT = timedelta(days=1)

PROBES = 4
"""Vendors that are asked at the same time."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `do` says what to do about it, where something is to be done."""

    name: str
    level: Level
    text: str
    do: str = ""


Findings = Iterator[Finding]


def of_environment(settings: Settings) -> Findings:
    """What can be told without any store."""
    where = f"embedded in {settings.data_dir}" if settings.embedded else "named by the environment"
    yield Finding("settings", "ok", f"they are valid; stores are {where}")
    if settings.allow_private_targets:
        yield Finding(
            "private targets", "warn", "calls to private and loopback addresses are allowed",
            "unset GATEWAY_ALLOW_PRIVATE_TARGETS unless vendors are sandboxes or stand in this network",
        )  # fmt: skip
    try:
        keys = embedded.secret_keys(settings)
        Keyring(keys)
    except GatewayError as error:
        yield Finding("secret keys", "fail", str(error), "set GATEWAY_SECRET_KEYS to the keys in use so far")
    else:
        yield Finding("secret keys", "ok", f"{len(keys)} present; the first one seals what is saved now")


def of_stores(stores: Stores) -> Findings:
    """Do both stores answer, and will they do?"""
    try:
        embedded.check_database(stores.database_url)
        engine = database.engine(stores.database_url)
        with engine.connect() as db:
            version = condition.server_version(db)
        yield Finding("PostgreSQL", "ok", f"version {version}, UTF8")
        yield _schema(engine)
        engine.dispose()
    except GatewayError as error:
        yield Finding("PostgreSQL", "fail", str(error), "start it, or mend GATEWAY_DATABASE_URL")
    try:
        for level, text in embedded.check_redis(stores.redis_url):
            yield Finding("Redis", "ok" if level == "ok" else "warn", text)
    except GatewayError as error:
        yield Finding("Redis", "fail", str(error), "start it, or mend its settings or GATEWAY_REDIS_URL")


def _schema(engine: Any) -> Finding:
    try:
        database.check_schema(engine)
    except GatewayError as error:
        return Finding("migrations", "fail", str(error), "gateway migrate")
    return Finding("migrations", "ok", f"the schema is at {database.head()}")


def of_installation(runtime: Runtime, *, offline: bool = False) -> Findings:
    """Everything that shows in the stores; unless `offline`, also whether vendors accept our credentials."""
    checks: list[tuple[str, Callable[[Runtime], Iterable[Finding]]]] = [
        ("clock", _clocks),
        ("secrets", _secrets),
        ("workers", _queues),
        ("waiting", _waiting),
        ("stopped", _stopped),
        ("incidents", _incidents),
        ("sources", _sources),
        ("reconciliation", _reconciliations),
        ("configuration", _configuration),
    ]
    if not offline:
        checks.append(("vendors", _vendors))
    for name, check in checks:
        try:
            yield from check(runtime)
        except (SQLAlchemyError, RedisError, GatewayError) as error:
            yield Finding(name, "fail", f"could not be looked at: {str(error).splitlines()[0]}")


# --- the stores' own state ----------------------------------------------------------------------------------


def _clocks(runtime: Runtime) -> Findings:
    """Every process may run elsewhere, but all have to agree on the time."""
    with runtime.db.connect() as db:
        condition.clock(db)  # so that what is measured is not the time to connect
        before = runtime.clock()
        theirs = condition.clock(db)
        yield _clock("PostgreSQL", theirs, before, runtime.clock())
    before = runtime.clock()
    seconds, micros = runtime.redis.time()
    theirs = datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=micros)
    yield _clock("Redis", theirs, before, runtime.clock())


def _clock(whose: str, theirs: datetime, before: datetime, after: datetime) -> Finding:
    """Only what the round trip does not explain is their clock's."""
    off = max(before - theirs, theirs - after, timedelta(0))
    level: Level = "fail" if off > LARGE_SKEW else "warn" if off > SKEW else "ok"
    text = f"{whose}'s clock and ours differ by {off.total_seconds():.1f} s"
    return Finding("clock", level, text, "" if level == "ok" else "synchronise both machines (NTP)")


def _secrets(runtime: Runtime) -> Findings:
    """Can every stored secret be opened with the keys that are here?"""
    with runtime.db.connect() as db:
        sealed = condition.sealed(db)
    shut = []
    for name, secret in sealed:
        try:
            runtime.keyring.open(secret)
        except GatewayError:
            shut.append(name)
    if shut:
        yield Finding(
            "secrets", "fail", f"{len(shut)} of {len(sealed)} cannot be opened: {', '.join(shut)}",
            "put the key that sealed them back into GATEWAY_SECRET_KEYS, or apply these secrets again",
        )  # fmt: skip
    else:
        yield Finding("secrets", "ok", f"all {len(sealed)} stored ones can be opened")


def _queues(runtime: Runtime) -> Findings:
    """Is each queue taken by somebody alive? A worker that was killed stays on RQ's list for a while."""
    with runtime.db.connect() as db:
        living = condition.living_workers(db)
    for name in jobs.QUEUES:
        queue = jobs.queue(runtime.redis, name)
        listed, waiting = Worker.count(queue=queue), queue.count
        text = f"{waiting} jobs, {min(listed, living)} live workers"
        if min(listed, living):
            yield Finding(f"queue {name}", "ok", text)
        else:
            level: Level = "fail" if waiting else "warn"
            yield Finding(f"queue {name}", level, text, "start a worker: gateway worker (or gateway up)")


def _waiting(runtime: Runtime) -> Findings:
    """Nothing that is due may wait for long, and nothing may wait for what will never come."""
    now = runtime.clock()
    with runtime.db.connect() as db:
        oldest, stranded = condition.oldest_due(db), condition.stranded(db)
    for what, since in oldest.items():
        late = now - since if since is not None else timedelta(0)
        level: Level = "fail" if late > VERY_LATE else "warn" if late > LATE else "ok"
        text = f"the oldest is {late.total_seconds():.0f} s late" if level != "ok" else "none is late"
        yield Finding(
            f"due {what}", level, text, "" if level == "ok" else "is a worker running, and keeping up?"
        )
    for row in stranded:
        text = f"{row.tenant}: {row.waiting} actions wait for a ticket whose creation has stopped"
        yield Finding("stranded actions", "warn", text, f"gateway actions retry {row.creation}")


def _stopped(runtime: Runtime) -> Findings:
    """What only a person can bring on its way again."""
    with runtime.db.connect() as db:
        counts = condition.stopped_counts(db)
    for row in counts:
        look = f"gateway {row.what} list --tenant {row.tenant} --state {row.state}"
        yield Finding("stopped", "warn", f"{row.tenant}: {row.number} {row.what} are {row.state}", look)
    if not counts:
        yield Finding("stopped", "ok", "nothing is parked, dead, held or unsupported")


def _incidents(runtime: Runtime) -> Findings:
    with runtime.db.connect() as db:
        number = condition.open_incidents(db)
        newest = history.incidents_page(db, limit=1)
    if number:
        text = f"{number} open, the newest: {newest[0].tenant}: {newest[0].message}"
        yield Finding("incidents", "warn", text, "gateway incidents")
    else:
        yield Finding("incidents", "ok", "none is open")


def _sources(runtime: Runtime) -> Findings:
    """Does every connection send as it always did?"""
    with runtime.db.connect() as db:
        alarms = incidents.open_ones(db, sources.QUIET)
    for (tenant, name), alarm in sorted(alarms.items()):
        look = (
            f"look at the webhook's settings at the vendor; gateway connections show {name} --tenant {tenant}"
        )
        yield Finding("source", "warn", f"{tenant}/{alarm.message}", look)
    if not alarms:
        yield Finding("sources", "ok", "none has gone quiet against its habit")


def _reconciliations(runtime: Runtime) -> Findings:
    """Is each vendor asked for what it did not tell, and does it tell all?"""
    now = runtime.clock()
    with runtime.db.connect() as db:
        known = runtime.directory.current(db)
        rows = [r for r in reconciliations.all_of(db) if known.connection(r.tenant, r.connection) is not None]
    wrong = False
    for row in rows:
        name = f"{row.tenant}/{row.connection}"
        show = f"gateway connections show {row.connection} --tenant {row.tenant}"
        if row.error is not None:
            wrong = True
            yield Finding("reconciliation", "warn", f"{name} could not be gone through: {row.error}", show)
        elif now - row.next_at > FORGOTTEN:
            wrong = True
            text = f"{name} has been due for {(now - row.next_at).total_seconds() / 60:.0f} min"
            yield Finding("reconciliation", "warn", text, "is a worker running?")
        if row.missed_at is not None and now - row.missed_at < RECENT:
            wrong = True
            text = f"{name}: {row.missed} webhooks so far never came, the last found {row.missed_at:%Y-%m-%d %H:%M} UTC"
            yield Finding("reconciliation", "warn", text, f"check the webhook at the vendor; {show}")
    if not wrong:
        yield Finding(
            "reconciliation", "ok", f"{len(rows)} connections, and no webhook was missed in the last day"
        )


# --- what the tenants have set ------------------------------------------------------------------------------


def _companies(runtime: Runtime) -> list[tuple[str, Company]]:
    with runtime.db.connect() as db:
        return sorted(runtime.directory.current(db).companies.items())


def _configuration(runtime: Runtime) -> Findings:
    """Connections and rules that do not work as they are set."""
    companies = _companies(runtime)
    wrong = [finding for tenant, company in companies for finding in _settings(runtime, tenant, company)]
    yield from wrong
    if not wrong:
        yield Finding("configuration", "ok", f"all settings of {len(companies)} tenants are in order")


def _settings(runtime: Runtime, tenant: str, company: Company) -> Findings:
    for name, error in company.broken.items():
        text = f"{tenant}/{name} cannot be used: {error}"
        yield Finding("connection", "fail", text, "mend its settings or secrets: gateway apply FILE")
    with runtime.db.connect() as db:
        for rule, choice in company.rules.items():
            if choice.enabled and choice.error:
                chosen = bool(history.rule_settings(db, tenant, rule))
                yield Finding(
                    "rule", "fail" if chosen else "warn",
                    f"{tenant}: {rule} is on, but does nothing until its settings are mended: {choice.error}",
                    f"gateway rules set {rule} --tenant {tenant} SETTING=VALUE (or: rules disable)",
                )  # fmt: skip


# --- the vendors --------------------------------------------------------------------------------------------


def _vendors(runtime: Runtime) -> Findings:
    """Does each vendor still accept our credentials? One harmless call a connection, within its budget."""
    found = [connection for _, company in _companies(runtime) for connection in company.connections.values()]
    with ThreadPoolExecutor(PROBES, thread_name_prefix="probe") as pool:
        yield from pool.map(lambda connection: _probe(runtime, connection), found)


def _probe(runtime: Runtime, connection: Connection[Any]) -> Finding:
    name = f"{connection.tenant}/{connection.name}"
    try:
        api, path = runtime.api_settings(connection), runtime.registry.vendor_info(connection.vendor).probe
        if api is None or path is None:
            return Finding("vendor", "ok", f"{name}: {connection.vendor} offers nothing to ask")
        runtime.api(connection, api, "").get(path)
    except ApiError as error:
        return _refused(name, error)
    except Exception as error:  # noqa: BLE001 - a plugin's fault is a finding too
        return Finding("vendor", "fail", f"{name}: the {connection.vendor} plugin failed: {error!r}")
    return Finding("vendor", "ok", f"{name}: {connection.vendor} accepts our credentials")


def _refused(name: str, error: ApiError) -> Finding:
    """What a failed probe means: credentials and addresses are to be mended, the rest may pass by itself."""
    text = f"{name}: {error}"
    if error.failure is ApiFailure.UNAUTHORIZED:
        return Finding("vendor", "fail", text, "renew the credentials, or give their user more rights")
    if error.failure is ApiFailure.REFUSED and error.status is None:
        return Finding("vendor", "fail", text, "mend the connection's base_url")
    if error.failure is ApiFailure.THROTTLED and error.status is None:
        return Finding("vendor", "warn", f"{name} was not asked: {error}", "ask again later")
    return Finding(
        "vendor", "warn", text, "see the vendor's status page, and check the connection's base_url"
    )
