"""May the gateway call this address? Asked after DNS, of the very address that is then connected to."""

import ipaddress
import socket
import ssl
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import httpcore
import httpx

from gateway.model.errors import ApiError, ApiFailure

Resolver = Callable[[str, int], Sequence[str]]
"""Host and port -> the addresses it has now. Raises OSError when there are none."""

FORBIDDEN = tuple(
    ipaddress.ip_network(network)
    for network in (
        "100.64.0.0/10",  # carrier-grade NAT, and where some clouds keep their metadata
        "192.0.0.0/24",
        "192.88.99.0/24",
        "198.18.0.0/15",
        "fc00::/7",
        "fec0::/10",
        "2001::/23",
        "100::/64",
    )
)
NAT64 = ipaddress.ip_network("64:ff9b::/96")
SIX_TO_FOUR = ipaddress.ip_network("2002::/16")


class EgressRefused(ApiError):
    """The target is inside our own network; nothing was sent."""

    def __init__(self, host: str, address: str) -> None:
        super().__init__(
            ApiFailure.REFUSED,
            f"egress guard: {host} is at {address}, which is not on the public internet; "
            "set GATEWAY_ALLOW_PRIVATE_TARGETS=true if the gateway may call it",
        )


def is_public(address: str) -> bool:
    """False for loopback, private, link-local, multicast, reserved, CGNAT, benchmarking and metadata
    addresses, also when they are wrapped in IPv6."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        wrapped = ip.ipv4_mapped or _wrapped(ip)
        if wrapped is not None:
            return is_public(str(wrapped))
        if int(ip) >> 32 == 0:  # ::a.b.c.d, deprecated but still routed by some stacks
            return False
    if ip.is_multicast or ip.is_reserved or ip.is_unspecified or not ip.is_global:
        return False
    return not any(ip in network for network in FORBIDDEN if network.version == ip.version)


def check_addresses(host: str, addresses: Iterable[str]) -> None:
    """Raises EgressRefused when any of them is not public: an attacker's DNS may mix good and bad ones."""
    for address in addresses:
        if not is_public(address):
            raise EgressRefused(host, address)


def resolve(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


class GuardedBackend(httpcore.NetworkBackend):
    """Resolves, checks, and connects to what was checked; for TLS and `Host` httpcore keeps the name."""

    def __init__(self, *, allow_private: bool = False, resolver: Resolver = resolve) -> None:
        self._allow_private = allow_private
        self._resolver = resolver
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            addresses = self._resolver(host, port)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host}: {error}") from error
        if not self._allow_private:
            check_addresses(host, addresses)
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in addresses:
            try:
                return self._sockets.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        raise EgressRefused(path, "a local socket")


class GuardedTransport(httpx.HTTPTransport):
    """httpx's own transport over the guarded backend, which httpx offers no argument for."""

    def __init__(
        self,
        *,
        allow_private: bool = False,
        resolver: Resolver = resolve,
        limits: httpx.Limits,
        verify: ssl.SSLContext | None = None,
    ) -> None:
        context = verify or httpx.create_ssl_context(trust_env=False)
        super().__init__(verify=context, trust_env=False)
        self._pool = httpcore.ConnectionPool(
            ssl_context=context,
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=GuardedBackend(allow_private=allow_private, resolver=resolver),
        )


def _wrapped(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if ip in NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    if ip in SIX_TO_FOUR:
        return ip.sixtofour
    return None
