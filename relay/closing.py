"""Every WebSocket close code we send, with what a client should do.

y-websocket 3.1 stops reconnecting on 4400-4499 and retries on everything else, so a decision that reconnecting can't
change lies in that range and everything transient outside it.
"""

from typing import NamedTuple

__all__ = ["CLOSINGS", "Closing"]


class Closing(NamedTuple):
    code: int
    reason: str
    reconnect: bool


DONE = Closing(1000, "done", False)
DRAINING = Closing(1001, "draining", True)
PROTOCOL_ERROR = Closing(1002, "protocol error", True)
UNSUPPORTED = Closing(1003, "text frames are not supported", True)
TOO_BIG = Closing(1009, "message too big", True)
INTERNAL = Closing(1011, "internal error", True)
OVERLOADED = Closing(1013, "overloaded", True)
RESET = Closing(4205, "reset connection", True)
MALFORMED = Closing(4400, "malformed message", False)
UNAUTHORIZED = Closing(4401, "unauthorized", False)
FORBIDDEN = Closing(4403, "forbidden", False)
NOT_FOUND = Closing(4404, "no such document", False)
AUTH_TIMEOUT = Closing(4408, "authentication timed out", False)
DELETED = Closing(4410, "document deleted", False)
DOCUMENT_TOO_BIG = Closing(4413, "document over its size limit", False)
QUARANTINED = Closing(4423, "document quarantined", False)
RATE_LIMITED = Closing(4529, "rate limited", True)

CLOSINGS: dict[int, Closing] = {c.code: c for c in list(globals().values()) if isinstance(c, Closing)}
