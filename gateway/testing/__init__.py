"""What does the author of a plugin import to build a sandbox and to test against it?"""

from gateway.testing.clients import api_for
from gateway.testing.outbox import Outbox
from gateway.testing.sandbox import misbehaving, serving

__all__ = ["Outbox", "api_for", "misbehaving", "serving"]
