"""From a webhook over a real socket to a ticket at a vendor's sandbox, and everything in between."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gateway_plugins.generic.sandbox as payments
import gateway_plugins.zendesk.sandbox as zendesk
import httpx
import pytest
from gateway_plugins.zendesk.desk import API_AGENT
from sqlalchemy import select

from gateway import jobs
from gateway.model.facts import Tenant
from gateway.runtime import Runtime
from gateway.store import tenants
from gateway.store.tables import actions, deliveries, events
from gateway.testing import serving
from gateway.web.app import App


class Company:
    """A tenant with a payment system and a Zendesk, both sandboxes, and a gateway server in front."""

    def __init__(self, gateway: Runtime, hooks: str, payments_url: str, zendesk_url: str) -> None:
        self.gateway = gateway
        self.hooks = hooks
        self.payments = httpx.Client(base_url=payments_url)
        self.zendesk = httpx.Client(base_url=zendesk_url)

    def pay(self, **told: Any) -> None:
        customer = {"name": "Padaria Exemplo", "email": "dona@padaria.example", "phones": ["(11) 3555-0199"]}
        body = {"id": "pay_1", "amount": 990.0, "plan": "Pro", "customer": customer, **told}
        self.payments.post("/_sandbox/human/payments", json=body).raise_for_status()

    def settle(self) -> None:
        """Let everything that is on its way arrive."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            jobs.drain(self.gateway)
            sending = any(
                s.get("/_sandbox/webhooks").json()["waiting"] for s in (self.payments, self.zendesk)
            )
            if not sending and not self.unfinished():
                return
            time.sleep(0.05)
        raise AssertionError(f"still unfinished: {self.unfinished()}")

    def unfinished(self) -> list[Any]:
        waiting = [row.state for row in self.rows(deliveries) if row.state == "received"]
        return waiting + [row.kind for row in self.rows(actions) if row.state in {"pending", "executing"}]

    @property
    def tickets(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.zendesk.get("/_sandbox/tickets").json()
        return found

    def rows(self, table: Any) -> list[Any]:
        with self.gateway.db.connect() as db:
            return list(db.execute(select(table).order_by(table.c.get("seq", table.c.id))))


def configure(gateway: Runtime, zendesk_url: str) -> None:
    registry = gateway.registry
    given = {
        "pay": ("generic", {**payments.PAYMENT_MAPPING, "secret": payments.SECRET}),
        "desk": ("zendesk", {
            "subdomain": "acme", "base_url": f"{zendesk_url}/api/v2", "oauth_token": "sandbox-token",
            "signing_secret": "sandbox-secret", "user_id": str(API_AGENT), "groups": {"GR": 8001},
        }),
    }  # fmt: skip
    with gateway.db.begin() as db:
        tenants.save_tenant(db, Tenant(id="acme", name="Acme Ltda"))
        for name, (vendor, settings) in given.items():
            model = registry.vendor_info(vendor).settings
            connection = tenants.Connection("acme", name, vendor, model.model_validate(settings))
            tenants.save_connection(db, connection, gateway.keyring)
        tenants.save_rule(db, "acme", "core_ticket_on_payment", enabled=True, settings={"connection": "desk"})
        tenants.changed(db, ["set up"])


@pytest.fixture
def company(gateway: Runtime) -> Iterator[Company]:
    with running(gateway) as found:
        yield found


@contextmanager
def running(gateway: Runtime) -> Iterator[Company]:
    with (
        serving(payments.create_app()) as payments_url,
        serving(zendesk.create_app()) as zendesk_url,
    ):
        configure(gateway, zendesk_url)
        with serving(App(gateway)) as hooks:
            for url, name in ((payments_url, "pay"), (zendesk_url, "desk")):
                target = {"url": f"{hooks}/hooks/acme/{name}"}
                httpx.post(f"{url}/_sandbox/webhooks", json=target).raise_for_status()
            company = Company(gateway, hooks, payments_url, zendesk_url)
            with company.payments, company.zendesk:
                yield company


def test_a_confirmed_payment_becomes_one_ticket(company: Company) -> None:
    company.pay()
    company.settle()
    assert [ticket["subject"] for ticket in company.tickets] == ["CORE - Padaria Exemplo"]
    done = {row.kind: row.state for row in company.rows(actions)}
    assert done == {"create_ticket": "done", "link_tickets": "done"}


def test_the_same_payment_again_changes_nothing_and_says_why(company: Company) -> None:
    company.pay()
    company.settle()
    company.pay(again=True)
    company.pay(new_delivery=True)
    company.settle()
    assert len(company.tickets) == 1
    rows = [row for row in company.rows(deliveries) if row.connection == "pay"]
    assert [row.state for row in rows] == ["decided", "decided"]
    assert rows[0].duplicates == 1
    assert rows[1].notes["known"] == [{"fact": "payment.confirmed:pay_1", "delivery": rows[0].id}]


def test_what_we_wrote_ourselves_comes_back_as_ours(company: Company) -> None:
    company.pay()
    company.settle()
    echoes = [row for row in company.rows(events) if row.connection == "desk"]
    assert echoes
    assert all(row.ours for row in echoes)
    asked = {answer["rule"] for row in echoes for answer in row.decisions}
    assert asked == {"require_phone"}, "only a rule that says so is asked about what we did ourselves"
