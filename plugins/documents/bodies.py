"""A request's body, read up to a limit; and which of several forms a client would like best."""

import re

from aiohttp import web

from api_shim.media import accepts
from api_shim.problems import BadRequest, NotAcceptable, TooLarge
from plugins.documents.content import FORMATS, MEDIA_TYPES

__all__ = ["BODIES", "READABLE", "form_of", "receive", "tags_of", "wanted"]

READABLE: dict[str, str] = {form: MEDIA_TYPES[form].partition(";")[0] for form in FORMATS}
"""Media types by format."""
BODIES = tuple(READABLE.values())

_FORMS = {media_type: form for form, media_type in READABLE.items()}
_TAG = re.compile(r'"([0-9a-f]{32})(?:\.[a-z]+)?"')
_QUALITY = re.compile(r";\s*q=([0-9.]+)")


async def receive(request: web.Request, limit: int) -> bytes:
    """The whole body. Raises TooLarge, BadRequest."""
    pieces, size = [], 0
    try:
        while piece := await request.content.readany():
            size += len(piece)
            if size > limit:
                raise TooLarge(limit=limit)
            pieces.append(piece)
    except web.RequestPayloadError:
        raise BadRequest("The body ends early, or is not encoded as its headers say.") from None
    return b"".join(pieces)


def form_of(media_type: str) -> str:
    """The format of a body, whose media type is one of `BODIES`."""
    return _FORMS[media_type]


def wanted(accept: str | None) -> str:
    """The format that a client would like best: `json` unless it prefers another. Raises NotAcceptable."""
    if not accept:
        return "json"
    ranked = []
    for part in accept.lower().split(","):
        quality = _QUALITY.search(part)
        try:
            share = float(quality[1]) if quality else 1.0
        except ValueError:
            share = 0.0
        name = part.partition(";")[0].strip()
        ranked.append((share, name))
    # Ties go to who is named exactly, then to the first of ours.
    for share, name in sorted(ranked, key=lambda one: (-one[0], "*" in one[1])):
        for form, media_type in READABLE.items():
            named = name in (media_type, "*/*", f"{media_type.partition('/')[0]}/*")
            if share > 0 and named and accepts(accept, [media_type]):
                return form
    raise NotAcceptable(available=list(BODIES))


def tags_of(if_match: str) -> frozenset[str] | None:
    """The states that `If-Match` names; None for `*`. What can't be one of ours matches nothing."""
    if if_match.strip() == "*":
        return None
    return frozenset(found[1] for found in _TAG.finditer(if_match) if not if_match[: found.start()].endswith("W/"))
