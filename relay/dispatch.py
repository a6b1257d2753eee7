"""Calling the hooks: asks with a deadline, failing closed; facts from a queue for each plugin."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from relay import closing
from relay.errors import Deny, Unavailable
from relay.grants import Grant, Principal
from relay.hooks import ConnectAsked, JoinAsked, Plugin, RoomClosed, RoomOpened
from relay.tasks import spawn

__all__ = ["Dispatch"]

log = logging.getLogger("relay.dispatch")
Ask = TypeVar("Ask", ConnectAsked, JoinAsked)
Answer = TypeVar("Answer")
Fact = RoomOpened | RoomClosed
Told = tuple[Callable[[Any], Awaitable[None]], Fact]
QUEUE = 10_000


class Dispatch:
    """The plugins of this process, in the order they are asked. `deadline` in seconds, for each ask of each plugin."""

    def __init__(self, plugins: Sequence[Plugin], deadline: float = 5.0) -> None:
        names = [plugin.name for plugin in plugins]
        for plugin in plugins:
            for hook in dir(plugin):
                if hook.startswith(("ask_", "on_")) and not hasattr(Plugin, hook):
                    raise ValueError(
                        f"plugin {plugin.name!r} has a hook {hook!r} that nobody calls; see relay/hooks.py"
                    )
        if len(set(names)) != len(names):
            raise ValueError(f"two plugins have one name: {', '.join(names)}")
        self.plugins = tuple(plugins)
        self._deadline = deadline
        self._queues: dict[Plugin, asyncio.Queue[Told]] = {}
        self._told: dict[type, list[tuple[Plugin, Callable[[Fact], Awaitable[None]]]]] = {}
        for kind, hook in ((RoomOpened, "on_room_opened"), (RoomClosed, "on_room_closed")):
            self._told[kind] = [
                (plugin, getattr(plugin, hook))
                for plugin in plugins
                if getattr(type(plugin), hook) is not getattr(Plugin, hook)
            ]
        self.dropped = 0

    async def ask_connect(self, ask: ConnectAsked) -> Principal:
        """Who it is. Raises Deny."""
        return await self._ask([plugin.ask_connect for plugin in self.plugins], ask, closing.UNAUTHORIZED.code)

    async def ask_join(self, ask: JoinAsked) -> Grant:
        """What they may do in the room. Raises Deny."""
        return await self._ask([plugin.ask_join for plugin in self.plugins], ask, closing.FORBIDDEN.code)

    async def _ask(self, hooks: Sequence[Callable[[Ask], Awaitable[Answer | None]]], ask: Ask, code: int) -> Answer:
        for hook in hooks:
            try:
                async with asyncio.timeout(self._deadline):
                    answer = await hook(ask)
            except Deny as denied:
                if denied.code in closing.CLOSINGS:
                    raise
                log.error(
                    "a plugin denied with an unknown code", extra={"hook": hook.__qualname__, "code": denied.code}
                )
                raise Deny(denied.reason, code) from denied
            except Unavailable as error:
                raise Deny(str(error), closing.OVERLOADED.code) from error
            except Exception as error:
                log.error("a plugin failed to answer", extra={"hook": hook.__qualname__}, exc_info=error)
                raise Deny("the server could not decide, try again later", closing.INTERNAL.code) from error
            if answer is not None:
                return answer
        raise Deny("nobody allows this", code)

    def tell(self, fact: Fact) -> None:
        """Queue a fact for the plugins that want to hear it; never blocks: past a bound it is dropped and counted."""
        for plugin, hook in self._told[type(fact)]:
            queue = self._queues.get(plugin)
            if queue is None:
                queue = self._queues[plugin] = asyncio.Queue(QUEUE)
                spawn(f"facts for {plugin.name}", self._deliver(queue))
            try:
                queue.put_nowait((hook, fact))
            except asyncio.QueueFull:
                self.dropped += 1

    async def _deliver(self, queue: "asyncio.Queue[Told]") -> None:
        while True:
            hook, fact = await queue.get()
            try:
                async with asyncio.timeout(self._deadline):
                    await hook(fact)
            except Exception as error:
                log.error("a plugin failed on a fact", extra={"hook": hook.__qualname__}, exc_info=error)
