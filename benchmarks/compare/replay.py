"""A trace as Yjs updates: the document before a stretch of it, and then each transaction as its author sends it.

pycrdt makes them: every author has a document of its own, which is given exactly what that author's positions presume.
They are kept below the cache directory, by trace and by this code, for making them takes seconds.
"""

import base64
import hashlib
import json
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pycrdt import Doc, Text, TransactionEvent

from benchmarks.compare import attribution, habits, traces, typist, updates
from benchmarks.compare.attribution import Edit
from benchmarks.compare.traces import NoTrace, Trace, Transaction, read
from benchmarks.compare.updates import FIRST, Ranges, changes_in

__all__ = ["AUTHORS", "Script", "Step", "load", "prepared", "script", "stretch", "text_of"]

PAST = 1000
"""Client id of the first author in what was written before; who writes on has another, as after a reload."""
AUTHORS = 8
"""At most, of a trace."""
ROOT = "text"
NOTHING = b"\0\0"
"""An update that changes nothing."""
PIECE = 1000
"""Transactions of the past that are made as one."""
PATIENCE = 120.0
"""Seconds that making a script may take."""


class Step(NamedTuple):
    """A transaction. number: which of its author's edits, -1 where nothing tells that it arrived; needs: (other
    author, how many of its edits this one presumes)."""

    writer: int
    number: int
    needs: tuple[tuple[int, int], ...]
    update: bytes


class Script(NamedTuple):
    """What happens in a room. past: the document that is there; text: what it is at the end."""

    trace: str
    writers: int
    past: bytes
    steps: list[Step]
    edits: list[Edit]
    text: str


class _Author:
    """One author's document, as it is on its own machine."""

    def __init__(self, client: int, state: bytes = b"") -> None:
        self.doc: Doc[Any] = Doc(client_id=client)
        self.text = self.doc.get(ROOT, type=Text)
        if state:
            self.doc.apply_update(state)
        self._update = NOTHING
        self._watch = self.doc.observe(self._changed)

    def _changed(self, event: TransactionEvent) -> None:
        self._update = event.update

    def do(self, *transactions: Transaction) -> bytes:
        """The update by which others learn of these, all at once. Raises NoTrace where there is no such place."""
        self._update = NOTHING
        with self.doc.transaction():
            for at, deleted, inserted in (patch for transaction in transactions for patch in transaction.patches):
                if at + deleted > len(self.text):
                    raise NoTrace(f"a patch at {at} + {deleted} in a document of {len(self.text)}")
                if deleted:
                    del self.text[at : at + deleted]
                if inserted:
                    self.text.insert(at, inserted)
        return self._update


def script(trace: Trace, live: int, first: int = 0) -> Script:
    """`live` transactions of a trace as steps, all before them as the past; `first`: of the client ids.

    They are those of its second half that are most like the whole of it, in how many only insert, only delete, do both,
    and are not made behind the one before. Raises NoTrace where positions or the text at the end are wrong,
    TimeoutError when it takes over PATIENCE.
    """
    if trace.agents > AUTHORS:
        raise NoTrace(f"{trace.name}: {trace.agents} authors; {AUTHORS} at most can be replayed")
    ends = time.monotonic() + PATIENCE
    cut = stretch(trace, live)
    until = min(cut + live, len(trace.transactions))
    authors = [_Author(PAST + first + agent) for agent in range(trace.agents)]
    if trace.agents == 1:
        text = _spliced(trace, until)
        past, made = _alone(trace, cut, until, authors[0], first, ends)
        versions: list[tuple[int, ...]] = [(number + 1,) for number in range(until)]
    else:
        past, made, versions = _together(trace, cut, authors, first, ends)
        if str(authors[0].text) != trace.text:
            raise NoTrace(f"{trace.name}: at the end there is not its `endContent`")
        text = text_of([past, *made[: until - cut]])
    steps, edits = _steps(trace.transactions[cut:until], made[: until - cut], versions[:until], cut)
    return Script(trace.name, trace.agents, past, steps, edits, text)


