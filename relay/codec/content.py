"""The content of a document, for people and programs that don't speak Yjs. The only importer of pycrdt.

As JSON, each root by name:

    {"title": {"type": "text", "value": "Hello"},
     "body":  {"type": "xml", "value": [{"tag": "p", "attributes": {"level": 2}, "children": [{"text": "Hi"}]}]}}

type        value
text        a string; a delta when it is formatted: [{"insert": string or embed, "attributes": {...}}, ...]
map, array  an object, an array; nested types as their values
xml         the children: {"tag", "attributes", "children"} or {"text": string or delta, "attributes" where it has any}
unknown     null: all that ever was in it is deleted, and what it was is not known any more

A text or xml root that has attributes of its own carries them as "attributes". Bytes are in base64, a subdocument is
{"guid": ...}, undefined and the numbers that JSON lacks are null. What still waits for edits that are missing is not
content, as in every editor.

As text: what is written in it, a line for each block, a blank line between roots. Embeds, attributes and the names of
tags are left out.
"""

import base64
import json
import math
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any

import pycrdt

from relay.errors import Malformed
from relay.yjs.compact import compact
from relay.yjs.item import REF, TYPE, read_head
from relay.yjs.roots import Root, roots
from relay.yjs.update import Layout, parse

__all__ = ["read"]

HOOK_TO_ELEMENT = 3 ^ 5
BREAKS = frozenset(("br", "hardbreak", "hard_break", "linebreak"))
ROOTS = {"text": pycrdt.Text, "map": pycrdt.Map, "array": pycrdt.Array, "xml": pycrdt.XmlFragment}


class _Node(dict[str, Any]):
    """An XML node among JSON values, so that a map's entry named "text" is not taken for one."""


class _Delta(list[Any]):
    """A formatted text among JSON values."""


def read(updates: Sequence[bytes], form: str) -> bytes:
    """The content of the document that `updates` are, as `json` or `text`; UTF-8.

    Raises Malformed when they are no updates or nested too deeply, ValueError for another `form`.
    """
    if form not in ("json", "text"):
        raise ValueError(f"unknown form {form!r}")
    layout = parse(compact(updates).state)
    try:
        doc = pycrdt.Doc[Any]()
        with doc.transaction():
            doc.apply_update(_readable(layout))
        contents = {name: _root(doc, name, root) for name, root in roots(layout).items()}
        written = json.dumps(contents, ensure_ascii=False) if form == "json" else _text(contents)
    except RecursionError:
        raise Malformed("the content is nested too deeply to be read") from None
    except (ValueError, RuntimeError) as error:
        raise Malformed(f"the content can't be read: {error}") from None
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of pyo3, which does not export it; no Exception
            raise
        raise Malformed("the content can't be read: the decoder panicked") from None
    return written.encode("utf-8", "replace")


def _readable(layout: Layout) -> bytes:
    """The update as yrs takes it: it refuses XmlHooks. An element has all that they have: a name and keys."""
    data = bytearray(layout.update)
    for structs in layout.structs.values():
        for _, _, start, _ in structs:
            if data[start] & REF == TYPE:
                at = read_head(layout.update, start).content_at
                if data[at] & 127 == 5:
                    data[at] ^= HOOK_TO_ELEMENT
    return bytes(data)


def _root(doc: "pycrdt.Doc[Any]", name: str, root: Root) -> dict[str, Any]:
    if root.kind == "unknown":
        return {"type": root.kind, "value": None}
    shared = doc.get(name, type=ROOTS[root.kind])
    content: dict[str, Any] = {"type": root.kind, "value": _value(shared)}
    if root.keyed and root.kind != "map" and (attributes := _value(doc.get(name, type=pycrdt.Map))):
        content["attributes"] = attributes
    return content


