"""Real parts for the tests: PostgreSQL and Valkey from wheels, started once a run; a fresh database for each test."""

import secrets
from collections.abc import Iterator

import pytest
from cryptography.fernet import Fernet
from redis import Redis
from sqlalchemy import text

from gateway import embedded, logs, runtime
from gateway.embedded import Stores
from gateway.runtime import Runtime
from gateway.settings import Settings
from gateway.store import database

logs.configure("console", "warning")

KEY = Fernet.generate_key().decode()


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    """The two embedded servers, with a migrated template database."""
    chosen = Settings(data_dir=tmp_path_factory.mktemp("data"), database_url="", redis_url="")
    with embedded.stores(chosen) as stores:
        administration = database.engine(stores.database_url)
        with administration.connect().execution_options(isolation_level="AUTOCOMMIT") as db:
            db.execute(text("CREATE DATABASE template"))
        template = database.engine(_named(stores.database_url, "template"))
        database.migrate(template)
        template.dispose()
        yield stores
        administration.dispose()


@pytest.fixture(scope="session")
def valkey_url(servers: Stores) -> str:
    return servers.redis_url


@pytest.fixture
def database_url(servers: Stores) -> Iterator[str]:
    """A database of this test's own, at the newest revision."""
    name = f"test_{secrets.token_hex(6)}"
    administration = database.engine(servers.database_url)
    with administration.connect().execution_options(isolation_level="AUTOCOMMIT") as db:
        db.execute(text(f"CREATE DATABASE {name} TEMPLATE template"))
        yield _named(servers.database_url, name)
        db.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    administration.dispose()


@pytest.fixture
def redis_url(valkey_url: str) -> str:
    """Valkey, emptied."""
    with Redis.from_url(valkey_url) as redis:
        redis.flushall()
    return valkey_url


@pytest.fixture
def gateway(database_url: str, redis_url: str) -> Iterator[Runtime]:
    """A runtime with everything installed, on fresh stores; private targets allowed, for sandboxes."""
    chosen = Settings(allow_private_targets=True, database_url=database_url, redis_url=redis_url)
    with runtime.Closing(runtime.start(chosen, database_url, redis_url, (KEY,))) as started:
        yield started


def _named(url: str, name: str) -> str:
    head, _, tail = url.partition("?")
    return f"{head.rpartition('/')[0]}/{name}" + (f"?{tail}" if tail else "")
