"""What kind of file something is, by its first bytes; which kinds a browser may show in place."""

import re
from urllib.parse import quote

from relay.grants import matches

__all__ = ["HEAD", "INLINE", "allowed", "disposition", "kind_of", "plain_name"]

HEAD = 64
"""Bytes at the start that tell."""

INLINE = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"})
"""Pictures that can't run anything; SVG can."""

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (rb"\x89PNG\r\n\x1a\n", "image/png"),
    (rb"\xff\xd8\xff", "image/jpeg"),
    (rb"GIF8[79]a", "image/gif"),
    (rb"RIFF....WEBP", "image/webp"),
    (rb"....ftypavi[fs]", "image/avif"),
    (rb"%PDF-", "application/pdf"),
    (rb"\x1f\x8b", "application/gzip"),
)
_KINDS = tuple((re.compile(magic, re.DOTALL), kind) for magic, kind in _MAGIC)
_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,62}/[a-z0-9][a-z0-9!#$&^_.+-]{0,62}")
_UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def kind_of(declared: str, head: bytes) -> str | None:
    """The media type of a file that begins with `head`; None when it is not the picture that it is said to be.

    declared: what its sender says, without parameters.
    """
    for magic, kind in _KINDS:
        if magic.match(head):
            return kind
    if declared in INLINE:
        return None
    return declared if _TYPE.fullmatch(declared) else "application/octet-stream"


def allowed(kind: str, patterns: tuple[str, ...]) -> bool:
    """Whether a media type is among those that may be attached."""
    return any(matches(pattern, kind) for pattern in patterns)


def plain_name(name: str) -> str:
    """A file name without folders, and without characters that nobody sees; "file" when nothing is left."""
    last = _UNFIT.sub("", re.split(r"[/\\]", name)[-1]).strip().strip(".").strip()
    return last[:255] or "file"


def disposition(kind: str, name: str) -> str:
    """The header Content-Disposition (RFC 6266)."""
    how = "inline" if kind in INLINE else "attachment"
    simple = re.sub(r"[^ !#-\[\]-~]|%", "_", name)
    return f"{how}; filename=\"{simple}\"; filename*=UTF-8''{quote(name, safe='')}"
