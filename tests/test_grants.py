"""Principals and what they may open."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import Deny
from relay.grants import ANYONE, Grant, Principal, matches
from relay.types import RoomId


def principal(rooms: object, **claims: object) -> Principal:
    return Principal.from_claims({"sub": "ada", "rooms": rooms, **claims}, 99.0)


def access(rooms: object, room: str) -> str:
    grant = principal(rooms).grant(RoomId(room))
    return "none" if grant is None else "readonly" if grant.readonly else "read-write"


def test_grant_carries_the_principal() -> None:
    """A grant names its holder and ends with the token."""
    assert principal({"*": "readonly"}, name="Ada").grant(RoomId("a")) == Grant("ada", "Ada", True, 99.0)  # type: ignore[arg-type]


def test_name_defaults_to_sub() -> None:
    """Without a name claim people see the subject."""
    assert principal({}).name == "ada"


def test_token_without_sub_is_anonymous() -> None:
    """A link for guests may carry rooms and no subject."""
    assert Principal.from_claims({"rooms": {"a": "read-write"}}, None).actor == ""


def test_anyone_may_write_everywhere() -> None:
    """Without authentication every room is open."""
    assert ANYONE.grant(RoomId("x/y")) == Grant("", "", False, None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("room", "expected"),
    [
        ("docs/a", "read-write"),
        ("docs/a/b", "read-write"),
        ("docs/legal/x", "readonly"),
        ("docs/secret", "none"),
        ("other", "readonly"),
        ("docs", "readonly"),
        ("Docs/a", "readonly"),
    ],
)
def test_longest_pattern_wins(room: str, expected: str) -> None:
    """The most specific pattern decides, wherever it stands in the claim."""
    rooms = {"*": "readonly", "docs/*": "read-write", "docs/legal/*": "readonly", "docs/secret": "none"}
    assert access(rooms, room) == expected
    assert access(dict(reversed(rooms.items())), room) == expected


def test_more_stars_are_not_more_specific() -> None:
    """Stars add nothing to a pattern's length."""
    assert access({"a/*": "readonly", "*****": "read-write"}, "a/b") == "readonly"


def test_tie_allows_less() -> None:
    """Of two patterns equally long the stricter one decides, in either order."""
    assert access({"a/*": "read-write", "*/a": "readonly"}, "a/a") == "readonly"
    assert access({"*/a": "readonly", "a/*": "read-write"}, "a/a") == "readonly"


def test_no_match_is_denied() -> None:
    """A room that no pattern names is closed; an empty map closes everything."""
    assert access({"docs/*": "read-write"}, "notes") == "none"
    assert access({}, "notes") == "none"


@pytest.mark.parametrize(
    "rooms",
    [
        None,
        [],
        "*",
        True,
        1,
        {"*": "write"},
        {"*": True},
        {"*": None},
        {"*": ["readonly"]},
        {"*": {}},
        {"a": "readonly", "b": "admin"},
    ],
)
def test_hostile_rooms_are_denied(rooms: object) -> None:
    """A rooms claim of another shape denies the whole token, code 4401, saying which claim."""
    with pytest.raises(Deny, match="rooms claim") as caught:
        principal(rooms)
    assert caught.value.code == 4401


def test_absent_rooms_are_denied() -> None:
    """A token made for something else opens nothing."""
    with pytest.raises(Deny, match="no rooms claim"):
        Principal.from_claims({"sub": "ada"}, None)


@pytest.mark.parametrize("key", ["sub", "name"])
@pytest.mark.parametrize("value", [1, True, ["a"], {}, "x" * 257, "a\nb", "a\0", "\ud800", "\x9b31m"])
def test_hostile_names_are_denied(key: str, value: object) -> None:
    """Names go into logs and journals: only short printable text passes."""
    with pytest.raises(Deny, match=f"{key} claim") as caught:
        principal({"*": "readonly"}, **{key: value})
    assert repr(value) not in caught.value.reason


def test_unicode_names_pass() -> None:
    """Names are in any script."""
    assert principal({}, name="Ἀδα 👩‍💻").name == "Ἀδα 👩‍💻"


@given(st.text("ab*/", max_size=8), st.text("ab/", max_size=8))
def test_matches_is_a_glob(pattern: str, text: str) -> None:
    """Matching agrees with the regular expression that says the same."""
    expected = re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text, re.DOTALL) is not None
    assert matches(pattern, text) == expected


def test_matches_stays_linear() -> None:
    """A pattern made to backtrack costs nothing."""
    assert not matches("*a" * 2000 + "b", "a" * 512)
