"""The verb that shows it all: demo."""

import sys
from typing import Annotated

import typer

from gateway import demo as story
from gateway import logs

from .app import app

Once = Annotated[bool, typer.Option("--once", help="End after the story: exit code 0 if all of it happened.")]
BrokenDesk = Annotated[
    bool, typer.Option("--broken-desk", help="Let the ticket desk refuse new tickets, to see a step fail.")
]


@app.command()
def demo(once: Once = False, broken_desk: BrokenDesk = False) -> None:
    """Show everything on this machine: a payment becomes a ticket, a ticket without a phone gets a note.

    Stores, server, workers and fake vendors run for this only, in a directory of their own that is removed at
    the end; GATEWAY_* and what you have configured are left alone. Then it stays up until Ctrl-C.
    """
    logs.configure("console", "warning")
    try:
        story.run(once=once, broken_desk=broken_desk)
    except KeyboardInterrupt:
        sys.exit(130 if once else 0)
