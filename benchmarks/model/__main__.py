"""What things cost, as formulas; and with those, what 10,000 to 250,000 users take.

python -m benchmarks.model [--seconds 1.5] [--json PATH]               measure and fit; under four minutes
python -m benchmarks.model --no-measure --active 0.2 --room-size 2:0.5,30:0.5 --cores 16
"""

import argparse
import dataclasses
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.compare.__main__ import pinned
from benchmarks.compare.machine import Moment, described
from benchmarks.compare.measurement import DISTURBED, ROOT
from benchmarks.model import measure
from benchmarks.model.fit import Fit, fitted
from benchmarks.model.growth import Costs, Hosts, Workload, limits, needed, parsed_sizes

__all__ = ["costs_of", "fits_of", "main", "rows_of"]

USERS = (10_000, 50_000, 250_000)
KEEPALIVE = 30.0
"""Seconds, the relay's default."""


def measured(seconds: float) -> dict[str, Any]:
    """Everything, in order of how much it would disturb."""
    cores = pinned("", 0), pinned("", 1)
    return {
        "traffic": measure.edits_and_cursors(*cores, seconds),
        "joins": measure.joins(),
        "connections": measure.idle_connections(),
        "rooms": measure.idle_rooms(),
        "journal": measure.journal_memory(),
        "snapshots": measure.snapshots(),
    }


def fits_of(found: dict[str, Any]) -> dict[str, Fit]:
    """The formulas, µs (of WAL: bytes)."""
    traffic = found["traffic"]
    edits = [row for row in traffic if row["kind"] in ("busy", "merged")]
    lone = [row for row in traffic if row["kind"] == "lone"]
    cursors = [row for row in traffic if row["kind"] == "cursors"]
    made = {
        "edit": fitted([
            ({"edit": 1.0, "flush": 1 / row["per_flush"], "write": (row["size"] - 1) / row["per_flush"]}, row["own_us"])
            for row in edits
        ]),
        "lone edit": fitted([({"edit": 1.0, "write": row["size"] - 1.0}, row["own_us"]) for row in lone]),
        "cursor": fitted([({"move": 1.0, "write": float(row["size"])}, row["own_us"]) for row in cursors]),
    }  # fmt: skip
    for kind in ("warm", "cold"):
        rows = [row for row in found["joins"] if row["kind"] == kind]
        made[f"{kind} join"] = fitted([({"join": 1.0, "kb": row["kb"]}, row["own_us"]) for row in rows])
    for name, figure in (("snapshot", "postgres_us"), ("WAL", "wal"), ("compaction", "codec_us")):
        made[name] = fitted(
            [({"segment": 1.0, "byte": row["bytes_per_store"]}, row[figure]) for row in found["snapshots"]]
        )
    return made


def costs_of(found: dict[str, Any]) -> Costs:
    """For the extrapolation. Loaded rooms count, not lone ones: that is how nodes are at the busiest moment."""
    fits = fits_of(found)
    traffic = found["traffic"]
    busiest = max((row for row in traffic if row["kind"] == "busy"), key=lambda row: row["entries_per_s"])
    cursors = [row for row in traffic if row["kind"] == "cursors"]
    largest = max((row for row in found["joins"] if row["kind"] == "cold"), key=lambda row: row["kb"])
    usual = sorted(found["snapshots"], key=lambda row: row["bytes_per_store"])[1]
    return Costs(
        edit=fits["edit"].terms,
        cursor=fits["cursor"].terms,
        warm=fits["warm join"].terms,
        cold=fits["cold join"].terms,
        connection_kb=found["connections"]["kb"],
        room_kb=found["rooms"]["kb"],
        ping_us=found["connections"]["ping_us"],
        keepalive=KEEPALIVE,
        held_per_byte=max(1.0, largest["held_per_byte"]),
        valkey_us=busiest["valkey_us"],
        entry_bytes=found["journal"]["entry_bytes"],
        aof_bytes=found["journal"]["aof_bytes"],
        snapshot=fits["snapshot"].terms,
        wal=fits["WAL"].terms,
        codec=fits["compaction"].terms,
        kept_per_byte=usual["kept_per_byte"],
        frame_bytes=busiest["frame_bytes"],
        cursor_bytes=max(row["frame_bytes"] for row in cursors),
    )


