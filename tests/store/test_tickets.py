"""Tickets, comments and links; and a planned ticket that becomes real, in whatever order that is learned."""

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any
from uuid import UUID, uuid5

import pytest
from sqlalchemy import Connection, Engine, insert, select

from gateway.model.action import AddComment, CreateTicket, LinkTickets
from gateway.model.ticket import Comment, Ticket, TicketRef
from gateway.store import actions as outbox
from gateway.store import database, tickets, timers
from gateway.store.tables import actions, links
from gateway.store.tables import tickets as ticket_rows
from gateway.store.tables import timers as timer_rows

NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
CREATE = CreateTicket(connection="desk", key="k", subject="S", description="D", reason="r")
PLANNED, REAL = CREATE.ticket, TicketRef("desk", "99")


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = database.engine(database_url)
    yield made
    made.dispose()


@pytest.fixture
def db(engine: Engine) -> Iterator[Connection]:
    with engine.connect() as connection:
        yield connection


def save(db: Connection, ref: TicketRef, tenant: str = "acme", **fields: Any) -> None:
    ticket = Ticket(ref=ref, **fields)
    tickets.save(db, [{
        "tenant": tenant, "connection": ref.connection, "id": ref.id, "body": ticket.to_json(), "complete": False,
        "updated_at": NOW, "seen_at": NOW,
    }])  # fmt: skip


def tie(db: Connection, source: str, target: str, relation: str = "about", tenant: str = "acme") -> None:
    row = {"tenant": tenant, "source": source, "target": target, "relation": relation, "made_at": NOW}
    tickets.save_links(db, [row])


def decide(db: Connection, action: Any, tenant: str = "acme", state: str = "pending") -> UUID:
    ref = action.ticket if hasattr(action, "ticket") else None
    id_ = uuid5(UUID(int=1), f"{tenant}{action!r}{state}")
    db.execute(insert(actions).values(
        id=id_, tenant=tenant, connection="desk", event_id=UUID(int=1), delivery_id=1, rule="r", ordinal=0,
        kind=action.kind, ticket_id=ref.id if ref else None, key=getattr(action, "key", None),
        body=action.model_copy(update={"id": str(id_)}).to_json(), reason="r", trace_id="t", state=state,
        not_before=NOW, created_at=NOW,
    ))  # fmt: skip
    return id_


# --- tickets ----------------------------------------------------------------------------------------------------


def test_a_ticket_is_what_was_saved_last(db):
    save(db, REAL, subject="old", team="GR")
    save(db, REAL, subject="new")
    (row,) = tickets.load(db, [("acme", REAL)]).values()
    assert tickets.parsed(row) == Ticket(ref=REAL, subject="new")
    assert tickets.load(db, [("other", REAL), ("acme", TicketRef("other", "99"))]) == {}
    assert tickets.load(db, []) == {}


def test_comments_come_oldest_first_and_the_undated_before_them(db):
    told = [("b", 2), ("c", 1), ("a", None), ("d", 2)]
    rows = [
        {
            "tenant": "acme", "connection": "desk", "ticket_id": "99", "id": id_,
            "body": Comment(id=id_, body="oi").to_json(),
            "created_at": None if minutes is None else NOW + timedelta(minutes=minutes),
        }
        for id_, minutes in told
    ]  # fmt: skip
    tickets.save_comments(db, rows)
    tickets.save_comments(db, [rows[0] | {"body": Comment(id="b", body="edited").to_json()}])
    (found,) = tickets.load_comments(db, [("acme", REAL)]).values()
    assert [(comment.id, comment.body) for comment in found] == [
        ("a", "oi"),
        ("c", "oi"),
        ("b", "edited"),
        ("d", "oi"),
    ]


def test_links_are_found_from_both_ends_and_once(db):
    tie(db, "customer:c", str(REAL))
    tie(db, "customer:c", str(REAL))
    tie(db, str(REAL), "payment:p")
    tie(db, "customer:c", str(REAL), tenant="other")
    assert sorted(tickets.load_links(db, [("acme", str(REAL))])) == [
        ("acme", "customer:c", str(REAL)), ("acme", str(REAL), "payment:p"),
    ]  # fmt: skip
    assert tickets.load_links(db, [("acme", "payment:q")]) == []


def test_planned_tickets_that_are_to_come_again_leave_what_is_known(db):
    save(db, PLANNED, subject="known")
    tickets.save_planned(
        db, [("acme", Ticket(ref=PLANNED, subject="again")), ("acme", Ticket(ref=REAL))], NOW
    )
    found = tickets.load(db, [("acme", PLANNED), ("acme", REAL)])
    assert {ref.id: row.body.get("subject") for (_, ref), row in found.items()} == {"+k": "known", "99": None}


# --- a planned ticket becomes real ------------------------------------------------------------------------------


def state(db: Connection) -> dict[str, Any]:
    """All that speaks of tickets."""

    def found(table: Any, *values: Any) -> list[Any]:
        return sorted(tuple(value(row) for value in values) for row in db.execute(select(table)))

    return {
        "tickets": found(
            ticket_rows, lambda t: t.id, lambda t: t.body["ref"]["id"], lambda t: t.body.get("subject")
        ),
        "links": found(links, lambda li: li.source, lambda li: li.target, lambda li: li.relation),
        "actions": found(
            actions, lambda a: a.kind, lambda a: a.ticket_id, lambda a: a.body.get("ticket", {}).get("id")
        ),
        "timers": found(timer_rows, lambda t: t.key, lambda t: t.ticket_id),
    }


