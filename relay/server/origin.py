"""Which pages may connect (RFC 6455 section 10.2): browsers say where a page came from, other clients say nothing."""

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

from relay.grants import matches
from relay.protocol.handshake import Request

__all__ = ["origin_allowed"]


def origin_allowed(request: Request, patterns: Sequence[str], authenticated: bool) -> bool:
    """Patterns decide when there are any. Without them any page may come where tokens are required (there are no
    cookies to borrow), and only pages of this host or of a loopback address where they are not."""
    origin = request.headers.get("origin", "")
    if not origin:
        return True
    if patterns:
        return any(matches(pattern, origin) for pattern in patterns)
    if authenticated:
        return True
    try:
        parts = urlsplit(origin)
        host = parts.hostname or ""
    except ValueError:
        return False
    if parts.netloc == request.headers.get("host", ""):
        return True
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
