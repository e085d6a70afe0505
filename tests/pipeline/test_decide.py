"""Facts, rules, decisions: each event once, in order, each rule on its own, all or nothing."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from secrets import token_urlsafe
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError
from tests_town import NOW, arrive, rows, rule, run, settle_in, town

from gateway.api import (
    AddComment,
    AddTags,
    CancelTimer,
    Comment,
    CommentCreated,
    Contact,
    CreateTicket,
    Customer,
    LinkTickets,
    Notify,
    Payment,
    PaymentConfirmed,
    Person,
    RaiseEvent,
    SaveContact,
    SetStatus,
    Skip,
    StartTimer,
    Status,
    Ticket,
    TicketCreated,
    TicketRef,
    TicketStatusChanged,
    TicketUpdated,
    Unrecognized,
    hookimpl,
)
from gateway.pipeline import decide as deciding
from gateway.pipeline.decide import Outcome
from gateway.runtime import Runtime
from gateway.store import deliveries as inbox
from gateway.store import tenants
from gateway.store import tickets as ticket_store
from gateway.store.tables import (
    actions,
    comments,
    customers,
    deliveries,
    events,
    incidents,
    links,
    tickets,
    timers,
)

REF = TicketRef("desk", "7")


def created(
    subject: str = "Boleto", *, ref: TicketRef = REF, minutes: int = 0, **fields: Any
) -> TicketCreated:
    at = NOW + timedelta(minutes=minutes)
    ticket = Ticket(ref=ref, subject=subject, status=Status.NEW, remote_updated_at=at, **fields)
    return TicketCreated(id=f"created:{ref.id}", occurred_at=at, ticket=ticket)


def updated(minutes: int, ref: TicketRef = REF, **fields: Any) -> TicketUpdated:
    at = NOW + timedelta(minutes=minutes)
    ticket = Ticket(ref=ref, remote_updated_at=at, **fields)
    return TicketUpdated(id=f"updated@{minutes}:{ref.id}", occurred_at=at, ticket=ticket)


def payment(id_: str = "p1", **customer: Any) -> PaymentConfirmed:
    who = Customer(**{"name": "Padaria", "email": "dona@padaria.example", **customer})
    return PaymentConfirmed(id=f"paid:{id_}", occurred_at=NOW, payment=Payment(id=id_), customer=who)


def tagging(event: Any, facts: Any) -> Any:
    yield AddTags(ticket=event.ticket.ref, tags=("seen",), reason="because")


def test_an_event_its_decisions_its_actions_and_the_ticket_are_one_write(gateway: Runtime) -> None:
    settle_in(gateway, rules={"tagging": rule("tagging", tagging)})
    id_ = arrive(gateway, created(tags=frozenset({"vip"})), subject="7")
    outcome = run(gateway, id_)
    assert outcome.decided == 1
    (delivery,) = rows(gateway, deliveries)
    assert (delivery.state, delivery.decided_at) == ("decided", NOW)
    (event,) = rows(gateway, events)
    assert (event.kind, event.ticket_id, event.delivery_id, event.ours) == ("ticket.created", "7", id_, False)
    (action,) = rows(gateway, actions)
    assert (action.state, action.rule, action.ticket_id, action.reason) == (
        "pending",
        "tagging",
        "7",
        "because",
    )
    acted = {"id": str(action.id), "kind": "add_tags", "reason": "because"}
    assert event.decisions == [{"rule": "tagging", "acted": [acted]}]
    assert outcome.execute == {("acme", "desk"): [action.id]}
    (ticket,) = rows(gateway, tickets)
    assert (ticket.body["subject"], ticket.body["tags"]) == ("Boleto", ["vip"])


def test_the_same_fact_told_twice_is_decided_once(gateway: Runtime) -> None:
    settle_in(gateway, rules={"tagging": rule("tagging", tagging)})
    first, second = (arrive(gateway, created(), subject="7") for _ in range(2))
    run(gateway, first, second)
    assert len(rows(gateway, actions)) == 1
    assert rows(gateway, deliveries)[1].notes == {"known": [{"fact": "created:7", "delivery": first}]}


def test_a_replay_decides_again_and_still_does_nothing_twice(gateway: Runtime) -> None:
    settle_in(gateway, rules={"tagging": rule("tagging", tagging)})
    id_ = arrive(gateway, created(), subject="7")
    run(gateway, id_)
    with gateway.db.begin() as db:
        assert inbox.replay(db, [id_], NOW) == [id_]
    run(gateway, id_)
    assert [row.state for row in rows(gateway, deliveries)] == ["decided"]
    assert len(rows(gateway, actions)) == 1
    assert len(rows(gateway, events)) == 1


def test_an_older_event_never_overwrites_newer_state(gateway: Runtime) -> None:
    settle_in(gateway)
    run(gateway, arrive(gateway, updated(5, subject="new", status=Status.OPEN), subject="7"))
    run(gateway, arrive(gateway, updated(1, subject="old", type="question"), subject="7"))
    (ticket,) = rows(gateway, tickets)
    assert ticket.body["subject"] == "new"
    assert ticket.body["type"] == "question", "what only the older one knew is kept"
    assert ticket.updated_at == NOW + timedelta(minutes=5)


def test_deliveries_that_wait_in_front_in_the_same_lane_go_first(gateway: Runtime) -> None:
    seen: list[str] = []

    def watching(event: Any, facts: Any) -> Any:
        seen.append(event.id)
        return ()

    settle_in(gateway, rules={"watching": rule("watching", watching)})
    arrive(gateway, updated(1), subject="7")
    last = arrive(gateway, updated(2), subject="7")
    run(gateway, last)
    assert seen == ["updated@1:7", "updated@2:7"]


def test_a_rule_that_raises_takes_no_other_rule_down(gateway: Runtime) -> None:
    def broken(event: Any, facts: Any) -> Any:
        yield AddTags(ticket=event.ticket.ref, tags=("half",), reason="before it broke")
        raise ZeroDivisionError("oops")

    settle_in(gateway, rules={"broken": rule("broken", broken), "tagging": rule("tagging", tagging)})
    run(gateway, arrive(gateway, created(), subject="7"))
    assert [row.rule for row in rows(gateway, actions)] == ["tagging"]
    answers = {answer["rule"]: answer for answer in rows(gateway, events)[0].decisions}
    assert answers["broken"] == {"rule": "broken", "error": "ZeroDivisionError: oops"}


def test_skips_and_silence_are_kept_too(gateway: Runtime) -> None:
    def skipping(event: Any, facts: Any) -> Any:
        yield Skip(reason="not in scope")

    settle_in(
        gateway, rules={"quiet": rule("quiet", lambda e, f: None), "skipping": rule("skipping", skipping)}
    )
    run(gateway, arrive(gateway, created(), subject="7"))
    assert rows(gateway, events)[0].decisions == [
        {"rule": "quiet"},
        {"rule": "skipping", "skipped": ["not in scope"]},
    ]


def test_a_poisoned_delivery_is_parked_alone(gateway: Runtime) -> None:
    settle_in(gateway, rules={"tagging": rule("tagging", tagging)})
    good = arrive(gateway, created(), subject="7")
    bad = arrive(gateway, body=b"{not json", subject="8")
    other = arrive(gateway, created(ref=TicketRef("desk", "9")), subject="9")
    outcome = run(gateway, good, bad, other)
    assert (outcome.decided, outcome.parked) == (2, 1)
    states = {row.id: (row.state, row.error) for row in rows(gateway, deliveries)}
    assert states[good][0] == states[other][0] == "decided"
    assert states[bad][0] == "parked"
    assert "town" in states[bad][1]


def test_a_row_that_the_store_refuses_parks_only_its_own_delivery(gateway: Runtime) -> None:
    def poisoned(event: Any, facts: Any) -> Any:
        tag = "x" * 3000 if event.ticket.ref.id == "8" else "fine"
        key = tag if event.ticket.ref.id != "8" else "\x00"
        yield StartTimer(key=f"t:{key}", at=NOW, reason="r", ticket=event.ticket.ref)

    settle_in(gateway, rules={"poisoned": rule("poisoned", poisoned)})
    ids = [arrive(gateway, created(ref=TicketRef("desk", n)), subject=n) for n in ("7", "8", "9")]
    outcome = run(gateway, *ids)
    assert (outcome.decided, outcome.parked) == (2, 1)
    assert [row.state for row in rows(gateway, deliveries)] == ["decided", "parked", "decided"]
    assert "NUL" in rows(gateway, deliveries)[1].error
    assert {row.ticket_id for row in rows(gateway, events)} == {"7", "9"}


def test_a_value_too_long_for_an_index_parks_only_its_own_delivery(gateway: Runtime) -> None:
    settle_in(gateway, names=("pay",))
    told = [{"email": "a@x.example"}, {"email": f"{token_urlsafe(6000)}@x.example"}, {"email": "b@x.example"}]
    ids = [arrive(gateway, payment(f"p{n}", **who), connection="pay") for n, who in enumerate(told)]
    outcome = run(gateway, *ids)
    assert (outcome.decided, outcome.parked) == (2, 1)
    assert [row.state for row in rows(gateway, deliveries)] == ["decided", "parked", "decided"]
    assert "index row size" in rows(gateway, deliveries)[1].error


def test_an_unknown_kind_is_kept_and_no_rule_is_asked(gateway: Runtime) -> None:
    settle_in(gateway, rules={"never": rule("never", lambda e, f: 1 / 0)})
    run(gateway, arrive(gateway, Unrecognized(id="x", occurred_at=NOW, remote_kind="odd")))
    (event,) = rows(gateway, events)
    assert (event.kind, event.body["remote_kind"], event.decisions) == ("unrecognized", "odd", [])


def test_what_our_own_user_did_is_ours_and_only_rules_that_hear_it_are_asked(gateway: Runtime) -> None:
    both = {"deaf": rule("deaf", tagging), "hears": rule("hears", lambda e, f: (), hears_ours=True)}
    settle_in(gateway, rules=both)
    event = created().model_copy(update={"actor": Person(id="us")})
    run(gateway, arrive(gateway, event, subject="7"))
    (row,) = rows(gateway, events)
    assert row.ours
    assert row.decisions == [{"rule": "hears"}]


def test_a_rule_sees_what_was_already_decided_and_does_not_act_twice(gateway: Runtime) -> None:
    def once(event: Any, facts: Any) -> Any:
        if "seen" not in facts.ticket.tags:
            yield AddTags(ticket=event.ticket.ref, tags=("seen",), reason="first")

    settle_in(gateway, rules={"once": rule("once", once)})
    run(
        gateway,
        arrive(gateway, created(tags=frozenset()), subject="7"),
        arrive(gateway, updated(1), subject="7"),
    )
    run(gateway, arrive(gateway, updated(2, tags=frozenset()), subject="7"))
    assert len(rows(gateway, actions)) == 1


def test_a_rule_that_needs_the_whole_ticket_makes_the_core_read_it_first(gateway: Runtime) -> None:
    def needy(event: Any, facts: Any) -> Any:
        yield Skip(reason=f"{len(facts.comments)} comments of {facts.full_ticket().subject}")

    @hookimpl
    def collect_ticket() -> Any:
        return {}

    settle_in(gateway, town(collect_ticket=collect_ticket), {"needy": rule("needy", needy)})
    id_ = arrive(gateway, created(), subject="7")
    behind = arrive(gateway, updated(1), subject="7")
    outcome = run(gateway, id_)
    assert outcome.collect == {("acme", "desk"): [id_]}
    assert rows(gateway, events) == []
    assert [(row.state, row.reading) for row in rows(gateway, deliveries)] == [
        ("received", "wanted"),
        ("received", None),
    ]
    whole = created("Whole").model_copy(update={"complete": True, "comments": (Comment(id="1", body="oi"),)})
    with gateway.db.begin() as db:
        (waiting,) = inbox.unread(db, "acme", "desk", [id_]).values()
        inbox.keep_reading(db, waiting, {"events": [whole.to_json()]})
    run(gateway, behind)
    answers = [row.decisions[0]["skipped"] for row in rows(gateway, events)]
    assert sorted(answers) == [["1 comments of Whole"], ["1 comments of Whole"]]
    assert len(rows(gateway, comments)) == 1


def test_a_ticket_that_cannot_be_read_any_more_is_decided_with_what_is_known(gateway: Runtime) -> None:
    @hookimpl
    def collect_ticket() -> Any:
        return {}

    needy = rule("needy", lambda e, f: [Skip(reason=f.full_ticket().subject)])
    settle_in(gateway, town(collect_ticket=collect_ticket), {"needy": needy})
    id_ = arrive(gateway, created(), subject="7")
    run(gateway, id_)
    with gateway.db.begin() as db:
        inbox.keep_missing(db, [id_])
    run(gateway, id_)
    assert rows(gateway, events)[0].decisions == [{"rule": "needy", "skipped": ["Boleto"]}]


def test_more_actions_than_a_ticket_may_get_are_held_visibly(gateway: Runtime) -> None:
    chatty = rule("chatty", lambda e, f: [AddComment(ticket=REF, body=str(n), reason="r") for n in range(20)])
    settle_in(gateway, rules={"chatty": chatty})
    for minute in (1, 2):
        run(gateway, arrive(gateway, updated(minute), subject="7"))
    states = [row.state for row in rows(gateway, actions)]
    assert (states.count("pending"), states.count("held")) == (30, 10)
    (incident,) = rows(gateway, incidents)
    assert incident.kind == "action_budget"
    assert str(REF) in incident.message


def test_a_planned_ticket_is_a_fact_at_once_and_its_key_opens_one_ticket_ever(gateway: Runtime) -> None:
    def opening(event: Any, facts: Any) -> Any:
        if facts.linked:
            yield AddComment(ticket=facts.linked[0].ref, body="again", reason="open already")
            return
        create = CreateTicket(
            connection="desk", key="k", subject="S", description="D", tags=("core",), reason="r"
        )
        yield create
        yield LinkTickets(left=str(create.ticket), right=str(facts.customer), reason="r")

    settle_in(gateway, rules={"opening": rule("opening", opening)}, names=("desk", "pay"))
    first = arrive(gateway, payment("p1"), connection="pay")
    second = arrive(gateway, payment("p2"), connection="pay")
    outcome = run(gateway, first, second)
    kinds = [(row.kind, row.ticket_id) for row in rows(gateway, actions) if row.kind != "link_tickets"]
    assert kinds == [("create_ticket", "+k"), ("add_comment", "+k")]
    sendable = {row.id for row in rows(gateway, actions) if row.kind == "create_ticket"}
    assert set(outcome.execute["acme", "desk"]) == sendable, "the comment waits until its ticket exists"
    assert len(rows(gateway, customers)) == 1
    assert len(rows(gateway, links)) == 1


def test_two_batches_at_once_open_one_ticket_for_one_customer(gateway: Runtime) -> None:
    def opening(event: Any, facts: Any) -> Any:
        if not facts.linked:
            create = CreateTicket(
                connection="desk", key=f"k:{event.payment.id}", subject="S", description="D", reason="r"
            )
            yield create
            yield LinkTickets(left=str(create.ticket), right=str(facts.customer), reason="r")

    settle_in(gateway, rules={"opening": rule("opening", opening)}, names=("desk", "pay"))
    for wave in range(5):
        ids = [
            arrive(gateway, payment(f"{wave}-{n}", email=f"c{wave}@x.example"), connection="pay")
            for n in range(4)
        ]
        threads = [threading.Thread(target=run, args=(gateway, id_)) for id_ in ids]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [row.state for row in rows(gateway, deliveries)] == ["decided"] * 20
    assert len(rows(gateway, actions, kind="create_ticket")) == 5


def test_the_same_customer_is_found_by_document_email_or_phone(gateway: Runtime) -> None:
    settle_in(gateway, names=("pay",))
    told = [
        {"document": "11.222.333/0001-81", "email": "a@x.example", "phones": ("(11) 3555-0199",)},
        {"document": "11222333000181", "email": "b@x.example"},
        {"email": "B@X.example"},
        {"email": None, "phones": ("+55 11 3555 0199",)},
    ]
    for n, customer in enumerate(told):
        run(gateway, arrive(gateway, payment(f"p{n}", **customer), connection="pay"))
    (row,) = rows(gateway, customers)
    assert row.body["email"] == "B@X.example"


def test_a_switched_off_rule_is_not_asked_from_the_next_event_on(gateway: Runtime) -> None:
    settle_in(gateway, rules={"tagging": rule("tagging", tagging)})
    run(gateway, arrive(gateway, updated(1), subject="7"))
    with gateway.db.begin() as db:
        tenants.save_rule(db, "acme", "tagging", enabled=False, settings={})
        tenants.changed(db, ["off"])
    run(gateway, arrive(gateway, updated(2), subject="7"))
    assert [row.decisions != [] for row in rows(gateway, events)].count(True) == 1


def test_an_action_to_a_connection_that_does_not_exist_ends_with_a_reason(gateway: Runtime) -> None:
    lost = rule("lost", lambda e, f: [AddTags(ticket=TicketRef("nowhere", "1"), tags=("x",), reason="r")])
    settle_in(gateway, rules={"lost": lost})
    run(gateway, arrive(gateway, created(), subject="7"))
    (action,) = rows(gateway, actions)
    assert (action.state, action.error) == ("dead", "connection 'nowhere' does not exist")


def test_timers_are_rows_and_raised_events_take_the_same_way(gateway: Runtime) -> None:
    raised = Unrecognized(id="raised", occurred_at=NOW, remote_kind="mine").to_json()

    def starting(event: Any, facts: Any) -> Any:
        if event.kind == "ticket.created":
            yield StartTimer(key="t", at=NOW + timedelta(hours=1), ticket=REF, payload={"n": 1}, reason="r")
            yield RaiseEvent(event=raised, reason="r")

    settle_in(gateway, rules={"starting": rule("starting", starting)})
    outcome = run(gateway, arrive(gateway, created(), subject="7"))
    (timer,) = rows(gateway, timers)
    assert (timer.rule, timer.state, timer.ticket_id) == ("starting", "waiting", "7")
    run(gateway, *outcome.raised)
    assert [row.kind for row in rows(gateway, events)].count("unrecognized") == 1


def test_a_deadlock_or_lost_connection_parks_nothing(
    gateway: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: Any) -> None:
        raise OperationalError("select", {}, Exception("server closed the connection"))

    settle_in(gateway)
    id_ = arrive(gateway, created(), subject="7")
    monkeypatch.setattr(deciding.Ledger, "flush", lost)
    with pytest.raises(OperationalError):
        run(gateway, id_)
    assert [row.state for row in rows(gateway, deliveries)] == ["received"]


def test_comments_and_status_changes_that_we_wrote_come_back_as_ours(gateway: Runtime) -> None:
    def noting(event: Any, facts: Any) -> Any:
        if event.kind == "ticket.created":
            yield AddComment(ticket=REF, body="Falta o telefone", reason="r")
            yield SetStatus(ticket=REF, status=Status.OPEN, reason="r")

    settle_in(gateway, rules={"noting": rule("noting", noting)})
    run(gateway, arrive(gateway, created(), subject="7"))
    with gateway.db.begin() as db:
        db.execute(actions.update().values(state="done", finished_at=NOW))
    note = Comment(id="5", body="Falta  o telefone", is_private=True, author=Person(id="api"))
    at = NOW + timedelta(seconds=3)
    echo = CommentCreated(id="comment@5:7", occurred_at=at, ticket=Ticket(ref=REF), comment=note)
    moved = TicketStatusChanged(
        id="s", occurred_at=at, ticket=Ticket(ref=REF), old=Status.NEW, new=Status.OPEN
    )
    human = moved.model_copy(update={"id": "later", "occurred_at": NOW + timedelta(hours=1)})
    run(gateway, arrive(gateway, echo, moved, human, subject="7"))
    assert {row.fact: row.ours for row in rows(gateway, events)} == {
        "created:7": False, "comment@5:7": True, "s": True, "later": False,
    }  # fmt: skip


def test_a_removed_connection_parks_its_deliveries_with_the_reason(gateway: Runtime) -> None:
    settle_in(gateway)
    id_ = arrive(gateway, created(), subject="7", connection="gone")
    run(gateway, id_)
    (row,) = rows(gateway, deliveries)
    assert row.state == "parked"
    assert "'gone' does not exist" in row.error


def test_a_converter_with_a_bug_parks_and_names_the_vendor(gateway: Runtime) -> None:
    @hookimpl
    def convert_webhook() -> Any:
        raise KeyError("surprise")

    settle_in(gateway, town(convert_webhook=convert_webhook))
    run(gateway, arrive(gateway, created(), subject="7"))
    assert "town could not convert this: KeyError('surprise')" in rows(gateway, deliveries)[0].error


def test_what_needs_a_ticket_whose_creation_was_given_up_ends_with_it(gateway: Runtime) -> None:
    def opening(event: Any, facts: Any) -> Any:
        create = CreateTicket(connection="desk", key="k", subject="S", description="D", reason="r")
        yield create
        yield AddComment(ticket=create.ticket, body=event.id, reason="r")

    settle_in(gateway, rules={"opening": rule("opening", opening)}, names=("desk", "pay"))
    run(gateway, arrive(gateway, payment("p1"), connection="pay"))
    with gateway.db.begin() as db:
        db.execute(actions.update().values(state="dead", error="no such team"))
    outcome = run(gateway, arrive(gateway, payment("p2"), connection="pay"))
    late = rows(gateway, actions)[-1]
    assert (late.kind, late.state, late.error) == ("add_comment", "dead", "its ticket was not created")
    assert outcome.execute == {}


def poison(ticket: str) -> Any:
    """A rule that has something stored about this ticket which PostgreSQL does not take."""

    def poisoning(event: Any, facts: Any) -> Any:
        if event.ticket.ref.id == ticket:
            yield StartTimer(key="nul \x00", at=NOW, reason="r")

    return rule("poisoning", poisoning)


def test_a_split_batch_leads_to_the_same_as_a_whole_one_and_keeps_the_order(gateway: Runtime) -> None:
    """What waits for a reading holds back what came after it, also when each delivery is tried alone."""
    settle_in(gateway, rules={"tagging": rule("tagging", tagging), "poisoning": poison("8")})
    hint = arrive(gateway, subject="7", thin=True)
    behind = arrive(gateway, updated(1), subject="7")
    bad = arrive(gateway, created(ref=TicketRef("desk", "8")), subject="8")
    others = [arrive(gateway, created(ref=TicketRef("desk", n)), subject=n) for n in ("5", "6")]
    outcome = run(gateway, hint, behind, bad, *others)
    states = {row.id: (row.state, row.reading) for row in rows(gateway, deliveries)}
    assert states[hint] == ("received", "wanted")
    assert states[behind] == ("received", None), "it waits for the reading in front of it"
    assert states[bad] == ("parked", None)
    assert [states[id_][0] for id_ in others] == ["decided"] * 2
    assert outcome.collect == {("acme", "desk"): [hint]}
    assert outcome.execute == {("acme", "desk"): [row.id for row in rows(gateway, actions)]}
    assert (outcome.decided, outcome.parked) == (2, 1)


def test_a_store_that_goes_away_while_a_batch_is_split_parks_nothing(
    gateway: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle_in(gateway)
    ids = [arrive(gateway, created(ref=TicketRef("desk", n)), subject=n) for n in ("7", "8")]
    failures: Iterator[Exception] = iter(
        [ValueError("odd"), OperationalError("insert", {}, Exception("gone"))]
    )

    def failing(*_: Any) -> None:
        raise next(failures)

    monkeypatch.setattr(deciding.Ledger, "flush", failing)
    with pytest.raises(OperationalError):
        run(gateway, *ids)
    assert [row.state for row in rows(gateway, deliveries)] == ["received"] * 2


@pytest.mark.parametrize("answer", [["a text"], [None], 5, [{"kind": "add_tags"}]])
def test_a_rule_that_answers_anything_else_is_told_so(gateway: Runtime, answer: Any) -> None:
    settle_in(gateway, rules={"odd": rule("odd", lambda e, f: answer), "tagging": rule("tagging", tagging)})
    run(gateway, arrive(gateway, created(), subject="7"))
    answers = {each["rule"]: each for each in rows(gateway, events)[0].decisions}
    assert answers["odd"]["error"].startswith("TypeError")
    assert "acted" in answers["tagging"]


def test_the_customer_of_a_ticket_is_found_by_its_links_or_its_contact(gateway: Runtime) -> None:
    seen: dict[str, str | None] = {}

    def watching(event: Any, facts: Any) -> Any:
        if event.kind == "payment.confirmed":
            yield LinkTickets(left="ticket:desk:7", right=str(facts.customer), reason="r")
            yield LinkTickets(left="ticket:desk:7", right="board:sales", reason="r")
        else:
            seen[event.ticket.ref.id] = facts.customer.name if facts.customer else None

    settle_in(gateway, rules={"watching": rule("watching", watching)}, names=("desk", "pay"))
    run(gateway, arrive(gateway, payment(), connection="pay"))
    for ticket, contact in (
        ("7", None),
        ("8", Contact(email="Dona@padaria.example")),
        ("9", Contact(name="Dona")),
    ):
        event = created(ref=TicketRef("desk", ticket), contact=contact)
        run(gateway, arrive(gateway, event, subject=ticket))
    assert seen == {"7": "Padaria", "8": "Padaria", "9": None}


def test_a_later_link_to_a_planned_ticket_is_a_link_to_the_real_one(gateway: Runtime) -> None:
    create = CreateTicket(connection="desk", key="k", subject="S", description="D", reason="r")

    def linking(event: Any, facts: Any) -> Any:
        if event.payment.id == "p1":
            yield create
        yield LinkTickets(left=str(create.ticket), right=str(event.payment), reason="r")

    settle_in(gateway, rules={"linking": rule("linking", linking)}, names=("desk", "pay"))
    run(gateway, arrive(gateway, payment("p1"), connection="pay"))
    with gateway.db.begin() as db:
        ticket_store.settle(db, "acme", [(create.ticket, TicketRef("desk", "99"))], NOW)
    run(gateway, arrive(gateway, payment("p2"), connection="pay"))
    assert sorted((row.source, row.target) for row in rows(gateway, links)) == [
        ("ticket:desk:99", "payment:pay/p1"), ("ticket:desk:99", "payment:pay/p2"),
    ]  # fmt: skip


def test_what_goes_to_a_vendor_but_to_no_ticket_goes_to_its_connection(gateway: Runtime) -> None:
    saving = rule(
        "saving", lambda e, f: [SaveContact(connection="desk", contact=Contact(name="Dona"), reason="r")]
    )
    telling = rule("telling", lambda e, f: [Notify(channel="alerts", title="t", body="b", reason="r")])
    settle_in(gateway, rules={"saving": saving, "telling": telling})
    run(gateway, arrive(gateway, created(), subject="7"))
    found = [(row.kind, row.connection, row.ticket_id, row.state) for row in rows(gateway, actions)]
    assert found == [("save_contact", "desk", None, "pending"), ("notify", "", None, "pending")]


def test_what_another_worker_has_decided_meanwhile_is_nothing(gateway: Runtime) -> None:
    settle_in(gateway, rules={"tagging": rule("tagging", tagging)})
    id_ = arrive(gateway, created(), subject="7")
    assert run(gateway, id_).decided == 1
    assert run(gateway, id_, 10**9) == Outcome()


def test_a_webhook_that_tells_nothing_says_so(gateway: Runtime) -> None:
    settle_in(gateway)
    run(gateway, arrive(gateway, subject="7"))
    assert rows(gateway, deliveries)[0].notes == {"said": "nothing that we did not know"}


def test_a_timer_is_canceled_by_its_key(gateway: Runtime) -> None:
    def timing(event: Any, facts: Any) -> Any:
        if event.kind == "ticket.created":
            yield StartTimer(key="t", at=NOW + timedelta(hours=1), reason="r")
        else:
            yield CancelTimer(key="t", reason="r")

    settle_in(gateway, rules={"timing": rule("timing", timing)})
    run(gateway, arrive(gateway, created(), subject="7"))
    run(gateway, arrive(gateway, updated(1), subject="7"))
    assert [row.state for row in rows(gateway, timers)] == ["canceled"]
    assert [row.state for row in rows(gateway, actions)] == ["done", "done"]
