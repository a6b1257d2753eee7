"""Whose connection it is behind a proxy: what X-Forwarded-For and X-Forwarded-Host say, if a trusted proxy says it."""

import ipaddress
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from relay.errors import StartError
from relay.protocol.handshake import Request

__all__ = ["Networks", "client_address", "networks", "public_host", "trusts"]

Networks = tuple[IPv4Network | IPv6Network, ...]
"""Addresses of proxies that are believed."""


def networks(cidrs: Iterable[str]) -> Networks:
    """`10.0.0.0/8`, `::1`, ... Raises StartError."""
    found: list[IPv4Network | IPv6Network] = []
    for cidr in cidrs:
        try:
            found.append(ipaddress.ip_network(cidr))
        except ValueError:
            raise StartError(f"trusted_proxies: {cidr!r} is no address and no network such as 10.0.0.0/8") from None
    return tuple(found)


def trusts(peer: str, trusted: Networks) -> bool:
    """Whether the address at the other end of a socket is one of the proxies."""
    return bool(trusted) and (address := _address(peer)) is not None and _within(address, trusted)


def client_address(peer: str, forwarded: str, trusted: Networks) -> str:
    """The client's address: `peer`, unless that is a trusted proxy; then the rightmost address in `forwarded`, an
    X-Forwarded-For, that is none. What stands left of that, the client may have made up; after something unreadable
    nobody is believed."""
    if not trusts(peer, trusted):
        return peer
    client = peer
    for said in reversed(forwarded.split(",")):
        address = _address(said.strip())
        if address is None:
            break
        client = str(address)
        if not _within(address, trusted):
            break
    return client


def public_host(peer: str, request: Request, trusted: Networks) -> str:
    """The host and port that the page's browser asked for: a proxy may ask us for another."""
    forwarded = request.headers.get("x-forwarded-host", "")
    if forwarded and trusts(peer, trusted):
        return forwarded.rpartition(",")[2].strip()
    return request.headers.get("host", "")


def _within(address: IPv4Address | IPv6Address, trusted: Networks) -> bool:
    return any(address in network for network in trusted)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """An address, also as `address:port` or `[address]:port`, as some proxies write it; IPv4 in IPv6 as IPv4."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
