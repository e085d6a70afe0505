"""How long may code that does nothing but think take, before it counts as stuck?"""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Stuck(BaseException):
    """It took too long. No `Exception`, so that no rule catches it by the way and goes on."""


@contextmanager
def thinking(seconds: float) -> Iterator[None]:
    """Raises Stuck in the code inside once `seconds` have passed, and every `seconds` again while it goes on.

    A signal reaches the main thread only, where workers convert and decide; in any other there is no limit.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def expire(*_: Any) -> None:
        raise Stuck(f"no answer within {seconds:g} s")

    began = time.monotonic()
    handler = signal.signal(signal.SIGALRM, expire)
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if left:  # the whole job's limit goes on
            signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - began), 0.01), interval)
