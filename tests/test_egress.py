"""The guard refuses our own network, whatever DNS says and whenever it says so."""

from collections.abc import Sequence
from typing import Any

import httpcore
import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse
from starlette.routing import Route

from gateway import egress
from gateway.egress import EgressRefused, GuardedBackend, GuardedTransport, is_public
from gateway.model.errors import ApiFailure
from gateway.testing import misbehaving, serving

LIMITS = httpx.Limits(max_connections=4)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1",
        "169.254.169.254", "169.254.170.2", "100.64.0.1", "100.100.100.200", "198.18.0.1", "198.19.255.255",
        "192.0.0.192", "192.0.2.1", "203.0.113.9", "224.0.0.1", "239.255.255.250", "240.0.0.1",
        "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1",
        "2001:db8::1", "fec0::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:10.0.0.1",
        "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2001::1", "100::1",
    ],
)  # fmt: skip
def test_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "1.1.1.1",
        "172.32.0.1",
        "100.128.0.1",
        "2606:4700::1111",
        "::ffff:8.8.8.8",
        "64:ff9b::808:808",
    ],
)
def test_public(address):
    assert is_public(address)


class Names:
    """A DNS whose answers change: one list a question, the last for ever."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class Sockets:
    """Notes who was connected to, and gives up when TLS would begin."""

    def __init__(self, *unreachable: str) -> None:
        self.unreachable = unreachable
        self.connected: list[str] = []
        self.server_name = ""

    def connect_tcp(self, host: str, *_: Any) -> Any:
        self.connected.append(host)
        if host in self.unreachable:
            raise httpcore.ConnectError("no route")
        return self

    def start_tls(self, ssl_context: Any, server_hostname: str, timeout: float | None) -> Any:
        self.server_name = server_hostname
        raise httpcore.ConnectError("enough seen")

    def close(self) -> None:
        pass


def guarded(names: Names, *, allow_private: bool = False) -> httpx.Client:
    transport = GuardedTransport(allow_private=allow_private, resolver=names, limits=LIMITS)
    return httpx.Client(transport=transport, trust_env=False)


def backend(names: Names, sockets: Sockets) -> GuardedBackend:
    guard = GuardedBackend(resolver=names)
    guard._sockets = sockets  # type: ignore[assignment]
    return guard


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "0x7f.1", "2130706433"])
def test_loopback_is_refused_in_every_spelling(host):
    client = httpx.Client(transport=GuardedTransport(limits=LIMITS), trust_env=False)
    with client, pytest.raises(EgressRefused) as refused:
        client.get(f"http://{host}:1/")
    assert refused.value.failure is ApiFailure.REFUSED


def test_a_name_at_a_private_address_is_refused_and_the_message_helps():
    with guarded(Names(["10.0.0.7"])) as client, pytest.raises(EgressRefused) as refused:
        client.get("https://desk.example/")
    assert str(refused.value) == (
        "egress guard: desk.example is at 10.0.0.7, which is not on the public internet; "
        "set GATEWAY_ALLOW_PRIVATE_TARGETS=true if the gateway may call it"
    )


def test_one_private_address_among_public_ones_is_enough_to_refuse():
    sockets = Sockets()
    with pytest.raises(EgressRefused):
        backend(Names(["8.8.8.8", "127.0.0.1"]), sockets).connect_tcp("desk.example", 443)
    assert sockets.connected == []


def test_rebinding_the_checked_address_is_the_one_connected_to():
    names, sockets = Names(["8.8.8.8"], ["127.0.0.1"]), Sockets()
    guard = backend(names, sockets)
    guard.connect_tcp("desk.example", 443)
    assert (sockets.connected, names.asked) == (["8.8.8.8"], 1)
    with pytest.raises(EgressRefused):
        guard.connect_tcp("desk.example", 443)
    assert sockets.connected == ["8.8.8.8"]


def test_the_next_checked_address_is_tried_when_one_does_not_answer():
    sockets = Sockets("2606:4700::1111")
    backend(Names(["2606:4700::1111", "8.8.8.8"]), sockets).connect_tcp("desk.example", 443)
    assert sockets.connected == ["2606:4700::1111", "8.8.8.8"]


def test_tls_is_spoken_with_the_name_not_the_address():
    sockets = Sockets()
    with guarded(Names(["8.8.8.8"])) as client:
        client._transport._pool._network_backend._sockets = sockets  # type: ignore[attr-defined]
        with pytest.raises(httpx.ConnectError):
            client.get("https://desk.example/")
    assert (sockets.connected, sockets.server_name) == (["8.8.8.8"], "desk.example")


def test_an_unknown_name_is_unreachable_not_refused():
    def nobody(host: str, port: int) -> Sequence[str]:
        raise OSError("Name or service not known")

    transport = GuardedTransport(resolver=nobody, limits=LIMITS)
    with httpx.Client(transport=transport, trust_env=False) as client, pytest.raises(httpx.ConnectError):
        client.get("https://nowhere.example/")


def test_a_local_socket_is_refused():
    with pytest.raises(EgressRefused):
        GuardedBackend().connect_unix_socket("/run/some.sock")


async def echo_host(request: Request) -> JSONResponse:
    return JSONResponse({"host": request.headers["host"]})


async def away(request: Request) -> RedirectResponse:
    return RedirectResponse("http://internal.example/secrets")


def test_the_host_header_keeps_the_name():
    with serving(Starlette(routes=[Route("/", echo_host)])) as url:
        port = httpx.URL(url).port
        with guarded(Names(["127.0.0.1"]), allow_private=True) as client:
            assert client.get(f"http://desk.example:{port}/").json() == {"host": f"desk.example:{port}"}


def test_even_a_followed_redirect_passes_the_guard(monkeypatch):
    """The client never follows one; the transport would still check where it leads."""
    app = misbehaving(Starlette(routes=[Route("/", away)]))
    monkeypatch.setattr(egress, "is_public", lambda address: address == "127.0.0.1")  # the first server's
    with serving(app) as url, guarded(Names(["127.0.0.1"], ["10.0.0.1"])) as client:
        with pytest.raises(EgressRefused, match=r"internal\.example is at 10\.0\.0\.1"):
            client.get(url, follow_redirects=True)
        assert [call["status"] for call in app.calls] == [307]
