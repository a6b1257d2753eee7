"""The rule against a slow and obvious reading of it, in random workspaces: decisions, explanations, lists."""

import itertools
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from api_shim.ids import uuid7
from api_shim.services import Permission
from plugins.workspaces import tree
from plugins.workspaces.chain import read
from plugins.workspaces.rights import BITS, RIGHTS, combined, exceeds, floor, permissions
from plugins.workspaces.visible import condition
from relay.migrate import migrate, migrations
from relay.types import Actor

NOW = datetime(2030, 1, 1, tzinfo=UTC)
SOME_RIGHTS = (0, 1, 3, 7, 63, combined(["share"]), combined(["write", "delete"]))


@pytest.fixture
async def database(postgres: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(postgres)
    await migrate(connection, migrations("plugins.workspaces.migrations"), "workspaces", "plugin workspaces")
    yield connection
    await connection.close()


@dataclass
class Node:
    kind: str
    parent: UUID
    owner: UUID | None
    inherits: bool = True


@dataclass
class World:
    """Everything that was said, in dictionaries."""

    nodes: dict[UUID, Node] = field(default_factory=dict)
    members: dict[tuple[UUID, UUID], int] = field(default_factory=dict)
    teams: dict[UUID, tuple[UUID, set[UUID]]] = field(default_factory=dict)
    grants: dict[tuple[UUID, UUID], tuple[str, int, datetime | None]] = field(default_factory=dict)
    trashed: set[UUID] = field(default_factory=set)

    def workspace(self, resource: UUID) -> UUID:
        while self.nodes[resource].kind != "workspace":
            resource = self.nodes[resource].parent
        return resource

    def rights(self, who: UUID, resource: UUID) -> int:
        """The rule as it is written, a sentence at a time."""
        workspace = self.workspace(resource)
        if workspace in self.trashed:
            return 0
        member = self.members.get((workspace, who))
        if member is not None and member & 64:
            return 127
        while True:
            node = self.nodes[resource]
            here = {
                subject: (kind, rights)
                for (at, subject), (kind, rights, expires) in self.grants.items()
                if at == resource and (expires is None or expires > NOW)
            }
            if who in here:
                return here[who][1]
            if node.kind != "workspace" and node.owner == who and member is not None and member & 4:
                return 127
            said = [rights for subject, (_, rights) in here.items() if subject in self.teams and who in
                    self.teams[subject][1]]  # fmt: skip
            if node.kind == "workspace" and member is not None:
                said.append(member)
            if 0 in said:
                return 0
            if said:
                together = 0
                for one in said:
                    together |= one
                return together
            if node.kind == "workspace" or not node.inherits:
                return 0
            resource = node.parent


async def make(connection: Any, chance: random.Random) -> tuple[World, list[UUID]]:
    """Random workspaces, made by the same functions that requests use."""
    world = World()
    accounts = [uuid7() for _ in range(5)]
    link = uuid7()
    for _ in range(2):
        workspace = uuid7()
        world.nodes[workspace] = Node("workspace", workspace, None)
        await connection.execute(
            "INSERT INTO workspaces.workspace (id, name, created, updated) VALUES ($1, 'w', $2, $2)", workspace, NOW
        )
        await connection.execute(
            "INSERT INTO workspaces.resource (id, kind, parent, workspace, node, policy)"
            " VALUES ($1, 'workspace', $1, $1, true, $1)",
            workspace,
        )
        await connection.execute("SELECT workspaces.rebuild($1)", workspace)
        for account in accounts:
            if chance.random() < 0.7:
                rights = chance.choice([*RIGHTS.values(), combined(["share"])])
                world.members[workspace, account] = rights
                await connection.execute(
                    "INSERT INTO workspaces.member VALUES ($1, $2, $3, NULL, 1, $4)", workspace, account, rights, NOW
                )
        for _ in range(2):
            team = uuid7()
            people = {who for who in accounts if (workspace, who) in world.members and chance.random() < 0.5}
            world.teams[team] = workspace, people
            await connection.execute("INSERT INTO workspaces.team VALUES ($1, $2, $3, 1, $4)", team, workspace,
                                     str(team), NOW)  # fmt: skip
            for who in people:
                await connection.execute("INSERT INTO workspaces.team_member VALUES ($1, $2, $3, $4)", team, workspace,
                                         who, NOW)  # fmt: skip
    for _ in range(chance.randrange(4, 18)):
        await place(connection, world, chance, accounts)
    for _ in range(chance.randrange(12)):
        what = chance.random()
        resource = chance.choice(list(world.nodes))
        if what < 0.5:
            await grant(connection, world, chance, [*accounts, link], resource)
        elif what < 0.65 and world.nodes[resource].kind != "workspace":
            inherits = world.nodes[resource].inherits = not world.nodes[resource].inherits
            await connection.execute(
                "UPDATE workspaces.resource SET inherits = $2, node = true WHERE id = $1", resource, inherits
            )
            await connection.execute("SELECT workspaces.rebuild($1)", resource)
        elif what < 0.85:
            await move(connection, world, resource, chance.choice(list(world.nodes)))
        else:
            await place(connection, world, chance, accounts)
    if chance.random() < 0.15:
        gone = chance.choice([id for id, node in world.nodes.items() if node.kind == "workspace"])
        world.trashed.add(gone)
        await connection.execute(
            "UPDATE workspaces.workspace SET trashed = $2, purge_after = $2 WHERE id = $1", gone, NOW
        )
    return world, [*accounts, link]


async def place(connection: Any, world: World, chance: random.Random, accounts: list[UUID]) -> None:
    parent = chance.choice([id for id, node in world.nodes.items() if node.kind != "document"])
    id, kind = uuid7(), chance.choice(["folder", "document", "document"])
    owner = chance.choice(accounts) if chance.random() < 0.4 else None
    world.nodes[id] = Node(kind, parent, owner)
    await tree.hang(connection, id, kind, parent, Actor(str(owner) if owner else "guest:1"))  # type: ignore[arg-type]


async def grant(connection: Any, world: World, chance: random.Random, people: list[UUID], resource: UUID) -> None:
    workspace = world.workspace(resource)
    teams = [team for team, (of, _) in world.teams.items() if of == workspace]
    subject = chance.choice([*people, *teams])
    kind = "group" if subject in teams else "link" if subject == people[-1] else "user"
    rights = chance.choice(SOME_RIGHTS)
    expires = chance.choice([None, None, NOW - timedelta(seconds=1), NOW + timedelta(days=1)])
    world.grants[resource, subject] = kind, rights, expires
    await tree.make_node(connection, resource)
    await connection.execute(
        "INSERT INTO workspaces.granted VALUES ($1, $2, $3, $4, NULL, $5, 'x', $6) ON CONFLICT (subject, resource)"
        " DO UPDATE SET rights = excluded.rights, expires = excluded.expires",
        resource, subject, kind, rights, expires, NOW,
    )  # fmt: skip


async def move(connection: Any, world: World, resource: UUID, parent: UUID) -> None:
    above, path = parent, {parent}
    while world.nodes[above].kind != "workspace":
        above = world.nodes[above].parent
        path.add(above)
    node = world.nodes[resource]
    if node.kind == "workspace" or world.nodes[parent].kind == "document" or resource in path:
        with pytest.raises(Exception, match=r"itself|are in"):
            async with connection.transaction():
                await tree.rehang(connection, resource, parent)
        return
    crossing = world.workspace(resource) != world.workspace(parent)
    _, _, moved = await tree.rehang(connection, resource, parent)
    node.parent = parent
    if crossing:
        world.grants = {key: value for key, value in world.grants.items() if key[0] not in moved}


@pytest.mark.parametrize("seed", range(20))
async def test_agrees_with_a_slow_reading_of_the_rule(database: Any, seed: int) -> None:
    """Decisions, their explanations and lists filtered in SQL say of everybody and everything what the rule says."""
    chance = random.Random(seed)
    async with database.transaction():
        world, people = await make(database, chance)
    for who in people:
        expected = {resource: world.rights(who, resource) for resource in world.nodes}
        for resource, rights in expected.items():
            decision = await read(database, resource, who, NOW)
            assert decision is not None
            assert decision.rights == rights, (seed, decision.considered)
            assert decision.workspace == world.workspace(resource)
            winners = [one.given.rights for one in decision.considered if one.outcome == "decides"]
            assert bool(rights) <= bool(winners)
            assert all(not exceeds(one, rights) for one in winners) or rights == 0
        permission: Permission
        for permission, bit in BITS.items():
            sql, arguments = condition(who, permission, NOW, 2)
            rows = await database.fetch(
                f"SELECT id FROM workspaces.resource t WHERE id = ANY ($1) AND {sql}", list(world.nodes), *arguments
            )
            seen = {row["id"] for row in rows}
            assert seen == {resource for resource, rights in expected.items() if rights & bit}, (seed, permission)
            for within in (id for id, node in world.nodes.items() if node.kind == "workspace"):
                sql, arguments = condition(who, permission, NOW, 1, within)
                rows = await database.fetch(f"SELECT id FROM workspaces.resource t WHERE {sql}", *arguments)
                assert {row["id"] for row in rows} == {id for id in seen if world.workspace(id) == within}


async def test_rebuilding_everything_changes_nothing(database: Any) -> None:
    """What is kept up to date a change at a time is what computing it afresh gives."""
    for seed in range(100, 108):
        await make(database, random.Random(seed))
    kept = await _derived(database)
    roots = await database.fetch("SELECT id FROM workspaces.resource WHERE kind = 'workspace'")
    await database.execute("DELETE FROM workspaces.reach")
    for root in roots:
        await database.execute("SELECT workspaces.rebuild($1)", root["id"])
    assert await _derived(database) == kept


async def _derived(connection: Any) -> tuple[set[Any], set[Any]]:
    reach = await connection.fetch("SELECT node, ancestor, depth FROM workspaces.reach")
    policies = await connection.fetch("SELECT id, policy, open FROM workspaces.resource")
    return {tuple(row) for row in reach}, {tuple(row) for row in policies}


async def test_lists_use_indexes(database: Any) -> None:
    """No part of the condition has to read a whole table, however many workspaces there are."""
    await database.execute("CREATE TABLE IF NOT EXISTS listed (id uuid PRIMARY KEY, workspace uuid)")
    await database.execute("SET enable_seqscan = off")
    for within in (None, uuid7()):
        sql, arguments = condition(uuid7(), "read", NOW, 1, within)
        rows = await database.fetch(f"EXPLAIN SELECT id FROM listed WHERE {sql}", *arguments)
        plan = "\n".join(row[0] for row in rows)
        assert "Seq Scan" not in plan.replace("Seq Scan on listed", ""), plan
    await database.execute("RESET enable_seqscan")
    await database.execute("DROP TABLE listed")


def test_nothing_is_nobody() -> None:
    """Who is not known sees nothing, without a parameter."""
    assert condition(None, "read", NOW, 1) == ("false", [])


def test_standard_roles() -> None:
    """Each standard role is a step up, is its own floor, and a role of one's own is floored to what it includes."""
    bits = list(RIGHTS.values())
    assert all(less & more == less and less != more for less, more in itertools.pairwise(bits))
    assert all(floor(rights) == role for role, rights in RIGHTS.items())
    assert floor(0) is None
    assert floor(combined(["write", "share"])) == "editor"
    assert permissions(combined(["write"])) == ["read", "comment", "write"]
