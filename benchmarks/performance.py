"""Writes the performance page from the figures in benchmarks/results.

python -m benchmarks.performance > contrib/performance.md
"""

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.compare.measurement import ROOT
from benchmarks.compare.report import rows
from benchmarks.compare.scenarios import SCENARIOS
from benchmarks.floor import PEERS
from benchmarks.model.__main__ import costs_of, fits_of, rows_of
from benchmarks.model.growth import Hosts, Workload, limits
from benchmarks.stages import STAGES

__all__ = ["main", "page"]

RESULTS = ROOT / "benchmarks/results"
WANTED = ("stages", "floor", "flame", "model", "compare")
AIMS = {"pair": 1.0, "room50": 0.75, "rooms100": 0.65, "room500": 0.7, "room50-sat": 0.4, "room500-sat": 0.5,
        "rooms100-sat": 0.3}  # fmt: skip
"""What we want to take of the best peer's CPU."""
OWN = ("unframe", "decode", "check", "novelty", "room", "frame", "pack")
"""Stages that are our code, and neither the kernel's nor uvloop's."""
FLAMES = 0.015
"""Share of the time below which a layer is not listed."""


def page(found: dict[str, Any]) -> str:
    """The whole page. found: the JSON of each of WANTED."""
    parts = [_head(found), _costs(found["model"]), _stages(found["stages"]), _flames(found["flame"]),
             _floor(found["floor"], found["stages"]), _peers(found["compare"]), _users(found["model"]),
             _again()]  # fmt: skip
    return "\n".join("\n".join(part) + "\n" for part in parts)


# -- words and tables --


def number(value: float) -> str:
    """Three digits that matter, thousands set apart."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table; all columns but the first to the right."""
    return [
        "| " + " | ".join(head) + " |",
        "| --- |" + " ---: |" * (len(head) - 1),
        *("| " + " | ".join(cells) + " |" for cells in lines),
        "",
    ]


def _about(users: float) -> str:
    """Two digits: more would be a claim."""
    return f"{float(f'{users:.2g}'):,.0f}"


def _machine(machine: dict[str, Any]) -> str:
    return (f"{machine['processor']}, {machine['cores']} cores, {machine['memory']}, Linux {machine['kernel']}, "
            f"Python {machine['python']}")  # fmt: skip


# -- sections --


def _head(found: dict[str, Any]) -> list[str]:
    runs, disturbed = len(found["compare"]["runs"]), found["compare"]["about"]["disturbed"]
    model, stages = found["model"]["about"], found["stages"]["about"]
    rows = found["floor"]["scenarios"].values()
    floor, floors = (
        sum(row.get(name, 0) for there in rows for row in there.values()) for name in ("disturbed", "runs")
    )
    busy = [
        f"{disturbed} of {runs} runs beside the peers" if disturbed else "",
        f"{model['disturbed']} of {model['runs']} runs of traffic for the model" if model["disturbed"] else "",
        f"{floor} of {floors} runs beside the floor" if floor else "",
        f"the stages ({stages['others']:.2f} of a core)" if stages["others"] > 0.15 else "",
    ]
    said = ", ".join(each for each in busy if each)
    return [
        "# What it costs",
        "",
        "What an edit, a cursor, a join, an idle connection and an idle room cost; how each grows; where the time goes;"
        " how far that is from the least there can be; and what many users take.",
        "",
        f"Measured on {_machine(model['machine'])}, on {model['started'][:10]}: server on one core, load on the other, "
        "loopback. The relay has everything on: journal in Valkey, snapshots in PostgreSQL, metrics. µs are of CPU, "
        "user and system, of all threads. CPU a delivered edit is the steadiest figure; latency is in "
        "[the comparison](../benchmarks/results/compare.md).",
        "",
        (f"**Other processes used the machine meanwhile**, in: {said}. Figures from those are too high rather than too "
         "low." if said else "Nobody else used the machine."),
        "",
        "Written by `python -m benchmarks.performance`; do not edit.",
    ]  # fmt: skip


