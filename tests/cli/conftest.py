"""The real `gateway` command in this process, on a database and a Valkey of the test's own."""

import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import Table, select

from gateway import registry
from gateway.cli import main
from gateway.cli.config import out
from gateway.settings import settings
from gateway.store import database
from gateway.store.secrets import Keyring
from gateway.store.tenants import Company, Directory

KEY = Fernet.generate_key().decode()

TENANTS = """\
tenants:
  acme:
    name: Acme Ltda
    locale: pt-BR
    timezone: America/Sao_Paulo
    connections:
      movidesk:
        vendor: movidesk
        settings: {base_url: "https://api.movidesk.com/public/v1", person_id: "gateway", subdomain: acme}
        secrets: {token: {env: MOVIDESK_TOKEN}, hook_key: {env: MOVIDESK_HOOK_KEY}}
      zendesk:
        vendor: zendesk
        settings: {subdomain: acme}
        secrets: {oauth_token: {file: keys/zendesk}, signing_secret: [{env: NEW_SECRET}, {env: OLD_SECRET}]}
    channels:
      sem_contato_agendamento: {url: {env: SLACK_URL}}
    rules:
      core_ticket_on_payment: {enabled: true, settings: {connection: movidesk, team: "GR"}}
"""
SECRETS = {
    "MOVIDESK_TOKEN": "example-movidesk-token",
    "MOVIDESK_HOOK_KEY": "example-hook-key",
    "NEW_SECRET": "example-new-signing",
    "OLD_SECRET": "example-old-signing",
    "SLACK_URL": "slack://ExampleA/ExampleB/ExampleC",
}
IN_FILE = "example-zendesk-oauth"


@pytest.fixture
def key() -> str:
    """The one in GATEWAY_SECRET_KEYS."""
    return KEY


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


@pytest.fixture
def command(
    database_url: str,
    redis_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Callable[..., Ran]]:
    """`command("apply", "tenants.yaml")`, run in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GATEWAY_DATABASE_URL", database_url)
    monkeypatch.setenv("GATEWAY_REDIS_URL", redis_url)
    monkeypatch.setenv("GATEWAY_SECRET_KEYS", KEY)
    monkeypatch.setattr(out, "_width", 200)  # no line of a table is folded
    handlers, level = logging.getLogger().handlers[:], logging.getLogger().level

    def run(*arguments: str) -> Ran:
        settings.cache_clear()
        monkeypatch.setattr(sys, "argv", ["gateway", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Ran(int(ended.value.code or 0), captured.out, captured.err)

    yield run
    settings.cache_clear()
    logging.getLogger().handlers[:] = handlers
    logging.getLogger().setLevel(level)


@dataclass(frozen=True)
class Written:
    """A tenants.yaml in the folder of the test. `secrets` are all that it leads to, by what it calls them."""

    text: str
    path: Path
    secrets: dict[str, str]

    def write(self, text: str) -> None:
        self.path.write_text(text)

    def replace(self, was: str, now: str) -> None:
        assert was in self.text
        self.write(self.text.replace(was, now, 1))

    def leaked(self, printed: str) -> list[str]:
        return [value for value in self.secrets.values() if value in printed]


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Written:
    """tenants.yaml with one tenant, and what it refers to."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys/zendesk").write_text(IN_FILE + "\n")
    written = Written(TENANTS, tmp_path / "tenants.yaml", SECRETS | {"keys/zendesk": IN_FILE})
    written.write(TENANTS)
    return written


@pytest.fixture
def rows(database_url: str) -> Callable[..., list[list[dict[str, Any]]]]:
    """`rows(tables.tenants, ...)`: all rows of each."""

    def read(*tables: Table) -> list[list[dict[str, Any]]]:
        engine = database.engine(database_url)
        with engine.connect() as db:
            found = [[dict(row._mapping) for row in db.execute(select(table))] for table in tables]
        engine.dispose()
        return found

    return read


@pytest.fixture
def company(database_url: str) -> Callable[[], Company]:
    """Tenant acme, as a process would see it now."""

    def read() -> Company:
        engine = database.engine(database_url)
        with engine.connect() as db:
            found = Directory(registry.load(), Keyring([KEY])).current(db).companies["acme"]
        engine.dispose()
        return found

    return read
