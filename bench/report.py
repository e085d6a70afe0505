"""What came out, on which machine?"""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

VERSIONS = ("uvicorn", "starlette", "uvloop", "httptools", "psycopg", "sqlalchemy", "rq", "httpx", "pydantic")

out = Console(width=int(os.environ.get("COLUMNS", "118")), soft_wrap=False)


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the table. `must` and `dream` name the aim, `met` says whether it was reached: None = no aim."""

    what: str
    yardstick: str
    ours: str
    ratio: str = ""
    must: str = ""
    dream: str = ""
    met: bool | None = None


def show(title: str, lines: Sequence[Line], notes: Sequence[str] = ()) -> None:
    out.rule(f"bench: {title}", align="left")
    table = Table("", "yardstick", "ours", "ratio", "must", "dream", "", box=None, pad_edge=False)
    for line in lines:
        verdict = {None: "", True: "[green]reached[/]", False: "[red]missed[/]"}[line.met]
        table.add_row(line.what, line.yardstick, line.ours, line.ratio, line.must, line.dream, verdict)
    out.print(table)
    for note in notes:
        out.print(f"- {note}", style="dim", highlight=False)
    out.print(machine(), style="dim", highlight=False)


def progress(text: str) -> None:
    out.print(text, style="dim", highlight=False)


def machine() -> str:
    """Where these figures were taken; they mean little without it."""
    memory = psutil.virtual_memory().total / 2**30
    busy = psutil.getloadavg()[0]
    installed = ", ".join(f"{name} {version(name)}" for name in VERSIONS)
    return (
        f"machine: {os.cpu_count()} cores, {_cpu()}, {memory:.0f} GB, {platform.system()} {platform.machine()}, "
        f"load {busy:.1f}; {platform.python_implementation()} {platform.python_version()}, {installed}"
    )


def _cpu() -> str:
    if platform.system() == "Linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown CPU"


def megabytes(size: float) -> str:
    return f"{size / 2**20:,.0f} MB"
