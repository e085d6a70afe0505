"""Is everything that a webhook left out read back, and every ticket found whose webhook never came?"""

from datetime import UTC, datetime, timedelta

import pytest
from gateway_plugins import freshdesk
from gateway_plugins.freshdesk import collect, convert

from gateway.api import Answer, ApiError, ApiFailure, Status, TicketRef


def changed(sandbox, since):
    return [ref.id for ref in freshdesk.list_changed(since=since, api=sandbox.api)]


class Clock:
    """The sandbox's time, which moves only when it is told to."""

    def __init__(self):
        self.seconds = datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()

    def __call__(self):
        return self.seconds

    def now(self):
        return datetime.fromtimestamp(self.seconds, UTC)


@pytest.fixture
def clock():
    return Clock()


def test_the_ticket_is_read_with_its_requester_in_two_calls(sandbox):
    ref = sandbox.open(email="eva@cliente.example", name="Eva", phone="(11) 3555-0199")
    ticket = sandbox.snapshot(ref).ticket
    assert (ticket.contact.email, ticket.contact.phones) == ("eva@cliente.example", ("(11) 3555-0199",))
    assert sandbox.calls() == [("GET", f"/tickets/{ref.id}"), ("GET", f"/tickets/{ref.id}/conversations")]


def test_all_pages_of_conversations_are_read(sandbox):
    ref = sandbox.open()
    for number in range(205):
        sandbox.say(ref, f"line {number}", customer=True)
    comments = sandbox.snapshot(ref).comments
    assert [comment.body for comment in comments] == [f"line {number}" for number in range(205)]
    assert sandbox.calls().count(("GET", f"/tickets/{ref.id}/conversations")) == 3


def test_conversations_come_in_order_however_they_were_listed(sandbox, monkeypatch):
    rows = [{"id": 3, "created_at": "2026-11-21T14:00:00Z"}, {"id": 2, "created_at": "2026-11-21T14:00:00Z"},
            {"id": 9, "created_at": "2026-11-20T14:00:00Z"}]  # fmt: skip
    monkeypatch.setattr(collect, "pages", lambda api, path: iter([rows]))
    assert [row["id"] for row in collect.conversations("/tickets/1", sandbox.api)] == [9, 2, 3]


def test_the_accounts_labels_are_read_only_for_a_status_that_nobody_named(sandbox):
    ref = sandbox.open()
    assert sandbox.collect(ref)["statuses"] == {}
    sandbox.change(ref, status=8)
    assert sandbox.collect(ref)["statuses"]["8"] == "Agendado"
    assert sandbox.snapshot(ref).ticket.remote_status == "Agendado"


def test_labels_that_our_agent_may_not_read_are_done_without(sandbox):
    ref = sandbox.open(status=8)
    sandbox.misbehave(kind="status", status=403, path="/api/v2/ticket_fields")
    assert sandbox.snapshot(ref).ticket.remote_status == "8"


@pytest.mark.parametrize("status", [429, 500])
def test_labels_that_cannot_be_read_now_are_read_later(sandbox, status):
    ref = sandbox.open(status=8)
    sandbox.misbehave(kind="status", status=status, retry_after=30, path="/api/v2/ticket_fields")
    with pytest.raises(ApiError) as later:
        sandbox.collect(ref)
    assert later.value.passing


def test_an_archived_ticket_is_read_where_it_went(sandbox):
    ref = sandbox.open(status=5)
    sandbox.say(ref, "Oi", customer=True)
    sandbox.change(ref, archived=True)
    snapshot = sandbox.snapshot(ref)
    assert (snapshot.ticket.status, len(snapshot.comments)) == (Status.CLOSED, 1)
    sandbox.misbehave(kind="status", status=404, path=f"/api/v2/tickets/archived/{ref.id}/conversations")
    assert sandbox.snapshot(ref).comments == ()


def test_a_deleted_ticket_is_read_as_deleted_and_a_destroyed_one_is_missing(sandbox):
    ref = sandbox.open()
    sandbox.change(ref, deleted=True)
    assert sandbox.snapshot(ref).ticket.deleted
    with pytest.raises(ApiError) as missing:
        sandbox.collect(TicketRef("fd", "999"))
    assert missing.value.failure is ApiFailure.MISSING


