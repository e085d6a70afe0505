"""What happens between a plugin and its sandbox, when people, our actions and faults are played through?

The data path in small: what `gateway.pipeline` does with the stores, without any.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.client import ApiClient
from gateway.clock import utc_now
from gateway.model.action import Action
from gateway.model.connection import Connection, RateLimit, Receipt
from gateway.model.errors import ApiError
from gateway.model.event import Event, TicketEvent
from gateway.model.record import JSON
from gateway.model.ticket import TicketRef
from gateway.model.webhook import Webhook
from gateway.pipeline.accept import admit
from gateway.pipeline.world import Known, learned

from .clients import api_for
from .sandbox import serving
from .under_test import VendorUnderTest

PLENTY = RateLimit(calls=1_000_000, seconds=1, concurrency=8)
SHORT = 0.3
READS = frozenset({"GET", "HEAD"})
PATIENCE = 10.0


@contextmanager
def desk_of(subject: VendorUnderTest) -> Iterator["Desk"]:
    """The subject's sandbox without limits, and somebody who hears its webhooks, both over real sockets."""
    heard: list[Webhook] = []

    async def hear(request: Request) -> Response:
        body, query = await request.body(), dict(request.query_params)
        heard.append(Webhook(dict(request.headers), body, query, utc_now(), request.method))
        return Response(status_code=202)

    listener = Starlette(routes=[Route("/hook", hear, methods=["POST"])])
    with (
        serving(listener) as ears,
        serving(subject.create_app(limited=False)) as url,
        httpx.Client(base_url=url, trust_env=False, timeout=PATIENCE) as http,
    ):
        address = httpx.URL(f"{ears}/hook", params=dict(subject.signed(b"{}", utc_now()).query))
        http.post("/_sandbox/webhooks", json={"url": str(address)}).raise_for_status()
        yield Desk(subject, subject.connection(url), http, heard)


class Desk:
    """`known` is what the webhooks taken in so far have told of each ticket."""

    def __init__(
        self, subject: VendorUnderTest, connection: Connection[Any], http: httpx.Client, heard: list[Webhook]
    ) -> None:
        self.subject = subject
        self.connection = connection
        self.known: dict[TicketRef, Known] = {}
        self._http = http
        self._heard = heard

    # --- people, faults ---

    def opens(self) -> TicketRef:
        """A person opens a ticket."""
        answer = self._http.post(self.subject.people, json=dict(self.subject.opening)).raise_for_status()
        return TicketRef(self.connection.name, self.subject.ticket_id(answer.json()))

    def changes(self, ref: TicketRef, change: JSON) -> None:
        """A person changes the ticket."""
        self._http.post(f"{self.subject.people}/{ref.id}", json=dict(change)).raise_for_status()

    def tickets(self) -> list[JSON]:
        found: list[JSON] = self._http.get("/_sandbox/tickets").raise_for_status().json()
        return found

    def misbehave(self, **fault: Any) -> None:
        self._http.post("/_sandbox/misbehave", json=fault).raise_for_status()

    def behave(self) -> None:
        self._http.delete("/_sandbox/misbehave").raise_for_status()

    # --- webhooks ---

    def heard(self) -> list[Webhook]:
        """The webhooks that came since, once all are delivered; and forget them."""
        deadline = time.monotonic() + PATIENCE
        while self._http.get("/_sandbox/webhooks").raise_for_status().json()["waiting"]:
            assert time.monotonic() < deadline, "the sandbox does not get rid of its webhooks"
            time.sleep(0.005)
        return [self._heard.pop(0) for _ in range(len(self._heard))]

    def take_in(self, webhooks: list[Webhook]) -> list[Event]:
        """Their events in order, each webhook proven, collected where it is thin, and learned from."""
        events: list[Event] = []
        for webhook in webhooks:
            arrival = admit(self.subject.registry, webhook, self.connection)
            collected, known = None, None
            if arrival.subject is not None:
                ref = TicketRef(self.connection.name, arrival.subject)
                known = self.known.get(ref)
                collected = self.collected(ref) if arrival.thin else None
            events += self.learn(webhook, collected, known)
        return events

    def learn(self, webhook: Webhook, collected: JSON, known: Known | None) -> list[Event]:
        found = self.ask(
            "convert_webhook", webhook=webhook, collected=collected,
            before=known.snapshot if known else None, connection=self.connection,
        )  # fmt: skip
        stamp = {"tenant": self.connection.tenant, "connection": self.connection.name}
        events: list[Event] = [event.model_copy(update=stamp) for event in found]
        for event in events:
            if isinstance(event, TicketEvent):
                ref = event.ticket.ref
                self.known[ref] = learned(self.known.get(ref), event)
        return events

    # --- the API ---

    def api(self, **given: Any) -> ApiClient:
        """A fresh client, without limits, which does not wait between tries."""
        options = {"rate": PLENTY, "sleep": _at_once, **given}
        return api_for(self.subject.vendor, self.connection, **options)

    def ask(self, hook: str, **given: Any) -> Any:
        return self.subject.registry.ask(self.connection.vendor, hook, **given)

    def collected(self, ref: TicketRef, api: ApiClient | None = None) -> JSON:
        return self.ask("collect_ticket", ref=ref, api=api or self.api())

    def read(self, ref: TicketRef) -> Known:
        """The ticket as a reading shows it to whoever knew nothing of it."""
        apart = Desk(self.subject, self.connection, self._http, [])
        webhook = Webhook(headers={}, body=b"", received_at=utc_now())
        apart.learn(webhook, self.collected(ref), None)
        assert ref in apart.known, f"a reading of {ref} gives no event about it"
        return apart.known[ref]

    def spelled(self, tag: str) -> str:
        found: str | None = self.ask("spell_tag", tag=tag, connection=self.connection)
        return tag if found is None else found

    def do(self, action: Action, api: ApiClient | None = None) -> Receipt | None:
        receipt: Receipt | None = self.ask("execute_action", action=action, api=api or self.api())
        return receipt

    def found(self, action: Action, api: ApiClient | None = None) -> Receipt | None:
        receipt: Receipt | None = self.ask("find_effect", action=action, api=api or self.api())
        return receipt

    def again(self, action: Action, *, uncertain: bool) -> Receipt | None:
        """The next attempt, as the pipeline makes it."""
        return (self.found(action) if uncertain else None) or self.do(action)

    def writes(self, action: Action) -> list[int]:
        """Carry it out; which of its calls write, counted from 0."""
        api = self.api()
        self.do(action, api)
        return [number for number, call in enumerate(api.calls) if call.method not in READS]

    def attempt(self, action: Action, **client: Any) -> "Attempt":
        api = self.api(**client)
        try:
            return Attempt(receipt=self.do(action, api))
        except ApiError as error:
            wrote = any(call.method not in READS and call.status is not None for call in api.calls)
            return Attempt(error=error, uncertain=error.uncertain or (wrote and error.passing))


@dataclass(frozen=True, slots=True)
class Attempt:
    """How one ended. `uncertain` = the pipeline would look for its effect before the next one."""

    receipt: Receipt | None = None
    error: ApiError | None = None
    uncertain: bool = False


def _at_once(_seconds: float) -> None:
    """Where nothing is paced there is nothing to wait for."""
