"""Signing keys."""

import asyncio
import time
from typing import Any

import jwt
import pytest
from auth_people import FAST, People
from shim import running

from plugins.auth.plugin import Auth
from plugins.auth.seal import Seal
from plugins.auth.signing import KeyRing, generate
from relay.errors import StartError

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def published(people: People) -> list[str]:
    _, answer, headers = await people.call("GET", "/.well-known/jwks.json")
    assert headers["Cache-Control"] == "public, max-age=300"
    assert all("d" not in key for key in answer["keys"])
    return [key["kid"] for key in answer["keys"]]


async def test_rotation_under_traffic(people: People) -> None:
    """While fifty clients call and refresh, keys rotate three times and nobody notices."""
    everybody = [await people.register() for _ in range(50)]
    kids, stop, calls = {jwt.get_unverified_header(people.admin)["kid"]}, asyncio.Event(), 0

    async def client(login: dict[str, Any]) -> None:
        nonlocal calls
        token, refresh = login["access_token"], login["refresh_token"]
        while not stop.is_set():
            status, _, _ = await people.call("GET", "/v1/me", token=token)
            assert status == 200
            calls += 1
            if calls % 5 == 0:
                status, answer, _ = await people.call("POST", "/v1/auth/refresh", {"refresh_token": refresh})
                assert status == 200
                token, refresh = answer["access_token"], answer["refresh_token"]
                kids.add(jwt.get_unverified_header(token)["kid"])
                seen = set(kids)
                assert seen <= set(await published(people))

    clients = asyncio.gather(*map(client, everybody))
    for number in range(1, 4):
        before = await published(people)
        status, keys, _ = await people.call("POST", "/v1/auth/keys:rotate", token=people.admin)
        assert status == 200
        assert [key["state"] for key in keys][-2:] == ["active", "next"]
        # What signs from now on was published before.
        assert keys[-2]["kid"] in before
        async with asyncio.timeout(30):
            while not clients.done() and (len(kids) <= number or calls < 100 * number):
                await asyncio.sleep(0.01)
    stop.set()
    await clients
    assert len(kids) == 4


async def test_members_rotate_nothing(people: People) -> None:
    """Keys are an admin's business."""
    ada = await people.register()
    for method, path in (("POST", "/v1/auth/keys:rotate"), ("GET", "/v1/auth/keys")):
        assert (await people.call(method, path, token=ada["access_token"]))[0] == 403


async def test_life_of_a_key(people: People) -> None:
    """By age: next signs, active retires and goes when nothing that it signed is valid; two processes agree."""
    database, now = people.server.context("auth").database, [time.time()]
    async with database.acquire() as connection, connection.transaction():
        await connection.execute("DELETE FROM auth.signing_key")

    async def make() -> bytes:
        return generate()

    rings = [KeyRing(database, Seal(b"s"), make, age=86400.0, keep=3600.0, clock=lambda: now[0]) for _ in range(2)]
    for ring in rings:
        await ring.start()
    first, second = (key.kid for key in sorted(rings[0].all(), key=lambda key: key.state))
    assert rings[1].active.kid == first
    await rings[0].tend()
    assert rings[0].active.kid == first
    now[0] += 86401
    await asyncio.gather(*(ring.tend() for ring in rings))
    assert {ring.active.kid for ring in rings} == {second}
    assert [key.state for key in rings[0].all()].count("retiring") == 1
    assert await rings[1].find(first) is not None
    await rings[0].rotate()
    await rings[0].rotate()
    newest = rings[0].active.kid
    assert newest not in [key.kid for key in rings[1].all()]
    assert await rings[1].find(newest) is not None
    now[0] += 3600 + 301
    await asyncio.gather(*(ring.tend() for ring in rings))
    assert await rings[1].find(first) is None
    assert len(rings[0].all()) == 2
    stored = await database.fetchval("SELECT private FROM auth.signing_key LIMIT 1")
    assert generate()[:20] not in stored
    other = KeyRing(database, Seal(b"other"), make, age=86400.0, keep=3600.0, clock=time.time)
    with pytest.raises(StartError, match="key_secret"):
        await other.start()
    await database.execute("DELETE FROM auth.signing_key")
    found = people.server.shim.plugins[0]
    assert isinstance(found, Auth)
    await found._parts.ring.start()


@pytest.mark.slow
async def test_two_processes_start_at_once(postgres_server, valkey) -> None:
    """They sign with one key, and say one setup link."""
    postgres = postgres_server.create_database()
    given: dict[str, Any] = {"postgres": postgres, "redis": valkey.url, "settings": {"auth": FAST}}
    async with running(["auth"], **given) as one:
        await one.context("auth").database.execute("DELETE FROM auth.signing_key; DELETE FROM auth.link")
    managers = [running(["auth"], **given) for _ in range(3)]
    servers = await asyncio.gather(*(manager.__aenter__() for manager in managers))
    kids = {server.shim.plugins[0]._parts.ring.active.kid for server in servers}  # type: ignore[attr-defined]
    assert len(kids) == 1
    assert await servers[0].context("auth").database.fetchval("SELECT count(*) FROM auth.link") == 1
    for manager in managers:
        await manager.__aexit__(None, None, None)
