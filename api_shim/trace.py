"""Which trace a request belongs to (W3C Trace Context), so that its answer, its log line and its problems name it."""

import os
import re
from typing import NamedTuple

__all__ = ["Trace", "begin"]

_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_REQUEST = re.compile(r"[\w.:/+=-]{1,128}", re.ASCII)
_NONE = ("0" * 32, "0" * 16)


class Trace(NamedTuple):
    """`trace` of 32 hexadecimal digits, our own `span` in it of 16, whether it is sampled, and the request's id."""

    trace: str
    span: str
    sampled: str
    request: str

    @property
    def parent(self) -> str:
        """The header `traceparent`, for the answer and for whatever we ask in turn."""
        return f"00-{self.trace}-{self.span}-{self.sampled}"


def begin(traceparent: str | None, request_id: str | None) -> Trace:
    """Go on with the caller's trace, or start one. A request id that is not plain ASCII is replaced."""
    trace, sampled = "", "00"
    if traceparent is not None and (found := _PARENT.fullmatch(traceparent.strip())):
        version, given, parent, flags, more = found.groups()
        if version != "ff" and given != _NONE[0] and parent != _NONE[1] and not (version == "00" and more):
            trace, sampled = given, f"{int(flags, 16) & 1:02x}"
    random = os.urandom(24).hex()
    trace = trace or random[:32]
    if request_id is None or not _REQUEST.fullmatch(request_id):
        request_id = trace
    return Trace(trace, random[32:], sampled, request_id)
