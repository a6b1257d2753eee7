"""Which node of a cluster has which keys: the slot map, and a redis-py client that follows it.

redis-py's own client for clusters keeps a map of its own, and its ASKING may leave on another connection than the
command it is for. Here appends and everything else go by one map: what was read to find out what is missing was read
where it will be appended.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

from redis.asyncio import Redis
from redis.crc import key_slot
from redis.exceptions import AskError, MovedError, RedisError

from relay.errors import Unavailable
from relay.journal.address import Address, Place
from relay.tasks import spawn

__all__ = ["SLOTS", "Client", "Slots"]

log = logging.getLogger("relay.journal")
SLOTS = 16384
TIMEOUT = 2.0
"""Seconds that a node has to say what the map is."""
REDIRECTIONS = 5
KEY_AT = {"EVAL": 3, "EVALSHA": 3}
"""Where a command's key is, if it is not the first argument."""


class Slots:
    """The map, as the nodes last told it. `on_change` is called with the slots that have another owner now."""

    def __init__(self, address: Address, on_change: Callable[[set[int]], None] = lambda slots: None) -> None:
        self._address = address
        self._on_change = on_change
        self._owners: list[Place | None] = [None] * SLOTS
        self._refreshing: asyncio.Task[None] | None = None

    def owner(self, key: bytes) -> Place | None:
        """The node that has `key`, as far as known."""
        return self._owners[key_slot(key)]

    def owners(self) -> set[Place]:
        """The nodes that have slots."""
        return {place for place in self._owners if place is not None}

    @property
    def covered(self) -> bool:
        """Whether every slot has an owner."""
        return None not in self._owners

    def of_slot(self, slot: int) -> Place | None:
        """The owner of `slot`."""
        return self._owners[slot]

    def moved(self, slot: int, place: Place) -> None:
        """A node said so; the whole map is asked for soon."""
        if self._owners[slot] != place:
            self._owners[slot] = place
            self._on_change({slot})
            self.look()

    def look(self) -> None:
        """Ask for the map now; nobody waits for it."""
        if self._refreshing is None:
            self._refreshing = spawn("ask for the slots", self._refresh(), expected=(Unavailable,))
            self._refreshing.add_done_callback(self._refreshed)

    async def refresh(self) -> None:
        """Ask for the map, or wait until it was asked for. Raises Unavailable when no node tells it."""
        self.look()
        assert self._refreshing is not None
        await asyncio.shield(self._refreshing)

    def _refreshed(self, task: asyncio.Task[None]) -> None:
        self._refreshing = None

    async def _refresh(self) -> None:
        known = list(self.owners())
        random.shuffle(known)
        why = "no node is known"
        for place in (*known, *(seed for seed in self._address.seeds if seed not in known)):
            client = self._address.at(place).client("materi-slots", TIMEOUT)
            try:
                async with asyncio.timeout(TIMEOUT):
                    ranges: Any = await client.execute_command("CLUSTER", "SLOTS")  # type: ignore[no-untyped-call]
                self._learn(ranges, place)
                return
            except (RedisError, OSError, TimeoutError, LookupError, ValueError, TypeError) as error:
                why = f"{place}: {error or type(error).__name__}"
            finally:
                await client.aclose()
        raise Unavailable(f"{self._address}: {why}")

    def _learn(self, ranges: Iterable[Any], asked: Place) -> None:
        owners: list[Place | None] = [None] * SLOTS
        for first, last, (host, port, *_), *_ in ranges:
            place = Place(host.decode() if host and host != b"?" else asked.host, int(port))
            owners[first : last + 1] = [place] * (last + 1 - first)
        if not any(owners):
            raise ValueError("it has no slots")
        before, self._owners = self._owners, owners
        if changed := {slot for slot, place in enumerate(owners) if place != before[slot]}:
            self._on_change(changed)


