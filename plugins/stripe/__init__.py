"""Stripe: payment events in; with a restricted key, payments are read back and tied to their invoices.

Setup for the tenant's admin is in README.md (README.pt-BR.md) beside this file.
"""

from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, ConfigDict, Field, SecretStr

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

API = "https://api.stripe.com"
VERSION = "2026-06-24.dahlia"
"""Whose shapes `collect` reads; events come in the version that the webhook endpoint has."""


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        raise ValueError("no such time zone; expected one like America/Sao_Paulo") from None
    return name


class Settings(ConnectionSettings):
    """One webhook endpoint of one Stripe account, in live or in test mode."""

    model_config = ConfigDict(hide_input_in_errors=True)

    signing_secret: SecretList = Field(description="`whsec_...` of the endpoint; two while it is rolled")
    livemode: bool = Field(True, description="off: a connection for test mode; the other mode is only kept")
    api_key: SecretStr | None = Field(None, description="restricted, read only; ties payments to invoices")
    timezone: Annotated[str, AfterValidator(_zone)] = Field(
        "America/Sao_Paulo", description="in which due dates end"
    )
    reference_keys: tuple[str, ...] = Field(
        ("reference", "bitrix_deal", "order_id"), description="metadata that holds the company's own key"
    )
    plan_key: str = Field("plan", description="metadata that holds the plan's name")


@hookimpl
def vendor_info() -> VendorInfo:
    return VendorInfo(
        label="Stripe",
        settings=Settings,
        docs="https://docs.stripe.com/webhooks",
        probe="/v1/payment_intents?limit=1",
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
        base_url=str(settings.base_url or API).rstrip("/"),
        headers={"Authorization": f"Bearer {settings.api_key.get_secret_value()}", "Stripe-Version": VERSION},
        rate=RateLimit(calls=20 if settings.livemode else 10, seconds=1),
    )
