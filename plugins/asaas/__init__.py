"""Asaas: payment webhooks in, payments and customers read back.

Setup for the tenant's admin is in README.md (README.pt-BR.md) beside this file.
"""

from collections.abc import Iterable
from datetime import datetime

from pydantic import ConfigDict, Field, SecretStr

from gateway.api import (
    JSON,
    ApiClient,
    ApiSettings,
    Connection,
    ConnectionSettings,
    Event,
    RateLimit,
    SecretList,
    TicketRef,
    VendorInfo,
    Verified,
    Webhook,
    hookimpl,
)

from . import accept, collect, convert

PRODUCTION = "https://api.asaas.com/v3"
SANDBOX = "https://api-sandbox.asaas.com/v3"


class Settings(ConnectionSettings):
    """One Asaas account. `access_token` is what you typed when the webhook was made, and no API key."""

    model_config = ConfigDict(hide_input_in_errors=True)

    access_token: SecretList = Field(description="of the webhook; two while it is changed")
    api_key: SecretStr | None = Field(None, description="reads who the customer is; without it nobody knows")
    sandbox: bool = Field(False, description="this is an account of Asaas's sandbox")
    plans: tuple[str, ...] = Field((), description="names of plans, looked for in a payment's description")
    calls_per_minute: int = Field(60, ge=1, le=2000)
    reconcile_minutes: int | None = Field(
        360,
        ge=0,
        le=1440,
        description="how often to look for lost notices: Asaas lists by day, so each look reads the whole day again",
    )

    def accepted_status(self) -> int:
        return 200  # Asaas's FAQ: whatever else counts as a failure, and after fifteen the queue stops


@hookimpl
def vendor_info() -> VendorInfo:
    return VendorInfo(
        label="Asaas",
        settings=Settings,
        docs="https://docs.asaas.com/docs/sobre-os-webhooks",
        probe="/customers?limit=1",
    )


@hookimpl
def verify_webhook(webhook: Webhook, connection: Connection[Settings]) -> Verified:
    return accept.verify(webhook, connection.settings)


@hookimpl
def collect_ticket(ref: TicketRef, api: ApiClient) -> JSON:
    return collect.payment(ref, api)


@hookimpl
def convert_webhook(
    webhook: Webhook, collected: JSON | None, connection: Connection[Settings]
) -> list[Event]:
    return convert.events(webhook, collected, connection.settings)


@hookimpl
def connect_api(connection: Connection[Settings]) -> ApiSettings | None:
    settings = connection.settings
    if settings.api_key is None:
        return None
    return ApiSettings(
        base_url=str(settings.base_url or (SANDBOX if settings.sandbox else PRODUCTION)).rstrip("/"),
        headers={"access_token": settings.api_key.get_secret_value(), "User-Agent": "helpdesk-gateway"},
        rate=RateLimit(calls=settings.calls_per_minute, seconds=60),
    )


@hookimpl
def list_changed(since: datetime, api: ApiClient) -> Iterable[TicketRef]:
    return collect.changed(since, api)
