"""`relay serve`: run a node, or several under a supervisor, until told to stop; tell a person where to connect."""

import logging
import sys

import uvloop

from relay import __version__
from relay.log import configure
from relay.node import OPEN, Node
from relay.settings import Settings
from relay.supervisor import Supervisor

__all__ = ["serve"]

log = logging.getLogger("relay.serve")


def serve(settings: Settings) -> int:
    """Blocks until the node has stopped; the exit status. Raises StartError."""
    configure(settings.log_format, settings.log_level)
    return uvloop.run(_serve(settings))


async def _serve(settings: Settings) -> int:
    node = Supervisor(settings) if settings.workers > 1 or settings.plugins else Node(settings)
    try:
        await node.start()
        log.info("ready", extra={"node": node.id, "host": settings.host, "port": node.port, "version": __version__})
        if sys.stdout.isatty() or settings.log_format == "text":
            print(greeting(node), flush=True)
        if not (settings.authenticated or settings.plugins or settings.shim):
            log.warning(OPEN)
        await node.wait()
    finally:
        await node.stop()
    return 0


def greeting(node: Node | Supervisor) -> str:
    """Where to connect, and how."""
    settings = node.settings
    host = settings.host if settings.host not in ("0.0.0.0", "::") else "localhost"  # noqa: S104
    if ":" in host:
        host = f"[{host}]"
    base = f"{host}:{node.port}"
    where = f"  data      {settings.data}" if not (settings.database_url and settings.redis_url) else ""
    api = f"  api       http://{base}/docs\n" if settings.plugins else ""
    return f"""
  Materi Relay {__version__}

  try it    http://{base}/   (open it in two windows)
  yjs       new WebsocketProvider('ws://{base}/ws', 'my-document', ydoc)
  tiptap    new HocuspocusProvider({{ url: 'ws://{base}/ws', name: 'my-document', document: ydoc }})
  metrics   http://{base}/metrics
{api}{where}
  stop it with Ctrl-C
"""
