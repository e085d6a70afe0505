"""Movidesk (Zenvia Customer Service): trigger webhooks in, REST API out; which hooks does it answer?

Setup for the tenant's admin is in README.md (README.pt-BR.md) beside this file.
"""

from collections.abc import Iterator
from datetime import datetime

from pydantic import Field, HttpUrl, SecretStr, field_validator

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
    Status,
    TicketRef,
    VendorInfo,
    Verified,
    Webhook,
    hookimpl,
)

from . import accept, collect, convert, execute
from .fields import CustomField

API = "https://api.movidesk.com/public/v1"

STATUS_LABELS = {
    Status.NEW: "Novo",
    Status.OPEN: "Em atendimento",
    Status.PENDING: "Aguardando",
    Status.ON_HOLD: "Aguardando",
    Status.RESOLVED: "Resolvido",
    Status.CLOSED: "Fechado",
    Status.CANCELED: "Cancelado",
}
URGENCIES = {
    "Baixa": Priority.LOW,
    "Média": Priority.NORMAL,
    "Alta": Priority.HIGH,
    "Urgente": Priority.URGENT,
}


class Settings(ConnectionSettings):
    """A Movidesk account. Labels are the tenant's own and must be spelled as they are there."""

    subdomain: str = Field(
        pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", description="the `acme` of acme.movidesk.com"
    )
    person_id: str = Field(min_length=1, max_length=64, description="Cód. Ref. of the person we act as")
    default_client_id: str | None = Field(
        None, description="Cód. Ref. of the client of tickets without contact"
    )
    service_id: int | None = Field(None, gt=0, description="service of the tickets that we open")
    public_description: bool = Field(
        False, description="show the first text of tickets that we open to the client"
    )
    replica_lag_seconds: float = Field(
        180,
        ge=0,
        le=900,
        description="how far behind reading may be: an interrupted write is looked for after it",
    )
    calls_per_minute: int = Field(
        10, ge=1, le=10_000, description="what the account's contract allows all integrations together"
    )
    statuses: dict[Status, str] = Field(STATUS_LABELS, description="our status -> the label set for it")
    justifications: dict[str, str] = Field(
        {}, description="status label (or our status, where two share a label) -> justification set with it"
    )
    urgencies: dict[str, Priority] = Field(URGENCIES, description="urgency label -> our priority")
    custom_fields: dict[str, CustomField] = Field(
        {}, description="our name of a field -> id, rule, line, kind"
    )
    token: SecretStr
    hook_key: SecretList

    @field_validator("statuses")
    @classmethod
    def _usual_labels(cls, given: dict[Status, str]) -> dict[Status, str]:
        return STATUS_LABELS | given

    def own_ids(self) -> frozenset[str]:
        return frozenset({self.person_id})

    def justification(self, status: Status, label: str) -> str | None:
        return self.justifications.get(status.value) or self.justifications.get(label)

    def ticket_url(self, ticket_id: str) -> str:
        return f"https://{self.subdomain}.movidesk.com/Ticket/Edit/{ticket_id}"


@hookimpl
def vendor_info() -> VendorInfo:
    return VendorInfo(
        label="Movidesk",
        settings=Settings,
        docs="https://atendimento.movidesk.com/kb/article/256",
        probe="/tickets?$select=id&$top=1",
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
def connect_api(connection: Connection[Settings]) -> ApiSettings:
    settings = connection.settings
    return ApiSettings(
        base_url=str(settings.base_url or HttpUrl(API)).rstrip("/"),
        params={"token": settings.token.get_secret_value()},
        # "Unlimited" from 19:00 to 07:00, by a clock that is not documented: so never relied on.
        # https://support.zenvia.com, article 518701
        rate=RateLimit(
            calls=settings.calls_per_minute, seconds=60, errors=3, error_seconds=60, concurrency=1
        ),
        settles=settings.replica_lag_seconds,
    )


@hookimpl
def execute_action(action: Action, api: ApiClient) -> Receipt | None:
    return execute.perform(action, api)


@hookimpl
def find_effect(action: Action, api: ApiClient) -> Receipt | None:
    return execute.found(action, api)


@hookimpl
def list_changed(since: datetime, api: ApiClient) -> Iterator[TicketRef]:
    return collect.changed(since, api)


@hookimpl
def explain_error(response: Answer) -> ApiError | None:
    return collect.explained(response)
