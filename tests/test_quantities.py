"""How values are written and read."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.quantities import COUNT, NUMBER, PATH, SECONDS, SIZE, SWITCH, WORDS, choice, url


@given(st.integers(0, 1 << 50))
def test_size_shown_reads_back(size: int) -> None:
    """Showing a size and reading it are inverse."""
    assert SIZE.read(SIZE.show(size)) == size


@given(st.integers(0, 999_999))
def test_duration_shown_reads_back(milliseconds: int) -> None:
    """Durations survive being shown, to the six digits that are shown."""
    seconds = milliseconds / 1000
    assert SECONDS.read(SECONDS.show(seconds)) == pytest.approx(seconds, rel=1e-5)


@pytest.mark.parametrize("raw", ["", "MB", "1 2", "1e9", "-1", "0x10", "1TB", "٣", None, True, [1], float("inf")])
def test_size_refuses(raw: object) -> None:
    """What is not a size says what a size looks like."""
    with pytest.raises(ValueError, match="64KiB"):
        SIZE.read(raw)


@pytest.mark.parametrize("raw", ["", "1.5", "-1", "one", "٣", True, 1.0, None])
def test_count_refuses(raw: object) -> None:
    """Counts are whole and not negative in text."""
    with pytest.raises(ValueError, match="whole number"):
        COUNT.read(raw)


@pytest.mark.parametrize(("raw", "on"), [("YES", True), (" on ", True), ("1", True), ("false", False), (False, False)])
def test_switch(raw: object, on: bool) -> None:
    """Switches take the usual words."""
    assert SWITCH.read(raw) is on


@pytest.mark.parametrize("raw", ["ja", "", 1, None])
def test_switch_refuses(raw: object) -> None:
    """No other word is a switch."""
    with pytest.raises(ValueError, match="true or false"):
        SWITCH.read(raw)


def test_words_split_and_trim() -> None:
    """Lists are commas in text, arrays in TOML."""
    assert WORDS.read(" a, b,,c ") == WORDS.read(["a", " b", "c", ""]) == ("a", "b", "c")
    with pytest.raises(ValueError, match="commas"):
        WORDS.read([1])


def test_choice_ignores_case() -> None:
    """A choice is one of its words."""
    assert choice("all", "relay").read("ALL") == "all"
    with pytest.raises(ValueError, match="one of all, relay"):
        choice("all", "relay").read("api")


def test_url_checks_its_scheme() -> None:
    """URLs of another scheme, or none, are refused."""
    assert url("https").read("https://a/b") == "https://a/b"
    for raw in ("http://a", "a/b", "https//x", "http://[", 5):
        with pytest.raises(ValueError):
            url("https").read(raw)


def test_path_knows_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """`~` works where no shell has seen the value."""
    monkeypatch.setenv("HOME", "/home/ada")
    assert PATH.read("~/key.pem") == Path("/home/ada/key.pem")
    with pytest.raises(ValueError, match="a path"):
        PATH.read("~nobody-by-this-name/key.pem")


@pytest.mark.parametrize(("raw", "value"), [("0.5", 0.5), ("12", 12.0), (3, 3.0), (2.5, 2.5)])
def test_numbers(raw: object, value: float) -> None:
    """As written in a shell or in TOML; shown as a person would write it."""
    assert NUMBER.read(raw) == value
    assert NUMBER.read(NUMBER.show(value)) == value


@pytest.mark.parametrize("raw", ["", "x", "1e5", "-1", True, float("nan"), float("inf"), None])
def test_no_numbers(raw: object) -> None:
    """Anything else is refused."""
    with pytest.raises(ValueError, match="a number"):
        NUMBER.read(raw)
