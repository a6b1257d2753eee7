"""Where the load goes. Load on somebody else's machine is an attack: only loopback, unless it was said otherwise."""

import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

__all__ = ["NotLoopback", "Target", "is_loopback", "target_of"]


class NotLoopback(Exception):
    """The target is another machine, and nobody said that it may be."""


@dataclass(frozen=True, slots=True)
class Target:
    """A relay, by its URL."""

    host: str
    port: int
    tls: bool

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.authority}"


def target_of(url: str, *, anywhere: bool = False) -> Target:
    """Read `http(s)://` or `ws(s)://host[:port]`. Raises ValueError, NotLoopback."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https", "ws", "wss"} or not parts.hostname:
        raise ValueError(f"not the URL of a relay: {url!r}")
    tls = parts.scheme in {"https", "wss"}
    target = Target(parts.hostname, parts.port or (443 if tls else 80), tls)
    if not anywhere and not is_loopback(target.host):
        raise NotLoopback(
            f"{target.host} is another machine: if it may be loaded, pass --anywhere (LOADTEST_ANYWHERE=1)"
        )
    return target


def is_loopback(host: str) -> bool:
    """Whether every address of a name is this machine's own."""
    try:
        addresses = {str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except OSError:
        return False
    return bool(addresses) and all(ipaddress.ip_address(one.partition("%")[0]).is_loopback for one in addresses)