class Client(Redis):
    """Runs each command on the node that has its key, the first of several; MOVED and ASK are followed. A command
    without a key goes to any node, SCAN in `scan_iter` to all."""

    def __init__(self, address: Address, slots: Slots, name: str, timeout: float) -> None:
        super().__init__(protocol=2)
        self._address = address
        self._slots = slots
        self._name = name
        self._timeout = timeout
        self._nodes: dict[Place, Redis] = {}

    def node(self, place: Place) -> Redis:
        """The client of one node."""
        client = self._nodes.get(place)
        if client is None:
            client = self._nodes[place] = self._address.at(place).client(self._name, self._timeout)
            client.response_callbacks = self.response_callbacks
        return client

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """As redis-py's."""
        key = _key(args)
        why: Exception | None = None
        if not self._slots.owners():
            await self._refresh()
        for _ in range(REDIRECTIONS):
            place = self._place(key)
            try:
                return await self.node(place).execute_command(*args, **options)  # type: ignore[no-untyped-call]
            except MovedError as error:  # an AskError too
                why = error
                self._slots.moved(error.slot_id, Place(error.host or place.host, error.port))
            except AskError as error:
                pipeline = self.node(Place(error.host or place.host, error.port)).pipeline(transaction=False)
                pipeline.execute_command("ASKING")
                pipeline.execute_command(*args, **options)
                reply = (await pipeline.execute(raise_on_error=False))[1]
                if not isinstance(reply, Exception):
                    return reply
                if not isinstance(reply, MovedError):
                    raise reply from None
                why = reply
                await self._refresh()
            except (RedisError, OSError):
                self._slots.look()
                raise
        assert why is not None
        raise why

    def _place(self, key: bytes | None) -> Place:
        place = self._slots.owner(key) if key else random.choice([*self._slots.owners()])  # noqa: S311
        if place is None:
            raise RedisError("no node has the slot")
        return place

    async def _refresh(self) -> None:
        try:
            await self._slots.refresh()
        except Unavailable as error:
            raise RedisError(str(error)) from error

    async def scan_iter(  # type: ignore[override]
        self, match: Any = None, count: int | None = None, _type: Any = None, **options: Any
    ) -> AsyncIterator[Any]:
        """As redis-py's, of all nodes; a key that moves meanwhile may be seen twice or not at all."""
        await self._refresh()
        for place in self._slots.owners():
            async for key in self.node(place).scan_iter(match, count, _type, **options):
                yield key

    def pipeline(self, *args: Any, **options: Any) -> Any:
        """As redis-py's without a transaction: commands of one node leave together."""
        return _Pipeline(self)

    async def together(self, commands: list[tuple[tuple[Any, ...], dict[str, Any]]]) -> list[Any]:
        """Run `commands`, those of one node in one write; each one's reply or error."""
        if not self._slots.owners():
            await self._refresh()
        nodes: dict[Place, list[int]] = {}
        for number, (args, _) in enumerate(commands):
            nodes.setdefault(self._place(_key(args)), []).append(number)
        replies: list[Any] = [None] * len(commands)
        for place, numbers in nodes.items():
            pipeline = self.node(place).pipeline(transaction=False)
            for number in numbers:
                args, options = commands[number]
                pipeline.execute_command(*args, **options)
            for number, reply in zip(numbers, await pipeline.execute(raise_on_error=False)):
                args, options = commands[number]
                again = isinstance(reply, MovedError | AskError)
                replies[number] = await self.execute_command(*args, **options) if again else reply
        return replies

    async def script_load(self, script: Any) -> Any:
        """As redis-py's, on every node; one that is away is told when it answers that it has no such script."""
        await self._refresh()
        nodes = [self.node(place) for place in {*self._nodes, *self._slots.owners()}]
        told = await asyncio.gather(*(node.script_load(script) for node in nodes), return_exceptions=True)
        if (digest := next((reply for reply in told if not isinstance(reply, BaseException)), None)) is None:
            raise RedisError("no node takes scripts")
        return digest

    async def nodes(self) -> list[Redis]:
        """A client for each node that has slots now."""
        await self._refresh()
        return [self.node(place) for place in self._slots.owners()]

    async def aclose(self, *args: Any, **options: Any) -> None:
        """As redis-py's."""
        for client in self._nodes.values():
            await client.aclose()
        self._nodes.clear()
        await super().aclose()


class _Pipeline(Redis):
    """Gathers commands for `Client.together`."""

    def __init__(self, client: Client) -> None:
        super().__init__(protocol=2)
        self._client = client
        self._commands: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def execute_command(self, *args: Any, **options: Any) -> Any:
        self._commands.append((args, options))
        return self

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        """The replies, in the order asked. Raises the first error among them if wanted."""
        commands, self._commands = self._commands, []
        replies = await self._client.together(commands)
        for reply in replies if raise_on_error else ():
            if isinstance(reply, Exception):
                raise reply
        return replies


def _key(args: tuple[Any, ...]) -> bytes | None:
    at = args.index(b"STREAMS") + 1 if args[0] in ("XREAD", "XREADGROUP") else KEY_AT.get(args[0], 1)
    if len(args) <= at or args[0] in ("PING", "INFO", "SCRIPT LOAD", "TIME"):
        return None
    return args[at] if isinstance(args[at], bytes) else str(args[at]).encode()
