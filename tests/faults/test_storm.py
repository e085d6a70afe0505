"""Whatever is killed, at whatever moment: nothing that was acknowledged is lost, and nothing is done twice."""

import os
import random
import time
from collections import Counter

import pytest

from gateway.store.tables import actions, attempts, deliveries

from .town import Chaos, Desk, Town, Vendor, payment, subject, tell

SEED = int(os.environ.get("FAULTS_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
WEBHOOKS = int(os.environ.get("FAULTS_WEBHOOKS", "3000"))


def traffic(payments: int, chance: random.Random) -> list[tuple[str, bytes]]:
    """Every payment once; of some the same message again, of some the same payment in another message."""
    told = [(f"msg_{number}", payment(number)) for number in range(payments)]
    for number in chance.sample(range(payments), payments // 30):
        told.insert(chance.randrange(len(told)), told[number])
    for number in chance.sample(range(payments), payments // 30):
        told.insert(chance.randrange(len(told)), (f"again_{number}", payment(number)))
    return told


def storm(
    town: Town, zendesk: Desk, payments: int, per_second: float, deck: list[str], pause: tuple[float, float]
) -> None:
    tell(f"FAULTS_SEED={SEED}")
    chance = random.Random(SEED)
    chaos = Chaos(town, SEED)
    vendor = Vendor(town.url)
    webhooks = traffic(payments, chance)
    chance.shuffle(deck)
    zendesk.misbehave(kind="drop", share=0.02, seed=SEED)
    began = time.monotonic()
    with vendor.sending(webhooks, per_second) as sending:
        for kind in deck:
            time.sleep(chance.uniform(*pause))
            at = time.monotonic() - began
            chaos.strike(kind)
            tell(f"{at:6.1f} s  killed {kind}; back after {time.monotonic() - began - at:.1f} s")
        tell(f"{time.monotonic() - began:6.1f} s  last kill; {town.unfinished()}")
    sent_after = time.monotonic() - began
    tell(f"{sent_after:6.1f} s  all acknowledged; {town.unfinished()}")
    recovery = town.settle(240)
    subjects = zendesk.subjects()
    rows = {row.dedup_key: row for row in town.rows(deliveries)}
    tell(
        f"webhooks {len(webhooks)} ({payments} payments), kills {dict(chaos.kills)}\n"
        f"answers {dict(vendor.statuses)}, slowest {vendor.slowest:.1f} s\n"
        f"acknowledged {len(vendor.acknowledged)}, stored {len(rows)}, decided {sum(r.state == 'decided' for r in rows.values())}\n"
        f"tickets {subjects.total()}, twice {sum(n > 1 for n in subjects.values())}, calls {zendesk.calls('POST')} POST {zendesk.calls('GET')} GET\n"
        f"attempts {dict(Counter(row.outcome for row in town.rows(attempts)))}, "
        f"actions {dict(Counter((row.kind, row.state) for row in town.rows(actions)))}\n"
        f"recovery {recovery:.1f} s after the last acknowledgement, {time.monotonic() - began:.1f} s in all"
    )
    assert set(vendor.acknowledged) == {id_ for id_, _ in webhooks}
    assert {rows[id_].state for id_ in vendor.acknowledged} == {"decided"}
    assert all(rows[id_].id == vendor.deliveries[id_] for id_ in vendor.acknowledged)
    assert subjects == Counter(subject(number) for number in range(payments))


@pytest.mark.slow
def test_three_thousand_webhooks_under_fire(new_town, zendesk) -> None:
    town = new_town(reclaim_seconds=30)
    town.configure(zendesk.url)
    town.start_server()
    for _ in range(3):
        town.start_worker()
    deck = (
        ["server"] * 6
        + ["worker"] * 9
        + ["valkey"] * 5
        + ["valkey, all data lost"] * 3
        + ["postgres"] * 5
        + ["a postgres backend"] * 3
    )
    storm(town, zendesk, WEBHOOKS, 30, deck, (0.5, 4.0))
