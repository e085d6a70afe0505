"""Generic: which hooks answer for any sender of signed JSON (Standard Webhooks), by the tenant's own mapping?

Setup for the tenant's admin is in README.md (README.pt-BR.md) beside this file. Nothing goes out.
"""

import json
from dataclasses import replace

from pydantic import ConfigDict, Field, SecretStr, field_validator, model_validator

from gateway.api import (
    JSON,
    Connection,
    ConnectionSettings,
    Event,
    SecretList,
    UnreadableWebhook,
    VendorInfo,
    Verified,
    Webhook,
    hookimpl,
)

from . import accept, convert
from .expression import Expression
from .mapping import EVENTS, EventMapping, events_in


class Settings(ConnectionSettings):
    """`sample` is a document of the sender (with invented people) that must map to an event when it is saved.

    `expect` says what some of that event's fields must be, by dotted name: `payment.amount_minor: 99000`.
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    secret: SecretList = Field(description="`whsec_...`, shared with the sender; two while it rotates")
    events: tuple[EventMapping, ...] = Field(
        min_length=1, description="tried in order; the first that fits wins"
    )
    all: bool = Field(False, description="every mapping that fits gives an event, not only the first")
    subject: Expression | None = Field(
        None, description="where the ticket's id is, if mappings tell of tickets"
    )
    sample: JSON = None
    expect: dict[str, JSON] = Field(default_factory=dict)

    @field_validator("secret")
    @classmethod
    def _check_secret(cls, secrets: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        return tuple(accept.check_secret(secret) for secret in secrets)

    @model_validator(mode="after")
    def _check_mapping(self) -> "Settings":
        if self.subject is None and any(EVENTS[mapping.event].about_ticket for mapping in self.events):
            raise ValueError("ticket events keep their order by `subject`: say where the ticket's id is")
        if self.sample is None:
            if self.expect:
                raise ValueError("`expect` needs a `sample`")
            return self
        events = _mapped_sample(self)
        if not events:
            raise ValueError("sample: no `when` holds for it, so it gives no event")
        told = events[0].model_dump(mode="json")
        for path, expected in self.expect.items():
            if (actual := _at(told, path)) != expected:
                raise ValueError(f"expect: {path} is {json.dumps(actual)}, not {json.dumps(expected)}")
        return self


@hookimpl
def vendor_info() -> VendorInfo:
    return VendorInfo(
        label="Generic (Standard Webhooks)", settings=Settings, docs="https://www.standardwebhooks.com/"
    )


@hookimpl
def verify_webhook(webhook: Webhook, connection: Connection[Settings]) -> Verified:
    proof = accept.verify(webhook, connection.settings.secret)
    return replace(proof, subject=convert.subject(webhook.body, connection.settings.subject))


@hookimpl
def convert_webhook(webhook: Webhook, connection: Connection[Settings]) -> list[Event]:
    settings = connection.settings
    return convert.events(webhook, settings.events, every=settings.all, connection=connection.name)


def _mapped_sample(settings: Settings) -> list[Event]:
    """What the mappings make of the sample, which may be JSON text or an object. Raises ValueError."""
    try:
        text = settings.sample if isinstance(settings.sample, str) else json.dumps(settings.sample)
        document = convert.read(text.encode())
        return events_in(
            document, settings.events, every=settings.all, told_at=accept.EPOCH, connection="sample"
        )
    except (TypeError, RecursionError):
        raise ValueError("sample: not JSON; in YAML, dates need quotes") from None
    except (UnreadableWebhook, UnicodeError) as error:
        raise ValueError(f"sample: {error}") from None


def _at(told: JSON, path: str) -> JSON:
    for name in path.split("."):
        told = told.get(name) if isinstance(told, dict) else None
    return told
