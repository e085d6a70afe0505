"""For how long does a vendor's answer ask us to wait?"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST_PAUSE = 86_400.0
EPOCH = 1_000_000_000
"""A reset above this is a moment (seconds since 1970), below it a number of seconds from now."""

REMAINING = ("x-rate-limit-remaining", "ratelimit-remaining", "x-ratelimit-remaining")
RESETS = ("ratelimit-reset", "x-ratelimit-reset", "x-rate-limit-reset")
ZENDESK = "zendesk-ratelimit-"
"""`zendesk-ratelimit-<endpoint>: total=300; remaining=299; resets=47`
https://developer.zendesk.com/api-reference/introduction/rate-limits/#endpoint-rate-limit-headers"""

_ZENDESK_PART = re.compile(r"\b(remaining|resets)\s*=\s*(\d{1,12})\b")


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds that `Retry-After` asks for, also as an HTTP date; None when it is absent or senseless."""
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    seconds = _number(value)
    if seconds is None:
        try:
            moment = parsedate_to_datetime(value)
        except ValueError:
            return None
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        seconds = (aware - now).total_seconds()
    return min(max(seconds, 0.0), LONGEST_PAUSE)


def pause_asked(headers: Mapping[str, str], window: float, now: datetime) -> float:
    """Seconds to wait when the vendor says that nothing remains of its limit; 0 when it does not say so.

    Every header is optional. When the vendor does not say when its limit resets, `window` seconds are waited.
    """
    pause = 0.0
    for name, value in headers.items():
        if "ratelimit" not in name and "rate-limit" not in name:
            continue
        if name in REMAINING:
            remaining = _number(value)
            if remaining is not None and remaining < 1:
                pause = max(pause, _reset(headers, window, now))
        elif name.startswith(ZENDESK):
            parts = {part: int(number) for part, number in _ZENDESK_PART.findall(value)}
            if parts.get("remaining") == 0:
                pause = max(pause, float(parts.get("resets", window)))
    return min(pause, LONGEST_PAUSE)


def _reset(headers: Mapping[str, str], window: float, now: datetime) -> float:
    for name in RESETS:
        value = _number(headers.get(name, ""))
        if value is not None and value >= 0:
            return max(value - now.timestamp(), 0.0) if value > EPOCH else value
    return window


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if abs(number) < 1e12 else None
