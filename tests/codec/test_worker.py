"""What runs in a codec process."""

import io
import subprocess
import sys

import pytest
from fakes import deletes, held, rough, typed

from relay.codec.message import pack, receive
from relay.codec.worker import JOBS, serve
from relay.errors import Malformed
from relay.yjs.known import Known
from relay.yjs.update import parse
from relay.yjs.vector import encode_vector


def ask(*jobs: tuple[str, tuple[object, ...]]) -> list[tuple[bool, object]]:
    """The answers of one serving process to jobs."""
    sink = io.BytesIO()
    serve(io.BytesIO(b"".join(piece for job in jobs for piece in pack(job))), sink)
    sink.seek(0)
    answers = []
    while (answer := receive(sink)) is not None:
        answers.append(answer)
    return answers


def test_answers_in_order() -> None:
    """Each job is answered, in order; one that fails does not end the next."""
    first, second, third = ask(
        ("summarise", (typed(1, 0),)), ("summarise", (b"\1\1",)), ("diff", (typed(1, 0, "ab"), encode_vector({1: 1})))
    )
    assert first[0]
    assert not second[0]
    assert isinstance(second[1], Malformed)
    assert held([third[1]]) == {(1, 1)}  # type: ignore[list-item]


def test_summary_fits_its_update() -> None:
    """A summary loads with the update that it is of."""
    update = typed(1, 0, "abc")
    rewritten, clocks = JOBS["summarise"](update)
    assert rewritten is None
    known = Known()
    known.load(clocks, update)
    assert known.vector() == {1: 3}


def test_summary_of_a_rough_update() -> None:
    """An update that Yjs would misread comes back rewritten, and the summary is of that."""
    rewritten, clocks = JOBS["summarise"](rough(1, 0, ["ab", "cd"]))
    assert parse(rewritten).plain
    known = Known()
    known.load(clocks, rewritten)
    assert known.vector() == {1: 4}


def test_compact() -> None:
    """Many updates become one that holds the same."""
    state, _ = JOBS["compact"]([typed(1, 0), typed(1, 1), b"\0\1\1\1\0\1"])
    assert held([state]) == {(1, 0), (1, 1)}
    assert deletes([state]) == {(1, 0)}


def test_read() -> None:
    """The content of a document, for people."""
    assert JOBS["read"]([typed(1, 0, "hello")], "text") == b"hello"


def test_ends_with_its_input() -> None:
    """The process ends when whoever started it does, and ignores Ctrl-C until then."""
    process = subprocess.Popen([sys.executable, "-m", "relay.codec.worker"], stdin=-1, stdout=-1)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.writelines(pack(("summarise", (b"\0\0",))))
    process.stdin.flush()
    assert receive(process.stdout)[0]
    process.send_signal(2)
    process.stdin.close()
    assert process.wait(10) == 0
    process.stdout.close()


@pytest.mark.parametrize("job", sorted(JOBS))
def test_jobs_are_methods_of_the_pool(job: str) -> None:
    """Every job is offered by the pool under its name."""
    from relay.codec.pool import CodecPool

    assert hasattr(CodecPool, job)
