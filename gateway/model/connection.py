"""How is one account at one vendor reached, and how much may we ask of it?"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, HttpUrl, SecretStr

from .record import Record

SecretList = Annotated[
    tuple[SecretStr, ...],
    BeforeValidator(lambda value: value if isinstance(value, list | tuple) else (value,)),
    Field(min_length=1, max_length=3),
]
"""One secret, or a list while it rotates: the new one first, the old one still accepted."""


class ConnectionSettings(BaseModel):
    """What an admin fills in for a connection. `SecretStr` fields are encrypted at rest and never printed.

    `custom_fields` maps the tenant's names for fields (`phone`, `plan`) to what the vendor calls them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_url: HttpUrl | None = Field(
        None, description="another address of the API: a region, a proxy, a sandbox"
    )
    custom_fields: dict[str, Any] = Field({}, description="our name of a field -> the vendor's")
    reconcile_minutes: int | None = Field(
        None,
        ge=0,
        le=1440,
        description="how often to look for lost webhooks; empty = as the installation, 0 = never",
    )

    def accepted_status(self) -> int:
        """What an accepted webhook is answered with: some vendors take only 200 for a success."""
        return 202

    def own_ids(self) -> frozenset[str]:
        """The vendor's ids of the user we act as, so that our own echoes are recognised."""
        return frozenset()


S = TypeVar("S", bound=ConnectionSettings, covariant=True)


@dataclass(frozen=True, slots=True)
class Connection(Generic[S]):
    """One tenant's account at one vendor; `settings` are already validated, secrets included."""

    tenant: str
    name: str
    vendor: str
    settings: S


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most `calls` in any `seconds`. At most `errors` refused calls in `error_seconds`, for vendors that lock
    out a client that errs too often; 0 = the vendor does not mind. `concurrency` = calls at one time."""

    calls: int
    seconds: float
    errors: int = 0
    error_seconds: float = 60
    concurrency: int = 4


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """All that the core needs to build the client. `auth` is (user, password) for HTTP Basic.

    `params` go on every call (and are redacted, as some vendors want their token there).
    `timeout` and `settles` are in seconds; `settles` is how long after a write a reading may still not show it,
    so that an interrupted action is not looked for too early.
    """

    base_url: str
    auth: tuple[str, str] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    rate: RateLimit = RateLimit(calls=60, seconds=60)
    timeout: float = 20.0
    settles: float = 0.0


@dataclass(frozen=True, slots=True)
class VendorInfo:
    """What `gateway plugins` and the admin's forms show of a vendor."""

    label: str
    settings: type[ConnectionSettings]
    docs: str = ""
    probe: str | None = None
    """A harmless GET path by which `gateway doctor` learns whether the credentials are still accepted."""


class Receipt(Record):
    """What the vendor gave back. `remote_id` is the new ticket's or comment's id, where it says."""

    remote_id: str | None = None
    url: str | None = None
