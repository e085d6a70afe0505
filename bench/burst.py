"""What happens when two thousand webhooks come in one second, from a vendor that allows ten calls a minute?"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import func, select

from bench import report, webhooks
from bench.installation import Installation, free_port, installation, running, wait_for
from bench.load import Load, Result, send
from bench.report import Line
from gateway.store.tables import deliveries

WEBHOOKS = 2_000
MUST_P99, DREAM_P99 = 0.250, 0.050
ALLOWED, WINDOW = 10, 60.0
WATCHED = 90.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--watch", type=float, default=WATCHED, help="seconds to watch the vendor's side")
    given = parser.parse_args()
    with installation() as gateway, movidesk(gateway.folder) as vendor:
        webhooks.configure(gateway.runtime, {"movidesk": vendor}, {})
        tickets = opened(vendor)
        gateway.serve()
        gateway.work(2)
        path = webhooks.path_of("movidesk")
        load = send(Load("movidesk", gateway.port, path, WEBHOOKS, 10.0, spread=1.0))
        report.progress(f"{load.accepted():,} accepted; watching the vendor for {given.watch:g} s")
        time.sleep(given.watch)
        calls = httpx.get(f"{vendor}/_sandbox/calls", trust_env=False).json()
        decided = _decided(gateway)
    shown(load, calls, decided, tickets, given.watch)


def shown(load: Result, calls: Sequence[Any], decided: int, tickets: int, watched: float) -> None:
    refused = sum(call["status"] == 429 for call in calls)
    accepted = load.accepted()
    report.show(
        "burst",
        [
            Line(
                "accepted", f"{WEBHOOKS:,} sent", f"{accepted:,}", f"{accepted / WEBHOOKS:.2f}", "all", "",
                accepted == WEBHOOKS and not load.broken,
            ),
            Line(
                "p99 until the answer", "", f"{load.p99 * 1000:.0f} ms", "", f"< {MUST_P99 * 1000:.0f} ms",
                f"{DREAM_P99 * 1000:.0f} ms", load.p99 < MUST_P99,
            ),
            Line("429 provoked at the vendor", "", f"{refused}", "", "0", "", refused == 0),
            Line("most calls in any minute", f"{ALLOWED} allowed", f"{busiest(calls)}"),
            Line("p50 / slowest answer", "", f"{load.p50 * 1000:.0f} / {load.worst * 1000:.0f} ms"),
        ],
        [
            f"{WEBHOOKS:,} webhooks about {tickets} tickets, each at its own moment of {load.seconds:.2f} s, over "
            "32 connections; 2 workers at work; answers counted from the moment the webhook was due",
            f"watched for {watched:g} s: {len(calls)} calls, {refused} refused; "
            f"{decided:,} webhooks decided by then, one reading for all hints about a ticket",
        ],
    )  # fmt: skip


@contextmanager
def movidesk(folder: Path) -> Iterator[str]:
    """The plugin's own sandbox, in a process of its own, with the limit as it is documented; its base URL."""
    port, log = free_port(), folder / "movidesk.log"
    argv = [
        sys.executable, "-m", "uvicorn", "--factory", "gateway_plugins.movidesk.sandbox:create_app",
        "--port", str(port), "--log-level", "error",
    ]  # fmt: skip
    with running(argv, log) as process:
        url = f"http://127.0.0.1:{port}"
        wait_for(f"{url}/_sandbox/tickets", process, log)
        yield url


def opened(vendor: str) -> int:
    """The tickets that the webhooks will be about; how many. Raises RuntimeError when they are numbered otherwise."""
    numbers = []
    with httpx.Client(base_url=vendor, trust_env=False) as people:
        for number in range(WEBHOOKS // webhooks.HINTS_PER_TICKET):
            told = {
                "subject": f"Ajuda {number}",
                "description": "Não abre",
                "client": {"phone": "1130031234"},
            }
            answer = people.post("/_sandbox/human/tickets", json=told).raise_for_status()
            numbers.append(int(answer.json()["id"]))
    if numbers[0] != webhooks.FIRST_TICKET:
        raise RuntimeError(f"the sandbox's first ticket is {numbers[0]}, not {webhooks.FIRST_TICKET}")
    return len(numbers)


def busiest(calls: Sequence[Any]) -> int:
    """The most calls that any window of a minute saw, wherever it begins."""
    moments = sorted(call["at"] for call in calls)
    return max((sum(at <= other < at + WINDOW for other in moments) for at in moments), default=0)


def _decided(gateway: Installation) -> int:
    with gateway.runtime.db.connect() as db:
        number: int = db.execute(select(func.count()).where(deliveries.c.state == "decided")).scalar_one()
        return number


if __name__ == "__main__":
    main()
