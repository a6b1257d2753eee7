"""Trees as HTML, as Tiptap's `generateHTML` writes its default schema, and back.

What HTML has no attribute for goes into `data-attrs`, in JSON; other blocks are `<div data-node="type">`, other inline
nodes `<span data-node="type">`, other marks `<span data-mark="type">`, so that all that a tree has is kept, except
control characters, U+FFFE, U+FFFF and addresses with a scheme that could run code.

Reading takes any HTML and keeps what the tree can say; scripts, styles, event handlers, forms and embedded pages are
dropped with what is in them, other elements make way for their content.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import lxml.html
import orjson
from lxml import etree

from plugins.documents.content.schema import LEAVES, conform, is_inline, tidy
from plugins.documents.content.tree import (
    EMBED,
    MAX_BYTES,
    MAX_DEPTH,
    BadContent,
    Fault,
    Node,
    document,
    dump,
    normal,
    plain,
    sorted_marks,
)

__all__ = ["dumps", "is_safe", "loads"]

SCHEME = re.compile(r"[\x00-\x20]*([a-zA-Z][a-zA-Z0-9+.\-\x00-\x20]*):")
SCHEMES = frozenset(("http", "https", "mailto", "tel", "ftp", "ftps", "sms", "xmpp", "callto", "cid", "geo", "magnet"))
IMAGES = re.compile(r"data:image/(?:png|gif|jpeg|webp|avif)[;,]", re.IGNORECASE)
SPACE = " \t\n\r\f"
SPACES = re.compile(rf"[{SPACE}]+")
CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]")


def is_safe(url: str, *, image: bool = False) -> bool:
    """An address that runs nothing: relative, or of a scheme that is known to be harmless."""
    if image and IMAGES.match(url):
        return True
    found = SCHEME.match(url)
    return found is None or re.sub(r"[\x00-\x20]", "", found[1]).lower() in SCHEMES


class _Attribute(NamedTuple):
    html: str
    type: type
    default: object = None


ATTRIBUTES: dict[str, dict[str, _Attribute]] = {
    "orderedList": {"start": _Attribute("start", int), "type": _Attribute("type", str)},
    "image": {name: _Attribute(name, str) for name in ("src", "alt", "title")}
    | {name: _Attribute(name, int) for name in ("width", "height")},
    "tableCell": {name: _Attribute(name, int) for name in ("colspan", "rowspan")},
    "tableHeader": {name: _Attribute(name, int) for name in ("colspan", "rowspan")},
    "mention": {"id": _Attribute("data-id", str), "label": _Attribute("data-label", str)},
    "taskItem": {"checked": _Attribute("data-checked", bool)},
}
"""Attributes of nodes that have one in HTML, and the type with which they have."""

BLOCKS = {"paragraph": "p", "blockquote": "blockquote", "bulletList": "ul", "orderedList": "ol", "listItem": "li"}
BLOCKS |= {"tableRow": "tr", "tableCell": "td", "tableHeader": "th"}
MARKS = {"bold": "strong", "italic": "em", "strike": "s", "underline": "u", "code": "code", "highlight": "mark"}
MARKS |= {"subscript": "sub", "superscript": "sup"}
LINK = {name: _Attribute(name, str) for name in ("href", "target", "rel", "class", "title")}

# -- writing --


def dumps(doc: Node) -> str:
    return "".join(_write(node) for node in doc.get("content", ()))


def _write(node: Node) -> str:
    name, attrs, content = node["type"], node.get("attrs", {}), node.get("content", ())
    if name == "text":
        return _marked(_escape(node["text"]), node.get("marks", ()))
    known, rest = _split(attrs, ATTRIBUTES.get(name, {}))
    match name:
        case "heading" if type(attrs.get("level")) is int and 1 <= attrs["level"] <= 6:
            rest = {key: value for key, value in attrs.items() if key != "level"}
            return _element(f"h{attrs['level']}", {}, rest, _inner(content), content)
        case "codeBlock" if "data-attrs" not in attrs and _is_code(node):
            rest = {key: value for key, value in attrs.items() if key != "language"}
            language = {"class": f"language-{attrs['language']}"} if "language" in attrs else {}
            code = "".join(_escape(child["text"]) for child in content)
            # A parser drops a newline that comes first in <pre>.
            code = "\n" + code if code.startswith("\n") else code
            return _element("pre", {}, rest, _tag("code", language) + code + "</code>")
        case "hardBreak" | "horizontalRule" if not content:
            return _tag("br" if name == "hardBreak" else "hr", {}, rest) + _open_marks(node, "")
        case "image" if isinstance(attrs.get("src"), str) and is_safe(attrs["src"], image=True) and not content:
            return _tag("img", known, rest)
        case "taskList":
            return _element("ul", {"data-type": "taskList"}, rest, _inner(content))
        case "taskItem":
            box = (
                '<input type="checkbox" checked="checked">'
                if attrs.get("checked") is True
                else '<input type="checkbox">'
            )
            inner = f"<label>{box}<span></span></label><div>{_inner(content)}</div>"
            return _element("li", {**known, "data-type": "taskItem"}, rest, inner)
        case "table" if all(row["type"] == "tableRow" for row in content):
            return _element("table", {}, rest, f"<tbody>{_inner(content)}</tbody>")
        case "mention" if not content:
            label = known.get("data-label") or known.get("data-id") or ""
            return _element("span", {"data-type": "mention", **known}, rest, f"@{_escape(label)}")
        case _ if name in BLOCKS and name in ("paragraph", "blockquote", "bulletList", "orderedList", "listItem"):
            return _element(BLOCKS[name], known, rest, _inner(content), content)
        case "tableRow" | "tableCell" | "tableHeader":
            return _element(BLOCKS[name], known, rest, _inner(content), content)
    written = _element("span" if is_inline(node) else "div", {"data-node": name}, attrs, _inner(content), content)
    return _marked(written, node.get("marks", ()))


def _is_code(node: Node) -> bool:
    language = node.get("attrs", {}).get("language", "x")
    return (
        all(child["type"] == "text" and "marks" not in child for child in node.get("content", ()))
        and isinstance(language, str)
        and bool(language)
        and not SPACES.search(language)
        and "\r" not in "".join(child["text"] for child in node.get("content", ()))
    )


def _inner(content: Sequence[Node]) -> str:
    return "".join(map(_write, content))


def _open_marks(node: Node, text: str) -> str:
    return _marked(text, node.get("marks", ())) if text else ""


def _marked(inner: str, marks: Sequence[Node]) -> str:
    for mark in reversed(marks):
        name, attrs = mark["type"], mark.get("attrs", {})
        if name == "link" and isinstance(attrs.get("href"), str):
            if not is_safe(attrs["href"]):
                continue
            known, rest = _split(attrs, LINK)
            inner = _tag("a", known, rest) + inner + "</a>"
        elif name in MARKS:
            known = {}
            if name == "highlight" and isinstance(color := attrs.get("color"), str) and _is_plain(color):
                known = {"data-color": color, "style": f"background-color: {color}; color: inherit"}
            inner = _tag(MARKS[name], known, attrs) + inner + f"</{MARKS[name]}>"
        else:
            style = {}
            if name == "textStyle" and isinstance(color := attrs.get("color"), str) and _is_plain(color):
                style = {"style": f"color: {color}"}
            inner = _tag("span", {"data-mark": name, **style}, attrs) + inner + "</span>"
    return inner


def _is_plain(color: str) -> bool:
    return re.fullmatch(r"[\w#%., ()-]+", color) is not None and "url" not in color.lower()


def _split(attrs: dict[str, Any], names: dict[str, _Attribute]) -> tuple[dict[str, str], dict[str, Any]]:
    """Attributes that HTML has as such, and the others."""
    known, rest = {}, {}
    for key, value in attrs.items():
        name = names.get(key)
        if name is None or type(value) is not name.type or (isinstance(value, str) and CONTROL.search(value)):
            rest[key] = value
        else:
            known[name.html] = value if isinstance(value, str) else dump(value).decode()
    return known, rest


def _tag(tag: str, known: dict[str, str], rest: dict[str, Any] | None = None) -> str:
    if rest:
        known = {**known, "data-attrs": dump(rest).decode()}
    return f"<{tag}{''.join(f' {key}={_quote(value)}' for key, value in known.items())}>"


def _quote(value: str) -> str:
    return '"' + _escape(value).replace('"', "&quot;") + '"'


def _element(tag: str, known: dict[str, str], rest: dict[str, Any], inner: str, content: Sequence[Node] = ()) -> str:
    align = rest.get("textAlign")
    if align in ("left", "right", "center", "justify"):
        known = {**known, "style": f"text-align: {align}"}
    if _has_loose_spaces(content):
        known = {**known, "style": "; ".join(filter(None, (known.get("style"), "white-space: pre-wrap")))}
    return f"{_tag(tag, known, rest)}{inner}</{tag}>"


def _has_loose_spaces(content: Sequence[Node]) -> bool:
    """Whether a reader would make less of the spaces in it."""
    space = True
    inline = False
    for node in content:
        if node["type"] != "text":
            if space and inline and node["type"] == "hardBreak":
                return True
            space, inline = node["type"] == "hardBreak", False
            continue
        text = node["text"]
        if text[0] == " " and space:
            return True
        if re.search(rf"[{SPACE}]{{2}}|[\t\n\r\f]", text):
            return True
        space, inline = text[-1] == " ", True
    return inline and space


def _escape(text: str) -> str:
    return CONTROL.sub("", text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#13;")


# -- reading --

DROPPED = frozenset(
    (
        "script",
        "style",
        "template",
        "noscript",
        "iframe",
        "object",
        "embed",
        "applet",
        "frame",
        "frameset",
        "svg",
        "math",
    )
) | frozenset(
    ("head", "title", "meta", "link", "base", "select", "textarea", "button", "input", "audio", "video", "canvas")
)
READ_MARKS = {tag: name for name, tag in MARKS.items()} | {
    "b": "bold",
    "i": "italic",
    "del": "strike",
    "strike": "strike",
    "kbd": "code",
    "samp": "code",
    "tt": "code",
    "ins": "underline",
}
READ_BLOCKS = {"p": "paragraph", "blockquote": "blockquote", "ol": "orderedList", "ul": "bulletList", "li": "listItem"}
READ_BLOCKS |= {"tr": "tableRow", "td": "tableCell", "th": "tableHeader", "hr": "horizontalRule"}
PRESERVED = re.compile(r"white-space:\s*(?:pre|break-spaces)\b", re.IGNORECASE)
ALIGN = re.compile(r"text-align:\s*(left|right|center|justify)\b", re.IGNORECASE)


def loads(text: str, *, inline_images: bool = False) -> Node:
    """HTML as a document of Tiptap's default schema. inline_images: as for Markdown. Raises BadContent."""
    if len(text) > MAX_BYTES:
        raise BadContent([Fault("", f"{len(text)} characters; at most {MAX_BYTES} are taken")])
    if "\0" in text:
        raise BadContent([Fault(f"line {text.count(chr(10), 0, text.index(chr(0))) + 1}", "holds a NUL character")])
    if not text.strip(SPACE):
        return document([])
    parser = lxml.html.HTMLParser(
        encoding="utf-8", huge_tree=True, no_network=True, remove_comments=True, remove_pis=True
    )
    try:
        # In a division, so that the parser doesn't wrap text in a paragraph of its own.
        root = lxml.html.document_fromstring(f"<div>{text}</div>".encode(), parser=parser, ensure_head_body=True)
    except etree.ParserError as error:
        raise BadContent([Fault("", f"can't be read as HTML: {error}")]) from None
    body = root.find("body")
    nodes = [] if body is None else list(_read(body, (), False, 0))
    return normal(conform(document(nodes), inline_images=inline_images))


