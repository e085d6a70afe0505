"""The verb that checks everything an operator would: doctor."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated

import typer
from rich.text import Text

from gateway import doctor as checks
from gateway import embedded, logs, runtime
from gateway.doctor import Finding
from gateway.model.errors import GatewayError, InvalidConfiguration
from gateway.settings import Settings, read_settings
from gateway.store import database

from .app import AsJson, app, out, print_json

STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@app.command()
def doctor(
    offline: Annotated[bool, typer.Option("--offline", help="Ask no vendor.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check everything that can be wrong, and say what to do. Exit code 1 when anything fails."""
    found = []
    for finding in findings(offline=offline):
        found.append(finding)
        if not as_json:
            _print(finding)
    if as_json:
        print_json([asdict(finding) for finding in found])
    if any(finding.level == "fail" for finding in found):
        raise typer.Exit(1)


def findings(*, offline: bool) -> Iterator[Finding]:
    """From the environment to the vendors; what cannot be reached ends the list early."""
    try:
        chosen = read_settings()
    except InvalidConfiguration as error:
        yield Finding("settings", "fail", str(error), "mend these variables")
        return
    logs.configure(chosen.log_format, "error")
    first = list(checks.of_environment(chosen))
    yield from first
    try:
        with embedded.stores(chosen) as stores:
            yield from _with_stores(chosen, stores, first, offline=offline)
    except GatewayError as error:
        yield Finding("stores", "fail", str(error), "see above")


def _with_stores(
    chosen: Settings, stores: embedded.Stores, so_far: list[Finding], *, offline: bool
) -> Iterator[Finding]:
    if chosen.embedded:  # as every other command does
        engine = database.engine(stores.database_url)
        database.migrate(engine)
        engine.dispose()
    of_stores = list(checks.of_stores(stores))
    yield from of_stores
    if any(finding.level == "fail" for finding in [*so_far, *of_stores]):
        return
    try:
        keys = embedded.secret_keys(chosen)
        started = runtime.start(chosen, stores.database_url, stores.redis_url, keys)
    except GatewayError as error:
        yield Finding("plugins", "fail", str(error), "install the plugin again, or remove it")
        return
    with runtime.Closing(started):
        number = f"{len(started.registry.vendors)} vendors and {len(started.registry.rules)} rules"
        yield Finding("plugins", "ok", f"{number} are installed")
        yield from checks.of_installation(started, offline=offline)


def _print(finding: Finding) -> None:
    level = (f"{finding.level:4} ", STYLES[finding.level])
    whole = not out.is_terminal  # a file or a pipe keeps its lines
    out.print(Text.assemble(level, (f"{finding.name}: ", "bold"), finding.text), soft_wrap=whole)
    if finding.do:
        out.print(Text(f"     -> {finding.do}"), soft_wrap=whole)
