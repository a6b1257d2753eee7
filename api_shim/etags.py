"""Versions of a resource as HTTP names them (RFC 9110 section 8.8), and conditions on them (section 13)."""

import re

from api_shim.problems import BadRequest, FieldError, PreconditionFailed, PreconditionRequired

__all__ = ["matches", "quote", "require_match"]

_TAG = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')
_LIST = re.compile(rf"[ \t,]*{_TAG.pattern}[ \t]*(?:,[ \t,]*{_TAG.pattern}[ \t]*)*[ \t,]*")


def quote(tag: str) -> str:
    """The header's form of a version: `3` is `"3"`; what is quoted already, or weak (`W/"3"`), stays."""
    if tag.endswith('"') and tag.startswith(('"', 'W/"')):
        return tag
    return f'"{tag}"'


def matches(header: str, tag: str, *, weak: bool) -> bool:
    """Whether a list of tags, or `*`, names `tag` (in the header's form).

    weak: compare as caches do, `W/"1"` is `"1"`; else as writers must, and a weak tag equals nothing.
    """
    if header.strip() == "*":
        return True
    if not weak and tag.startswith("W/"):
        return False
    opaque = tag.removeprefix("W/")
    return any(opaque == found[2] and (weak or not found[1]) for found in _TAG.finditer(header))


def require_match(header: str | None, tag: str) -> None:
    """Let a change pass only if its sender has seen version `tag`.

    Raises PreconditionRequired (428) without `If-Match`, PreconditionFailed (412) when it names another version.
    """
    tag = quote(tag)
    if header is None:
        raise PreconditionRequired(headers={"ETag": tag})
    if header.strip() != "*" and not _LIST.fullmatch(header):
        error = FieldError(header="If-Match", code="etag", detail='Is no list of tags like "3", and not *.')
        raise BadRequest("If-Match can't be read.", errors=[error])
    if not matches(header, tag, weak=False):
        raise PreconditionFailed(headers={"ETag": tag})
