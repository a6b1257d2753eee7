"""Kinds of files by their first bytes, and how they are offered."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.documents.kinds import allowed, disposition, kind_of, plain_name


@pytest.mark.parametrize(
    ("declared", "head", "kind"),
    [
        ("image/png", b"\x89PNG\r\n\x1a\n....", "image/png"),
        ("application/octet-stream", b"\xff\xd8\xff\xe0", "image/jpeg"),
        ("image/webp", b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        ("text/plain", b"%PDF-1.7", "application/pdf"),
        ("image/png", b"<script>alert(1)</script>", None),
        ("image/svg+xml", b"<svg onload=alert(1)>", "image/svg+xml"),
        ("text/html\r\nX: y", b"", "application/octet-stream"),
        ("nonsense", b"", "application/octet-stream"),
    ],
)
def test_kind_of(declared: str, head: bytes, kind: str | None) -> None:
    """Bytes that tell win over what is declared; a picture must be one."""
    assert kind_of(declared, head) == kind


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("C:\\x\\report.pdf", "report.pdf"),
        ("..", "file"),
        ("/", "file"),
        ("a\0b\r\nc.txt", "abc.txt"),
        ("gpj.\u202eexe", "gpj.exe"),
        ("Übersicht 日本.txt", "Übersicht 日本.txt"),
    ],
)
def test_plain_name(name: str, plain: str) -> None:
    """No folders, nothing that nobody sees."""
    assert plain_name(name) == plain


@given(st.text(max_size=300), st.sampled_from(["image/png", "text/html", "image/svg+xml"]))
def test_disposition_is_one_header(name: str, kind: str) -> None:
    """Whatever a file is called, the header is one line of ASCII, and only safe pictures are shown in place."""
    header = disposition(kind, plain_name(name))
    assert header.isascii()
    assert header.isprintable()
    assert header.count('"') == 2
    assert header.startswith("inline" if kind == "image/png" else "attachment")


def test_allowed() -> None:
    """By patterns."""
    assert allowed("image/png", ("image/*",))
    assert not allowed("text/html", ("image/*", "text/plain"))
