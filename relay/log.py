"""Logs: one line an event, JSON for machines or text for people, with the fields given as `extra={...}`.

    log.info("room opened", extra={"room": room, "size": size})

writes `{"time": "2025-01-01T12:00:00.000Z", "level": "info", "logger": "relay.room", "message": "room opened", ...}`.
Messages are constant; what varies is a field, so that they can be counted and searched.
"""

import logging
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any, TextIO

import orjson

__all__ = ["Json", "Sparingly", "Text", "configure"]

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_COLOURS = {"DEBUG": "\x1b[2m", "INFO": "", "WARNING": "\x1b[33m", "ERROR": "\x1b[31m", "CRITICAL": "\x1b[1;31m"}
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if code != 0x0A}


def configure(format: str, level: str, stream: TextIO | None = None) -> None:
    """Send all logs to `stream` (stderr). `format`: json, text, or auto, which is text on a terminal.

    Called once, by the composition root; replaces the handlers that were there.
    """
    stream = stream or sys.stderr
    handler = logging.StreamHandler(stream)
    terminal = stream.isatty()
    if format == "text" or (format == "auto" and terminal):
        handler.setFormatter(Text(colour=terminal))
    else:
        handler.setFormatter(Json())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # A log that can't be written (the reader of the pipe has gone) must not print a traceback per event.
    logging.raiseExceptions = False


class Json(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message, the fields, and `exception` as one string."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        # A field never hides what the line itself says.
        line |= {key: value for key, value in _fields(record).items() if key not in line}
        if trace := _exception(record):
            line["exception"] = trace
        try:
            return orjson.dumps(line, default=repr, option=orjson.OPT_NON_STR_KEYS).decode()
        except (TypeError, ValueError):
            # A surrogate, an integer over 64 bits, or nesting without end, in one of the fields.
            plain = {key: repr(value).encode("ascii", "backslashreplace").decode() for key, value in line.items()}
            return orjson.dumps(plain).decode()


class Text(logging.Formatter):
    """`12:00:00.000 warning relay.room  message  key=value ...`, the exception below; control characters escaped."""

    def __init__(self, colour: bool = False) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        clock = f"{time.strftime('%H:%M:%S', time.localtime(record.created))}.{int(record.msecs):03}"
        fields = "".join(f" {key}={value}" for key, value in _fields(record).items())
        head = (
            f"{clock} {record.levelname.lower():7} {record.name}  {record.getMessage()}{' ' if fields else ''}{fields}"
        )
        line = head.replace("\n", "\\n")
        if trace := _exception(record):
            line += "\n" + trace.rstrip()
        # Room names and client names come from outside and must not drive the terminal.
        line = line.translate(_CONTROLS).encode("utf-8", "backslashreplace").decode()
        colour = _COLOURS.get(record.levelname, "") if self._colour else ""
        return f"{colour}{line}\x1b[0m" if colour else line


class Sparingly:
    """Lets one event of a kind through per `every` seconds; `allows` says how many were held back before it.

    if (held := self._sparingly.allows("slow reader")) is not None:
        log.warning("slow reader skipped", extra={"also": held})
    """

    def __init__(self, every: float = 10.0, kinds: int = 1000, clock: Callable[[], float] = time.monotonic) -> None:
        self._every, self._most, self._clock = every, kinds, clock
        self._kinds: dict[str, tuple[float, int]] = {}

    def allows(self, kind: str) -> int | None:
        """None = not this time; else how many events of the kind went unlogged since the last."""
        now = self._clock()
        then, held = self._kinds.pop(kind, (float("-inf"), 0))
        if now - then < self._every:
            self._kinds[kind] = (then, held + 1)
            return None
        if len(self._kinds) >= self._most:
            del self._kinds[next(iter(self._kinds))]
        self._kinds[kind] = (now, 0)
        return held


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


def _exception(record: logging.LogRecord) -> str:
    if not record.exc_info or record.exc_info[1] is None:
        return ""
    return "".join(traceback.format_exception(record.exc_info[1]))
