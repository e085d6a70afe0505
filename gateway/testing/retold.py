"""What does a plugin make of the same webhooks in a process of its own? Asked by the conformance suite.

Reads from stdin what `gateway.testing.conversion.retold` wrote there: pickled, as nobody else writes it.
"""

import json
import pickle
import sys
from importlib import import_module

from gateway.model.errors import UnreadableWebhook
from gateway.registry import assemble


def main() -> None:
    name, connection, told = pickle.loads(sys.stdin.buffer.read())  # noqa: S301
    registry = assemble({connection.vendor: import_module(name)}, {})
    answers = []
    for webhook, collected, before in reversed(told):
        try:
            events = registry.ask(
                connection.vendor, "convert_webhook",
                webhook=webhook, collected=collected, before=before, connection=connection,
            )  # fmt: skip
        except UnreadableWebhook:
            events = []
        answers.append([event.to_json() for event in events])
    json.dump(answers[::-1], sys.stdout)


if __name__ == "__main__":
    main()
