"""Freshdesk: automation webhooks in, REST API v2 out; which hooks does it answer?

Setup for the tenant's admin is in README.md (README.pt-BR.md) beside this file.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints

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
    Person,
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

from . import accept, collect, convert, errors, execute

FieldName = Annotated[str, StringConstraints(pattern=r"^cf_\w{1,100}$")]


class AccountStatus(BaseModel):
    """One status of the account, and what it stands for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: int = Field(ge=2)
    means: Status | None = Field(None, description="our status; none = none of ours")


STATUSES = {
    "Open": AccountStatus(id=2, means=Status.OPEN),
    "Pending": AccountStatus(id=3, means=Status.PENDING),
    "Resolved": AccountStatus(id=4, means=Status.RESOLVED),
    "Closed": AccountStatus(id=5, means=Status.CLOSED),
    "Waiting on Customer": AccountStatus(id=6, means=Status.PENDING),
    "Waiting on Third Party": AccountStatus(id=7, means=Status.ON_HOLD),
}


class Settings(ConnectionSettings):
    """One Freshdesk account, and the agent that the gateway acts as."""

    subdomain: str = Field(
        pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",  # or the key could be sent elsewhere
        description="`acme` of acme.freshdesk.com",
    )
    agent_id: str = Field(pattern=r"^[0-9]{1,20}$", description="id of the agent whose API key this is")
    groups: dict[str, int] = Field({}, description="our name of a team -> id of the group")
    agents: dict[str, int] = Field({}, description="an agent's name or e-mail -> id of the agent")
    statuses: dict[str, AccountStatus] = Field(
        {}, description="label of a status of the account -> its id and what it means"
    )
    custom_fields: dict[str, FieldName] = Field({}, description="our name of a field -> its `cf_...` name")
    product_id: int | None = Field(None, gt=0, description="product of the tickets that we open")
    email_config_id: int | None = Field(None, gt=0, description="mailbox of the tickets that we open")
    default_type: str | None = Field(None, description="type of the tickets that we open, if none was said")
    phone_region: str = Field("BR", pattern=r"^[A-Z]{2}$", description="country of numbers without +country")
    calls_per_minute: int = Field(
        80, ge=1, le=100_000, description="our share of the plan's limit: see README, Limits"
    )
    settle_seconds: float = Field(
        5, ge=0, le=900, description="how long after an unanswered write it is looked for"
    )
    api_key: SecretStr
    hook_key: SecretList

    def own_ids(self) -> frozenset[str]:
        return frozenset({self.agent_id})

    def all_statuses(self) -> dict[str, AccountStatus]:
        """By label, the account's own first; a default whose id has another label there is left out."""
        named = {status.id for status in self.statuses.values()}
        usual = {label: status for label, status in STATUSES.items() if status.id not in named}
        return {**self.statuses, **{label: usual[label] for label in usual if label not in self.statuses}}

    def agent(self, agent_id: str) -> Person | None:
        """The agent as far as the settings name them."""
        names = [name for name, id_ in self.agents.items() if str(id_) == agent_id]
        if not names and agent_id != self.agent_id:
            return None
        return Person(
            id=agent_id, is_agent=True,
            name=next((name for name in names if "@" not in name), None),
            email=next((name for name in names if "@" in name), None),
        )  # fmt: skip

    def ticket_url(self, ticket_id: str) -> str:
        return f"https://{self.subdomain}.freshdesk.com/a/tickets/{ticket_id}"


@hookimpl
def vendor_info() -> VendorInfo:
    return VendorInfo(
        label="Freshdesk",
        settings=Settings,
        docs="https://developers.freshdesk.com/api/",
        probe="/agents/me",
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
    return ApiSettings(
        # never the company's own domain: only this host speaks the API
        base_url=str(settings.base_url or f"https://{settings.subdomain}.freshdesk.com/api/v2").rstrip("/"),
        auth=(settings.api_key.get_secret_value(), "X"),  # any password will do
        headers={"Accept": "application/json"},
        rate=RateLimit(calls=settings.calls_per_minute, seconds=60),
        settles=settings.settle_seconds,
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
    return errors.explain(response)
