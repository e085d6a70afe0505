"""A deal is won by what its stage means, once; contacts and notes on cards are told as they are."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from gateway_plugins import bitrix

from gateway.api import (
    CommentCreated,
    ContactUpdated,
    DealLost,
    DealUpdated,
    DealWon,
    TicketKind,
    UnreadableWebhook,
    Webhook,
)

MOVED = "2026-09-14T03:00:00+03:00"
SEEN = datetime(2026, 9, 14, 0, 0, 2, tzinfo=UTC)
ITEM = {
    "id": 1234, "title": "Plano Pro", "stageId": "C3:WON", "categoryId": 3, "stageSemanticId": "S", "opportunity": 990,
    "currencyId": "BRL", "contactId": 305, "contactIds": [305], "assignedById": 15, "createdBy": 21, "updatedBy": 15,
    "movedBy": 21, "movedTime": MOVED, "updatedTime": "2026-09-14T03:00:01+03:00", "closed": "Y",
}  # fmt: skip
CONTACT = {
    "id": 305, "name": "Ana", "lastName": "Souza", "updatedTime": MOVED, "updatedBy": 21,
    "UF_CRM_CPF": "529.982.247-25", "UF_CRM_PLAN": ["pro"],
    "fm": [
        {"id": 222, "typeId": "PHONE", "valueType": "MOBILE", "value": "(11) 99999-0000"},
        {"id": 223, "typeId": "PHONE", "valueType": "WORK", "value": "ramal 12"},
        {"id": 224, "typeId": "EMAIL", "valueType": "WORK", "value": " ana@padaria.example "},
    ],
}  # fmt: skip


@pytest.fixture
def heard(connected):
    """The events of a reading."""
    connection = connected(
        custom_fields={"document": {"contact": "UF_CRM_CPF"}, "plan": {"contact": "UF_CRM_PLAN"}}
    )

    def hear(collected: Any, seen: datetime = SEEN) -> list[Any]:
        webhook = Webhook({}, b"", received_at=seen)
        return bitrix.convert_webhook(
            webhook=webhook, collected=collected, before=None, connection=connection
        )

    return hear


def deal(**changes: Any) -> dict[str, Any]:
    stages = changes.pop("stages", [])
    contact = changes.pop("contact", CONTACT)
    return {"kind": "deal", "item": {**ITEM, **changes}, "contact": contact, "stages": stages}


def test_a_won_deal_with_its_customer(heard):
    updated, won = heard(deal())
    assert isinstance(updated, DealUpdated)
    assert isinstance(won, DealWon)
    assert won.deal.known() == {
        "id": "deal:1234", "title": "Plano Pro", "stage": "C3:WON", "amount_minor": 99_000, "currency": "BRL",
        "owner": "15", "url": "https://acme.bitrix24.com.br/crm/deal/details/1234/",
    }  # fmt: skip
    assert won.customer.known() == {
        "name": "Ana Souza", "email": "ana@padaria.example", "phones": ("+5511999990000", "ramal 12"),
        "document": "52998224725",
    }  # fmt: skip
    assert won.id == f"won:deal:1234@{MOVED}"
    assert won.occurred_at == datetime(2026, 9, 14, tzinfo=UTC)


def test_whoever_moved_the_deal_won_it_although_we_touched_it_last(heard):
    updated, won = heard(deal())
    assert (updated.actor.id, won.actor.id) == ("15", "21")


def test_the_same_victory_is_one_fact_however_often_it_is_told(heard):
    one, other = heard(deal()), heard(deal(title="Plano Max", updatedTime="2026-09-14T03:09:00+03:00"))
    assert one[1].id == other[1].id
    assert one[0].id != other[0].id
    again = heard(deal(movedTime="2026-09-14T03:00:02+03:00"))
    assert again[1].id != one[1].id, "it was lost and won again in between"


def test_two_changes_of_one_second_are_two_facts_and_the_same_reading_is_one(heard):
    assert heard(deal())[0].id == heard(deal())[0].id
    assert heard(deal())[0].id != heard(deal(opportunity=991))[0].id
    assert heard(deal())[0].id != heard(deal(contact=None))[0].id


LISTED = [
    {"STATUS_ID": "C3:1", "SEMANTICS": "S"},
    {"STATUS_ID": "C3:UC_LOST", "SEMANTICS": "F"},
    {"STATUS_ID": "C3:WON", "SEMANTICS": None, "EXTRA": {"SEMANTICS": "process"}},
    {"STATUS_ID": "C3:APOLOGY", "SEMANTICS": None, "EXTRA": {"SEMANTICS": "apology"}},
    {"STATUS_ID": "C3:DONE", "EXTRA": {"SEMANTICS": "success"}},
]


@pytest.mark.parametrize(
    ("told", "kinds"),
    [
        # as the deal says itself, whatever its stage is called
        ({"stageSemanticId": "S", "stageId": "C3:LOSE"}, [DealUpdated, DealWon]),
        ({"stageSemanticId": "F", "stageId": "C3:WON"}, [DealUpdated, DealLost]),
        ({"stageSemanticId": "P", "stageId": "WON"}, [DealUpdated]),
        # as the list of stages says
        ({"stageSemanticId": None, "stageId": "C3:1", "stages": LISTED}, [DealUpdated, DealWon]),
        ({"stageSemanticId": None, "stageId": "C3:UC_LOST", "stages": LISTED}, [DealUpdated, DealLost]),
        ({"stageSemanticId": None, "stageId": "C3:WON", "stages": LISTED}, [DealUpdated]),
        ({"stageSemanticId": None, "stageId": "C3:APOLOGY", "stages": LISTED}, [DealUpdated, DealLost]),
        ({"stageSemanticId": None, "stageId": "C3:DONE", "stages": LISTED}, [DealUpdated, DealWon]),
        # where nobody says anything, the codes that every pipeline begins with
        ({"stageSemanticId": None, "stageId": "WON"}, [DealUpdated, DealWon]),
        ({"stageSemanticId": None, "stageId": "C3:WON"}, [DealUpdated, DealWon]),
        ({"stageSemanticId": None, "stageId": "C3:LOSE"}, [DealUpdated, DealLost]),
        ({"stageSemanticId": None, "stageId": "APOLOGY"}, [DealUpdated, DealLost]),
        ({"stageSemanticId": None, "stageId": "C3:UC_WON"}, [DealUpdated]),
        ({"stageSemanticId": None, "stageId": None}, [DealUpdated]),
        # closed is true of both, and decides nothing
        ({"stageSemanticId": "P", "closed": "Y"}, [DealUpdated]),
    ],
)
def test_won_and_lost_by_what_the_stage_means(heard, told, kinds):
    assert [type(event) for event in heard(deal(**told))] == kinds


def test_an_old_victory_is_not_announced_because_somebody_touched_the_deal(heard):
    assert len(heard(deal(), SEEN + timedelta(days=6))) == 2
    assert len(heard(deal(), SEEN + timedelta(days=8))) == 1
    assert len(heard(deal(movedTime=None), SEEN + timedelta(days=8))) == 2, "nobody says when"


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        ("990.00", "BRL", 99_000), (0.1 + 0.2, "BRL", 30), ("99.995", "BRL", 10_000), ("1200", "JPY", 1_200),
        ("0", "BRL", 0), ("", "BRL", None), (None, "BRL", None), ("x", "BRL", None), ("NaN", "BRL", None),
        ("1e999", "BRL", None), ("-5.5", "BRL", -550), (True, "BRL", None),
    ],
)  # fmt: skip
def test_amounts_are_exact(heard, amount, currency, minor):
    assert heard(deal(opportunity=amount, currencyId=currency))[0].deal.amount_minor == minor


def test_a_deal_without_a_contact_has_no_customer(heard):
    assert [event.customer for event in heard(deal(contact=None))] == [None, None]


def test_a_contact(heard):
    (event,) = heard({"kind": "contact", "item": CONTACT})
    assert isinstance(event, ContactUpdated)
    assert event.contact.known() == {
        "id": "305", "name": "Ana Souza", "email": "ana@padaria.example", "phones": ("+5511999990000", "ramal 12"),
        "document": "52998224725", "custom_fields": {"plan": ["pro"]},
    }  # fmt: skip
    assert event.actor.id == "21"
    assert heard({"kind": "contact", "item": {**CONTACT, "name": "Bia"}})[0].id != event.id


def test_a_contact_as_older_methods_show_it(heard):
    item = {
        "id": 305,
        "name": "Ana",
        "PHONE": [{"ID": "222", "VALUE": "11999990000", "VALUE_TYPE": "MOBILE"}],
    }
    (event,) = heard({"kind": "contact", "item": item})
    assert event.contact.phones == ("+5511999990000",)
    assert heard({"kind": "contact", "item": {"id": 5}})[0].contact.known() == {
        "id": "5", "name": None, "email": None, "phones": (), "document": None, "custom_fields": {},
    }  # fmt: skip


NOTE = {
    "ID": "5150", "ENTITY_ID": 1234, "ENTITY_TYPE": "deal", "CREATED": MOVED, "AUTHOR_ID": "21",
    "COMMENT": "[b]Cliente[/b] pediu [url=https://x.example/1]prazo[/url]",
}  # fmt: skip


def test_a_note_in_the_timeline_is_a_private_comment_on_the_card(heard):
    (event,) = heard({"kind": "timeline", "comment": NOTE})
    assert isinstance(event, CommentCreated)
    assert (event.ticket.ref.id, event.ticket.kind, event.ticket.type) == (
        "deal:1234",
        TicketKind.TASK,
        "deal",
    )
    assert event.comment.body == "Cliente pediu prazo (https://x.example/1)"
    assert (event.comment.id, event.comment.is_private, event.actor.id) == ("timeline:5150", True, "21")
    assert event.id == "comment@timeline:5150:deal:1234"
    assert not event.complete


@pytest.mark.parametrize(
    ("entity", "id_"),
    [
        ("lead", "lead:1234"),
        ("contact", "contact:1234"),
        ("DYNAMIC_1040", "spa:1040:1234"),
        ("dynamic_2", "deal:1234"),
    ],
)
def test_the_card_of_a_note_is_named_as_everywhere(heard, entity, id_):
    (event,) = heard({"kind": "timeline", "comment": {**NOTE, "ENTITY_TYPE": entity}})
    assert event.ticket.ref.id == id_


@pytest.mark.parametrize(
    "collected",
    [
        {"kind": "deal"}, {"kind": "deal", "item": {"id": "x"}}, {"kind": "contact", "item": {}}, {"kind": "timeline"},
        {"kind": "lead", "item": ITEM}, {}, [], "x", {"kind": "deal", "item": None}, {"kind": "contact", "item": []},
    ],
)  # fmt: skip
def test_a_reading_of_no_known_shape_is_unreadable(heard, collected):
    with pytest.raises(UnreadableWebhook):
        heard(collected)
