"""The contracts as an AsyncAPI 3.0 document, contrib/asyncapi.json: `python -m relay.contracts.asyncapi`.

Payloads are given as JSON Schema of the events' JSON form, which webhooks and `GET /v1/events` send; on the streams
they are protobuf.
"""

import sys
from typing import Any

import orjson
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto

from relay.contracts.catalogue import EVENTS, TOPICS, Kind
from relay.contracts.generate import descriptors
from relay.contracts.reference import Comments

__all__ = ["document"]

_JSON: dict[int, dict[str, Any]] = {
    FieldDescriptorProto.TYPE_STRING: {"type": "string"},
    FieldDescriptorProto.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptorProto.TYPE_UINT32: {"type": "integer", "minimum": 0},
    # protobuf's JSON mapping: 64-bit integers are strings, since JavaScript's numbers have 53 bits
    FieldDescriptorProto.TYPE_UINT64: {"type": "string", "pattern": "^[0-9]+$"},
}


def document() -> dict[str, Any]:
    """The AsyncAPI document."""
    schemas: dict[str, Any] = {}
    for file in descriptors().file:
        if file.package == "materi.v1" and not file.name.endswith("envelope.proto"):
            _schemas(file, schemas)
    channels: dict[str, Any] = {}
    for topic in TOPICS:
        kinds = [kind for kind in EVENTS.values() if kind.topic == topic]
        channels[topic] = {
            "address": f"materi:events:{topic}",
            "messages": {kind.type: {"$ref": f"#/components/messages/{kind.type}"} for kind in kinds},
        }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Materi events",
            "version": "1",
            "description": "Facts on Redis Streams, kept in PostgreSQL, delivered at least once: contrib/events.md.",
        },
        "defaultContentType": "application/x-protobuf; message=materi.v1.Envelope",
        "channels": channels,
        "operations": {
            f"receive-{topic}": {"action": "receive", "channel": {"$ref": f"#/channels/{topic}"}} for topic in TOPICS
        },
        "components": {
            "messages": {kind.type: _message(kind, schemas) for kind in EVENTS.values()},
            "schemas": schemas,
        },
    }


def _message(kind: Kind, schemas: dict[str, Any]) -> dict[str, Any]:
    name = kind.name.rpartition(".")[2]
    text = {"type": "string"}
    return {
        "name": kind.type,
        "title": name,
        "summary": schemas[name]["description"],
        "payload": {
            "type": "object",
            "required": ["id", "time", "type", "version", "subject", "data"],
            "properties": {
                "id": text | {"format": "uuid"},
                "time": text | {"format": "date-time"},
                "type": {"const": kind.type},
                "version": {"const": kind.version},
                "subject": text,
                "actor": text,
                "trace": text,
                "data": {"$ref": f"#/components/schemas/{name}"},
            },
        },
    }


def _schemas(file: FileDescriptorProto, schemas: dict[str, Any]) -> None:
    comments = Comments.of(file)
    for index, enum in enumerate(file.enum_type):
        values = [value.name for value in enum.value]
        schemas[enum.name] = {"type": "string", "enum": values, "description": comments.enum(index)}
    for index, message in enumerate(file.message_type):
        properties = {
            field.name: _field(field) | {"description": comments.field(index, position)}
            for position, field in enumerate(message.field)
        }
        schemas[message.name] = _object(message, properties, comments.message(index))


def _object(message: DescriptorProto, properties: dict[str, Any], description: str) -> dict[str, Any]:
    return {"type": "object", "title": message.name, "description": description, "properties": properties}


def _field(field: FieldDescriptorProto) -> dict[str, Any]:
    name = field.type_name.rpartition(".")[2]
    schema = {"$ref": f"#/components/schemas/{name}"} if name else dict(_JSON[field.type])
    return {"type": "array", "items": schema} if field.label == FieldDescriptorProto.LABEL_REPEATED else schema


if __name__ == "__main__":
    sys.stdout.buffer.write(orjson.dumps(document(), option=orjson.OPT_INDENT_2) + b"\n")
