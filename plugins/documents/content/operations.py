"""Small changes to a document's content, as PATCH takes them: each does one thing to what the ones before it left.

A target is a block by its place, `{"block": 3}` or `{"block": [3, 0]}` (indices of `content`; negative ones count from
the end), a piece of text by quotation, `{"quote": "fox", "prefix": "brown "}`, or what is between two anchors,
`{"anchor": {...}, "to": {...}}` (relative positions of Yjs; `to` may be left out).
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from plugins.documents.content import exchange, markdown, text
from plugins.documents.content.anchors import Anchor, resolve
from plugins.documents.content.positions import Positions
from plugins.documents.content.schema import is_inline
from plugins.documents.content.tree import BadContent, Fault, Node, document, join, load, normal, walk
from plugins.documents.content.yjs import guarded, open_document

__all__ = ["Operation", "Patch", "Target", "parse", "patch"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Target(_Model):
    """One of `block`, `quote` and `anchor`."""

    block: int | list[int] | None = Field(None, description="A block by its index, or by the indices that lead to it.")
    quote: str | None = Field(None, min_length=1, description="A piece of text inside of one block.")
    prefix: str = Field("", description="What stands before the quotation.")
    suffix: str = Field("", description="What stands behind it.")
    anchor: dict[str, Any] | None = Field(None, description="A relative position of Yjs.")
    to: dict[str, Any] | None = Field(None, description="Where what is meant ends; else the block is meant.")

    @model_validator(mode="after")
    def _one(self) -> "Target":
        if sum(part is not None for part in (self.block, self.quote, self.anchor)) != 1:
            raise ValueError("must have one of `block`, `quote` and `anchor`")
        return self


class _Content(_Model):
    """One of `content`, `markdown` and `text`."""

    content: list[dict[str, Any]] | None = Field(None, description="Nodes, as Tiptap's JSON has them.")
    markdown: str | None = None
    text: str | None = Field(None, description="In place of text: as it is. In place of blocks: a paragraph a line.")

    @model_validator(mode="after")
    def _one(self) -> "_Content":
        if sum(part is not None for part in (self.content, self.markdown, self.text)) != 1:
            raise ValueError("must have one of `content`, `markdown` and `text`")
        return self


class Insert(_Content):
    """Blocks before or behind a block; text before or behind a piece of text."""

    op: Literal["insert"]
    at: Target
    side: Literal["before", "after"] = "after"


class Append(_Content):
    """Blocks at the end."""

    op: Literal["append"]


class Replace(_Content):
    """A block by blocks; a piece of text by text."""

    op: Literal["replace"]
    at: Target


class Delete(_Model):
    """A block or a piece of text."""

    op: Literal["delete"]
    at: Target


class FindReplace(_Model):
    """A text wherever it stands, formatting kept; not across blocks."""

    op: Literal["find_replace"]
    find: str = Field(min_length=1)
    replace: str
    match_case: bool = True
    limit: int | None = Field(None, ge=1, description="How many places at most, from the start; else all.")


class SetAttributes(_Model):
    """Attributes of a block; null takes one away."""

    op: Literal["set_attributes"]
    at: Target
    attributes: dict[str, Any]


Operation = Annotated[Insert | Append | Replace | Delete | FindReplace | SetAttributes, Field(discriminator="op")]


class Patch(_Model):
    """The body of a PATCH."""

    operations: list[Operation] = Field(min_length=1, max_length=1000)


_adapter = TypeAdapter(Patch)


def parse(body: bytes) -> Patch:
    """Raises BadContent with every fault, located."""
    try:
        return _adapter.validate_python(load(body))
    except ValidationError as error:
        raise BadContent(
            Fault("".join(f"/{part}" for part in found["loc"]), found["msg"]) for found in error.errors()[:50]
        ) from None


@guarded
def patch(update: bytes, operations: Sequence[Operation], root: str | None = None) -> exchange.Written:
    """Do the operations, all or none. Raises BadContent for one that can't be done, Malformed."""
    opened = open_document(update, root)
    if opened.root is not None:
        doc = opened.root.node
    else:
        assert opened.text is not None
        doc = document([{"type": "codeBlock", "content": opened.texts(opened.text.diff())}])
    plain = opened.root is None
    anchored = _anchored(update, operations, opened.name)
    edit = _Patcher(doc, plain)
    for at, operation in enumerate(operations):
        edit.do(operation, f"/operations/{at}", anchored.get(at))
    content = edit.doc.get("content", [])
    if plain:
        content = content[0].get("content", []) if content else []
    else:
        content = normal(document(content)).get("content", [])
    return exchange.apply(opened, content)


Range = tuple[tuple[int, ...], int, int]
"""A block and the UTF-16 units in its text; -1 for the block itself."""


