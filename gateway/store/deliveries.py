"""The inbox: which webhooks were accepted, and how far is each?

States: `received` -> `decided`, or `parked` with its error. A row is the truth; a queued job is only a hint.
"""

from base64 import b64encode
from collections import Counter
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, Row, TextClause, select, text, update

from .database import storable, to_text
from .rows import among, one_of, packed, sent
from .tables import deliveries

Lane = tuple[str, str, str]
"""Tenant, connection, ticket id: what keeps its order."""

MAX_LANE = 500
"""Deliveries that one transaction takes from the lanes it holds."""

LONGEST_NAME = 500
"""Characters of a dedup key or a ticket's id: an index entry has 2,700 bytes."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A verified webhook, about to be stored."""

    tenant: str
    connection: str
    dedup_key: str
    received_at: datetime
    sent_at: datetime | None
    subject: str | None
    thin: bool
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    trace_id: str


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of an arrival. `thin` and `connection` tell which job it needs next."""

    id: int
    tenant: str
    connection: str
    thin: bool
    duplicate: bool


_INSERT = text("""
    INSERT INTO deliveries (tenant, connection, dedup_key, received_at, sent_at, subject, thin, reading, query,
                            headers, body, trace_id, state, not_before)
    SELECT tenant, connection, dedup_key, received_at, sent_at, subject, thin,
           CASE WHEN thin AND subject IS NOT NULL THEN 'wanted' END, query, headers, decode(body, 'base64'), trace_id,
           'received', received_at
    FROM json_to_recordset(CAST(:arrivals AS json)) AS arrived (
        tenant text, connection text, dedup_key text, received_at timestamptz, sent_at timestamptz, subject text,
        thin boolean, query jsonb, headers jsonb, body text, trace_id text)
    ON CONFLICT (tenant, connection, dedup_key) DO NOTHING
    RETURNING id, tenant, connection, dedup_key
""")

_DUPLICATES = text("""
    UPDATE deliveries d SET duplicates = duplicates + n
    FROM unnest(CAST(:tenant AS text[]), CAST(:connection AS text[]), CAST(:dedup_key AS text[]),
                CAST(:number AS integer[])) AS a (t, c, k, n)
    WHERE d.tenant = a.t AND d.connection = a.c AND d.dedup_key = a.k
    RETURNING d.id, d.tenant, d.connection, d.dedup_key
""")


Rows = Iterable[Any]
"""Each: id, tenant, connection, dedup_key."""


def storing(arrivals: Sequence[Arrival]) -> Generator[tuple[TextClause, dict[str, Any]], Rows, list[Stored]]:
    """The statements that store all arrivals, to be executed by whoever sends back their rows; one is the rule.

    Returns the answers in the order of the arrivals. A known dedup key is a duplicate.
    """
    keys = [(a.tenant, a.connection, _indexable(a.dedup_key)) for a in arrivals]
    told = [_told(arrival, key) for arrival, (_, _, key) in zip(arrivals, keys, strict=True)]
    fresh = _by_key((yield _INSERT, {"arrivals": to_text(told)}))
    repeated = Counter(keys)
    repeated.subtract(fresh.keys())
    again = +repeated
    known = _by_key((yield _DUPLICATES, _columns(again))) if again else {}
    stored = []
    for arrival, key in zip(arrivals, keys, strict=True):
        new = fresh.pop(key, None)
        stored.append(
            Stored(new or known[key], arrival.tenant, arrival.connection, arrival.thin, duplicate=new is None)
        )
    return stored


def insert(db: Connection, arrivals: Sequence[Arrival]) -> list[Stored]:
    """Store all arrivals in this transaction."""
    steps = storing(arrivals)
    rows: Rows | None = None
    while True:
        try:
            statement, given = next(steps) if rows is None else steps.send(rows)
        except StopIteration as end:
            stored: list[Stored] = end.value
            return stored
        rows = db.execute(statement, given).all()


def _told(arrival: Arrival, dedup_key: str) -> dict[str, Any]:
    """All of a group travels as one JSON text: psycopg would quote the members of arrays one by one, in Python."""
    return {
        "tenant": arrival.tenant,
        "connection": arrival.connection,
        "dedup_key": dedup_key,
        "received_at": arrival.received_at.isoformat(),
        "sent_at": arrival.sent_at.isoformat() if arrival.sent_at else None,
        "subject": _subject(arrival),
        "thin": arrival.thin,
        "query": arrival.query,
        "headers": arrival.headers,
        "body": b64encode(arrival.body).decode(),
        "trace_id": arrival.trace_id,
    }


def _by_key(rows: Rows) -> dict[tuple[str, str, str], int]:
    return {(tenant, connection, dedup_key): id_ for id_, tenant, connection, dedup_key in rows}


def _columns(repeated: Counter[tuple[str, str, str]]) -> dict[str, Any]:
    """Deliveries that were told again, each so many times."""
    tenants, connections, dedup_keys = (list(column) for column in zip(*repeated, strict=True))
    return {
        "tenant": tenants, "connection": connections, "dedup_key": dedup_keys, "number": list(repeated.values()),
    }  # fmt: skip


def _indexable(key: str) -> str:
    """The key as it is stored: PostgreSQL's indexes take no long ones."""
    key = storable(key)
    return key if len(key) <= LONGEST_NAME else f"{key[:100]}~{sha256(key.encode()).hexdigest()}"


