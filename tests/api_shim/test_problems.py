"""Problem details."""

import json

from api_shim.problems import Conflict, FieldError, Internal, NotFound, Problem, TooMany, known


def test_members_are_those_of_the_standard() -> None:
    """With our own beside them, which never hide those."""
    problem = Conflict("No.", errors=[FieldError(pointer="/a", code="c", detail="D.")], status=1, needs="x")
    told = json.loads(problem.body("https://x", "t"))
    assert told == {
        "type": "https://x/problems/conflict", "title": Conflict.title, "status": 409, "code": "conflict",
        "detail": "No.", "trace_id": "t", "needs": "x", "errors": [{"pointer": "/a", "code": "c", "detail": "D."}],
    }  # fmt: skip


def test_waiting_is_rounded_up() -> None:
    """Who comes back when told is not refused again."""
    assert TooMany(retry_after=0.1).headers["Retry-After"] == "1"
    assert TooMany(retry_after=1.2).headers["Retry-After"] == "2"


def test_what_is_no_text_is_written_escaped() -> None:
    """Half a surrogate pair out of a header does not turn a 4xx into a 500."""
    assert "\\ud800" in json.loads(NotFound("\ud800", name="\ud800").body("", "t"))["detail"]


def test_general_problem_of_a_status() -> None:
    """For what aiohttp raises."""
    assert known(404) is NotFound
    assert known(409) is Conflict
    assert known(418).status == 400
    assert known(599) is Internal
    assert issubclass(known(404), Problem)
