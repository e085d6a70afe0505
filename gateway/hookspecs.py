"""What may a vendor plugin or a rule implement? The pluggy hook specifications, and nothing else.

Every hook is synchronous and called by keyword; an implementation takes only the arguments it needs. Vendor
hooks are asked of one vendor at a time (`registry.of_vendor`), `on_event` of every rule that the tenant has
switched on.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pluggy

from gateway.model.action import Action
from gateway.model.connection import ApiSettings, Connection, Receipt, VendorInfo
from gateway.model.errors import ApiError
from gateway.model.event import Event
from gateway.model.facts import Facts, Skip
from gateway.model.record import JSON
from gateway.model.reference import Reference
from gateway.model.ticket import Snapshot, TicketRef
from gateway.model.webhook import Verified, Webhook

if TYPE_CHECKING:
    from gateway.client import Answer, ApiClient

PROJECT = "gateway"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


# --- a vendor: who it is ----------------------------------------------------------------------------------------


@hookspec(firstresult=True)
def vendor_info() -> VendorInfo:  # type: ignore[empty-body]
    """Say what this vendor is called and which settings a connection to it has.

    The settings model drives `gateway plugins`, the admin's forms and `gateway apply`; its `SecretStr` fields
    are encrypted at rest and redacted everywhere.
    """


# --- a vendor: webhooks in --------------------------------------------------------------------------------------


@hookspec(firstresult=True)
def verify_webhook(webhook: Webhook, connection: Connection[Any]) -> Verified | None:
    """Prove that the webhook comes from the vendor. Runs in the request path: no I/O, constant-time compares.

    Returns the proof. `None`, a missing implementation or any exception rejects the webhook with 401; raise
    `WebhookRejected` to say why in the log.

    :param webhook: the raw request, before anything was parsed
    :param connection: the account it was addressed to, with its secrets
    """


@hookspec(firstresult=True)
def collect_ticket(ref: TicketRef, api: "ApiClient") -> JSON:
    """Read the ticket, its comments and its contact back from the vendor, and return the raw answers.

    The answer is stored, so that a replay needs no vendor; it must be JSON. Only calls that read.

    :param ref: the ticket
    :param api: the only way out; counts, paces, retries and traces every call
    """


@hookspec(firstresult=True)
def convert_webhook(  # type: ignore[empty-body]
    webhook: Webhook, collected: JSON | None, before: Snapshot | None, connection: Connection[Any]
) -> list[Event]:
    """Say in our words what happened. Pure: the same input gives the same events.

    Raises `UnreadableWebhook` when the body has no shape that the vendor is known to send; an unknown *kind*
    is not an error but an `Unrecognized` event. Events whose `id` names the same fact are decided once.

    :param webhook: the raw request; `webhook.body` is empty when only a ticket was collected
    :param collected: what `collect_ticket` gave, if the ticket was collected
    :param before: the ticket as last known, if ever
    """


@hookspec(firstresult=True)
def find_references(  # type: ignore[empty-body]
    text: str, connection: Connection[Any]
) -> list[Reference]:
    """Name what the links in a text point at, as far as it lies in this connection. Pure, and by parsing:
    a host that only looks like the vendor's, or an address that would give a credential away, names nothing.

    Asked by `facts.references_in(text)`, of every connection of the tenant whose vendor implements it.

    :param text: plain text, HTML or the vendor's markup, as somebody wrote it
    :param connection: the account whose addresses count
    """


@hookspec(firstresult=True)
def spell_tag(tag: str, connection: Connection[Any]) -> str:  # type: ignore[empty-body]
    """Say how this vendor keeps a tag that a rule calls so: what it lower-cases, replaces, leaves out, cuts off.

    Pure, and stable: a tag spelled twice is spelled as it was once. Asked before an action is stored, and by
    `facts.tagged(ticket, tag)`, so that a rule knows its own tag again when the ticket is read back. A vendor that
    keeps tags as they are typed leaves it out.

    :param tag: the tag as the settings of a rule have it
    :param connection: the account where it will be set
    """


# --- a vendor: actions out --------------------------------------------------------------------------------------


@hookspec(firstresult=True)
def connect_api(connection: Connection[Any]) -> ApiSettings:  # type: ignore[empty-body]
    """Say how the vendor's API is reached: address, credentials, rate. The core builds the client."""


@hookspec(firstresult=True)
def execute_action(action: Action, api: "ApiClient") -> Receipt | None:
    """Carry the action out. `None` = this vendor cannot do that, which is recorded as unsupported.

    Never two actions of one ticket at the same time. `action.id` is the same on every attempt: use it as the
    idempotency key, or plant it as a marker for `find_effect`. Errors of `api` are left to pass through.
    """


@hookspec(firstresult=True)
def find_effect(action: Action, api: "ApiClient") -> Receipt | None:
    """Did an earlier, interrupted attempt of this action already take effect?

    Asked before the action is sent again after a crash, a time-out or a dropped answer. `None` = no, send it.
    """


@hookspec(firstresult=True)
def list_changed(since: datetime, api: "ApiClient") -> Iterable[TicketRef]:  # type: ignore[empty-body]
    """Name the tickets that changed after `since`, so that webhooks which never came are noticed.

    Each once, page by page as they are asked for, however they changed: created, updated, deleted where the vendor
    tells. A `ChangedRef` says when that was, so that what is known already is not read again. A ticket too many
    costs a reading, one too few may be lost: look further back where the vendor's lists lag behind. Errors of `api`
    are left to pass through.
    """


@hookspec(firstresult=True)
def explain_error(response: "Answer") -> ApiError | None:
    """Read the vendor's error out of an answer. `None` = the status code says it all."""


# --- a rule -----------------------------------------------------------------------------------------------------


@hookspec
def on_event(event: Event, facts: Facts) -> Iterable[Action | Skip]:  # type: ignore[empty-body]
    """Decide what must happen because of `event`. Pure: no clock, no I/O, no randomness.

    Yield actions, each with its reason, or `Skip(reason)` when the rule looked and had nothing to do; yield
    nothing at all when the event is none of the rule's business. `facts.settings` is the tenant's `Settings`.
    """
