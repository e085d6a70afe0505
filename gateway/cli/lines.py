"""What do the verbs for looking share: their options, and things shown line by line?"""

import json
from collections.abc import Iterable
from typing import Annotated, Any

import typer
from rich.padding import Padding
from rich.text import Text
from sqlalchemy import Row

from gateway.model.errors import GatewayError

from .app import out, print_json

OneTenant = Annotated[str | None, typer.Option("--tenant", "-t", help="Only this tenant.")]
OneConnection = Annotated[str | None, typer.Option("--connection", "-c", help="Only this connection.")]
OneTicket = Annotated[
    str | None, typer.Option("--ticket", help="Only about this ticket; needs --tenant and --connection.")
]
Limit = Annotated[int, typer.Option(help="At most so many.", min=1, max=10_000)]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def fields(values: dict[str, Any]) -> None:
    width = max((len(name) for name in values), default=0)
    for name, value in values.items():
        if value is None:
            continue
        shown = (
            json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, dict | list) else value
        )
        line(f"{name:<{width}}  {shown}")


def heading(text: str) -> None:
    out.print(f"\n{text}", style="bold", markup=False, highlight=False)


def line(text: str) -> None:
    out.print(text, markup=False, highlight=False, soft_wrap=True)


def lines(found: Iterable[tuple[int, str, str]]) -> None:
    """Depth, text, style of each. A terminal gets them wrapped and indented; a file or a pipe keeps them whole."""
    for depth, words, style in found:
        text = Text(words, style=style)
        if out.is_terminal:
            out.print(Padding(text, (0, 0, 0, 2 * depth), expand=False))
        else:
            out.print(Text("  " * depth) + text, soft_wrap=True)


def found_or_fail(row: Row[Any] | None, what: str) -> Row[Any]:
    if row is None:
        raise GatewayError(f"there is no {what}")
    return row


def owner(tenant: str | None, connection: str | None) -> tuple[str, str]:
    if tenant is None or connection is None:
        raise typer.BadParameter("--ticket needs --tenant and --connection: ids are theirs")
    return tenant, connection


def one_of(value: str | None, known: Iterable[str], option: str) -> None:
    if value is not None and value not in known:
        raise typer.BadParameter(f"{option} is one of {', '.join(known)}")


def ask(question: str, *, yes: bool) -> None:
    if not yes:
        typer.confirm(f"{question} Go on?", abort=True, err=True)


def done(text: str, data: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(data)
    else:
        line(text)


def number(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
