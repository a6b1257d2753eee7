"""Yjs documents as trees, as y-prosemirror and @tiptap/y-tiptap map them, with the shared types they stand for.

    node                        XmlElement named by its type; attributes but null ones and `ychange`
    texts side by side          one XmlText; each mark a formatting attribute of its name, {} when it has no attributes
    several marks of one type   attributes named `type--hash`, as y-prosemirror names marks that may overlap
    the document                a root XmlFragment ("default" in Tiptap, "prosemirror" in y-prosemirror)

Source: y-prosemirror 1.3 `src/plugins/sync-plugin.js`, `src/utils.js`.
"""

import base64
import functools
import hashlib
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, ParamSpec, TypeVar

import pycrdt

from plugins.documents.content.positions import utf8_length
from plugins.documents.content.tree import EMBED, MAX_DEPTH, SAFE, Node, canonical, document, join, sorted_marks
from relay.errors import Malformed

__all__ = [
    "Element",
    "Kind",
    "Opened",
    "Run",
    "find_root",
    "formatting",
    "guarded",
    "marks_of",
    "open_document",
    "recorded",
]

P = ParamSpec("P")
T = TypeVar("T")
Kind = Literal["xml", "text"]

FRAGMENTS = ("default", "prosemirror")
TEXTS = frozenset(("text", "codemirror", "monaco", "quill"))
"""Roots that the bindings' examples name so; read as text when nothing in them says what they are."""
HASHED = re.compile(r"(.*)--[a-zA-Z0-9+/=]{8}", re.DOTALL)


class Element:
    """An element (or the root) with the tree it stands for. place: indices of children, from the root."""

    __slots__ = ("children", "handle", "node", "place")

    def __init__(
        self, handle: "pycrdt.XmlFragment | pycrdt.XmlElement", node: Node, place: tuple[int, ...], children: "Children"
    ) -> None:
        self.handle = handle
        self.node = node
        self.place = place
        self.children = children


class Run:
    """XmlTexts side by side (one, unless people made more), and the texts they stand for. place: of the first."""

    __slots__ = ("handles", "nodes", "place")

    def __init__(self, handles: "list[pycrdt.XmlText]", nodes: list[Node], place: tuple[int, ...]) -> None:
        self.handles = handles
        self.nodes = nodes
        self.place = place


Children = list[Element | Run]


class Opened:
    """A document with one of its roots read. hashed: types of marks that it names with a hash."""

    def __init__(self, doc: "pycrdt.Doc[Any]", name: str, kind: Kind) -> None:
        self.doc = doc
        self.name = name
        self.kind = kind
        self.hashed: set[str] = set()
        self.root: Element | None = None
        self.text: pycrdt.Text | None = None
        with doc.transaction():
            if kind == "xml":
                fragment = doc.get(name, type=pycrdt.XmlFragment)
                children = self._children(fragment, (), 1)
                self.root = Element(fragment, document(_content(children)), (), children)
            else:
                self.text = doc.get(name, type=pycrdt.Text)

    def _children(
        self, parent: "pycrdt.XmlFragment | pycrdt.XmlElement", place: tuple[int, ...], depth: int
    ) -> Children:
        if depth > MAX_DEPTH + 1:
            raise Malformed(f"the content is nested more than {MAX_DEPTH} deep")
        children: Children = []
        for at, child in enumerate(parent.children):
            if isinstance(child, pycrdt.XmlText):
                nodes = self.texts(child.diff())
                last = children[-1] if children else None
                if isinstance(last, Run):
                    last.handles.append(child)
                    last.nodes = join([*last.nodes, *nodes])
                else:
                    children.append(Run([child], nodes, (*place, at)))
            else:
                here = (*place, at)
                below = self._children(child, here, depth + 1)
                node: Node = {"type": (child.tag if isinstance(child, pycrdt.XmlElement) else None) or "UNDEFINED"}
                if isinstance(child, pycrdt.XmlElement) and (attrs := _attributes(child)):
                    node["attrs"] = attrs
                if content := _content(below):
                    node["content"] = content
                children.append(Element(child, node, here, below))
        return children

    def texts(self, chunks: Sequence[tuple[Any, dict[str, Any] | None]]) -> list[Node]:
        """The chunks of a text as nodes."""
        nodes = []
        for insert, attributes in chunks:
            node: Node
            if isinstance(insert, str):
                node = {"type": "text", "text": insert}
            else:
                node = {"type": EMBED, "attrs": {"value": _value(insert)}}
            if attributes:
                self.hashed.update(match[1] for key in attributes if (match := HASHED.fullmatch(key)))
                if marks := marks_of(attributes):
                    node["marks"] = marks
            nodes.append(node)
        return join(nodes)


