"""Reads Markdown."""

import html
import re
from collections.abc import Sequence
from typing import Any

import orjson
from markdown_it import MarkdownIt
from markdown_it.token import Token

from plugins.documents.content import html as markup
from plugins.documents.content.markdown.syntax import NODE_FENCE, TAGS
from plugins.documents.content.schema import conform
from plugins.documents.content.tree import (
    MAX_BYTES,
    MAX_DEPTH,
    BadContent,
    Fault,
    Node,
    document,
    join,
    normal,
    sorted_marks,
    text_node,
)

__all__ = ["loads", "read_inline"]

_md = MarkdownIt("commonmark", {"maxNesting": MAX_DEPTH}).enable(["table", "strikethrough"])
_md.normalizeLink = lambda url: url  # type: ignore[method-assign]
_md.normalizeLinkText = lambda link: link  # type: ignore[method-assign]
_md.validateLink = lambda url: markup.is_safe(url, image=True)  # type: ignore[method-assign]

BOX = re.compile(r"\[([ xX])\](?:\s+|$)")
OPEN = re.compile(r"<(span) data-(mark|node)='([^']*)'>|<([a-z]+)>")
SINGLE = {tag: mark for mark, tag in TAGS.items()} | {"b": "bold", "i": "italic", "del": "strike", "code": "code"}


def loads(text: str, *, inline_images: bool = False) -> Node:
    """Markdown as a document of Tiptap's default schema. inline_images: whether images stand in paragraphs in this
    document; Tiptap's own do not, so they become blocks. Raises BadContent."""
    if len(text) > MAX_BYTES:
        raise BadContent([Fault("", f"{len(text)} characters; at most {MAX_BYTES} are taken")])
    if "\0" in text:
        raise BadContent([Fault(f"line {text.count(chr(10), 0, text.index(chr(0))) + 1}", "holds a NUL character")])
    reader = _Reader(_md.parse(text))
    content = reader.blocks("")
    return normal(conform(document(content), inline_images=inline_images))


class _Reader:
    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.at = 0
        self.boxed: dict[int, Node] = {}

    def blocks(self, closing: str) -> list[Node]:
        nodes: list[Node] = []
        while self.at < len(self.tokens):
            token = self.tokens[self.at]
            self.at += 1
            if token.type == closing:
                break
            nodes.extend(self.block(token))
        return nodes

    def block(self, token: Token) -> list[Node]:
        match token.type:
            case "paragraph_open":
                return [self.paragraph()]
            case "heading_open":
                return [_node("heading", self.blocks("heading_close"), {"level": int(token.tag[1])})]
            case "inline":
                return _inlines(token.children or [])
            case "fence" | "code_block":
                return [_code_block(token)]
            case "blockquote_open":
                return [_node("blockquote", self.blocks("blockquote_close"))]
            case "hr":
                return [_node("horizontalRule", [])]
            case "bullet_list_open":
                return self.lists(self.blocks("bullet_list_close"))
            case "ordered_list_open":
                start = token.attrGet("start")
                return [
                    _node("orderedList", self.blocks("ordered_list_close"), {} if start is None else {"start": start})
                ]
            case "list_item_open":
                return [_node("listItem", self.blocks("list_item_close"))]
            case "html_block":
                return _html_block(token)
            case "table_open":
                return [_node("table", [row for row in self.blocks("table_close") if row["type"] == "tableRow"])]
            case "tr_open":
                return [_node("tableRow", self.blocks("tr_close"))]
            case "th_open" | "td_open":
                cell = "tableHeader" if token.type == "th_open" else "tableCell"
                return [_node(cell, [_node("paragraph", self.blocks(f"{token.type[:2]}_close"))])]
        return []

    def paragraph(self) -> Node:
        boxed = BOX.match(self.tokens[self.at].content)  # as it is written: in a text, one can't see an escape
        node = _node("paragraph", self.blocks("paragraph_close"))
        if boxed:
            self.boxed[id(node)] = node
        return node

    def lists(self, items: list[Node]) -> list[Node]:
        """Items with a box are a task list; where only some have one, lists alternate."""
        lists: list[Node] = []
        for item in items:
            first = item["content"][0] if "content" in item else item
            if id(first) in self.boxed and (found := BOX.match(first["content"][0].get("text", ""))):
                text = first["content"][0]
                rest = [{**text, "text": text["text"][found.end() :]}] if found.end() < len(text["text"]) else []
                content = [_node("paragraph", rest + first["content"][1:]), *item["content"][1:]]
                item = _node("taskItem", content, {"checked": found[1] != " "})
            kind = "taskList" if item["type"] == "taskItem" else "bulletList"
            if not lists or lists[-1]["type"] != kind:
                lists.append({"type": kind, "content": []})
            lists[-1]["content"].append(item)
        return lists


