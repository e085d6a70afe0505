"""The verbs of what came in: deliveries list, show, replay."""

import json
from typing import Annotated, Any

import typer
from sqlalchemy import Row

from gateway import jobs
from gateway.model.errors import GatewayError
from gateway.redaction import Redactor, redact_headers, redact_url, secret_values
from gateway.runtime import Runtime
from gateway.store import deliveries as inbox
from gateway.store import history

from .app import AsJson, app, opened, out, print_json, show
from .lines import (
    Limit,
    OneConnection,
    OneTenant,
    OneTicket,
    Yes,
    ask,
    done,
    fields,
    found_or_fail,
    heading,
    line,
    number,
    one_of,
    owner,
)

deliveries = typer.Typer(
    help="What came in: list it, look at it, have it decided again.", no_args_is_help=True
)
app.add_typer(deliveries, name="deliveries")

BATCH = 500
BODY_SHOWN = 20_000

DeliveryId = Annotated[int, typer.Argument(metavar="DELIVERY_ID")]


@deliveries.command("list")
def list_deliveries(
    tenant: OneTenant = None,
    connection: OneConnection = None,
    state: Annotated[str | None, typer.Option(help="received, decided or parked.")] = None,
    ticket: OneTicket = None,
    limit: Limit = 50,
    before: Annotated[int | None, typer.Option(help="Only those before this id: the next page.")] = None,
    as_json: AsJson = False,
) -> None:
    """List deliveries, newest first. With --ticket: those that told news of it, wait or are parked."""
    one_of(state, ("received", "decided", "parked"), "--state")
    with opened() as gateway, gateway.db.connect() as db:
        if ticket is None:
            rows = history.deliveries_page(
                db, tenant=tenant, connection=connection, state=state, before=before, limit=limit
            )
        else:
            company, desk = owner(tenant, connection)
            rows = history.deliveries_of_ticket(
                db, company, desk, ticket, state=state, before=before, limit=limit
            )
        found = [_delivery_line(row) for row in rows]
    columns = ("id", "received_at", "tenant", "connection", "ticket", "state", "note")
    show(found, columns, as_json=as_json, empty="no deliveries")
    if len(found) == limit and not as_json:
        out.print(f"more: --before {found[-1]['id']}", style="dim", highlight=False)


@deliveries.command("show")
def show_delivery(
    id_: DeliveryId,
    tenant: OneTenant = None,
    full: Annotated[bool, typer.Option("--full", help="The whole body, however long.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show one delivery: headers (without secrets), body, error, notes, and what was read back."""
    with opened() as gateway, gateway.db.connect() as db:
        row = found_or_fail(history.delivery(db, id_, tenant), f"delivery {id_}")
        redactor = _redactor(gateway, db, row)
    body, is_json = _body(row.body, redactor)
    collected = (
        redactor.text(json.dumps(row.collected, ensure_ascii=False)) if row.collected is not None else None
    )
    found = history.as_dict(row) | {
        "headers": redact_headers(row.headers),
        "query": {name: redactor.text(value) for name, value in row.query.items()},
        "body": json.loads(body) if is_json else body,
        "collected": json.loads(collected) if collected is not None else None,
    }
    if as_json:
        print_json(found)
        return
    fields({name: value for name, value in found.items() if name not in {"headers", "body", "collected"}})
    heading("headers")
    fields(found["headers"])
    heading("body")
    line(_capped(body, full))
    if collected is not None:
        heading("read back from the vendor")
        line(_capped(json.dumps(found["collected"], ensure_ascii=False, indent=2), full))


@deliveries.command()
def replay(
    ids: Annotated[list[int] | None, typer.Argument(metavar="DELIVERY_ID...")] = None,
    parked: Annotated[bool, typer.Option("--parked", help="All that are parked; needs --tenant.")] = False,
    tenant: OneTenant = None,
    connection: OneConnection = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Have deliveries decided again. What was read back for them is kept, so a replay needs no vendor.

    Actions that were decided before are not decided a second time; what is new is.
    """
    if parked == bool(ids):
        raise typer.BadParameter("name deliveries by id, or all parked ones by --parked --tenant TENANT")
    if parked and tenant is None:
        raise typer.BadParameter("--parked needs --tenant")
    with opened() as gateway:
        if parked and tenant is not None:
            with gateway.db.connect() as db:
                chosen = list(history.parked_ids(db, tenant, connection))
        else:
            chosen = _replayable(gateway, ids or [], tenant, connection)
        if not chosen:
            done("nothing to replay", {"replayed": []}, as_json=as_json)
            return
        ask(f"{number(len(chosen), 'delivery', 'deliveries')} will be decided again.", yes=yes)
        replayed: list[int] = []
        for start in range(0, len(chosen), BATCH):
            with gateway.db.begin() as db:
                back = inbox.replay(db, chosen[start : start + BATCH], gateway.clock())
                rows = history.deliveries_by_id(db, back)
            jobs.hint_all(gateway, rows, [])
            replayed += sorted(back)
    done(
        f"{number(len(replayed), 'delivery', 'deliveries')} put back", {"replayed": replayed}, as_json=as_json
    )


def _replayable(gateway: Runtime, ids: list[int], tenant: str | None, connection: str | None) -> list[int]:
    with gateway.db.connect() as db:
        rows = {row.id: row for row in history.deliveries_by_id(db, ids)}
    for id_ in ids:
        row = rows.get(id_)
        if row is None or tenant not in (None, row.tenant) or connection not in (None, row.connection):
            raise GatewayError(f"there is no such delivery: {id_}; nothing was replayed")
        if row.state == "received":
            raise GatewayError(f"delivery {id_} is still waiting to be decided; nothing was replayed")
    return sorted(rows)


def _delivery_line(row: Row[Any]) -> dict[str, Any]:
    """The row, with one note: the error, or what it waits for."""
    waits = "to be read back" if row.reading == "wanted" and row.state == "received" else None
    return history.as_dict(row) | {"ticket": row.subject, "note": row.error or waits}


def _body(raw: bytes, redactor: Redactor) -> tuple[str, bool]:
    """Readable, without the connection's secrets; and whether it is JSON."""
    text = redactor.text(raw.decode("utf-8", "replace"))
    try:
        return json.dumps(json.loads(text), ensure_ascii=False, indent=2), True
    except (ValueError, RecursionError):
        return redact_url(f"?{text}")[1:], False


def _redactor(gateway: Runtime, db: Any, row: Row[Any]) -> Redactor:
    connection = gateway.directory.current(db).connection(row.tenant, row.connection)
    return Redactor(secret_values(connection.settings) if connection else ())


def _capped(text: str, full: bool) -> str:
    if full or len(text) <= BODY_SHOWN:
        return text
    return f"{text[:BODY_SHOWN]}\n... {len(text) - BODY_SHOWN} characters more: --full shows them"
