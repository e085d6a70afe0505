"""Which connection is this webhook for? The configuration, kept in memory and never more than a second old."""

import asyncio
import time
from typing import Any

import structlog

from gateway.model.connection import Connection
from gateway.runtime import Runtime

log = structlog.get_logger(__name__)

MAX_AGE = 1.0


class Directory:
    """Reads the configuration again in the background, and at once when an address or a proof is not known."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._checked = 0.0
        self._reading = asyncio.Lock()

    @property
    def known(self) -> bool:
        return self._runtime.directory.known.version >= 0

    async def watch(self) -> None:
        while True:
            await self.refresh()
            await asyncio.sleep(MAX_AGE)

    async def refresh(self) -> None:
        """Take up what changed; while PostgreSQL is away the last known configuration stays."""
        async with self._reading:
            if time.monotonic() - self._checked < MAX_AGE / 2:
                return
            try:
                await asyncio.to_thread(self._read)
            except Exception as error:  # noqa: BLE001 - whatever it is, the last known configuration stays
                log.warning(
                    "configuration_not_read", error=str(error).splitlines()[0] if str(error) else repr(error)
                )
            self._checked = time.monotonic()

    def _read(self) -> None:
        with self._runtime.db.connect() as db:
            self._runtime.directory.current(db)

    async def connection(self, tenant: str, name: str) -> Connection[Any] | None:
        found = self._runtime.directory.known.connection(tenant, name)
        if found is None:
            await self.refresh()
            found = self._runtime.directory.known.connection(tenant, name)
        return found

    async def newer(self, connection: Connection[Any]) -> Connection[Any] | None:
        """The connection as it is now, if that is not how we knew it."""
        await self.refresh()
        found = self._runtime.directory.known.connection(connection.tenant, connection.name)
        return found if found is not connection else None
