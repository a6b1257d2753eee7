"""Redis URLs: what they say, and what must not leak from them."""

from argparse import Namespace
from pathlib import Path

import pytest

from relay.errors import StartError
from relay.journal.address import Address, Place
from relay.settings import load


@pytest.mark.parametrize(
    ("url", "text", "greeting"),
    [
        ("redis://", "redis://localhost:6379", []),
        ("redis://h:7/3", "redis://h:7/3", [("SELECT", "3")]),
        ("redis://:pa%40ss@h/0?socket_keepalive=1", "redis://h:6379", [("AUTH", "pa@ss")]),
        ("redis://[::1]:7", "redis://[::1]:7", []),
        ("rediss://ann:pw@h:7", "rediss://h:7", [("AUTH", "ann", "pw")]),
        ("rediss://h?verify=none", "rediss://h:6379", []),
        ("unix:///run/r.sock?db=2", "unix:///run/r.sock?db=2", [("SELECT", "2")]),
        ("unix://ann:pw@/run/r.sock", "unix:///run/r.sock", [("AUTH", "ann", "pw")]),
        ("redis+sentinel://a,b:7/svc", "redis+sentinel://a:26379,b:7/svc", []),
        (
            "redis+sentinel://ann:p%2Cw@a:1,[::1]:2/svc/4?sentinel_username=s&sentinel_password=secret",
            "redis+sentinel://a:1,[::1]:2/svc/4",
            [("AUTH", "ann", "p,w"), ("SELECT", "4")],
        ),
        ("rediss+sentinel://a/svc?verify=ca", "rediss+sentinel://a:26379/svc", []),
        ("redis+cluster://ann:pw@a,b:7", "redis+cluster://a:6379,b:7", [("AUTH", "ann", "pw")]),
        ("rediss+cluster://a:7/0", "rediss+cluster://a:7", []),
    ],
)
def test_url_is_understood(url: str, text: str, greeting: list[tuple[str, ...]]) -> None:
    """Each scheme gives its place to connect to and its greeting, prints without secrets, and is a setting."""
    address = Address(url)
    assert str(address) == text
    assert [command for command in address.greeting("me") if command[0] != "CLIENT"] == greeting
    assert ("CLIENT", "SETNAME", "me") in address.greeting("me")
    assert load(Namespace(), {"REDIS_URL": url}, Path("/nowhere")).redis_url == url


def test_node_of_a_cluster() -> None:
    """A cluster's URL gives an address to each node: its place, with the same user and encryption."""
    address = Address("rediss+cluster://ann:pw@a,b:7?verify=none")
    assert address.seeds == (Place("a", 6379), Place("b", 7))
    node = address.at(Place("c", 8))
    assert (str(node), node.seeds, node.node) == ("rediss://c:8", (), True)
    assert node.greeting("me") == address.greeting("me")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://h",
        "redis+cluster:/h",
        "redis://u:secret@h:port",
        "unix://u:secret@",
        "rediss://u:secret@h?ssl_cert_reqs=maybe",
        "rediss://u:secret@h?ca=/no/such/file",
        "redis+sentinel://u:sec,ret@:7/svc",
    ],
)
def test_invalid_url_is_refused_without_its_password(url: str) -> None:
    """The message says what to write and quotes nothing."""
    with pytest.raises(StartError, match="not valid") as caught:
        Address(url)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (
            "redis+sentinel://a",
            r"name under which the Sentinels know.*write redis\+sentinel://user:password@host1:26379",
        ),
        ("redis+sentinel://a/0", "name under which the Sentinels know"),
        ("redis+sentinel://a/svc/x", "a database is a number"),
        ("redis+cluster://a/3", r"no databases but 0.*write redis\+cluster://user:password@host1:6379,host2:6379"),
        ("redis+cluster://a,,b", "host:port, with commas between"),
        ("redis+cluster://a:b", "host:port, with commas between"),
        ("redis://h?verify=none", "for rediss"),
        ("rediss://h?verify=maybe", "full, ca or none"),
        ("redis://h?sentinel_password=x", r"for redis\+sentinel"),
    ],
)
def test_invalid_url_is_explained(url: str, why: str) -> None:
    """The message says what is wrong, with an example of the kind that was meant."""
    with pytest.raises(StartError, match=why):
        Address(url)
