"""What is new in the rows since the last look, in words?"""

from collections.abc import Hashable, Iterator
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit
from uuid import UUID

from sqlalchemy import Connection as Database
from sqlalchemy import Row, Table, select

from gateway.model.template import render
from gateway.store.tables import actions, attempts, deliveries, events

URL_LENGTH = 90
STOPPED = frozenset({"dead", "held", "unsupported"})


class News(NamedTuple):
    """One thing that has happened."""

    at: datetime
    label: str
    text: str
    style: str = ""


class Watch:
    """One tenant's rows as of the last look, told once each."""

    def __init__(self, db: Database, tenant: str) -> None:
        self._db = db
        self._tenant = tenant
        self._told: set[Hashable] = set()
        self.deliveries: dict[int, Row[Any]] = {}
        self.events: list[Row[Any]] = []
        self.actions: dict[UUID, Row[Any]] = {}

    def look(self) -> list[News]:
        """Everything that was not told before, in the order in which it happened."""
        # What says that something is done is read before what tells how it was done.
        self.deliveries = {row.id: row for row in self._rows(deliveries, deliveries.c.id)}
        self.events = self._rows(events, events.c.recorded_at, events.c.occurred_at)
        self.actions = {row.id: row for row in self._rows(actions, actions.c.seq)}
        tried = self._rows(attempts, attempts.c.id)
        news = [
            *self._new_of_deliveries(),
            *(one for row in tried if self._is_new("attempt", row.id) for one in self._calls(row)),
            *(one for row in self.events if self._is_new("event", row.id) for one in _told(row)),
            *self._new_of_actions(),
        ]
        return sorted(news, key=lambda one: one.at)

    @property
    def troubles(self) -> list[str]:
        """What will not come right by itself."""
        parked = [
            f"delivery {row.id} is parked: {row.error}"
            for row in self.deliveries.values()
            if row.state == "parked"
        ]
        stopped = [row for row in self.actions.values() if row.state in STOPPED]
        return parked + [f"{row.kind} is {row.state}: {row.error}" for row in stopped]

    @property
    def unfinished(self) -> bool:
        open_states = {row.state for row in (*self.deliveries.values(), *self.actions.values())}
        return not open_states.isdisjoint({"received", "pending", "executing"})

    def _rows(self, table: Table, *order: Any) -> list[Row[Any]]:
        return list(self._db.execute(select(table).where(table.c.tenant == self._tenant).order_by(*order)))

    def _is_new(self, *what: Hashable) -> bool:
        if what in self._told:
            return False
        self._told.add(what)
        return True

    def _new_of_deliveries(self) -> Iterator[News]:
        for row in self.deliveries.values():
            if self._is_new("delivery", row.id):
                yield News(row.received_at, "received", _received(row))
            if row.duplicates and self._is_new("duplicates", row.id, row.duplicates):
                again = f"delivery {row.id} came again ({row.duplicates}): known, so nothing follows"
                yield News(row.decided_at or row.received_at, "nothing", again)
            if row.state == "parked" and self._is_new("parked", row.id):
                yield News(row.decided_at, "failed", f"delivery {row.id} is parked: {row.error}")
            if row.state == "decided" and row.notes and self._is_new("notes", row.id):
                for text in _noted(row):
                    yield News(row.decided_at, "nothing", text)

    def _new_of_actions(self) -> Iterator[News]:
        for row in self.actions.values():
            if row.state in STOPPED and self._is_new("action", row.id, row.state):
                yield News(row.finished_at, "failed", f"{row.kind} is {row.state}: {row.error}")

    def _calls(self, row: Row[Any]) -> Iterator[News]:
        action = self.actions.get(row.action_id)
        read = f"for delivery {row.delivery_id}" if row.delivery_id else "what changed while nobody told?"
        what = action.kind if action else read
        for call in row.calls:
            answered = call["status"] or call["error"] or "no answer"
            text = f"{call['method']} {_shown(call['url'])} -> {answered}, {call['seconds'] * 1000:.0f} ms ({what})"
            yield News(datetime.fromisoformat(call["at"]), "call", text)


def _received(row: Row[Any]) -> str:
    """A hint names a ticket and is believed no further; everything else brought its own words."""
    whose = f"delivery {row.id} of {row.tenant}/{row.connection}, accepted"
    return (
        f"{whose}: a hint about ticket {row.subject}, to be read back" if row.thin else f"{whose} and stored"
    )


def _noted(row: Row[Any]) -> Iterator[str]:
    if said := row.notes.get("said"):
        yield f"delivery {row.id}: {said}"
    for known in row.notes.get("known", ()):
        yield f"delivery {row.id}: {known['fact']} is known since delivery {known['delivery']}; no rule is asked"


def _told(row: Row[Any]) -> Iterator[News]:
    """An event, and what each rule answered to it."""
    about = f", ticket {row.ticket_id}" if row.ticket_id else ""
    if row.ours:
        yield News(row.recorded_at, "echo", f"{row.kind}{about}: we did this ourselves")
    else:
        yield News(row.recorded_at, "converted", f"{row.kind}{about}{_of_payment(row.body)}")
    silent = []
    for answer in row.decisions:
        if error := answer.get("error"):
            yield News(row.recorded_at, "rule", f"{answer['rule']} failed: {error}", "red")
        elif acted := answer.get("acted"):
            kinds = ", ".join(act["kind"] for act in acted)
            why = "; ".join(dict.fromkeys(act["reason"] for act in acted))
            yield News(row.recorded_at, "rule", f"{answer['rule']} acted: {why} -> {kinds}")
        elif skipped := answer.get("skipped"):
            yield News(row.recorded_at, "rule", f"{answer['rule']} skipped: {'; '.join(skipped)}", "dim")
        else:
            silent.append(answer["rule"])
    if silent:
        yield News(row.recorded_at, "rule", f"had nothing to say: {', '.join(silent)}", "dim")


def _of_payment(body: dict[str, Any]) -> str:
    payment = body.get("payment")
    if not payment:
        return ""
    amount = render("{{ minor | money }}", minor=payment.get("amount_minor"))
    name = (body.get("customer") or {}).get("name") or "somebody"
    return f": {amount} of {name}"


def _shown(url: str) -> str:
    """Without the sandbox's address, which is the same every time. Secrets were taken out when it was stored."""
    parts = urlsplit(url)
    text = unquote(f"{parts.path}?{parts.query}" if parts.query else parts.path)
    return text if len(text) <= URL_LENGTH else f"{text[: URL_LENGTH - 3]}..."
