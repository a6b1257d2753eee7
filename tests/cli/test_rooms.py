"""`relay rooms`, against stores and against a running relay (a process of its own) whose rooms are open."""

import io
import json
import logging
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pycrdt
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from relay.__main__ import main
from relay.codec.content import read
from relay.yjs.lib0 import read_bytes, write_bytes

DOCUMENTS = {
    name: bytes.fromhex(update)
    for name, update in json.loads((Path(__file__).parents[1] / "codec" / "documents.json").read_text()).items()
}
PATIENCE = 30.0


class Done(NamedTuple):
    """What a command wrote."""

    stdout: bytes
    stderr: bytes


Run = Callable[..., Done]


@pytest.fixture(scope="module")
def urls(valkey: Any, postgres: str) -> dict[str, str]:
    return {"DATABASE_URL": postgres, "REDIS_URL": valkey.url}


@pytest.fixture
def rooms(
    urls: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsysbinary: pytest.CaptureFixture[bytes],
) -> Iterator[Run]:
    """Runs `relay rooms ...` on the stores."""
    for name, url in urls.items():
        monkeypatch.setenv(name, url)
    monkeypatch.chdir(tmp_path)
    handlers = logging.root.handlers[:]

    def run(*arguments: str, code: int = 0, stdin: bytes = b"") -> Done:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(stdin), isatty=lambda: False))
        try:
            status = main(["rooms", *arguments])
        except SystemExit as wrong:
            status = int(wrong.code or 0)
        done = Done(*capsysbinary.readouterr())
        assert status == code, done.stderr.decode()
        return done

    yield run
    logging.root.handlers[:] = handlers


@pytest.fixture
def said(rooms: Run) -> Callable[..., Any]:
    """The JSON that `relay rooms ... --json` writes."""
    return lambda *arguments: json.loads(rooms(*arguments, "--json").stdout)


