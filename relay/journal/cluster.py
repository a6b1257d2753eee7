"""Group commit to a cluster: a wire to each node, appends routed by the slot of their key.

A redirected append is a failed one: it corrects the map, and its room opens the stream again where it is now and
appends there what is missing, in order, as after any outage. Sending it on from here would let later appends overtake.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from redis.crc import key_slot

from relay.errors import Unavailable
from relay.journal.address import Address, Place
from relay.journal.keys import epoch_key
from relay.journal.slots import SLOTS, Slots
from relay.journal.wire import Answered, Reply, Wire, pack
from relay.tasks import spawn
from relay.types import RoomId

__all__ = ["ClusterWire", "Doubted"]

Doubted = Callable[[Callable[[RoomId], bool]], None]
"""Called on the loop with which rooms it concerns: what they were told is saved may be gone."""

log = logging.getLogger("relay.journal")
START = 2.0
"""Seconds that the nodes have to be there; those that are not may come later."""
LOOK = 0.25
"""Seconds between looks at the map while a node is away."""
_ASKING = pack(b"ASKING")


class ClusterWire:
    """What `Wire` is to one server. `make` makes the wire to a node, given what to call when it comes and goes;
    `on_state` hears whether all nodes are connected."""

    def __init__(
        self,
        address: Address,
        make: Callable[[Address, Callable[[bool], None]], Wire],
        on_state: Callable[[bool], None],
        on_doubt: Doubted,
    ) -> None:
        self.slots = Slots(address, self._changed)
        self._address = address
        self._make = make
        self._on_state = on_state
        self._on_doubt = on_doubt
        self._wires: dict[Place, Wire] = {}
        self._routes: list[Wire | None] = [None] * SLOTS
        self._asked: dict[bytes, Wire] = {}  # keys of a slot on the move that have left its owner already
        self._complete = asyncio.Event()  # set while all nodes are connected
        self._looking: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def connected(self) -> bool:
        """Whether appends can be written to any node."""
        return any(wire.connected for wire in self._wires.values())

    def serves(self, room: RoomId) -> bool:
        """Whether the room's appends can be written now."""
        wire = self._routes[key_slot(epoch_key(room))]
        return wire is not None and wire.connected

    async def start(self) -> None:
        """Connect to the nodes. Raises Unavailable when none is there; does not try again then."""
        await self.slots.refresh()
        try:
            async with asyncio.timeout(START):
                await self._complete.wait()
        except TimeoutError:
            if not self.connected:
                raise Unavailable(f"{self._address}: no node answers") from None

    def submit(self, command: bytes, done: Answered, soon: bool = True, key: bytes = b"") -> None:
        """As `Wire.submit`, to the node that has `key`."""
        if self._asked and (wire := self._asked.get(key)) is not None:
            wire.submit(_ASKING, _ignore, soon)
        elif (wire := self._routes[key_slot(key)]) is None:
            asyncio.get_running_loop().call_soon(done, Unavailable(f"{self._address}: no node has the slot"))
            return
        wire.submit(command, partial(self._answered, key, done), soon)

    def _answered(self, key: bytes, done: Answered, reply: Reply) -> None:
        if isinstance(reply, Unavailable):
            self._redirect(key, str(reply).split())
        done(reply)

    def _redirect(self, key: bytes, words: list[str]) -> None:
        if words[:1] == ["CLUSTERDOWN"]:
            self._look()
        elif words[:1] in (["MOVED"], ["ASK"]) and len(words) == 3:
            try:
                place = Place.parse(words[2] if not words[2].startswith(":") else self._host(key) + words[2])
            except ValueError:
                return
            self._asked.pop(key, None)
            if words[0] == "ASK":
                self._asked[key] = self._wire(place)
            else:
                self.slots.moved(int(words[1]), place)

    def _host(self, key: bytes) -> str:
        """The server leaves its host out of a redirection where it is that of the one asked."""
        owner = self.slots.owner(key)
        return owner.host if owner else ""

    def _wire(self, place: Place) -> Wire:
        wire = self._wires.get(place)
        if wire is None:
            wire = self._wires[place] = self._make(self._address.at(place), partial(self._state, place))
            wire.start_later()
        return wire

    def _changed(self, slots: set[int]) -> None:
        """Those slots have another owner: another server, which may not have all that the last one had."""
        if self._closed:
            return
        for slot in slots:
            place = self.slots.of_slot(slot)
            self._routes[slot] = self._wire(place) if place else None
        self._asked = {key: wire for key, wire in self._asked.items() if key_slot(key) not in slots}
        self._retire()
        if not all(wire.connected for wire in self._wires.values()):
            self._look()
        self._on_doubt(lambda room: key_slot(epoch_key(room)) in slots)

    def _retire(self) -> None:
        needed = self.slots.owners()
        for place, wire in list(self._wires.items()):
            if place not in needed and wire not in self._asked.values():
                del self._wires[place]
                spawn(f"leave {place}", wire.close())

    def _state(self, place: Place, up: bool) -> None:
        if (wire := self._wires.get(place)) is None:
            return
        if not up:
            self._on_doubt(lambda room: self._routes[key_slot(epoch_key(room))] is wire)
            self._look()
        whole = all(wire.connected for wire in self._wires.values())
        if whole == self._complete.is_set():
            return
        if whole:
            self._complete.set()
        else:
            self._complete.clear()
        self._on_state(whole)

    def _look(self) -> None:
        if self._looking is None and not self._closed:
            self._looking = spawn("look for the cluster", self._look_on())

    async def _look_on(self) -> None:
        """Until every slot has a node that answers."""
        try:
            while True:
                try:
                    await self.slots.refresh()
                except Unavailable as error:
                    log.debug("cluster away: %s", error)
                else:
                    if self.slots.covered and all(wire.connected for wire in self._wires.values()):
                        return
                await asyncio.sleep(LOOK)
        finally:
            self._looking = None

    async def close(self) -> None:
        """As `Wire.close`."""
        self._closed = True
        if self._looking is not None:
            self._looking.cancel()
        await asyncio.gather(*(wire.close() for wire in self._wires.values()))


def _ignore(reply: Reply) -> None:
    pass
