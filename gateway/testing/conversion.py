"""Is whatever comes turned into the same events each time, kept where unknown, and never a crash?"""

import json
import os
import pickle
import subprocess
import sys
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.clock import utc_now
from gateway.model.errors import UnreadableWebhook
from gateway.model.event import Event, Unrecognized, parse_event
from gateway.model.record import JSON
from gateway.model.webhook import Webhook

from .under_test import VendorUnderTest

NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | NUMBERS | st.text(max_size=30)
DOCUMENTS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4)
)  # fmt: skip
HASH_SEEDS = ("1",)


class ConversionTests(VendorUnderTest):
    """Converting samples and garbage, without a sandbox."""

    def told(self, webhook: Webhook, collected: JSON = None) -> list[Event]:
        """Its events; none where it cannot be read. Anything but UnreadableWebhook is the plugin's mistake."""
        try:
            events = self.converted(webhook, collected)
        except UnreadableWebhook as unreadable:
            self.assert_harmless(str(unreadable))
            return []
        for event in events:
            assert event.id, f"{event.kind} without an id"
            assert parse_event(event.to_json()) == event
        return events

    def hold_garbage(self, bodies: st.SearchStrategy[bytes]) -> None:
        quick = settings(
            max_examples=self.examples, deadline=None, suppress_health_check=list(HealthCheck), database=None
        )

        @quick
        @given(bodies)
        def holds(body: bytes) -> None:
            webhook = self.signed(body, utc_now())
            self.verified(webhook)
            self.told(webhook)

        holds()

    def test_bytes_of_any_sort_are_unreadable_at_worst(self) -> None:
        self.hold_garbage(st.binary(max_size=300))

    def test_json_of_any_shape_is_unreadable_at_worst(self) -> None:
        self.hold_garbage(DOCUMENTS.map(lambda document: json.dumps(document).encode()))

    def test_samples_with_anything_inside_are_unreadable_at_worst(self) -> None:
        readable = [document for body in self.samples.values() if (document := _json(body)) is not None]
        cut = st.sampled_from(list(self.samples.values())).flatmap(
            lambda body: st.integers(0, len(body)).map(lambda length: body[:length])
        )
        if readable:
            bent = st.sampled_from(readable).flatmap(bent_of).map(lambda bent: json.dumps(bent).encode())
            self.hold_garbage(cut | bent)
        else:
            self.hold_garbage(cut)

    def test_a_kind_without_a_word_of_ours_is_kept(self) -> None:
        if "unknown" in self.unsupported:
            assert self.unknown == b""
            return
        assert self.unknown, "give a body of an `unknown` kind, or say why there is none"
        webhook = self.signed(self.unknown, utc_now())
        assert self.verified(webhook) is not None
        events = self.told(webhook)
        assert events
        assert all(isinstance(event, Unrecognized) for event in events)

    def test_the_same_webhook_gives_the_same_events(self) -> None:
        at = utc_now()
        for body in self.samples.values():
            webhook = self.signed(body, at)
            assert self.told(webhook) == self.told(webhook)

    def test_another_process_gives_the_same_events(self) -> None:
        """Whatever came before, and in whichever order Python keeps its sets there."""
        at = utc_now()
        webhooks = [self.signed(body, at) for body in self.samples.values()]
        here = [[event.to_json() for event in self.told(webhook)] for webhook in webhooks]
        for seed in HASH_SEEDS:
            there = retold(self.vendor, self.account, [(webhook, None, None) for webhook in webhooks], seed)
            assert there == here


def retold(
    vendor: Any, connection: Any, told: list[tuple[Webhook, JSON, Any]], seed: str
) -> list[list[JSON]]:
    """The events of each (webhook, collected, before), as another process tells them, from last to first."""
    environment = {
        **os.environ,
        "PYTHONHASHSEED": seed,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    done = subprocess.run(
        [sys.executable, "-P", "-m", "gateway.testing.retold"],
        input=pickle.dumps((vendor.__name__, connection, told)),
        env=environment, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    events: list[list[JSON]] = json.loads(done.stdout)
    return events


def bent_of(document: JSON) -> st.SearchStrategy[JSON]:
    """The document with one of its values replaced by anything, or gone."""
    return st.sampled_from(list(_places(document))).flatmap(
        lambda place: (st.just(...) | DOCUMENTS).map(lambda value: _bent(document, place, value))
    )


def _places(document: JSON, place: tuple[Any, ...] = ()) -> Any:
    yield place
    if not isinstance(document, dict | list):
        return
    for name, value in document.items() if isinstance(document, dict) else enumerate(document):
        yield from _places(value, (*place, name))


def _bent(document: JSON, place: tuple[Any, ...], value: JSON) -> JSON:
    if not place:
        return None if value is ... else value
    name, rest = place[0], place[1:]
    copy = dict(document) if isinstance(document, dict) else list(document)
    if rest or value is not ...:
        copy[name] = _bent(copy[name], rest, value)
    else:
        del copy[name]
    return copy


def _json(body: bytes) -> JSON:
    try:
        return json.loads(body)
    except ValueError:
        return None
