"""By which rules is a connection paced: its rate, its pauses, its errors, its breaker? Here in one process.

`gateway.governor` keeps the same rules in Redis for all processes; what one does, the other does.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Protocol

from gateway.model.connection import RateLimit

MARGIN = 0.02
SHORTEST_MARGIN = 0.05
LEASE = 0.05
LONGEST_LEASE = 2.0
DAY = 86_400.0
IN_FLIGHT_SECONDS = 60.0
IN_FLIGHT_WAIT = 0.1
PROBE_WAIT = 2.0
SHORTEST_WAIT = 0.001


class Outcome(StrEnum):
    """How a call ended, in the terms that pace the next one."""

    OK = "ok"
    REFUSED = "refused"  # 4xx: our fault, and some vendors count them
    UNAUTHORIZED = "unauthorized"  # 401
    FORBIDDEN = "forbidden"  # 403: perhaps only of this one object
    THROTTLED = "throttled"  # 429
    FAILED = "failed"  # 5xx, no connection, no answer


@dataclass(frozen=True, slots=True)
class Breaker:
    """When a connection is left alone, and for how many seconds: doubled each time, up to `longest`."""

    failures: int = 5
    seconds: float = 30.0
    forbidden: int = 3
    unauthorized_seconds: float = 60.0
    longest: float = 600.0
    probe_seconds: float = 30.0
    """A single probe is let through; when nothing is heard of it for so long, another one is."""


@dataclass(frozen=True, slots=True)
class Grant:
    """`granted` calls may be made now, all of them begun within `lease` seconds; or none, and `wait` seconds
    are to pass before asking again. `at` is the governor's time."""

    granted: int
    wait: float = 0.0
    lease: float = 0.0
    at: float = 0.0
    reason: str = ""


class Pacing(Protocol):
    """What the client needs of a governor."""

    def take(self, wanted: int = 1) -> Grant: ...

    def give_back(self, grant: Grant, unused: int) -> None: ...

    def record(self, outcome: Outcome, *, pause: float = 0.0, reason: str = "") -> None: ...

    def pause(self, seconds: float, reason: str) -> None: ...

    def reset(self) -> None: ...

    def state(self) -> dict[str, Any]: ...


class Purse:
    """Calls that are granted at once and drawn one by one, while the grant lasts; later ones ask the governor.

    What is left goes back with `close`, or as soon as a call ends badly.
    """

    def __init__(self, governor: Pacing, calls: int) -> None:
        asked_at = time.monotonic()
        self.grant = governor.take(calls)
        self._governor = governor
        self._left = self.grant.granted
        self._until = asked_at + self.grant.lease
        self._lock = threading.Lock()

    def take(self, wanted: int = 1) -> Grant:
        with self._lock:
            drawn = min(wanted, self._left) if time.monotonic() < self._until else 0
            self._left -= drawn
        if drawn:
            return replace(self.grant, granted=drawn)
        self.close()
        return self._governor.take(wanted)

    def give_back(self, grant: Grant, unused: int) -> None:
        self._governor.give_back(grant, unused)

    def record(self, outcome: Outcome, *, pause: float = 0.0, reason: str = "") -> None:
        if outcome is not Outcome.OK or pause > 0:
            self.close()
        self._governor.record(outcome, pause=pause, reason=reason)

    def pause(self, seconds: float, reason: str) -> None:
        self._governor.pause(seconds, reason)

    def reset(self) -> None:
        self._governor.reset()

    def state(self) -> dict[str, Any]:
        return self._governor.state()

    def close(self) -> None:
        with self._lock:
            left, self._left = self._left, 0
        self._governor.give_back(self.grant, left)


def window_of(rate: RateLimit) -> float:
    """Our window, in seconds: a little longer than the vendor's, as calls do not all travel equally fast."""
    return rate.seconds + max(rate.seconds * MARGIN, SHORTEST_MARGIN)


def error_window_of(rate: RateLimit) -> float:
    return rate.error_seconds * (1 + MARGIN)


def lease_of(rate: RateLimit) -> float:
    return min(rate.seconds * LEASE, LONGEST_LEASE)


