"""Stores for the fault tests: their own, since they are killed."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from .machine import Machine, machine_in
from .outside import Desk, desk
from .town import Town, town_in

QUICK = {"reclaim_seconds": 2}
"""Or each test that kills in the middle of a call would wait half a minute."""


@pytest.fixture(scope="session")
def machine() -> Iterator[Machine]:
    # Not in pytest's own folder: another run of pytest closes it to the user that PostgreSQL runs as.
    with tempfile.TemporaryDirectory(prefix="gateway-faults-") as folder, machine_in(Path(folder)) as found:
        yield found


@pytest.fixture
def zendesk() -> Iterator[Desk]:
    with desk() as found:
        yield found


@pytest.fixture
def new_town(machine: Machine, tmp_path: Path) -> Iterator[Callable[..., Town]]:
    """Makes a town with these settings (the quick ones unless said otherwise)."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(town_in(machine, tmp_path, **{**QUICK, **settings}))


@pytest.fixture
def town(new_town: Callable[..., Town], zendesk: Desk) -> Town:
    """Configured, with a server, and no worker yet."""
    found = new_town()
    found.configure(zendesk.url)
    found.start_server()
    return found
