"""Whether a login is still good, whatever is away."""

import asyncio
import uuid
from typing import Any

import pytest
from auth_people import People
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as Away

from plugins.auth import live
from plugins.auth.live import Live
from relay.errors import Deny, Unavailable

pytestmark = pytest.mark.asyncio(loop_scope="session")


class Rooms:
    """Notes whose sockets are looked at again."""

    def __init__(self) -> None:
        self.told: list[str] = []

    async def recheck(self, *, session: str) -> None:
        self.told.append(session)


class Broken:
    """A PostgreSQL that is away."""

    async def fetchval(self, *arguments: Any, **named: Any) -> None:
        raise OSError("away")


def another_process(people: People, redis: Any = None, database: Any = None) -> Live:
    """As another process sees it."""
    context = people.server.context("auth")
    return Live(database or context.database, redis or context.redis, Rooms())


async def test_another_process_hears(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ends here has ended everywhere: at once for joins, within the trust for requests."""
    monkeypatch.setattr(live, "TRUST", 60.0)
    ada = await people.register()
    session, other = f"login:{ada['session']}", another_process(people)
    await other.require(session, 0)
    assert (await people.call("POST", "/v1/auth/logout", token=ada["access_token"]))[0] == 204
    await other.require(session, 0)
    with pytest.raises(Deny):
        await other.require(session, 0, fresh=True)
    with pytest.raises(Deny):
        await other.require(session, 0)


async def test_trust_ends(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request is not answered by what was heard long ago."""
    monkeypatch.setattr(live, "TRUST", 0.05)
    ada = await people.register()
    session, other = f"login:{ada['session']}", another_process(people)
    await other.require(session)
    await people.call("DELETE", "/v1/me/sessions", token=ada["access_token"])
    await asyncio.sleep(0.06)
    with pytest.raises(Deny):
        await other.require(session)


async def test_redis_came_back_empty(people: People) -> None:
    """The table knows what Redis has forgotten."""
    ada = await people.register()
    session = f"login:{ada['session']}"
    await people.call("POST", "/v1/auth/logout", token=ada["access_token"])
    await people.server.context("auth").redis.delete(live.PREFIX + session)
    with pytest.raises(Deny):
        await another_process(people).require(session)


async def test_slow_reader(people: People) -> None:
    """Somebody who read the table before a login ended does not bring it back."""
    ada = await people.register()
    session, other = f"login:{ada['session']}", another_process(people)
    epoch = await other._look_up(session)
    assert epoch == 0
    await people.call("POST", "/v1/auth/logout", token=ada["access_token"])
    await other._note(session, epoch)
    with pytest.raises(Deny):
        await other.require(session)


async def test_redis_away(people: People) -> None:
    """Without Redis the table decides; nobody waits for Redis each time."""
    ada = await people.register()
    session, other = f"login:{ada['session']}", another_process(people, Redis.from_url("unix:///nowhere"))
    await other.require(session, 0)
    await people.call("POST", "/v1/auth/logout", token=ada["access_token"])
    with pytest.raises(Deny):
        await other.require(session, 0, fresh=True)


async def test_both_away(people: People) -> None:
    """Nobody gets in on no word at all."""
    ada = await people.register()
    other = another_process(people, Redis.from_url("unix:///nowhere"), Broken())
    with pytest.raises(Unavailable):
        await other.require(f"login:{ada['session']}")


async def test_told_when_redis_is_back(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ended while Redis was away is told to everybody once it is back."""

    class Flaky:
        """Away for the first pipeline."""

        def __init__(self, redis: Any) -> None:
            self.redis, self.times = redis, 0

        def pipeline(self, **options: Any) -> Any:
            self.times += 1
            if self.times == 1:
                raise Away
            return self.redis.pipeline(**options)

    monkeypatch.setattr(live, "AGAIN", 0.01)
    session, redis = f"login:{uuid.uuid4()}", people.server.context("auth").redis
    one = another_process(people, Flaky(redis))
    await one.end([session])
    assert one._rooms.told == []
    async with asyncio.timeout(10):
        while not one._rooms.told:
            await asyncio.sleep(0.01)
    assert one._rooms.told == [session]
    assert await redis.get(live.PREFIX + session) == b"-"


@pytest.mark.parametrize("session", ["", "link:1", "other"])
async def test_sessions_of_others(people: People, session: str) -> None:
    """Other plugins say what their sessions are worth."""
    await another_process(people, Redis.from_url("unix:///nowhere"), Broken()).require(session)


@pytest.mark.parametrize("session", ["login:", "login:x", "key:", f"key:{uuid.UUID(int=0)}", "account:\0"])
async def test_no_session(people: People, session: str) -> None:
    """What looks like one of ours and is none is not good."""
    with pytest.raises(Deny):
        await another_process(people).require(session)
