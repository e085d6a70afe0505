"""What happens in the demo, and did it really? Each step is proved by the rows and by the sandbox's own state."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
from rq.worker import Worker
from sqlalchemy import Row
from sqlalchemy.exc import DBAPIError

from gateway.clock import utc_now
from gateway.model.errors import GatewayError

from . import payment
from .by_hand import show as show_by_hand
from .scene import TENANT, Scene, Stopped
from .watch import Watch

LOOK_SECONDS = 0.1
LIMIT = 15.0
START_LIMIT = 40.0
PAYMENT_ID, AMOUNT = "pay_1", 990.0
CORE_TAGS = {"core", "onboarding"}
MISSING_TAG = "sem-telefone"
AGENT_NOTE = "Falei com a cliente e registrei o telefone no cadastro."
INTERNAL = 1  # Movidesk's type of a private action

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Step:
    """A line of the summary."""

    title: str
    outcome: str
    deliveries: tuple[int, ...]
    seconds: float


class Story:
    """Four steps; the first that does not happen ends it with a GatewayError that names it."""

    def __init__(self, scene: Scene, *, workers: int) -> None:
        self.scene = scene
        self.screen = scene.screen
        self.http = scene.http
        self.workers = workers
        self.watch: Watch
        self.done: list[Step] = []
        self.notice = b""
        self.headers: dict[str, str] = {}
        self.paid = 0
        self.ticket = ""

    def tell(self) -> None:
        """Raises GatewayError naming the step that failed, Stopped when somebody ended the demo."""
        steps: dict[str, Callable[[], str]] = {
            "the gateway starts": self.starts,
            "a signed payment becomes a ticket": self.payment,
            "a ticket without a phone gets a note": self.no_phone,
            "the phone is added, the tag goes": self.phone_added,
            "the same payment again changes nothing": self.again,
        }
        with self.scene.gateway.db.connect().execution_options(isolation_level="AUTOCOMMIT") as db:
            self.watch = Watch(db, TENANT)
            for number, (title, play) in enumerate(steps.items()):
                if number:
                    self.screen.chapter(f"{number}. {title[0].upper()}{title[1:]}")
                self._play(number, title, play)
            self._end()
            while not self.scene.once:
                self._look()
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

    # --- the steps ------------------------------------------------------------------------------------------

    def starts(self) -> str:
        self._until("the server is ready", self._ready, START_LIMIT)
        self._until(f"{self.workers} workers are there", self._staffed, START_LIMIT)
        self.screen.line("server", f"{self.scene.server}, {self.workers} workers")
        return f"server and {self.workers} workers answer"

    def payment(self) -> str:
        now = utc_now()
        self.notice = payment.notice(PAYMENT_ID, AMOUNT, payment.PAYER, now)
        self.headers = payment.signed(self.notice, self.scene.signing_secret, now)
        answer = self._send(self.headers)
        _require(answer.status_code == 202, f"the payment was answered with {answer.status_code}, not 202")
        self.paid = answer.json()["delivery"]
        self._until("payment.confirmed is decided", lambda: self._event(self.paid, "payment.confirmed"))
        acted = self._acted("core_ticket_on_payment", "create_ticket", "link_tickets")
        self.ticket = acted["create_ticket"].receipt["remote_id"]
        echo = self._until("the ticket comes back from Movidesk", lambda: self._event_of(self.ticket))
        self._settle()
        _require(
            echo.ours and all(row.ours for row in self.watch.events if row.ticket_id == self.ticket),
            "what we wrote came back and was not recognised as ours",
        )
        [ticket] = self._tickets()
        fields = _fields(ticket)
        _require(ticket["ownerTeam"] == "GR", "the ticket is not in team GR")
        _require(set(ticket["tags"]) >= CORE_TAGS, "the ticket lacks its tags")
        _require(any("3555-0199" in value for value in fields), "the ticket lacks the customer's phone")
        self._show(ticket)
        self.screen.line("verified", "one ticket at Movidesk; its own webhook was recognised as our doing")
        return f"ticket {self.ticket}, team GR"

    def no_phone(self) -> str:
        opened = {
            "subject": "CORE - Escola Aurora",
            "description": "A cliente pagou por boleto. Falta agendar o 1º CORE.",
            "client": {"name": "Escola Aurora", "email": "secretaria@escola.example"},
            "tags": ["core"],
            "ownerTeam": "GR",
        }
        self.ticket = self._person("", opened)["id"]
        self.screen.line("person", f"opened ticket {self.ticket} in Movidesk: {opened['subject']}, no phone")
        found = self._until(
            "the new ticket is read back", lambda: self._event_of(self.ticket, "ticket.created")
        )
        _require(not found.ours, "a person's ticket was taken for our own")
        note = self._acted("require_phone", "add_comment", "add_tags", ticket=self.ticket)["add_comment"]
        self._settle()
        ticket = self._ticket()
        words = note.body["body"]
        last = ticket["actions"][-1]
        _require(MISSING_TAG in ticket["tags"], f"the ticket has no tag {MISSING_TAG}")
        _require(last["type"] == INTERNAL, "the note is not private")
        _require(
            " ".join(words.split()) in " ".join(last["description"].split()), "the note says something else"
        )
        self.screen.line("ticket", f"{self.ticket} has the tag {MISSING_TAG} and a private note:")
        self.screen.quote(words)
        _require(len(ticket["actions"]) == 2, "the ticket got more than one note")
        self.screen.line("verified", "both are there, and the ticket got them once")
        return f"ticket {self.ticket}: note and tag {MISSING_TAG}"

    def phone_added(self) -> str:
        self._person(f"/{self.ticket}", {
            "phone": "(11) 3555-0142", "comment": {"body": AGENT_NOTE, "public": False, "agent": True},
        })  # fmt: skip
        self.screen.line("person", f"added a phone to the contact of ticket {self.ticket} and noted so")
        self._acted("require_phone", "remove_tags", ticket=self.ticket)
        self._settle()
        ticket = self._ticket()
        _require(MISSING_TAG not in ticket["tags"], f"the tag {MISSING_TAG} is still there")
        _require("core" in ticket["tags"], "the tag core is gone, too")
        self._show(ticket)
        self.screen.line("verified", f"the tag {MISSING_TAG} is gone, the tag core has stayed")
        return f"ticket {self.ticket}: tag gone"

    def again(self) -> str:
        known_actions = set(self.watch.actions)
        answer = self._send(self.headers)
        _require(
            (answer.status_code, answer.json().get("delivery")) == (200, self.paid),
            f"the same message was answered with {answer.status_code}: {answer.text}",
        )
        answer = self._send(payment.signed(self.notice, self.scene.signing_secret, utc_now()))
        _require(
            answer.status_code == 202, f"the new message was answered with {answer.status_code}, not 202"
        )
        second = answer.json()["delivery"]
        self._until("the new message is decided", lambda: self.watch.deliveries[second].state == "decided")
        self._settle()
        why = (self.watch.deliveries[second].notes or {}).get("known")
        _require(
            why == [{"fact": f"payment.confirmed:{PAYMENT_ID}", "delivery": self.paid}],
            "it is not said that the payment was known",
        )
        _require(self.watch.deliveries[self.paid].duplicates == 1, "the repeated message was not counted")
        _require(set(self.watch.actions) == known_actions, "the repeated payment led to an action")
        _require(len(self._tickets()) == 2, "the repeated payment opened a ticket")
        self.screen.line("verified", f"no action, no ticket: known since delivery {self.paid}")
        return f"known since delivery {self.paid}"

    def _end(self) -> None:
        self.scene.finished = True
        self.screen.chapter("All of it happened")
        rows = [
            (step.title, step.outcome, " ".join(map(str, step.deliveries)), f"{step.seconds:.1f}")
            for step in self.done
        ]
        self.screen.table(("step", "outcome", "deliveries", "s"), rows)
        if not self.scene.once:
            show_by_hand(
                self.scene, self.done[1].deliveries[0], self.done[2].deliveries[0], self.done[4].deliveries[0]
            )

    # --- doing ----------------------------------------------------------------------------------------------

    def _send(self, headers: dict[str, str]) -> httpx.Response:
        path = f"/hooks/{TENANT}/pagamentos"
        answer = self.http.post(f"{self.scene.server}{path}", content=self.notice, headers=headers)
        text = f"payment {PAYMENT_ID}, message {headers['webhook-id'][:12]}..., signed, to {path}"
        self.screen.line("sent", f"{text} -> {answer.status_code} {answer.text}")
        return answer

    def _person(self, path: str, told: dict[str, Any]) -> dict[str, Any]:
        """What a person does in Movidesk itself."""
        answer = self.http.post(f"{self.scene.movidesk}/_sandbox/human/tickets{path}", json=told)
        found: dict[str, Any] = answer.raise_for_status().json()
        return found

    # --- looking --------------------------------------------------------------------------------------------

    def _until(self, what: str, found: Callable[[], T | None], limit: float = LIMIT) -> T:
        """The first answer that is not empty. Raises GatewayError when it cannot come, or after `limit` seconds."""
        deadline = time.monotonic() + limit
        while True:
            self._look()
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

    def _look(self) -> None:
        for one in self.watch.look():
            self.screen.line(one.label, one.text, one.style)

    def _settle(self) -> None:
        """Until nothing is on its way any more: not from the sandboxes, not in the gateway."""
        self._until("everything has arrived", lambda: not self._sending() and self._all_done())

    def _all_done(self) -> bool:
        self._look()  # anew: what was just sent is in the rows by now
        return not self.watch.unfinished

    def _sending(self) -> bool:
        waiting: int = self.http.get(f"{self.scene.movidesk}/_sandbox/webhooks").json()["waiting"]
        return waiting > 0

    def _ready(self) -> bool:
        try:
            return self.http.get(f"{self.scene.server}/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def _staffed(self) -> bool:
        found: int = Worker.count(connection=self.scene.gateway.redis)
        return found >= self.workers

    def _event(self, delivery: int, kind: str) -> Row[Any] | None:
        found = (row for row in self.watch.events if row.delivery_id == delivery and row.kind == kind)
        return next(found, None)

    def _event_of(self, ticket: str, kind: str | None = None) -> Row[Any] | None:
        return next(self._events_of(ticket, kind), None)

    def _events_of(self, ticket: str, kind: str | None) -> Iterator[Row[Any]]:
        return (row for row in self.watch.events if row.ticket_id == ticket and kind in {None, row.kind})

    def _acted(self, rule: str, *kinds: str, ticket: str | None = None) -> dict[str, Row[Any]]:
        """The rule's actions, by kind, once all of these are done."""

        def found() -> dict[str, Row[Any]] | None:
            done = {
                row.kind: row
                for row in self.watch.actions.values()
                if row.rule == rule and row.state == "done" and ticket in {None, row.ticket_id}
            }
            return done if done.keys() >= set(kinds) else None

        return self._until(f"{rule} has done {' and '.join(kinds)}", found)

    def _tickets(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.http.get(f"{self.scene.movidesk}/_sandbox/tickets").json()
        return found

    def _ticket(self) -> dict[str, Any]:
        return next(one for one in self._tickets() if one["id"] == self.ticket)

    def _show(self, ticket: dict[str, Any]) -> None:
        tags = ", ".join(tag for tag in ticket["tags"] if not tag.startswith("gw-"))
        fields = "; ".join(_fields(ticket))
        filled = f"; fields {fields}" if fields else ""
        text = f"{ticket['id']} {ticket['subject']!r}, team {ticket['ownerTeam']}, tags {tags}{filled}"
        self.screen.line("ticket", text)


def _fields(ticket: dict[str, Any]) -> list[str]:
    return [str(value["value"]) for value in ticket["customFieldValues"] if value.get("value")]


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise GatewayError(otherwise)
