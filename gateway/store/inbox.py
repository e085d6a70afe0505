"""How does a group of webhooks become rows at the least cost? By psycopg alone, on the event loop.

Every webhook waits for this. SQLAlchemy and a thread would make it a third slower.
"""

from collections.abc import Sequence
from typing import Any

import psycopg
from sqlalchemy import Engine, TextClause

from .database import CONNECT
from .deliveries import Arrival, Rows, Stored, storing

LOCK_TIMEOUT = "SET lock_timeout = '2s'"
"""A copy of a webhook that a worker has in hand is counted on its row; if that worker hangs, the copy is refused
rather than everybody kept waiting."""


class InboxConnection:
    """A connection of its own, made when it is first needed and again after it was lost. Every statement is a
    transaction: BEGIN and COMMIT would be two more journeys."""

    def __init__(self, db: Engine) -> None:
        self._url = db.url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._dialect = db.dialect
        self._sql: dict[TextClause, str] = {}

    async def insert(self, arrivals: Sequence[Arrival]) -> list[Stored]:
        """Returns once the rows are committed. Raises psycopg.Error.

        A connection that died since its last use is no reason to refuse anybody: another one is tried. Should the
        first have committed after all, the second finds duplicates.
        """
        used = self._connection is not None
        try:
            return await self._insert(arrivals)
        except psycopg.OperationalError:
            if not used or self._connection is not None:
                raise
        return await self._insert(arrivals)

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    async def _insert(self, arrivals: Sequence[Arrival]) -> list[Stored]:
        steps = storing(arrivals)
        rows: Rows | None = None
        while True:
            try:
                statement, given = next(steps) if rows is None else steps.send(rows)
            except StopIteration as end:
                stored: list[Stored] = end.value
                return stored
            rows = await self._rows(statement, given)

    async def _rows(self, statement: TextClause, given: dict[str, Any]) -> Rows:
        if self._connection is None:
            self._connection = await psycopg.AsyncConnection.connect(self._url, autocommit=True, **CONNECT)
            await self._connection.execute(LOCK_TIMEOUT)
        sql = self._sql.get(statement)
        if sql is None:
            sql = self._sql[statement] = str(statement.compile(dialect=self._dialect))
        try:
            return await (await self._connection.execute(sql, given)).fetchall()
        finally:
            if self._connection.closed:
                self._connection = None
