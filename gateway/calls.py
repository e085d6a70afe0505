"""What came back from a vendor, and what is kept of each try?"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway.model.record import JSON


@dataclass(frozen=True, slots=True)
class Answer:
    """What a vendor answered. `body` is the parsed JSON, None where it was none; `headers` are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: JSON
    text: str


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One try of one call, with every secret taken out.

    `status` is None when no answer came; `seconds` is how long it took; `number` counts the tries of one call
    from 1; `at` is when it was sent.
    """

    at: datetime
    method: str
    url: str
    request: str
    status: int | None
    answer: str
    seconds: float
    number: int
    error: str | None

    def to_json(self) -> dict[str, Any]:
        return {
            "at": self.at.isoformat(), "method": self.method, "url": self.url, "request": self.request,
            "status": self.status, "answer": self.answer, "seconds": round(self.seconds, 4), "number": self.number,
            "error": self.error,
        }  # fmt: skip
