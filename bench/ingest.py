"""How much of a bare echo's speed is left when every webhook is proved, committed, and only then acknowledged?"""

import argparse
from statistics import median

from bench import report, webhooks
from bench.installation import installation, small_server
from bench.load import Load, Result, send
from bench.report import Line

MUST, DREAM = 0.30, 0.45
ROUNDS = 5
SECONDS = 4.0
ENOUGH = 60_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vendor", choices=sorted(webhooks.VENDORS), default="zendesk")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args()
    with installation() as gateway, small_server("echo", gateway.folder) as echo_url:
        webhooks.configure(gateway.runtime, {given.vendor: None}, {})
        gateway.serve()
        echo_port = int(echo_url.rpartition(":")[2])
        for port in (echo_port, gateway.port):  # warm
            _round(given.vendor, port, 1.0)
        rounds: list[tuple[Result, Result]] = []
        for number in range(1, given.rounds + 1):
            echo = _round(given.vendor, echo_port, SECONDS, repeat=True)
            ours = _round(given.vendor, gateway.port, SECONDS)
            rounds.append((echo, ours))
            report.progress(
                f"round {number}: echo {echo.rate:,.0f}/s, gateway {ours.rate:,.0f}/s, {ours.rate / echo.rate:.2f}"
            )
    ratio = median(ours.rate / echo.rate for echo, ours in rounds)
    echo_rate, our_rate = (median(pair[which].rate for pair in rounds) for which in (0, 1))
    echo_p99, our_p99 = (median(pair[which].p99 for pair in rounds) * 1000 for which in (0, 1))
    size = len(webhooks.VENDORS[given.vendor].made("01234567", 10_000)[1])
    report.show(
        f"ingest ({given.vendor})",
        [
            Line(
                "acknowledged webhooks", f"{echo_rate:,.0f}/s", f"{our_rate:,.0f}/s", f"{ratio:.2f}",
                f">= {MUST:.2f}", f">= {DREAM:.2f}", ratio >= MUST,
            ),
            Line("p99 until the answer", f"{echo_p99:.0f} ms", f"{our_p99:.0f} ms"),
        ],
        [
            f"medians of {len(rounds)} alternating rounds of {SECONDS:g} s; 32 connections; bodies of {size} bytes",
            "echo: bare Starlette, same uvicorn flags, no proof, no store; ours: one server, fsync on, no worker",
        ],
    )  # fmt: skip


def _round(vendor: str, port: int, seconds: float, *, repeat: bool = False) -> Result:
    path = webhooks.path_of(vendor)
    count = int(ENOUGH * seconds / SECONDS)
    return send(Load(vendor, port, path, count, seconds, repeat=repeat)).check()


if __name__ == "__main__":
    main()
