"""The verbs of the configuration: apply, export, tenants, connections."""

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from gateway import configuration, registry, tenants_file
from gateway.model.errors import GatewayError, InvalidConfiguration
from gateway.runtime import Runtime
from gateway.store.tenants import Configuration

from .app import AsJson, InTenant, app, err, fail, opened, out, print_json, show

connections = typer.Typer(help="The tenants' accounts at vendors.", invoke_without_command=True)
app.add_typer(connections, name="connections")

OneTenant = Annotated[str | None, typer.Option("--tenant", "-t", help="Only this tenant.")]
STYLES = {"+": "green", "-": "red", "~": "yellow"}


@app.command()
def apply(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The tenants.yaml.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
) -> None:
    """Make the configuration what FILE says, all of it or, if anything is wrong, nothing.

    Tenants, and parts of a tenant, that the file does not mention stay as they are. `connections` and
    `channels`, where they are mentioned, are complete lists: what is missing there is removed. Of `rules`,
    those that are not named stay. A connection's secrets may be `{env: NAME}`, `{file: PATH}` (from the
    file's own folder) or, while they rotate, a list of these.
    """
    try:
        reading = tenants_file.read(file.read_bytes(), file.parent, os.environ, registry.load())
    except InvalidConfiguration as error:
        refuse(error, f"{file.name}: ")
    except OSError as error:
        fail(f"{file} cannot be read: {error.strerror}")
    for note in reading.notes:
        err.print(f"{file.name}: {note}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    with opened() as gateway, configuration.changing(gateway.db) as db:
        before = configuration.stored(db, gateway.keyring)
        after = configuration.merged(before, reading.tenants)
        try:
            configuration.check_references(gateway.registry, after, reading.tenants)
        except InvalidConfiguration as error:
            refuse(error, f"{file.name}: ")
        changes = configuration.diff(before, after)
        if not dry_run:
            configuration.save(db, before, after, gateway.registry, gateway.keyring)
    show_changes(changes)
    if changes:
        number = "1 change" if len(changes) == 1 else f"{len(changes)} changes"
        out.print(f"dry run: {number}, nothing applied" if dry_run else f"applied: {number}", highlight=False)


@app.command()
def export(tenant: OneTenant = None) -> None:
    """Write the configuration as a tenants.yaml, with `{env: NAME}` in place of secrets."""
    with opened() as gateway, gateway.db.connect() as db:
        tree = configuration.stored(db, gateway.keyring)
    if tenant is not None:
        tree = {tenant: known_tenant(tree, tenant)}
    sys.stdout.write(configuration.export(tree))


@app.command()
def tenants(as_json: AsJson = False) -> None:
    """List the tenants."""
    with opened() as gateway:
        _, known = read(gateway)
    rows: list[dict[str, Any]] = [
        {
            "id": name,
            "name": company.tenant.name,
            "locale": company.tenant.locale,
            "timezone": company.tenant.timezone,
            "connections": sorted({*company.connections, *company.broken}),
            "channels": sorted(company.channels),
            "rules": sorted(company.rules.keys() - company.disabled),
        }
        for name, company in sorted(known.companies.items())
    ]
    columns = ("id", "name", "locale", "timezone", "connections", "channels", "rules")
    if not as_json:
        rows = [row | {key: len(row[key]) for key in columns[4:]} for row in rows]
    show(rows, columns, as_json=as_json, empty="no tenants yet: gateway apply tenants.yaml")


@connections.callback()
def list_connections(context: typer.Context, tenant: OneTenant = None, as_json: AsJson = False) -> None:
    """List the connections, their vendors and the paths for their webhooks."""
    if context.invoked_subcommand is not None:
        return
    with opened() as gateway:
        tree, known = read(gateway)
    chosen = tree if tenant is None else {tenant: known_tenant(tree, tenant)}
    rows = [
        {
            "tenant": owner,
            "name": name,
            "vendor": entry["vendor"],
            "webhooks": f"/hooks/{owner}/{name}",
            "error": known.companies[owner].broken.get(name),
        }
        for owner, part in chosen.items()
        for name, entry in part["connections"].items()
    ]
    columns = ("tenant", "name", "vendor", "webhooks", "error")
    show(rows, columns, as_json=as_json, empty="no connections yet: gateway apply tenants.yaml")


@connections.command("show")
def show_connection(name: str, tenant: InTenant, as_json: AsJson = False) -> None:
    """Show a connection: settings, which secrets it has, and how its vendor's API may be called right now."""
    with opened() as gateway:
        tree, known = read(gateway)
        found = known_tenant(tree, tenant)["connections"]
        if name not in found:
            raise GatewayError(
                f"tenant {tenant} has no connection {name!r}; it has: {', '.join(found) or 'none'}"
            )
        entry = found[name]
        secrets = entry.get("secrets", {})
        row = {
            "tenant": tenant,
            "name": name,
            "vendor": entry["vendor"],
            "webhooks": f"/hooks/{tenant}/{name}",
            "error": known.companies[tenant].broken.get(name),
            "settings": entry.get("settings", {}),
            "secrets": sorted(secrets) if isinstance(secrets, dict) else None,
            "api": _api(gateway, known, tenant, name),
        }
    if as_json:
        print_json(row)
        return
    lines = [{"": key, " ": value} for key, value in row.items() if key not in {"settings", "secrets", "api"}]
    lines += [{"": f"settings.{key}", " ": value} for key, value in row["settings"].items()]
    lines += [{"": f"secrets.{key}", " ": "(secret)"} for key in row["secrets"] or ()]
    lines += [{"": f"api.{key}", " ": value} for key, value in (row["api"] or {}).items()]
    show(lines, ("", " "), as_json=False, empty="")


def _api(gateway: Runtime, known: Configuration, tenant: str, name: str) -> dict[str, Any] | None:
    """Where the API is, and the shared budget and breaker; None for vendors that only send."""
    connection = known.connection(tenant, name)
    api = gateway.api_settings(connection) if connection else None
    if connection is None or api is None:
        return None
    state = gateway.governor(connection, api).state()
    for key in ("paused_until", "open_until"):
        if state[key] is not None:
            state[key] = datetime.fromtimestamp(state[key], UTC)
    return {"base_url": api.base_url, **state}


# --- shared with the verbs of rules -------------------------------------------------------------------------


def read(gateway: Runtime) -> tuple[configuration.Tree, Configuration]:
    """What is stored, and what the processes make of it."""
    with gateway.db.connect() as db:
        return configuration.stored(db, gateway.keyring), gateway.directory.current(db)


def known_tenant(tree: configuration.Tree, tenant: str) -> configuration.Tree:
    """Raises GatewayError for a tenant that is not there."""
    if tenant not in tree:
        raise GatewayError(f"no tenant {tenant!r}; there are: {', '.join(tree) or 'none'}")
    found: configuration.Tree = tree[tenant]
    return found


def show_changes(changes: list[str]) -> None:
    for line in changes:
        out.print(line, style=STYLES[line[0]], markup=False, highlight=False, soft_wrap=True)
    if not changes:
        out.print("nothing to change")


def refuse(error: InvalidConfiguration, prefix: str = "") -> NoReturn:
    """Each problem in a line of its own, and out."""
    *first, last = str(error).splitlines()
    for line in first:
        err.print(f"gateway: {prefix}{line}", style="red", markup=False, highlight=False, soft_wrap=True)
    fail(f"{prefix}{last}")
