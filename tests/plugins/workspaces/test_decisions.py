"""Decisions that are remembered: never older than the last write here, nor than a second elsewhere."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
import pytest_asyncio
from conftest import PostgresServer, Valkey
from workspaces_people import Site, site

from plugins.workspaces.decisions import Decisions
from plugins.workspaces.rule import Decision

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def pair(postgres_server: PostgresServer) -> AsyncIterator[tuple[Site, Site]]:
    """Two servers with one database."""
    server = Valkey()
    try:
        server.start()
        url = postgres_server.create_database()
        async with site(url, server.url) as one, site(url, server.url) as two:
            two.people.known = one.people.known
            yield one, two
    finally:
        server.remove()


async def test_remembered(pair: tuple[Site, Site]) -> None:
    """The second time nobody is asked, and it takes microseconds."""
    works, _ = pair
    ada = works.person()
    w = await works.workspace(ada)
    document = await works.papers.make("document", w)
    decisions = works.plugin.access._decisions
    async with asyncio.timeout(10):
        while decisions.find(ada.id, document, time.time()) is None:
            assert await works.role(ada, document) == "owner"
            await asyncio.sleep(0.01)
    began = time.thread_time()  # what others take of the machine is not counted
    for _ in range(2000):
        await works.access.role(ada.principal, document)
    assert (time.thread_time() - began) / 2000 < 50e-6


async def test_never_stale_after_a_write_here(pair: tuple[Site, Site]) -> None:
    """What the answer to a change says goes for the next question."""
    works, _ = pair
    ada, bo = works.person("ada"), works.person("bo")
    w = await works.workspace(ada, editor=bo)
    a, b = await works.papers.make("folder", w), await works.papers.make("folder", w)
    document = await works.papers.make("document", a)
    await works.grant(ada, b, bo.id, "viewer")
    for n in range(20):
        role = ("viewer", "editor", "commenter", "admin")[n % 4]
        await works.grant(ada, document, bo.id, role)
        assert await works.role(bo, document) == role
    await works.call(ada, "DELETE", f"/v1/resources/{document}/grants/user/{bo.id}", expect=204)
    for n in range(20):
        # Other plugins' transactions too, of whose end only PostgreSQL tells.
        await works.papers.move(document, b if n % 2 == 0 else a)
        assert await works.role(bo, document) == ("viewer" if n % 2 == 0 else "editor")


async def test_heard_of_elsewhere(pair: tuple[Site, Site]) -> None:
    """Another server has forgotten within a second, mostly within milliseconds."""
    one, two = pair
    ada, bo = one.person("ada"), one.person("bo")
    w = await one.workspace(ada, editor=bo)
    document = await one.papers.make("document", w)
    took = []
    for n in range(10):
        role = ("viewer", "commenter")[n % 2]
        assert await two.role(bo, document) != role
        await one.grant(ada, document, bo.id, role)
        began = time.monotonic()
        while await two.role(bo, document) != role:
            assert time.monotonic() - began < 1
            await asyncio.sleep(0.001)
        took.append(time.monotonic() - began)
    assert statistics.median(took) < 0.3


async def test_connection_lost(pair: tuple[Site, Site]) -> None:
    """A server that hears nothing any more remembers nothing for longer than a second."""
    one, two = pair
    ada, bo = one.person("ada"), one.person("bo")
    w = await one.workspace(ada, editor=bo)
    document = await one.papers.make("document", w)
    assert await two.role(bo, document) == "editor"
    changes = two.plugin.access._changes
    listening = changes._listening
    assert listening is not None
    listening.cancel()
    await asyncio.wait([listening])
    await one.grant(ada, document, bo.id, "viewer")
    began = time.monotonic()
    while await two.role(bo, document) != "viewer":
        assert time.monotonic() - began < 1
        await asyncio.sleep(0.01)
    await one.grant(ada, document, bo.id, "commenter")
    assert await two.role(bo, document) == "commenter"
    changes.start()
    await asyncio.sleep(0.2)
    assert await two.role(bo, document) == "commenter"
    # Killed by the database: it listens again by itself.
    await two.database.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        " AND query IN ('SELECT 1', 'LISTEN \"workspaces_changed\"') AND pid <> pg_backend_pid()"
    )
    began = time.monotonic()
    role = "viewer"
    while time.monotonic() - began < 1.2:
        await one.grant(ada, document, bo.id, role)
        heard = time.monotonic()
        while await two.role(bo, document) != role:
            assert time.monotonic() - heard < 1
            await asyncio.sleep(0.01)
        role = "editor" if role == "viewer" else "viewer"
        await asyncio.sleep(0.1)


async def test_read_before_a_change() -> None:
    """A decision that was read before a change, and came after it, is not remembered."""
    decisions = Decisions()
    decisions.trust(float("inf"))
    who, resource, workspace = UUID(int=1), UUID(int=2), UUID(int=3)
    turn = decisions.turn
    decisions.forget(workspace)
    decisions.keep(who, resource, Decision(7, workspace, None, ()), turn)
    assert decisions.find(who, resource, 0) is None
    decisions.keep(who, resource, Decision(7, workspace, None, ()), decisions.turn)
    assert decisions.find(who, resource, 0) == 7
    decisions.opened("t", workspace)
    assert decisions.find(who, resource, 0) is None
    decisions.heard("t", workspace)
    assert decisions.find(who, resource, 0) is None
    turn = decisions.turn
    decisions.clear()
    decisions.keep(who, resource, Decision(7, workspace, None, ()), turn)
    assert decisions.find(who, resource, 0) is None
