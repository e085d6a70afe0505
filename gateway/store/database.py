"""How is PostgreSQL reached, and is its schema the one this code was written for?"""

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from gateway.model.errors import GatewayError

MIGRATIONS = Path(__file__).parent / "migrations"
MIGRATION_LOCK = 7_271_001

CONNECT: dict[str, Any] = {
    "connect_timeout": 5,
    "application_name": "helpdesk-gateway",
    "prepare_threshold": 2,
}

_NUL = re.compile(r"((?<!\\)(?:\\\\)*)\\u0000")
_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def to_text(value: Any) -> str:
    """JSON that PostgreSQL takes."""
    return cleaned(_dumps(value))


def cleaned(encoded: str) -> str:
    """JSON without what PostgreSQL refuses in it and vendors do send: NUL and lone surrogates."""
    if "\\u0000" in encoded:  # the expression alone costs several times as much as the encoding
        encoded = _NUL.sub(r"\1\\ufffd", encoded)
    return storable(encoded)


def storable(text: str) -> str:
    """The same text without what PostgreSQL cannot keep; only damaged text is changed."""
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def engine(url: str, *, pool_size: int = 4) -> Engine:
    """An engine on psycopg 3. `postgresql://` and `postgres://` URLs are taken as they come."""
    for scheme in ("postgresql://", "postgres://"):
        if url.startswith(scheme):
            url = "postgresql+psycopg://" + url.removeprefix(scheme)
    return create_engine(
        url,
        pool_size=pool_size,
        max_overflow=8,
        pool_timeout=5,
        pool_pre_ping=False,
        json_serializer=to_text,
        connect_args=CONNECT,
    )


def is_away(error: Exception) -> bool:
    """Could the same be done a little later? Then the store is at fault; else it is what the store was given.

    PostgreSQL counts a value that is too long for an index, or too complex, among its own troubles (class 54).
    """
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(error, OperationalError | psycopg.OperationalError):
        return not (getattr(cause, "sqlstate", None) or "").startswith("54")
    return isinstance(error, InterfaceError | PoolTimeout | psycopg.InterfaceError)


def migrate(db: Engine) -> tuple[str | None, str]:
    """Bring the schema up to date; returns the revision before and after. Two at once take turns.

    Raises GatewayError when a newer version has migrated it already.
    """
    # Only here: servers and workers would each hold seven megabytes of Alembic that they never use.
    import alembic.command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with db.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
        connection.commit()
        try:
            before = _revision(connection)
            _check_known(before)
            config.attributes["connection"] = connection
            alembic.command.upgrade(config, "head")
            connection.commit()
            return before, head()
        finally:
            connection.rollback()
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": MIGRATION_LOCK})
            connection.commit()


def head() -> str:
    """The revision that this code needs."""
    if not revisions():
        raise GatewayError("this installation has no database migrations; install it again")
    return revisions()[-1]


@lru_cache(maxsize=1)
def revisions() -> tuple[str, ...]:
    """All that this code knows, oldest first: what the files in `migrations/versions` begin with."""
    return tuple(sorted(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*.py")))


def revision(db: Engine) -> str | None:
    """The revision that the database has."""
    with db.connect() as connection:
        return _revision(connection)


def check_schema(db: Engine) -> None:
    """Raises GatewayError when the database is unreachable or its schema is not this code's."""
    try:
        found = revision(db)
    except OperationalError as error:
        raise GatewayError(f"PostgreSQL does not answer: {first_line(error)}") from None
    if found != head():
        _check_known(found)
        raise GatewayError(
            f"the database is at revision {found or 'none'}, this code needs {head()}: run `gateway migrate`"
        )


def _check_known(found: str | None) -> None:
    if found is not None and found not in revisions():
        raise GatewayError(
            f"the database is at revision {found}, which this version does not know: install a newer one"
        )


def _revision(connection: Any) -> str | None:
    if connection.execute(text("SELECT to_regclass('alembic_version')")).scalar_one() is None:
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def first_line(error: Exception) -> str:
    """What went wrong, in one line, and without what was being written."""
    cause = getattr(error, "orig", None) or error
    return next(iter(str(cause).strip().splitlines()), repr(cause))
