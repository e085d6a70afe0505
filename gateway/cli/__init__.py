"""The `gateway` command: everything that an operator does, one verb each."""

import sys

from gateway.cli import actions, config, deliveries, demo, doctor, inspect, new, plugins, rules, run
from gateway.cli.app import app, fail
from gateway.model.errors import GatewayError

__all__ = [
    "actions",
    "app",
    "config",
    "deliveries",
    "demo",
    "doctor",
    "inspect",
    "main",
    "new",
    "plugins",
    "rules",
    "run",
]


def main() -> None:
    """Errors that are meant for a person are one line and exit code 1; wrong usage is 2."""
    try:
        app(standalone_mode=True)
    except GatewayError as error:
        fail(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
