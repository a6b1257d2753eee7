"""E-mail addresses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.auth.addresses import read_address


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ada@Example.COM", "ada@example.com"),
        ("ａda@example.com", "ada@example.com"),
        ("ada@exämple.com", "ADA@XN--EXMPLE-CUA.com"),
        ("\u212aim@example.com", "kim@example.com"),
        ("jose\u0301@example.com", "jos\u00e9@example.com"),
    ],
)
def test_same_address(one: str, other: str) -> None:
    """Ways to write one address have one key."""
    assert read_address(one).key == read_address(other).key


@pytest.mark.parametrize(
    "text",
    [
        "", "ada", "@example.com", "ada@", "ada@@example.com", "a da@example.com", "ada@exa mple.com",
        "ada\0@example.com", "ada\u200b@example.com", "ada\u202e@example.com", "аdmin@example.com",
        "ada@-example.com", ".ada@example.com", "ada..b@example.com", "a" * 65 + "@example.com",
        "ada@" + "a" * 300 + ".com", "ada%@\x00", "ada\n@example.com", '"ada"@example.com', "ada@[127.0.0.1]",
    ],
)  # fmt: skip
def test_no_address(text: str) -> None:
    """What no letter would reach, hides characters, or mixes look-alike scripts is refused."""
    with pytest.raises(ValueError):
        read_address(text)


def test_written_as_its_owner_writes_it() -> None:
    """The text to write to keeps its case; letters of one script other than Latin are fine."""
    assert read_address(" Ada@Example.com ").text == "Ada@Example.com"
    assert read_address("почта@пример.рф").key.endswith("@xn--e1afmkfd.xn--p1ai")


@given(st.text(max_size=80))
def test_any_text(text: str) -> None:
    """Whatever is typed is an address, whose key reads as itself, or a ValueError."""
    try:
        found = read_address(text)
    except ValueError:
        return
    assert read_address(found.key).key == found.key
