"""Their words in ours: stamped, and with a reason where it cannot be done."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from tests_town import NOW, Settings, town

from gateway.api import (
    Payment,
    PaymentConfirmed,
    Snapshot,
    Ticket,
    TicketCreated,
    TicketRef,
    TimerFired,
    UnreadableWebhook,
    hookimpl,
    parse_event,
)
from gateway.model.connection import Connection
from gateway.model.errors import GatewayError
from gateway.pipeline.convert import convert
from gateway.registry import assemble

DESK = Connection("acme", "desk", "town", Settings())
CREATED = TicketCreated(id="created:7", occurred_at=NOW, ticket=Ticket(ref=TicketRef("desk", "7")))


def row(body: Any, *, origin: str = "webhook", collected: Any = None) -> Any:
    return SimpleNamespace(
        id=1, tenant="acme", connection="desk", origin=origin, collected=collected, headers={"x": "y"},
        query={"a": "b"}, body=json.dumps(body).encode() if not isinstance(body, bytes) else body, received_at=NOW,
    )  # fmt: skip


def told(delivery: Any, *, connection: Any = DESK, before: Snapshot | None = None, **hooks: Any) -> list[Any]:
    return convert(assemble({"town": town(**hooks)}, {}), delivery, before, connection)


def test_events_are_stamped_with_where_they_came_from():
    forged = CREATED.model_copy(update={"tenant": "other", "connection": "other"})
    (event,) = told(row({"events": [forged.to_json()]}))
    assert (event.tenant, event.connection, event.id) == ("acme", "desk", "created:7")


def test_a_payment_is_that_of_its_connection_as_two_providers_may_count_alike():
    paid = PaymentConfirmed(
        id="paid:7", occurred_at=NOW, payment=Payment(id="7", amount_minor=1, connection="other")
    )
    (event,) = told(row({"events": [paid.to_json()]}))
    assert (str(event.payment), event.payment.amount_minor) == ("payment:desk/7", 1)
    assert parse_event(event.to_json()) == event


def test_a_converter_gets_the_webhook_as_it_came_the_reading_and_what_was_known():
    seen: dict[str, Any] = {}

    @hookimpl
    def convert_webhook(webhook, collected, before, connection):
        seen.update(webhook=webhook, collected=collected, before=before, connection=connection)
        return []

    before = Snapshot(ticket=Ticket(ref=TicketRef("desk", "7")))
    assert told(row(b"\xff", collected={"id": 7}), before=before, convert_webhook=convert_webhook) == []
    webhook = seen["webhook"]
    assert (webhook.body, webhook.headers, webhook.query, webhook.received_at) == (
        b"\xff",
        {"x": "y"},
        {"a": "b"},
        NOW,
    )
    assert (seen["collected"], seen["before"], seen["connection"]) == ({"id": 7}, before, DESK)


def test_the_reason_of_a_converter_is_the_reason():
    with pytest.raises(UnreadableWebhook, match=r"^town: JSONDecodeError"):
        told(row(b"{"))


def test_a_bug_in_a_converter_names_the_vendor():
    @hookimpl
    def convert_webhook():
        raise KeyError("ticket")

    with pytest.raises(UnreadableWebhook, match=r"town could not convert this: KeyError\('ticket'\)"):
        told(row({}), convert_webhook=convert_webhook)


@pytest.mark.parametrize("answer", [[{"kind": "ticket.created"}], "ab", 5, [None]])
def test_a_converter_that_gives_no_events_names_the_vendor(answer):
    with pytest.raises(UnreadableWebhook, match="town could not convert this"):
        told(row({}), convert_webhook=hookimpl(lambda: answer))


def test_a_converter_may_be_a_generator_and_fail_half_way():
    @hookimpl
    def convert_webhook():
        yield CREATED
        raise KeyError("comments")

    with pytest.raises(UnreadableWebhook, match=r"KeyError\('comments'\)"):
        told(row({}), convert_webhook=convert_webhook)


def test_a_vendor_without_a_converter_says_so():
    vendor = town()
    del vars(vendor)["convert_webhook"]
    with pytest.raises(UnreadableWebhook, match="town does not convert webhooks"):
        convert(assemble({"town": vendor}, {}), row({}), None, DESK)


def test_a_connection_that_is_gone_says_so():
    with pytest.raises(GatewayError, match="'desk' does not exist"):
        told(row({}), connection=None)


def test_our_own_events_need_no_vendor_and_keep_their_connection():
    timer = TimerFired(
        id="timer:k", occurred_at=NOW, key="k", rule="r", due_at=NOW, ticket=TicketRef("desk", "7"), connection="desk",
        tenant="other",
    )  # fmt: skip
    (event,) = told(row(timer.to_json(), origin="core"), connection=None)
    assert event == timer.model_copy(update={"tenant": "acme"})


@pytest.mark.parametrize("body", [b"{", b"\xff", {}, [], {"kind": "ticket.created", "id": "x"}])
def test_an_event_that_a_rule_raised_wrongly_is_parked_with_the_reason(body):
    with pytest.raises(UnreadableWebhook, match="an event that a rule raised is not valid"):
        told(row(body, origin="core"), connection=None)
