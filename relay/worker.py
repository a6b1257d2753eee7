"""One worker of a supervisor: a node that serves a port together with its siblings, and dies with their parent."""

import ctypes
import os
import pickle
import signal
import socket
from typing import NamedTuple

import uvloop

from relay.errors import StartError
from relay.log import configure
from relay.node import Node
from relay.settings import Settings
from relay.shard.handoff import Place

__all__ = ["READY", "Assignment", "receive", "send", "work"]

READY = b"\1"
"""What a worker says once it serves; anything else is why it can't."""
PR_SET_PDEATHSIG = 1
LENGTH = 4


class Assignment(NamedTuple):
    """What a supervisor tells a worker: `listener` is the descriptor of the socket that all accept from, `parent` the
    supervisor's process id; the rest is as in `Place`. The settings name services that run."""

    settings: Settings
    number: int
    workers: int
    mesh: str
    listener: int
    parent: int


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


def work(descriptor: int) -> int:
    """Serve what the supervisor at the other end of this socket assigns; the exit status."""
    with socket.socket(fileno=descriptor) as control:
        assignment = receive(control)
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != assignment.parent:
            return 1
        settings = assignment.settings
        configure(settings.log_format, settings.log_level)
        return uvloop.run(_work(control, assignment))


async def _work(control: socket.socket, assignment: Assignment) -> int:
    settings, number, workers, mesh, descriptor, _ = assignment
    node = Node(settings, Place(number, workers, mesh, socket.socket(fileno=descriptor)))
    try:
        await node.start()
        control.sendall(READY)
        await node.wait()
    except StartError as error:
        control.sendall(str(error).encode())
        return 1
    finally:
        await node.stop()
    return 0