def _anchored(update: bytes, operations: Sequence[Operation], root: str) -> dict[int, Range]:
    """Where the anchors point before anything is done: only the first operation with them, or all on other blocks."""
    wanted: list[tuple[int, Anchor]] = []
    for at, operation in enumerate(operations):
        target = getattr(operation, "at", None)
        for name in ("anchor", "to"):
            value = getattr(target, name, None)
            if value is not None:
                wanted.append((at, Anchor.from_json(value, f"/operations/{at}/at/{name}")))
    if not wanted:
        return {}
    found: dict[int, Range] = {}
    for (at, _), place in zip(wanted, resolve(update, [anchor for _, anchor in wanted], root), strict=True):
        if place is None:
            raise BadContent([Fault(f"/operations/{at}/at/anchor", "names nothing that is in the content")])
        path, offset = place.point
        if at in found:
            if found[at][0] != path:
                raise BadContent([Fault(f"/operations/{at}/at/to", "is in another block than `anchor`")])
            low, high = sorted((found[at][1], offset))
            found[at] = (path, low, high)
        else:
            found[at] = (path, offset, offset)
    return found


class _Patcher:
    """The tree while it is changed; nodes are replaced, never changed in place."""

    def __init__(self, doc: Node, plain: bool) -> None:
        self.doc = doc
        self.plain = plain

    def do(self, operation: Operation, pointer: str, anchored: Range | None) -> None:
        match operation:
            case Append():
                if self.plain:
                    (leaf,) = self.doc["content"]
                    size = _size(leaf)
                    self.put((0,), size, size, self.line(operation, pointer))
                else:
                    self.doc = document([*self.doc.get("content", ()), *self.blocks(operation, pointer)])
            case FindReplace():
                self.find_replace(operation)
            case SetAttributes():
                path, _, _ = self.target(operation.at, f"{pointer}/at", anchored)
                if self.plain:
                    raise BadContent([Fault(pointer, "plain text has no attributes")])
                node = self.node(path, f"{pointer}/at")
                attrs = {**node.get("attrs", {}), **operation.attributes}
                self.replace(path, [{**node, "attrs": {k: v for k, v in attrs.items() if v is not None}}])
            case Insert() | Replace() | Delete():
                path, start, end = self.target(operation.at, f"{pointer}/at", anchored)
                if self.plain and not path:
                    path = (0,)
                if start < 0 or (anchored is not None and operation.at.to is None and operation.op != "insert"):
                    if self.plain:
                        raise BadContent([Fault(f"{pointer}/at", "plain text has no blocks")])
                    self.whole(operation, path, pointer)
                elif isinstance(operation, Delete):
                    self.put(path, start, end, [])
                elif operation.text is None and not self.plain and isinstance(operation, Insert):
                    self.whole(operation, path, pointer)
                else:
                    if isinstance(operation, Insert):
                        start = end = start if operation.side == "before" else end
                    self.put(path, start, end, self.line(operation, pointer))

    def whole(self, operation: Insert | Replace | Delete, path: tuple[int, ...], pointer: str) -> None:
        node = self.node(path, f"{pointer}/at")
        if isinstance(operation, Delete):
            self.replace(path, [])
        elif isinstance(operation, Replace):
            self.replace(path, self.blocks(operation, pointer))
        else:
            blocks = self.blocks(operation, pointer)
            self.replace(path, [*blocks, node] if operation.side == "before" else [node, *blocks])

    # -- targets --

    def target(self, target: Target, pointer: str, anchored: Range | None) -> Range:
        if anchored is not None:
            return anchored
        if target.block is not None:
            return self.block(target.block, pointer), -1, -1
        assert target.quote is not None
        found = []
        for path, leaf in self.leaves():
            flat = _flat(leaf)
            whole = target.prefix + target.quote + target.suffix
            at = flat.find(whole)
            while at >= 0:
                positions = Positions(flat)
                start = at + len(target.prefix)
                found.append((path, positions.to_utf16(start), positions.to_utf16(start + len(target.quote))))
                at = flat.find(whole, at + 1)
        if len(found) != 1:
            count = "is not in the text" if not found else f"is in the text {len(found)} times: give prefix or suffix"
            raise BadContent([Fault(f"{pointer}/quote", count)])
        return found[0]

    def block(self, indices: int | list[int], pointer: str) -> tuple[int, ...]:
        path: list[int] = []
        node = self.doc
        for depth, index in enumerate([indices] if isinstance(indices, int) else indices):
            content = node.get("content", [])
            if not -len(content) <= index < len(content) or content[index]["type"] == "text":
                where = f"{pointer}/block" if isinstance(indices, int) else f"{pointer}/block/{depth}"
                raise BadContent([Fault(where, f"names no block: there are {len(content)}")])
            path.append(index % len(content))
            node = content[index]
        if not path:
            raise BadContent([Fault(f"{pointer}/block", "must not be empty")])
        return tuple(path)

    def node(self, path: tuple[int, ...], pointer: str) -> Node:
        node = self.doc
        for index in path:
            content = node.get("content", [])
            if index >= len(content):
                raise BadContent([Fault(pointer, "names a block that is no more")])
            node = content[index]
        if not path:
            raise BadContent([Fault(pointer, "names the document, not a block")])
        return node

    def leaves(self) -> list[tuple[tuple[int, ...], Node]]:
        found: list[tuple[tuple[int, ...], Node]] = []
        stack: list[tuple[tuple[int, ...], Node]] = [((), self.doc)]
        while stack:
            path, node = stack.pop()
            if path and text.is_leaf(node):
                found.append((path, node))
            else:
                below = [((*path, at), child) for at, child in enumerate(node.get("content", ()))]
                stack.extend(reversed(below))
        return found

    # -- what is put --

    def blocks(self, operation: Insert | Append | Replace, pointer: str) -> list[Node]:
        if self.plain:
            raise BadContent([Fault(pointer, "plain text has no blocks")])
        if operation.content is not None:
            try:
                return list(normal({"type": "doc", "content": operation.content}).get("content", []))
            except BadContent as error:
                raise BadContent(fault._replace(pointer=pointer + fault.pointer) for fault in error.faults) from None
        images = any(
            child["type"] == "image"
            for node in walk(self.doc)
            if text.is_leaf(node)
            for child in node.get("content", ())
        )
        try:
            if operation.markdown is not None:
                return list(markdown.loads(operation.markdown, inline_images=images).get("content", []))
            lines = text.loads((operation.text or "").encode()).split("\n")
        except BadContent as error:
            name = "markdown" if operation.markdown is not None else "text"
            raise BadContent(fault._replace(pointer=f"{pointer}/{name}") for fault in error.faults) from None
        return [
            {"type": "paragraph", "content": [{"type": "text", "text": line}]} if line else {"type": "paragraph"}
            for line in lines
        ]

    def line(self, operation: Insert | Append | Replace, pointer: str) -> list[Node] | str:
        """Inline nodes, or a text that takes the formatting of where it is put."""
        if operation.text is not None:
            return operation.text
        if self.plain:
            if operation.markdown is not None:
                return operation.markdown
            raise BadContent([Fault(f"{pointer}/content", "plain text has no nodes: give text")])
        blocks = self.blocks(operation, pointer)
        if all(map(is_inline, blocks)):
            return blocks
        if len(blocks) == 1 and blocks[0]["type"] == "paragraph":
            return list(blocks[0].get("content", []))
        raise BadContent([Fault(pointer, "must be inline content, to stand inside of a block")])

    def put(self, path: tuple[int, ...], start: int, end: int, new: list[Node] | str) -> None:
        node = self.node(path, "")
        content = node.get("content", [])
        if isinstance(new, str):
            marks = _marks_at(content, start, end)
            new = [{"type": "text", "text": new} | ({"marks": marks} if marks else {})] if new else []
            if "\0" in "".join(part["text"] for part in new):
                raise BadContent([Fault("", "the text holds a NUL character")])
        joined = join([*_cut(content, 0, start), *new, *_cut(content, end, _size(node))])
        bare = {key: value for key, value in node.items() if key != "content"}
        self.replace(path, [{**bare, "content": joined} if joined else bare])

    def replace(self, path: tuple[int, ...], nodes: list[Node]) -> None:
        self.doc = _replaced(self.doc, path, nodes)

    def find_replace(self, operation: FindReplace) -> None:
        left = operation.limit
        needle = operation.find if operation.match_case else operation.find.lower()
        for path, leaf in self.leaves():
            flat = _flat(leaf)
            if not operation.match_case and len(flat.lower()) == len(flat):
                flat = flat.lower()
            spots = []
            at = flat.find(needle)
            while at >= 0 and left != 0:
                spots.append(at)
                left = left - 1 if left is not None else None
                at = flat.find(needle, at + len(needle))
            positions = Positions(flat)
            for at in reversed(spots):
                self.put(path, positions.to_utf16(at), positions.to_utf16(at + len(needle)), operation.replace)


