"""What Tiptap's default schema asks of a tree, for formats that know nothing of it."""

from collections.abc import Iterator, Sequence

from plugins.documents.content.tree import EMBED, Node, document, join

__all__ = ["LEAVES", "conform", "is_inline", "tidy"]

INLINE = frozenset(("text", "hardBreak", "mention", "inlineImage", "emoji", "inlineMath", "math_inline", EMBED))
"""Nodes that stand in a line of text. Of others that do, `conform` knows by what stands beside them."""
LEAVES = frozenset(("paragraph", "heading", "codeBlock"))


def is_inline(node: Node) -> bool:
    return node["type"] in INLINE


def tidy(nodes: Iterator[Node]) -> Iterator[Node]:
    """Loose spaces as a browser shows them: none at the ends of a line, one between words. Empty texts are dropped."""
    kept: list[Node] = []
    for node in nodes:
        if node["type"] == "text" and "loose" in node and node["text"][0] == " ":
            before = kept[-1] if kept else None
            if (
                before is None
                or not _in_line(before)
                or before["type"] == "hardBreak"
                or before.get("text", "x")[-1] == " "
            ):
                node["text"] = node["text"][1:]
        if node["type"] == "text" and not node["text"]:
            continue
        if not _in_line(node) or node["type"] == "hardBreak":
            _trim(kept)
        kept.append(node)
    _trim(kept)
    for node in kept:
        node.pop("loose", None)
        yield node


def _in_line(node: Node) -> bool:
    return is_inline(node) or node["type"] == "image"


def _trim(kept: list[Node]) -> None:
    while kept and kept[-1]["type"] == "text" and "loose" in kept[-1] and kept[-1]["text"][-1] == " ":
        kept[-1]["text"] = kept[-1]["text"][:-1]
        if kept[-1]["text"]:
            return
        kept.pop()


def conform(doc: Node, *, inline_images: bool = False) -> Node:
    """A document that Tiptap's default schema takes: an editor deletes what its schema does not. Text stands in
    paragraphs, list items begin with one, containers are not empty, paragraphs hold no blocks."""
    content = _conform(list(tidy(iter(doc.get("content", ())))), "doc", inline_images)
    return document(content)


CONTAINERS = {"bulletList": "listItem", "orderedList": "listItem", "taskList": "taskItem", "table": "tableRow"}
FILLED = frozenset(("listItem", "taskItem", "blockquote", "tableCell", "tableHeader"))


def _conform(nodes: Sequence[Node], parent: str, images: bool) -> list[Node]:
    found: list[Node] = []
    line: list[Node] = []

    def close() -> None:
        if line:
            found.append({"type": "paragraph", "content": join(line)})
            line.clear()

    for node in nodes:
        name = node["type"]
        if _in_line(node) and (name != "image" or images):
            line.append(node)
            continue
        close()
        if name != "split":
            found.extend(_block(node, images))
    close()
    if (child := CONTAINERS.get(parent)) is not None:
        return [
            node if node["type"] in (child, "listItem") else _filled({"type": child, "content": [node]})
            for node in found
        ]
    if parent in ("listItem", "taskItem") and (not found or found[0]["type"] != "paragraph"):
        found.insert(0, {"type": "paragraph"})
    if parent in FILLED and not found:
        found.append({"type": "paragraph"})
    return found


def _filled(node: Node) -> Node:
    content = node["content"]
    if node["type"] in ("listItem", "taskItem") and content[0]["type"] != "paragraph":
        return {**node, "content": [{"type": "paragraph"}, *content]}
    return node


def _block(node: Node, images: bool) -> list[Node]:
    name, content = node["type"], node.get("content", [])
    head = {key: value for key, value in node.items() if key != "content"}
    if name in ("paragraph", "heading"):
        return _leaf(head, content, images)
    if name == "codeBlock" or ("content" not in node and name not in FILLED):
        return [] if name in CONTAINERS else [node]
    if name in CONTAINERS or name in FILLED:
        below = _conform(content, name, images)
        if name in CONTAINERS:
            below = [{**item, "type": CONTAINERS[name]} if item["type"] == "listItem" else item for item in below]
        return [{**head, "content": below}]
    if name == "tableRow":
        cells = [
            cell if cell["type"] in ("tableCell", "tableHeader") else {"type": "tableCell", "content": [cell]}
            for cell in content
        ]
        return [{**head, "content": [block for cell in cells for block in _block(cell, images)]}]
    return [node]  # another schema's: as it was written


def _leaf(head: Node, content: Sequence[Node], images: bool) -> list[Node]:
    """A paragraph; where blocks stand in it, what is before and after them."""
    found: list[Node] = []
    line: list[Node] = []
    for node in content:
        if _in_line(node) and (node["type"] != "image" or images):
            line.append(node)
            continue
        if line:
            found.append({**head, "content": list(tidy(iter(join(line))))})
            line = []
        if node["type"] != "split":
            found.extend(_block(node, images))
    if line:
        found.append({**head, "content": join(line)})
    return found or [head]
