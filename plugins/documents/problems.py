"""What goes wrong with documents, and how an answer says it."""

from collections.abc import Iterator
from contextlib import contextmanager

from api_shim.problems import Conflict, FieldError, Gone, Invalid, PreconditionFailed, Problem, TooLarge
from plugins.documents.content import BadContent, NotABase
from relay import closing
from relay.errors import CodecDied, Deny, Malformed, Quarantined

__all__ = [
    "BaseUnknown", "InTrash", "NoSuchRange", "QuotaExceeded", "ReadOnly", "Unreadable", "WrongPlace",
    "content_problems",
]  # fmt: skip


class InTrash(Conflict):
    """It, or the folder it is to be put in, is in the trash. Restore that first, or choose another folder."""

    code, title = "in_trash", "It is in the trash"


class ReadOnly(Conflict):
    """The document is archived or locked: nobody may change its content until it is not."""

    code, title = "read_only", "The document is archived or locked"


class WrongPlace(Conflict):
    """A folder can't be put into itself or below itself, into another workspace, or more than 32 levels deep."""

    code, title = "wrong_place", "It can't be put there"


class Unreadable(Conflict):
    """What is in the document can't be read in this format; `format=yjs` may still do, unless it is set aside."""

    code, title = "unreadable_content", "The document's content can't be read"


class BaseUnknown(PreconditionFailed):
    """`If-Match` names a content of this document that is not known any more, or never was: it is kept for a limited
    time, and only for those who may write. Read the content again and apply your change to what you find."""

    code, title = "base_unknown", "The version that was changed is not known any more"


class QuotaExceeded(TooLarge):
    """The attachments of the workspace would be more than it may hold: `limit` bytes. Remove some first."""

    code, title = "quota_exceeded", "The workspace has no room for this attachment"


class NoSuchRange(Problem):
    """The file has no bytes in the range that was asked for; `Content-Range` says how many it has."""

    status, code, title = 416, "no_such_range", "The file has no such bytes"


@contextmanager
def content_problems(*, theirs: bool = False) -> Iterator[None]:
    """What reading and writing contents raises, as problems.

    theirs: the bytes at fault came with the request.
    """
    try:
        yield
    except BadContent as error:
        raise Invalid(
            "The body is no content for this document.",
            errors=[FieldError(pointer=one.pointer, code="content", detail=one.message) for one in error.faults],
        ) from None
    except NotABase:
        raise BaseUnknown from None
    except Malformed as error:
        if theirs:
            raise Invalid("The body is no Yjs update.", errors=[_whole(str(error))]) from None
        raise Unreadable(str(error)) from None
    except CodecDied as error:
        raise Unreadable(str(error)) from None
    except Quarantined as error:
        raise Unreadable(f"It was set aside by an operator or the relay: {error}") from None
    except Deny as denied:
        if denied.code == closing.DOCUMENT_TOO_BIG.code:
            raise TooLarge("The document would be too large.") from None
        if denied.code == closing.QUARANTINED.code:
            raise Unreadable("It was set aside by an operator or the relay.") from None
        raise Gone("The document was deleted meanwhile.") from None


def _whole(detail: str) -> FieldError:
    return FieldError(pointer="", code="malformed", detail=detail)
