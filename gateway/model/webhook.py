"""What exactly did somebody send us, and what did its proof tell?"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Webhook:
    """A request as it came. `headers` have lower-case names; `body` is the raw bytes; `received_at` is UTC."""

    headers: Mapping[str, str]
    body: bytes
    query: Mapping[str, str] = field(default_factory=dict)
    received_at: datetime = NEVER
    method: str = "POST"


@dataclass(frozen=True, slots=True)
class Verified:
    """The proof that a webhook is authentic.

    `delivery_id` is the vendor's name for this delivery, the same on every retry (None = the vendor has none:
    every request counts). `sent_at` is the vendor's own time, if it says. `subject` is the id of the ticket
    it is about, so that its events keep their order. `thin` = it only hints: collect the ticket first.
    `kept` is stored instead of the body, where a vendor writes its token into that.
    """

    delivery_id: str | None = None
    sent_at: datetime | None = None
    subject: str | None = None
    thin: bool = False
    kept: bytes | None = None
