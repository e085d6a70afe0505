"""How many webhooks become tickets in a second, end to end, and how much memory does that take?"""

import argparse
import time
from dataclasses import dataclass

import httpx

from bench import peers, report, webhooks
from bench.installation import STORES, Installation, Memory, installation, small_server
from bench.load import Load, Result, awaited, launch
from bench.report import Line, megabytes

EVENTS = 6_000
"""Below the 10,000 calls a minute that a Zendesk connection can be allowed at most."""
WARM = 200
PATIENCE = 60.0
N8N_MUST, N8N_DREAM = 6, 20
NODE_RED_MUST, NODE_RED_DREAM = 0.3, 1.0


@dataclass(frozen=True, slots=True)
class Flow:
    """One system's figures: acknowledged and created a second, memory at the end."""

    acknowledged: float
    tickets: float
    memory: str
    p99: float | None = None


@dataclass(frozen=True, slots=True)
class Story:
    """Whose webhooks are sent, and which; whether a reply goes back for each ticket."""

    vendor: str
    made: str
    events: int
    replies: bool = False


STORIES = {
    "payment": Story("generic", "generic", EVENTS),
    "escalation": Story("intercom", "escalation", EVENTS // 3, replies=True),
}
"""A payment opens a ticket at Zendesk; a conversation is read, and opens one at Freshdesk that is told of in it."""

RECORDED = {"n8n": Flow(158, 52, "980 MB"), "Node-RED": Flow(996, 1_000, "not kept")}
"""Taken on another 2-core machine, with the workflows that `--peers` runs."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--story", choices=sorted(STORIES), default="payment", help="what becomes a ticket")
    parser.add_argument("--events", type=int, help="how many webhooks are sent")
    parser.add_argument(
        "--peers", action="store_true", help="install and run Node-RED and n8n (minutes, 2 GB)"
    )
    given = parser.parse_args()
    story = STORIES[given.story]
    with installation() as gateway, small_server("sink", gateway.folder) as sink:
        ours, notes = measure(gateway, sink.url, story, given.events or story.events)
    yardsticks, said = measured_peers() if given.peers else ({}, ["peers: not asked for (--peers)"])
    lines = [Line("acknowledged", "", f"{ours.acknowledged:,.0f}/s"), Line("memory", "", ours.memory)]
    for name, must, dream in (
        ("n8n", N8N_MUST, N8N_DREAM),
        ("Node-RED", NODE_RED_MUST, NODE_RED_DREAM),
    ):
        theirs = yardsticks.get(name) or RECORDED[name]
        where = "this run" if name in yardsticks else "recorded elsewhere"
        ratio = ours.tickets / theirs.tickets
        lines.append(Line(
            f"tickets, against {name} ({where})", f"{theirs.tickets:,.0f}/s", f"{ours.tickets:,.0f}/s",
            f"{ratio:.2f}", f">= {must:g}", f">= {dream:g}", ratio >= must,
        ))  # fmt: skip
    for name, theirs in yardsticks.items():
        said.append(f"{name} in this run: {theirs.acknowledged:,.0f} acknowledged/s, {theirs.memory}")
    report.show(f"flow ({given.story})", lines, notes + said)


def measure(gateway: Installation, sink: str, story: Story, events: int) -> tuple[Flow, list[str]]:
    """Every webhook is of a new customer, and becomes one ticket at the sink."""
    webhooks.configure(
        gateway.runtime,
        {
            "generic": None,
            "zendesk": f"{sink}/api/v2",
            "freshdesk": f"{sink}/api/v2",
            **dict.fromkeys(("intercom", "bitrix"), sink),
        },
        webhooks.RULES,
    )
    gateway.up(workers=2)
    report.progress("warming up")
    _done(sink, story, WARM, _sent(gateway.port, story, WARM))
    httpx.post(f"{sink}/reset", trust_env=False)
    report.progress(f"{events:,} webhooks")
    load = _sent(gateway.port, story, events)
    seconds, said = _done(sink, story, events, load)
    told = httpx.get(f"{sink}/stat", trust_env=False).json()
    memory = gateway.memory()
    ours = sum((memory[name] for name in memory if name not in STORES), Memory(0, 0))
    rules = len(webhooks.RULES)
    return Flow(load.rate, events / seconds, _shown(ours), load.p99), [
        f"{events:,} signed webhooks over 32 connections, {rules} rules on; `gateway up` with 2 workers; all durable "
        f"({told['tickets']:,} tickets, {told['twice']} of them twice)",
        f"answered within {load.p50 * 1000:.0f} ms (p50), {load.p99 * 1000:.0f} ms (p99), while the workers work",
        *said,
    ]


def _sent(port: int, story: Story, count: int) -> Result:
    return awaited(launch(Load(story.made, port, webhooks.path_of(story.vendor), count, 60.0))).check()


def _done(sink: str, story: Story, number: int, load: Result) -> tuple[float, list[str]]:
    """Seconds from the first webhook to the last ticket; and what there is to say of the replies, if there are any."""
    seconds = until_created(sink, number, load)
    if not story.replies:
        return seconds, []
    whole = number / until_created(sink, number, load, "replies", "last_reply")
    return seconds, [
        f"{whole:,.0f}/s until the last ticket's address stood in its conversation; for each, two calls to read it, "
        "one to open the ticket, two for a tag and one for the address (the peers make one in all)"
    ]


def until_created(
    sink: str, number: int, load: Result, counted: str = "tickets", last: str = "last"
) -> float:
    """Seconds from the first webhook to the last ticket. Raises RuntimeError when they do not all come."""
    deadline = time.monotonic() + PATIENCE
    told = {counted: 0}
    while told[counted] < number:
        if time.monotonic() > deadline:
            raise RuntimeError(f"only {told[counted]} of {number} {counted} came within {PATIENCE:g} s")
        time.sleep(0.2)
        told = httpx.get(f"{sink}/stat", trust_env=False).json()
    return float(told[last]) - load.started_at


def measured_peers() -> tuple[dict[str, Flow], list[str]]:
    """Those that can be had here, at a sink of their own; and why the others cannot."""
    found: dict[str, Flow] = {}
    said = []
    for peer in peers.PEERS:
        folder = peers.home(peer)
        with small_server("sink", folder) as sink:
            try:
                with peers.running_peer(peer, folder, sink.url) as process:
                    found[peer.name] = _measured(peer, process, sink.url)
            except peers.Absent as absent:
                said.append(f"{peer.name}: not run, {absent}; the recorded figures stand in")
    return found, said


def _measured(peer: peers.Peer, process: peers.Running, sink: str) -> Flow:
    report.progress(f"{peer.name}: {peer.events:,} notifications")
    load = awaited(launch(Load("intercom", process.port, peer.path, peer.events, 60.0)))
    if not load.accepted():
        raise peers.Absent(f"it accepted nothing: {load.answers}")
    seconds = until_created(sink, load.accepted(), load)
    return Flow(load.rate, load.accepted() / seconds, _shown(process.memory()), load.p99)


def _shown(memory: Memory) -> str:
    return f"{megabytes(memory.pss)} (PSS)"


if __name__ == "__main__":
    main()
