"""How soon a connection to PostgreSQL or Redis whose other end has vanished, without a word, counts as broken."""

import asyncio
import socket

__all__ = ["KEEPALIVE", "POSTGRES", "keep_alive"]

IDLE, INTERVAL, COUNT = 10, 5, 2
LIMIT = IDLE + INTERVAL * COUNT
"""Seconds, also for what was sent and not confirmed. Linux's own answers are two hours, and a quarter of one."""

KEEPALIVE: dict[int, int] = {
    getattr(socket, name): value
    for name, value in (
        ("TCP_KEEPIDLE", IDLE),
        ("TCP_KEEPINTVL", INTERVAL),
        ("TCP_KEEPCNT", COUNT),
        ("TCP_USER_TIMEOUT", LIMIT * 1000),
    )
    if hasattr(socket, name)
}
"""Options of a TCP socket, those that this system has."""

POSTGRES = {
    "tcp_keepalives_idle": f"{IDLE}",
    "tcp_keepalives_interval": f"{INTERVAL}",
    "tcp_keepalives_count": f"{COUNT}",
    "tcp_user_timeout": f"{LIMIT * 1000}",
}
"""The same for the server's end of a connection, as PostgreSQL's settings of a session: a host that vanished holds no
locks and no connections for longer."""


def keep_alive(transport: asyncio.BaseTransport) -> None:
    """Have the kernel look after a connection; nothing for one that is not TCP."""
    connection = transport.get_extra_info("socket")
    if connection is None or connection.family not in (socket.AF_INET, socket.AF_INET6):
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in KEEPALIVE.items():
        connection.setsockopt(socket.IPPROTO_TCP, option, value)
