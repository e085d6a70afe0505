"""The verbs of the configuration: apply, export, tenants, connections."""

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from gateway import configuration, jobs, registry, sources, tenants_file
from gateway.model.errors import GatewayError, InvalidConfiguration
from gateway.pipeline import reconcile
from gateway.runtime import Runtime
from gateway.store import reconciliations
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
            "traffic": sources.described(gateway, (tenant, name)),
            "reconciliation": _reconciliation(gateway, (tenant, name)),
        }
    if as_json:
        print_json(row)
        return
    parts = ("api", "traffic", "reconciliation")
    lines = [{"": key, " ": row[key]} for key in row if key not in {"settings", "secrets", *parts}]
    lines += [{"": f"settings.{key}", " ": value} for key, value in row["settings"].items()]
    lines += [{"": f"secrets.{key}", " ": "(secret)"} for key in row["secrets"] or ()]
    for part in parts:
        lines += [{"": f"{part}.{key}", " ": value} for key, value in (row[part] or {}).items()]
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


def _reconciliation(gateway: Runtime, name: tuple[str, str]) -> dict[str, Any] | None:
    """How far the vendor's list was gone through, and what it had never told; None where it cannot be asked."""
    with gateway.db.connect() as db:
        row = reconciliations.of(db, name)
    return {
        "missed": row.missed,
        "last_missed_at": row.missed_at,
        "looked_until": row.looked_until,
        "next_at": row.next_at,
        "last_listed": row.listed,
        "last_queued": row.queued,
        "error": row.error,
    } if row is not None else None  # fmt: skip


@connections.command("reconcile")
def reconcile_connection(
    name: str,
    tenant: InTenant,
    since: Annotated[datetime | None, typer.Option(help="Go back so far (UTC).")] = None,
    as_json: AsJson = False,
) -> None:
    """Ask the vendor now which tickets changed, and have those read whose webhook never came."""
    with opened() as gateway:
        tree, known = read(gateway)
        if name not in known_tenant(tree, tenant)["connections"]:
            raise GatewayError(f"tenant {tenant} has no connection {name!r}")
        connection = known.connection(tenant, name)
        if connection is None or not reconcile.can_be_asked(gateway, connection):
            raise GatewayError(f"{tenant}/{name} cannot be asked what changed")
        start = since.replace(tzinfo=UTC) if since is not None and since.tzinfo is None else since
        look = reconcile.reconcile(gateway, tenant, name, start)
        if look is None:
            raise GatewayError(f"{tenant}/{name} is being gone through already; see gateway connections show")
        jobs.enqueue_collect(gateway, tenant, name, look.queued)
    row = {
        "since": look.since, "listed": look.listed, "queued": len(look.queued), "whole": look.whole,
        "error": look.error,
    }  # fmt: skip
    show([row], tuple(row), as_json=as_json, empty="")
    if look.error:
        raise typer.Exit(1)


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
