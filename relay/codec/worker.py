"""A codec process: jobs come in on standard input, results go out on standard output, one at a time.

The only peer is the process that started us. It ends when its input does, so it never outlives the relay.
"""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO

from relay.codec.message import pack, receive
from relay.yjs.compact import compact
from relay.yjs.diff import diff
from relay.yjs.known import Known, summary
from relay.yjs.merge import merge
from relay.yjs.ranges import Ranges
from relay.yjs.update import EMPTY, parse
from relay.yjs.vector import decode_vector

__all__ = ["JOBS", "main", "serve"]

NICE = 10
"""Niceness of a codec process: what it does can wait, what the loop does can't."""


def _summarise(update: bytes, known: bytes | None = None) -> tuple[bytes | None, bytes]:
    """Validate an update: rewritten if not every client could read it as it is, or some of it is in the summary `known`
    and cut out; and which structs it holds."""
    layout = parse(update)
    if known is not None:
        there = Known()
        there.load(known, EMPTY)
        layout = there.add(layout) or parse(EMPTY)
    if not layout.plain:
        layout = parse(merge([layout]))
    structs = {
        client: Ranges((clock, length) for clock, length, _, _ in found) for client, found in layout.structs.items()
    }
    return layout.update if layout.update is not update else None, summary(structs, layout.deletes_at)


def _compact(updates: Sequence[bytes]) -> tuple[bytes, bytes]:
    result = compact(updates)
    return result.state, result.clocks


def _diff(update: bytes, vector: bytes) -> bytes:
    return diff(update, decode_vector(vector))


def _read(updates: Sequence[bytes], form: str) -> bytes:
    from relay.codec.content import read  # pycrdt is needed by this job alone

    content: bytes = read(updates, form)
    return content


JOBS: dict[str, Callable[..., Any]] = {"summarise": _summarise, "compact": _compact, "diff": _diff, "read": _read}


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Answer jobs `(name, arguments)` with `(True, result)` or `(False, exception)` until the input ends."""
    while (job := receive(source)) is not None:
        name, arguments = job
        try:
            answer: tuple[bool, object] = (True, JOBS[name](*arguments))
        except Exception as error:
            answer = (False, error)
        for part in pack(answer):
            sink.write(part)
        sink.flush()


def main() -> None:
    """Serve standard input and output until they end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the relay decides when we end
    os.nice(NICE)
    serve(sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    main()
