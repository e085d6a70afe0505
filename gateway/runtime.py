"""What does a process of ours hold in its hands: stores, plugins, configuration, the way out?"""

import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy import Engine

from gateway import client, registry
from gateway.clock import utc_now
from gateway.governor import Governor
from gateway.model.connection import ApiSettings, Connection, RateLimit
from gateway.pacing import Pacing
from gateway.redaction import secret_values
from gateway.registry import Registry
from gateway.settings import Settings
from gateway.store import database
from gateway.store.secrets import Keyring
from gateway.store.tenants import Directory


@dataclass(slots=True, eq=False)
class Runtime:
    """Built once per process; everything in it may be used from several threads.

    `redis` gives up soon; `queues` is for workers, which wait on it for jobs.
    """

    settings: Settings
    db: Engine
    redis: Redis
    queues: Redis
    registry: Registry
    keyring: Keyring
    directory: Directory
    http: httpx.Client
    clock: Callable[[], datetime] = utc_now
    stopping: threading.Event = field(default_factory=threading.Event)
    _governors: dict[tuple[str, RateLimit], Governor] = field(default_factory=dict)

    def governor(self, connection: Connection[Any], api: ApiSettings) -> Governor:
        """The shared budget of this connection."""
        return self._governor(f"{connection.tenant}:{connection.name}", api.rate)

    def channel_governor(self, tenant: str, channel: str, rate: RateLimit) -> Governor:
        """The shared pace of this channel for notices."""
        return self._governor(f"{tenant}:channel:{channel}", rate)

    def _governor(self, key: str, rate: RateLimit) -> Governor:
        found = self._governors.get((key, rate))
        if found is None:
            found = self._governors[key, rate] = Governor(self.redis, key, rate)
        return found

    def api_settings(self, connection: Connection[Any]) -> ApiSettings | None:
        """How the vendor's API is reached; None for vendors that only send."""
        settings: ApiSettings | None = self.registry.ask(
            connection.vendor, "connect_api", connection=connection
        )
        return settings

    def api(
        self, connection: Connection[Any], settings: ApiSettings, trace_id: str, pace: Pacing | None = None,
        patience: float = 10.0,
    ) -> client.ApiClient:  # fmt: skip
        """A client for one piece of work, paced by what was granted for it or else by the connection's governor.

        :param patience: seconds that a call may wait for its turn
        """
        return client.ApiClient(
            connection,
            settings,
            http=self.http,
            governor=pace or self.governor(connection, settings),
            explain=lambda answer: self.registry.ask(connection.vendor, "explain_error", response=answer),
            trace_id=trace_id,
            secrets=secret_values(connection.settings),
            patience=patience,
        )

    def close(self) -> None:
        self.redis.close()
        self.queues.close()
        self.db.dispose()


def connect_redis(url: str, *, patience: float | None = 2.0) -> Redis:
    """Fails fast: the row in PostgreSQL is the truth, so nothing waits long for Redis."""
    return Redis.from_url(url, socket_connect_timeout=2, socket_timeout=patience, retry=Retry(NoBackoff(), 0))


def start(settings: Settings, database_url: str, redis_url: str, keys: tuple[str, ...]) -> Runtime:
    """Raises GatewayError when a plugin cannot be loaded or a key is wrong; the stores are reached lazily."""
    plugins = registry.load()
    keyring = Keyring(keys)
    return Runtime(
        settings=settings,
        db=database.engine(database_url),
        redis=connect_redis(redis_url),
        queues=connect_redis(redis_url, patience=None),
        registry=plugins,
        keyring=keyring,
        directory=Directory(plugins, keyring),
        http=client.http_client(allow_private=settings.allow_private_targets),
    )


Closing = closing[Runtime]
"""`with Closing(start(...)) as runtime:`"""