def _read(parent: Any, marks: tuple[Node, ...], keep: bool, depth: int) -> Iterator[Node]:
    """The nodes in an element. Texts that may be made less of carry "loose"."""
    if depth > MAX_DEPTH * 2:
        raise BadContent([Fault(f"line {parent.sourceline}", f"elements are nested more than {MAX_DEPTH * 2} deep")])
    yield from _text(parent.text, marks, keep)
    for child in parent:
        if isinstance(child.tag, str):
            yield from _one(child, marks, keep, depth + 1)
        yield from _text(child.tail, marks, keep)


def _text(text: str | None, marks: tuple[Node, ...], keep: bool) -> Iterator[Node]:
    if not text:
        return
    node: Node = {"type": "text", "text": text}
    if marks:
        node["marks"] = sorted_marks(list(marks))
    if not keep:
        node["text"] = SPACES.sub(" ", text)
        node["loose"] = True
    yield node


def _one(element: Any, marks: tuple[Node, ...], keep: bool, depth: int) -> Iterator[Node]:
    tag = element.tag.lower()
    extra = _extra(element)
    style = element.get("style", "")
    keep = keep or PRESERVED.search(style) is not None
    if (name := element.get("data-node")) and tag in ("div", "span"):
        yield _node(name, list(tidy(_read(element, marks if tag == "span" else (), keep, depth))), extra, marks)
    elif (name := element.get("data-mark")) and tag == "span":
        yield from _read(element, (*marks, _mark(name, extra)), keep, depth)
    elif tag == "span" and element.get("data-type") == "mention":
        yield _node("mention", [], _attributes(element, "mention") | extra)
    elif tag in DROPPED:
        return
    elif tag == "br":
        yield _node("hardBreak", [], extra)
    elif tag == "img":
        src = element.get("src", "")
        if src and is_safe(src, image=True):
            yield _node("image", [], _attributes(element, "image") | extra)
    elif tag == "pre":
        yield _code_block(element, extra)
    elif tag == "a":
        known = {key: value for key in LINK if (value := element.get(LINK[key].html)) is not None}
        if "href" in known and is_safe(known["href"]):
            marks = (*marks, _mark("link", known | extra))
        yield from _read(element, marks, keep, depth)
    elif tag in READ_MARKS:
        if tag == "mark" and not extra and (color := element.get("data-color")):
            extra = {"color": color}
        yield from _read(element, (*marks, _mark(READ_MARKS[tag], extra)), keep, depth)
    elif tag == "li" and element.get("data-type") == "taskItem":
        inner = [child for child in element if child.tag == "div"] or [element]
        content = [node for part in inner for node in tidy(_read(part, (), keep, depth))]
        yield _node("taskItem", content, {"checked": element.get("data-checked") == "true"} | extra)
    elif tag == "table":
        rows = [node for node in _read(element, (), False, depth) if node["type"] == "tableRow"]
        yield _node("table", rows, extra)
    elif tag in READ_BLOCKS or re.fullmatch(r"h[1-6]", tag):
        name = READ_BLOCKS.get(tag, "heading")
        attrs: dict[str, Any] = {"level": int(tag[1])} if name == "heading" else _attributes(element, name)
        if tag == "ul" and element.get("data-type") == "taskList":
            name = "taskList"
        if name in LEAVES and "textAlign" not in extra and (align := ALIGN.search(style)):
            attrs["textAlign"] = align[1].lower()
        yield _node(name, list(tidy(_read(element, (), keep, depth))), attrs | extra)
    elif tag in (
        "div",
        "section",
        "article",
        "main",
        "header",
        "footer",
        "aside",
        "figure",
        "figcaption",
        "dd",
        "dt",
        "address",
    ):
        yield {"type": "split"}
        yield from _read(element, marks, keep, depth)
        yield {"type": "split"}
    else:
        yield from _read(element, marks, keep, depth)