def rows_of(work: Workload, hosts: Hosts, costs: Costs) -> list[tuple[str, list[str]]]:
    """The extrapolation as a table: what, and how much of it for each of USERS."""
    needs = [needed(users, work, hosts, costs) for users in USERS]
    by_use = [sorted(need.relay.items(), key=lambda use: -use[1]) for need in needs]
    return [
        ("users", [f"{users:,}" for users in USERS]),
        ("documents open", [f"{need.load.rooms:,.0f}" for need in needs]),
        ("edits typed / delivered a second", [f"{n.load.edits:,.0f} / {n.load.delivered:,.0f}" for n in needs]),
        ("cursor moves said / delivered a second", [f"{n.load.moves:,.0f} / {n.load.moved:,.0f}" for n in needs]),
        ("relay cores used", [f"{need.cores:.1f}" for need in needs]),
        ("of them", [", ".join(f"{name} {cores:.1f}" for name, cores in uses if cores >= 0.05) for uses in by_use]),
        (f"relay nodes of {hosts.cores} cores, {hosts.headroom:.0%} used, and one more", [f"{n.nodes}" for n in needs]),
        ("memory of all relays, GB", [f"{need.memory_gb:.1f}" for need in needs]),
        ("network out, Mbit/s", [f"{need.mbit:,.0f}" for need in needs]),
        ("Redis: commands a second", [f"{need.redis_ops:,.0f}" for need in needs]),
        ("Redis: cores", [f"{need.redis_cores:.2f}" for need in needs]),
        ("Redis: memory, MB; append-only file, MB/s", [f"{n.redis_mb:,.0f}; {n.aof_mb:.1f}" for n in needs]),
        ("PostgreSQL: segments stored a second", [f"{need.stores:,.0f}" for need in needs]),
        ("PostgreSQL: cores", [f"{need.postgres_cores:.2f}" for need in needs]),
        ("PostgreSQL: WAL, MB/s", [f"{need.wal_mb:.2f}" for need in needs]),
        ("PostgreSQL: GB more a month", [f"{need.storage_gb:.1f}" for need in needs]),
    ]


def _flags(arguments: argparse.ArgumentParser, of: Any, title: str) -> None:
    group = arguments.add_argument_group(title)
    for field in dataclasses.fields(of):
        group.add_argument(f"--{field.name.replace('_', '-')}", type=type(field.default), default=field.default,
                           help="default: %(default)s")  # fmt: skip


def _made(of: Any, options: argparse.Namespace) -> Any:
    return of(**{field.name: getattr(options, field.name) for field in dataclasses.fields(of)})


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--json", type=Path, default=ROOT / "benchmarks/results/model.json")
    arguments.add_argument("--no-measure", action="store_true", help="take what is in that file")
    arguments.add_argument("--seconds", type=float, default=1.5, help="of traffic measured, each time")
    _flags(arguments, Workload, "workload")
    _flags(arguments, Hosts, "hosts")
    options = arguments.parse_args()
    try:
        work, hosts = _made(Workload, options), _made(Hosts, options)
        parsed_sizes(work.room_size)
    except ValueError as error:
        arguments.error(str(error))
    if options.no_measure:
        found = json.loads(options.json.read_text())["measured"]
    else:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers are stopped with us
        began, about = Moment(os.getpid()), {"started": time.strftime("%Y-%m-%d %H:%M"), "machine": described()}
        found = measured(options.seconds)
        rows = found["traffic"]
        about |= {"disturbed": sum(row["others"] > DISTURBED for row in rows), "runs": len(rows),
                  "took_s": round(Moment(os.getpid()).since(began).seconds)}  # fmt: skip
        fits = {name: fit._asdict() for name, fit in fits_of(found).items()}
        options.json.write_text(json.dumps({"about": about, "measured": found, "fits": fits}, indent=1) + "\n")
    for name, fit in fits_of(found).items():
        formula = " + ".join(f"{value:.4g} {term}" for term, value in fit.terms.items())
        print(f"{name:10} = {formula}   (residuals up to {fit.worst:.0%})")
    costs = costs_of(found)
    for what, cells in rows_of(work, hosts, costs):
        print(f"{what:62}" + "".join(f"{cell:>24}" for cell in cells))
    for what, users, then in limits(work, hosts, costs):
        print(f"full at {users:>12,.0f} users: {what} ({then})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
