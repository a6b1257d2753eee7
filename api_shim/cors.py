"""Which web pages of other origins may use the API (CORS). Tokens travel in a header, never in cookies."""

from collections.abc import Iterable, Mapping

from relay.grants import matches

__all__ = ["Cors"]

SENT = "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Last-Event-ID, traceparent, X-Request-Id"
SEEN = (
    "Allow, Content-Disposition, ETag, Idempotent-Replayed, Link, Location, RateLimit, RateLimit-Policy, Retry-After, "
    "traceparent, WWW-Authenticate, X-Request-Id"
)


class Cors:
    """origins: of pages that are let in, `*` matching any text (`https://*.example.com`); none = no page of another."""

    def __init__(self, origins: Iterable[str], cached: int = 7200) -> None:
        self._origins = tuple(origins)
        self._cached = str(cached)

    def headers(self, origin: str | None) -> Mapping[str, str]:
        """What an answer to a page of `origin` carries."""
        if not self._origins:
            return {}
        if origin is None or not origin.isascii() or not any(matches(known, origin) for known in self._origins):
            return {"Vary": "Origin"}
        return {"Vary": "Origin", "Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": SEEN}

    def preflight(self, origin: str | None, methods: str) -> Mapping[str, str]:
        """What the answer to OPTIONS carries besides."""
        if "Access-Control-Allow-Origin" not in self.headers(origin):
            return {}
        return {
            "Access-Control-Allow-Methods": methods,
            "Access-Control-Allow-Headers": SENT,
            "Access-Control-Max-Age": self._cached,
        }