def _costs(model: dict[str, Any]) -> list[str]:
    found = model["measured"]
    fits = fits_of(found)
    edit, lone, cursor = fits["edit"].terms, fits["lone edit"].terms, fits["cursor"].terms
    warm, cold = fits["warm join"].terms, fits["cold join"].terms
    connection, room, journal = found["connections"], found["rooms"], found["journal"]
    stored, wal, codec = fits["snapshot"].terms, fits["WAL"].terms, fits["compaction"].terms
    busiest = max((row for row in found["traffic"] if row["kind"] == "busy"), key=lambda row: row["entries_per_s"])

    def off(name: str) -> str:
        return f"{fits[name].worst:.0%}"

    lines = [
        ("an edit, in a loaded relay", f"{number(edit['edit'])} + ({number(edit['flush'])} + "
         f"{number(edit['write'])} × readers) ÷ edits a flush µs", off("edit")),
        ("an edit, where nothing else happens", f"{number(lone['edit'])} + {number(lone['write'])} × readers µs",
         off("lone edit")),
        ("a cursor move", f"{number(cursor['move'])} + {number(cursor['write'])} × members µs", off("cursor")),
        ("a join, document in memory", f"{number(warm['join'])} + {number(warm['kb'])} × KB µs", off("warm join")),
        ("a join, document in PostgreSQL", f"{number(cold['join'])} + {number(cold['kb'])} × KB µs", off("cold join")),
        ("an idle connection", f"{number(connection['kb'])} KB; a ping and its answer {number(connection['ping_us'])} "
         "µs, every 30 s, and only if it says nothing", ""),
        ("to connect", f"{number(connection['connect_us'])} µs", ""),
        ("an idle room", f"{number(room['kb'])} KB beside its document", ""),
        (f"{room['rooms']:,} idle rooms", f"{number(room['cpu_ms_per_s'])} ms of CPU a second", ""),
        ("a journal entry (a flush)", f"{number(busiest['valkey_us'])} µs of Valkey at "
         f"{number(busiest['entries_per_s'])} a second; {number(journal['entry_bytes'])} bytes of its memory until the "
         f"document is stored, {number(journal['aof_bytes'])} of its append-only file", ""),
        ("a document open, in Valkey", f"{number(journal['stream_bytes'])} bytes", ""),
        ("to store what was typed", f"PostgreSQL {number(stored['segment'])} µs + {number(stored['byte'])} µs a byte",
         off("snapshot")),
        ("", f"WAL {number(wal['segment'])} bytes + {number(wal['byte'])} a byte, page images after checkpoints apart",
         off("WAL")),
        ("", f"codec process {number(codec['segment'])} µs + {number(codec['byte'])} µs a byte", off("compaction")),
    ]  # fmt: skip
    points = [
        (row["name"], number(row["own_us"]), number(point["formula"]), f"{point['formula'] / row['own_us'] - 1:+.0%}",
         number(row["per_flush"]), f"{row['busy']:.0%}")
        for kind, name in ((("busy", "merged"), "edit"), (("lone",), "lone edit"), (("cursors",), "cursor"))
        for row, point in zip([row for row in found["traffic"] if row["kind"] in kind], fits[name].points)
    ]  # fmt: skip
    return [
        "## The formulas",
        "",
        "Each is a straight line through what was measured; *off by* is the greatest residual.",
        "",
        *table(("what", "cost", "off by"), lines),
        "* **An edit** costs a write for each reader, and nothing that grows with the document. A flush carries what "
        "came in while it was due, so the busier a room, the less each edit costs.",
        "* **A rare edit is dearer** than one of many: the core sleeps in between, and its caches go to others. That "
        "is the price of a quiet machine, and it falls as load rises.",
        "* **A join** is the same bytes for all who join, framed once. One that is cold reads them from PostgreSQL.",
        "* **A client that is open says so** every 15 s (Yjs does that), to all in its room. In large rooms that is "
        "most of what idle people cost.",
        "",
        "<details><summary>What was measured, and what the formula says</summary>",
        "",
        *table(("rooms × members", "measured µs", "formula", "", "edits a flush", "core busy"), points),
        "</details>",
    ]


def _stages(stages: dict[str, Any]) -> list[str]:
    hot, cold = stages["hot"], stages["cold"]
    lines = [
        (stage.what, stage.per, number(hot[stage.name]), number(cold[stage.name]) if stage.name in cold else "",
         f"{stage.budget:g}" + (" **over**" if hot[stage.name] > stage.budget else ""))
        for stage in STAGES
    ]  # fmt: skip
    sizes = list(stages["rooms"]["hot"])
    journal = stages["journal"]
    return [
        "## The way of an edit",
        "",
        "*Hot*: a stage alone, in a tight loop. *Cold*: what it adds where one edit comes every 10 ms. The kernel's "
        "part is in it. The budget is for hot.",
        "",
        *table(("stage", "once for each", "hot µs", "cold µs", "budget"), lines),
        f"Cold, the whole way with one reader is {number(stages['lone'])} µs. Hot, all of it that is our Python (no "
        f"socket, no journal) is {number(stages['path'])} µs: a rare edit costs {stages['lone'] / stages['path']:.0f} "
        "times what it computes; the rest is the kernel, waking up, and caches that are empty. A stage that shows 0 "
        "was less than the noise.",
        "",
        "µs for each reader, when edits come one at a time:",
        "",
        *table(("members of the room", *sizes), [
            (how, *(number(stages["rooms"][how][size]) for size in sizes)) for how in ("hot", "cold")
        ]),
        f"The journal answers one append in {journal['single']['ms']:.2f} ms, and a group of 20 in "
        f"{journal['grouped']['ms']:.2f} ms: {number(journal['single']['us'])} and {number(journal['grouped']['us'])} "
        f"µs of the relay an append, {number(journal['single']['server_us'])} and "
        f"{number(journal['grouped']['server_us'])} µs of Valkey. Readers do not wait for it; the author's \"saved\" "
        "does.",
    ]  # fmt: skip


