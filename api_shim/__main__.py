"""Started by `relay`: `python -m api_shim --control DESCRIPTOR` serves, `--list` lists plugins."""

import argparse
import sys

from api_shim import listing
from api_shim.shim import Shim
from relay.worker import work

__all__ = ["main"]


def main() -> int:
    """Serve what the supervisor at the other end of the socket assigns, or list plugins; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m api_shim", description="The API process; `relay serve` starts it.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--control", type=int)
    what.add_argument("--list", nargs="*")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.list is not None:
        return listing.main(arguments.list, arguments.json)
    return work(arguments.control, Shim)


if __name__ == "__main__":
    sys.exit(main())
