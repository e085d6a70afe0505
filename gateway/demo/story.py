"""What happens in the demo, and did it really? Each step is proved by the rows and by the sandboxes' own state."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
from rq.worker import Worker
from sqlalchemy import Row
from sqlalchemy.exc import DBAPIError

from gateway.model.errors import GatewayError

from .by_hand import show as show_by_hand
from .scene import TENANT, Scene, Stopped
from .watch import Watch

LOOK_SECONDS = 0.1
LIMIT = 15.0
START_LIMIT = 40.0

T = TypeVar("T")
Steps = dict[str, Callable[[], str]]
"""By title; each returns what came of it, and raises GatewayError when it did not happen."""


@dataclass(frozen=True, slots=True)
class Step:
    """A line of the summary."""

    title: str
    outcome: str
    deliveries: tuple[int, ...]
    seconds: float


class Story:
    """Tells steps one after the other; the first that does not happen ends it with a GatewayError that names it."""

    def __init__(self, scene: Scene, *, workers: int) -> None:
        self.scene = scene
        self.screen = scene.screen
        self.http = scene.http
        self.workers = workers
        self.watch: Watch
        self.done: list[Step] = []

    def tell(self, steps: Steps) -> None:
        """Raises GatewayError naming the step that failed, Stopped when somebody ended the demo."""
        with self.scene.gateway.db.connect().execution_options(isolation_level="AUTOCOMMIT") as db:
            self.watch = Watch(db, TENANT)
            for number, (title, play) in enumerate({"the gateway starts": self._starts, **steps}.items()):
                if number:
                    self.screen.chapter(f"{number}. {title[0].upper()}{title[1:]}")
                self._play(number, title, play)
            self._end()
            while not self.scene.once:
                self.look()
                self._pause()

    def _play(self, number: int, title: str, play: Callable[[], str]) -> None:
        before, began = set(self.watch.deliveries), time.monotonic()
        name = f"demo step {number} ({title})"
        try:
            outcome = play()
        except GatewayError as error:
            raise GatewayError(f"{name} failed: {error}") from None
        except (httpx.HTTPError, DBAPIError) as error:
            raise GatewayError(f"{name} failed: {type(error).__name__}: {error}") from error
        new = tuple(sorted(set(self.watch.deliveries) - before))
        self.done.append(Step(title, outcome, new, time.monotonic() - began))

    def _starts(self) -> str:
        self.until("the server is ready", self._ready, START_LIMIT)
        self.until(f"{self.workers} workers are there", self._staffed, START_LIMIT)
        self.screen.line("server", f"{self.scene.server}, {self.workers} workers")
        return f"server and {self.workers} workers answer"

    def _ready(self) -> bool:
        try:
            return self.http.get(f"{self.scene.server}/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def _staffed(self) -> bool:
        found: int = Worker.count(connection=self.scene.gateway.redis)
        return found >= self.workers

    def _end(self) -> None:
        self.scene.finished = True
        self.screen.chapter("All of it happened")
        rows = [
            (step.title, step.outcome, " ".join(map(str, step.deliveries)), f"{step.seconds:.1f}")
            for step in self.done
        ]
        self.screen.table(("step", "outcome", "deliveries", "s"), rows)
        if not self.scene.once:
            show_by_hand(self.scene, *(step.deliveries[0] for step in self.done if step.deliveries))

    # --- doing ----------------------------------------------------------------------------------------------

    def person(self, connection: str, told: dict[str, Any], ticket: str = "") -> dict[str, Any]:
        """What a person does at a desk itself; empty where the sandbox answers nothing."""
        path = f"/{ticket}" if ticket else ""
        url = f"{self.scene.sandboxes[connection]}/_sandbox/human/tickets{path}"
        answer = self.http.post(url, json=told).raise_for_status()
        found: dict[str, Any] = answer.json() if answer.content else {}
        return found

    # --- looking --------------------------------------------------------------------------------------------

    def until(self, what: str, found: Callable[[], T | None], limit: float = LIMIT) -> T:
        """The first answer that is not empty. Raises GatewayError when it cannot come, or after `limit` seconds."""
        deadline = time.monotonic() + limit
        while True:
            self.look()
            if answer := found():
                return answer
            if troubles := self.watch.troubles:
                raise GatewayError("; ".join(troubles))
            if time.monotonic() > deadline:
                raise GatewayError(f"waited {limit:.0f} s in vain until {what}")
            self._pause()

    def _pause(self) -> None:
        if self.scene.stopping.wait(LOOK_SECONDS):
            raise Stopped

    def look(self) -> None:
        for one in self.watch.look():
            self.screen.line(one.label, one.text, one.style)

    def settle(self) -> None:
        """Until nothing is on its way any more: not from the sandboxes, not in the gateway."""
        self.until("everything has arrived", lambda: not self._sending() and self._all_done())

    def _all_done(self) -> bool:
        self.look()  # anew: what was just sent is in the rows by now
        return not self.watch.unfinished

    def _sending(self) -> bool:
        urls = (f"{url}/_sandbox/webhooks" for url in self.scene.sandboxes.values())
        return any(self.http.get(url).json()["waiting"] for url in urls)

    def event(self, delivery: int, kind: str) -> Row[Any] | None:
        found = (row for row in self.watch.events if row.delivery_id == delivery and row.kind == kind)
        return next(found, None)

    def event_of(self, connection: str, ticket: str, kind: str | None = None) -> Row[Any] | None:
        return next((row for row in self.events_of(connection, ticket) if kind in {None, row.kind}), None)

    def events_of(self, connection: str, ticket: str) -> Iterator[Row[Any]]:
        return (row for row in self.watch.events if (row.connection, row.ticket_id) == (connection, ticket))

    def acted(self, rule: str, *kinds: str, ticket: str | None = None) -> dict[str, Row[Any]]:
        """The rule's newest action of each kind, once all of these are done."""

        def found() -> dict[str, Row[Any]] | None:
            done = {
                row.kind: row
                for row in self.watch.actions.values()
                if row.rule == rule and row.state == "done" and ticket in {None, row.ticket_id}
            }
            return done if done.keys() >= set(kinds) else None

        return self.until(f"{rule} has done {' and '.join(kinds)}", found)

    def tickets(self, connection: str) -> list[dict[str, Any]]:
        """All that a desk has, in its own words."""
        found: list[dict[str, Any]] = self.http.get(
            f"{self.scene.sandboxes[connection]}/_sandbox/tickets"
        ).json()
        return found

    def verified(self, text: str) -> None:
        self.screen.line("verified", text)


def require(condition: bool, otherwise: str) -> None:
    """Raises GatewayError that says what is not as it should be."""
    if not condition:
        raise GatewayError(otherwise)
