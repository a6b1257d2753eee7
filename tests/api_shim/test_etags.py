"""Versions and conditions on them."""

import pytest

from api_shim.etags import matches, quote, require_match
from api_shim.problems import BadRequest, PreconditionFailed, PreconditionRequired


@pytest.mark.parametrize(("tag", "header"), [("3", '"3"'), ('"3"', '"3"'), ('W/"3"', 'W/"3"'), ("", '""')])
def test_tag_is_quoted_once(tag: str, header: str) -> None:
    """What is in the header's form stays."""
    assert quote(tag) == header


@pytest.mark.parametrize(
    ("header", "tag", "weak", "strong"),
    [
        ('"1"', '"1"', True, True),
        ('W/"1"', '"1"', True, False),
        ('"1"', 'W/"1"', True, False),
        ('W/"1"', 'W/"1"', True, False),
        ('"2", "1"', '"1"', True, True),
        ('"2","W/1"', '"1"', False, False),
        ('"a,b"', '"a,b"', True, True),
        ('"a,b"', '"b"', False, False),
        ("*", '"1"', True, True),
        ("", '"1"', False, False),
        ("1", '"1"', False, False),
    ],
)
def test_comparison(header: str, tag: str, weak: bool, strong: bool) -> None:
    """Weak for caches, strong for writers, as RFC 9110 section 8.8.3.2 has it."""
    assert matches(header, tag, weak=True) is weak
    assert matches(header, tag, weak=False) is strong


def test_change_needs_the_version() -> None:
    """428 without If-Match, 412 with another, 400 for nonsense; nothing for the right one or *."""
    with pytest.raises(PreconditionRequired) as missing:
        require_match(None, "3")
    assert missing.value.headers["ETag"] == '"3"'
    for other in ('"4"', 'W/"3"', ""):
        with pytest.raises((PreconditionFailed, BadRequest)):
            require_match(other, "3")
    with pytest.raises(BadRequest):
        require_match("3", "3")
    require_match('"3"', "3")
    require_match('"1", "3"', "3")
    require_match("*", "3")
