"""Intercom: notifications in, REST API 2.15 out, for conversations and for tickets.

Setup for the tenant's admin is in README.md (README.pt-BR.md) beside this file.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from pydantic import Field, SecretStr

from gateway.api import (
    JSON,
    Action,
    Answer,
    ApiClient,
    ApiError,
    ApiSettings,
    Connection,
    ConnectionSettings,
    Event,
    Priority,
    RateLimit,
    Receipt,
    SecretList,
    Snapshot,
    TicketRef,
    VendorInfo,
    Verified,
    Webhook,
    hookimpl,
)

from . import accept, collect, convert, execute, tags
from .errors import explain

VERSION = "2.15"
"""Of the REST API, sent with every call: without it the app's own setting would decide."""

WINDOW = 10
"""Seconds: a sixth of the calls a minute is granted for each ten seconds."""

APIS = {
    "us": "https://api.intercom.io", "eu": "https://api.eu.intercom.io", "au": "https://api.au.intercom.io",
}  # fmt: skip
INBOXES = {
    "us": "https://app.intercom.com", "eu": "https://app.eu.intercom.com", "au": "https://app.au.intercom.com",
}  # fmt: skip


class Settings(ConnectionSettings):
    """One Intercom workspace, and the teammate that the gateway acts as."""

    region: Literal["us", "eu", "au"] = Field("us", description="where the workspace's data is kept")
    app_id: str = Field(
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        description="the workspace's id code, as in app.intercom.com/a/inbox/…",
    )
    admin_id: str = Field(pattern=r"^[0-9]{1,20}$", description="id of the teammate that we act as")
    teams: dict[str, str] = Field({}, description="our name of a team -> id of the team")
    custom_fields: dict[str, str] = Field({}, description="our name of a field -> name of the attribute")
    ticket_type_id: str | None = Field(
        None, pattern=r"^[0-9]{1,20}$", description="type of the tickets we open; none = open conversations"
    )
    open_as: Literal["contact", "admin"] = Field(
        "contact", description="conversations we open: a message of the contact's, or ours to the contact"
    )
    priority_attribute: str | None = Field(None, description="attribute that holds a priority")
    priorities: dict[Priority, str] = Field({}, description="our priority -> value of that attribute")
    document_attribute: str | None = Field(
        None, description="contact attribute with the CPF or CNPJ; `external_id` where that is it"
    )
    phone_region: str = Field("BR", pattern=r"^[A-Z]{2}$", description="country of numbers without +country")
    snooze_hours: float = Field(24, gt=0, le=24 * 365, description="how long `on_hold` snoozes")
    mark_replies: bool = Field(True, description="mark public replies too, invisibly")
    search_lag_seconds: float = Field(
        120, ge=0, le=3600, description="how long after a write the search may not find it"
    )
    calls_per_minute: int = Field(10_000, ge=6, le=1_000_000, description="the app's limit")
    access_token: SecretStr
    client_secret: SecretList = Field(description="of the app; two while it rotates")

    def own_ids(self) -> frozenset[str]:
        return frozenset({self.admin_id})

    def inbox_url(self, conversation_id: str) -> str:
        """Where a teammate reads it."""
        return f"{INBOXES[self.region]}/a/inbox/{self.app_id}/inbox/shared/all/conversation/{conversation_id}"

    def team_name(self, team_id: str) -> str:
        return next((name for name, known in self.teams.items() if known == team_id), team_id)


@hookimpl
def vendor_info() -> VendorInfo:
    return VendorInfo(
        label="Intercom",
        settings=Settings,
        docs="https://developers.intercom.com/docs/webhooks/setting-up-webhooks",
        probe="/me",
    )


@hookimpl
def verify_webhook(webhook: Webhook, connection: Connection[Settings]) -> Verified:
    return accept.verify(webhook, connection)


@hookimpl
def collect_ticket(ref: TicketRef, api: ApiClient) -> JSON:
    return collect.ticket(ref, api)


@hookimpl
def convert_webhook(
    webhook: Webhook, collected: JSON | None, before: Snapshot | None, connection: Connection[Settings]
) -> list[Event]:
    return convert.events(webhook, collected, before, connection)


@hookimpl
def spell_tag(tag: str) -> str:
    return tags.spelled(tag)


@hookimpl
def connect_api(connection: Connection[Settings]) -> ApiSettings:
    settings = connection.settings
    return ApiSettings(
        base_url=str(settings.base_url or APIS[settings.region]).rstrip("/"),
        headers={
            "Accept": "application/json",
            "Authorization": f"Bearer {settings.access_token.get_secret_value()}",
            "Intercom-Version": VERSION,
        },
        rate=RateLimit(calls=settings.calls_per_minute * WINDOW // 60, seconds=WINDOW),
        settles=settings.search_lag_seconds,
    )


@hookimpl
def execute_action(action: Action, api: ApiClient) -> Receipt | None:
    return execute.perform(action, api)


@hookimpl
def find_effect(action: Action, api: ApiClient) -> Receipt | None:
    return execute.find_effect(action, api)


@hookimpl
def list_changed(since: datetime, api: ApiClient) -> Iterable[TicketRef]:
    return collect.changed(since, api)


@hookimpl
def explain_error(response: Answer) -> ApiError | None:
    return explain(response)
