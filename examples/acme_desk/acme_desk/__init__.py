"""Acme Desk: unsigned hints in, JSON API out; which hooks does it answer?

Setup for the tenant's admin is in README.md (README.pt-BR.md).
"""

from collections.abc import Iterator
from datetime import datetime

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
from pydantic import Field, SecretStr

from . import accept, collect, convert, execute


class Settings(ConnectionSettings):
    """One company's Acme Desk, and the login that the gateway has there."""

    company: str = Field(
        pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",  # or the password could be sent elsewhere
        description="`loja` of loja.acme-desk.example",
    )
    login: str = Field("gateway", pattern=r"^[a-z]+$", description="the agent that we act as")
    password: SecretStr
    hook_key: SecretList = Field(description="the key in the hook's address; two while it changes")

    def own_ids(self) -> frozenset[str]:
        return frozenset({self.login})


@hookimpl
def vendor_info() -> VendorInfo:
    docs = "https://acme-desk.example/developers"
    return VendorInfo(label="Acme Desk", settings=Settings, docs=docs, probe="/whoami")


@hookimpl
def verify_webhook(webhook: Webhook, connection: Connection[Settings]) -> Verified:
    return accept.verify(webhook, connection)


@hookimpl
def collect_ticket(ref: TicketRef, api: ApiClient) -> JSON:
    return collect.case(ref, api)


@hookimpl
def convert_webhook(
    webhook: Webhook, collected: JSON | None, before: Snapshot | None, connection: Connection[Settings]
) -> list[Event]:
    return convert.events(webhook, collected, before, connection)


@hookimpl
def connect_api(connection: Connection[Settings]) -> ApiSettings:
    settings = connection.settings
    return ApiSettings(
        base_url=str(settings.base_url or f"https://{settings.company}.acme-desk.example/api").rstrip("/"),
        auth=(settings.login, settings.password.get_secret_value()),
        rate=RateLimit(calls=5, seconds=1, concurrency=2),
    )


@hookimpl
def execute_action(action: Action, api: ApiClient) -> Receipt | None:
    return execute.perform(action, api)


@hookimpl
def find_effect(action: Action, api: ApiClient) -> Receipt | None:
    return execute.find(action, api)


@hookimpl
def list_changed(since: datetime, api: ApiClient) -> Iterator[TicketRef]:
    return collect.changed(since, api)


@hookimpl
def explain_error(response: Answer) -> ApiError | None:
    return execute.explain(response)
