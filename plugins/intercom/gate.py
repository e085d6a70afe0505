"""What must every call of the sandbox's API pass: its token, and its budget?"""

import time
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .refusal import Refusal

WINDOW = 10
"""Seconds; the limit of a minute is granted in sixths.
https://developers.intercom.com/docs/references/rest-api/errors/rate-limiting"""


class Gate:
    """The API behind it sees only calls that are allowed; every answer says what is left."""

    def __init__(self, app: ASGIApp, access_token: str, calls_per_minute: int | None) -> None:
        self.app, self.access_token = app, access_token
        self.limit = calls_per_minute and calls_per_minute * WINDOW // 60
        self.window, self.taken = 0, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/_sandbox/"):
            await self.app(scope, receive, send)
            return
        headers, refusal = self._take(Request(scope).headers)

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                named = [(name.encode(), value.encode()) for name, value in headers.items()]
                message = {**message, "headers": [*message["headers"], *named]}
            await send(message)

        answer = JSONResponse(refusal.body, refusal.status) if refusal else self.app
        await answer(scope, receive, sending)

    def _take(self, asked: Mapping[str, str]) -> tuple[dict[str, str], Refusal | None]:
        headers = {"Intercom-Version": asked.get("intercom-version", "2.15")}
        if asked.get("authorization") != f"Bearer {self.access_token}":
            return headers, Refusal(401, "unauthorized", "Access Token Invalid")
        if self.limit is None:
            return headers, None
        window = int(time.time()) // WINDOW
        if window != self.window:
            self.window, self.taken = window, 0
        self.taken += 1
        headers |= {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(max(self.limit - self.taken, 0)),
            "X-RateLimit-Reset": str((window + 1) * WINDOW),
        }
        if self.taken > self.limit:
            return headers, Refusal(429, "rate_limit_exceeded", "Exceeded rate limit")
        return headers, None
