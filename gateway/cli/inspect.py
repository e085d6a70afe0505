"""The verbs that tell why, what if, and what is open: explain, simulate, incidents, timers."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from gateway import explain as explaining
from gateway import simulate as simulating
from gateway.runtime import Runtime
from gateway.simulate import Draft
from gateway.store import history

from .app import AsJson, app, opened, print_json, show
from .deliveries import DeliveryId
from .lines import Limit, OneConnection, OneTenant, line, lines, number
from .rules import values_of


@app.command()
def explain(id_: DeliveryId, tenant: OneTenant = None, as_json: AsJson = False) -> None:
    """Tell the whole story of a delivery: every rule asked, its answer, and every call to a vendor."""
    with opened() as gateway, gateway.db.connect() as db:
        story = explaining.explanation(gateway, db, id_, tenant)
    if as_json:
        print_json(story)
    else:
        lines(explaining.lines(story))


@app.command()
def simulate(
    id_: Annotated[int | None, typer.Argument(metavar="[DELIVERY_ID]")] = None,
    rule: Annotated[
        str | None, typer.Option(help="The rule under draft: switched on, the only one shown.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SETTING=VALUE", help="VALUE as in YAML; needs --rule."),
    ] = None,
    enable: Annotated[list[str] | None, typer.Option(help="A rule that is on in the draft.")] = None,
    disable: Annotated[list[str] | None, typer.Option(help="A rule that is off in the draft.")] = None,
    all_since: Annotated[
        datetime | None, typer.Option(help="All of the tenant's deliveries since then (UTC); needs --tenant.")
    ] = None,
    tenant: OneTenant = None,
    connection: OneConnection = None,
    limit: Limit = 1000,
    as_json: AsJson = False,
) -> None:
    """Ask the rules again, as a draft has them, what a stored delivery leads to. Nothing is written or sent.

    `=` is as it was decided then, `~` changed, `+` new, `-` gone. The rules see the present facts, less what
    the delivery led to itself.
    """
    if (id_ is None) == (all_since is None):
        raise typer.BadParameter("name a delivery, or many by --all-since TIME --tenant TENANT")
    if all_since is not None and tenant is None:
        raise typer.BadParameter("--all-since needs --tenant")
    with opened() as gateway:
        draft = _draft(gateway, rule, settings or [], enable or [], disable or [])
        if all_since is not None and tenant is not None:
            since = all_since.replace(tzinfo=UTC) if all_since.tzinfo is None else all_since
            found = list(
                simulating.simulate_since(gateway, tenant, since, draft, connection=connection, limit=limit)
            )
        else:
            found = [simulating.simulate(gateway, id_ or 0, draft, tenant)]
    if as_json:
        print_json(found if all_since is not None else found[0])
    elif all_since is None:
        lines(simulating.lines(found[0]))
    else:
        for each in found:
            if each["changed"] or each["unable"]:
                lines(simulating.lines(each))
        changed, unable = sum(e["changed"] for e in found), sum(bool(e["unable"]) for e in found)
        line(
            f"{number(len(found), 'delivery', 'deliveries')}: {changed} would differ, {unable} not simulated"
        )
    if all_since is None and found[0]["unable"]:
        raise typer.Exit(1)


def _draft(
    gateway: Runtime, rule: str | None, settings: list[str], enable: list[str], disable: list[str]
) -> Draft:
    texts = {}
    for each in settings:
        name, sign, text = each.partition("=")
        if not sign or not name:
            raise typer.BadParameter(f"{each!r} is not SETTING=VALUE")
        texts[name] = text
    values: dict[str, Any] = values_of(gateway.registry, rule, texts) if rule is not None else dict(texts)
    return Draft(rule, values, frozenset(enable), frozenset(disable)).checked(gateway.registry)


@app.command()
def incidents(
    tenant: OneTenant = None,
    closed: Annotated[bool, typer.Option("--all", help="Also those that were closed.")] = False,
    limit: Limit = 50,
    before: Annotated[int | None, typer.Option(help="Only those before this id: the next page.")] = None,
    as_json: AsJson = False,
) -> None:
    """List what a person should look at, newest first."""
    with opened() as gateway, gateway.db.connect() as db:
        found = history.as_dicts(
            history.incidents_page(db, tenant=tenant, closed=closed, before=before, limit=limit)
        )
    show(
        found,
        ("id", "last_at", "tenant", "kind", "count", "message"),
        as_json=as_json,
        empty="no open incidents",
    )


@app.command()
def timers(tenant: OneTenant = None, limit: Limit = 50, as_json: AsJson = False) -> None:
    """List the timers that wait, the next one first."""
    with opened() as gateway, gateway.db.connect() as db:
        found = history.as_dicts(history.waiting_timers(db, tenant=tenant, limit=limit))
    show(
        found,
        ("at", "tenant", "rule", "key", "connection", "ticket_id"),
        as_json=as_json,
        empty="no timer waits",
    )
