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
from .telling import TellingTests, ToldTests
from .under_test import PROOFS


class SenderConformance(OriginTests, ConversionTests):
    """For a system that only sends webhooks: nothing is read from it, nothing is done at it."""

    acts = False

    def test_nothing_is_done_at_it(self) -> None:
        for hook in ("execute_action", "find_effect"):
            assert not self.registry.implements(self.name, hook), f"{hook}: subclass VendorConformance"

    def test_what_is_unsupported_is_named_and_explained(self) -> None:
        assert self.unsupported.keys() <= set(PROOFS)
        assert all(why.strip() for why in self.unsupported.values())


class ReaderConformance(SenderConformance, ToldTests, FailureTests):
    """For a system that tells and is read back, at which nothing is done: payments, forms.

    What VendorConformance says of tickets goes here for whatever a TicketRef names; `people` says where in the
    sandbox it is made and changed.
    """


class VendorConformance(OriginTests, TellingTests, ActionTests, FailureTests):
    """For a helpdesk: webhooks in, tickets read, actions out, proved against its sandbox over real sockets."""
