"""How much of a bare echo's speed is left when every webhook is proved, committed, and only then acknowledged?"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median

import psutil

from bench import report, webhooks
from bench.installation import installation, small_server
from bench.load import Load, Result, send
from bench.report import Line

MUST, DREAM = 0.30, 0.45
ROUNDS = 10
SECONDS = 2.0
ENOUGH = 15_000
"""Webhooks to have ready for each second of a round; the echo gets them over again."""


@dataclass(frozen=True, slots=True)
class Round:
    """What one server did in one round. `cpu` = its processor time for one request, in microseconds."""

    load: Result
    cpu: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vendor", choices=sorted(webhooks.VENDORS), default="intercom")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args()
    with installation() as gateway, small_server("echo", gateway.folder) as echo:
        webhooks.configure(gateway.runtime, {given.vendor: None}, {})
        server = gateway.serve()
        places = ((echo.port, echo.pid, True), (gateway.port, server.pid, False))
        for place in places:  # warm
            one_round(given.vendor, *place, seconds=1.0)
        rounds = []
        for number in range(1, given.rounds + 1):
            rounds.append([one_round(given.vendor, *place) for place in places])
            report.progress(
                f"round {number}: " + " and ".join(f"{each.load.rate:,.0f}/s" for each in rounds[-1])
            )
    shown(given.vendor, *zip(*rounds, strict=True))


def shown(vendor: str, echo: Sequence[Round], ours: Sequence[Round]) -> None:
    def line(what: str, of: Callable[[Round], float], unit: str) -> Line:
        ratio = median(of(mine) / of(theirs) for theirs, mine in zip(echo, ours, strict=True))
        theirs, mine = (f"{median(of(each) for each in rounds):,.0f}{unit}" for rounds in (echo, ours))
        return Line(what, theirs, mine, f"{ratio:.2f}")

    acknowledged = line("acknowledged webhooks", lambda each: each.load.rate, "/s")
    reached = float(acknowledged.ratio) >= MUST
    size = len(webhooks.VENDORS[vendor].made("01234567", 10_000)[1])
    report.show(
        f"ingest ({vendor})",
        [
            replace(acknowledged, must=f">= {MUST:.2f}", dream=f">= {DREAM:.2f}", met=reached),
            line("the server's processor time for each", lambda each: each.cpu, " us"),
            line("p99 until the answer", lambda each: each.load.p99 * 1000, " ms"),
        ],
        [
            f"medians of {len(ours)} alternating rounds of {SECONDS:g} s; 32 connections; bodies of {size} bytes",
            "echo: bare Starlette, same uvicorn flags, no proof, no store; ours: one server, fsync on, no worker",
        ],
    )


def one_round(vendor: str, port: int, pid: int, repeat: bool, seconds: float = SECONDS) -> Round:
    before = sum(psutil.Process(pid).cpu_times()[:2])
    path = webhooks.path_of(vendor)
    load = send(Load(vendor, port, path, int(ENOUGH * seconds), seconds, repeat=repeat)).check()
    spent = sum(psutil.Process(pid).cpu_times()[:2]) - before
    return Round(load, spent / load.number * 1e6)


if __name__ == "__main__":
    main()
