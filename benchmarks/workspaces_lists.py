"""What does it cost to filter lists by rights, over 10,000 documents of a workspace with 1,000 members?

    python benchmarks/workspaces_lists.py [--shared 0.1] [--json FILE]

300 folders in folders, 30 groups of 60, every document and folder somebody's own, 3 % of the documents and 10 % of the
folders restricted, grants on 100 folders and on a share of the documents; a stranger was given three documents.
Milliseconds of whole queries as another plugin makes them, by people chosen at random: the first page of one workspace
and of all; and of one decision that is not remembered.
"""

import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
from _report import Report, parser

from plugins.workspaces.chain import read
from plugins.workspaces.visible import condition
from relay import embedded
from relay.ids import uuid7
from relay.migrate import migrate, migrations

NOW = datetime.now(UTC)
DOCUMENTS, MEMBERS, FOLDERS, TEAMS = 10_000, 1_000, 300, 30
ROUNDS = 5
LISTED = """
CREATE TABLE listed (id uuid PRIMARY KEY, workspace uuid, title text, updated timestamptz);
CREATE INDEX ON listed (workspace, updated DESC, id DESC)
"""


async def fill(connection: Any, shared: float) -> tuple[UUID, list[UUID]]:
    """A workspace in which this share of the documents has grants of its own; its id and members, the owner first."""
    chance, workspace = random.Random(1), uuid7()
    members, teams, folders, documents = ([uuid7() for _ in range(n)] for n in (MEMBERS, TEAMS, FOLDERS, DOCUMENTS))
    rows = [(id, "folder", chance.choice([workspace, *folders[: n // 4]]), 0.9) for n, id in enumerate(folders)]
    rows += [(id, "document", chance.choice(folders), 0.97) for id in documents]
    granted = {id for id in documents if chance.random() < shared} | set(chance.sample(folders, 100))
    resources = []
    for id, kind, parent, open_ in rows:
        inherits = chance.random() < open_
        node = kind == "folder" or not inherits or id in granted
        resources.append((id, kind, parent, workspace, chance.choice(members), inherits, node))
    grants = [
        (id, chance.choice(teams if kind == "group" else members), kind, chance.choice([0, 1, 3, 7]), NOW)
        for id in granted
        for kind in chance.choices(["group", "user"], k=2)
    ]
    people = [(workspace, one, 127 if n == 0 else chance.choice([1, 7, 7, 7]), NOW) for n, one in enumerate(members)]
    many = connection.executemany
    await connection.execute(
        "INSERT INTO workspaces.workspace (id, name, created, updated) VALUES ($1, 'w', $2, $2)", workspace, NOW
    )
    await connection.execute(
        "INSERT INTO workspaces.resource (id, kind, parent, workspace, node, policy)"
        " VALUES ($1, 'workspace', $1, $1, true, $1)",
        workspace,
    )
    await many("INSERT INTO workspaces.member VALUES ($1, $2, $3, NULL, 1, $4)", people)
    await many("INSERT INTO workspaces.team VALUES ($1, $2, $3, 1, $4)", [(t, workspace, str(t), NOW) for t in teams])
    await many(
        "INSERT INTO workspaces.team_member VALUES ($1, $2, $3, $4)",
        [(team, workspace, one, NOW) for team in teams for one in chance.sample(members, 60)],
    )
    await many(
        "INSERT INTO workspaces.resource (id, kind, parent, workspace, owner, inherits, node, policy)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $1)",
        resources,
    )
    await many(
        "INSERT INTO workspaces.granted VALUES ($1, $2, $3, $4, NULL, NULL, 'x', $5) ON CONFLICT DO NOTHING", grants
    )
    await connection.execute("SELECT workspaces.rebuild($1)", workspace)
    listed = [(id, workspace, f"t{n}", NOW) for n, id in enumerate(documents)]
    await many("INSERT INTO listed VALUES ($1, $2, $3, $4)", listed)
    return workspace, members


async def timed(call: Any, arguments: Sequence[Sequence[object]]) -> tuple[float, float]:
    """Milliseconds, median and 95th percentile."""
    times = []
    for _ in range(ROUNDS):
        for one in arguments:
            began = time.perf_counter()
            await call(*one)
            times.append((time.perf_counter() - began) * 1e3)
    return statistics.median(times), statistics.quantiles(times, n=20)[18]


async def measure(connection: Any, report: Report, shared: float) -> None:
    workspace, members = await fill(connection, shared)
    await connection.execute("VACUUM ANALYZE")
    chance, stranger = random.Random(2), uuid7()
    shown = [row["id"] for row in await connection.fetch("SELECT id FROM listed ORDER BY id LIMIT 300")]
    for id in shown[:3]:
        await connection.execute(
            "INSERT INTO workspaces.granted VALUES ($1, $2, 'user', 1, NULL, NULL, 'x', $3)", id, stranger, NOW
        )
        await connection.execute("UPDATE workspaces.resource SET node = true WHERE id = $1", id)
        await connection.execute("SELECT workspaces.rebuild($1)", id)
    some = chance.sample(members[1:], 40)
    worst = 0.0
    for who, people in (("member", some), ("owner", members[:1] * 20), ("stranger", [stranger] * 20)):
        for what, within in (("workspace", workspace), ("all", None)):
            sql, _ = condition(people[0], "read", NOW, 1, within)
            where = f"workspace = $4 AND {sql}" if within else sql
            page = f"SELECT id, title FROM listed WHERE {where} ORDER BY updated DESC, id DESC LIMIT 51"
            arguments = [condition(one, "read", NOW, 1, within)[1] for one in people]
            rows = len(await connection.fetch(page, *arguments[0]))
            median, p95 = await timed(lambda *a, sql=page: connection.fetch(sql, *a), arguments)
            report.row(shared=shared, who=who, page=what, rows=rows, p50_ms=median, p95_ms=p95)
            worst = max(worst, p95)
    median, p95 = await timed(
        lambda id, who: read(connection, id, who, NOW), [(id, chance.choice(some)) for id in shown]
    )
    report.row(shared=shared, who="member", page="decision", rows=1, p50_ms=median, p95_ms=p95)
    began = time.perf_counter()
    await connection.execute("SELECT workspaces.rebuild($1)", workspace)
    report.row(shared=shared, rebuild_ms=(time.perf_counter() - began) * 1e3)
    report.aim(f"p95 of a page, {shared:.0%} shared, ms", worst, 15)


async def main() -> None:
    made = parser(__doc__)
    made.add_argument("--shared", type=float, nargs="*", default=[0.1, 1.0], help="share of documents with own grants")
    options = made.parse_args()
    report = Report("workspaces_lists", options.json)
    for shared in options.shared:
        with tempfile.TemporaryDirectory() as directory:
            async with await embedded.start(Path(directory, "data"), postgres=True, valkey=False) as services:
                connection = await asyncpg.connect(services.database_url)
                known = migrations("plugins.workspaces.migrations")
                await migrate(connection, known, "workspaces", "plugin workspaces")
                await connection.execute(LISTED)
                await measure(connection, report, shared)
                await connection.close()
    report.write()


if __name__ == "__main__":
    asyncio.run(main())
