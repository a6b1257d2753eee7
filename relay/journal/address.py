"""Where Redis is: a URL, and both ways of connecting to it."""

import asyncio
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelManagedConnection, SentinelManagedSSLConnection
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from relay.errors import StartError
from relay.journal.sentinel import Master, MasterPool
from relay.keepalive import KEEPALIVE, keep_alive

if TYPE_CHECKING:
    from relay.journal.slots import Slots

__all__ = ["Address", "Place"]

_POOL = 16
_EXAMPLES = {
    "redis": "redis://user:password@host:6379/0",
    "rediss": "rediss://user:password@host:6379/0",
    "unix": "unix:///path/to/socket",
    "redis+sentinel": "redis+sentinel://user:password@host1:26379,host2:26379,host3:26379/service/0",
    "rediss+sentinel": "rediss+sentinel://user:password@host1:26379,host2:26379,host3:26379/service/0",
    "redis+cluster": "redis+cluster://user:password@host1:6379,host2:6379",
    "rediss+cluster": "rediss+cluster://user:password@host1:6379,host2:6379",
}
_TLS = {"ca": "ssl_ca_certs", "cert": "ssl_certfile", "key": "ssl_keyfile"}
# How much of the server's certificate is checked, in redis-py's words.
_VERIFY = {
    "full": {"ssl_cert_reqs": "required", "ssl_check_hostname": True},
    "ca": {"ssl_cert_reqs": "required", "ssl_check_hostname": False},
    "none": {"ssl_cert_reqs": "none", "ssl_check_hostname": False},
}

P = TypeVar("P", bound=asyncio.Protocol)


