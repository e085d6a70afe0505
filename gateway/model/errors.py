"""What can go wrong, and what does each kind of failure mean for the work in hand?

GatewayError                 the message is meant for a person
├── WebhookRejected          no valid proof of origin: 401, no row is written
├── UnreadableWebhook        the proof is right but the body makes no sense: kept and parked
├── InvalidConfiguration     settings, YAML or a template is wrong: nothing is applied
├── PluginError              a vendor or rule cannot be loaded: start-up stops
├── CollectFirst             a rule needs the whole ticket: it is read back, the rule is asked again
└── ApiError                 a vendor's API did not do what was asked
"""

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .ticket import TicketRef


class GatewayError(Exception):
    """An error whose message is shown to a person: what, where, and what to do."""


class WebhookRejected(GatewayError):
    """Raised by `verify_webhook`: the proof of origin is missing, wrong or too old."""


class UnreadableWebhook(GatewayError):
    """Raised by `convert_webhook`: authentic, but not in any shape the vendor is known to send."""


class InvalidConfiguration(GatewayError):
    """Settings refused when they are saved; the message names the path and what was expected."""


class PluginError(GatewayError):
    """A plugin cannot be imported, misspells a hook, or does not exist."""


class CollectFirst(GatewayError):
    """Raised by `Facts.full_ticket()`; the core reads the ticket back and asks the rule again."""

    def __init__(self, ref: "TicketRef") -> None:
        super().__init__(f"{ref} is known only in part")
        self.ref = ref


class ApiFailure(StrEnum):
    """Why a call failed, in the terms that decide what happens next."""

    REFUSED = "refused"  # 400, 405, 413, 415, 422: the same request will fail again
    UNAUTHORIZED = "unauthorized"  # 401, 403: the credentials or their permissions must be mended
    MISSING = "missing"  # 404, 410
    CONFLICT = "conflict"  # 409: read again, then repeat
    THROTTLED = "throttled"  # 429, or our own governor says wait
    UNAVAILABLE = "unavailable"  # 5xx
    UNREACHABLE = "unreachable"  # no connection was made, so nothing was sent
    UNANSWERED = "unanswered"  # sent, but the answer never came: it may have happened


PASSING = frozenset({
    ApiFailure.CONFLICT, ApiFailure.THROTTLED, ApiFailure.UNAVAILABLE, ApiFailure.UNREACHABLE,
    ApiFailure.UNANSWERED, ApiFailure.UNAUTHORIZED,
})  # fmt: skip


class ApiError(GatewayError):
    """A vendor call that did not succeed.

    `retry_after` is in seconds, from the vendor or from our governor. `uncertain` says that the call may
    have taken effect all the same, so the next attempt must look (`find_effect`) before it writes. `existing`
    is the id of what is there already, where a duplicate was refused and the vendor names it.
    """

    def __init__(
        self,
        failure: ApiFailure,
        message: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        uncertain: bool = False,
        existing: str | None = None,
    ) -> None:
        super().__init__(message)
        self.failure = failure
        self.status = status
        self.retry_after = retry_after
        self.uncertain = uncertain
        self.existing = existing

    @property
    def passing(self) -> bool:
        """True when the same call may succeed later without anybody changing it."""
        return self.failure in PASSING
