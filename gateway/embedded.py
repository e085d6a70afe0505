"""Where are PostgreSQL and Redis, and will they do? What nobody has named comes from wheels."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from gateway.model.errors import GatewayError, InvalidConfiguration

if TYPE_CHECKING:  # the keeper runs from here too, and is to stay small
    from gateway.settings import Settings

POSTGRES_MIN = 14
REDIS_MIN = 5  # https://python-rq.org/docs/: "Redis >= 5 or Valkey >= 7.2"
CONNECT_SECONDS = 5

DATABASE_URL_FORM = (
    "GATEWAY_DATABASE_URL must look like postgresql://user:password@host:5432/database "
    "(in the password, write @ as %40, / as %2F, : as %3A)"
)
REDIS_URL_FORM = (
    "GATEWAY_REDIS_URL must look like redis://user:password@host:6379/0, rediss://... or unix:///path "
    "(in the password, write @ as %40, / as %2F, : as %3A)"
)

Finding = tuple[str, str]
"""(`ok` or `warning`, text for a person)."""


class Away(GatewayError):
    """A store does not answer now; it may later."""


@dataclass(frozen=True, slots=True)
class Stores:
    """Where the two stores of this installation are."""

    database_url: str
    redis_url: str

    def environment(self) -> dict[str, str]:
        """What a child process needs in its environment to use these same stores."""
        return {"GATEWAY_DATABASE_URL": self.database_url, "GATEWAY_REDIS_URL": self.redis_url}


@contextmanager
def stores(settings: "Settings") -> Iterator[Stores]:
    """The stores that the settings name; what they do not name runs embedded for as long as this is entered.

    The embedded servers of a data dir are shared: if another command runs them, they are used, and they stop
    when the last command has ended. They are restarted when they crash, at the same URLs. Raises GatewayError
    with the reason, and with the two variables to set instead, when they cannot run here.
    """
    named = {"postgres": settings.database_url, "valkey": settings.redis_url}
    missing = [part for part, url in named.items() if not url]
    if not missing:
        yield Stores(settings.database_url, settings.redis_url)
        return
    if os.name != "posix":
        raise GatewayError(
            f"no embedded servers run on {sys.platform}: set GATEWAY_DATABASE_URL and GATEWAY_REDIS_URL"
        )
    from gateway.keeper import Lease

    with Lease(settings.data_dir, missing) as run:
        yield Stores(settings.database_url or run["database_url"], settings.redis_url or run["redis_url"])


def secret_keys(settings: "Settings") -> tuple[str, ...]:
    """The Fernet keys of this installation, the first one encrypts.

    They come from GATEWAY_SECRET_KEYS, or else from the lines of `secret.key` in the data dir, which is made
    on first use where a store is embedded. Raises InvalidConfiguration when there is none and
    none may be made.
    """
    if settings.secret_keys:
        return tuple(key.get_secret_value() for key in settings.secret_keys)
    path = settings.data_dir / "secret.key"
    try:
        if settings.embedded and not path.exists():
            _make_key(path)
        keys = tuple(path.read_text().split())
    except FileNotFoundError:
        raise InvalidConfiguration(
            "GATEWAY_SECRET_KEYS is not set. Make a key, and keep it as safe as the database: python -c "
            "'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'"
        ) from None
    except OSError as error:
        raise GatewayError(f"{path} cannot be used: {error.strerror}") from None
    if not keys:
        raise InvalidConfiguration(f"{path} is empty: put back the key that sealed the stored secrets")
    return keys


def _make_key(path: Path) -> None:
    from cryptography.fernet import Fernet

    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, fresh = tempfile.mkstemp(prefix="secret.key.", dir=path.parent)  # mode 0600
    with open(descriptor, "wb") as file:
        file.write(Fernet.generate_key() + b"\n")
        file.flush()
        os.fsync(descriptor)
    with suppress(FileExistsError):  # another command was quicker: its key is the one
        os.link(fresh, path)
    os.unlink(fresh)


def check_database(url: str) -> None:
    """Raises GatewayError, in one line without the password, unless a PostgreSQL answers that will do."""
    import psycopg

    plain = url.replace("postgresql+psycopg://", "postgresql://", 1)
    try:
        named = psycopg.conninfo.conninfo_to_dict(plain)
    except psycopg.ProgrammingError:
        raise InvalidConfiguration(DATABASE_URL_FORM) from None
    host, port = str(named.get("host", "localhost")), str(named.get("port", "5432"))
    if "@" in host or not port.replace(",", "").isdigit():  # part of a password may have ended up in there
        raise InvalidConfiguration(DATABASE_URL_FORM)
    where = f"PostgreSQL at {host}:{port}, database {named.get('dbname', named.get('user', ''))}"
    try:
        with psycopg.connect(plain, connect_timeout=CONNECT_SECONDS) as connection:
            version = connection.info.server_version // 10_000
            encoding = connection.info.parameter_status("server_encoding")
    except (psycopg.Error, OSError) as error:
        raise GatewayError(f"{where} cannot be used: {_first_line(error)}") from None
    if version < POSTGRES_MIN:
        raise GatewayError(f"{where} is version {version}; version {POSTGRES_MIN} or newer is needed")
    if encoding != "UTF8":
        raise GatewayError(
            f"{where} has the encoding {encoding}; make one with CREATE DATABASE ... ENCODING 'UTF8'"
        )


def check_redis(url: str) -> list[Finding]:
    """What a person should know about this Redis or Valkey.

    Raises GatewayError, in one line without the password, when it does not answer or may drop our keys.
    """
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    try:
        client = redis.Redis.from_url(
            url,
            socket_connect_timeout=CONNECT_SECONDS,
            socket_timeout=CONNECT_SECONDS,
            retry=Retry(NoBackoff(), 0),
            decode_responses=True,
        )
    except ValueError:
        raise InvalidConfiguration(REDIS_URL_FORM) from None
    named = urlsplit(url)
    where = f"Redis at {named.path if named.scheme == 'unix' else f'{named.hostname}:{named.port or 6379}'}"
    try:
        with client:
            client.ping()
            return _findings(client, where)
    except (redis.RedisError, OSError) as error:
        away = isinstance(error, redis.ConnectionError | redis.TimeoutError | OSError)
        refused = isinstance(error, redis.AuthenticationError)
        kind = Away if away and not refused else GatewayError
        raise kind(f"{where} cannot be used: {_first_line(error)}") from None


def _findings(client: Any, where: str) -> list[Finding]:
    import redis

    try:
        info = client.info()
    except redis.ResponseError:
        return [
            ("warning", f"{where}: could not check its version, memory policy and persistence (INFO refused)")
        ]
    version, policy = str(info["redis_version"]), info.get("maxmemory_policy")
    if int(version.partition(".")[0]) < REDIS_MIN:
        raise GatewayError(
            f"{where} is version {version}; Redis {REDIS_MIN} or Valkey 7.2, or newer, is needed"
        )
    if policy not in {"noeviction", None}:
        raise GatewayError(
            f"{where} has maxmemory-policy {policy}, it must be noeviction: otherwise keys of queued jobs "
            "may vanish (the sweep would enqueue them again, but rate budgets would be lost)"
        )
    findings = (
        [("warning", f"{where}: could not check its memory policy; it must be noeviction")]
        if not policy
        else []
    )
    if not info.get("aof_enabled"):
        findings += _without_append_only(client, where)
    return findings or [("ok", f"{where}: version {version}, noeviction, kept on disk")]


def _without_append_only(client: Any, where: str) -> list[Finding]:
    import redis

    try:
        save = client.config_get("save").get("save")
    except redis.ResponseError:
        return [("warning", f"{where}: could not check whether it keeps its data on disk (CONFIG refused)")]
    if save:
        return []
    return [
        (
            "warning",
            f"{where} keeps nothing on disk (appendonly no, save empty): when it restarts, the sweep "
            "enqueues the work again, but rate budgets are lost; set appendonly yes",
        )
    ]


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


if __name__ == "__main__":
    from gateway.keeper import main

    sys.exit(main(sys.argv[1:]))
