"""Zendesk Support: event and trigger webhooks in, Ticketing API v2 out.

Setup for the tenant's admin is in README.md (README.pt-BR.md) beside this file.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Self

from pydantic import Field, SecretStr, model_validator

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

from . import accept, collect, convert, execute


class Settings(ConnectionSettings):
    """One Zendesk account, and the agent that the gateway acts as."""

    subdomain: str = Field(
        pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",  # or the token could be sent elsewhere
        description="`acme` of acme.zendesk.com",
    )
    account_id: int | None = Field(None, description="refuse webhooks of any other account")
    user_id: str | None = Field(None, pattern=r"^[0-9]+$", description="id of the agent whose token this is")
    custom_fields: dict[str, int] = Field({}, description="our name of a field -> id of the ticket field")
    groups: dict[str, int] = Field({}, description="our name of a team -> id of the group")
    phone_region: str = Field("BR", pattern=r"^[A-Z]{2}$", description="country of numbers without +country")
    oauth_token: SecretStr | None = Field(None, description="OAuth access token (Bearer)")
    email: str | None = Field(None, description="agent of the API token; API tokens end on 2027-04-30")
    api_token: SecretStr | None = None
    signing_secret: SecretList = Field(description="of the webhook; two while it rotates")
    tolerance_seconds: int = Field(300, ge=10, le=86_400, description="how old a signature may be")
    accept_test_secret: bool = Field(False, description="accept webhooks tested before they are created")
    calls_per_minute: int = Field(200, ge=1, le=10_000, description="the plan's limit: 200 400 700 2500")

    @model_validator(mode="after")
    def _one_kind_of_credentials(self) -> Self:
        if self.oauth_token is not None and (self.api_token is not None or self.email is not None):
            raise ValueError("give oauth_token, or email and api_token, but not both")
        if self.oauth_token is None and (self.api_token is None or self.email is None):
            raise ValueError("give oauth_token (recommended), or both email and api_token")
        return self

    def own_ids(self) -> frozenset[str]:
        return frozenset({self.user_id} if self.user_id else ())


@hookimpl
def vendor_info() -> VendorInfo:
    return VendorInfo(
        label="Zendesk",
        settings=Settings,
        docs="https://developer.zendesk.com/documentation/webhooks/",
        probe="/users/me.json",
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
    return execute.normal_tag(tag)


@hookimpl
def connect_api(connection: Connection[Settings]) -> ApiSettings:
    settings = connection.settings
    headers = {"Accept": "application/json"}  # 415 has been seen without it
    auth = None
    if settings.oauth_token is not None:
        headers["Authorization"] = f"Bearer {settings.oauth_token.get_secret_value()}"
    elif settings.email is not None and settings.api_token is not None:
        auth = (f"{settings.email}/token", settings.api_token.get_secret_value())
    return ApiSettings(
        base_url=str(settings.base_url or f"https://{settings.subdomain}.zendesk.com/api/v2").rstrip("/"),
        auth=auth,
        headers=headers,
        rate=RateLimit(calls=settings.calls_per_minute, seconds=60),
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
    return execute.explain(response)
