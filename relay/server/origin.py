"""Which pages may connect (RFC 6455 section 10.2): browsers say where a page came from, other clients say nothing."""

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

from relay.grants import matches
from relay.protocol.handshake import Request

__all__ = ["origin_allowed"]


PORTS = {"http": 80, "https": 443}


def origin_allowed(request: Request, patterns: Sequence[str], authenticated: bool, host: str) -> bool:
    """Patterns decide when there are any. Without them any page may come where tokens are required (there are no
    cookies to borrow), and only pages of this host or of a loopback address where they are not.

    host: what the browser connected to, with the port where it is not the scheme's own. A proxy that ends TLS may
    write that port or leave it out; which scheme it was, only the page's origin says here.
    """
    origin = request.headers.get("origin", "")
    if not origin:
        return True
    if patterns:
        return any(matches(pattern, origin) for pattern in patterns)
    if authenticated:
        return True
    try:
        page, here = urlsplit(origin), urlsplit(f"//{host}")
        name, default = page.hostname or "", PORTS.get(page.scheme)
        same = name == here.hostname and (page.port or default) == (here.port or default)
    except ValueError:
        return False
    if same or name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