@pytest.fixture(scope="module")
def relay(urls: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a running relay that stores what has been quiet for a tenth of a second."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    home = tmp_path_factory.mktemp("relay")
    command = [sys.executable, "-m", "relay", "serve", "--port", str(port), "--snapshot-idle", "0.1"]
    command += ["--drain-timeout", "2", "--reconnect-jitter", "0"]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(command, env=os.environ | urls, stdout=log, stderr=log, cwd=home)
    try:
        eventually(lambda: ready(port))
        yield port
    finally:
        process.terminate()
        process.wait(30)


def ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def eventually(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)
    return found


class Editor:
    """A y-websocket client with a document."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.doc = pycrdt.Doc[Any]()
        self.text = self.doc.get("t", type=pycrdt.Text)
        self.socket.send(b"\0\0\1\0")
        self.hear(lambda: self.synced)

    synced = False

    def hear(self, until: Callable[[], Any]) -> None:
        """Take in what the relay says until something is so."""
        deadline = time.monotonic() + PATIENCE
        while not until():
            message = self.socket.recv(max(0.0, deadline - time.monotonic()))
            assert isinstance(message, bytes)
            if message[0] == 0 and message[1] in (1, 2):
                update, _ = read_bytes(message, 2)
                self.doc.apply_update(update)
                self.synced = self.synced or message[1] == 1

    def type(self, words: str) -> None:
        """Edit, and wait until it is saved: the author's echo."""
        before = self.doc.get_state()
        self.text += words
        update = self.doc.get_update(before)
        self.socket.send(b"\0\2" + write_bytes(update))
        while self.socket.recv(PATIENCE) != b"\0\2" + write_bytes(update):
            pass

    def sent_away(self) -> int:
        """The code that the relay closes with."""
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                self.socket.recv(PATIENCE)
        assert closed.value.rcvd is not None
        return closed.value.rcvd.code


@pytest.fixture
def edit(relay: int) -> Iterator[Callable[[str], Editor]]:
    """Opens a room in an editor; closed at the end."""
    with ExitStack() as stack:
        url = f"ws://127.0.0.1:{relay}/ws/"
        yield lambda room: Editor(stack.enter_context(connect(url + room, compression=None)))


# -- stores alone --


def test_import_then_look(rooms: Run, said: Callable[..., Any], tmp_path: Path) -> None:
    """An imported update is in the list, the inspection, the history and every export."""
    file = tmp_path / "update"
    file.write_bytes(DOCUMENTS["xml"])
    rooms("import", "look/1", str(file), "--actor", "ann")
    rooms("import", "look/2", "-", stdin=DOCUMENTS["texts"])
    listed = said("list", "--prefix", "look/")
    assert [(room["room"], room["entries"], room["quarantined"]) for room in listed] == [
        ("look/1", 1, None),
        ("look/2", 1, None),
    ]
    assert [room["room"] for room in said("list", "--prefix", "look/", "--limit", "1")] == ["look/1"]
    shown = said("show", "look/1")
    assert (shown["vector"], shown["gaps"], shown["broken"], shown["segments"]) == ({"3": 61}, False, [], [])
    assert (shown["journal"]["entries"], shown["journal"]["bytes"]) == (1, len(DOCUMENTS["xml"]))
    (entry,) = said("history", "look/1")
    assert (entry["actor"], entry["edits"], entry["bytes"]) == ("ann", 1, len(DOCUMENTS["xml"]))
    assert rooms("export", "look/1", "--format", "text").stdout.startswith(b"Hello <world> & all\nHi , one\n")
    assert json.loads(rooms("export", "look/2", "--format", "json").stdout)["again"] == {"type": "text", "value": "def"}
    rooms("export", "look/1", "--output", str(tmp_path / "out"))
    assert read([(tmp_path / "out").read_bytes()], "json") == read([DOCUMENTS["xml"]], "json")
    assert b"\nlook/1 " in rooms("list").stdout
    assert b"\n  3: 61\n" in rooms("show", "look/1").stdout
    assert b"Z  ann " in rooms("history", "look/1").stdout


def test_import_refuses_what_is_no_update(rooms: Run) -> None:
    """Malformed bytes change nothing, not even that the room exists."""
    assert b"not a Yjs update" in rooms("import", "refused", "-", stdin=b"\x01\x02", code=1).stderr
    assert b"nothing is stored" in rooms("show", "refused", code=1).stderr


def test_quarantined_room_is_kept_and_shown(rooms: Run, said: Callable[..., Any]) -> None:
    """A room set aside refuses imports, can still be exported, and is as it was when released."""
    rooms("import", "aside", "-", stdin=DOCUMENTS["texts"])
    rooms("quarantine", "aside", "--reason", "looks odd")
    assert said("show", "aside")["quarantined"] == "looks odd"
    assert b"looks odd" in rooms("import", "aside", "-", stdin=DOCUMENTS["xml"], code=1).stderr
    assert b"def" in rooms("export", "aside", "--format", "text").stdout
    rooms("release", "aside")
    assert b"not quarantined" in rooms("release", "aside", code=1).stderr
    assert said("show", "aside")["quarantined"] is None


def test_delete_asks(rooms: Run) -> None:
    """Without a terminal to ask on, deleting needs --yes; an unknown room is a failure."""
    rooms("import", "gone", "-", stdin=DOCUMENTS["texts"])
    assert b"--yes" in rooms("delete", "gone", code=2).stderr
    rooms("show", "gone")
    rooms("delete", "gone", "--yes")
    for command in (("show",), ("history",), ("export",), ("delete", "--yes")):
        assert b"nothing is stored" in rooms(command[0], "gone", *command[1:], code=1).stderr


def test_wrong_usage(rooms: Run) -> None:
    """What the command line can't mean ends with 2."""
    for arguments in ((), ("show",), ("show", "a\nb"), ("list", "--limit", "0"), ("quarantine", "x")):
        rooms(*arguments, code=2)


# -- with a relay in whose memory the rooms are --


def test_import_into_an_open_room(edit: Callable[[str], Editor], rooms: Run, said: Callable[..., Any]) -> None:
    """Whoever is in the room sees what is imported at once, and all of it survives the relay's next snapshots."""
    editor = edit("open")
    editor.type("before ")
    page = editor.doc.get("page", type=pycrdt.XmlFragment)
    rooms("import", "open", "-", stdin=DOCUMENTS["xml"])
    editor.hear(lambda: "world" in str(page))
    editor.type("after")
    eventually(lambda: said("show", "open")["journal"]["unstored"] == 0)
    exported = rooms("export", "open", "--format", "text").stdout.decode()
    assert exported.startswith("Hello <world> & all\n")
    assert exported.endswith("\n\nbefore after\n")
    editor.socket.close()
    assert str(edit("open").text) == "before after"


def test_delete_an_open_room(edit: Callable[[str], Editor], rooms: Run, said: Callable[..., Any]) -> None:
    """Whoever is in it is sent away for good, nobody brings it back, and the name may begin again."""
    editor = edit("doomed")
    editor.type("stored")
    eventually(lambda: said("show", "doomed")["segments"])
    editor.type(" and not stored")
    rooms("delete", "doomed", "--yes")
    assert editor.sent_away() == 4410
    assert b"nothing is stored" in rooms("show", "doomed", code=1).stderr
    again = edit("doomed")
    assert str(again.text) == ""
    again.type("anew")
    eventually(lambda: said("show", "doomed")["segments"])
    assert rooms("export", "doomed", "--format", "text").stdout == b"anew\n"


def test_quarantine_an_open_room(edit: Callable[[str], Editor], rooms: Run) -> None:
    """Whoever is in it is sent away, nobody comes in, and after the release all is there."""
    editor = edit("locked")
    editor.type("precious")
    rooms("quarantine", "locked", "--reason", "test")
    assert editor.sent_away() == 4423
    with pytest.raises(ConnectionClosed) as refused:
        edit("locked")
    assert refused.value.rcvd is not None
    assert refused.value.rcvd.code == 4423
    rooms("release", "locked")
    again = edit("locked")
    assert str(again.text) == "precious"
