"""What does the author of a plugin give, so that the conformance suite can test it?"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cached_property
from types import ModuleType
from typing import Any, ClassVar
from uuid import uuid4

import pytest
from starlette.types import ASGIApp

from gateway.model.action import (
    Action,
    AddComment,
    AddTags,
    AssignTo,
    CreateTicket,
    RemoveTags,
    SaveContact,
    SetFields,
    SetPriority,
    SetStatus,
)
from gateway.model.connection import Connection
from gateway.model.errors import WebhookRejected
from gateway.model.event import Event
from gateway.model.person import Contact
from gateway.model.record import JSON
from gateway.model.ticket import Priority, Status, TicketRef
from gateway.model.webhook import Verified, Webhook
from gateway.redaction import Redactor, secret_values
from gateway.registry import Registry, assemble

ACTIONS = (
    "CreateTicket", "AddComment", "SetStatus", "SetPriority", "AssignTo", "AddTags", "RemoveTags", "SetFields",
    "SaveContact",
)  # fmt: skip
PROOFS = ("stale", "replayed", "unknown", "echo", "list_changed")
WHY = "the conformance suite"
NOWHERE = "http://127.0.0.1:9"
"""Nobody listens there."""


class VendorUnderTest:
    """A plugin, a connection to its sandbox, and samples. Subclasses of the suite set and override these."""

    vendor: ClassVar[ModuleType]
    """The plugin: the module that its entry point names."""

    samples: ClassVar[Mapping[str, bytes]]
    """Bodies that the vendor sends, by a name for people; at least one."""

    unknown: ClassVar[bytes] = b""
    """A body of a kind that the vendor may send one day and that the plugin has no word for."""

    signs: ClassVar[bool] = True
    """True: the vendor signs body and all. False: it only knows a key, sent in the address, a header or the body."""

    tolerance: ClassVar[timedelta] = timedelta(minutes=5)
    """How old a signed time may be."""

    acts: ClassVar[bool] = True
    """False: nothing is done at this system, it only tells, and perhaps is read."""

    unsupported: ClassVar[Mapping[str, str]] = {}
    """What the vendor cannot do, and why: a kind of action (`SetPriority`), or one of `stale` (it signs no time),
    `replayed` (it names no delivery), `unknown` (it names no kind), `echo` (it does not tell us what we did
    ourselves) and `list_changed`. The suite checks that it really is so."""

    becomes: ClassVar[Mapping[Status | Priority, Status | Priority | None]] = {}
    """Words that the vendor has no equal of: what a reading shows after they were set; None = refused as
    unsupported."""

    repeatable: ClassVar[Mapping[str, str]] = {}
    """Actions that `find_effect` does not look for, and why repeating them does no harm."""

    # --- what people do in the sandbox, in the vendor's terms ---

    people: ClassVar[str] = "/_sandbox/human/tickets"
    """Where they do it; below it, by id, what exists is changed."""

    opening: ClassVar[Mapping[str, JSON]] = {}
    """Body of a POST to `people`: a person opens a ticket."""

    changes: ClassVar[Sequence[Mapping[str, JSON]]] = ()
    """Two bodies of POSTs to `people`/ID: a person changes the same things twice."""

    comment: ClassVar[Mapping[str, JSON]] = {}
    """Body of a POST to `people`/ID: a person comments."""

    resolution: ClassVar[float] = 1.0
    """Seconds: how finely the vendor tells times; two changes of `changes` lie further apart than that."""

    # --- what our actions name ---

    assignee: ClassVar[str | None] = None
    """An agent of the sandbox, as the vendor identifies them."""

    team: ClassVar[str | None] = None
    """A team of the sandbox."""

    fields: ClassVar[Mapping[str, JSON]] = {}
    """Custom fields by the tenant's names, with values to set."""

    tags: ClassVar[Sequence[str]] = ("vip", "onboarding")

    new_ticket: ClassVar[Mapping[str, Any]] = {}
    """More members of the `CreateTicket` that is tried."""

    examples: ClassVar[int] = 200
    """How much garbage of each sort is tried."""

    # --- what a subclass must override ---

    def connection(self, base_url: str) -> Connection[Any]:
        """A connection to the sandbox that is served at `base_url`, e.g. `http://127.0.0.1:4711`."""
        raise NotImplementedError

    def signed(self, body: bytes, at: datetime) -> Webhook:
        """`body` as the vendor sends it at that moment to this connection: headers, query, `received_at=at`."""
        raise NotImplementedError

    def create_app(self, *, limited: bool) -> ASGIApp:
        """The sandbox; with its documented rate limit, or without any."""
        raise NotImplementedError

    # --- what a subclass may override ---

    def ticket_id(self, answer: JSON) -> str:
        """The id in the answer to `opening`, as a TicketRef has it."""
        return str(answer["id"])

    def look(self, api: Any) -> None:
        """One harmless call."""
        probe = self.registry.vendor_info(self.name).probe
        assert probe, "vendor_info() names no `probe`: override `look`"
        api.get(probe)

    def new_contact(self) -> Contact:
        """Somebody whom the sandbox does not know yet."""
        number = uuid4().int
        return Contact(
            name="Ana Lima", email=f"ana.{number % 10**9}@customer.example", phones=(f"+55119{number % 10**8:08}",)
        )  # fmt: skip

    def actions(self, ticket: TicketRef) -> Iterator[Action]:
        """At least one of every kind, also of those that are not supported; each with an id of its own."""
        told: dict[str, Any] = {"ticket": ticket, "reason": WHY}
        yield CreateTicket(
            connection=ticket.connection, key="onboarding", subject=f"Onboarding {uuid4().hex[:8]}",
            description="Bem-vindo!", contact=self.new_contact(), tags=tuple(self.tags), reason=WHY,
            **self.new_ticket,
        )  # fmt: skip
        for body, is_html, is_private in (
            ("Falta o telefone", False, True),
            ("Já estamos vendo isso", False, False),
            ("<p>Olá <b>Ana</b>, falta o CPF</p>", True, True),
        ):
            yield AddComment(body=body, is_html=is_html, is_private=is_private, **told)
        yield SetStatus(status=self._one_of(Status.PENDING, *Status), **told)
        yield SetPriority(priority=self._one_of(Priority.URGENT, *Priority), **told)
        yield AssignTo(assignee=self.assignee, team=self.team, **told)
        yield AddTags(tags=tuple(self.tags), **told)
        yield RemoveTags(tags=tuple(self.tags[:1]), **told)
        yield SetFields(fields=dict(self.fields), **told)
        yield SaveContact(connection=ticket.connection, contact=self.new_contact(), reason=WHY)

    def _one_of(self, *words: Any) -> Any:
        return next((word for word in words if self.becomes.get(word, word) is word), words[0])

    # --- what the suite makes of it ---

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        choices: dict[str, Sequence[Any]] = {
            "kind": ACTIONS, "sample": list(self.samples), "status": list(Status), "priority": list(Priority),
        }  # fmt: skip
        for name in choices.keys() & set(metafunc.fixturenames):
            metafunc.parametrize(name, choices[name])

    @cached_property
    def account(self) -> Connection[Any]:
        """The connection, where nothing is called."""
        return self.connection(NOWHERE)

    @property
    def name(self) -> str:
        return self.account.vendor

    @cached_property
    def registry(self) -> Registry:
        return assemble({self.name: self.vendor}, {})

    @cached_property
    def secrets(self) -> tuple[str, ...]:
        return secret_values(self.account.settings)

    def samples_of(self, kind: str, ticket: TicketRef) -> list[Action]:
        found = [action for action in self.actions(ticket) if type(action).__name__ == kind]
        assert found, f"`actions` gives no {kind}"
        return [action.model_copy(update={"id": str(uuid4())}) for action in found]

    def verified(self, webhook: Webhook) -> Verified | None:
        """The proof; None when the webhook is refused. Anything but WebhookRejected is the plugin's mistake."""
        try:
            proof: Verified | None = self.registry.ask(
                self.name, "verify_webhook", webhook=webhook, connection=self.account
            )
        except WebhookRejected as refused:
            self.assert_harmless(str(refused))
            return None
        return proof

    def converted(self, webhook: Webhook, collected: JSON = None, before: Any = None) -> list[Event]:
        events: list[Event] = self.registry.ask(
            self.name, "convert_webhook", webhook=webhook, collected=collected, before=before,
            connection=self.account,
        )  # fmt: skip
        return events

    def assert_harmless(self, text: str) -> None:
        """No secret of the connection is in it, in no usual encoding."""
        assert Redactor(self.secrets).text(text) == text, "a secret is shown"


def unproven(webhook: Webhook, secrets: Sequence[str]) -> Webhook:
    """The same body without any header and parameter, and without secrets."""
    body = webhook.body
    for secret in secrets:
        body = body.replace(secret.encode(), b"")
    return replace(webhook, headers={}, query={}, body=body)
