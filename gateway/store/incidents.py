"""Which incidents of a kind are open, and which are over? They are opened by `actions.open_incident`."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select, tuple_, update

from .tables import incidents


def open_ones(db: Connection, kind: str) -> dict[tuple[str, str], Row[Any]]:
    """By tenant and subject."""
    i = incidents.c
    rows: Iterable[Any] = db.execute(select(incidents).where(i.kind == kind, i.closed_at.is_(None)))
    return {(row.tenant, row.subject): row for row in rows}


def close(db: Connection, kind: str, subjects: Iterable[tuple[str, str]], now: datetime) -> list[Row[Any]]:
    """Those of these (tenant, subject) that were open."""
    i = incidents.c
    wanted = sorted(subjects)
    if not wanted:
        return []
    over = (
        update(incidents)
        .where(i.kind == kind, i.closed_at.is_(None), tuple_(i.tenant, i.subject).in_(wanted))
        .values(closed_at=now)
        .returning(incidents)
    )
    return list(db.execute(over))
