"""Media types: what a client accepts (RFC 9110 section 12.5.1), and what a body is."""

from collections.abc import Sequence

__all__ = ["accepts", "essence", "reads"]


def accepts(header: str | None, available: Sequence[str]) -> bool:
    """Whether any of the media types will do for a client with this `Accept`; what can't be read accepts nothing."""
    if not header or ("*/*" in header and "q=" not in header) or header in available:
        return True
    ranges = [_range(part) for part in header.split(",")]
    return any(_quality(ranges, media_type) > 0 for media_type in available)


def essence(header: str | None) -> str:
    """A media type without its parameters, in lower case."""
    return (header or "").partition(";")[0].strip().lower()


def reads(content_type: str | None, readable: Sequence[str]) -> bool:
    """Whether a body of this `Content-Type` is one of the `readable` types; text is UTF-8 or nothing."""
    found = essence(content_type)
    if not any(one == found or one == "*/*" or (one.endswith("/*") and found.startswith(one[:-1])) for one in readable):
        return False
    _, _, parameters = (content_type or "").partition(";")
    if not parameters or not found.endswith("json"):
        return True
    names = (part.strip().lower() for part in parameters.split(";"))
    return all(
        name.removeprefix("charset=").strip('"') in ("utf-8", "utf8") for name in names if name[:8] == "charset="
    )


def _range(part: str) -> tuple[str, float]:
    name, *parameters = (piece.strip().lower() for piece in part.split(";"))
    quality = 1.0
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                quality = float(parameter[2:])
            except ValueError:
                quality = 0.0
    return name, quality


def _quality(ranges: Sequence[tuple[str, float]], media_type: str) -> float:
    """The quality of the most specific range that matches."""
    kind = media_type.partition("/")[0]
    for name in (media_type, f"{kind}/*", "*/*"):
        found = [quality for known, quality in ranges if known == name]
        if found:
            return max(found)
    return 0.0
