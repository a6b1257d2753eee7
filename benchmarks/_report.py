"""What a benchmark found: a table for people, JSON for programs, and whether it is what was aimed at."""

import argparse
import json
import os
import platform
from pathlib import Path
from typing import Any

from relay import __version__

__all__ = ["Report", "parser"]


def parser(doc: str | None) -> argparse.ArgumentParser:
    """Of a benchmark's command line: its docstring is the help, and every one takes `--json`."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--json", type=Path, metavar="PATH", help="write the figures there too")
    return made


class Report:
    """`name`: of the benchmark. Rows are printed as they come."""

    def __init__(self, name: str, path: Path | None) -> None:
        self._name = name
        self._path = path
        self._rows: list[dict[str, Any]] = []
        self._aims: list[dict[str, Any]] = []

    def row(self, **cells: Any) -> None:
        """One line of the table; the first one's names are the header. Floats are shown with three digits."""
        if not self._rows or list(self._rows[-1]) != list(cells):
            print("  ".join(f"{name:>{_width(name)}}" for name in cells))
        print("  ".join(f"{_shown(value):>{_width(name)}}" for name, value in cells.items()), flush=True)
        self._rows.append(cells)

    def aim(self, what: str, found: float, most: float | None = None, *, least: float | None = None) -> None:
        """What was aimed at, and what was found."""
        met = (most is None or found <= most) and (least is None or found >= least)
        bound = f"at most {most:g}" if most is not None else f"at least {least:g}"
        print(f"{what}: {_shown(found)} ({bound}: {'met' if met else 'MISSED'})", flush=True)
        self._aims.append({"what": what, "found": found, "most": most, "least": least, "met": met})

    def write(self) -> None:
        """The JSON, if it was asked for."""
        if self._path is not None:
            machine = {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()}
            whole = {"benchmark": self._name, "version": __version__, "machine": machine}
            self._path.write_text(json.dumps(whole | {"rows": self._rows, "aims": self._aims}, indent=1) + "\n")


def _width(name: str) -> int:
    return max(9, len(name))


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return str(value)
