"""The verbs of what was decided: actions list, show, retry."""

import json
from collections import Counter
from typing import Annotated, Any
from uuid import UUID

import typer
from sqlalchemy import Row

from gateway import explain, jobs
from gateway.model.errors import GatewayError
from gateway.store import actions as outbox
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
    lines,
    number,
    one_of,
    owner,
)

actions = typer.Typer(help="What was decided: list it, look at it, have it sent again.", no_args_is_help=True)
app.add_typer(actions, name="actions")

BATCH = 500


@actions.command("list")
def list_actions(
    tenant: OneTenant = None,
    connection: OneConnection = None,
    state: Annotated[
        str | None, typer.Option(help="pending, executing, done, dead, unsupported or held.")
    ] = None,
    ticket: OneTicket = None,
    limit: Limit = 50,
    before: Annotated[int | None, typer.Option(help="Only those before this seq: the next page.")] = None,
    as_json: AsJson = False,
) -> None:
    """List actions, newest first."""
    one_of(state, ("pending", "executing", "done", "canceled", *outbox.STOPPED), "--state")
    if ticket is not None:
        owner(tenant, connection)
    with opened() as gateway, gateway.db.connect() as db:
        found = history.as_dicts(
            history.actions_page(
                db,
                tenant=tenant,
                connection=connection,
                state=state,
                ticket=ticket,
                before=before,
                limit=limit,
            )
        )
    columns = ("seq", "id", "tenant", "connection", "kind", "ticket_id", "rule", "state", "error")
    show(found, columns, as_json=as_json, empty="no actions")
    if len(found) == limit and not as_json:
        out.print(f"more: --before {found[-1]['seq']}", style="dim", highlight=False)


@actions.command("show")
def show_action(
    id_: Annotated[UUID, typer.Argument(metavar="ACTION_ID")],
    tenant: OneTenant = None,
    as_json: AsJson = False,
) -> None:
    """Show one action: what it says, why, and every call that was made for it."""
    with opened() as gateway, gateway.db.connect() as db:
        row = found_or_fail(history.action(db, id_, tenant), f"action {id_}")
        tried = history.as_dicts(history.attempts_of_actions(db, [id_]).get(id_, []))
        ahead = history.obstacles(db, [row]).get(id_)
    found = history.as_dict(row) | {"tried": tried, "waits_for": history.as_dict(ahead) if ahead else None}
    if as_json:
        print_json(found)
        return
    fields({name: value for name, value in found.items() if name not in {"body", "tried"}})
    heading("what it says")
    line(json.dumps(row.body, ensure_ascii=False, indent=2))
    if tried:
        heading("attempts")
    for attempt in tried:
        lines(explain.attempt_lines(attempt, 0))


@actions.command()
def retry(
    ids: Annotated[list[UUID] | None, typer.Argument(metavar="ACTION_ID...")] = None,
    state: Annotated[
        str | None, typer.Option(help="All that are dead, held or unsupported; needs --tenant.")
    ] = None,
    tenant: OneTenant = None,
    connection: OneConnection = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Have actions that stopped sent again; whether an earlier attempt took effect is looked up first.

    With a ticket's creation come the actions that died because there was no ticket.
    """
    if (state is None) == (not ids):
        raise typer.BadParameter("name actions by id, or all that stopped by --state STATE --tenant TENANT")
    one_of(state, outbox.STOPPED, "--state")
    if state is not None and tenant is None:
        raise typer.BadParameter("--state needs --tenant")
    with opened() as gateway:
        with gateway.db.connect() as db:
            if state is not None and tenant is not None:
                chosen = list(history.stopped_ids(db, tenant, state, connection))
            else:
                chosen = _retryable(history.actions_by_id(db, ids or []), ids or [], tenant, connection)
            rows = outbox.retryable(db, chosen)
        if not rows:
            done("nothing to retry", {"retried": []}, as_json=as_json)
            return
        kinds = ", ".join(f"{number} {kind}" for kind, number in Counter(row.kind for row in rows).items())
        ask(f"{number(len(rows), 'action', 'actions')} will be sent again: {kinds}.", yes=yes)
        retried: list[UUID] = []
        for start in range(0, len(chosen), BATCH):
            with gateway.db.begin() as db:
                back = outbox.retry_together(db, chosen[start : start + BATCH], gateway.clock())
            sendable = [row for row in back if row.key or not (row.ticket_id or "").startswith("+")]
            jobs.hint_all(gateway, [], sendable)
            retried += [row.id for row in back]
    done(f"{number(len(retried), 'action', 'actions')} put back", {"retried": retried}, as_json=as_json)


def _retryable(
    rows: dict[UUID, Row[Any]], ids: list[UUID], tenant: str | None, connection: str | None
) -> list[UUID]:
    for id_ in ids:
        row = rows.get(id_)
        if row is None or tenant not in (None, row.tenant) or connection not in (None, row.connection):
            raise GatewayError(f"there is no such action: {id_}; nothing was retried")
        if row.state not in outbox.STOPPED:
            raise GatewayError(f"action {id_} is {row.state}, it has not stopped; nothing was retried")
    return list(rows)
