"""What do all verbs share: the application, a runtime on the right stores, and how things are printed?"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from typing import Annotated, Any, NoReturn
from uuid import UUID

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy.exc import DBAPIError, OperationalError

from gateway import embedded, logs, runtime
from gateway.model.errors import GatewayError
from gateway.runtime import Runtime
from gateway.settings import Settings, settings
from gateway.store import database

app = typer.Typer(
    name="gateway",
    help="Helpdesk webhooks in, rules decide, vendors called. Nothing lost, nothing twice.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

out = Console()
err = Console(stderr=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
InTenant = Annotated[str, typer.Option("--tenant", "-t", help="The tenant's id.")]


def fail(message: str, code: int = 1) -> NoReturn:
    """One line on stderr, and out."""
    err.print(
        f"gateway: {' '.join(message.split())}", style="red", markup=False, highlight=False, soft_wrap=True
    )
    sys.exit(code)


@contextmanager
def opened(*, migrated: bool = True) -> Iterator[Runtime]:
    """A runtime on the stores that the environment names, or on the embedded ones. Store errors become one line."""
    chosen = quiet_settings()
    with embedded.stores(chosen) as stores:
        started = runtime.start(chosen, stores.database_url, stores.redis_url, embedded.secret_keys(chosen))
        try:
            if chosen.embedded:
                database.migrate(started.db)
            elif migrated:
                database.check_schema(started.db)
            yield started
        except OperationalError as error:
            raise GatewayError(f"PostgreSQL does not answer: {first_line(error)}") from None
        except DBAPIError as error:
            raise GatewayError(f"PostgreSQL refused: {first_line(error)}") from None
        finally:
            started.close()


def quiet_settings() -> Settings:
    """The settings, with the log set up for a command: only warnings reach the terminal."""
    chosen = settings()
    logs.configure(chosen.log_format, "warning" if chosen.log_level == "info" else chosen.log_level)
    return chosen


def first_line(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).strip().splitlines()[0]


def show(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool, empty: str) -> None:
    """A table of these columns, or all of the rows as JSON."""
    if as_json:
        print_json(list(rows))
        return
    if not rows:
        out.print(empty, style="dim")
        return
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(plain(row.get(column)) for column in columns))
    out.print(table)


def plain(value: Any) -> str:
    """A value as a cell: nothing for None, seconds for moments, no markup."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case datetime():
            return value.strftime("%Y-%m-%d %H:%M:%S")
        case list() | tuple() | dict():
            return json.dumps(value, ensure_ascii=False, default=str)
    return str(value).replace("[", "\\[")


def print_json(value: Any) -> None:
    json.dump(value, sys.stdout, ensure_ascii=False, indent=2, default=_jsonable)
    sys.stdout.write("\n")


def _jsonable(value: Any) -> Any:
    match value:
        case datetime() | date():
            return value.isoformat()
        case UUID():
            return str(value)
        case bytes():
            return value.decode("utf-8", "replace")
        case set() | frozenset():
            return sorted(value)
    return str(value)
