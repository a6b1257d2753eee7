"""Materi Relay: a collaboration engine for Yjs editors. Start reading at `relay/node.py`, then `relay/room/room.py`."""

__all__ = ["__version__"]

__version__ = "0.1.0"
