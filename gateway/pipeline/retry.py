"""An attempt failed: when is the next one, or is it over? Pure, so that it can be asked about any case."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway.model.errors import ApiError, ApiFailure

FIRST = timedelta(seconds=2)
LONGEST = timedelta(hours=1)
GIVE_UP = timedelta(hours=24)
REPLICA_LAG = timedelta(minutes=10)
"""A vendor may not find what we created for so long (Movidesk reads from replicas)."""


@dataclass(frozen=True, slots=True)
class Again:
    """Try again at `at`. `counts` is False when nothing was sent: we only waited for our turn."""

    at: datetime
    counts: bool = True


@dataclass(frozen=True, slots=True)
class Over:
    """Nobody will try again by itself."""


def next_attempt(
    error: ApiError, *, attempts: int, since: datetime, now: datetime, jitter: float
) -> Again | Over:
    """After `attempts` tries of work that was decided at `since`. `jitter` is between 0 and 1."""
    if now - since > GIVE_UP:
        return Over()
    if error.failure is ApiFailure.THROTTLED:
        wait = timedelta(seconds=max(error.retry_after or 0.0, 0.5))
        return Again(now + min(wait, LONGEST) * (1 + jitter / 10), counts=False)
    if error.failure is ApiFailure.MISSING and now - since < REPLICA_LAG:
        return Again(now + timedelta(seconds=15))
    if not error.passing:
        return Over()
    backoff = min(FIRST * 2 ** min(attempts, 12), LONGEST)
    wait = max(backoff, timedelta(seconds=error.retry_after or 0.0))
    return Again(now + wait * (0.8 + 0.4 * jitter))
