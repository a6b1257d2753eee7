"""What an answer says when it is a no: problem details (RFC 9457), one class for each kind.

A plugin adds its own by subclassing the nearest and setting `code` and `title`; the docstring is what
`/problems/<code>` tells the reader, so it says what happened and what to do about it.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import orjson
from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "BadCursor", "BadJson", "BadRequest", "Conflict", "FieldError", "Forbidden", "Gone", "Internal", "Invalid",
    "KeyInFlight", "KeyReused", "MediaType", "MethodNotAllowed", "NotAcceptable", "NotFound", "NotImplementedHere",
    "PreconditionFailed", "PreconditionRequired", "Problem", "ProblemDetails", "ScopeMissing", "TimedOut", "TooLarge",
    "TooMany", "TooSlow", "TryLater", "Unauthorized", "UnexpectedBody", "Upstream", "everywhere", "known",
]  # fmt: skip

MEDIA_TYPE = "application/problem+json"


class FieldError(BaseModel):
    """One thing that is wrong with a request, and where: in the body, a query parameter, or a header."""

    model_config = ConfigDict(frozen=True)

    pointer: str | None = Field(default=None, description="JSON pointer into the body (RFC 6901).", examples=["/title"])
    parameter: str | None = Field(default=None, description="Name of the query parameter.")
    header: str | None = Field(default=None, description="Name of the header.")
    code: str = Field(description="Kind of mistake, for programs.", examples=["missing"])
    detail: str = Field(description="For people.", examples=["This field is needed."])
    did_you_mean: str | None = Field(default=None, description="The name that was probably meant.")


class ProblemDetails(BaseModel):
    """What every error is answered with, as `application/problem+json` (RFC 9457)."""

    model_config = ConfigDict(title="Problem", extra="allow")

    type: str = Field(description="Address of a page that explains this kind of problem.")
    title: str = Field(description="The kind of problem; the same for every one of its kind.")
    status: int = Field(description="The HTTP status.")
    code: str = Field(description="The kind, for programs.", examples=["not_found"])
    detail: str | None = Field(default=None, description="What is wrong with this request.")
    trace_id: str = Field(description="Finds this request in logs and traces.")
    errors: list[FieldError] | None = Field(default=None, description="Every mistake found, located.")


class Problem(Exception):
    """An error to answer with.

    detail: what is wrong with this request, for people; whoever may see the answer may read it.
    errors: located mistakes.  headers: to send along.  retry_after: seconds, sent as `Retry-After`.
    more: further members of the answer.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "Something is wrong with this server"

    def __init__(
        self,
        detail: str = "",
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        retry_after: float | None = None,
        **more: Any,
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail
        self.errors = errors
        self.headers = dict(headers or {})
        self.retry_after = retry_after
        self.more = more
        if retry_after is not None:
            self.headers["Retry-After"] = str(max(1, math.ceil(retry_after)))

    def details(self, base: str, trace_id: str) -> dict[str, Any]:
        """The answer's members; `base` is the address that `/problems/` lives under."""
        found = dict(self.more)
        found |= {"type": f"{base}/problems/{self.code}", "title": self.title, "status": self.status}
        found["code"] = self.code
        if self.detail:
            found["detail"] = self.detail
        found["trace_id"] = trace_id
        if self.errors:
            found["errors"] = [error.model_dump(exclude_none=True) for error in self.errors]
        return found

    def body(self, base: str, trace_id: str) -> bytes:
        """The answer as JSON; text that is no text (half a surrogate pair from a header) is written escaped."""
        details = self.details(base, trace_id)
        try:
            return orjson.dumps(details, default=str)
        except TypeError:
            plain = {key: value for key, value in details.items() if key not in self.more}
            return orjson.dumps(plain | {"detail": self.detail.encode("ascii", "backslashreplace").decode()})


class BadRequest(Problem):
    """The request can't be understood. `detail` says what; send it differently."""

    status, code, title = 400, "bad_request", "The request can't be understood"


class BadJson(BadRequest):
    """The body is not JSON (RFC 8259) in UTF-8, or an object in it holds a name twice.

    `line` and `column`, or `byte`, say where.
    """

    code, title = "bad_json", "The body is not JSON"


class BadCursor(BadRequest):
    """A cursor is only good for the list it came from, with the same sort and filters. Begin again without one."""

    code, title = "bad_cursor", "This is not a cursor of this list"


class UnexpectedBody(BadRequest):
    """This operation takes no body, so nothing would be done with what was sent."""

    code, title = "unexpected_body", "This operation takes no body"


class Unauthorized(Problem):
    """Who you are is not known: the token is missing, wrong, or no longer valid. Log in, or renew the token."""

    status, code, title = 401, "unauthorized", "A valid token is needed"


class Forbidden(Problem):
    """You are known, and this is not yours to do. Ask whoever manages the resource for access."""

    status, code, title = 403, "forbidden", "This is not allowed"


class ScopeMissing(Forbidden):
    """The token is narrowed to certain scopes, and this operation's scope (`needs`) is not one of them."""

    code, title = "scope_missing", "The token's scopes don't allow this"


class NotFound(Problem):
    """There is no such thing, or you may not know that there is."""

    status, code, title = 404, "not_found", "There is no such thing"


class MethodNotAllowed(Problem):
    """The path exists, with other methods: the header `Allow` lists them."""

    status, code, title = 405, "method_not_allowed", "This path does not have that method"


class NotAcceptable(Problem):
    """None of the media types in `Accept` can be produced; `available` lists those that can."""

    status, code, title = 406, "not_acceptable", "None of the accepted media types can be produced"


class TooSlow(Problem):
    """The request took too long to arrive. Send it again, over a better connection or in smaller parts."""

    status, code, title = 408, "request_too_slow", "The request took too long to arrive"


class Conflict(Problem):
    """The state of the resource does not allow this. Read it again and decide anew."""

    status, code, title = 409, "conflict", "The resource's state does not allow this"


class KeyInFlight(Conflict):
    """A request with the same `Idempotency-Key` is being worked on. Ask again after `Retry-After` seconds."""

    code, title = "idempotency_key_in_flight", "A request with this key is being worked on"


class Gone(Problem):
    """It was here and is gone for good."""

    status, code, title = 410, "gone", "It is gone for good"


class PreconditionFailed(Problem):
    """The resource was changed since you read it: `If-Match` names another version than the header `ETag` does.

    Read it again, and apply your change to what you find.
    """

    status, code, title = 412, "precondition_failed", "The resource has changed since"


class TooLarge(Problem):
    """The body is larger than this operation takes; `limit` says how many bytes it may have."""

    status, code, title = 413, "too_large", "The body is too large"


class MediaType(Problem):
    """The body's `Content-Type` is none that this operation reads; `available` lists those that it does."""

    status, code, title = 415, "unsupported_media_type", "The body's media type can't be read"


class Invalid(Problem):
    """The request was understood, and some of its values are wrong: `errors` lists every one and where it is."""

    status, code, title = 422, "invalid", "Some values are wrong"


class KeyReused(Invalid):
    """This `Idempotency-Key` came before with another body. Make a new key for every new request."""

    code, title = "idempotency_key_reused", "This key came before with another request"


class PreconditionRequired(Problem):
    """Say which version you mean to change: send its `ETag` as `If-Match`, so that nobody's work is overwritten."""

    status, code, title = 428, "precondition_required", "If-Match is needed"


class TooMany(Problem):
    """You ask more often than your rate limit allows. Wait `Retry-After` seconds; `RateLimit` says what is left."""

    status, code, title = 429, "too_many_requests", "Too many requests"


class Internal(Problem):
    """A mistake of ours. It is in the log under `trace_id`; tell whoever runs this server."""

    status, code, title = 500, "internal", "Something is wrong with this server"


class NotImplementedHere(Problem):
    """This server is not set up for that; `detail` says what is missing."""

    status, code, title = 501, "not_implemented", "This server is not set up for that"


class Upstream(Problem):
    """A service that this one asked gave no usable answer. Try again later."""

    status, code, title = 502, "upstream_failed", "Another service failed"


class TryLater(Problem):
    """Something that is needed for this is away for the moment. Ask again after `Retry-After` seconds."""

    status, code, title = 503, "try_later", "Not available at the moment"

    def __init__(self, detail: str = "", *, retry_after: float | None = 2.0, **more: Any) -> None:
        super().__init__(detail, retry_after=retry_after, **more)


class TimedOut(Problem):
    """The work took longer than this operation allows, and was stopped."""

    status, code, title = 504, "timed_out", "It took too long"


everywhere: tuple[type[Problem], ...] = (
    BadRequest, Unauthorized, Forbidden, NotFound, NotAcceptable, TooSlow, TooLarge, MediaType, Invalid, TooMany,
    Internal, TryLater, TimedOut,
)  # fmt: skip
"""What every route may answer."""

_GENERAL: tuple[type[Problem], ...] = (
    *everywhere, MethodNotAllowed, Conflict, Gone, PreconditionFailed, PreconditionRequired, NotImplementedHere,
    Upstream,
)  # fmt: skip
_BY_STATUS = {kind.status: kind for kind in _GENERAL}


def known(status: int) -> type[Problem]:
    """The general problem of an HTTP status; Internal for one that has none, BadRequest for 4xx."""
    return _BY_STATUS.get(status) or (BadRequest if 400 <= status < 500 else Internal)
