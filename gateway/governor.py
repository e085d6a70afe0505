"""How much may all our processes together ask of a connection right now, and is it worth asking at all?"""

import threading
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import structlog
from redis import Redis, RedisError

from gateway.governor_scripts import GIVE_BACK, PAUSE, RECORD, RESET, STATE, TAKE
from gateway.model.connection import RateLimit
from gateway.pacing import (
    IN_FLIGHT_SECONDS,
    IN_FLIGHT_WAIT,
    PROBE_WAIT,
    SHORTEST_WAIT,
    Breaker,
    Grant,
    LocalGovernor,
    Outcome,
    Pacing,
    described,
    error_window_of,
    lease_of,
    window_of,
)

__all__ = ["Breaker", "Governor", "Grant", "LocalGovernor", "Outcome", "Pacing"]

log = structlog.get_logger()

PREFIX = "gateway:governor:"
KEPT_SECONDS = 2 * 86_400
AWAY_SECONDS = 1.0
"""For so long after a failure Redis is not asked again, lest every call waits for its time-out."""

FORGOTTEN = "Redis forgot the calls of the last window"


class Governor:
    """One connection's budget and breaker, shared through Redis: one round trip for `take`, one for `record`.

    Redis tells the time, so all processes agree. While Redis is away, each process paces itself at half the
    rate. When Redis comes back, the calls made meanwhile are counted; when it comes back empty, nothing is
    granted until one window has passed since.

    :param key: `tenant:connection`
    :param clock: seconds, for tests; None = Redis's own clock
    """

    def __init__(
        self,
        redis: "Redis",
        key: str,
        rate: RateLimit,
        *,
        breaker: Breaker | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.key = key
        self.rate = rate
        self._breaker = breaker or Breaker()
        self._clock = clock
        self._keys = [PREFIX + key, f"{PREFIX}{key}:calls", f"{PREFIX}{key}:errors"]
        self._lease = lease_of(rate)
        self._common = [
            rate.calls,
            window_of(rate),
            rate.errors,
            error_window_of(rate),
            KEPT_SECONDS,
            SHORTEST_WAIT,
        ]
        self._scripts = {name: redis.register_script(code) for name, code in SCRIPTS.items()}
        self._fallback = LocalGovernor(_halved(rate), breaker=breaker, clock=clock or time.time)
        self._lock = threading.Lock()
        self._away_until = 0.0
        self._away = False
        self._missed = 0
        self._quiet = False
        self._birth: bytes | None = None
        self._granted_at = 0.0
        self._lost_until = 0.0

    def take(self, wanted: int = 1) -> Grant:
        """Up to `wanted` calls, now; or none and how long to wait. See `Grant`."""
        with self._lock:
            missed, self._missed = self._missed, 0
        answer = self._run(
            "take", max(wanted, 1), self._lease, self._breaker.probe_seconds, PROBE_WAIT, IN_FLIGHT_SECONDS,
            IN_FLIGHT_WAIT, missed, uuid4().hex,
        )  # fmt: skip
        if answer is None:
            grant = self._fallback.take(wanted)
            with self._lock:
                self._missed += missed + grant.granted
            return grant
        granted, wait, now, reason, quiet, birth, born_at = answer
        lease = self._lease if granted and wanted > 1 else 0.0
        grant = Grant(granted, float(wait), lease, float(now), _text(reason))
        self._quiet = bool(quiet)
        if self._was_lost(birth, float(born_at), grant.at):
            return self._after_loss(grant)
        if granted:
            self._granted_at = grant.at
            self._fallback.note(granted)
        return grant

    def give_back(self, grant: Grant, unused: int) -> None:
        """Return what was not used of a grant."""
        if unused > 0:
            self._run("give_back", grant.at + grant.lease, unused)

    def record(self, outcome: Outcome, *, pause: float = 0.0, reason: str = "") -> None:
        """How a granted call ended. `pause` seconds are waited by everyone, as the vendor asked.

        A success needs no round trip when there was nothing that it could mend.
        """
        self._fallback.record(outcome, pause=pause, reason=reason)
        if outcome is Outcome.OK and pause <= 0 and self._quiet and not self.rate.errors:
            return
        if outcome is not Outcome.OK:
            self._quiet = False
        breaker = self._breaker
        self._run(
            "record", outcome.value, pause, reason, breaker.failures, breaker.seconds, breaker.forbidden,
            breaker.unauthorized_seconds, breaker.longest,
        )  # fmt: skip

    def pause(self, seconds: float, reason: str) -> None:
        """Nothing is granted to anybody for so long."""
        self._fallback.pause(seconds, reason)
        self._run("pause", seconds, reason)

    def reset(self) -> None:
        """Forget pauses, errors and the open breaker, but not the calls that were made."""
        self._fallback.reset()
        self._run("reset")

    def state(self) -> dict[str, Any]:
        """For people; see `described`. `shared` is False while Redis is away."""
        answer = self._run("state")
        if answer is None:
            return self._fallback.state() | {"shared": False}
        now, used, errors, failures, paused_until, reason, open_until, open_reason = answer
        return described(
            self.rate, float(now), used, errors, failures,
            float(paused_until), _text(reason), float(open_until), _text(open_reason),
        ) | {"shared": True}  # fmt: skip

    def _run(self, script: str, *arguments: Any) -> Any:
        """The script's answer; None while Redis is away."""
        if self._away and time.monotonic() < self._away_until:
            return None
        now = "" if self._clock is None else self._clock()
        try:
            answer = self._scripts[script](keys=self._keys, args=[now, *self._common, *arguments])
        except (RedisError, OSError) as error:
            with self._lock:
                if not self._away:
                    log.warning("Redis is away: paced in this process, at half the rate", connection=self.key,
                                error=str(error))  # fmt: skip
                self._away, self._away_until = True, time.monotonic() + AWAY_SECONDS
            return None
        if self._away:
            self._away = False
            log.info("Redis is back: paced together again", connection=self.key)
        return answer

    def _was_lost(self, birth: bytes, born_at: float, now: float) -> bool:
        """Redis no longer knows calls that we made within the window: it came back empty."""
        with self._lock:
            known, self._birth = self._birth, birth
            if known is not None and known != birth and self._granted_at > now - window_of(self.rate):
                self._lost_until = born_at + window_of(self.rate)
            return now < self._lost_until

    def _after_loss(self, grant: Grant) -> Grant:
        self.give_back(grant, grant.granted)
        wait = self._lost_until - grant.at
        log.warning(FORGOTTEN, connection=self.key, pause=round(wait, 1))
        self.pause(wait, FORGOTTEN)
        return Grant(0, wait, at=grant.at, reason=FORGOTTEN)


SCRIPTS = {
    "take": TAKE, "give_back": GIVE_BACK, "record": RECORD, "pause": PAUSE, "reset": RESET, "state": STATE,
}  # fmt: skip


def _halved(rate: RateLimit) -> RateLimit:
    """For each process alone: half the calls, or half as often."""
    if rate.calls > 1:
        return RateLimit(rate.calls // 2, rate.seconds, rate.errors, rate.error_seconds, rate.concurrency)
    return RateLimit(1, rate.seconds * 2, rate.errors, rate.error_seconds, rate.concurrency)


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
