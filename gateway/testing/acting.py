"""Is every action carried out once, whatever happens on the way, read back as it was meant, and known as ours?"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from gateway.clock import utc_now
from gateway.model.action import (
    Action,
    AddTags,
    AssignTo,
    CreateTicket,
    RemoveTags,
    SaveContact,
    SetPriority,
    SetStatus,
    TicketAction,
)
from gateway.model.connection import Receipt
from gateway.model.echo import is_ours
from gateway.model.event import CommentCreated, Event, Unrecognized
from gateway.model.facts import Past
from gateway.model.ticket import Priority, Status, TicketRef

from .clients import api_for
from .desk import SHORT, Desk, desk_of
from .effects import assert_effect
from .under_test import ACTIONS, PROOFS, WHY, VendorUnderTest

LATE = 5 * SHORT
DESKS: pytest.StashKey[Desk] = pytest.StashKey()


class DeskTests(VendorUnderTest):
    """One sandbox for all tests of a class; it behaves, and has told everything, when a test begins."""

    @pytest.fixture
    def desk(self, request: pytest.FixtureRequest) -> Desk:
        owner = request.node.getparent(pytest.Class)
        if DESKS not in owner.stash:
            stack = ExitStack()
            owner.stash[DESKS] = stack.enter_context(desk_of(self))
            owner.addfinalizer(stack.close)
        desk: Desk = owner.stash[DESKS]
        desk.behave()
        desk.heard()
        return desk

    def done_by(self, desk: Desk, kind: str) -> Iterator[tuple[Action, Callable[[], Action]]]:
        """Each supported sample of a kind on a ticket of its own, with a way to get the same for another."""
        for number in range(len(self.samples_of(kind, TicketRef(desk.connection.name, "1")))):

            def made(number: int = number) -> Action:
                ref = desk.opens()
                if kind == "RemoveTags":
                    desk.do(AddTags(id="tags", ticket=ref, tags=tuple(self.tags), reason=WHY))
                return self.samples_of(kind, ref)[number]

            yield made(), made

    def is_unsupported(self, kind: str) -> bool:
        """Whether it is declared so; then it is checked to be so without a single call."""
        if kind not in self.unsupported:
            return False
        if self.registry.implements(self.name, "execute_action"):
            api = api_for(self.vendor, self.account)
            for action in self.samples_of(kind, TicketRef(self.account.name, "1")):
                for hook in ("execute_action", "find_effect"):
                    assert self.registry.ask(self.name, hook, action=action, api=api) is None
            assert api.calls == []
        return True


class ActionTests(DeskTests):
    """Actions against the sandbox, over a real socket."""

    def test_what_is_unsupported_is_named_and_explained(self) -> None:
        assert self.unsupported.keys() <= {*ACTIONS, *PROOFS}
        assert self.repeatable.keys() <= set(ACTIONS)
        assert all(why.strip() for why in [*self.unsupported.values(), *self.repeatable.values()])

    def test_an_action_is_carried_out_and_found_again(self, desk: Desk, kind: str) -> None:
        if self.is_unsupported(kind):
            return
        for action, _ in self.done_by(desk, kind):
            if not isinstance(action, RemoveTags | AssignTo):  # these may be so before anybody acts
                assert desk.found(action) is None, "found before it was done"
            scene = Scene(desk, action)
            receipt = desk.do(action)
            assert receipt is not None, f"{kind} is not carried out: declare it in `unsupported`"
            scene.assert_done(receipt)
            found = desk.found(action)
            if kind in self.repeatable:
                assert desk.do(action) == receipt
            else:
                assert found is not None, f"find_effect does not find {kind}"
                assert None in (found.remote_id, receipt.remote_id) or found.remote_id == receipt.remote_id
            scene.assert_done(receipt)

    @pytest.mark.parametrize("fault", ["drop", "slow", "status"])
    def test_an_interrupted_action_has_one_effect(self, desk: Desk, kind: str, fault: str) -> None:
        """Each of its writes in turn is done but not answered, done but answered too late, or met by a 500."""
        if self.is_unsupported(kind):
            return
        faults: dict[str, dict[str, Any]] = {"slow": {"seconds": LATE}, "status": {"status": 500}}
        samples = list(self.done_by(desk, kind))
        for rehearsal, made in samples[:1] if fault == "slow" else samples:  # the slow one takes its time
            writes = desk.writes(rehearsal)
            assert writes, f"{kind} writes nothing"
            for number in writes:
                action = made()
                scene = Scene(desk, action)
                desk.misbehave(kind=fault, skip=number, times=3, **faults.get(fault, {}))
                attempt = desk.attempt(action, timeout=SHORT)
                desk.behave()
                receipt = attempt.receipt or desk.again(action, uncertain=attempt.uncertain)
                assert receipt is not None
                scene.assert_done(receipt)

    def test_an_action_of_ours_comes_back_as_ours(self, desk: Desk, kind: str) -> None:
        if self.is_unsupported(kind):
            return
        for action, _ in self.done_by(desk, kind):
            desk.take_in(desk.heard())
            decided = utc_now()
            receipt = desk.do(action)
            assert receipt is not None
            past = Past(
                rule="r", action=action, state="done", decided_at=decided, finished_at=utc_now(),
                remote_id=receipt.remote_id,
            )  # fmt: skip
            events = desk.take_in(desk.heard())
            assert "echo" not in self.unsupported or events == []
            if kind in ("AddComment", "CreateTicket") and "echo" not in self.unsupported:
                assert events, "the sandbox does not tell of it: declare `echo` if the vendor does not either"
            assert [event.id for event in events if not _is_ours(event, desk, past)] == []

    def test_what_a_person_writes_is_not_taken_for_ours(self, desk: Desk) -> None:
        ref = desk.opens()
        desk.take_in(desk.heard())
        desk.changes(ref, self.comment)
        events = desk.take_in(desk.heard())
        comments = [event for event in events if isinstance(event, CommentCreated)]
        assert len(comments) == 1
        assert not _is_ours(comments[0], desk, None)

    def test_a_status_comes_back_as_it_was_set(self, desk: Desk, status: Status) -> None:
        if not self.is_unsupported("SetStatus"):
            self._assert_round_trip(
                desk, lambda ref: SetStatus(id="s", reason=WHY, ticket=ref, status=status), status
            )

    def test_a_priority_comes_back_as_it_was_set(self, desk: Desk, priority: Priority) -> None:
        if not self.is_unsupported("SetPriority"):
            self._assert_round_trip(
                desk, lambda ref: SetPriority(id="p", reason=WHY, ticket=ref, priority=priority), priority
            )

    @pytest.mark.parametrize("tag", ["VIP", "Novo Cliente", "Retenção"])
    def test_a_tag_comes_back_as_it_is_spelled(self, desk: Desk, tag: str) -> None:
        """By `spell_tag` a rule knows its own tag again."""
        spelled = desk.spelled(tag)
        assert desk.spelled(spelled) == spelled
        if not self.is_unsupported("AddTags"):
            ref = desk.opens()
            desk.do(AddTags(id="t", reason=WHY, ticket=ref, tags=(tag,)))
            assert spelled in desk.read(ref).ticket.tags

    def _assert_round_trip(self, desk: Desk, made: Callable[[TicketRef], Action], word: Any) -> None:
        ref = desk.opens()
        scene = Scene(desk, made(ref))
        receipt = desk.do(made(ref))
        assert (receipt is None) == (self.becomes.get(word, word) is None)
        if receipt is not None:
            scene.assert_done(receipt)


class Scene:
    """What there was before an action."""

    def __init__(self, desk: Desk, action: Action) -> None:
        self._desk, self._action = desk, action
        self._count = len(desk.tickets())
        self._before = desk.read(action.ticket) if isinstance(action, TicketAction) else None

    def assert_done(self, receipt: Receipt) -> None:
        """A reading shows the effect, once."""
        action, opens = self._action, isinstance(self._action, CreateTicket)
        assert len(self._desk.tickets()) == self._count + opens, "not exactly one ticket was opened"
        if not isinstance(action, TicketAction):
            assert receipt.remote_id, f"{action.kind} gives an id"
        if isinstance(action, SaveContact):
            return
        ref = TicketRef(self._desk.connection.name, receipt.remote_id or "")
        if isinstance(action, TicketAction):
            ref = action.ticket
        assert_effect(action, self._before, self._desk.read(ref), self._desk.subject.becomes)


def _is_ours(event: Event, desk: Desk, past: Past | None) -> bool:
    if isinstance(event, Unrecognized):
        return True  # no rule is asked about it
    return is_ours(event, desk.connection.settings.own_ids(), [past] if past else [])