def _subject(arrival: Arrival) -> str | None:
    """The ticket's id; nothing so long that no ticket has it."""
    subject = storable(arrival.subject or "")
    return subject if 0 < len(subject) <= LONGEST_NAME else None


_RAISE = text("""
    INSERT INTO deliveries (tenant, connection, dedup_key, origin, received_at, subject, thin, query, headers, body,
                            trace_id, state, not_before)
    VALUES (:tenant, :connection, :dedup_key, 'core', :now, :subject, false, '{}', '{}', :body, :trace_id,
            'received', :now)
    ON CONFLICT (tenant, connection, dedup_key) DO NOTHING
    RETURNING id
""")


def raise_event(
    db: Connection, *, tenant: str, connection: str, dedup_key: str, subject: str | None, event: Any,
    trace_id: str, now: datetime,
) -> int | None:  # fmt: skip
    """Put an event of our own into the inbox, once per `dedup_key`; it takes the same way as everybody's."""
    given = {
        "tenant": tenant, "connection": connection, "dedup_key": _indexable(dedup_key), "subject": subject,
        "body": to_text(event).encode(), "trace_id": trace_id, "now": now,
    }  # fmt: skip
    return db.execute(_RAISE, given).scalar()


def decided(db: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Rows of id, notes, decided_at."""
    if rows:
        db.execute(_DECIDED, packed(rows))


_decided = sent(deliveries.c.id, deliveries.c.notes, deliveries.c.decided_at)
_DECIDED = (
    update(deliveries)
    .where(deliveries.c.id == _decided.c.id, deliveries.c.state == "received")
    .values(state="decided", error=None, notes=_decided.c.notes, decided_at=_decided.c.decided_at)
)


def lanes_of(db: Connection, ids: Iterable[int]) -> tuple[list[Lane], list[int]]:
    """The lanes of the deliveries that still wait, and the ids of those that belong to no ticket."""
    rows = db.execute(_WAITING, {"ids": list(ids)}).all()
    return (
        sorted({(row.tenant, row.connection, row.subject) for row in rows if row.subject is not None}),
        [row.id for row in rows if row.subject is None],
    )


_WAITING = select(deliveries.c.id, deliveries.c.tenant, deliveries.c.connection, deliveries.c.subject).where(
    one_of(deliveries.c.id), deliveries.c.state == "received"
)


def take(db: Connection, lanes: Sequence[Lane], loose: Sequence[int]) -> list[Row[Any]]:
    """All that waits in these lanes (the caller holds their locks) and the loose ones, oldest first."""
    rows: list[Any] = []
    if lanes:
        names = ("tenant", "connection", "subject")
        rows += db.execute(
            _IN_LANES, packed(dict(zip(names, lane, strict=True)) for lane in set(lanes))
        ).all()
    if loose:
        rows += db.execute(_LOOSE, {"ids": list(loose)}).all()
    return rows


_waiting = among(deliveries, "tenant", "connection", "subject", state="received")
_IN_LANES = _waiting.order_by(_waiting.selected_columns.id).limit(MAX_LANE)
_LOOSE = (
    select(deliveries)
    .where(one_of(deliveries.c.id), deliveries.c.state == "received")
    .order_by(deliveries.c.id)
    .with_for_update(skip_locked=True)
)


def unread(db: Connection, tenant: str, connection: str, ids: Iterable[int]) -> dict[str, list[Any]]:
    """By ticket, every delivery that waits for a reading, of the tickets that `ids` are about. Oldest first."""
    d = deliveries.c
    mine = (d.tenant == tenant, d.connection == connection, d.state == "received", d.reading == "wanted")
    subjects = select(d.subject).where(d.id.in_(list(ids)), *mine)
    waiting = (
        select(d.id, d.subject, d.thin, d.origin, d.attempts, d.received_at, d.trace_id)
        .where(d.subject.in_(subjects), *mine)
        .order_by(d.id)
        .limit(MAX_LANE * 4)
    )
    found: dict[str, list[Any]] = {}
    for row in db.execute(waiting):
        found.setdefault(row.subject, []).append(row)
    return found


def keep_reading(db: Connection, rows: Sequence[Row[Any]], collected: Any) -> None:
    """One reading answers all of `rows`: hints before the newest need nothing more, the others keep a copy."""
    hints = [row.id for row in rows if row.thin]
    shared = hints[:-1]
    kept = [row.id for row in rows if row.id not in shared]
    d = deliveries.c
    waiting = d.state == "received"
    db.execute(
        update(deliveries)
        .where(d.id.in_(kept), waiting)
        .values(collected=collected, reading="done", error=None)
    )
    if shared:
        db.execute(update(deliveries).where(d.id.in_(shared), waiting).values(reading="shared", error=None))


def keep_missing(db: Connection, ids: Sequence[int]) -> None:
    """The ticket cannot be read any more: decide with what the webhook itself said."""
    d = deliveries.c
    db.execute(
        update(deliveries)
        .where(d.id.in_(list(ids)), d.state == "received")
        .values(reading="missing", error=None)
    )


def postpone(db: Connection, ids: Sequence[int], until: datetime, error: str | None, *, count: bool) -> None:
    """Try again at `until`; `count` says whether this was an attempt or only a wait for our turn."""
    d = deliveries.c
    values: dict[str, Any] = {"not_before": until}
    if error is not None:
        values["error"] = storable(error)[:2000]
    if count:
        values["attempts"] = d.attempts + 1
    db.execute(update(deliveries).where(d.id.in_(list(ids)), d.state == "received").values(**values))


def want_reading(db: Connection, ids: Sequence[int]) -> None:
    """A rule needs the whole ticket: these must be collected before they are decided."""
    d = deliveries.c
    db.execute(update(deliveries).where(d.id.in_(list(ids)), d.state == "received").values(reading="wanted"))


def park(db: Connection, ids: Sequence[int], error: str, now: datetime) -> None:
    """Set aside, with the reason kept, until somebody replays it."""
    d = deliveries.c
    db.execute(
        update(deliveries)
        .where(d.id.in_(list(ids)), d.state == "received")
        .values(state="parked", error=storable(error)[:2000], decided_at=now)
    )


def replay(db: Connection, ids: Sequence[int], now: datetime) -> list[int]:
    """Back into the inbox. What was collected is kept, so a replay needs no vendor."""
    d = deliveries.c
    back = (
        update(deliveries)
        .where(d.id.in_(list(ids)), d.state != "received")
        .values(state="received", not_before=now, attempts=0, error=None, notes={"replay": True})
        .returning(d.id)
    )
    return [row.id for row in db.execute(back)]


def overdue(db: Connection, now: datetime, grace: timedelta, limit: int) -> list[Row[Any]]:
    """Waiting deliveries that no job has taken for `grace`; the next sweep leaves them alone for as long again."""
    d = deliveries.c
    late = (
        select(d.id)
        .where(d.state == "received", d.not_before <= now - grace)
        .order_by(d.not_before, d.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    found = db.execute(
        update(deliveries)
        .where(d.id.in_(late))
        .values(not_before=now)
        .returning(d.id, d.tenant, d.connection, d.reading)
    )
    return sorted(found, key=lambda row: row.id)
