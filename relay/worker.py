"""One process of a supervisor: it serves a port together with its siblings, and dies with their parent."""

import ctypes
import os
import pickle
import signal
import socket
from collections.abc import Callable
from typing import NamedTuple, Protocol

import uvloop

from relay.errors import StartError
from relay.log import configure
from relay.node import Node
from relay.settings import Settings
from relay.shard.handoff import Place

__all__ = ["READY", "Assignment", "Served", "receive", "send", "work"]

READY = b"\1"
"""What a worker says once it serves; anything else is why it can't."""
PR_SET_PDEATHSIG = 1
LENGTH = 4


class Assignment(NamedTuple):
    """What a supervisor tells a worker: `listener` is the descriptor of the socket that all accept from, or -1,
    `parent` the supervisor's process id; the rest is as in `Place`. The settings name services that run."""

    settings: Settings
    number: int
    workers: int
    mesh: str
    listener: int
    parent: int


class Served(Protocol):
    """What a process runs: a node, or a shim."""

    async def start(self) -> None:
        """Serve. Raises StartError."""

    async def wait(self) -> None:
        """Until told to stop."""

    async def stop(self) -> None:
        """Stop, in bounded time; may be called at any time after `start` began."""


def send(assignment: Assignment) -> bytes:
    """As it is written to the worker's end of the socket pair."""
    data = pickle.dumps(assignment)
    return len(data).to_bytes(LENGTH, "big") + data


def receive(control: socket.socket) -> Assignment:
    """The inverse of `send`; raises EOFError when the supervisor is gone."""
    length = int.from_bytes(control.recv(LENGTH, socket.MSG_WAITALL), "big")
    data = control.recv(length, socket.MSG_WAITALL) if length else b""
    if not data or len(data) < length:
        raise EOFError("the supervisor is gone")
    assignment: Assignment = pickle.loads(data)  # noqa: S301  (our parent)
    return assignment


def work(descriptor: int, make: Callable[[Settings, Place], Served] = Node) -> int:
    """Serve what the supervisor at the other end of this socket assigns; the exit status."""
    with socket.socket(fileno=descriptor) as control:
        assignment = receive(control)
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != assignment.parent:
            return 1
        settings = assignment.settings
        configure(settings.log_format, settings.log_level)
        return uvloop.run(_work(control, assignment, make))


async def _work(control: socket.socket, assignment: Assignment, make: Callable[[Settings, Place], Served]) -> int:
    settings, number, workers, mesh, descriptor, _ = assignment
    listener = socket.socket(fileno=descriptor) if descriptor >= 0 else None
    served = make(settings, Place(number, workers, mesh, listener))
    try:
        await served.start()
        control.sendall(READY)
        await served.wait()
    except StartError as error:
        control.sendall(str(error).encode())
        return 1
    finally:
        await served.stop()
    return 0
