"""The command line: `relay serve`, and what operators need."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from relay import __version__
from relay.cli import doctor, rooms, token
from relay.errors import RelayError
from relay.serve import serve
from relay.settings import add_arguments, load
from relay.worker import work

__all__ = ["main"]


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(prog="relay", description="A collaboration engine for Yjs editors.")
    top.add_argument("--version", action="version", version=f"materi-relay {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_arguments(commands.add_parser("serve", help="run the relay"))
    rooms.add_commands(commands.add_parser("rooms", help="look at documents, export, import, set aside, delete them"))
    doctor.add_flags(commands.add_parser("doctor", help="examine this machine and the services"))
    token.add_token_flags(commands.add_parser("token", help="sign a token, for development"))
    token.add_key_flags(commands.add_parser("keys", help="make a key pair for tokens"))
    plugins = commands.add_parser("plugins", help="list the plugins that are installed, or show some")
    plugins.add_argument("name", nargs="*", help="show these with their settings")
    plugins.add_argument("--json", action="store_true", help="as JSON")
    # Started by the supervisor alone; without `help` it is not listed.
    commands.add_parser("worker").add_argument("--control", type=int, required=True)
    return top


def main(argv: list[str] | None = None) -> int:
    """Run a command; the exit status: 0 done, 1 failed, 2 wrong usage."""
    arguments = parser().parse_args(argv)
    try:
        match arguments.command:
            case "rooms":
                return rooms.run(arguments)
            case "doctor":
                return doctor.run(arguments)
            case "token":
                return token.make_token(arguments)
            case "keys":
                return token.make_keys(arguments)
            case "plugins":
                # The engine imports no plugin, not even to list it.
                flags = ["--json"] if arguments.json else []
                return subprocess.call([sys.executable, "-m", "api_shim", *flags, "--list", *arguments.name])
            case "worker":
                return work(arguments.control)
        return serve(load(arguments, os.environ, Path.cwd()))
    except RelayError as error:
        print(f"relay: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Whoever reads us (head, less) has had enough; the interpreter must not try to flush once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