class LocalGovernor:
    """The governor of one process: for tests, and for the time that Redis is away.

    Exact: it keeps a log of the grants of the last window, so that no window of `rate.seconds`, wherever it
    begins, sees more than `rate.calls`. `clock` gives seconds.
    """

    def __init__(
        self, rate: RateLimit, *, breaker: Breaker | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self.rate = rate
        self._breaker = breaker or Breaker()
        self._clock = clock
        self._lock = threading.Lock()
        self._window = window_of(rate)
        self._error_window = error_window_of(rate)
        self._forget()

    def _forget(self) -> None:
        self._log: deque[tuple[float, int]] = deque()
        self._used = 0
        self._errors: deque[float] = deque()
        self._in_flight = 0
        self._in_flight_until = 0.0
        self._paused_until = 0.0
        self._reason = ""
        self._failures = 0
        self._denials = 0
        self._opened = 0
        self._open_until = 0.0
        self._open_reason = ""
        self._probe_until = 0.0

    def take(self, wanted: int = 1) -> Grant:
        lease = lease_of(self.rate) if wanted > 1 else 0.0
        with self._lock:
            now = self._clock()
            if self._paused_until > now:
                return Grant(0, self._paused_until - now, at=now, reason=self._reason)
            if self._open_until > now:
                return Grant(0, self._open_until - now, at=now, reason=self._open_reason)
            if self._open_until:
                if self._probe_until > now:
                    return Grant(
                        0, min(self._probe_until - now, PROBE_WAIT), at=now, reason=self._open_reason
                    )
                wanted = 1
            self._expire(now)
            free = min(wanted, self.rate.calls - self._used)
            if free < 1:
                wait = max(self._log[0][0] + self._window - now, SHORTEST_WAIT)
                return Grant(0, wait, at=now, reason="rate limit")
            if self.rate.errors:
                room = self._error_room() - self._in_flight
                if room < 1:
                    return Grant(0, self._error_wait(now), at=now, reason="error budget")
                free = min(free, room)
                self._in_flight += free
                self._in_flight_until = now + IN_FLIGHT_SECONDS
            self._log.append((now + lease, free))
            self._used += free
            if self._open_until:
                self._probe_until = now + self._breaker.probe_seconds
            return Grant(free, 0.0, lease, now)

    def note(self, granted: int) -> None:
        """Count calls that were granted elsewhere."""
        with self._lock:
            now = self._clock()
            self._expire(now)
            self._log.append((now, granted))
            self._used += granted
            if self.rate.errors:
                self._in_flight += granted
                self._in_flight_until = now + IN_FLIGHT_SECONDS

    def give_back(self, grant: Grant, unused: int) -> None:
        """Return what was not used. Taken off the oldest entries: so no window is ever counted too low."""
        with self._lock:
            now = self._clock()
            if unused < 1:
                return
            self._in_flight = max(self._in_flight - unused, 0)
            if self._open_until:
                self._probe_until = 0.0
            if grant.at + grant.lease <= now - self._window:
                return
            self._expire(now)
            while unused and self._log:
                at, count = self._log.popleft()
                taken = min(count, unused)
                unused -= taken
                self._used -= taken
                if count > taken:
                    self._log.appendleft((at, count - taken))

    def record(self, outcome: Outcome, *, pause: float = 0.0, reason: str = "") -> None:
        with self._lock:
            now = self._clock()
            self._in_flight = max(self._in_flight - 1, 0)
            if outcome is Outcome.FAILED:
                self._failures += 1
                if self._failures >= self._breaker.failures or self._open_until:
                    self._open(now, self._breaker.seconds, reason)
            elif outcome is Outcome.UNAUTHORIZED:
                self._open(now, self._breaker.unauthorized_seconds, reason)
            elif outcome is Outcome.FORBIDDEN:
                self._denials += 1
                if self._denials >= self._breaker.forbidden or self._open_until:
                    self._open(now, self._breaker.unauthorized_seconds, reason)
            else:
                self._failures = self._denials = self._opened = 0
                self._open_until = self._probe_until = 0.0
                self._open_reason = ""
            if self.rate.errors and outcome in (Outcome.REFUSED, Outcome.UNAUTHORIZED, Outcome.FORBIDDEN):
                self._errors.append(now)
                self._expire(now)
                if self._error_room() < 1:
                    self._pause(now, self._errors[0] + self._error_window - now, f"error budget: {reason}")
            if pause > 0:
                self._pause(now, pause, reason)

    def pause(self, seconds: float, reason: str) -> None:
        with self._lock:
            self._pause(self._clock(), seconds, reason)

    def reset(self) -> None:
        """Forget pauses, errors and the open breaker, but not the calls that were made."""
        with self._lock:
            log, used = self._log, self._used
            self._forget()
            self._log, self._used = log, used

    def state(self) -> dict[str, Any]:
        with self._lock:
            now = self._clock()
            self._expire(now)
            return described(
                self.rate, now, self._used, len(self._errors), self._failures,
                self._paused_until, self._reason, self._open_until, self._open_reason,
            )  # fmt: skip

    def _pause(self, now: float, seconds: float, reason: str) -> None:
        until = now + min(seconds, DAY)
        if until > self._paused_until:
            self._paused_until, self._reason = until, reason

    def _open(self, now: float, seconds: float, reason: str) -> None:
        if self._open_until > now:  # a call that was under way when it opened: says nothing new
            return
        self._open_until = now + min(seconds * 2**self._opened, self._breaker.longest)
        self._opened = min(self._opened + 1, 20)
        self._open_reason = reason
        self._probe_until = 0.0

    def _expire(self, now: float) -> None:
        while self._log and self._log[0][0] <= now - self._window:
            self._used -= self._log.popleft()[1]
        while self._errors and self._errors[0] <= now - self._error_window:
            self._errors.popleft()
        if self._in_flight_until <= now:
            self._in_flight = 0

    def _error_room(self) -> int:
        return max(self.rate.errors - 1, 1) - len(self._errors)

    def _error_wait(self, now: float) -> float:
        return (
            IN_FLIGHT_WAIT
            if self._error_room() > 0
            else max(self._errors[0] + self._error_window - now, SHORTEST_WAIT)
        )


def described(
    rate: RateLimit, now: float, used: int, errors: int, failures: int,
    paused_until: float, reason: str, open_until: float, open_reason: str,
) -> dict[str, Any]:  # fmt: skip
    """The state of a governor for people; times in seconds since the epoch, None where there is none."""
    breaker = "closed" if not open_until else "open" if open_until > now else "half-open"
    return {
        "used": used,
        "limit": rate.calls,
        "seconds": rate.seconds,
        "errors": errors,
        "error_limit": rate.errors,
        "paused_until": paused_until if paused_until > now else None,
        "reason": reason if paused_until > now else open_reason,
        "breaker": breaker,
        "open_until": open_until or None,
        "consecutive_failures": failures,
    }
