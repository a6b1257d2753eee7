"""Started by `relay serve` alone: `python -m api_shim --control DESCRIPTOR`."""

import argparse
import sys

from api_shim.shim import Shim
from relay.worker import work

__all__ = ["main"]


def main() -> int:
    """Serve what the supervisor at the other end of the socket assigns; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m api_shim", description="The API process; `relay serve` starts it.")
    parser.add_argument("--control", type=int, required=True)
    return work(parser.parse_args().control, Shim)


if __name__ == "__main__":
    sys.exit(main())
