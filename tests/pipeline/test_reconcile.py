"""Webhooks that never came: found in the vendor's list, told once, and never a flood."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update
from tests_town import NOW, arrive, rows, rule, run, settle_in, town

from gateway.api import (
    AddTags,
    ApiError,
    ApiFailure,
    ApiSettings,
    Comment,
    CommentCreated,
    RateLimit,
    Status,
    Ticket,
    TicketCreated,
    TicketRef,
    TicketStatusChanged,
    TicketTagged,
    TicketUpdated,
    hookimpl,
)
from gateway.doctor import of_installation
from gateway.model.ticket import ChangedRef
from gateway.pipeline import reconcile as reconciling
from gateway.pipeline.caught_up import with_overtaken
from gateway.pipeline.collect import collect
from gateway.pipeline.reconcile import LISTED, SETTLED, WAITING, reconcile
from gateway.runtime import Runtime
from gateway.store.tables import actions, caught_up, deliveries, events, incidents, reconciliations

MINUTE = timedelta(minutes=1)
LATE = NOW + timedelta(hours=1)
"""When the tests look: an hour after everything happened."""


class Desk:
    """A vendor's tickets as they are, and how it lists them. Its webhooks come only when a test sends them."""

    def __init__(self) -> None:
        self.tickets: dict[str, Ticket] = {}
        self.told: dict[str, list[Any]] = {}
        self.dated = True
        self.failing: list[Any] = []
        self.gone: set[str] = set()
        self.pages = 0
        self.read: list[str] = []
        self.since: list[Any] = []

    def change(self, id_: str, at: Any, *news: Any, **fields: Any) -> Ticket:
        """What happened, as a reading of the ticket will tell it."""
        ref = TicketRef("desk", id_)
        known = self.tickets.get(id_, Ticket(ref=ref, remote_created_at=at)).known()
        self.tickets[id_] = ticket = Ticket(**{**known, **fields, "remote_updated_at": at})
        self.told.setdefault(id_, []).extend(news)
        return ticket

    def module(self) -> Any:
        @hookimpl
        def list_changed(since: Any, api: Any) -> Iterator[TicketRef]:
            self.since.append(since)
            for number, ticket in enumerate(self.tickets.values()):
                if number % 100 == 0:
                    self.pages += 1
                    if self.failing:
                        raise self.failing.pop(0)
                at = ticket.remote_updated_at
                if at is not None and at > since:
                    plain = TicketRef("desk", ticket.ref.id)
                    yield ChangedRef("desk", ticket.ref.id, at) if self.dated else plain

        @hookimpl
        def collect_ticket(ref: TicketRef) -> Any:
            self.read.append(ref.id)
            if ref.id in self.gone:
                raise ApiError(ApiFailure.MISSING, "404")
            return {"events": [event.to_json() for event in self.told[ref.id]]}

        @hookimpl
        def connect_api() -> ApiSettings:
            return ApiSettings(base_url="http://127.0.0.1:1", rate=RateLimit(1000, 1, concurrency=1))

        return town(list_changed=list_changed, collect_ticket=collect_ticket, connect_api=connect_api)


def tagging(event: Any, facts: Any) -> Any:
    yield AddTags(ticket=event.ticket.ref, tags=(event.kind,), reason="r")


@pytest.fixture
def desk(gateway: Runtime) -> Desk:
    made = Desk()
    settle_in(gateway, made.module(), {"tagging": rule("tagging", tagging)})
    assert reconciling.due(gateway) == [("acme", "desk")]
    assert reconcile(gateway, "acme", "desk") is not None, "what was there before is none of our business"
    gateway.clock = lambda: LATE
    return made


def opened(desk: Desk, id_: str, at: Any = NOW + MINUTE) -> TicketCreated:
    """A ticket is opened; the webhook that tells it."""
    ticket = desk.change(id_, at, subject="s", status=Status.NEW)
    event = TicketCreated(id=f"created:{id_}", occurred_at=at, ticket=ticket, complete=True)
    desk.told[id_] = [event]
    return event


