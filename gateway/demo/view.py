"""What does the person who watches the demo see, also at 80 columns and in a pipe?"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest

from rich.console import Console
from rich.table import Table
from rich.text import Text

LABEL = 10

STYLES = {
    "sent": "bold", "received": "cyan", "read back": "cyan", "converted": "bold cyan", "rule": "magenta",
    "call": "blue", "ticket": "bold green", "verified": "green", "echo": "dim", "nothing": "yellow",
    "person": "bold", "failed": "bold red",
}  # fmt: skip


class Screen:
    """Prints each line once and for good, so that it can be scrolled, piped and read later."""

    def __init__(self) -> None:
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="replace")  # a terminal that lacks a letter stops no demo
        self._console = Console(highlight=False)

    def chapter(self, title: str) -> None:
        self._console.print()
        self._console.rule(Text(title, style="bold"), align="left")

    def line(self, label: str, text: str, style: str = "") -> None:
        """A label of one or two words, and beside it the text, wrapped."""
        shown = Text(text, style=style or ("dim" if STYLES.get(label) == "dim" else ""))
        for head, piece in zip_longest([label], self._wrapped(shown), fillvalue=""):
            self._console.print(Text(f"{head:<{LABEL}} ", style=STYLES.get(label, "")).append(piece))

    def quote(self, text: str) -> None:
        """Words that stand somewhere else as they are shown here."""
        for paragraph in text.splitlines():
            for piece in self._wrapped(Text(paragraph, style="italic"), 2):
                self._console.print(Text(f"{'':<{LABEL}} | ").append(piece))

    def _wrapped(self, text: Text, narrower: int = 0) -> Iterator[Text]:
        width = max(self._console.width - LABEL - 1 - narrower, 20)
        for piece in text.wrap(self._console, width, overflow="fold"):
            piece.rstrip()
            yield piece

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        table = Table(*columns, box=None, pad_edge=False, header_style="bold")
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        self._console.print(table)

    def say(self, text: str, style: str = "") -> None:
        self._console.print(Text(text, style=style))

    def command(self, text: str) -> None:
        """Lines to be copied: never wrapped by us."""
        self._console.print(Text(text), soft_wrap=True)
