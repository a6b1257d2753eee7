"""What a log line looks like, and what can't break it."""

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest

from relay.log import Json, Sparingly, Text, configure


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level, logging.raiseExceptions
    yield
    root.handlers[:], _, logging.raiseExceptions = before
    root.setLevel(before[1])


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def record(message: str = "room opened", level: int = logging.INFO, **fields: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "relay.room", "msg": message, "levelno": level, "created": 1e9, "msecs": 7.0})
    made.levelname = logging.getLevelName(level)
    vars(made).update(fields)
    return made


def test_json_line() -> None:
    """A line says when, how bad, who, what, and the fields as they are."""
    assert json.loads(Json().format(record(room="a/b", size=5))) == {
        "time": "2001-09-09T01:46:40.007Z",
        "level": "info",
        "logger": "relay.room",
        "message": "room opened",
        "room": "a/b",
        "size": 5,
    }


def test_exception_is_one_field() -> None:
    """A traceback does not spill over other lines."""
    try:
        raise ValueError("boom")
    except ValueError:
        line = Json().format(record(exc_info=sys.exc_info()))
    assert "\n" not in line
    assert json.loads(line)["exception"].endswith("ValueError: boom\n")


@pytest.mark.parametrize(
    "value", ["\ud800", 1 << 70, b"raw", {1: object()}, float("nan"), RuntimeError("x"), {"a", "b"}]
)
def test_any_field_is_written(value: object) -> None:
    """No value of a field loses the line."""
    line = json.loads(Json().format(record(field=value)))
    assert "room opened" in line["message"]
    assert "field" in line


def test_field_does_not_hide_the_line() -> None:
    """A field called like a part of the line can't forge it."""
    assert json.loads(Json().format(record(level="debug", logger="evil", time=0)))["logger"] == "relay.room"


def test_text_line() -> None:
    """People read one line, fields behind."""
    line = Text().format(record(room="a/b", size=5))
    assert line.endswith(" info    relay.room  room opened  room=a/b size=5")


def test_text_escapes_controls() -> None:
    """A room name can neither start a line nor colour the terminal."""
    line = Text().format(record(room="a\nERROR fake\x1b[31m\x9b\ud800"))
    assert "\n" not in line
    assert "\x1b" not in line
    assert "\x9b" not in line
    line.encode()


def test_text_puts_the_exception_below() -> None:
    """Tracebacks keep their lines for people."""
    try:
        raise ValueError("boom")
    except ValueError:
        line = Text().format(record(exc_info=sys.exc_info()))
    assert line.splitlines()[-1] == "ValueError: boom"


def test_colour_marks_severity() -> None:
    """On a terminal a warning is yellow and an ordinary line plain."""
    assert Text(colour=True).format(record(level=logging.WARNING)).startswith("\x1b[33m")
    assert "\x1b" not in Text(colour=True).format(record())


@pytest.mark.parametrize(
    ("format", "stream", "json_"),
    [
        ("auto", io.StringIO(), True),
        ("auto", Terminal(), False),
        ("json", Terminal(), True),
        ("text", io.StringIO(), False),
    ],
)
def test_configure_chooses_the_format(format: str, stream: io.StringIO, json_: bool) -> None:
    """auto means text on a terminal, else JSON lines."""
    configure(format, "info", stream)
    logging.getLogger("relay.test").info("hello", extra={"n": 1})
    logging.getLogger("relay.test").debug("not this")
    assert stream.getvalue().count("\n") == 1
    assert stream.getvalue().startswith("{") is json_


def test_configure_twice_writes_once() -> None:
    """Configuring again replaces, it does not add."""
    stream = io.StringIO()
    configure("json", "info", stream)
    configure("json", "warning", stream)
    logging.getLogger("x").warning("hello")
    logging.getLogger("x").info("not this")
    assert stream.getvalue().count("\n") == 1


def test_broken_pipe_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    """When nobody reads the log any more, work goes on."""
    stream = io.StringIO()
    configure("json", "info", stream)
    stream.close()
    logging.getLogger("x").warning("hello")
    assert capsys.readouterr().err == ""


def test_sparingly_counts_what_it_held() -> None:
    """One of a kind per interval passes and says how many did not."""
    now = [0.0]
    sparingly = Sparingly(10, clock=lambda: now[0])
    assert [sparingly.allows("a") for _ in range(4)] == [0, None, None, None]
    assert sparingly.allows("b") == 0
    now[0] = 10
    assert sparingly.allows("a") == 3
    assert sparingly.allows("a") is None


def test_sparingly_is_bounded() -> None:
    """Kinds that hostile clients make up do not pile up."""
    sparingly = Sparingly(kinds=5)
    for n in range(100):
        sparingly.allows(str(n))
    assert len(sparingly._kinds) == 5
