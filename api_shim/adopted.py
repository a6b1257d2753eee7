"""Connections that a relay accepted and gave to us, with what it had read from them."""

import asyncio
from collections.abc import Callable
from typing import cast

from relay.shard.handoff import Passed
from relay.tasks import spawn

__all__ = ["adopt"]


class _Adopted(asyncio.Protocol):
    """Becomes an HTTP connection as soon as it is one of ours."""

    def __init__(self, make: Callable[[], asyncio.Protocol], data: bytes) -> None:
        self._make = make
        self._data = data

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        handler = self._make()
        cast(asyncio.Transport, transport).set_protocol(handler)
        handler.connection_made(transport)
        handler.data_received(self._data)  # at once, before anything more is read


def adopt(make: Callable[[], asyncio.Protocol], passed: Passed) -> None:
    """Serve a client that a relay passed on; `make` makes the protocol of a connection."""

    async def connect() -> None:
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(lambda: _Adopted(make, passed.data), passed.socket)

    spawn("adopt a client", connect(), expected=(OSError,))
