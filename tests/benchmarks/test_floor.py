"""benchmarks/floor.py, floor.c and bare.py"""

import shutil
import socket
from pathlib import Path

import pytest

from benchmarks._client import framed
from benchmarks.floor import LEAST, Floor, NoCompiler, built, medians

HEAD = "Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"


def joined(port: int, room: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), 5)
    connection.sendall(f"GET /{room} HTTP/1.1\r\n{HEAD}".encode())
    said = b""
    while not said.endswith(b"\r\n\r\n"):
        said += connection.recv(4096)
    assert said.startswith(b"HTTP/1.1 101")
    return connection


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
@pytest.mark.parametrize("kind", LEAST)
def test_an_update_is_copied_to_the_others_of_its_room(tmp_path: Path, kind: str) -> None:
    """To each of them as it came, to nobody in another room, and not back."""
    update = b"\0\2\3abc"
    with Floor(built(tmp_path), {0}, kind) as floor:
        author, reader, stranger = joined(floor.port, "a"), joined(floor.port, "a"), joined(floor.port, "b")
        author.sendall(framed(b"\0\0\1\0") + framed(update) * 2)
        assert _exactly(reader, 16) == (b"\x82\6" + update) * 2
        assert _exactly(author, 7) == b"\x82\5\0\1\2\0\0"
        for other in (author, stranger):
            other.settimeout(0.1)
            with pytest.raises(TimeoutError):
                other.recv(1)
        for one in (author, reader, stranger):
            one.close()


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        assert more
        data += more
    return data


def test_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what is missing."""
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(NoCompiler, match="no-such-compiler"):
        built(tmp_path)


def test_medians_of_quiet_runs() -> None:
    """Disturbed runs count where there are no others; without any, the reason is kept."""

    def result(cpu: float, others: float) -> dict[str, object]:
        return {"cpu_us": cpu, "others": others, "stolen": 0.0, "generator": 0.1, "faults": "none"}

    assert medians([result(4, 0), result(6, 0), result(90, 1)])["cpu_us"] == 5
    assert medians([result(90, 1)])["disturbed"] == 1
    assert medians([{"error": "it was away"}]) == {"failed": "it was away"}