def _flames(flame: dict[str, Any]) -> list[str]:
    out = ["## Where the time goes", "", "Samples of a loaded relay by py-spy, sleep left out.", ""]
    scenarios = flame["scenarios"]
    names = {"send": "kernel: send", "read": "kernel: receive", "uvloop": "uvloop", "other": "other"}
    layers = dict.fromkeys(layer for each in scenarios.values() for layer in each["shares"])
    shown = [layer for layer in layers if max(each["shares"].get(layer, 0) for each in scenarios.values()) >= FLAMES]
    out += table(("", *scenarios), [
        (names.get(layer, f"`{layer}`"), *(f"{each['shares'].get(layer, 0):.0%}" for each in scenarios.values()))
        for layer in shown
    ])  # fmt: skip
    for name, each in scenarios.items():
        out += [f"![{name}: {SCENARIOS[name].what}](../benchmarks/results/flame_{name}.svg)",
                f"*{name}: {SCENARIOS[name].what}; {each['samples']:,} samples. A module counts with the interpreter "
                "below it.*", ""]  # fmt: skip
    return out[:-1]


def _floor(floor: dict[str, Any], stages: dict[str, Any]) -> list[str]:
    lines, low, left = [], [], []
    for name, there in floor["scenarios"].items():
        least, batch, bare, ours = (there[server] for server in ("floor", "batch", "uvloop", "relay"))
        peers = [row for server, row in there.items() if server in PEERS and "cpu_us" in row]
        if any("failed" in row for row in (least, batch, bare, ours)):
            lines.append((name, "failed", *[""] * 8))
            continue
        best = min((row["cpu_us"] for row in peers), default=None)
        wanted = AIMS[name] * best if best is not None and name in AIMS else None
        reached = batch["cpu_us"] if name.endswith("-sat") else bare["cpu_us"]
        if wanted is not None and wanted < 1.3 * reached < 1.3 * ours["cpu_us"]:
            low.append(f"`{name}` ({wanted / reached:.2f} times)")
        if wanted is not None and not name.endswith("-sat"):
            readers = SCENARIOS[name].clients - 1
            left.append(f"{number((wanted - bare['cpu_us']) * readers)} in `{name}`")
        faster = max((row["per_s"] for row in peers), default=None)
        lines.append((
            name, number(least["cpu_us"]), number(batch["cpu_us"]), number(bare["cpu_us"]), number(ours["cpu_us"]),
            number(ours["cpu_us"] - ours["own_cpu_us"]), number(best) if best else "",
            f"{ours['cpu_us'] / best:.2f}" if best else "", f"{AIMS[name]:g}, {number(wanted)} µs" if wanted else "",
            f"{number(ours['per_s'])} : {number(faster)}" if name.endswith("-sat") and faster else "",
        ))  # fmt: skip
    return [
        "## How far from the least",
        "",
        "[floor.c](../benchmarks/floor.c) is a relay in bare C: it copies what comes in to the others of the room, and "
        "knows no document, no journal, no check of anything. What it costs is the kernel's TCP, which every server "
        "pays. *Batched*: what is for one client in one turn leaves in one send. [bare.py](../benchmarks/bare.py) does "
        "the same as the first on Python and uvloop: above `floor.c` it has the interpreter, and what the relay has "
        "above `bare.py` is what it does: checks, log, journal, metrics, and two more processes. All in turns, "
        "µs of CPU a delivered edit, all processes:",
        "",
        *table(("scenario", "C", "C, batched", "bare uvloop", "relay", "of it Valkey, PostgreSQL", "best peer",
                "relay : peer", "aim", "delivered a second, relay : peer"), lines),
        "Where every edit leaves by itself nobody can be below C: a saturated room may, for it merges, and many edits "
        "are one send.",
        *([
            "",
            f"**Where the aim is what copying alone takes**: {', '.join(low)} of bare uvloop's CPU, in saturated rooms "
            "of batched C's. Those check nothing and keep nothing; what the aim leaves for checks, log, journal and "
            "metrics is less than these take with empty caches (the table before).",
        ] if low else []),
        *([
            "",
            f"**What the aim leaves for all else than copying**, µs an edit: {', '.join(left)}. Our own stages alone, "
            f"without sockets and journal, take {number(stages['path'])} hot and "
            f"{number(sum(stages['cold'][one] for one in OWN))} cold (the table before), which is what an interpreter "
            "needs to get its code and data back into empty caches; at a thousand edits a second it is between the "
            "two.",
        ] if left else []),
    ]  # fmt: skip


