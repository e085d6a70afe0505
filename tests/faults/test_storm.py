"""Whatever is killed, at whatever moment: nothing that was acknowledged is lost, and nothing is done twice.

`FAULTS_SEED` repeats a run, `FAULTS_PAYMENTS` makes the long one longer or shorter.
"""

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from gateway.store.tables import actions, attempts, deliveries

from .machine import tell
from .outside import Desk, Vendor, payment, subject
from .town import Chaos, Town

SEED = int(os.environ.get("FAULTS_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
PAYMENTS = int(os.environ.get("FAULTS_PAYMENTS", "3000"))


def test_a_hundred_and_fifty_webhooks_under_fire(new_town: Callable[..., Town], zendesk: Desk) -> None:
    town = inhabited(new_town(), zendesk, workers=2)
    deck = shuffled(["server", "worker", "worker", "valkey", "postgres", "a postgres backend"])
    storm(town, zendesk, 145, 30, deck, pause=(0.2, 0.8))


@pytest.mark.slow
def test_three_thousand_webhooks_under_fire(new_town: Callable[..., Town], zendesk: Desk) -> None:
    """As in production: a call that was interrupted is given half a minute, or a minute and a half."""
    town = inhabited(new_town(reclaim_seconds=30), zendesk, workers=3)
    fire = ["server"] * 6 + ["worker"] * 9 + ["valkey"] * 5 + ["postgres"] * 5 + ["a postgres backend"] * 3
    # Losing the count of its calls, the gateway leaves a vendor alone for as long as that count goes back, a minute;
    # so these come last, lest nothing is under way when the others strike.
    deck = shuffled(fire)[:-6] + shuffled([*shuffled(fire)[-6:], *["valkey, all data lost"] * 3])
    storm(town, zendesk, PAYMENTS, 30, deck, pause=(0.5, 4.0))


@pytest.mark.slow
def test_a_vendor_that_knows_no_idempotency_keys(new_town: Callable[..., Town], zendesk: Desk) -> None:
    """Then only the ledger stands between a killed worker and a second ticket."""
    zendesk.forget_keys()
    town = inhabited(new_town(), zendesk, workers=3)
    zendesk.misbehave(kind="slow", seconds=0.4)
    deck = shuffled(["worker"] * 14 + ["postgres"] * 3 + ["a postgres backend"] * 2 + ["valkey"] * 2)
    storm(town, zendesk, 600, 20, deck, pause=(0.3, 1.5), drops=0.0)


def shuffled(deck: Sequence[str]) -> list[str]:
    return random.Random(SEED).sample(list(deck), len(deck))


def inhabited(town: Town, zendesk: Desk, workers: int) -> Town:
    town.configure(zendesk.url)
    town.start_server()
    for _ in range(workers):
        town.start_worker()
    return town


def traffic(payments: int) -> list[tuple[str, bytes]]:
    """Every payment once; of some the same message again, of some the same payment in another message."""
    chance = random.Random(SEED)
    told = [(f"msg_{number}", payment(number)) for number in range(payments)]
    for number in chance.sample(range(payments), payments // 30):
        told.insert(chance.randrange(len(told)), (f"msg_{number}", payment(number)))
    for number in chance.sample(range(payments), payments // 30):
        told.insert(chance.randrange(len(told)), (f"again_{number}", payment(number)))
    return told


def storm(
    town: Town, zendesk: Desk, payments: int, per_second: float, deck: list[str], *, pause: tuple[float, float],
    drops: float = 0.02,
) -> None:  # fmt: skip
    """Send the traffic of so many payments while the deck is played, wait for the calm, and count."""
    tell(f"FAULTS_SEED={SEED}")
    chaos, vendor, webhooks = Chaos(town, SEED), Vendor(town.url), traffic(payments)
    zendesk.misbehave(kind="drop", share=drops, seed=SEED)
    zendesk.misbehave(kind="slow", share=0.3, seconds=0.3, seed=SEED)
    began = time.monotonic()
    with vendor.sending(webhooks, per_second):
        for kind in deck:
            time.sleep(chaos.chance.uniform(*pause))
            at = time.monotonic() - began
            chaos.strike(kind)
            tell(f"{at:6.1f} s  killed: {kind}; there again {time.monotonic() - began - at:.1f} s later")
    tell(f"{time.monotonic() - began:6.1f} s  all acknowledged; {dict(town.unfinished())}")
    recovery = town.settle(120)
    report(town, zendesk, vendor, chaos, recovery)
    rows = {row.dedup_key: row for row in town.rows(deliveries)}
    assert set(vendor.acknowledged) == {id_ for id_, _ in webhooks}
    assert {rows[id_].state for id_ in vendor.acknowledged} == {"decided"}
    assert {id_: rows[id_].id for id_ in vendor.acknowledged} == vendor.deliveries, (
        "each was told its own row"
    )
    assert zendesk.subjects() == {subject(number): 1 for number in range(payments)}
    assert {row.state for row in town.rows(actions)} == {"done"}


def report(town: Town, zendesk: Desk, vendor: Vendor, chaos: Chaos, recovery: float) -> None:
    states = Counter(row.state for row in town.rows(deliveries))
    subjects = zendesk.subjects()
    lines = {
        "kills": dict(chaos.kills),
        "answers": dict(vendor.statuses),
        "slowest 2xx": f"{vendor.slowest:.1f} s",
        "acknowledged": len(vendor.acknowledged),
        "deliveries": dict(states),
        "tickets": subjects.total(),
        "tickets too many": subjects.total() - len(subjects),
        "calls": {method: zendesk.calls(method) for method in ("POST", "GET")},
        "attempts": dict(Counter(row.outcome for row in town.rows(attempts))),
        "recovery": f"{recovery:.1f} s after the last acknowledgement",
    }
    tell("\n".join(f"{name:>17}: {figure}" for name, figure in lines.items()))
