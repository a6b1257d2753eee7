"""Editing traces: what people typed, deleted and pasted while they wrote a document, one transaction after the other.

The format is that of https://github.com/josephg/editing-traces: gzipped JSON, `{startContent, endContent, txns:
[{patches: [[position, deleted, inserted], ...]}]}`; where several wrote at once, `kind: "concurrent"`, `numAgents`, and
in each transaction `agent` and `parents`, the transactions that its positions are to be understood behind. What is not
ASCII becomes `_`, as in that collection's `ascii_only` copies: then a character has length 1 however it is counted.
"""

import gzip
import json
import zlib
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["NoTrace", "Patch", "Trace", "Transaction", "read"]

LARGEST = 1 << 28
"""Bytes of a trace, unpacked."""


class NoTrace(ValueError):
    """A file that is no editing trace, or one that contradicts itself; the message says where."""


class Patch(NamedTuple):
    """At a position: that many characters go, and these come."""

    at: int
    deleted: int
    inserted: str


class Transaction(NamedTuple):
    """What one author does at once. parents: in a trace of several authors, the indexes of those that it comes behind,
    without those that these come behind."""

    agent: int
    parents: tuple[int, ...]
    patches: tuple[Patch, ...]


class Trace(NamedTuple):
    """A whole one. agents: authors; text: what is there at the end."""

    name: str
    agents: int
    transactions: list[Transaction]
    text: str


def read(path: Path) -> Trace:
    """The trace in a file, whose positions are looked at when it is replayed. Raises NoTrace, OSError."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise NoTrace(f"{path}: over {LARGEST >> 20} MiB")
        said = json.loads(data)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise NoTrace(f"{path}: cut short or damaged: {error}") from None
    except (ValueError, RecursionError) as error:
        raise error if isinstance(error, NoTrace) else NoTrace(f"{path}: no JSON: {error}") from None
    try:
        return _trace(path.name.partition(".")[0], said)
    except NoTrace as error:
        raise NoTrace(f"{path}: {error}") from None


def _trace(name: str, said: Any) -> Trace:
    if not isinstance(said, dict) or not isinstance(said.get("txns"), list):
        raise NoTrace("an object with `txns` is wanted")
    if not isinstance(said.get("endContent"), str) or said.get("startContent", "") != "":
        raise NoTrace("an `endContent` is wanted, and an empty `startContent`")
    concurrent = said.get("kind") == "concurrent"
    agents: Any = said.get("numAgents") if concurrent else 1
    if not _natural(agents) or not 1 <= agents <= 1000:
        raise NoTrace("`numAgents` is no number of authors")
    transactions: list[Transaction] = []
    for number, each in enumerate(said["txns"]):
        try:
            made = _transaction(each, number, agents) if concurrent else Transaction(0, (), _patches(each))
        except NoTrace as error:
            raise NoTrace(f"transaction {number}: {error}") from None
        if made.patches:
            transactions.append(made)
        elif number < len(said["txns"]) - 1:
            raise NoTrace(f"transaction {number}: no patches")
    if not transactions:
        raise NoTrace("no transactions")
    return Trace(name, agents, transactions, _ascii(said["endContent"]))


def _transaction(said: Any, number: int, agents: int) -> Transaction:
    patches = _patches(said)
    agent, parents = said.get("agent"), said.get("parents")
    if not _natural(agent) or agent >= agents:
        raise NoTrace("`agent` is none of them")
    if not isinstance(parents, list) or not all(_natural(each) and each < number for each in parents):
        raise NoTrace("`parents` are no earlier transactions")
    if bool(parents) != bool(number):
        raise NoTrace("the first transaction, and no other, has no `parents`")
    return Transaction(agent, tuple(parents), patches)


def _patches(said: Any) -> tuple[Patch, ...]:
    if not isinstance(said, dict) or not isinstance(said.get("patches"), list):
        raise NoTrace("`patches` are wanted")
    made = []
    for each in said["patches"]:
        if not isinstance(each, list) or len(each) < 3:
            raise NoTrace("a patch is [position, deleted, inserted]")
        at, deleted, inserted = each[:3]
        if not _natural(at) or not _natural(deleted) or not isinstance(inserted, str) or not (deleted or inserted):
            raise NoTrace("a patch is [position, deleted, inserted]")
        made.append(Patch(at, deleted, _ascii(inserted)))
    return tuple(made)


def _natural(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 31


def _ascii(text: str) -> str:
    return text if text.isascii() else "".join(letter if letter.isascii() else "_" for letter in text)
