"""Members write in the lounge, others read; every visit is counted."""

import asyncio

import pytest
from visits.plugin import Visits, VisitsSettings

from api_shim.testing import running
from relay.errors import Deny
from relay.gate import Gate
from relay.grants import Principal
from relay.hooks import Joined
from relay.testing import MemoryNode
from relay.types import Actor, RoomId

ADA, BO = Principal(Actor("ada"), "Ada", None), Principal(Actor("bo"), "Bo", None)


def visits() -> Visits:
    plugin = Visits()
    plugin.settings = VisitsSettings(members=["ada"], banned=["eve"])
    return plugin


async def test_lounge() -> None:
    """Hooks and rooms need no services."""

    class Quiet(Visits):
        async def on_joined(self, fact: Joined) -> None: ...

    quiet = Quiet()
    quiet.settings = visits().settings
    async with MemoryNode([quiet, Gate(None)]) as node:
        assert not (await node.join("lounge", principal=ADA)).grant.readonly
        assert (await node.join("lounge", principal=BO)).grant.readonly
        assert not (await node.join("elsewhere", principal=BO)).grant.readonly
        with pytest.raises(Deny, match="not welcome"):
            await node.join("lounge", principal=Principal(Actor("eve"), "Eve", None))


async def test_visits_are_counted() -> None:
    """The whole of it, on PostgreSQL and Valkey that start for the test."""
    plugin = visits()
    async with running([plugin]) as shim:
        status, problem, _ = await shim.call("GET", "/v1/visits/a/b")
        assert (status, problem["detail"]) == (404, "Nobody ever came to this document.")
        for actor in (ADA, BO, ADA):
            await plugin.on_joined(Joined(RoomId("a/b"), actor.actor, actor.name, "", False))
            await asyncio.sleep(0.01)
        status, body, _ = await shim.call("GET", "/v1/visits/a/b")
        assert status == 200
        assert [(one["actor"], one["visits"]) for one in body["visitors"]] == [("ada", 2), ("bo", 1)]
