"""`relay doctor`: examine this machine and the services for the settings that `relay serve` would have."""

import argparse
import os
from pathlib import Path

import uvloop

from relay import doctor
from relay.cli.output import print_json
from relay.settings import add_arguments, load

__all__ = ["add_flags", "run"]

SETTINGS = (
    "config",
    "host",
    "port",
    "data",
    "database_url",
    "database_read_url",
    "database_pool",
    "redis_url",
    "max_connections",
    "open",
)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `doctor`."""
    parser.add_argument("--json", action="store_true", help="write JSON")
    add_arguments(parser, SETTINGS)


def run(arguments: argparse.Namespace) -> int:
    """Print the findings; 1 when any of them stops or breaks the relay. Raises StartError."""
    settings = load(arguments, os.environ, Path.cwd())
    checks = uvloop.run(
        doctor.examine(
            data=settings.data,
            host=settings.host,
            port=settings.port,
            database_url=settings.database_url,
            database_read_url=settings.database_read_url,
            database_pool=settings.database_pool,
            redis_url=settings.redis_url,
            max_connections=settings.max_connections,
        )
    )
    if arguments.json:
        print_json([check._asdict() for check in checks])
    else:
        print(doctor.render(checks))
    return doctor.exit_code(checks)