def pended(desk: Desk, id_: str, at: Any) -> TicketStatusChanged:
    """Its status changes: a reading names that otherwise than the webhook, which is given back."""
    ticket = desk.change(id_, at, status=Status.PENDING)
    common = {"occurred_at": at, "ticket": ticket, "new": Status.PENDING}
    desk.told[id_] = [*desk.told[id_], TicketStatusChanged(id=f"status@{at}:{id_}", complete=True, **common)]
    return TicketStatusChanged(id=f"envelope-{id_}-{at}", **common)


def look(gateway: Runtime) -> Any:
    """Look once, and read and decide what was found."""
    found = reconcile(gateway, "acme", "desk")
    assert found is not None
    run(gateway, *collect(gateway, "acme", "desk", found.queued).ready)
    return found


def kinds(gateway: Runtime) -> list[tuple[str, str]]:
    return sorted((row.ticket_id, row.kind) for row in rows(gateway, events))


def gap(gateway: Runtime) -> Any:
    (row,) = rows(gateway, reconciliations)
    return row


def later(gateway: Runtime, span: timedelta) -> None:
    moment = gateway.clock() + span
    gateway.clock = lambda: moment


# --- found ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dated", [True, False])
def test_a_ticket_whose_webhook_never_came_is_decided_like_any_other(
    gateway: Runtime, desk: Desk, dated: bool
) -> None:
    desk.dated = dated
    opened(desk, "1")
    found = look(gateway)
    assert (found.listed, len(found.queued), found.whole) == (1, 1, True)
    assert kinds(gateway) == [("1", "ticket.created")]
    assert [row.kind for row in rows(gateway, actions)] == ["add_tags"]
    (delivery,) = rows(gateway, deliveries)
    assert (delivery.origin, delivery.state, delivery.thin) == ("reconcile", "decided", True)
    assert (gap(gateway).missed, gap(gateway).missed_at) == (1, LATE)


@pytest.mark.parametrize("dated", [True, False])
def test_what_webhooks_told_is_not_read_again(gateway: Runtime, desk: Desk, dated: bool) -> None:
    desk.dated = dated
    run(gateway, arrive(gateway, opened(desk, "1"), subject="1"))
    found = look(gateway)
    assert (found.listed, found.queued, desk.read) == (1, [], [])
    assert gap(gateway).missed == 0


def test_a_change_that_was_lost_on_a_ticket_that_we_know_is_found(gateway: Runtime, desk: Desk) -> None:
    run(gateway, arrive(gateway, opened(desk, "1"), subject="1"))
    pended(desk, "1", NOW + 2 * MINUTE)
    look(gateway)
    assert kinds(gateway) == [("1", "ticket.created"), ("1", "ticket.status_changed")]
    assert gap(gateway).missed == 1


def test_a_creation_that_a_later_webhook_overtook_is_told_after_all(gateway: Runtime, desk: Desk) -> None:
    created = opened(desk, "1")
    status = pended(desk, "1", NOW + 2 * MINUTE)
    run(gateway, arrive(gateway, status, subject="1"))
    assert kinds(gateway) == [("1", "ticket.status_changed")]
    desk.told["1"] = [created]  # as a reading tells it: the status is no news
    look(gateway)
    assert kinds(gateway) == [("1", "ticket.created"), ("1", "ticket.status_changed")]
    assert gap(gateway).missed == 1
    later(gateway, MINUTE)
    assert look(gateway).queued == []


def test_comments_that_were_overtaken_are_told_with_it(gateway: Runtime, desk: Desk) -> None:
    created = opened(desk, "1")
    run(gateway, arrive(gateway, created, subject="1"))
    ticket = desk.change("1", NOW + 2 * MINUTE)
    said = Comment(id="9", body="alguém aí?", created_at=NOW + 2 * MINUTE)
    lost = CommentCreated(id="comment@9:1", occurred_at=NOW + 2 * MINUTE, ticket=ticket, comment=said)
    pended(desk, "1", NOW + 3 * MINUTE)
    assert with_overtaken([created], [created, lost]) == [lost, created]
    desk.told["1"] = [created, lost]
    look(gateway)
    assert ("1", "comment.created") in kinds(gateway)


