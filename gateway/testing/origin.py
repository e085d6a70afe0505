"""Is a webhook refused unless it is the vendor's own, unaltered, fresh and told for the first time?"""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

from gateway.clock import utc_now
from gateway.model.webhook import Webhook
from gateway.pipeline.accept import admit

from .under_test import VendorUnderTest, unproven

LONG = timedelta(days=1)
A_MOMENT = timedelta(seconds=2)


class OriginTests(VendorUnderTest):
    """Proofs of origin. The first sample is the one that is altered, byte by byte."""

    def test_what_the_vendor_sent_is_accepted(self, sample: str) -> None:
        assert self.verified(self.signed(self.samples[sample], utc_now())) is not None

    def test_what_is_unsigned_is_refused(self, sample: str) -> None:
        webhook = self.signed(self.samples[sample], utc_now())
        assert self.verified(unproven(webhook, self.secrets)) is None
        assert self.verified(Webhook(headers={}, body=b"", received_at=utc_now())) is None

    def test_what_is_altered_by_one_byte_is_refused(self) -> None:
        genuine = self.signed(next(iter(self.samples.values())), utc_now())
        forgeries = list(self.forgeries(genuine))
        assert forgeries, "nothing in a webhook proves its origin: override `forgeries`"
        accepted = [what for what, webhook in forgeries if self.verified(webhook) is not None]
        assert accepted == []

    def forgeries(self, genuine: Webhook) -> Iterator[tuple[str, Webhook]]:
        """The genuine webhook with one byte changed wherever that must be noticed; and which byte that was."""
        if self.signs:
            for place in range(len(genuine.body)):
                yield f"body[{place}]", replace(genuine, body=_altered(genuine.body, place))
        other = self.signed(genuine.body + b" ", genuine.received_at + A_MOMENT)
        for part in ("headers", "query"):
            given = getattr(genuine, part)
            for name, value in given.items():
                proves = self.signs and getattr(other, part).get(name) != value
                places = list(range(len(value))) if proves else self._secret_places(value)
                if places:
                    without = {other_name: given[other_name] for other_name in given if other_name != name}
                    rest: dict[str, Any] = {part: without}
                    yield f"{name} left out", replace(genuine, **rest)
                for place in places:
                    altered = _altered(value.encode(), place).decode()
                    changed: dict[str, Any] = {part: {**given, name: altered}}
                    yield f"{name}[{place}]", replace(genuine, **changed)
        for place in self._secret_places(genuine.body.decode("utf-8", "replace")) if not self.signs else ():
            yield f"body[{place}]", replace(genuine, body=_altered(genuine.body, place))

    def _secret_places(self, text: str) -> list[int]:
        return [
            place
            for secret in self.secrets
            for match in re.finditer(re.escape(secret), text)
            for place in range(*match.span())
        ]

    def test_what_is_stale_is_refused(self) -> None:
        now, body = utc_now(), next(iter(self.samples.values()))
        for age in (self.tolerance + A_MOMENT, LONG, -self.tolerance - A_MOMENT):
            late = replace(self.signed(body, now - age), received_at=now)
            accepted = self.verified(late) is not None
            assert accepted == ("stale" in self.unsupported), f"sent {age} ago"
        recent = replace(self.signed(body, now - self.tolerance + A_MOMENT), received_at=now)
        assert self.verified(recent) is not None

    def test_what_is_replayed_is_known_by_its_delivery_id(self, sample: str) -> None:
        """Told again, and told again later under a fresh signature, it is the same delivery."""
        body, now = self.samples[sample], utc_now()
        proof = self.verified(self.signed(body, now))
        assert proof is not None
        if "replayed" in self.unsupported:
            assert proof.delivery_id is None
            return
        assert proof.delivery_id
        later = now + timedelta(minutes=1)
        for webhook in (self.signed(body, now), self.signed(body, later)):
            assert admit(self.registry, webhook, self.account).dedup_key == proof.delivery_id

    def test_different_deliveries_have_different_ids(self) -> None:
        proofs = [self.verified(self.signed(body, utc_now())) for body in set(self.samples.values())]
        named = [proof.delivery_id for proof in proofs if proof is not None and proof.delivery_id]
        assert len(set(named)) == len(named)


def _altered(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
