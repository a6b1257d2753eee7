"""Plugins run in a process of their own: they decide who comes in, and whatever they do to it no room notices."""

import asyncio
import json
import os
import signal
import socket
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hostile import install
from relay_process import Relay, command_line
from typists import Typist, until


class Site:
    """The plugin's orders, and a relay that runs it."""

    def __init__(self, directory: Path, relays: Callable[..., Relay], database: str, valkey: str) -> None:
        self.directory = directory
        self.environment = install(directory)
        self._start = lambda *flags: relays(
            "--plugins", "hostile", *flags, postgres=database, valkey=valkey, environment=self.environment
        )
        self.relay: Relay

    def start(self, *flags: str) -> Relay:
        self.relay = self._start(*flags)
        return self.relay

    def order(self, *orders: str) -> None:
        """How the plugin behaves from now on."""
        (self.directory / "orders").write_text(" ".join(orders))

    def shim(self) -> int:
        """The pid of the process that runs the plugin."""
        for pid in self.relay.descendants():
            if b"api_shim" in command_line(pid):
                return pid
        return 0

    def post(self, path: str, body: bytes = b"") -> tuple[int, Any]:
        request = urllib.request.Request(f"http://127.0.0.1:{self.relay.port}{path}", body, method="POST")
        request.add_header("Content-Type", "application/octet-stream")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            return error.code, error.read()


@pytest.fixture
def site(tmp_path: Path, relays: Callable[..., Relay], database: str, own_valkey: Any) -> Site:
    return Site(tmp_path, relays, database, own_valkey.url)


async def rhythm(typists: list[Typist], seconds: float) -> float:
    """They type for so long, 20 characters a second each; the longest that one waited for "saved"."""
    worst = 0.0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for typist in typists:
            typist.type()
        started = time.monotonic()
        await until(lambda: all(t.saved == t.typed for t in typists), 20, "everything is saved")
        worst = max(worst, time.monotonic() - started)
        await asyncio.sleep(0.05)
    return worst


async def let_in(relay: Relay, within: float) -> None:
    """Somebody comes again and again, as told, until let in."""
    deadline = time.monotonic() + within
    while True:
        bo = await Typist.join(relay.port, "doc", 99, token="bo", wait=None)
        await until(lambda typist=bo: typist.synced or typist.closed, 10, "an answer")  # type: ignore[misc]
        if bo.synced:
            return
        assert bo.closed is not None
        assert bo.closed[0] in (1011, 1013)
        assert time.monotonic() < deadline, "nobody is let in again"
        await asyncio.sleep(0.1)


async def test_one_port(site: Site) -> None:
    """The API, health, metrics and sockets are on one port; a plugin says who may come in; bodies arrive whole."""
    relay = site.start("--workers", "2")
    assert await asyncio.to_thread(relay.get, "/livez") == (200, "ok\n")
    assert (await asyncio.to_thread(relay.get, "/openapi.json"))[0] == 200
    assert (await asyncio.to_thread(relay.get, "/nothing"))[0] == 404
    for size in (0, 1000, 300_000, 5_000_000):
        status, said = await asyncio.to_thread(site.post, "/v1/length", bytes(size))
        assert (status, said) == (200, {"length": size, "address": "127.0.0.1"})
    figures = await asyncio.to_thread(relay.metrics)
    assert figures['api_requests_total{method="POST",route="/v1/length",status="200"}'] == 4
    ada = await Typist.join(relay.port, "doc", 7, token="ada")
    nobody = await Typist.join(relay.port, "doc", 8, wait=None)
    await until(lambda: nobody.closed, 20, "who says nothing is not let in")
    assert nobody.closed == (4401, "who are you?")
    ada.type()
    await until(lambda: ada.saved == 1, 20, "ada types")
    await until((site.directory / "heard").exists, 20, "the plugin hears of it")
    assert (site.directory / "heard").read_text() == "doc ada\n"


async def test_grants_that_change_reach_open_sockets(site: Site) -> None:
    """A login that is revoked ends its sockets within a second; who may only read from now on is not heard any more."""
    relay = site.start()
    ada = await Typist.join(relay.port, "doc", 7, token="ada.phone")
    also = await Typist.join(relay.port, "doc", 8, token="ada.laptop")
    bo = await Typist.join(relay.port, "doc", 9, token="bo.x", hocuspocus=False)
    (site.directory / "banned").write_text("phone")
    (site.directory / "readers").write_text("bo")
    started = time.monotonic()
    assert (await asyncio.to_thread(site.post, "/v1/recheck?room=doc"))[0] == 204
    await until(lambda: ada.closed, 20, "the phone is logged out")
    assert time.monotonic() - started < 1
    assert ada.closed == (4401, "logged out")
    also.type()
    await until(lambda: also.saved == 1, 20, "the laptop still types")
    while not bo.refused:  # each is asked about by itself: bo's answer may come after the phone's
        assert time.monotonic() - started < 1, "bo is not refused"
        bo.type()
        await asyncio.sleep(0.02)
    (site.directory / "banned").write_text("laptop")
    assert (await asyncio.to_thread(site.post, "/v1/recheck?session=laptop"))[0] == 204
    await until(lambda: also.closed, 20, "the laptop too")