def start_timer(db: Connection, ref: TicketRef, tenant: str = "acme") -> None:
    timers.start(db, [{
        "tenant": tenant, "key": "t", "rule": "r", "at": NOW, "connection": ref.connection, "ticket_id": ref.id,
        "payload": {}, "changed_at": NOW,
    }])  # fmt: skip


def settle(db: Connection) -> None:
    tickets.settle(db, "acme", [(PLANNED, REAL)], NOW)


STEPS = {
    "planned": lambda db: (
        save(db, PLANNED, subject="planned"),
        decide(db, CREATE, state="done"),
        decide(db, AddComment(ticket=PLANNED, body="b", reason="r")),
        tie(db, "customer:c", str(PLANNED)),
        tie(db, str(PLANNED), "payment:p"),
        start_timer(db, PLANNED),
    ),
    "told by its desk": lambda db: save(db, REAL, subject="real"),
    "tied again": lambda db: tie(db, "customer:c", str(REAL)),
}  # fmt: skip


@pytest.mark.parametrize("order", list(permutations(STEPS)), ids=lambda order: ", ".join(order))
def test_everything_speaks_of_the_real_ticket_whatever_came_first(db, order):
    for step in order:
        STEPS[step](db)
    settle(db)
    settle(db)
    assert state(db) == {
        "tickets": [("99", "99", "real")],
        "links": [("customer:c", str(REAL), "about"), (str(REAL), "payment:p", "about")],
        "actions": [("add_comment", "99", "99"), ("create_ticket", "99", None)],
        "timers": [("t", "99")],
    }


def test_a_desk_that_tells_of_it_later_finds_it_known(db):
    STEPS["planned"](db)
    settle(db)
    assert state(db)["tickets"] == [("99", "99", "planned")]
    save(db, REAL, subject="real")
    assert state(db)["tickets"] == [("99", "99", "real")]


def test_where_the_planned_ticket_is_not_known_nothing_is_made_up(db):
    settle(db)
    assert state(db) == {"tickets": [], "links": [], "actions": [], "timers": []}


def test_links_of_every_relation_move_and_a_link_to_itself_too(db):
    save(db, PLANNED)
    tie(db, str(PLANNED), str(PLANNED), "twin")
    tie(db, str(PLANNED), "ticket:other:+k", "twin")
    tie(db, str(PLANNED), "ticket:desk:+k2", "twin")
    settle(db)
    assert state(db)["links"] == [
        (str(REAL), "ticket:desk:+k2", "twin"), (str(REAL), str(REAL), "twin"), (str(REAL), "ticket:other:+k", "twin"),
    ]  # fmt: skip


def test_the_same_key_of_another_tenant_or_connection_is_another_ticket(db):
    elsewhere = TicketRef("other", "+k")
    save(db, PLANNED, tenant="other", subject="other tenant")
    save(db, elsewhere, subject="other connection")
    tie(db, "customer:c", str(PLANNED), tenant="other")
    tie(db, "customer:c", str(elsewhere))
    decide(db, AddComment(ticket=PLANNED, body="b", reason="r"), tenant="other")
    start_timer(db, PLANNED, tenant="other")
    before = state(db)
    settle(db)
    assert state(db) == before


def test_what_was_done_about_it_before_is_about_the_real_one_too(db):
    """So that rules find their own earlier actions among the facts."""
    decide(db, CREATE, state="done")
    decide(db, LinkTickets(left=str(PLANNED), right="customer:c", reason="r"), state="done")
    decide(db, AddComment(ticket=PLANNED, body="b", reason="r"), state="dead")
    settle(db)
    past = outbox.load_past(db, [("acme", REAL)])["acme", REAL]
    assert sorted(entry.action.kind for entry in past) == ["add_comment", "create_ticket"]
    assert outbox.load_past(db, [("acme", PLANNED)]) == {}
    assert outbox.created_by_key(db, [("acme", "desk", "k")]) == {("acme", "desk", "k"): "99"}


def test_a_ticket_that_will_not_be_created_is_forgotten(db):
    save(db, PLANNED)
    save(db, REAL)
    tickets.forget_planned(db, "acme", PLANNED)
    assert [row[0] for row in state(db)["tickets"]] == ["99"]


# --- turns ------------------------------------------------------------------------------------------------------


def test_who_holds_a_name_makes_others_wait_until_the_end(engine):
    order: list[str] = []
    held = threading.Event()

    def second() -> None:
        held.wait()
        with engine.begin() as db:
            tickets.lock(db, ["b", "a"])
            order.append("second")

    waiting = threading.Thread(target=second)
    waiting.start()
    with engine.begin() as db:
        tickets.lock(db, ["a", "b", "a"])
        held.set()
        time.sleep(0.2)
        order.append("first")
    waiting.join()
    assert order == ["first", "second"]


def test_other_names_and_no_names_wait_for_nobody(engine):
    with engine.begin() as one, engine.begin() as two:
        tickets.lock(one, ["a"])
        tickets.lock(two, ["b"])
        tickets.lock(two, [])


def test_many_who_want_the_same_names_never_wait_in_a_ring(database_url):
    engine = database.engine(database_url, pool_size=8)
    names = [f"n{n}" for n in range(12)]
    failed: list[Exception] = []

    def holder(offset: int) -> None:
        try:
            for turn in range(6):
                with engine.begin() as db:
                    tickets.lock(db, names[offset + turn :] + names[: offset + turn])
        except Exception as error:  # noqa: BLE001 - it is looked at below
            failed.append(error)

    threads = [threading.Thread(target=holder, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    engine.dispose()
    assert failed == []