def _value(value: Any) -> Any:
    """A shared type or a plain value as JSON."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            if not math.isfinite(value):
                return None
            return int(value) if value.is_integer() else value
        case dict():
            return {key: _value(value[key]) for key in sorted(value)}  # yrs keeps no order
        case list() | tuple() | pycrdt.Array():
            return [_value(item) for item in value]
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(value).decode()
        case pycrdt.Map():
            return {key: _value(value[key]) for key in sorted(value.keys())}
        case pycrdt.Doc():
            return {"guid": value.guid}
        case pycrdt.Text():
            return _delta(value.diff())
        case pycrdt.XmlText():
            text = _delta(value.diff())
            attributes = _attributes(value)
            return _Node(text=text, attributes=attributes) if attributes else _Node(text=text)
        case pycrdt.XmlElement():
            children = [_value(child) for child in value.children]
            return _Node(tag=value.tag, attributes=_attributes(value), children=children)
        case pycrdt.XmlFragment():
            return [_value(child) for child in value.children]
    return None


def _attributes(node: "pycrdt.XmlElement | pycrdt.XmlText") -> dict[str, Any]:
    pairs: Any = node.attributes  # typed as an Iterable that is its own iterator, which it is not
    return {key: _value(value) for key, value in sorted(pairs, key=itemgetter(0))}


def _delta(chunks: Iterable[tuple[Any, dict[str, Any] | None]]) -> Any:
    chunks = list(chunks)
    if all(isinstance(insert, str) and not attributes for insert, attributes in chunks):
        return "".join(insert for insert, _ in chunks)
    return _Delta(
        {"insert": _value(insert), "attributes": _value(attributes)} if attributes else {"insert": _value(insert)}
        for insert, attributes in chunks
    )


# -- plain text, from what JSON says --


def _text(contents: dict[str, dict[str, Any]]) -> str:
    blocks = ("\n".join(_lines(content["type"], content["value"])) for content in contents.values())
    return "\n\n".join(block for block in blocks if block.strip())


def _lines(kind: str, value: Any) -> list[str]:
    if kind == "xml":
        return _blocks(value)
    if kind == "text":
        return _inline(value).split("\n")
    return _leaves(value)


def _leaves(value: Any, label: str = "") -> list[str]:
    """A line for each value, below its keys; XML and texts as they read."""
    if isinstance(value, _Node):
        return _blocks([value])
    if isinstance(value, _Delta):
        return (label + _inline(value)).split("\n")
    if isinstance(value, dict):
        return [line for key, item in value.items() for line in _leaves(item, f"{label}{key}: ")]
    if isinstance(value, list):
        if value and isinstance(value[0], _Node):
            return _blocks([node for node in value if isinstance(node, _Node)])
        return [line for item in value for line in _leaves(item, label)]
    return [] if value is None else [label + (value if isinstance(value, str) else json.dumps(value))]


def _blocks(nodes: Sequence[_Node]) -> list[str]:
    """A line for each block. What stands beside text is part of its line (a mention, an image, a line break), but texts
    side by side are blocks themselves."""
    inline = any("text" in node for node in nodes)
    lines = [""] if inline else []
    after_text = False
    for node in nodes:
        if "text" in node:
            inner = _inline(node["text"]).split("\n")
            if after_text:
                inner.insert(0, "")
        elif str(node["tag"]).lower() in BREAKS:
            inner = ["", ""]
        else:
            inner = _blocks(node["children"]) or [""]
        after_text = "text" in node
        if inline:
            lines[-1] += inner[0]
            lines += inner[1:]
        else:
            lines += inner
    return lines


def _inline(delta: Any) -> str:
    """The text of a string or delta; a type embedded in it (a paragraph, in some editors) is a line of its own."""
    if isinstance(delta, str):
        return delta
    out = ""
    for chunk in delta:
        insert = chunk["insert"]
        if isinstance(insert, str):
            out += insert
        elif isinstance(insert, _Node):
            out += ("\n" if out and not out.endswith("\n") else "") + "\n".join(_blocks([insert])) + "\n"
    return out.removesuffix("\n")
