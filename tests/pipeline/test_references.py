"""Links in a text are looked for in every connection that knows its own, and rules are told of them."""

from typing import Any

from tests_town import NOW, arrive, rows, rule, run, settle_in, town

from gateway.api import (
    AddTags,
    Connection,
    ConnectionSettings,
    Reference,
    Ticket,
    TicketCreated,
    TicketRef,
    hookimpl,
)
from gateway.pipeline.references import finder
from gateway.registry import assemble
from gateway.runtime import Runtime
from gateway.store.tables import actions


@hookimpl
def find_references(text: str, connection: Connection[Any]) -> list[Reference]:
    found = text.split() if connection.name in text else []
    return [
        Reference(connection=connection.name, kind="deal", id=f"deal:{n}", url="https://x.example/")
        for n in found
    ]


def connection(name: str, vendor: str) -> Connection[Any]:
    return Connection("acme", name, vendor, ConnectionSettings())


def test_every_connection_whose_vendor_knows_its_links_is_asked_and_no_other():
    registry = assemble({"linked": town(find_references=find_references), "mute": town()}, {})
    find = finder(registry, [connection("a", "linked"), connection("m", "mute"), connection("b", "linked")])
    assert [(each.connection, each.id) for each in find("b m a")] == [
        ("a", "deal:b"), ("a", "deal:m"), ("a", "deal:a"), ("b", "deal:b"), ("b", "deal:m"), ("b", "deal:a"),
    ]  # fmt: skip
    assert find("m") == ()


def test_a_vendor_that_answers_nothing_is_no_error():
    mute = town(find_references=hookimpl(lambda text: None))
    assert finder(assemble({"mute": mute}, {}), [connection("a", "mute")])("a") == ()


def test_a_rule_is_told_what_a_text_points_at(gateway: Runtime) -> None:
    def tagging(event: Any, facts: Any) -> Any:
        ids = tuple(str(each.ref) for each in facts.references_in(event.ticket.subject))
        yield AddTags(ticket=event.ticket.ref, tags=ids, reason="they are named")

    settle_in(
        gateway, vendor=town(find_references=find_references), rules={"tagging": rule("tagging", tagging)}
    )
    ticket = Ticket(ref=TicketRef("desk", "7"), subject="desk desk")
    run(gateway, arrive(gateway, TicketCreated(id="c", occurred_at=NOW, ticket=ticket), subject="7"))
    (action,) = rows(gateway, actions)
    assert action.body["tags"] == ["ticket:desk:deal:desk"]
