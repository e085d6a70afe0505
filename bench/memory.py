"""How much memory do a server and two workers hold after fifty thousand events?"""

import argparse
import time

from sqlalchemy import func, select

from bench import report, webhooks
from bench.installation import STORES, Installation, Memory, installation, small_server
from bench.load import Load, send
from bench.report import Line, megabytes
from gateway.store.tables import actions, deliveries

MUST, DREAM = 250, 150
MEGABYTE = 2**20
EVENTS = 50_000
PAYMENTS = 5_000
"""So many of them open a ticket; the others are a desk's own changes, which rules look at."""
STEP = 5_000
PATIENCE = 240.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=EVENTS)
    given = parser.parse_args()
    with installation() as gateway, small_server("sink", gateway.folder) as sink:
        webhooks.configure(
            gateway.runtime,
            {
                "generic": None,
                "zendesk": f"{sink.url}/api/v2",
                **dict.fromkeys(("intercom", "freshdesk", "bitrix"), sink.url),
            },
            webhooks.RULES,
        )
        gateway.up(workers=2)
        before = gateway.memory()
        started = time.monotonic()
        fed(gateway, given.events)
        seconds = time.monotonic() - started
        after = gateway.memory()
    ours = [name for name in after if name not in STORES]
    at_first, total = (sum((told[name] for name in ours), Memory(0, 0)) for told in (before, after))
    lines = [
        Line(
            "server, 2 workers, their parent: PSS", "", megabytes(total.pss), "", f"<= {MUST} MB", f"<= {DREAM} MB",
            total.pss <= MUST * MEGABYTE,
        ),
        Line("the same, RSS", "", megabytes(total.rss)),
        *(Line(f"  {name}, PSS (RSS)", "", _both(after[name])) for name in ours),
        *(Line(f"{name}, PSS (RSS)", "", _both(after[name])) for name in after if name not in ours),
    ]  # fmt: skip
    report.show(
        f"memory after {given.events:,} events",
        lines,
        [
            f"{megabytes(at_first.pss)} PSS before the first event; all events decided and sent in {seconds:.0f} s",
            f"{given.events * PAYMENTS // EVENTS:,} of them opened a ticket, the others were changes of tickets",
            "PSS counts a page that n processes share as 1/n in each; PostgreSQL's includes 64 MB of shared buffers",
        ],
    )


def fed(gateway: Installation, events: int) -> None:
    """Send them in steps, so that the queue stays short, and wait until all is done. Raises RuntimeError."""
    for sent in range(0, events, STEP):
        step = min(STEP, events - sent)
        payments = step * PAYMENTS // EVENTS
        for vendor, count in (("generic", payments), ("zendesk", step - payments)):
            if count:
                send(Load(vendor, gateway.port, webhooks.path_of(vendor), count, 60.0)).check()
        done(gateway, sent + step)
        report.progress(f"{sent + step:,} events")


def done(gateway: Installation, events: int) -> None:
    deadline = time.monotonic() + PATIENCE
    waiting = (
        select(func.count()).where(deliveries.c.state == "received").scalar_subquery(),
        select(func.count()).where(actions.c.state.in_(["pending", "executing"])).scalar_subquery(),
    )
    while time.monotonic() < deadline:
        with gateway.runtime.db.connect() as db:
            stored = db.execute(select(func.count()).where(deliveries.c.state == "decided")).scalar_one()
            left = sum(db.execute(select(*waiting)).one())
        if stored >= events and not left:
            return
        time.sleep(0.3)
    raise RuntimeError(f"{left} rows were still unfinished after {PATIENCE:g} s, {stored:,} decided")


def _both(memory: Memory) -> str:
    return f"{megabytes(memory.pss)} ({megabytes(memory.rss)})"


if __name__ == "__main__":
    main()
