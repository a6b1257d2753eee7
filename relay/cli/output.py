"""What commands write: tables and JSON on stdout, progress on stderr where somebody watches."""

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

import orjson

__all__ = ["date", "print_json", "progress", "size", "table"]

RIGHT = frozenset(("size", "segments", "entries", "edits", "bytes", "connections", "rooms", "clients", "unsaved"))
"""Columns of numbers."""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns under their headings, as wide as they need to be."""
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if name in RIGHT else cell.ljust(width) for name, cell, width in zip(head, line, widths)
        ).rstrip()
        for line in lines
    )


def size(count: int) -> str:
    """Bytes for people: `987 B`, `1.2 KiB`."""
    value, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"


def date(when: datetime | float) -> str:
    """A moment (Unix seconds or a datetime) in UTC, to the second."""
    moment = when if isinstance(when, datetime) else datetime.fromtimestamp(when, UTC)
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def print_json(value: object) -> None:
    """One document on stdout, indented."""
    print(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS).decode())


@contextmanager
def progress(what: str) -> Iterator[None]:
    """Say what is going on, on a terminal only, and how long it took when that was more than a moment."""
    if not sys.stderr.isatty():
        yield
        return
    begin = time.monotonic()
    print(f"{what} ...", end="", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        took = time.monotonic() - begin
        print(f"\r\x1b[K{what}: {took:.1f} s\n" if took > 1 else "\r\x1b[K", end="", file=sys.stderr, flush=True)