def _peers(compare: dict[str, Any]) -> list[str]:
    made = rows(compare["runs"])
    servers = [name for name in ("relay", "hocuspocus", "y-websocket", "pycrdt") if any(r.server == name for r in made)]
    lines = []
    for scenario in dict.fromkeys(row.scenario.name for row in made):
        there = {row.server: row for row in made if row.scenario.name == scenario}
        cells = [
            (number(there[server].median["cpu_us"]) + ("" if there[server].quiet else " ~"))
            if server in there and "cpu_us" in there[server].median else ""
            for server in servers
        ]  # fmt: skip
        if any(cells):
            lines.append((f"{scenario}: {there[next(iter(there))].scenario.what}", *cells))
    return [
        "## Beside others",
        "",
        "µs of CPU a delivered edit, connection or join, all processes of a server counted; the peers run in memory. "
        "`~`: others used the machine in every run of it. Latencies, throughput, spread and plots: "
        "[compare.md](../benchmarks/results/compare.md).",
        "",
        *table(("scenario", *servers), lines),
    ][:-1]


def _users(model: dict[str, Any]) -> list[str]:
    work, hosts, costs = Workload(), Hosts(), costs_of(model["measured"])
    first, *lines = rows_of(work, hosts, costs)
    full = limits(work, hosts, costs)
    process, *others = full
    return [
        "## Many users",
        "",
        f"By those formulas, at the busiest moment: all users connected, {work.active:.0%} of them typing "
        f"{work.edits_per_second:g} keys a second (each with a cursor move), {work.reading:.0%} reading "
        f"({work.reader_moves_per_second:g} moves a second), the rest idle, all saying every {work.renewal:g} s that "
        f"they are there; {work.joins_per_hour:g} joins an hour each, {work.cold:.0%} of them cold, documents of "
        f"{work.document_kb:g} KB; shares of the users by members of their document: {work.room_size}. Every one of "
        "these is a flag: `python -m benchmarks.model --no-measure --active 0.2 --room-size 2:0.5,30:0.5`.",
        "",
        *table((first[0], *first[1]), [(what, *cells) for what, cells in lines]),
        f"**What is full first:** {process[0]}, at {_about(process[1])} users; {process[2]}. Then:",
        "",
        *(f"{place}. {what}, at {_about(users)} users: {then}." for place, (what, users, then) in enumerate(others, 1)),
        "",
        "Nodes scale out because rooms share nothing; what they share is Redis and PostgreSQL, and those are the "
        "limits of a cluster. Edits are taken to come one at a time, which is the dear case.",
        "",
        "Left out: the API, plugins and their events, TLS (a balancer's), a room open on two nodes at once, deploys, "
        "the page images of checkpoints. It is an extrapolation from one machine: measure yours.",
    ]  # fmt: skip


def _again() -> list[str]:
    return [
        "## To repeat it",
        "",
        *table(("what", "how"), [
            ("formulas, many users", "`python -m benchmarks.model`: under four minutes"),
            ("stages and budgets", "`python -m benchmarks.stages`; with `--check`, exit status 1 when over"),
            ("floor", "`python -m benchmarks.floor`; needs a C compiler"),
            ("flame graphs", "`python -m benchmarks.flame`; needs the right to trace a process"),
            ("all of these, and this page", "`make bench-model`: under 20 minutes"),
            ("beside the peers", "`make bench`: under 20 minutes"),
            ("single questions (keystroke by document size, opening, idle rooms, workers)", "`make bench-engine`"),
        ]),
    ][:-1]  # fmt: skip


def main() -> int:
    try:
        found = {name: json.loads((RESULTS / f"{name}.json").read_text()) for name in WANTED}
    except FileNotFoundError as error:
        print(f"{Path(error.filename).name} is missing: make bench bench-model", file=sys.stderr)
        return 1
    sys.stdout.write(page(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
