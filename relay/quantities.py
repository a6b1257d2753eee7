"""How the values of settings are written: sizes, durations, counts, switches, lists.

Each kind reads text (environment, flags) and TOML values alike, and shows a value the way a person would write it.
"""

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

__all__ = ["COUNT", "NUMBER", "PATH", "SECONDS", "SIZE", "SWITCH", "TEXT", "WORDS", "Kind", "choice", "url"]


class Kind(NamedTuple):
    """unit: for the reference page. read: raises ValueError that says what is wanted. show: the inverse of `read`."""

    unit: str
    read: Callable[[object], Any]
    show: Callable[[Any], str] = str


def _quantity(units: Mapping[str, float], wanted: str) -> Callable[[object], float]:
    def read(raw: object) -> float:
        if isinstance(raw, str):
            found = re.fullmatch(r"(\d[\d_]*(?:\.\d+)?)\s*([A-Za-z]*)", raw.strip(), re.ASCII)
            if found and found[2].lower() in units:
                return float(found[1].replace("_", "")) * units[found[2].lower()]
        elif isinstance(raw, int | float) and not isinstance(raw, bool) and math.isfinite(raw):
            return float(raw)
        raise ValueError(wanted)

    return read


def _text(raw: object) -> str:
    if isinstance(raw, str):
        return raw.strip()
    raise ValueError("text")


def _count(raw: object) -> int:
    if isinstance(raw, str) and re.fullmatch(r"\d[\d_]{0,18}", raw.strip(), re.ASCII):
        return int(raw.replace("_", ""))
    if isinstance(raw, int) and not isinstance(raw, bool):
        return raw
    raise ValueError("a whole number")


def _number(raw: object) -> float:
    if isinstance(raw, str) and re.fullmatch(r"\d{1,15}(\.\d{1,9})?", raw.strip(), re.ASCII):
        return float(raw)
    if isinstance(raw, int | float) and not isinstance(raw, bool) and math.isfinite(raw):
        return float(raw)
    raise ValueError("a number")


def _switch(raw: object) -> bool:
    words = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    if isinstance(raw, str) and raw.strip().lower() in words:
        return words[raw.strip().lower()]
    if isinstance(raw, bool):
        return raw
    raise ValueError("true or false")


def _path(raw: object) -> Path:
    try:
        return Path(_text(raw)).expanduser()
    except (ValueError, RuntimeError):
        raise ValueError("a path") from None


def _words(raw: object) -> tuple[str, ...]:
    words = raw.split(",") if isinstance(raw, str) else raw
    if isinstance(words, list) and all(isinstance(word, str) for word in words):
        return tuple(word.strip() for word in words if word.strip())
    raise ValueError("a list of words, or words separated by commas")


def url(*schemes: str) -> Kind:
    """A URL of one of these schemes."""
    wanted = f"a URL that begins with {' or '.join(f'{scheme}://' for scheme in schemes)}"

    def read(raw: object) -> str:
        text = _text(raw)
        try:
            known = urlsplit(text).scheme in schemes
        except ValueError:
            known = False
        if not known:
            raise ValueError(wanted)
        return text

    return Kind("URL", read)


def choice(*words: str) -> Kind:
    """One of these words."""

    def read(raw: object) -> str:
        if isinstance(raw, str) and raw.strip().lower() in words:
            return raw.strip().lower()
        raise ValueError(f"one of {', '.join(words)}")

    return Kind("|".join(words), read)


def _show_size(size: int) -> str:
    for unit, scale in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size and size % scale == 0:
            return f"{size // scale}{unit}"
    return str(size)


def _show_time(seconds: float) -> str:
    return f"{seconds * 1e3:g}ms" if 0 < seconds < 1 else f"{seconds:g}s"


_SIZES = {"": 1, "b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}
_TIMES = {"": 1, "ms": 1e-3, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_size = _quantity(_SIZES, "a size such as 65536 (bytes), 64KiB or 5MB")
_time = _quantity(_TIMES, "a duration such as 30s, 500ms, 2m, 90d or 1.5 (seconds)")

TEXT = Kind("text", _text)
COUNT = Kind("count", _count)
NUMBER = Kind("number", _number, "{:g}".format)
SIZE = Kind("bytes", lambda raw: round(_size(raw)), _show_size)
SECONDS = Kind("seconds", _time, _show_time)
SWITCH = Kind("switch", _switch, lambda on: str(on).lower())
PATH = Kind("path", _path)
WORDS = Kind("list", _words, ", ".join)
