"""A plugin's test calls its sandbox as production would call the vendor."""

from typing import Any

import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from gateway.api import (
    Answer,
    ApiError,
    ApiFailure,
    ApiSettings,
    Connection,
    ConnectionSettings,
    RateLimit,
    VendorInfo,
    hookimpl,
)
from gateway.testing import api_for, misbehaving, serving


class Settings(ConnectionSettings):
    token: SecretStr


class Fake:
    """A vendor as small as they come."""

    @hookimpl
    def vendor_info(self) -> VendorInfo:
        return VendorInfo(label="Fake", settings=Settings)

    @hookimpl
    def connect_api(self, connection: Connection[Settings]) -> ApiSettings:
        bearer = f"Bearer {connection.settings.token.get_secret_value()}"
        rate = RateLimit(calls=2, seconds=60)
        return ApiSettings(str(connection.settings.base_url), headers={"Authorization": bearer}, rate=rate)

    @hookimpl
    def explain_error(self, response: Answer) -> ApiError:
        return ApiError(ApiFailure.CONFLICT, f"explained: {response.text}")


async def who(request: Request) -> JSONResponse:
    return JSONResponse({"authorization": request.headers["authorization"]})


@pytest.fixture
def connection() -> Any:
    app = misbehaving(Starlette(routes=[Route("/who", who)]))
    with serving(app) as url:
        yield Connection("acme", "desk", "fake", Settings(base_url=url, token="opensesame"))


def test_it_calls_the_connections_address_with_its_credentials(connection):
    api = api_for(Fake(), connection)
    assert api.get("/who").body == {"authorization": "Bearer opensesame"}
    assert "opensesame" not in api.calls[0].answer


def test_it_is_paced_as_the_vendor_asks(connection):
    api = api_for(Fake(), connection)
    api.get("/who")
    api.get("/who")
    with pytest.raises(ApiError) as held_back:
        api.get("/who")
    assert held_back.value.failure is ApiFailure.THROTTLED


def test_or_as_the_test_asks(connection):
    api = api_for(Fake(), connection, rate=RateLimit(100, 1))
    assert [api.get("/who").status for _ in range(5)] == [200] * 5


def test_errors_are_explained_by_the_plugin(connection):
    with pytest.raises(ApiError, match="explained: ") as conflict:
        api_for(Fake(), connection).get("/nowhere")
    assert conflict.value.failure is ApiFailure.CONFLICT