def test_a_second_look_finds_nothing_new(gateway: Runtime, desk: Desk) -> None:
    opened(desk, "1")
    look(gateway)
    later(gateway, MINUTE)
    assert look(gateway).queued == []
    assert (desk.read, gap(gateway).missed) == (["1"], 1)


def test_a_webhook_that_is_on_its_way_is_waited_for(gateway: Runtime, desk: Desk) -> None:
    waiting = arrive(gateway, opened(desk, "1"), subject="1")
    assert look(gateway).queued == [], "it waits in the inbox"
    run(gateway, waiting)
    opened(desk, "2", LATE - SETTLED / 2)
    assert look(gateway).queued == [], "it may still come"
    later(gateway, SETTLED)
    look(gateway)
    assert gap(gateway).missed == 1


def test_what_we_did_ourselves_is_no_lost_webhook_and_no_news(gateway: Runtime, desk: Desk) -> None:
    run(gateway, arrive(gateway, opened(desk, "1"), subject="1"))
    with gateway.db.begin() as db:
        db.execute(update(actions).values(state="done", finished_at=NOW + 2 * MINUTE))
    at = NOW + 2 * MINUTE
    ticket = desk.change("1", at, tags=frozenset({"ticket.created"}))
    told = TicketTagged(
        id="tagged", occurred_at=at, ticket=ticket, added=frozenset({"ticket.created"}), complete=True
    )
    desk.told["1"].append(told)
    assert len(look(gateway).queued) == 1
    assert len(rows(gateway, actions)) == 1, "rules are not asked about it"
    assert gap(gateway).missed == 0


# --- late webhooks ----------------------------------------------------------------------------------------------


def test_a_webhook_that_comes_after_all_leads_to_nothing(gateway: Runtime, desk: Desk) -> None:
    created = opened(desk, "1")
    status = pended(desk, "1", NOW + 2 * MINUTE)
    look(gateway)
    before = kinds(gateway), len(rows(gateway, actions))
    late = [arrive(gateway, event, subject="1") for event in (created, status)]
    run(gateway, *late)
    assert (kinds(gateway), len(rows(gateway, actions))) == before
    (reading, *told) = rows(gateway, deliveries)
    assert [row.notes["known"][0]["delivery"] for row in told] == [reading.id, reading.id]


def test_it_leads_to_nothing_also_when_both_wait_together(gateway: Runtime, desk: Desk) -> None:
    opened(desk, "1")
    status = pended(desk, "1", NOW + 2 * MINUTE)
    found = reconcile(gateway, "acme", "desk")
    assert found is not None
    late = arrive(gateway, status, subject="1")
    run(gateway, *collect(gateway, "acme", "desk", found.queued).ready, late)
    assert kinds(gateway) == [("1", "ticket.created"), ("1", "ticket.status_changed")]


def test_what_happens_after_the_reading_is_told_by_its_webhook(gateway: Runtime, desk: Desk) -> None:
    opened(desk, "1")
    look(gateway)
    ticket = desk.change("1", NOW + 3 * MINUTE, status=Status.RESOLVED)
    news = TicketStatusChanged(id="news", occurred_at=NOW + 3 * MINUTE, ticket=ticket, new=Status.RESOLVED)
    run(gateway, arrive(gateway, news, subject="1"))
    assert ("1", "ticket.status_changed") in kinds(gateway)


def test_in_the_very_second_of_the_reading_only_what_it_did_not_show_is_news(
    gateway: Runtime, desk: Desk
) -> None:
    at = NOW + MINUTE
    created = opened(desk, "1", at)
    look(gateway)
    same = TicketUpdated(id="same", occurred_at=at, ticket=created.ticket, changed=("subject",))
    other = created.ticket.model_copy(update={"status": Status.RESOLVED})
    news = TicketStatusChanged(id="news", occurred_at=at, ticket=other, new=Status.RESOLVED)
    run(gateway, arrive(gateway, same, subject="1"), arrive(gateway, news, subject="1"))
    assert kinds(gateway) == [("1", "ticket.created"), ("1", "ticket.status_changed")]


