"""Content as a tree: what Tiptap's `getJSON()` says, which every other format is turned into and made from.

    {"type": "doc", "content": [
        {"type": "heading", "attrs": {"level": 1},
         "content": [{"type": "text", "text": "Hi", "marks": [{"type": "bold"}]}]}]}

A node has `type`, and where it has any `attrs`, `content`; a text has `type`, `text` and `marks`. Types are not limited
to a schema: what an editor's extension calls a node or a mark is kept. `{"type": "$embed", "attrs": {"value": ...}}` is
what a Yjs text embeds, which no ProseMirror editor writes.

The normal form is what y-prosemirror can store of a tree: attributes that are null, `ychange` and marks of nodes that
are no text are left out, texts side by side with equal marks are one, marks have an order, whole numbers are integers.
Two trees with the same content are equal in normal form.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import orjson

__all__ = [
    "EMBED",
    "MAX_BYTES",
    "MAX_DEPTH",
    "MAX_NODES",
    "BadContent",
    "Fault",
    "Node",
    "canonical",
    "document",
    "dump",
    "join",
    "load",
    "normal",
    "plain",
    "sorted_marks",
    "text_node",
    "text_of",
    "walk",
]

Node = dict[str, Any]

EMBED = "$embed"
MAX_BYTES = 16 << 20
MAX_DEPTH = 100
"""Nodes inside each other; fifty levels of list."""
MAX_NODES = 500_000
MAX_FAULTS = 50
SAFE = 2**53 - 1
"""JavaScript's Number.MAX_SAFE_INTEGER: greater integers would reach editors as BigInt."""

ORDER = {name: at for at, name in enumerate(("link", "textStyle", "bold", "code", "italic", "strike", "underline"))}
"""As Tiptap's StarterKit ranks its marks; others follow, by name."""


class Fault(NamedTuple):
    """What is wrong where: a JSON pointer into the body ("" for all of it; a line for formats without members)."""

    pointer: str
    message: str


class BadContent(ValueError):
    """A body that is no content. Carries every fault found, up to fifty."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__(self.faults)  # as pickle rebuilds it, between processes

    def __str__(self) -> str:
        return "; ".join(f"{pointer or '/'}: {message}" for pointer, message in self.faults)


def load(body: bytes) -> Any:
    """The JSON value of a body. Raises BadContent when it is too large or no JSON in UTF-8."""
    if len(body) > MAX_BYTES:
        raise BadContent([Fault("", f"{len(body)} bytes; at most {MAX_BYTES} are taken")])
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadContent([Fault("", f"no JSON: {error}")]) from None


def dump(value: Any) -> bytes:
    return orjson.dumps(value)


def canonical(value: Any) -> bytes:
    """Equal for equal values, whatever the order of their keys."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def document(content: list[Node]) -> Node:
    return {"type": "doc", "content": content} if content else {"type": "doc"}


# -- validation, which yields the normal form --


