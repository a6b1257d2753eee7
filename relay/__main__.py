"""The command line: `relay serve`, and what operators need."""

import argparse
import os
import sys
from pathlib import Path

from relay import __version__
from relay.errors import StartError
from relay.serve import serve
from relay.settings import add_arguments, load

__all__ = ["main"]


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(prog="relay", description="A collaboration engine for Yjs editors.")
    top.add_argument("--version", action="version", version=f"materi-relay {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_arguments(commands.add_parser("serve", help="run the relay"))
    return top


def main(argv: list[str] | None = None) -> int:
    """Run a command; the exit status."""
    arguments = parser().parse_args(argv)
    try:
        settings = load(arguments, os.environ, Path.cwd())
        return serve(settings)
    except StartError as error:
        print(f"relay: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