@pytest.mark.slow
@pytest.mark.parametrize("order", ["raise", "hang", "leak", "die"])
async def test_facts_gone_wrong(site: Site, order: str) -> None:
    """A plugin that fails on every fact costs no room anything."""
    relay = site.start()
    typists = [await Typist.join(relay.port, f"doc-{n}", n + 2, token="ada") for n in range(3)]
    site.order(f"fact:{order}")
    await Typist.join(relay.port, "another", 9, token="bo", wait=None)  # a fact, while who types gives others
    assert await rhythm(typists, 3) < 1.0
    assert await asyncio.to_thread(relay.get, "/livez") == (200, "ok\n")


@pytest.mark.slow
@pytest.mark.parametrize("order", ["raise", "hang", "block", "die"])
async def test_asks_gone_wrong(site: Site, order: str) -> None:
    """A plugin that can't answer lets nobody in, and those who are in type on; when it is mended they come in again."""
    relay = site.start()
    inside = [await Typist.join(relay.port, f"doc-{n}", n + 2, token="ada") for n in range(3)]
    site.order(f"ask:{order}")
    outside = [await Typist.join(relay.port, "doc-0", 90 + n, token="bo", wait=None) for n in range(3)]
    assert await rhythm(inside, 8) < 1.0
    assert not any(typist.synced for typist in outside)
    assert all(typist.closed is not None and typist.closed[0] in (1011, 1013) for typist in outside)
    site.order()
    await let_in(relay, 30)


async def test_shim_killed(site: Site) -> None:
    """kill -9 of the plugins' process: who is in types on, who comes is told to come again, and soon comes in."""
    relay = site.start()
    ada = await Typist.join(relay.port, "doc", 7, token="ada")
    killed = site.shim()
    os.kill(killed, signal.SIGKILL)
    ada.type()
    await until(lambda: ada.saved == 1, 20, "ada types on")
    await until(lambda: site.shim() not in (0, killed), 20, "another process")
    await let_in(relay, 30)
    assert (await asyncio.to_thread(site.post, "/v1/length", b"x"))[0] == 200


@pytest.mark.slow
async def test_roles_on_hosts_of_their_own(
    site: Site, relays: Callable[..., Relay], database: str, own_valkey: Any
) -> None:
    """An API process for itself, and a relay that asks it over TCP: one serves the API, the other sockets; a wrong
    secret lets nobody in."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        listen = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    secret = {"RELAY_SHIM_SECRET": "what both of them know"}
    api = relays(
        "--role", "api", "--plugins", "hostile", "--shim-listen", listen,
        postgres=database, valkey=own_valkey.url, environment=site.environment | secret,
    )  # fmt: skip
    asks = ("--role", "relay", "--shim", listen)
    site.relay = relays(*asks, postgres=database, valkey=own_valkey.url, environment=secret)
    ada = await Typist.join(site.relay.port, "doc", 7, token="ada")
    ada.type()
    await until(lambda: ada.saved == 1, 20, "ada types")
    await until((site.directory / "heard").exists, 20, "the plugin hears of it")
    assert (await asyncio.to_thread(api.get, "/openapi.json"))[0] == 200
    assert (await asyncio.to_thread(site.relay.get, "/openapi.json"))[0] == 404
    assert "api_in_flight" in (await asyncio.to_thread(api.get, "/metrics"))[1]
    api.stop()
    bo = await Typist.join(site.relay.port, "doc", 8, token="bo", wait=None)
    await until(lambda: bo.closed, 20, "who comes while the API is away is told to come again")
    assert bo.closed is not None
    assert bo.closed[0] == 1013
    api.start()
    await let_in(site.relay, 30)


def test_plugin_that_does_not_start(site: Site, tmp_path: Path) -> None:
    """What a plugin fails on at the start is said with its name, and nothing runs on."""
    site.order("start:raise")
    with pytest.raises(pytest.fail.Exception, match="plugin 'hostile' did not start: RuntimeError: as ordered"):
        site.start()