def test_older_webhooks_are_news_where_nobody_had_to_catch_up(gateway: Runtime, desk: Desk) -> None:
    """Out of order is no repetition: an envelope that was overtaken is told, though it changes nothing any more."""
    created = opened(desk, "1")
    newer = pended(desk, "1", NOW + 3 * MINUTE)
    older = TicketUpdated(
        id="older", occurred_at=NOW + 2 * MINUTE, ticket=created.ticket, changed=("priority",)
    )
    for event in (created, newer, older):
        run(gateway, arrive(gateway, event, subject="1"))
    assert ("1", "ticket.updated") in kinds(gateway)
    assert rows(gateway, caught_up) == []


# --- gone -------------------------------------------------------------------------------------------------------


def test_a_ticket_that_is_gone_was_deleted(gateway: Runtime, desk: Desk) -> None:
    run(gateway, arrive(gateway, opened(desk, "1"), subject="1"))
    desk.change("1", NOW + 5 * MINUTE)
    desk.gone.add("1")
    look(gateway)
    assert ("1", "ticket.deleted") in kinds(gateway)
    assert desk.read == ["1"], "a 404 is not asked for again and again"
    assert gap(gateway).missed == 1
    later(gateway, MINUTE)
    assert look(gateway).queued == []


def test_one_that_we_never_knew_and_that_is_gone_is_nothing(gateway: Runtime, desk: Desk) -> None:
    opened(desk, "1")
    desk.gone.add("1")
    look(gateway)
    (row,) = rows(gateway, deliveries)
    assert (row.state, row.notes["said"]) == ("decided", "the vendor does not have this ticket any more")
    assert kinds(gateway) == []


# --- never a flood ----------------------------------------------------------------------------------------------


def test_only_so_many_hints_wait_at_a_time_and_the_rest_comes_later(gateway: Runtime, desk: Desk) -> None:
    for number in range(WAITING + 50):
        opened(desk, str(number), NOW + MINUTE)
    first = reconcile(gateway, "acme", "desk")
    assert first
    assert (len(first.queued), first.whole) == (WAITING, False)
    assert gap(gateway).next_at == LATE + MINUTE, "it is gone on with soon"
    again = reconcile(gateway, "acme", "desk")
    assert again
    assert again.queued == [], "as long as those are not read"
    run(gateway, *collect(gateway, "acme", "desk", first.queued).ready)
    rest = look(gateway)
    assert (len(rest.queued), rest.whole) == (50, True)
    assert gap(gateway).missed == WAITING + 50
    assert len(set(desk.read)) == len(desk.read) == WAITING + 50


def test_what_was_found_before_the_list_failed_is_kept_and_the_rest_looked_for_again(
    gateway: Runtime, desk: Desk
) -> None:
    for number in range(150):
        opened(desk, str(number))
    until = gap(gateway).looked_until
    found = _failing_on_page(gateway, desk, 2)
    assert (len(found.queued), found.whole, found.error) == (100, False, "429")
    assert (gap(gateway).looked_until, gap(gateway).error) == (until, "429")
    run(gateway, *collect(gateway, "acme", "desk", found.queued).ready)
    assert len(look(gateway).queued) == 50
    assert gap(gateway).error is None


def _failing_on_page(gateway: Runtime, desk: Desk, page: int) -> Any:
    class Page(list):  # type: ignore[type-arg]
        def __bool__(self) -> bool:
            return desk.pages == page

    desk.pages = 0
    desk.failing = Page([ApiError(ApiFailure.THROTTLED, "429")])
    found = reconcile(gateway, "acme", "desk")
    desk.failing = []
    return found


def test_more_than_can_be_gone_through_is_an_incident_and_no_standstill(
    gateway: Runtime, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciling, "LISTED", 100)
    for number in range(120):
        opened(desk, str(number))
    look(gateway)
    (incident,) = rows(gateway, incidents)
    assert (incident.kind, incident.subject) == ("reconcile", "desk")
    assert "gateway connections reconcile desk --tenant acme --since TIME" in incident.message
    assert gap(gateway).looked_until == LATE - SETTLED
    assert LISTED == 20_000


