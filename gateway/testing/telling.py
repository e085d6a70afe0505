"""Does what a desk tells, in any order, late, twice or not at all, end in what is so at the desk?"""

import time
from datetime import timedelta
from itertools import permutations
from typing import Any

from hypothesis import HealthCheck, given, settings

from gateway.clock import utc_now
from gateway.model.event import Event, TicketStatusChanged
from gateway.model.ticket import ChangedRef, Status, TicketRef

from .acting import DeskTests
from .conversion import HASH_SEEDS, ConversionTests, bent_of, retold
from .desk import Desk

ORDERS = 24
A_WHILE = timedelta(minutes=5)
COMPARED = (
    "status",
    "remote_status",
    "priority",
    "tags",
    "assignee",
    "team",
    "subject",
    "deleted",
    "merged_into",
)


class ToldTests(DeskTests, ConversionTests):
    """The sandbox's own webhooks, and what is read back."""

    def story(self, desk: Desk) -> TicketRef:
        """A person opens a ticket and changes it twice."""
        ref = desk.opens()
        for change in self.changes:
            desk.changes(ref, change)
        return ref

    def test_a_webhook_told_twice_tells_nothing_new(self, desk: Desk) -> None:
        self.story(desk)
        webhooks = desk.heard()
        assert webhooks, "the sandbox sent no webhook"
        first = {event.id for event in desk.take_in(webhooks)}
        assert first
        assert {event.id for event in desk.take_in(webhooks)} <= first

    def test_every_webhook_of_the_desk_is_proven_and_of_its_own(self, desk: Desk) -> None:
        self.story(desk)
        proofs = [self.verified(webhook) for webhook in desk.heard()]
        assert all(proofs)
        named = [proof.delivery_id for proof in proofs if proof is not None and proof.delivery_id is not None]
        assert len(named) == len(set(named)) == (0 if "replayed" in self.unsupported else len(proofs))

    def test_a_collected_ticket_is_told_the_same_way_each_time(self, desk: Desk) -> None:
        ref = self.story(desk)
        webhooks = desk.heard()
        collected = desk.collected(ref)
        inputs: list[tuple[Any, Any, Any]] = [(webhook, collected, None) for webhook in webhooks]
        desk.take_in(webhooks)
        if ref in desk.known:
            inputs += [(webhook, collected, desk.known[ref].snapshot) for webhook in webhooks]
        here = [[event.to_json() for event in self.converted(*told)] for told in inputs]
        assert here == [[event.to_json() for event in self.converted(*told)] for told in inputs]
        for seed in HASH_SEEDS:
            assert retold(self.vendor, self.account, inputs, seed) == here

    def test_a_changed_ticket_is_listed(self, desk: Desk) -> None:
        """So it is found although its webhook never came."""
        if "list_changed" in self.unsupported:
            assert not self.registry.implements(self.name, "list_changed")
            return
        ref = self.story(desk)
        listed = list(desk.ask("list_changed", since=utc_now() - A_WHILE, api=desk.api()))
        assert ref in listed
        assert len(listed) == len(set(listed))
        for found in listed:
            assert not isinstance(found, ChangedRef) or abs(utc_now() - found.changed_at) < A_WHILE

    def test_a_collected_ticket_of_another_shape_is_unreadable_at_worst(self, desk: Desk) -> None:
        ref = self.story(desk)
        (*_, webhook) = desk.heard()
        collected = desk.collected(ref)

        @settings(
            max_examples=self.examples, deadline=None, suppress_health_check=list(HealthCheck), database=None
        )
        @given(bent_of(collected))
        def holds(bent: Any) -> None:
            self.told(webhook, bent)

        holds()


class TellingTests(ToldTests):
    """Tickets, as they are known from webhooks."""

    def test_webhooks_in_any_order_end_in_the_newer_state(self, desk: Desk) -> None:
        """And none of them, however late, makes us say that a status went backwards."""
        assert len(self.changes) == 2, "give two `changes` of the same things"
        ref = desk.opens()
        statuses = [desk.read(ref).ticket.status]
        for change in self.changes:
            time.sleep(self.resolution)
            desk.changes(ref, change)
            statuses.append(desk.read(ref).ticket.status)
        told = desk.heard()
        truth = desk.read(ref).ticket
        compared = False
        for order in _orders(told):
            desk.known.clear()
            events = desk.take_in(list(order))
            assert [event for event in events if _is_backwards(event, statuses)] == []
            ticket = desk.known[ref].ticket
            for field in ticket.model_fields_set & set(COMPARED):
                assert _value(ticket, field) == _value(truth, field), field
            compared = compared or bool(ticket.model_fields_set & {"status", "priority", "tags"})
        assert compared, "the webhooks of `changes` tell nothing that could be out of order"


def _orders(told: list[Any]) -> list[tuple[Any, ...]]:
    """All of them where they are few, else as they came, backwards, and turned round by each number of places."""
    if len(told) <= 4:
        return list(permutations(told))
    turned = [(*told[number:], *told[:number]) for number in range(min(len(told), ORDERS))]
    return [*turned, tuple(reversed(told))]


def _value(ticket: Any, field: str) -> Any:
    value = getattr(ticket, field)
    return value.id if field == "assignee" and value is not None else value


def _is_backwards(event: Event, statuses: list[Status | None]) -> bool:
    if not isinstance(event, TicketStatusChanged) or not {event.old, event.new} <= set(statuses):
        return False
    return statuses.index(event.old) > statuses.index(event.new)