class Place(NamedTuple):
    """Where one server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str, port: int = 0) -> "Place":
        """`host:port`, `[v6]:port`, or `host` for the default port; raises ValueError on anything else."""
        parts = urlsplit(f"//{text}")
        if not parts.hostname or parts.path or parts.query or "@" in text:
            raise ValueError("a host is missing or malformed")
        return cls(parts.hostname, parts.port or port)


class Address:
    """A server (`redis://`, `unix://`), the master that Sentinels name (`redis+sentinel://`), or a cluster's nodes
    (`redis+cluster://`); `rediss` for TLS. `user:password@`, a database, and options:

    `ca`, `cert`, `key` are PEM files; `verify` is `full`, `ca` (any host name) or `none`; `sentinel_username` and
    `sentinel_password` are for the Sentinels; and redis-py's options for a connection.

    `str(address)` is the URL without user, password and options, fit for logs. Raises StartError for anything else.

    seeds: the nodes of a cluster that the URL names; empty for anything else.
    node: this is one node of a cluster, by itself.
    redundant: what answers here may be a replica tomorrow, so its role is asked before it is trusted.
    """

    def __init__(self, url: str) -> None:
        scheme, _, rest = url.partition("://")
        if scheme not in _EXAMPLES:
            raise StartError(
                "the Redis URL is not valid: write redis://host:6379/0, rediss://… for TLS, unix:///path/to/socket,"
                f" {_EXAMPLES['redis+sentinel']} or {_EXAMPLES['redis+cluster']}"
            )
        try:
            self._read(scheme, rest)
        except (ValueError, TypeError, KeyError, OSError, RedisError) as error:
            # a parser's own message may quote a part of the password
            why = f" ({error})" if isinstance(error, _Invalid) else ""
            raise StartError(f"the Redis URL is not valid{why}: write {_EXAMPLES[scheme]}") from None

    def _read(self, scheme: str, rest: str) -> None:
        self._scheme = scheme
        self.seeds: tuple[Place, ...] = ()
        self._master: Master | None = None
        plain, _, kind = scheme.partition("+")
        places: list[Place] = []
        service = ""
        if kind:
            rest, places, service = _single(rest, kind)
        options: dict[str, Any] = dict(parse_url(f"{plain}://{rest}"))
        sentinel = {name: options.pop(f"sentinel_{name}", None) for name in ("username", "password")}
        _read_tls(options)
        self._tls: ssl.SSLContext | None = None
        if plain == "rediss":
            tls = {name: value for name, value in options.items() if name.startswith("ssl_")}
            self._tls = SSLConnection(**tls).ssl_context.get()
        elif any(name.startswith("ssl_") for name in options):
            raise _Invalid("ca, cert, key and verify are for rediss")
        self._path: str | None = options["path"] if plain == "unix" else None
        self._place = Place(options.get("host", "localhost"), options.get("port", 6379))
        self._database = int(options.get("db", 0))
        if kind == "cluster":
            if self._database:
                raise _Invalid("a cluster has no databases but 0")
            self.seeds = tuple(places)
        elif kind == "sentinel":
            tls = {name: value for name, value in options.items() if name.startswith("ssl_")}
            self._master = Master(places, service, ssl=plain == "rediss", **sentinel, **tls)
        elif sentinel["username"] or sentinel["password"]:
            raise _Invalid("sentinel_username and sentinel_password are for redis+sentinel")
        self._options = options
        self.node = False
        self.redundant = self._master is not None
        if kind:
            self._text = f"{scheme}://{','.join(map(str, places))}" + (f"/{service}" if service else "")
        else:
            self._text = f"unix://{self._path}" if self._path else f"{plain}://{self._place}"
        if self._database:
            self._text += f"?db={self._database}" if self._path else f"/{self._database}"

    def __str__(self) -> str:
        return self._text

    def at(self, place: Place) -> "Address":
        """One node of this cluster, by itself."""
        node = object.__new__(Address)
        node.__dict__.update(self.__dict__)
        node.seeds = ()
        node.node = node.redundant = True
        node._place = place
        node._options = {**self._options, "host": place.host, "port": place.port}
        node._text = f"{self._scheme.partition('+')[0]}://{place}"
        return node

    def client(self, name: str, timeout: float, slots: "Slots | None" = None) -> "Redis":
        """A redis-py client of a few connections; calls beyond them wait their turn. For a cluster a
        `relay.journal.slots.Client`, with a map of its own or `slots`.

        A pooled connection that the server closed meanwhile is replaced once, nothing else is retried: a call takes
        at most about `timeout` seconds, and as long again for its turn. Behind Sentinels each connection goes to the
        master that was found last.
        """
        if self.seeds:
            from relay.journal import slots as cluster  # it needs addresses

            return cluster.Client(self, slots or cluster.Slots(self), name, timeout)
        options: dict[str, Any] = {
            "timeout": timeout,
            "client_name": name,
            "protocol": 2,
            "socket_timeout": timeout,
            "socket_connect_timeout": timeout,
            "retry": Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
            "max_connections": _POOL,
            **({} if self._path else {"socket_keepalive": True, "socket_keepalive_options": KEEPALIVE}),
            **self._options,
        }
        if self._master is None:
            return Redis.from_pool(BlockingConnectionPool(**options))
        options["connection_class"] = SentinelManagedSSLConnection if self._tls else SentinelManagedConnection
        return Redis.from_pool(cast(Any, MasterPool(self._master, **options)))

    async def connect(self, factory: Callable[[], P]) -> P:
        """A connection of our own, before `greeting`. Raises OSError."""
        loop = asyncio.get_running_loop()
        if self._path is not None:
            return (await loop.create_unix_connection(factory, self._path))[1]
        host, port = self._place
        if self._master is not None:
            try:
                host, port = await self._master.get_master_address()
            except RedisError as error:
                raise ConnectionError(str(error)) from error
        name = host if self._tls else None
        transport, protocol = await loop.create_connection(factory, host, port, ssl=self._tls, server_hostname=name)
        keep_alive(transport)
        return protocol

    def greeting(self, name: str) -> list[tuple[str, ...]]:
        """What to say first on such a connection; each command answers OK."""
        commands: list[tuple[str, ...]] = []
        if (password := self._options.get("password")) is not None:
            username = self._options.get("username")
            commands.append(("AUTH", username, password) if username else ("AUTH", password))
        commands.append(("CLIENT", "SETNAME", name))
        if self._database:
            commands.append(("SELECT", str(self._database)))
        return commands


class _Invalid(ValueError):
    """Says what is wrong with a URL without quoting any of it."""


def _single(rest: str, kind: str) -> tuple[str, list[Place], str]:
    """Of a URL that names several hosts: the same with the first of them alone, the hosts, and the service."""
    rest, mark, query = rest.partition("?")
    authority, _, path = rest.partition("/")
    user, at, hosts = authority.rpartition("@")
    try:
        places = [Place.parse(host, 26379 if kind == "sentinel" else 6379) for host in hosts.split(",")]
    except ValueError:
        raise _Invalid("its hosts are host:port, with commas between them") from None
    service = ""
    if kind == "sentinel":
        service, _, path = path.partition("/")
        if not service or service.isdigit():
            raise _Invalid("the name under which the Sentinels know the master must follow the hosts")
    if path and not path.isdigit():
        raise _Invalid("a database is a number")
    return f"{user}{at}{places[0]}/{path}{mark}{query}", places, service


def _read_tls(options: dict[str, Any]) -> None:
    """Put our options' names in redis-py's words."""
    for ours, theirs in _TLS.items():
        if ours in options:
            options[theirs] = options.pop(ours)
    if (verify := options.pop("verify", None)) is not None:
        if verify not in _VERIFY:
            raise _Invalid("verify is full, ca or none")
        options.update(_VERIFY[verify])
