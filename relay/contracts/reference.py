"""The contracts' reference page for people, contrib/events.md: `python -m relay.contracts.reference`."""

import sys
from collections.abc import Iterator
from typing import NamedTuple

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto

from relay.contracts.catalogue import EVENTS
from relay.contracts.generate import descriptors

__all__ = ["Comments", "described", "markdown"]

_SCALARS = {number: name.removeprefix("TYPE_").lower() for name, number in FieldDescriptorProto.Type.items()}


class Comments(NamedTuple):
    """What a `.proto` file says about its parts, by their path in the descriptor (descriptor.proto)."""

    texts: dict[tuple[int, ...], str]

    @classmethod
    def of(cls, file: FileDescriptorProto) -> "Comments":
        found = {tuple(each.path): each.leading_comments for each in file.source_code_info.location}
        return cls({path: " ".join(text.split()) for path, text in found.items() if text.strip()})

    def message(self, index: int) -> str:
        """The comment of the file's message of that index; "" when there is none."""
        return self.texts.get((4, index), "")

    def field(self, index: int, field: int) -> str:
        """The comment of a field of it."""
        return self.texts.get((4, index, 2, field), "")

    def enum(self, index: int) -> str:
        """The comment of the file's enum of that index."""
        return self.texts.get((5, index), "")

    def value(self, index: int, value: int) -> str:
        """The comment of a value of it."""
        return self.texts.get((5, index, 2, value), "")

    @property
    def file(self) -> str:
        """The comment above the file's `syntax` line."""
        return self.texts.get((12,), "")


def described(field: FieldDescriptorProto) -> str:
    """A field's type as the `.proto` file writes it, without the package."""
    name = field.type_name.rpartition(".")[2] or _SCALARS[field.type]
    return f"repeated {name}" if field.label == FieldDescriptorProto.LABEL_REPEATED else name


def markdown() -> str:
    """The page."""
    files = {file.name: file for file in descriptors().file}
    order = ["materi/v1/envelope.proto", *dict.fromkeys(kind.message.DESCRIPTOR.file.name for kind in EVENTS.values())]
    lines = [
        "# Events",
        "",
        "Generated from `relay/contracts/materi/v1/*.proto` by `make contracts`. Each topic is a Redis Stream",
        "`materi:events:<topic>`, whose entries have one field, `e`: a serialized `Envelope`.",
        "",
    ]
    for name in order:
        lines += _file(files[name])
    return "\n".join(lines)


def _file(file: FileDescriptorProto) -> Iterator[str]:
    comments = Comments.of(file)
    title = file.name.rpartition("/")[2].removesuffix(".proto")
    yield from (f"## {title}", "", comments.file, "")
    for index, message in enumerate(file.message_type):
        yield from _message(file.package, index, message, comments)
    for index, enum in enumerate(file.enum_type):
        yield from (f"### {enum.name}", "", comments.enum(index), "", "| value | number | |", "|---|---|---|")
        yield from (
            f"| `{value.name}` | {value.number} | {comments.value(index, position)} |"
            for position, value in enumerate(enum.value)
        )
        yield ""


def _message(package: str, index: int, message: DescriptorProto, comments: Comments) -> Iterator[str]:
    kind = next((kind for kind in EVENTS.values() if kind.name == f"{package}.{message.name}"), None)
    yield f"### `{kind.type}`" if kind else f"### {message.name}"
    yield from (
        "",
        f"`{message.name}`, version {kind.version}. {comments.message(index)}" if kind else comments.message(index),
    )
    yield from ("", "| field | type | number | |", "|---|---|---|---|")
    for position, field in enumerate(message.field):
        yield f"| `{field.name}` | {described(field)} | {field.number} | {comments.field(index, position)} |"
    yield ""


if __name__ == "__main__":
    sys.stdout.write(markdown())
