"""The only way out: how does a call reach a vendor, paced, guarded, retried where safe, and traced?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.model.connection import Connection
from gateway.model.record import JSON


@dataclass(frozen=True, slots=True)
class Answer:
    """What a vendor answered. `body` is the parsed JSON, or None where it was not JSON. `headers` lower-case."""

    status: int
    headers: Mapping[str, str]
    body: JSON
    text: str


class ApiClient:
    """One connection's API, for the length of one piece of work."""

    connection: Connection[Any]

    def get(self, path: str, **params: Any) -> Answer:
        """GET `path` with these query parameters."""
        return self.call("GET", path, params=params)

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: JSON = None,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
        repeatable: bool | None = None,
    ) -> Answer:
        """Call the vendor and give its answer (2xx). Raises ApiError for everything else.

        `repeatable` says that sending the same call twice does no harm, so it may be retried in place after a
        lost answer; default: only GET and HEAD, and any call with an `idempotency_key`.
        """
        raise NotImplementedError
