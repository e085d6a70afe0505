"""Bitrix24: outgoing webhooks in, REST out; which hooks does it answer?

Setup for the tenant's admin is in README.md (README.pt-BR.md) beside this file.
"""

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr, field_validator

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
    Reference,
    SecretList,
    Snapshot,
    TicketRef,
    VendorInfo,
    Verified,
    Webhook,
    hookimpl,
)

from . import accept, collect, convert, execute, links, portal

Tokens = Annotated[
    tuple[SecretStr, ...],
    BeforeValidator(lambda value: value if isinstance(value, list | tuple) else (value,)),
    Field(min_length=1, max_length=20),
]
"""One secret, or several: every outgoing webhook of a portal has a token of its own."""

HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?(?::\d{1,5})?")


class Settings(ConnectionSettings):
    """One portal, and the user whose inbound webhook this is: what that user does is taken for our own echo."""

    portal_host: str = Field(description="`acme.bitrix24.com.br`; a self-hosted portal may have `:port`")
    former_hosts: tuple[str, ...] = Field(
        (), description="earlier hosts of the portal: links to them count too"
    )
    base_path: str = Field(
        "", pattern=r"^(/[A-Za-z0-9_-]+)*$", description="of a self-hosted portal below a path: `/portal`"
    )
    user_id: int = Field(gt=0, description="user of the inbound webhook: the number in its address")
    member_id: str | None = Field(
        None, pattern=r"^[0-9a-f]{32}$", description="refuse webhooks of any other portal"
    )
    responsible_id: int | None = Field(
        None, gt=0, description="responsible for what we open without naming anybody; else `user_id`"
    )
    chat_user_id: int | None = Field(
        None, gt=0, description="operator in whose name we write in open-line chats; else `user_id`"
    )
    groups: dict[str, int] = Field({}, description="our name of a team -> id of the workgroup of its tasks")
    deal_pipeline: int = Field(0, ge=0, description="pipeline (CATEGORY_ID) of deals that we open")
    deal_stage: str | None = Field(None, description="their first stage, `C3:NEW`; else the pipeline's own")
    deal_tag_field: str | None = Field(
        None, pattern=r"^UF_[A-Z0-9_]+$", description="multiple text field that holds a deal's tags"
    )
    task_card: Literal["auto", "old", "new"] = Field(
        "auto", description="comments of tasks: old card (forum), new card (chat), or as each task has it"
    )
    custom_fields: dict[str, str | dict[str, str]] = Field(
        {}, description="our name of a field -> `UF_...`, or one by kind: `{deal: UF_CRM_1, task: UF_AUTO_2}`"
    )
    phone_region: str = Field("BR", pattern=r"^[A-Z]{2}$", description="country of numbers without +country")
    calls_per_second: int = Field(2, ge=1, le=50, description="the plan's limit: 2, Enterprise 5")
    webhook_secret: SecretStr = Field(description="of the inbound webhook: the last part of its address")
    application_token: Tokens = Field(description="of the outgoing webhooks, or of the local application")
    hook_key: SecretList | None = Field(
        None, description="a second proof, as `?key=` of the handler's address"
    )

    @field_validator("portal_host", "former_hosts")
    @classmethod
    def _hosts(cls, given: Any) -> Any:
        hosts = [
            host.lower().removesuffix(":443").removesuffix(".")
            for host in ((given,) if isinstance(given, str) else given)
        ]
        for host in hosts:
            if not HOST.fullmatch(host):
                raise ValueError(
                    f"{host!r} is no host: write acme.bitrix24.com.br, without https:// and path"
                )
        return hosts[0] if isinstance(given, str) else tuple(hosts)

    def own_ids(self) -> frozenset[str]:
        return frozenset({str(self.user_id)})

    def hosts(self) -> frozenset[str]:
        """Where links to this portal may point, `host` or `host:port`."""
        return frozenset({self.portal_host, *self.former_hosts})

    def fields_of(self, kind: str) -> dict[str, str]:
        """Our names of the fields that things of this kind have, and Bitrix24's."""
        found = {}
        for name, mapped in self.custom_fields.items():
            theirs = mapped.get(kind) if isinstance(mapped, dict) else mapped
            if theirs:
                found[name] = theirs
        return found

    def portal_url(self) -> str:
        return f"https://{self.portal_host}{self.base_path}"

    def rest_url(self) -> str:
        """The REST root; only ever from these settings, never from what a webhook says of itself."""
        return str(self.base_url or f"{self.portal_url()}/rest").rstrip("/")


@hookimpl
def vendor_info() -> VendorInfo:
    return VendorInfo(
        label="Bitrix24",
        settings=Settings,
        docs="https://apidocs.bitrix24.com/local-integrations/local-webhooks.html",
        probe="/profile",
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
    secret = settings.webhook_secret.get_secret_value()
    window = 20
    return ApiSettings(
        base_url=f"{settings.rest_url()}/{settings.user_id}/{secret}",
        # A bucket of 50 that drains by two a second, shared with whoever else calls from the same address:
        # 40 in any 20 seconds never fill it. https://apidocs.bitrix24.com/limits.html
        rate=RateLimit(calls=window * settings.calls_per_second, seconds=window, concurrency=2),
        timeout=30.0,
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
    return portal.explain(response)


@hookimpl
def find_references(text: str, connection: Connection[Settings]) -> list[Reference]:
    return links.references(text, connection)
