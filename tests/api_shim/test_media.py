"""Media types."""

import pytest

from api_shim.media import accepts, reads


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        (None, True), ("", True), ("*/*", True), ("application/json", True), ("application/*", True),
        ("text/html, application/json;q=0.5", True), ("text/html", False), ("application/json;q=0", False),
        ("*/*;q=0.1", True), ("application/json;q=0, */*", False), ("text/*, */*;q=0", False), ("nonsense", False),
        ("application/json;q=x", False),
    ],
)  # fmt: skip
def test_accept(header: str | None, accepted: bool) -> None:
    """The most specific range decides."""
    assert accepts(header, ["application/json"]) is accepted


@pytest.mark.parametrize(
    ("header", "read"),
    [
        ("application/json", True), ("Application/JSON; charset=UTF-8", True),
        ('application/json; charset="utf-8"', True),
        ("application/json; charset=latin-1", False), ("text/plain", False), (None, False), ("", False),
    ],
)  # fmt: skip
def test_content_type(header: str | None, read: bool) -> None:
    """JSON in UTF-8, under its own name."""
    assert reads(header, ["application/json"]) is read


def test_ranges_are_readable() -> None:
    """`image/*` and `*/*` of routes that take files."""
    assert reads("image/png", ["image/*"])
    assert not reads("text/plain", ["image/*"])
    assert reads("text/plain", ["*/*"])
