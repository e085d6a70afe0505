"""Is every action carried out once, whatever happens on the way, read back as it was meant, and known as ours?"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from gateway.client import ApiClient
from gateway.clock import utc_now
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
from gateway.model.connection import Receipt
from gateway.model.echo import is_ours
from gateway.model.errors import ApiError, ApiFailure
from gateway.model.event import CommentCreated, Event, Unrecognized
from gateway.model.facts import Past
from gateway.model.scope import folded
from gateway.model.text import html_to_text
from gateway.model.ticket import Priority, Status, TicketRef

from .clients import api_for
from .desk import SHORT, Desk, desk_of
from .sandbox import serving
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
            count = len(desk.tickets())
            receipt = desk.do(action)
            assert receipt is not None, f"{kind} is not carried out: declare it in `unsupported`"
            self.assert_shown(desk, action, receipt, count)
            found = desk.found(action)
            if kind in self.repeatable:
                assert desk.do(action) == receipt
            else:
                assert found is not None, f"find_effect does not find {kind}"
                assert None in (found.remote_id, receipt.remote_id) or found.remote_id == receipt.remote_id
            self.assert_shown(desk, action, receipt, count)

    @pytest.mark.parametrize("fault", ["drop", "slow", "status"])
    def test_an_interrupted_action_has_one_effect(self, desk: Desk, kind: str, fault: str) -> None:
        """Each of its writes in turn is done but not answered, done but answered too late, or met by a 500."""
        if self.is_unsupported(kind):
            return
        faults: dict[str, dict[str, Any]] = {"slow": {"seconds": LATE}, "status": {"status": 500}}
        for rehearsal, made in self.done_by(desk, kind):
            writes = desk.writes(rehearsal)
            assert writes, f"{kind} writes nothing"
            for number in writes:
                action, count = made(), len(desk.tickets())
                desk.misbehave(kind=fault, skip=number, times=3, **faults.get(fault, {}))
                error, uncertain = desk.attempt(action, timeout=SHORT)
                desk.behave()
                receipt = desk.again(action, uncertain=uncertain) if error else desk.found(action)
                assert receipt is not None
                self.assert_shown(desk, action, receipt, count)

    def assert_shown(self, desk: Desk, action: Action, receipt: Receipt, tickets_before: int) -> None:
        """A reading shows the effect, once."""
        opened = isinstance(action, CreateTicket)
        assert len(desk.tickets()) == tickets_before + opened, "not exactly one ticket was opened"
        if isinstance(action, SaveContact):
            assert receipt.remote_id, "a saved contact has an id"
            return
        if isinstance(action, CreateTicket):
            assert receipt.remote_id, "a new ticket has an id"
        ref = TicketRef(desk.connection.name, receipt.remote_id or "") if opened else action.ticket  # type: ignore[attr-defined]
        known = desk.read(ref)
        ticket = known.ticket
        match action:
            case CreateTicket(subject=subject, tags=tags):
                assert ticket.subject == subject
                assert _plain(tags) <= _plain(ticket.tags)
            case AddComment():
                same = [comment for comment in known.comments if _words(comment.body) == _text(action)]
                assert len(same) == 1, f"{len(same)} comments say it"
                assert same[0].is_private == action.is_private
            case SetStatus(status=status):
                assert ticket.status == self.becomes.get(status, status)
            case SetPriority(priority=priority):
                assert ticket.priority == self.becomes.get(priority, priority)
            case AssignTo(assignee=assignee, team=team):
                assert assignee is None or (ticket.assignee is not None and ticket.assignee.id == assignee)
                assert team is None or ticket.team == team
            case AddTags(tags=tags):
                assert _plain(tags) <= _plain(ticket.tags)
            case RemoveTags(tags=tags):
                assert _plain(tags).isdisjoint(_plain(ticket.tags))
            case SetFields(fields=fields):
                assert fields.items() <= ticket.custom_fields.items()

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

    def _assert_round_trip(self, desk: Desk, made: Callable[[TicketRef], Action], word: Any) -> None:
        ref = desk.opens()
        receipt = desk.do(made(ref))
        assert (receipt is None) == (self.becomes.get(word, word) is None)
        if receipt is not None:
            self.assert_shown(desk, made(ref), receipt, len(desk.tickets()))

    def test_the_rate_limit_is_honoured(self) -> None:
        """As many calls as are allowed are made, and not one more than the sandbox bears."""
        app: Any = self.create_app(limited=True)
        with serving(app) as url:
            api = api_for(self.vendor, self.connection(url))
            rate = self.registry.ask(self.name, "connect_api", connection=self.connection(url)).rate
            made = _calls_until_held_back(self, api, rate.calls + 5)
            statuses = [call["status"] for call in app.calls]
        assert 429 not in statuses
        assert made >= rate.calls


def _calls_until_held_back(subject: VendorUnderTest, api: ApiClient, most: int) -> int:
    """How many calls were made before our own governor asked for patience."""
    for number in range(most):
        try:
            subject.look(api)
        except ApiError as held_back:
            if held_back.failure is not ApiFailure.THROTTLED or held_back.status is not None:
                raise
            return number
    return most


def _is_ours(event: Event, desk: Desk, past: Past | None) -> bool:
    if isinstance(event, Unrecognized):
        return True  # no rule is asked about it
    return is_ours(event, desk.connection.settings.own_ids(), [past] if past else [])


def _plain(tags: Any) -> set[str]:
    return {"".join(filter(str.isalnum, folded(tag))) for tag in tags}


def _text(action: AddComment) -> str:
    return _words(html_to_text(action.body) if action.is_html else action.body)


def _words(text: str) -> str:
    return " ".join(text.split())
