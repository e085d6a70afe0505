"""Generic: which hooks answer for a system that has no plugin of its own, by what an admin says of it?

Setup for the tenant's admin is in README.md (README.pt-BR.md) beside this file.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from gateway.api import (
    JSON,
    Action,
    ApiClient,
    ApiSettings,
    Connection,
    Event,
    Receipt,
    Snapshot,
    TicketRef,
    VendorInfo,
    Verified,
    Webhook,
    WebhookRejected,
    hookimpl,
)

from . import accept, convert, execute
from .proof import StandardWebhooks
from .settings import Settings


@hookimpl
def vendor_info() -> VendorInfo:
    return VendorInfo(
        label="Generic (signed webhooks, templated requests)",
        settings=Settings,
        docs="https://www.standardwebhooks.com/",
    )


@hookimpl
def verify_webhook(webhook: Webhook, connection: Connection[Settings]) -> Verified:
    settings = connection.settings
    if settings.secret is None:
        raise WebhookRejected("this connection takes no webhooks: its settings have no secret")
    proof = accept.prove(webhook, settings.inbound.proof, settings.secret)
    subject, named, hint = convert.told(webhook, settings.inbound)
    thin = hint and settings.reads_back
    if thin and not isinstance(settings.inbound.proof, StandardWebhooks):
        proof = replace(
            proof, delivery_id=None
        )  # named by its words, and a hint in the same words is another one
    return replace(proof, subject=subject, delivery_id=named or proof.delivery_id, thin=thin)


@hookimpl
def collect_ticket(ref: TicketRef, api: ApiClient) -> JSON:
    return execute.collect(ref, api)


@hookimpl
def convert_webhook(
    webhook: Webhook, collected: JSON | None, before: Snapshot | None, connection: Connection[Settings]
) -> list[Event]:
    return convert.events(webhook, collected, before, connection.settings.inbound, connection.name)


@hookimpl
def connect_api(connection: Connection[Settings]) -> ApiSettings | None:
    return execute.connect(connection)


@hookimpl
def execute_action(action: Action, api: ApiClient) -> Receipt | None:
    return execute.perform(action, api)


@hookimpl
def find_effect(action: Action, api: ApiClient) -> Receipt | None:
    return execute.find_effect(action, api)


@hookimpl
def list_changed(since: datetime, api: ApiClient) -> Iterable[TicketRef]:
    return execute.changed(since, api)
