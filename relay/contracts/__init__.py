"""The events that leave a process, as protobuf messages: `materi/v1/*.proto`, and the catalogue of them.

`make contracts` generates the Python code (`*_pb2.py`, checked in), contrib/asyncapi.json and contrib/events.md from
the `.proto` files, and refuses a change that would break who reads what was released (`relay.contracts.compatible`).
"""

from relay.contracts.catalogue import EVENTS, TOPICS, Kind, kind_of
from relay.contracts.event import Event, UnknownType

__all__ = ["EVENTS", "TOPICS", "Event", "Kind", "UnknownType", "kind_of"]
