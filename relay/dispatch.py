"""Asking plugins, in order, with a deadline, failing closed. One that keeps failing is not waited for."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from time import perf_counter
from typing import Any, TypeVar, cast

from relay import closing
from relay.circuit import Circuit
from relay.errors import Deny, Unavailable
from relay.grants import Grant, Principal
from relay.hooks import ConnectAsked, JoinAsked, Plugin, heard
from relay.tasks import go_on

__all__ = ["Dispatch"]

log = logging.getLogger("relay.dispatch")
UNDECIDED = "the server could not decide, try again later"
AskT = TypeVar("AskT", ConnectAsked, JoinAsked)
Answer = TypeVar("Answer")


class Dispatch:
    """The plugins of this process, in the order they are asked.

    deadline: seconds for each ask of each plugin.  on_asked: told the hook (a bound method), the seconds it took and
    whether it failed to answer.
    """

    def __init__(
        self,
        plugins: Sequence[Plugin],
        deadline: float = 5.0,
        on_asked: Callable[[Callable[..., object], float, bool], None] = lambda hook, seconds, failed: None,
    ) -> None:
        """Raises ValueError for a hook that nobody calls and for a name that two plugins have."""
        names = [plugin.name for plugin in plugins]
        if len(set(names)) != len(names):
            raise ValueError(f"two plugins have one name: {', '.join(names)}")
        hooks = {plugin: heard(plugin) for plugin in plugins}
        self.plugins = tuple(plugins)
        self._deadline = deadline
        self._on_asked = on_asked
        self._connect = [(plugin.ask_connect, Circuit()) for plugin in plugins if "ask_connect" in hooks[plugin]]
        self._join = [(plugin.ask_join, Circuit()) for plugin in plugins if "ask_join" in hooks[plugin]]

    async def ask_connect(self, ask: ConnectAsked) -> Principal:
        """Who it is. Raises Deny."""
        principal = await self.connect_opinion(ask)
        if principal is None:
            raise Deny("nobody allows this", closing.UNAUTHORIZED.code)
        return principal

    async def ask_join(self, ask: JoinAsked) -> Grant:
        """What they may do in the room. Raises Deny."""
        grant = await self.join_opinion(ask)
        if grant is None:
            raise Deny("nobody allows this", closing.FORBIDDEN.code)
        return grant

    async def connect_opinion(self, ask: ConnectAsked) -> Principal | None:
        """As `ask_connect`; None where no plugin has an opinion."""
        return await self._ask(self._connect, ask, closing.UNAUTHORIZED.code)

    async def join_opinion(self, ask: JoinAsked) -> Grant | None:
        """As `ask_join`; None where no plugin has an opinion."""
        return await self._ask(self._join, ask, closing.FORBIDDEN.code)

    async def _ask(
        self,
        hooks: Sequence[tuple[Callable[[AskT], Coroutine[Any, Any, Answer | None]], Circuit]],
        ask: AskT,
        code: int,
    ) -> Answer | None:
        for hook, circuit in hooks:
            if circuit.rest:
                raise Deny(UNDECIDED, closing.INTERNAL.code)
            started, failed = perf_counter(), False
            try:
                answer = await self._within_deadline(hook(ask))
            except Deny as denied:
                circuit.succeeded()
                if denied.code in closing.CLOSINGS:
                    raise
                log.error(
                    "a plugin denied with an unknown code", extra={"hook": hook.__qualname__, "code": denied.code}
                )
                raise Deny(denied.reason, code) from denied
            except Unavailable as error:
                raise Deny(str(error), closing.OVERLOADED.code) from error
            except Exception as error:
                failed = True
                opened = circuit.failed()
                extra = {"hook": hook.__qualname__, "seconds": circuit.rest if opened else 0.0}
                log.error("a plugin failed to answer", extra=extra, exc_info=error)
                late = isinstance(error, TimeoutError)
                raise Deny(UNDECIDED, (closing.OVERLOADED if late else closing.INTERNAL).code) from error
            finally:
                self._on_asked(hook, perf_counter() - started, failed)
            circuit.succeeded()
            if answer is not None:
                return answer
        return None

    async def _within_deadline(self, asked: Coroutine[Any, Any, Answer | None]) -> Answer | None:
        """Most answers need no waiting: those cost no timer, and nobody a task (see `relay.tasks.begin`)."""
        try:
            waits = asked.send(None)
        except StopIteration as answered:
            return cast("Answer | None", answered.value)
        if asyncio.current_task() is None:
            await asyncio.sleep(0)
        async with asyncio.timeout(self._deadline):
            return await go_on(asked, waits)