def _content(children: Children) -> list[Node]:
    return [node for child in children for node in (child.nodes if isinstance(child, Run) else (child.node,))]


def _attributes(element: "pycrdt.XmlElement") -> dict[str, Any]:
    pairs: Any = element.attributes  # typed as an Iterable that is its own iterator, which it is not
    # Sorted, because yrs keeps no order.
    found = sorted((key, value) for key, value in pairs if value is not None and key != "ychange") if pairs else []
    return {key: _value(value) for key, value in found}


def _value(value: Any) -> Any:
    """What yrs says a value is, as JSON: whole numbers as integers, bytes in base64, other shared types as null."""
    match value:
        case float():
            return (int(value) if value.is_integer() and abs(value) <= SAFE else value) if value - value == 0 else None
        case dict():
            return {key: _value(value[key]) for key in sorted(value)}  # yrs keeps no order
        case list() | tuple():
            return [_value(item) for item in value]
        case None | bool() | int() | str():
            return value
        case bytes() | bytearray():
            return base64.b64encode(value).decode()
    return None


def marks_of(attributes: dict[str, Any]) -> list[Node]:
    """The marks that formatting attributes stand for. What is no object (another editor's) is one, named `value`."""
    marks = []
    for key, value in attributes.items():
        if value is None or key == "ychange":
            continue
        match = HASHED.fullmatch(key)
        mark: Node = {"type": match[1] if match else key}
        value = _value(value)
        if attrs := value if isinstance(value, dict) else {} if value is True else {"value": value}:
            mark["attrs"] = attrs
        marks.append(mark)
    return sorted_marks(marks)


def formatting(
    marks: Sequence[Node], present: dict[str, Any], hashed: set[str], *, bare: bool = False
) -> dict[str, Any]:
    """The formatting attributes that stand for marks. What is `present` already keeps its name and its form.

    bare: as in a Y.Text, where a mark without attributes is true and one with a `value` alone is that.
    """
    wanted: dict[str, Any] = {}
    kept = {canonical(mark): (key, value) for key, value in present.items() for mark in marks_of({key: value})}
    names = [mark["type"] for mark in marks]
    for mark in marks:
        name = mark["type"]
        attrs = mark.get("attrs", {})
        if (found := kept.get(canonical(mark))) is not None:
            wanted[found[0]] = found[1]
        elif bare:
            wanted[name] = attrs["value"] if attrs.keys() == {"value"} else attrs or True
        elif name in hashed or names.count(name) > 1:
            wanted[f"{name}--{_hash(mark)}"] = attrs
        else:
            wanted[name] = attrs
    if "ychange" in present:
        wanted["ychange"] = present["ychange"]
    return wanted


def _hash(mark: Node) -> str:
    digest = hashlib.sha256(_any(mark)).digest()
    folded = bytearray(6)
    for at, byte in enumerate(digest):
        folded[at % 6] ^= byte
    return base64.b64encode(folded).decode()