class _Check:
    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.nodes = 0

    def fault(self, pointer: str, message: str) -> None:
        if len(self.faults) >= MAX_FAULTS:
            raise BadContent(self.faults)
        self.faults.append(Fault(pointer, message))

    def string(self, value: Any, pointer: str, *, name: bool = False) -> str:
        if not isinstance(value, str):
            self.fault(pointer, "must be a string")
        elif "\0" in value:
            self.fault(pointer, "holds a NUL character")
        elif name and not (0 < len(value) <= 200 and value.isprintable()):
            self.fault(pointer, "must be a name of 1 to 200 printable characters")
        elif not value.isascii() and not _encodable(value):
            self.fault(pointer, "holds half of a surrogate pair")
        else:
            return value
        return ""

    def value(self, value: Any, pointer: str, depth: int = 0) -> Any:
        match value:
            case None | bool():
                return value
            case str():
                return self.string(value, pointer)
            case int():
                if abs(value) > SAFE:
                    self.fault(pointer, "is an integer that JavaScript can't hold")
                return value
            case float():
                if not math.isfinite(value):
                    self.fault(pointer, "must be a finite number")
                    return None
                return int(value) if value.is_integer() and abs(value) <= SAFE else value
            case list() | dict() if depth >= MAX_DEPTH:
                self.fault(pointer, f"is nested more than {MAX_DEPTH} deep")
                return None
            case list():
                return [self.value(item, f"{pointer}/{at}", depth + 1) for at, item in enumerate(value)]
            case dict():
                return {
                    self.string(key, pointer): self.value(item, f"{pointer}/{_escape(key)}", depth + 1)
                    for key, item in value.items()
                }
        self.fault(pointer, "must be a JSON value")
        return None

    def attributes(self, value: Any, pointer: str) -> dict[str, Any]:
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.fault(pointer, "must be an object")
            return {}
        if not value:
            return {}
        for key in value:
            if key == "":
                self.fault(pointer, "has an attribute without a name")
        checked: dict[str, Any] = self.value(value, pointer)
        return checked

    def members(self, value: Node, allowed: frozenset[str], pointer: str) -> None:
        for key in value.keys() - allowed:
            self.fault(f"{pointer}/{_escape(key)}", "is not a member that this node may have")

    def marks(self, value: Any, pointer: str) -> list[Node]:
        if value is None:
            return []
        if not isinstance(value, list):
            self.fault(pointer, "must be an array")
            return []
        found = []
        for at, mark in enumerate(value):
            if not isinstance(mark, dict):
                self.fault(f"{pointer}/{at}", "must be an object")
                continue
            self.members(mark, MARK, f"{pointer}/{at}")
            name = self.string(mark.get("type"), f"{pointer}/{at}/type", name=True)
            if name == "ychange":
                continue
            attrs = self.attributes(mark.get("attrs"), f"{pointer}/{at}/attrs")
            found.append({"type": name, "attrs": attrs} if attrs else {"type": name})
        return sorted_marks(found)

    def content(self, value: Any, pointer: str, depth: int) -> list[Node]:
        if value is None:
            return []
        if not isinstance(value, list):
            self.fault(pointer, "must be an array")
            return []
        if depth > MAX_DEPTH:
            self.fault(pointer, f"is nested more than {MAX_DEPTH} deep")
            return []
        return join(
            node for at, item in enumerate(value) if (node := self.node(item, f"{pointer}/{at}", depth)) is not None
        )

    def node(self, value: Any, pointer: str, depth: int) -> Node | None:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise BadContent([*self.faults, Fault(pointer, f"more than {MAX_NODES} nodes")])
        if not isinstance(value, dict):
            self.fault(pointer, "must be an object")
            return None
        if value.get("type") == "text":
            self.members(value, TEXT, pointer)
            text = self.string(value.get("text"), f"{pointer}/text")
            if value.get("text") == "":
                self.fault(f"{pointer}/text", "must not be empty")
            marks = self.marks(value.get("marks"), f"{pointer}/marks")
            return {"type": "text", "text": text, "marks": marks} if marks else {"type": "text", "text": text}
        self.members(value, NODE, pointer)
        node: Node = {"type": self.string(value.get("type"), f"{pointer}/type", name=True)}
        attrs = self.attributes(value.get("attrs"), f"{pointer}/attrs")
        if attrs := {key: item for key, item in attrs.items() if item is not None and key != "ychange"}:
            node["attrs"] = attrs
        if node["type"] == EMBED:
            if set(attrs) != {"value"}:
                self.fault(f"{pointer}/attrs", "must be the embedded `value` alone")
            if marks := self.marks(value.get("marks"), f"{pointer}/marks"):
                node["marks"] = marks
            return node
        self.marks(value.get("marks"), f"{pointer}/marks")
        if content := self.content(value.get("content"), f"{pointer}/content", depth + 1):
            node["content"] = content
        return node


MARK = frozenset(("type", "attrs"))
TEXT = frozenset(("type", "text", "marks"))
NODE = frozenset(("type", "attrs", "content", "marks"))


def normal(value: Any) -> Node:
    """The normal form of a document. Raises BadContent with every fault, located."""
    check = _Check()
    if not isinstance(value, dict):
        raise BadContent([Fault("", "must be an object")])
    if value.get("type") != "doc":
        raise BadContent([Fault("/type", 'must be "doc"')])
    check.members(value, NODE, "")
    if check.attributes(value.get("attrs"), "/attrs"):
        check.fault("/attrs", "a document has no attributes of its own in Yjs")
    content = check.content(value.get("content"), "/content", 1)
    if check.faults:
        raise BadContent(check.faults)
    return document(content)


def plain(value: Any, pointer: str = "") -> Any:
    """The normal form of a JSON value, such as an attribute. Raises BadContent."""
    check = _Check()
    checked = check.value(value, pointer)
    if check.faults:
        raise BadContent(check.faults)
    return checked


def _escape(key: object) -> str:
    return str(key).replace("~", "~0").replace("/", "~1")


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


# -- parts of trees --


def text_node(text: str) -> Node:
    return {"type": "text", "text": text}


def sorted_marks(marks: list[Node]) -> list[Node]:
    """In the normal form's order, each mark once."""
    if len(marks) < 2:
        return marks
    distinct = {(ORDER.get(mark["type"], len(ORDER)), mark["type"], canonical(mark)): mark for mark in marks}
    return [distinct[key] for key in sorted(distinct)]


def join(nodes: Iterable[Node]) -> list[Node]:
    """Texts with equal marks that follow each other, joined. The nodes given are not changed."""
    joined: list[Node] = []
    for node in nodes:
        if node["type"] == "text" and joined and joined[-1]["type"] == "text":
            last = joined[-1]
            if last.get("marks") == node.get("marks"):
                joined[-1] = {**last, "text": last["text"] + node["text"]}
                continue
        joined.append(node)
    return joined


def walk(node: Node) -> Iterator[Node]:
    """The node and all below it, in order."""
    stack = [node]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(reversed(node.get("content", ())))


def text_of(node: Node) -> str:
    """The text in it, blocks apart by a space; to compare by, not to show."""
    return " ".join(found["text"] for found in walk(node) if found["type"] == "text")
