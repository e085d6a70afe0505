"""Does a plugin keep what every vendor promises? A test class that each plugin subclasses.

    class TestConformance(VendorConformance):
        vendor = my_plugin
        samples = {"created": b'{"event": "created", ...}'}
        ...

`gateway.testing.under_test` says what to give; docs/writing-a-vendor.md shows it being done.
"""

from .acting import ActionTests
from .conversion import ConversionTests
from .failing import FailureTests
from .origin import OriginTests
from .telling import TellingTests


class SenderConformance(OriginTests, ConversionTests):
    """For a system that only sends webhooks: nothing is read from it, nothing is done at it."""

    def test_nothing_is_done_at_it(self) -> None:
        for hook in ("execute_action", "find_effect", "list_changed"):
            assert not self.registry.implements(self.name, hook), f"{hook}: subclass VendorConformance"


class VendorConformance(OriginTests, TellingTests, ActionTests, FailureTests):
    """For a helpdesk: webhooks in, tickets read, actions out, proved against its sandbox over real sockets."""
