"""The plugin beside a relay: whose socket it is, and when it is closed."""

import asyncio
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from auth_people import FAST, PASSWORD
from relay_process import Relay
from typists import Typist, until

from plugins.auth.plugin import Auth


class Server:
    """A relay with the plugin, in processes of their own."""

    def __init__(self, directory: Path, postgres: str, redis: str) -> None:
        settings = {f"RELAY_PLUGINS_AUTH_{name.upper()}": str(value) for name, value in FAST.items()}
        services = {"DATABASE_URL": postgres, "REDIS_URL": redis, **settings}
        self.relay = Relay(directory, ("--plugins", "auth"), services)

    def call(self, method: str, path: str, body: Any = None, token: str = "") -> tuple[int, Any]:
        raw = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.relay.port}{path}", raw, method=method)
        request.add_header("Content-Type", "application/json")
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"null")

    async def register(self, name: str) -> dict[str, Any]:
        body = {"email": f"{name}@example.com", "password": PASSWORD, "name": name}
        status, answer = await asyncio.to_thread(self.call, "POST", "/v1/auth/register", body)
        assert status == 201, answer
        return dict(answer["login"])


@pytest.fixture
def server(tmp_path: Path, postgres_server, valkey) -> Iterator[Server]:
    found = Server(tmp_path, postgres_server.create_database(), valkey.url)
    yield found
    found.relay.stop()


async def closed_within(typist: Typist, since: float) -> float:
    """Seconds from then until its socket was closed as unauthorized."""
    await until(lambda: typist.closed, 3, "the socket is closed")
    assert typist.closed is not None
    assert typist.closed[0] == 4401
    return typist.closed_at - since


@pytest.mark.slow
async def test_sockets(server: Server) -> None:
    """The first start says how to become the owner; a token opens rooms and nothing else does; what is revoked closes
    its open sockets in less than a second, and no others."""
    link = re.search(r"/setup\?token=(\S+)", server.relay.log.read_text())
    assert link is not None
    body = {"token": link[1], "email": "o@example.com", "password": PASSWORD, "name": "Owner"}
    status, owner = await asyncio.to_thread(server.call, "POST", "/v1/auth/setup", body)
    assert status == 201
    ada, bo = await server.register("ada"), await server.register("bo")
    _, key = await asyncio.to_thread(server.call, "POST", "/v1/me/api-keys", {"name": "k"}, ada["access_token"])
    port = server.relay.port
    for token in ("", "junk", ada["access_token"][:-3], ada["refresh_token"], "mk_x_y"):
        stranger = await Typist.join(port, "doc", 90, token=token, wait=None)
        await until(lambda one=stranger: one.closed or one.denied or one.synced, 5, "an answer")  # type: ignore[misc]
        assert not stranger.synced
    by_login = await Typist.join(port, "doc", 1, token=ada["access_token"])
    by_key = await Typist.join(port, "doc", 2, token=key["token"])
    other = await Typist.join(port, "doc", 3, token=bo["access_token"])
    by_login.type()
    await until(lambda: by_login.saved == 1, 5, "saved")

    started = time.monotonic()
    assert (await asyncio.to_thread(server.call, "POST", "/v1/auth/logout", None, ada["access_token"]))[0] == 204
    assert await closed_within(by_login, started) < 1.0
    assert by_key.closed is None

    path = f"/v1/users/{ada['user']['id']}:disable"
    started = time.monotonic()
    assert (await asyncio.to_thread(server.call, "POST", path, {}, owner["access_token"]))[0] == 200
    assert await closed_within(by_key, started) < 1.0
    other.type()
    await until(lambda: other.saved == 1, 5, "saved")
    assert other.closed is None


def test_loaded_by_name() -> None:
    """Settings are read from text as they are in the environment."""
    from api_shim.loader import load

    given = {
        "session_idle": "30d",
        "argon2_memory": "64MiB",
        "rooms": '{"docs/*": "readonly"}',
        "issuers": '[{"issuer": "https://a.example", "audience": "m", "jwks_url": "https://a.example/keys"}]',
    }
    plugin = load(["auth"], {"auth": given})[0]
    assert isinstance(plugin, Auth)
    assert plugin.settings.session_idle == 30 * 86400
    assert plugin.settings.argon2_memory == 64 << 20
    assert plugin.settings.rooms == {"docs/*": "readonly"}
    assert plugin.settings.issuers[0].accounts
