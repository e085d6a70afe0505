"""An attempt failed: when is the next one, or is it over? Pure, so that it can be asked about any case."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway.model.errors import ApiError, ApiFailure

SHORTEST = timedelta(seconds=0.5)
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
    asked = timedelta(seconds=min(error.retry_after or 0.0, GIVE_UP.total_seconds())) * (1 + jitter / 10)
    if error.failure is ApiFailure.THROTTLED:
        return Again(now + max(asked, SHORTEST * (1 + jitter / 10)), counts=False)
    if error.failure is ApiFailure.MISSING and now - since < REPLICA_LAG:
        return Again(now + timedelta(seconds=15))
    if not error.passing:
        return Over()
    backoff = min(FIRST * 2 ** min(attempts, 12), LONGEST) * (0.8 + 0.4 * jitter)
    return Again(now + max(backoff, asked))