def _replaced(node: Node, path: tuple[int, ...], nodes: list[Node]) -> Node:
    content = list(node.get("content", ()))
    content[path[0] : path[0] + 1] = nodes if len(path) == 1 else [_replaced(content[path[0]], path[1:], nodes)]
    bare = {key: value for key, value in node.items() if key != "content"}
    return {**bare, "content": content} if content else bare


def _flat(leaf: Node) -> str:
    return "".join(node["text"] if node["type"] == "text" else "\ufffc" for node in leaf.get("content", ()))


def _size(leaf: Node) -> int:
    return Positions(_flat(leaf)).utf16


def _cut(content: Sequence[Node], start: int, end: int) -> list[Node]:
    """Inline nodes between two positions in UTF-16 units."""
    found: list[Node] = []
    at = 0
    for node in content:
        positions = Positions(node["text"] if node["type"] == "text" else "\ufffc")
        low = positions.from_utf16(max(start - at, 0))
        high = positions.from_utf16(min(max(end - at, 0), positions.utf16))
        if low < high:
            found.append({**node, "text": node["text"][low:high]} if node["type"] == "text" else node)
        at += positions.utf16
    return found


def _marks_at(content: Sequence[Node], start: int, end: int) -> list[Node]:
    """The marks of what is replaced; where nothing is, of what stands before, as when one types."""
    at = _cut(content, start, end) or _cut(content, start - 1, start)
    return list(at[0].get("marks", [])) if at else []