@pytest.mark.parametrize(("path", "status"), [("", 404), ("/conversations", 404)])
def test_an_empty_answer_is_no_ticket_and_a_missing_list_no_empty_one(sandbox, path, status):
    ref = sandbox.open()
    faulty = f"/api/v2/tickets/{ref.id}{path}" if path else "/api/v2/tickets"
    sandbox.misbehave(kind="status", status=status, path=faulty)
    with pytest.raises(ApiError) as missing:
        sandbox.collect(ref)
    assert missing.value.failure is ApiFailure.MISSING


# --- what changed -------------------------------------------------------------------------------------------


def test_changed_tickets_are_told_once_each_and_deleted_ones_too(sandbox_with, clock):
    with sandbox_with(clock=clock) as sandbox:
        old, gone, new = sandbox.open(), sandbox.open(), sandbox.open()
        clock.seconds += 3600
        since = clock.now()
        clock.seconds += 60
        sandbox.change(new, status=3)
        sandbox.change(gone, deleted=True)
        assert changed(sandbox, since) == [new.id, gone.id]
        assert old.id in changed(sandbox, since - timedelta(days=90))


def test_deleted_tickets_are_done_without_where_filters_cannot_be_combined(sandbox_with):
    with sandbox_with(combines_filters=False) as sandbox:
        ref, gone = sandbox.open(), sandbox.open()
        sandbox.change(gone, deleted=True)
        assert changed(sandbox, datetime(2026, 1, 1, tzinfo=UTC)) == [ref.id]


def test_an_answer_without_a_body_is_no_ticket():
    for body in (None, [], {}, "x"):
        with pytest.raises(ApiError) as missing:
            collect.one(Answer(status=200, headers={}, body=body, text=""), "ticket 7")
        assert missing.value.failure is ApiFailure.MISSING


def test_an_account_without_a_status_field_has_no_labels(sandbox, monkeypatch):
    monkeypatch.setattr(collect, "rows_of", lambda answer: [{"name": "status", "choices": ["Open"]}])
    assert collect.status_labels(sandbox.api) == {}


@pytest.mark.parametrize("failure", [429, 500])
def test_deleted_tickets_that_cannot_be_listed_now_are_an_error(sandbox, failure):
    sandbox.open()
    listed = freshdesk.list_changed(since=datetime(2026, 1, 1, tzinfo=UTC), api=sandbox.api)
    next(listed)
    sandbox.misbehave(kind="status", status=failure, retry_after=60, path="/api/v2/tickets")
    with pytest.raises(ApiError):
        next(listed)


@pytest.mark.parametrize("failure", [429, 401, 500])
def test_a_list_that_cannot_be_read_is_an_error(sandbox, failure):
    sandbox.misbehave(kind="status", status=failure, retry_after=60)
    with pytest.raises(ApiError):
        changed(sandbox, datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("step", [0, 1, 7])
def test_pages_are_followed_also_within_one_second(sandbox_with, clock, step):
    with sandbox_with(clock=clock, largest_page=2) as sandbox:
        since, opened = clock.now(), []
        for _ in range(9):
            opened.append(sandbox.open().id)
            clock.seconds += step
        assert changed(sandbox, since) == opened


def test_no_ticket_is_skipped_when_others_change_while_pages_are_read(sandbox_with, clock):
    with sandbox_with(clock=clock, largest_page=2) as sandbox:
        since, opened = clock.now(), []
        for _ in range(8):
            clock.seconds += 5
            opened.append(sandbox.open())
        clock.seconds += 100
        found = []
        for ref in freshdesk.list_changed(since=since, api=sandbox.api):
            found.append(ref)
            if len(found) in (1, 3):
                sandbox.change(opened[len(found) - 1], status=3)
        assert sorted(found) == opened


def test_what_is_listed_can_be_collected(sandbox):
    ref = sandbox.open()
    (listed,) = freshdesk.list_changed(since=datetime(2026, 1, 1, tzinfo=UTC), api=sandbox.api)
    assert listed == ref
    assert convert.snapshot(sandbox.collect(listed), None, sandbox.api.connection).ticket.ref == ref
