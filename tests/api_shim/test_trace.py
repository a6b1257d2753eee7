"""Which trace a request belongs to."""

import pytest

from api_shim.trace import begin

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_caller_is_followed() -> None:
    """Its trace and sampling, a span of our own, its request id."""
    trace = begin(f"00-{TRACE}-{SPAN}-01", "r-1")
    assert (trace.trace, trace.sampled, trace.request) == (TRACE, "01", "r-1")
    assert trace.span != SPAN
    assert trace.parent == f"00-{TRACE}-{trace.span}-01"


@pytest.mark.parametrize(
    "header",
    [None, "", "x", f"00-{TRACE}-{SPAN}", f"ff-{TRACE}-{SPAN}-01", f"00-{'0' * 32}-{SPAN}-01",
     f"00-{TRACE}-{'0' * 16}-01",
     f"00-{TRACE.upper()}-{SPAN}-01", f"00-{TRACE}-{SPAN}-01-more"],
)  # fmt: skip
def test_other_headers_start_a_trace(header: str | None) -> None:
    """What the standard says is not valid counts as absent."""
    trace = begin(header, None)
    assert trace.trace != TRACE
    assert len(trace.trace) == 32
    assert trace.request == trace.trace


def test_later_versions_are_read() -> None:
    """With more behind the fields that we know."""
    assert begin(f"01-{TRACE}-{SPAN}-01-more", None).trace == TRACE


@pytest.mark.parametrize("id", ["", "a b", "a\nb", "ä", "x" * 129])
def test_strange_request_id_is_replaced(id: str) -> None:
    """It goes into headers and logs."""
    trace = begin(None, id)
    assert trace.request == trace.trace
