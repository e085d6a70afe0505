"""What an operator sees of lost webhooks, and how to look for them at once."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from gateway_plugins.movidesk.sandbox import create_app
from sqlalchemy import update

from gateway.clock import utc_now
from gateway.store import database, tables
from gateway.testing import serving

Command = Callable[..., Any]
HOUR = timedelta(hours=1)


@pytest.fixture
def desk(acme: Any, command: Command, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The tenant's Movidesk is a sandbox with one ticket that nobody told of."""
    monkeypatch.setenv("GATEWAY_ALLOW_PRIVATE_TARGETS", "1")
    monkeypatch.setenv("MOVIDESK_TOKEN", "sandbox-token")
    with serving(create_app()) as url:
        acme.replace("https://api.movidesk.com/public/v1", url)
        assert command("apply", "tenants.yaml").code == 0
        yield url


def opened(desk: str, minutes: int) -> None:
    """A ticket that was opened so long ago."""
    ticket = httpx.post(f"{desk}/_sandbox/human/tickets", json={"subject": "s"}).json()
    change = {"age_days": minutes / 24 / 60}
    httpx.post(f"{desk}/_sandbox/human/tickets/{ticket['id']}", json=change).raise_for_status()


def shown(command: Command, *arguments: str) -> Any:
    ran = command("connections", *arguments, "--tenant", "acme", "--json")
    assert (ran.code, ran.err) == (0, "")
    return json.loads(ran.out)


def test_a_connection_shows_its_traffic_and_what_was_missed(
    desk: str, command: Command, database_url: str
) -> None:
    assert shown(command, "show", "movidesk")["reconciliation"] is None, "it was not looked at yet"
    shown(command, "reconcile", "movidesk")
    engine = database.engine(database_url)
    now = utc_now().replace(minute=0, second=0, microsecond=0)
    with engine.begin() as db:
        db.execute(update(tables.reconciliations).values(missed=3, missed_at=now))
        told = {"tenant": "acme", "connection": "movidesk", "hour": now - HOUR, "number": 7}
        db.execute(tables.traffic.insert(), [told])
    engine.dispose()
    found = shown(command, "show", "movidesk")
    assert found["reconciliation"]["missed"] == 3
    assert found["reconciliation"]["error"] is None
    assert found["traffic"]["last_24_hours"] == 7
    assert found["traffic"]["quiet"] is None
    table = command("connections", "show", "movidesk", "--tenant", "acme").out
    assert "reconciliation.missed" in table
    assert "traffic.last_24_hours" in table


def test_a_person_looks_at_once_and_as_far_back_as_he_likes(
    desk: str, command: Command, rows: Callable[..., Any]
) -> None:
    opened(desk, minutes=90)
    assert shown(command, "reconcile", "movidesk")[0]["queued"] == 0, "it is from before the connection"
    since = f"{utc_now() - 2 * HOUR:%Y-%m-%dT%H:%M:%S}"
    (look,) = shown(command, "reconcile", "movidesk", "--since", since)
    assert (look["listed"], look["queued"], look["whole"], look["error"]) == (1, 1, True, None)
    ((delivery,),) = rows(tables.deliveries)
    assert (delivery["origin"], delivery["reading"], delivery["state"]) == ("reconcile", "wanted", "received")


def test_a_vendor_that_refuses_is_one_line_and_exit_code_1(desk: str, command: Command) -> None:
    httpx.post(f"{desk}/_sandbox/misbehave", json={"kind": "status", "status": 401}).raise_for_status()
    ran = command("connections", "reconcile", "movidesk", "--tenant", "acme", "--json")
    assert ran.code == 1
    assert "401" in json.loads(ran.out)[0]["error"]
    shown(command, "show", "movidesk")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("nowhere", "tenant acme has no connection 'nowhere'"),
        ("pay", "acme/pay cannot be asked what changed"),
    ],
)
def test_what_cannot_be_looked_at_is_said(
    desk: str, acme: Any, command: Command, name: str, why: str
) -> None:
    more = "pay: {vendor: stripe, settings: {}, secrets: {signing_secret: whsec_dGVzdA}}\n      movidesk:"
    if name == "pay":
        acme.write((acme.path.read_text()).replace("movidesk:", more, 1))
        assert command("apply", "tenants.yaml").code == 0
    ran = command("connections", "reconcile", name, "--tenant", "acme")
    assert ran.code == 1
    assert why in ran.err
