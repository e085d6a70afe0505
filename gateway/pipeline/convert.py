"""What do their words mean in ours?"""

import json
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Row

from gateway.model.connection import Connection
from gateway.model.errors import GatewayError, UnreadableWebhook
from gateway.model.event import Event, PaymentEvent, parse_event
from gateway.model.ticket import Snapshot
from gateway.model.webhook import Webhook
from gateway.registry import Registry
from gateway.store.reconciliations import ORIGIN
from gateway.timelimit import Stuck, thinking

PATIENCE = 5.0
"""Seconds that a plugin may take to convert one webhook; it does no I/O, so it needs milliseconds."""


def convert(
    registry: Registry, row: Row[Any], before: Snapshot | None, connection: Connection[Any] | None
) -> list[Event]:
    """The events that this delivery tells of. Raises GatewayError with the reason why it must be parked."""
    if row.origin == "core":
        return [_own(row)]
    if connection is None:
        raise GatewayError(f"connection {row.connection!r} does not exist or is not usable any more")
    # What was found by reconciliation is as new as if its webhook had come.
    seen_at = row.sent_at if row.origin == ORIGIN and row.sent_at is not None else row.received_at
    webhook = Webhook(headers=row.headers, body=row.body, query=row.query, received_at=seen_at)
    try:
        with thinking(PATIENCE):
            events = registry.ask(
                connection.vendor, "convert_webhook",
                webhook=webhook, collected=row.collected, before=before, connection=connection,
            )  # fmt: skip
        if events is None:
            raise UnreadableWebhook(f"{connection.vendor} does not convert webhooks")
        return [_stamped(event, row) for event in events]
    except GatewayError:
        raise
    except (Exception, Stuck) as error:
        raise UnreadableWebhook(f"{connection.vendor} could not convert this: {error!r}") from error


def _stamped(event: Event, row: Row[Any]) -> Event:
    stamp: dict[str, Any] = {"tenant": row.tenant, "connection": row.connection}
    if isinstance(event, PaymentEvent):
        stamp["payment"] = event.payment.model_copy(update={"connection": row.connection})
    return event.model_copy(update=stamp)


def _own(row: Row[Any]) -> Event:
    try:
        return parse_event(json.loads(row.body)).model_copy(update={"tenant": row.tenant})
    except (ValueError, ValidationError) as error:
        raise UnreadableWebhook(f"an event that a rule raised is not valid: {error}") from None
