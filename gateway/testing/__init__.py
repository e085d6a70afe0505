"""What does the author of a plugin import to build a sandbox and to test against it?"""

from typing import TYPE_CHECKING, Any

from gateway.testing.clients import api_for
from gateway.testing.outbox import Outbox
from gateway.testing.sandbox import misbehaving, serving

if TYPE_CHECKING:
    from gateway.testing.conformance import ReaderConformance, SenderConformance, VendorConformance

SUITES = ("ReaderConformance", "SenderConformance", "VendorConformance")

__all__ = [
    "Outbox",
    "ReaderConformance",
    "SenderConformance",
    "VendorConformance",
    "api_for",
    "misbehaving",
    "serving",
]

PARTS = (
    "acting",
    "conformance",
    "conversion",
    "desk",
    "effects",
    "failing",
    "origin",
    "telling",
    "under_test",
)


def __getattr__(name: str) -> Any:
    """The suite needs pytest and hypothesis (`pip install 'helpdesk-gateway[testing]'`); sandboxes do not."""
    if name not in SUITES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import pytest

    pytest.register_assert_rewrite(*(f"{__name__}.{module}" for module in PARTS))
    from gateway.testing import conformance

    return getattr(conformance, name)