def _node(name: str, content: list[Node], attrs: dict[str, Any] | None = None) -> Node:
    node: Node = {"type": name}
    if attrs:
        node["attrs"] = attrs
    if content:
        node["content"] = content
    return node


def _code_block(token: Token) -> Node:
    text = token.content.removesuffix("\n")
    info = html.unescape(token.info.strip()) if token.type == "fence" else ""
    if info == NODE_FENCE:
        try:
            value = orjson.loads(text)
            return dict(normal({"type": "doc", "content": [value]})["content"][0])
        except (orjson.JSONDecodeError, BadContent) as error:
            line = f"line {(token.map or [0])[0] + 1}"
            raise BadContent([Fault(line, f'a "{NODE_FENCE}" block holds no node: {error}')]) from None
    language = info.split(maxsplit=1)[0] if info else ""
    return _node("codeBlock", [text_node(text)] if text else [], {"language": language} if language else {})


def _html_block(token: Token) -> list[Node]:
    return list(markup.loads(token.content).get("content", ()))


def read_inline(text: str, cell: bool) -> list[Node]:
    """A line of Markdown, or a cell of a table, as inline nodes."""
    if cell:
        text = text.replace("\\|", "|")
    tokens = _md.parseInline(text)
    return _inlines(tokens[0].children or []) if tokens else []


def _inlines(tokens: Sequence[Token]) -> list[Node]:
    nodes: list[Node] = []
    marks: list[tuple[str, Node]] = []  # how it is closed, and the mark
    hidden = ""  # what ends the label of a node, which is no content
    for token in tokens:
        if hidden:
            if token.type == "html_inline" and token.content == hidden:
                hidden = ""
            continue
        match token.type:
            case "text" | "text_special":
                _put(nodes, token.content, marks)
            case "softbreak":
                _put(nodes, " ", marks)
            case "hardbreak":
                nodes.append({"type": "hardBreak"})
            case "code_inline":
                _put(nodes, token.content, [*marks, ("", {"type": "code"})])
            case "image":
                attrs = {
                    "src": token.attrGet("src"),
                    "alt": token.content and _alt(token),
                    "title": token.attrGet("title"),
                }
                nodes.append(_node("image", [], {key: value for key, value in attrs.items() if value}))
            case "strong_open" | "em_open" | "s_open":
                name = {"strong": "bold", "em": "italic", "s": "strike"}[token.type[:-5]]
                marks.append((token.type[:-5] + "_close", {"type": name}))
            case "link_open":
                link = {"href": token.attrGet("href"), "title": token.attrGet("title")}
                kept = {key: value for key, value in link.items() if value is not None}
                marks.append(("link_close", {"type": "link", "attrs": kept}))
            case "html_inline":
                hidden = _tag(token.content, nodes, marks)
            case closing:
                _close(marks, closing)
    return join(nodes)


def _alt(token: Token) -> str:
    return "".join(child.content if child.type != "softbreak" else " " for child in token.children or [])


def _put(nodes: list[Node], text: str, marks: Sequence[tuple[str, Node]]) -> None:
    if not text:
        return
    node = text_node(text)
    if marks:
        node["marks"] = sorted_marks([mark for _, mark in marks])
    nodes.append(node)


def _close(marks: list[tuple[str, Node]], closing: str) -> bool:
    for at in range(len(marks) - 1, -1, -1):
        if marks[at][0] == closing:
            del marks[at]
            return True
    return False


def _tag(tag: str, nodes: list[Node], marks: list[tuple[str, Node]]) -> str:
    """An inline HTML tag: opens or closes a mark, or is a node; one that is not known is text. Returns what ends a
    label."""
    if tag.startswith("</"):
        if not _close(marks, tag):
            _put(nodes, tag, marks)
        return ""
    if re.fullmatch(r"<br\s*/?>", tag):
        nodes.append({"type": "hardBreak"})
        return ""
    found = OPEN.fullmatch(tag)
    if found and found[4] in SINGLE:
        marks.append((f"</{found[4]}>", {"type": SINGLE[found[4]]}))
    elif found and found[2]:
        try:
            value = orjson.loads(html.unescape(found[3]))
            if found[2] == "mark":
                probe = normal({"type": "doc", "content": [{"type": "text", "text": "x", "marks": [value]}]})
                marks.append(("</span>", probe["content"][0]["marks"][0]))
                return ""
            nodes.append(normal({"type": "doc", "content": [value]})["content"][0])
            return "</span>"
        except (orjson.JSONDecodeError, BadContent, LookupError):
            _put(nodes, tag, marks)
    else:
        _put(nodes, tag, marks)
    return ""
