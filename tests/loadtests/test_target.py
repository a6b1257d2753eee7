"""Only this machine is loaded, unless it was said otherwise."""

import pytest

from loadtests.target import NotLoopback, Target, target_of


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://127.0.0.1:8080", Target("127.0.0.1", 8080, False)),
        ("ws://localhost:1234/", Target("localhost", 1234, False)),
        ("https://[::1]", Target("::1", 443, True)),
    ],
)
def test_loopback(url: str, target: Target) -> None:
    """A loopback address or name is a target, with its scheme's port."""
    assert target_of(url) == target


@pytest.mark.parametrize("url", ["http://192.0.2.1:8080", "https://[2001:db8::1]", "http://no-such-name.invalid"])
def test_elsewhere(url: str) -> None:
    """Another machine, or a name that nobody knows, is refused until it is allowed."""
    with pytest.raises(NotLoopback, match="--anywhere"):
        target_of(url)
    assert target_of(url, anywhere=True).url.startswith(url.rpartition(":")[0] if url.count(":") == 2 else url)


@pytest.mark.parametrize("url", ["", "127.0.0.1:8080", "ftp://127.0.0.1", "http://"])
def test_no_url(url: str) -> None:
    """What is no URL of a relay is refused, allowed or not."""
    with pytest.raises(ValueError, match="not the URL"):
        target_of(url, anywhere=True)