def test_while_one_looks_nobody_else_does_unless_he_died(gateway: Runtime, desk: Desk) -> None:
    with gateway.db.begin() as db:
        db.execute(update(reconciliations).values(started_at=LATE))
    assert reconcile(gateway, "acme", "desk") is None
    later(gateway, timedelta(minutes=31))
    assert reconcile(gateway, "acme", "desk") is not None


def test_a_plugin_that_fails_stops_nobody_and_is_shown(gateway: Runtime, desk: Desk) -> None:
    opened(desk, "1")
    desk.failing = [RuntimeError("odd")]
    found = reconcile(gateway, "acme", "desk")
    assert found
    assert found.error == "town plugin failed: RuntimeError('odd')"
    assert gap(gateway).started_at is None
    assert len(look(gateway).queued) == 1


# --- when -------------------------------------------------------------------------------------------------------


def test_each_connection_has_its_turn_every_so_often(gateway: Runtime, desk: Desk) -> None:
    assert gap(gateway).next_at == NOW + timedelta(minutes=15)
    assert reconciling.due(gateway) == [("acme", "desk")]
    assert reconciling.due(gateway) == []
    later(gateway, timedelta(minutes=15))
    assert reconciling.due(gateway) == [("acme", "desk")]


def test_a_look_reaches_back_beyond_the_one_before_but_not_before_the_first(
    gateway: Runtime, desk: Desk
) -> None:
    look(gateway)
    assert desk.since == [NOW, NOW]
    later(gateway, timedelta(hours=2))
    look(gateway)
    look(gateway)
    assert desk.since[-1] == LATE + timedelta(hours=2) - SETTLED - timedelta(minutes=60)


def test_a_person_may_go_back_further(gateway: Runtime, desk: Desk) -> None:
    opened(desk, "1", NOW - timedelta(days=2))
    assert look(gateway).queued == []
    found = reconcile(gateway, "acme", "desk", NOW - timedelta(days=3))
    assert found
    assert len(found.queued) == 1


def test_a_connection_that_cannot_be_asked_is_left_alone(gateway: Runtime) -> None:
    settle_in(gateway)
    assert reconciling.due(gateway) == []
    assert reconcile(gateway, "acme", "desk") is None
    assert reconcile(gateway, "acme", "nowhere") is None


def test_budget_is_left_to_webhooks_and_actions(gateway: Runtime, desk: Desk) -> None:
    class Half:
        used = 5

        def state(self) -> Any:
            return {"used": self.used, "limit": 10}

        def take(self, wanted: int) -> Any:
            return reconciling.Grant(wanted)

    governor: Any = Half()
    spare = reconciling.Spare(governor, gateway)
    assert (spare.take().granted, spare.take().wait) == (0, 1.0)
    governor.used = 4
    assert spare.take(7).granted == 1
    gateway.stopping.set()
    with pytest.raises(ApiError, match="to stop"):
        spare.take()


# --- what a person sees -----------------------------------------------------------------------------------------


def told_by_doctor(gateway: Runtime) -> list[tuple[str, str]]:
    found = of_installation(gateway, offline=True)
    return [(finding.level, finding.text) for finding in found if finding.name == "reconciliation"]


def test_the_doctor_says_what_was_missed_what_failed_and_what_is_overdue(
    gateway: Runtime, desk: Desk
) -> None:
    look(gateway)
    assert reconciling.due(gateway) == [("acme", "desk")]
    assert told_by_doctor(gateway) == [("ok", "1 connections, and no webhook was missed in the last day")]
    opened(desk, "1")
    look(gateway)
    ((level, words),) = told_by_doctor(gateway)
    assert (level, words[:44]) == ("warn", "acme/desk: 1 webhooks so far never came, the")
    desk.failing = [ApiError(ApiFailure.UNAUTHORIZED, "401")]
    later(gateway, timedelta(days=2))
    reconcile(gateway, "acme", "desk")
    assert told_by_doctor(gateway) == [("warn", "acme/desk could not be gone through: 401")]
    look(gateway)
    ((level, words),) = told_by_doctor(gateway)
    assert (level, words[:22]) == ("warn", "acme/desk has been due")
