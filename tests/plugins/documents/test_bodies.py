"""Which form a client would like best, and which versions it names."""

import pytest

from api_shim.problems import NotAcceptable
from plugins.documents.bodies import tags_of, wanted

TAG = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        (None, "json"),
        ("*/*", "json"),
        ("text/markdown", "md"),
        ("text/*", "md"),
        ("text/html, */*;q=0.1", "html"),
        ("text/html;q=0.2, text/plain;q=0.8", "text"),
        ("application/json;q=0, */*", "md"),
        ("image/png, application/octet-stream", "yjs"),
    ],
)
def test_wanted(accept: str | None, form: str) -> None:
    """The best that there is."""
    assert wanted(accept) == form


@pytest.mark.parametrize("accept", ["image/png", "text/html;q=0", "nonsense", "*/*;q=x"])
def test_nothing_wanted(accept: str) -> None:
    """Nothing will do."""
    with pytest.raises(NotAcceptable):
        wanted(accept)


def test_tags_of() -> None:
    """With or without a format; a weak one is none, and what is not ours matches nothing."""
    assert tags_of("*") is None
    assert tags_of(f'"{TAG}.md", "{TAG[::-1]}"') == {TAG, TAG[::-1]}
    assert tags_of(f'W/"{TAG}"') == tags_of('"7"') == tags_of("") == frozenset()
