"""How many calls does the sandbox's Freshdesk allow, and what does it say of them?

https://developers.freshdesk.com/api/#ratelimit, https://support.freshdesk.com/en/support/solutions/articles/225439
"""

import time
from collections import defaultdict, deque
from collections.abc import Callable

MINUTE = 60.0

# By the plan's calls a minute: creating tickets, changing them, listing tickets, listing contacts.
PLANS = {200: (80, 80, 20, 20), 400: (160, 160, 100, 100), 700: (280, 280, 200, 200)}
KINDS = ("create", "update", "list tickets", "list contacts")


class Limits:
    """Sliding minutes: the account's, and those of four endpoints, which may trip first. None = no limits."""

    def __init__(self, calls_per_minute: int | None, clock: Callable[[], float] = time.time) -> None:
        self.total, self.clock = calls_per_minute, clock
        self._taken: dict[str, deque[tuple[float, int]]] = defaultdict(deque)

    def take(self, method: str, path: str, includes: int) -> tuple[dict[str, str], int | None]:
        """The headers to answer with, and the seconds to wait when there is nothing left.

        :param includes: each costs as much as a call
        """
        if self.total is None:
            return {}, None
        now, cost = self.clock(), 1 + includes
        windows = [("account", self.total, cost)]
        kind = _kind(method, path)
        if kind is not None:
            most = PLANS.get(self.total, (self.total,) * 4)[KINDS.index(kind)]
            windows.append((kind, most, 1))
        waits = [self._wait(name, most, now) for name, most, _ in windows]
        wait = max((seconds for seconds in waits if seconds is not None), default=None)
        if wait is None:
            for name, _, spent in windows:
                self._taken[name].append((now, spent))
        left = max(self.total - self._used("account"), 0)
        headers = {
            "X-RateLimit-Total": str(self.total),
            "X-RateLimit-Remaining": str(left),
            "X-RateLimit-Used-CurrentRequest": str(cost),
        }
        return headers, wait

    def _used(self, name: str) -> int:
        return sum(spent for _, spent in self._taken[name])

    def _wait(self, name: str, most: int, now: float) -> int | None:
        taken = self._taken[name]
        while taken and taken[0][0] <= now - MINUTE:
            taken.popleft()
        return int(taken[0][0] + MINUTE - now) + 1 if taken and self._used(name) >= most else None


def _kind(method: str, path: str) -> str | None:
    if path == "/api/v2/tickets":
        return {"POST": "create", "GET": "list tickets"}.get(method)
    if path == "/api/v2/contacts" and method == "GET":
        return "list contacts"
    return "update" if method == "PUT" and path.startswith("/api/v2/tickets/") else None