def _extra(element: Any) -> dict[str, Any]:
    if (written := element.get("data-attrs")) is None:
        return {}
    try:
        value = plain(orjson.loads(written))
    except (orjson.JSONDecodeError, BadContent):
        value = None
    if not isinstance(value, dict):
        raise BadContent([Fault(f"line {element.sourceline}", "data-attrs must be an object in JSON")])
    return value


def _attributes(element: Any, name: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, attribute in ATTRIBUTES.get(name, {}).items():
        value = element.get(attribute.html)
        if value is None:
            continue
        if attribute.type is int:
            if re.fullmatch(r"-?\d{1,9}", value):
                found[key] = int(value)
        elif attribute.type is bool:
            found[key] = value == "true"
        else:
            found[key] = value
    return found


def _mark(name: str, attrs: dict[str, Any]) -> Node:
    return {"type": name, "attrs": attrs} if attrs else {"type": name}


def _node(name: str, content: list[Node], attrs: dict[str, Any], marks: Sequence[Node] = ()) -> Node:
    node: Node = {"type": name}
    if attrs:
        node["attrs"] = attrs
    if content:
        node["content"] = content
    if marks and name == EMBED:
        node["marks"] = list(marks)
    return node


def _code_block(element: Any, extra: dict[str, Any]) -> Node:
    text = "".join(element.itertext()).replace("\r\n", "\n")
    code = element.find("code")
    classes = " ".join((element.get("class") or "", (code.get("class") or "") if code is not None else ""))
    language = re.search(r"(?:^|\s)(?:language|lang)-(\S+)", classes)
    attrs = ({"language": language[1]} if language else {}) | extra
    return _node("codeBlock", [{"type": "text", "text": text}] if text else [], attrs)
