"""The formats of content, by name: what a document's root is in each, and what a body in each makes of it."""

import html as escapes
from typing import Any, Literal, get_args

from plugins.documents.content import html, markdown, text
from plugins.documents.content.keep import keep
from plugins.documents.content.schema import is_inline
from plugins.documents.content.tree import EMBED, BadContent, Fault, Node, dump, join, load, normal, plain, walk
from plugins.documents.content.yjs import Opened, formatting, marks_of

__all__ = ["FORMATS", "MEDIA_TYPES", "Format", "kind_of", "parse", "show"]

Format = Literal["json", "md", "html", "text", "yjs"]
FORMATS: tuple[str, ...] = get_args(Format)
MEDIA_TYPES: dict[str, str] = {
    "json": "application/json",
    "md": "text/markdown; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "text": "text/plain; charset=utf-8",
    "yjs": "application/octet-stream",
}


def show(opened: Opened, form: str) -> bytes:
    """The opened root in a format other than `yjs`. Raises ValueError for one that is not known."""
    if opened.root is not None:
        doc = opened.root.node
        match form:
            case "json":
                return dump(doc)
            case "md":
                return markdown.dumps(doc).encode()
            case "html":
                return html.dumps(doc).encode()
            case "text":
                return text.dumps(doc).encode()
    if opened.text is not None:
        nodes = opened.texts(opened.text.diff())
        match form:
            case "json":
                return dump({"type": "text", "value": _delta(nodes, opened)})
            case "md" | "text":
                return text.line(nodes).encode()
            case "html":
                return f"<pre>{escapes.escape(text.line(nodes))}</pre>".encode()
    raise ValueError(f"unknown format {form!r}")


def kind_of(body: bytes, form: str) -> Literal["xml", "text"] | None:
    """What a body says of the root it is for; None when it fits either."""
    if form == "json":
        value = load(body)
        return "text" if isinstance(value, dict) and value.get("type") == "text" else "xml"
    return "xml" if form == "html" else None


def parse(opened: Opened, body: bytes, form: str) -> list[Node]:
    """The content that a body asks for. Raises BadContent; ValueError for an unknown format."""
    if form not in ("json", "md", "html", "text"):
        raise ValueError(f"unknown format {form!r}")
    if opened.root is None:
        return _parse_text(opened, body, form)
    old = opened.root.node
    if form == "json":
        value = load(body)
        if isinstance(value, dict) and value.get("type") == "text":
            raise BadContent([Fault("/type", 'must be "doc": this document holds blocks, not plain text')])
        new = normal(value)
    else:
        written = text.loads(body)
        images = any(child["type"] == "image" for node in walk(old) if _holds_text(node) for child in node["content"])
        if form == "text":
            new = text.merge(old, written)
        elif form == "md":
            new = keep(old, markdown.loads(written, inline_images=images), markdown.render, markdown.EXPRESSED)
        else:
            new = html.loads(written, inline_images=images)
    content: list[Node] = new.get("content", [])
    return content


def _holds_text(node: Node) -> bool:
    return any(is_inline(child) for child in node.get("content", ()))


def _parse_text(opened: Opened, body: bytes, form: str) -> list[Node]:
    assert opened.text is not None
    if form == "html":
        raise BadContent([Fault("", "this document is plain text: write it as text, md or json")])
    if form != "json":
        return [
            {**node, "type": "text", "text": text.spoken(node)} if node["type"] == "hardBreak" else node
            for node in text.inline(opened.texts(opened.text.diff()), text.loads(body))
        ]
    value = load(body)
    if not isinstance(value, dict) or value.get("type") != "text" or value.keys() - {"type", "value"}:
        raise BadContent([Fault("", 'must be {"type": "text", "value": ...}: this document is plain text')])
    delta = value.get("value")
    if isinstance(delta, str):
        delta = [{"insert": delta}] if delta else []
    if not isinstance(delta, list):
        raise BadContent([Fault("/value", "must be a string or a delta")])
    return join(_chunk(chunk, f"/value/{at}") for at, chunk in enumerate(delta))


def _chunk(chunk: Any, pointer: str) -> Node:
    if not isinstance(chunk, dict) or "insert" not in chunk or chunk.keys() - {"insert", "attributes"}:
        raise BadContent([Fault(pointer, "must be an object of `insert` and `attributes`")])
    insert = plain(chunk["insert"], f"{pointer}/insert")
    attributes = plain(chunk.get("attributes") or {}, f"{pointer}/attributes")
    if not isinstance(attributes, dict):
        raise BadContent([Fault(f"{pointer}/attributes", "must be an object")])
    if insert == "" or insert is None:
        raise BadContent([Fault(f"{pointer}/insert", "must not be empty")])
    node: Node = {"type": "text", "text": insert}
    if not isinstance(insert, str):
        node = {"type": EMBED, "attrs": {"value": insert}}
    if marks := marks_of(attributes):
        node["marks"] = marks
    return node


def _delta(nodes: list[Node], opened: Opened) -> Any:
    if all(node["type"] == "text" and "marks" not in node for node in nodes):
        return "".join(node["text"] for node in nodes)
    return [
        {"insert": node["text"] if node["type"] == "text" else node["attrs"]["value"]}
        | ({"attributes": formatting(node["marks"], {}, opened.hashed, bare=True)} if "marks" in node else {})
        for node in nodes
    ]
