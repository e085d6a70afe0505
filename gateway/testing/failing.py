"""Is every way in which a vendor can fail us told apart, and is nothing given away in the telling?"""

import json
import logging
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.client import ApiClient
from gateway.clock import utc_now
from gateway.model.action import Action
from gateway.model.errors import ApiError, ApiFailure
from gateway.model.ticket import TicketRef
from gateway.redaction import is_sensitive

from .acting import LATE, DeskTests
from .clients import api_for
from .conversion import ConversionTests
from .desk import PLENTY, SHORT, Desk
from .sandbox import serving
from .under_test import ACTIONS, VendorUnderTest

MEANINGS = {
    400: ApiFailure.REFUSED,
    401: ApiFailure.UNAUTHORIZED,
    403: ApiFailure.UNAUTHORIZED,
    404: ApiFailure.MISSING,
    409: ApiFailure.CONFLICT,
    422: ApiFailure.REFUSED,
    429: ApiFailure.THROTTLED,
    500: ApiFailure.UNAVAILABLE,
}
ASKED_SECONDS = 7
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


class FailureTests(DeskTests, ConversionTests):
    """Faults of the sandbox, and what the plugin makes of them."""

    meanings: ClassVar[Mapping[int, ApiFailure]] = MEANINGS
    """What a status means at this vendor, where it says nothing else."""

    @pytest.mark.parametrize("code", sorted(MEANINGS))
    def test_a_refusal_is_told_apart(self, desk: Desk, code: int) -> None:
        ref = desk.opens()
        for action in self._one_of_each(ref):
            desk.misbehave(kind="status", status=code, retry_after=ASKED_SECONDS if code == 429 else None)
            error = desk.attempt(action).error
            assert error is not None, f"{action.kind} succeeds although everything is answered {code}"
            assert (error.failure, error.status) == (self.meanings[code], code)
            assert code >= 500 or not error.uncertain, "what was refused was not done"
            assert code != 429 or (error.retry_after or 0) >= ASKED_SECONDS
            desk.behave()
        desk.misbehave(kind="status", status=code)
        with pytest.raises(ApiError) as reading:
            desk.collected(ref)
        assert reading.value.failure is self.meanings[code]

    @pytest.mark.parametrize("fault", [{"kind": "drop"}, {"kind": "slow", "seconds": LATE}])
    def test_an_answer_that_never_comes_is_told_apart(self, desk: Desk, fault: dict[str, Any]) -> None:
        ref = desk.opens()
        desk.misbehave(**fault)
        for action in self._one_of_each(ref)[:1]:
            error = desk.attempt(action, timeout=SHORT).error
            assert error is not None
            assert error.failure is ApiFailure.UNANSWERED
        with pytest.raises(ApiError) as reading:
            desk.collected(ref, desk.api(timeout=SHORT))
        assert reading.value.failure is ApiFailure.UNANSWERED

    def test_a_vendor_that_cannot_be_reached_was_not_asked(self) -> None:
        for hook, given in self._calls(TicketRef(self.account.name, "1")):
            api = api_for(self.vendor, self.account, rate=PLENTY, sleep=lambda _seconds: None)
            with pytest.raises(ApiError) as error:
                list(self.registry.ask(self.name, hook, **given, api=api))
            assert (error.value.failure, error.value.uncertain) == (ApiFailure.UNREACHABLE, False)

    def _one_of_each(self, ref: TicketRef) -> list[Action]:
        supported = [kind for kind in ACTIONS if self.acts and kind not in self.unsupported]
        return [self.samples_of(kind, ref)[0] for kind in supported]

    def test_settings_that_sound_like_secrets_are_kept_as_secrets(self) -> None:
        for name, value in self.account.settings:
            assert not (is_sensitive(name) and isinstance(value, str)), f"{name}: make it a SecretStr"

    def test_no_secret_is_shown(
        self, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        """Not even by a vendor that quotes all it was sent: in no error, trace, log line, event or setting."""
        for library in ("httpx", "httpcore", "asyncio"):  # as in production, see gateway.logs
            caplog.set_level(logging.WARNING, logger=library)
        caplog.set_level(logging.DEBUG)  # last, as each of these sets what is caught as well
        parrot = Starlette(routes=[Route("/{path:path}", _quote, methods=list(METHODS))])
        shown: list[str] = [
            repr(self.account),
            str(self.account.settings),
            self.account.settings.model_dump_json(),
        ]
        with serving(parrot) as url:
            connection = self.connection(url)
            ref = TicketRef(connection.name, "1")
            for hook, given in self._calls(ref):
                api = api_for(self.vendor, connection, rate=PLENTY, sleep=lambda _seconds: None)
                with pytest.raises(ApiError) as error:
                    list(self.registry.ask(connection.vendor, hook, **given, api=api))
                shown += [str(error.value), repr(error.value), repr(error.value.__cause__)]
                shown += [json.dumps(call.to_json()) for call in api.calls]
                assert api.calls, f"{hook} made no call"
        for body in self.samples.values():
            webhook = self.signed(body, utc_now())
            shown += [repr(self.verified(webhook)), *(str(event.to_json()) for event in self.told(webhook))]
        captured = capfd.readouterr()
        for text in (*shown, captured.out, captured.err, caplog.text):
            self.assert_harmless(text)

    def test_the_rate_limit_is_honoured(self) -> None:
        """As many calls as are allowed are made, and not one more than the sandbox bears."""
        app: Any = self.create_app(limited=True)
        with serving(app) as url:
            api = api_for(self.vendor, self.connection(url))
            rate = self.registry.ask(self.name, "connect_api", connection=self.connection(url)).rate
            made = _calls_until_held_back(self, api, rate.calls + 5)
            statuses = [call["status"] for call in app.calls]
        assert 429 not in statuses
        assert made >= rate.calls

    def _calls(self, ref: TicketRef) -> list[tuple[str, dict[str, Any]]]:
        calls: list[tuple[str, dict[str, Any]]] = [("collect_ticket", {"ref": ref})]
        calls += [("execute_action", {"action": action}) for action in self._one_of_each(ref)]
        if "list_changed" not in self.unsupported:
            calls.append(("list_changed", {"since": utc_now()}))
        return calls


async def _quote(request: Request) -> Response:
    body = (await request.body()).decode("utf-8", "replace")
    quoted = f"{request.method} {request.url} {dict(request.headers)} {body}"
    return JSONResponse({"error": quoted, "message": quoted, "description": quoted}, status_code=400)


def _calls_until_held_back(subject: VendorUnderTest, api: ApiClient, most: int) -> int:
    """How many calls were made before our own governor asked for patience."""
    for number in range(most):
        try:
            subject.look(api)
        except ApiError as held_back:
            if held_back.failure is not ApiFailure.THROTTLED or held_back.status is not None:
                raise
            return number
    return most
