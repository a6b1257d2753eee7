"""Redis URLs: what they say, and what must not leak from them."""

import pytest

from relay.errors import StartError
from relay.journal.address import Address


@pytest.mark.parametrize(
    ("url", "text", "greeting"),
    [
        ("redis://", "redis://localhost:6379", []),
        ("redis://h:7/3", "redis://h:7/3", [("SELECT", "3")]),
        ("redis://:pa%40ss@h/0?socket_keepalive=1", "redis://h:6379", [("AUTH", "pa@ss")]),
        ("rediss://ann:pw@h:7", "rediss://h:7", [("AUTH", "ann", "pw")]),
        ("unix:///run/r.sock?db=2", "unix:///run/r.sock?db=2", [("SELECT", "2")]),
        ("unix://ann:pw@/run/r.sock", "unix:///run/r.sock", [("AUTH", "ann", "pw")]),
    ],
)
def test_url_is_understood(url: str, text: str, greeting: list[tuple[str, ...]]) -> None:
    """Each scheme gives its place to connect to and its greeting, and prints without secrets."""
    address = Address(url)
    assert str(address) == text
    assert [command for command in address.greeting("me") if command[0] != "CLIENT"] == greeting
    assert ("CLIENT", "SETNAME", "me") in address.greeting("me")


@pytest.mark.parametrize(
    "url", ["", "http://h", "redis://u:secret@h:port", "unix://u:secret@", "rediss://u:secret@h?ssl_cert_reqs=maybe"]
)
def test_invalid_url_is_refused_without_its_password(url: str) -> None:
    """The message says what to write and quotes nothing."""
    with pytest.raises(StartError, match="not valid") as caught:
        Address(url)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
