"""Is the first reading of a ticket that we opened ourselves recognised?"""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.model.action import CreateTicket
from gateway.model.echo import is_ours
from gateway.model.event import TicketStatusChanged, TicketTagged, TicketUpdated
from gateway.model.facts import Past
from gateway.model.ticket import Status, Ticket, TicketRef

OPENED = datetime(2026, 9, 14, 12, tzinfo=UTC)
US = frozenset({"gateway"})


def created(**more: Any) -> Past:
    action = CreateTicket(connection="desk", key="core:1", subject="CORE", description="...", reason="paid")
    return Past(rule="core", action=action, decided_at=OPENED, **{"state": "done"} | more)


def read(touched: datetime | None) -> TicketUpdated:
    known = {} if touched is None else {"remote_created_at": OPENED, "remote_updated_at": touched}
    ticket = Ticket(ref=TicketRef("desk", "7"), **known)
    return TicketUpdated(id="updated:7", occurred_at=OPENED, ticket=ticket, changed=("contact",))


def test_a_ticket_that_is_still_as_we_opened_it_is_ours() -> None:
    assert is_ours(read(OPENED + timedelta(seconds=1)), US, [created()])


@pytest.mark.parametrize("touched", [OPENED + timedelta(seconds=3), None])
def test_what_somebody_may_have_changed_since_is_not(touched: datetime | None) -> None:
    assert not is_ours(read(touched), US, [created()])


def test_nor_is_a_ticket_that_we_never_opened() -> None:
    assert not is_ours(read(OPENED), US, [])
    assert not is_ours(read(OPENED), US, [created(state="dead")])


@pytest.mark.parametrize(
    ("told", "ours"),
    [({}, True), ({"new": Status.RESOLVED}, False), ({"old_remote": "Novo"}, False), ({"old": Status.CLOSED}, False)],
)  # fmt: skip
def test_that_its_desk_opens_it_is_nobodys_deed(told: dict[str, Any], ours: bool) -> None:
    status = {"old": Status.NEW, "new": Status.OPEN, "new_remote": "Open"} | told
    ticket = Ticket(ref=TicketRef("desk", "7"))
    opened = TicketStatusChanged(id="s", occurred_at=OPENED + timedelta(hours=1), ticket=ticket, **status)
    assert is_ours(opened, US, [created()]) is ours
    assert not is_ours(opened, US, [])


@pytest.mark.parametrize(
    ("change", "ours"),
    [({"added": frozenset({"core"})}, True), ({"added": frozenset({"core", "vip"})}, False),
     ({"added": frozenset({"core"}), "removed": frozenset({"old"})}, False)],
)  # fmt: skip
def test_tags_that_are_set_once_it_is_open_are_those_we_opened_it_with(
    change: dict[str, Any], ours: bool
) -> None:
    tagged = TicketTagged(id="t", occurred_at=OPENED, ticket=Ticket(ref=TicketRef("desk", "7")), **change)
    past = created()
    past = past.model_copy(update={"action": past.action.model_copy(update={"tags": ("core", "onboarding")})})
    assert is_ours(tagged, US, [past]) is ours
