"""Webhooks that come twice, late, in the wrong order, from long ago, or that nobody can read."""

import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import gateway_plugins.generic.sandbox as payments
import httpx
from gateway_plugins.generic import accept

from gateway.store.tables import actions, deliveries, tickets

from .machine import until
from .outside import Desk, Vendor, desk, payment, signed, subject
from .town import Town


def test_the_same_webhook_many_times_at_once_is_one_row_and_one_ticket(town: Town, zendesk: Desk) -> None:
    town.start_worker()
    body = payment(1)

    def send(_: int) -> httpx.Response:
        return httpx.post(
            f"{town.url}/hooks/acme/pay", content=body, headers=signed("msg_1", body), timeout=10
        )

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(send, range(40)))
    assert Counter(answer.status_code for answer in answers) == {202: 1, 200: 39}
    assert len({answer.json()["delivery"] for answer in answers}) == 1
    town.settle(30)
    assert [row.duplicates for row in town.rows(deliveries)] == [39]
    assert zendesk.subjects() == {subject(1): 1}


def test_a_payment_told_by_many_messages_gives_one_ticket(town: Town, zendesk: Desk) -> None:
    """Vendors repeat a fact under another delivery id, too; here with several workers deciding at once."""
    for _ in range(3):
        town.start_worker()
    Vendor(town.url).send(
        [(f"msg_{turn}_{number}", payment(number)) for turn in range(8) for number in range(20)]
    )
    town.settle(40)
    assert zendesk.subjects() == {subject(number): 1 for number in range(20)}
    assert {row.state for row in town.rows(deliveries)} == {"decided"}


def test_a_reversal_that_arrives_before_its_payment_opens_no_ticket(town: Town, zendesk: Desk) -> None:
    town.start_worker()
    vendor = Vendor(town.url)
    vendor.send([("msg_2", payment(1, "payment.reversed"))])
    town.settle(20)
    vendor.send([("msg_1", payment(1)), ("msg_3", payment(3))])
    town.settle(20)
    assert zendesk.subjects() == {subject(3): 1}


def test_what_a_desk_tells_in_the_wrong_order_ends_as_the_desk_has_it(town: Town) -> None:
    with desk(shuffled=True) as shuffled:
        town.configure(shuffled.url)
        httpx.post(f"{shuffled.url}/_sandbox/webhooks", json={"url": f"{town.url}/hooks/acme/desk"})
        for _ in range(2):
            town.start_worker()
        made = [shuffled.human(subject=f"Chamado {number}", description="Olá") for number in range(5)]
        for status, priority in (
            ("open", "low"),
            ("pending", "urgent"),
            ("open", "normal"),
            ("solved", "high"),
        ):
            for ticket in made:
                shuffled.human(ticket["id"], status=status, priority=priority)
        until(shuffled.has_told_all, "the desk has sent its webhooks")
        town.settle(40)
        known = {row.id: row.body for row in town.rows(tickets)}
        assert {row.state for row in town.rows(deliveries)} == {"decided"}
        for ticket in made:
            assert known[str(ticket["id"])]["status"] == "resolved"
            assert known[str(ticket["id"])]["priority"] == "high"


def test_a_webhook_recorded_long_ago_is_refused(town: Town) -> None:
    body, sent_at = payment(1), datetime.fromtimestamp(int(time.time()) - 3600, UTC)
    old = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(sent_at.timestamp())),
        "webhook-signature": accept.sign("msg_1", sent_at, body.decode(), payments.SECRET),
    }
    assert httpx.post(f"{town.url}/hooks/acme/pay", content=body, headers=old).status_code == 401
    assert town.rows(deliveries) == []


def test_a_replayed_delivery_is_decided_anew_and_done_no_second_time(town: Town, zendesk: Desk) -> None:
    town.start_worker()
    vendor = Vendor(town.url)
    vendor.send([(f"msg_{number}", payment(number)) for number in range(5)])
    town.settle(30)
    before = [(row.id, row.state) for row in town.rows(actions)]
    ids = [str(row.id) for row in town.rows(deliveries)]
    told = subprocess.run(
        [sys.executable, "-m", "gateway", "deliveries", "replay", "--yes", *ids],
        env=town.env, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert told.returncode == 0
    town.settle(30)
    assert all(row.notes["replay"] for row in town.rows(deliveries))
    assert [(row.id, row.state) for row in town.rows(actions)] == before
    assert zendesk.subjects() == {subject(number): 1 for number in range(5)}


POISON = {
    "no JSON": b"\x00 not JSON",
    "a lone surrogate": payment("x").replace(b'"Pro"', b'"\\ud800"'),
    "NUL": payment("y").replace(b'"Pro"', b'"\\u0000"'),
    "nested without end": b"[" * 100_000,
    "an amount that is none": payment("z").replace(b"990.0", b'"many"'),
    "a number beyond all bounds": payment("w").replace(b"990.0", b"9" * 400),
    "no customer": payment("v").replace(b'"customer"', b'"someone"'),
    "nothing": b"",
}


def test_a_poisoned_delivery_is_set_aside_alone_and_holds_up_nobody(town: Town, zendesk: Desk) -> None:
    """All in one batch with healthy ones: they wait together until the worker starts."""
    vendor = Vendor(town.url)
    vendor.send([(f"msg_{number}", payment(number)) for number in range(10)])
    for name, body in POISON.items():
        answer = httpx.post(f"{town.url}/hooks/acme/pay", content=body, headers=signed(name, body))
        assert answer.status_code == 202, f"{name}: proven, so it is kept"
    vendor.send([(f"msg_{number}", payment(number)) for number in range(10, 20)])
    town.start_worker()
    town.settle(30)
    rows = {row.dedup_key: row for row in town.rows(deliveries)}
    assert {rows[f"msg_{number}"].state for number in range(20)} == {"decided"}
    assert {subject(number) for number in range(20)} <= set(zendesk.subjects())
    parked = {name: row.error for name, row in rows.items() if row.state == "parked"}
    assert {"nothing", "nested without end", "an amount that is none"} <= set(parked), parked
    assert all(parked.values()), "each says why"
