"""`relay rooms`: look at documents, take them out and put edits in, set them aside, delete them."""

import argparse
import os
import sys
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

from relay.cli import output
from relay.cli.check import check
from relay.cli.inspect import Inspected, inspect
from relay.cli.repair import repair
from relay.cli.services import SETTINGS, Services, connect
from relay.cli.where import where
from relay.errors import CodecDied, Malformed, Quarantined, RelayError
from relay.journal import Entry
from relay.log import configure
from relay.room import outside
from relay.settings import add_arguments, load
from relay.snapshot import RoomInfo
from relay.types import Actor, Edit, Position, RoomId

__all__ = ["add_commands", "run"]

Command = Callable[[Services, argparse.Namespace], Awaitable[int]]
MAX_NAME = 512
NEVER = Position(0, 0, 0)


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands of `rooms`."""
    commands = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def command(name: str, help: str, *, room: bool = True, json: bool = False) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help, description=f"{help[0].upper()}{help[1:]}.")
        if room:
            added.add_argument("room", metavar="ROOM", type=_room, help="the document's name")
        if json:
            added.add_argument("--json", action="store_true", help="write JSON")
        add_arguments(added, SETTINGS)
        return added

    listing = command("list", "list documents by name", room=False, json=True)
    listing.add_argument("--prefix", default="", help="only names that begin so")
    listing.add_argument("--limit", type=_count, default=100, help="at most so many [100]")
    command("show", "say what is stored of a document", json=True)
    export = command("export", "write a document out")
    export.add_argument("--format", choices=("yjs", "json", "text"), default="yjs", help="[yjs: one update]")
    export.add_argument("--output", type=Path, metavar="FILE", help="instead of standard output")
    entry = command("import", "add an update to a document, as a client does; nothing is replaced")
    entry.add_argument("file", metavar="FILE", type=Path, help="a Yjs update; - for standard input")
    entry.add_argument("--format", choices=("yjs",), default="yjs")
    entry.add_argument("--actor", default="", help="whose edit the history says it is [nobody's]")
    delete = command("delete", "delete a document with its history; whoever is in it is sent away")
    delete.add_argument("--yes", action="store_true", help="don't ask")
    aside = command("quarantine", "set a document aside: nobody may open it until it is released")
    aside.add_argument("--reason", required=True, help="for whoever wonders")
    command("release", "let people open a quarantined document again")
    places = command(
        "where", "which relays have a document open; without one, which relays there are", room=False, json=True
    )
    places.add_argument("room", metavar="ROOM", type=_room, nargs="?", help="the document's name")
    checking = command(
        "check", "compare what is stored of a document with its history and its relays", room=False, json=True
    )
    which = checking.add_mutually_exclusive_group(required=True)
    which.add_argument("room", metavar="ROOM", type=_room, nargs="?", help="the document's name")
    which.add_argument("--all", action="store_true", help="every stored document, one after the other")
    repairing = command("repair", "store a damaged document anew, from its history and what can be read of it")
    repairing.add_argument("--yes", action="store_true", help="do it; else only say what would be done")
    repairing.add_argument("--even-empty", action="store_true", help="also where nothing at all can be read")
    history = command("history", "who wrote when", json=True)
    history.add_argument("--limit", type=_count, default=50, help="the latest so many entries [50]")


def run(arguments: argparse.Namespace) -> int:
    """Run a subcommand; the exit status. Raises RelayError."""
    configure("text", "warning")
    settings = load(arguments, os.environ, Path.cwd())
    if arguments.action == "delete" and not arguments.yes and not _sure(arguments.room):
        return 2

    async def work() -> int:
        async with connect(settings) as services:
            return await ACTIONS[arguments.action](services, arguments)

    return uvloop.run(work())


def _room(name: str) -> RoomId:
    """As the relay checks it (relay.server.channel)."""
    if not 0 < len(os.fsencode(name)) <= MAX_NAME or not name.isprintable():
        raise argparse.ArgumentTypeError(f"a document name has 1 to {MAX_NAME} bytes and no control characters")
    return RoomId(name)


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError("a whole number from 1")
    return int(text)


def _sure(room: RoomId) -> bool:
    if not sys.stdin.isatty():
        print("relay: deleting needs --yes where nobody can be asked", file=sys.stderr)
        return False
    print(f"Delete {room} with its history, for good? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


# -- looking --


async def _list(services: Services, arguments: argparse.Namespace) -> int:
    prefix, limit = arguments.prefix, arguments.limit
    with output.progress("listing"):
        found: dict[RoomId, RoomInfo | None] = {
            room: None for room in await services.journal.rooms() if room.startswith(prefix)
        }
        for info in await services.snapshots.list(prefix, limit=limit):
            found[info.room] = info
        rooms = [
            {
                "room": room,
                "size": info.size if info else 0,
                "segments": info.segments if info else 0,
                "entries": await services.journal.length(room),
                "written": output.date(info.written) if info else None,
                "quarantined": info.quarantined if info else None,
            }
            for room, info in sorted(found.items())[:limit]
        ]
    if arguments.json:
        output.print_json(rooms)
        return 0
    rows = [
        (
            str(room["room"]),
            output.size(int(str(room["size"]))),
            str(room["segments"]),
            str(room["entries"]),
            str(room["written"] or "not yet"),
            str(room["quarantined"] or ""),
        )
        for room in rooms
    ]
    if rows:
        print(output.table(("room", "size", "segments", "entries", "written", "quarantined"), rows))
    if len(rows) == limit:
        print(f"the first {limit}; more with --limit", file=sys.stderr)
    return 0


async def _show(services: Services, arguments: argparse.Namespace) -> int:
    with output.progress("reading"):
        found: Inspected | None = await inspect(services.journal, services.snapshots, arguments.room)
    if found is None:
        return _unknown(arguments.room)
    if arguments.json:
        output.print_json(found.as_json())
    else:
        print(found)
    return 0


async def _history(services: Services, arguments: argparse.Namespace) -> int:
    room = arguments.room
    latest: deque[Entry] = deque(maxlen=arguments.limit)
    after: Position | None = None
    with output.progress("reading"):
        while page := await services.snapshots.history(room, after):
            latest += page
            after = page[-1].position
        while page := await services.journal.read(room, after, None):
            latest += page
            after = page[-1].position
    if not latest:
        return _unknown(room)
    rows = [
        {
            "time": output.date(entry.position.ms / 1000),
            "actor": actor,
            "edits": sum(edit.actor == actor for edit in entry.edits),
            "bytes": sum(len(edit.update) for edit in entry.edits if edit.actor == actor),
            "node": entry.node,
            "position": str(entry.position),
        }
        for entry in latest
        for actor in dict.fromkeys(edit.actor for edit in entry.edits)
    ]
    if arguments.json:
        output.print_json(rows)
    else:
        head = ("time", "actor", "edits", "bytes", "node", "position")
        print(output.table(head, [[str(row[name]) or "-" for name in head] for row in rows]))
    return 0


# -- taking out, putting in --


async def _export(services: Services, arguments: argparse.Namespace) -> int:
    room, target = arguments.room, arguments.output
    with output.progress("reading"):
        if await services.snapshots.info(room) is None and not await services.journal.length(room):
            return _unknown(room)
        segments, entries = await outside.read(services.journal, services.snapshots, room, even_quarantined=True)
    updates = [segment.state for segment in segments] + [edit.update for entry in entries for edit in entry.edits]
    with output.progress("writing"):
        if arguments.format == "yjs":
            content, _ = await services.codec.compact(updates)
        else:
            content = await services.codec.read(updates, arguments.format)
            content += b"" if content.endswith(b"\n") else b"\n"
    if target is None or str(target) == "-":
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return 0
    try:
        target.write_bytes(content)
    except OSError as error:
        raise RelayError(f"can't write {target}: {error.strerror}") from None
    print(f"{room}: {output.size(len(content))} written to {target}", file=sys.stderr)
    return 0


async def _import(services: Services, arguments: argparse.Namespace) -> int:
    room, file = arguments.room, arguments.file
    try:
        update = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise RelayError(f"can't read {file}: {error.strerror}") from None
    try:
        with output.progress("checking"):
            update, _ = await services.codec.summarise(update)
    except (Malformed, CodecDied) as error:
        raise RelayError(f"{file} is not a Yjs update, nothing was changed: {error}") from None
    try:
        there = await outside.write(services.journal, services.snapshots, room, [Edit(Actor(arguments.actor), update)])
    except Quarantined as error:
        raise RelayError(f"{room} is quarantined ({error}), nothing was changed; release it first") from None
    await services.hint(room)
    print(f"{room}: {output.size(len(update))} added at {there}", file=sys.stderr)
    return 0


# -- setting aside --


async def _delete(services: Services, arguments: argparse.Namespace) -> int:
    room = arguments.room
    existed = await outside.delete(services.journal, services.snapshots, room)
    await services.hint(room)
    if not existed:
        return _unknown(room)
    print(f"{room}: deleted", file=sys.stderr)
    return 0


async def _quarantine(services: Services, arguments: argparse.Namespace) -> int:
    await services.snapshots.quarantine(arguments.room, arguments.reason)
    await services.hint(arguments.room)
    print(f"{arguments.room}: quarantined", file=sys.stderr)
    return 0


async def _release(services: Services, arguments: argparse.Namespace) -> int:
    if not await services.snapshots.release(arguments.room):
        print(f"relay: {arguments.room} is not quarantined", file=sys.stderr)
        return 1
    print(f"{arguments.room}: released", file=sys.stderr)
    return 0


def _unknown(room: RoomId) -> int:
    print(f"relay: nothing is stored of {room}", file=sys.stderr)
    return 1


ACTIONS: dict[str, Command] = {
    "list": _list,
    "show": _show,
    "export": _export,
    "import": _import,
    "delete": _delete,
    "quarantine": _quarantine,
    "release": _release,
    "history": _history,
    "where": where,
    "check": check,
    "repair": repair,
}