def stretch(trace: Trace, live: int) -> int:
    """Where the `live` transactions begin that are most like the whole."""

    def mix(transactions: Sequence[Transaction], start: int) -> list[float]:
        kinds = [0.0] * 4
        for number, (_, parents, patches) in enumerate(transactions, start):
            kinds[bool(patches[0].deleted) * (1 + bool(patches[0].inserted))] += 1
            kinds[3] += trace.agents > 1 and parents != (number - 1,)
        return [kind / len(transactions) for kind in kinds]

    def unlike(start: int) -> float:
        return sum(abs(a - b) for a, b in zip(mix(trace.transactions[start : start + live], start), whole, strict=True))

    whole = mix(trace.transactions, 0)
    count = len(trace.transactions)
    last = max(0, count - live)
    return min(range(min(last, count // 2), last + 1, max(1, live // 2)), key=unlike)


def _spliced(trace: Trace, until: int) -> str:
    """The text of one author's trace behind so many transactions, without a CRDT. Raises NoTrace."""
    content = bytearray()
    text = ""
    for number, (_, _, patches) in enumerate(trace.transactions, 1):
        for at, deleted, inserted in patches:
            if at + deleted > len(content):
                raise NoTrace(f"{trace.name}: a patch at {at} + {deleted} in a document of {len(content)}")
            content[at : at + deleted] = inserted.encode()
        if number == until:
            text = content.decode()
    if content.decode() != trace.text:
        raise NoTrace(f"{trace.name}: at the end there is not its `endContent`")
    return text


def _alone(trace: Trace, cut: int, until: int, author: _Author, first: int, ends: float) -> tuple[bytes, list[bytes]]:
    for number in range(0, cut, PIECE):
        _patience(number, ends)
        author.do(*trace.transactions[number : min(cut, number + PIECE)])
    past = bytes(author.doc.get_update())
    author = _Author(FIRST + first, past)
    return past, [author.do(transaction) for transaction in trace.transactions[cut:until]]


def _together(
    trace: Trace, cut: int, authors: list[_Author], first: int, ends: float
) -> tuple[bytes, list[bytes], list[tuple[int, ...]]]:
    """Each does what it does behind what it knows; the first is given all in the end."""
    everything: list[bytes] = []
    versions: list[tuple[int, ...]] = []
    of: list[list[int]] = [[] for _ in authors]  # of each author, its transactions
    known = [[0] * len(authors) for _ in authors]  # to each author, how many of each one's
    past = NOTHING
    for number, transaction in enumerate(trace.transactions):
        _patience(number, ends)
        if number == cut:
            past = _merged(everything)
            authors[:] = [_Author(FIRST + first + agent, it.doc.get_update()) for agent, it in enumerate(authors)]
        agent = transaction.agent
        version = list(known[agent])
        for parent in transaction.parents:
            version = [max(pair) for pair in zip(version, versions[parent], strict=True)]
        if version[agent] != len(of[agent]):
            raise NoTrace(f"{trace.name}: an author does two things at once, in transaction {number}")
        _give(authors[agent], everything, of, known[agent], version)
        everything.append(authors[agent].do(transaction))
        of[agent].append(number)
        version[agent] += 1
        known[agent] = version
        versions.append(tuple(version))
    _give(authors[0], everything, of, known[0], [len(each) for each in of])
    return past, everything[cut:], versions


def _give(author: _Author, everything: list[bytes], of: list[list[int]], had: list[int], has: list[int]) -> None:
    for number in sorted(n for mine, old, new in zip(of, had, has, strict=True) for n in mine[old:new]):
        author.doc.apply_update(everything[number])


def _merged(everything: list[bytes]) -> bytes:
    doc: Doc[Any] = Doc()
    for update in everything:
        doc.apply_update(update)
    return bytes(doc.get_update())


def _patience(number: int, ends: float) -> None:
    if number % PIECE == 0 and time.monotonic() > ends:
        raise TimeoutError(f"transaction {number} was not reached in {PATIENCE:g} s")


def _steps(
    transactions: list[Transaction], made: list[bytes], versions: list[tuple[int, ...]], cut: int
) -> tuple[list[Step], list[Edit]]:
    changes = [changes_in(update) for update in made]
    deletes: dict[tuple[int, int], int] = {}
    for _, deleted in changes:
        for client, clock, end in deleted:
            for each in range(clock, end):
                deletes[client, each] = deletes.get((client, each), 0) + 1
    agents = len(versions[0])
    before = list(versions[cut - 1]) if cut and agents == 1 else [0] * agents
    if agents > 1:
        for version in versions[:cut]:
            before = [max(pair) for pair in zip(before, version, strict=True)]
    numbers: list[list[int]] = [[0] for _ in range(agents)]  # of each author, edits that were told until its nth
    steps: list[Step] = []
    edits: list[Edit] = []
    for transaction, update, (inserted, deleted), version in zip(
        transactions, made, changes, versions[cut:], strict=True
    ):
        agent = transaction.agent
        own = [(client, each) for client, clock, end in deleted for each in range(clock, end)]
        told: Ranges = [(client, each, each + 1) for client, each in own if deletes[client, each] == 1]
        number = numbers[agent][-1]
        numbers[agent].append(number + bool(inserted or told))
        needs = tuple(
            (other, numbers[other][has - had])
            for other, (has, had) in enumerate(zip(version, before, strict=True))
            if other != agent and has > had
        )
        if inserted or told:
            edits.append(Edit(agent, number, inserted, told))
        steps.append(Step(agent, number if inserted or told else -1, needs, update))
    return steps, edits


def text_of(messages: Iterable[bytes]) -> str:
    """The text of the document that updates make."""
    doc: Doc[Any] = Doc()
    text = doc.get(ROOT, type=Text)
    for update in messages:
        doc.apply_update(update)
    return str(text)


# -- keeping --


def prepared(name: str, cache: Path, live: int, first: int) -> Path:
    """The file with the script of a trace: of a public one's habits by name, or of one in a file. Raises NoTrace."""
    given = Path(name)
    source = given if given.suffix in (".gz", ".json") else habits.PROFILES / f"{name}.json"
    code = b"".join(Path(str(m.__file__)).read_bytes() for m in (sys.modules[__name__], attribution, habits, traces,
                                                                 typist, updates))  # fmt: skip
    stamp = hashlib.sha256(source.read_bytes() + code + f"{live} {first}".encode()).hexdigest()[:16]
    path = cache / "traces" / f"{source.name.partition('.')[0]}-{stamp}.json"
    if not path.exists():
        print(f"replaying {name} once, for its updates ...", file=sys.stderr, flush=True)
        started = time.monotonic()
        made = script(read(given) if source is given else typist.written(habits.profile(name), first), live, first)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(_said(made)))
        partial.replace(path)
        print(f"  {len(made.steps):,} transactions live, behind {len(made.past):,} bytes; "
              f"{time.monotonic() - started:.1f} s", file=sys.stderr, flush=True)  # fmt: skip
    return path


def _said(made: Script) -> dict[str, Any]:
    steps = [[*step[:3], base64.b64encode(step.update).decode()] for step in made.steps]
    return made._asdict() | {"past": base64.b64encode(made.past).decode(), "steps": steps}


def load(path: Path) -> Script:
    """The script in a file that `prepared` wrote."""
    said = json.loads(path.read_text())
    steps = [
        Step(writer, number, tuple((other, count) for other, count in needs), base64.b64decode(update))
        for writer, number, needs, update in said["steps"]
    ]
    edits = [
        Edit(writer, number, *([(c, at, end) for c, at, end in ranges] for ranges in both))
        for writer, number, *both in said["edits"]
    ]
    return Script(said["trace"], said["writers"], base64.b64decode(said["past"]), steps, edits, said["text"])
