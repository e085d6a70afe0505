"""How does the sandbox's Intercom say no?"""

import uuid
from typing import Any


class Refusal(Exception):
    """An error that the API answers with, as an `error.list`."""

    def __init__(self, status: int, code: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        error = {"code": code, "message": message} | ({"field": field} if field else {})
        self.body: dict[str, Any] = {"type": "error.list", "request_id": str(uuid.uuid4()), "errors": [error]}