def _any(value: Any) -> bytes:
    """As lib0's `encodeAny` writes JSON."""
    match value:
        case None:
            return b"\x7e"
        case bool():
            return b"\x78" if value else b"\x79"
        case str():
            return b"\x77" + _text(value)
        case int() if abs(value) < 2**31:
            sign, rest = (0x40 if value < 0 else 0), abs(value)
            head = bytes(((0x80 if rest > 63 else 0) | sign | rest & 63,))
            rest >>= 6
            return b"\x7d" + head + (_uint(rest) if head[0] & 0x80 else b"")
        case int() | float():
            (single,) = struct.unpack(">f", struct.pack(">f", value)) if abs(value) < 3e38 else (None,)
            return b"\x7c" + struct.pack(">f", value) if single == value else b"\x7b" + struct.pack(">d", value)
        case list():
            return b"\x75" + _uint(len(value)) + b"".join(map(_any, value))
        case dict():
            return b"\x76" + _uint(len(value)) + b"".join(_text(key) + _any(item) for key, item in value.items())
    raise TypeError(type(value).__name__)


def _text(text: str) -> bytes:
    return _uint(utf8_length(text)) + text.encode()


def _uint(number: int) -> bytes:
    encoded = bytearray()
    while number > 127:
        encoded.append(128 | number & 127)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


# -- documents --


def open_document(update: bytes, root: str | None = None, kind: Kind | None = None) -> Opened:
    """The document that `update` is, and its root: the one named, else Tiptap's, y-prosemirror's, or the first that
    has content.

    A root with nothing visible in it is what `kind` says, else what its name does, else XML. Raises Malformed.
    """
    doc = pycrdt.Doc[Any]()
    name, found = _find(doc, update, root)
    found = found or kind or ("text" if name in TEXTS else "xml")
    if found == "text":
        doc = pycrdt.Doc[Any]()  # a root stays what it was first taken for, and observing it as another panics
        doc.apply_update(update)
    return Opened(doc, name, found)


def find_root(update: bytes, root: str | None = None) -> tuple[str, Kind | None]:
    """The name of the root that `open_document` would open, and what it holds, if anything."""
    return _find(pycrdt.Doc[Any](), update, root)


def _find(doc: "pycrdt.Doc[Any]", update: bytes, root: str | None) -> tuple[str, Kind | None]:
    try:
        doc.apply_update(update)
    except (ValueError, RuntimeError) as error:
        raise Malformed(f"the document can't be read: {error}") from None
    if root is not None:
        return root, _kind(doc, root)
    names = [*FRAGMENTS, *sorted(set(doc.keys()) - set(FRAGMENTS))]
    for name in names:
        if (kind := _kind(doc, name)) is not None:
            return name, kind
    return next((name for name in names if name in TEXTS), FRAGMENTS[0]), None


def _kind(doc: "pycrdt.Doc[Any]", name: str) -> Kind | None:
    """What a root holds; None when there is nothing visible, or a map or an array."""
    with doc.transaction():
        if next(iter(doc.get(name, type=pycrdt.XmlFragment).children), None) is not None:
            return "xml"
        return "text" if doc.get(name, type=pycrdt.Text).diff() else None


@contextmanager
def recorded(doc: "pycrdt.Doc[Any]") -> Iterator[list[bytes]]:
    """A transaction; afterwards the list holds its update, or nothing when it changed nothing."""
    updates: list[bytes] = []
    subscription = doc.observe(lambda event: updates.append(event.update))
    try:
        with doc.transaction():
            yield updates
    finally:
        doc.unobserve(subscription)
        updates[:] = [update for update in updates if update != b"\0\0"]


def guarded(function: Callable[P, T]) -> Callable[P, T]:
    """Makes yrs's panics Malformed: they are no `Exception`s, and pyo3 does not export their class."""

    @functools.wraps(function)
    def call(*arguments: P.args, **named: P.kwargs) -> T:
        try:
            return function(*arguments, **named)
        except RecursionError:
            raise Malformed("the content is nested too deeply") from None
        except BaseException as error:
            if type(error).__name__ != "PanicException":
                raise
            raise Malformed("the content can't be read: the decoder panicked") from None

    return call
