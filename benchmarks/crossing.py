"""What does a join cost that a plugin decides? Asks cross to another process and back; one at a time, and many."""

import argparse
import asyncio
import multiprocessing
import os
import resource
import tempfile
import time
from statistics import median

import uvloop

from api_shim.asks import Asks
from api_shim.plugin import Plugin
from relay.crossing.client import Crossing
from relay.dispatch import Dispatch
from relay.grants import Grant, Principal
from relay.hooks import ConnectAsked, JoinAsked
from relay.types import Actor, NodeId, RoomId


class Doorman(Plugin):
    """Lets everybody in."""

    name = "doorman"

    async def ask_connect(self, ask: ConnectAsked) -> Principal | None:
        return Principal(Actor(ask.token), ask.token, None)

    async def ask_join(self, ask: JoinAsked) -> Grant | None:
        return Grant(ask.principal.actor, ask.principal.name, False)


def shim(address: str) -> None:
    async def serve() -> None:
        await Asks(Dispatch([Doorman()])).listen(address)
        await asyncio.sleep(3600)

    uvloop.run(serve())


async def measure(address: str, asks: int) -> None:
    crossing = Crossing(address, NodeId("benchmark"))
    await crossing.start()
    door = Dispatch([crossing])
    ada = await door.ask_connect(ConnectAsked("ada", "127.0.0.1", ""))
    times = []
    for _ in range(asks):
        started = time.perf_counter()
        await door.ask_join(JoinAsked(ada, RoomId("doc"), "127.0.0.1"))
        times.append(time.perf_counter() - started)
    times.sort()
    print(f"one at a time: p50 {median(times) * 1e6:.0f} µs, p95 {times[int(asks * 0.95)] * 1e6:.0f} µs")
    used, started = cpu(), time.perf_counter()
    for _ in range(asks // 100):
        await asyncio.gather(*(door.ask_join(JoinAsked(ada, RoomId("doc"), "127.0.0.1")) for _ in range(100)))
    took = time.perf_counter() - started
    print(f"100 at a time: {asks / took:,.0f} asks/s, {(cpu() - used) / asks * 1e6:.0f} µs of the relay's CPU each")
    await crossing.close()


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--asks", type=int, default=5000)
    asks = parser.parse_args().asks
    with tempfile.TemporaryDirectory() as directory:
        address = f"unix:{os.path.join(directory, 's')}"
        process = multiprocessing.get_context("spawn").Process(target=shim, args=(address,), daemon=True)
        process.start()
        try:
            uvloop.run(measure(address, asks))
        finally:
            process.kill()
            process.join()


if __name__ == "__main__":
    main()
