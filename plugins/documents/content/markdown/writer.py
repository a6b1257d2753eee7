"""Writes Markdown."""

import html
import re
from collections.abc import Iterator, Sequence
from typing import Any

from plugins.documents.content.html import is_safe
from plugins.documents.content.markdown.reader import read_inline
from plugins.documents.content.markdown.syntax import LISTS, NODE_FENCE, SIGNS, TAGS
from plugins.documents.content.schema import is_inline
from plugins.documents.content.tree import Node, dump, join, sorted_marks, text_node

__all__ = ["dumps", "render"]


def dumps(doc: Node) -> str:
    """A document as Markdown, with a newline at its end unless it is empty."""
    text = _blocks(doc.get("content", ()))
    return text + "\n" if text else ""


def render(node: Node) -> str:
    """Any node as Markdown; "" when Markdown can't say that it is there."""
    if node["type"] in ("listItem", "taskItem"):
        return _item(node, "- ")
    if node["type"] in ("tableRow", "tableCell", "tableHeader"):
        return dump(node).decode()
    return _blocks([node])


def _blocks(nodes: Sequence[Node]) -> str:
    return "\n\n".join(_parts(nodes))


def _parts(nodes: Sequence[Node]) -> list[str]:
    parts: list[str] = []
    marker = 0
    before = ""
    for kind, group in _groups(nodes):
        part = _inline(group) if kind == "inline" else ""
        node = group[0]
        if kind == "block":
            if node["type"] in LISTS:
                # Lists side by side are told apart by their marker; bullets and tasks share theirs.
                family = "ordered" if node["type"] == "orderedList" else "bullet"
                marker = 1 - marker if before == family else 0
                part = _list(node, marker)
                if part:
                    before = family
            else:
                part = _block(node)
                if part:
                    before = ""
        elif part:
            before = ""
        if part:
            parts.append(part)
    return parts


def _groups(nodes: Sequence[Node]) -> Iterator[tuple[str, list[Node]]]:
    """Blocks one by one, and inline nodes that stand among them as a group."""
    inline: list[Node] = []
    for node in nodes:
        if is_inline(node):
            inline.append(node)
            continue
        if inline:
            yield "inline", inline
            inline = []
        yield "block", [node]
    if inline:
        yield "inline", inline


def _block(node: Node) -> str:
    attrs, content = node.get("attrs", {}), node.get("content", [])
    match node["type"]:
        case "paragraph" if all(map(is_inline, content)) or [c["type"] for c in content] == ["image"]:
            return _inline(content)
        case "paragraph" if all(is_inline(child) or child["type"] == "image" for child in content):
            return _inline(content)
        case "heading" if attrs.get("level") in range(1, 7) and type(attrs["level"]) is int and _is_text(content):
            return f"{'#' * attrs['level']} {_inline(content, one_line=True)}".rstrip()
        case "codeBlock" if _is_code(node):
            return _fence(attrs.get("language") or "", "".join(child["text"] for child in content))
        case "blockquote" if content and not all(map(is_inline, content)):
            return _indent(_blocks(content), "> ", "> ") or ">"
        case "horizontalRule":
            return "---"
        case "image" if isinstance(attrs.get("src"), str) and is_safe(attrs["src"], image=True):
            return _image(attrs)
        case "table" if (table := _table(node)) is not None:
            return table
    return _fence(NODE_FENCE, dump(node).decode())


def _is_text(content: Sequence[Node]) -> bool:
    return all(is_inline(child) for child in content)


def _is_code(node: Node) -> bool:
    language = node.get("attrs", {}).get("language") or ""
    return (
        all(child["type"] == "text" and "marks" not in child for child in node.get("content", ()))
        and isinstance(language, str)
        and language == language.strip()
        and language != NODE_FENCE
        and not re.search(r"[`\\&~\s]", language)
        and "\r" not in "".join(child["text"] for child in node.get("content", ()))
    )


def _fence(info: str, text: str) -> str:
    longest = max((len(run) for run in re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{info}\n{text}\n{fence}" if text else f"{fence}{info}\n{fence}"


def _indent(text: str, first: str, rest: str) -> str:
    lines = text.split("\n")
    return "\n".join(
        (prefix + line).rstrip(" ") if not line else prefix + line
        for prefix, line in zip([first] + [rest] * (len(lines) - 1), lines, strict=True)
    )


def _list(node: Node, marker: int) -> str:
    items = node.get("content", [])
    kind = "taskItem" if node["type"] == "taskList" else "listItem"
    if not items or any(item["type"] != kind for item in items):
        return _fence(NODE_FENCE, dump(node).decode())
    start = node.get("attrs", {}).get("start", 1)
    if node["type"] == "orderedList":
        if type(start) is not int or not start >= 0 or start + len(items) > 999_999_999:
            return _fence(NODE_FENCE, dump(node).decode())
        heads = [f"{start + at}{'.)'[marker]} " for at in range(len(items))]
    else:
        heads = ["-*"[marker] + " "] * len(items)
    written = [_item(item, head) for item, head in zip(items, heads, strict=True)]
    return ("\n\n" if any("\n\n" in text for text in written) else "\n").join(written)


INTERRUPTS = re.compile(r"(?:[-*]|1[.)]) \S")
"""A list that may follow a line of text at once."""


def _item(item: Node, head: str) -> str:
    content, line = item.get("content", []), ""
    while content and content[0]["type"] == "paragraph" and not line:  # empty ones are not kept
        line, content = _block(content[0]), content[1:]
    parts = _parts(content)
    # After a line that may begin a block of HTML, nothing interrupts.
    tight = line and not line.startswith("<") and len(parts) == 1 and INTERRUPTS.match(parts[0])
    if item["type"] == "taskItem":
        box = "[x]" if item.get("attrs", {}).get("checked") is True else "[ ]"
        line = f"{box} {line}" if line else box
    if not line and parts and parts[0] == "---":
        parts[0] = "___"  # "- ---" is no item
    text = ("\n" if tight else "\n\n").join([line, *parts] if line else parts)
    if not text:
        return head.rstrip()
    if re.match(r"[-* ]+(?:\n|$)", text):  # nor is "- - -": it begins below its marker
        return f"{head.rstrip()}\n{_indent(text, ' ' * len(head), ' ' * len(head))}"
    return _indent(text, head, " " * len(head))


def _image(attrs: dict[str, Any]) -> str:
    alt = attrs.get("alt") or ""
    title = attrs.get("title") or ""
    alt = _escape(_spaces(alt), in_link=True) if isinstance(alt, str) else ""
    return f"![{alt}]({_target(attrs['src'], title if isinstance(title, str) else '')})"


def _target(url: str, title: str) -> str:
    url = re.sub(r"[\r\n]", lambda found: "%0A" if found[0] == "\n" else "%0D", url)
    if not url or re.search(r"[\s()<>\x00-\x20\x7f]", url):
        target = "<" + re.sub(r"([\\<>])", r"\\\1", _entities(url)) + ">"
    else:
        target = re.sub(r"\\", r"\\\\", _entities(url))
    if title:
        escaped = re.sub(r'([\\"])', r"\\\1", _entities(_spaces(title)))
        target += f' "{escaped}"'
    return target


def _table(node: Node) -> str | None:
    """GFM's table, when it can say all that the table has: one head row, one paragraph a cell, no spans."""
    rows = []
    for at, row in enumerate(node.get("content", ())):
        cells = []
        if row["type"] != "tableRow":
            return None
        for cell in row.get("content", ()):
            attrs, content = cell.get("attrs", {}), cell.get("content", [])
            if cell["type"] != ("tableCell" if at else "tableHeader") or len(content) > 1:
                return None
            if any(attrs.get(span, 1) != 1 for span in ("colspan", "rowspan")):
                return None
            if content and (content[0]["type"] != "paragraph" or not _is_text(content[0].get("content", ()))):
                return None
            cells.append(_inline(content[0].get("content", ()), one_line=True, cell=True) if content else "")
        rows.append(cells)
    if not rows or not rows[0] or any(len(row) != len(rows[0]) for row in rows):
        return None
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|" + " --- |" * len(rows[0]))
    return "\n".join(lines)


def _spaces(text: str) -> str:
    return re.sub(r"[\n\r]+", " ", text)


ENTITY = re.compile(r"&(?=#?\w{1,40};)")
SPECIAL = re.compile(r"[\\`*\[<_&~\]]")


def _entities(text: str) -> str:
    return ENTITY.sub("&amp;", text)


def _escape(text: str, in_link: bool = False) -> str:
    """So that a text is read as it is, wherever in a line it stands."""

    def escaped(found: re.Match[str]) -> str:
        sign, at = found[0], found.start()
        after = text[at + 1 : at + 2]
        if sign == "_":
            inside = at > 0 and text[at - 1].isalnum() and after.isalnum()
            return sign if inside else "\\_"
        if sign == "~":
            return "\\~" if after in ("~", "") or text[at - 1 : at] in ("~", "") else sign
        if sign == "&":
            return "&amp;" if ENTITY.match(text, at) else sign
        if sign == "<":
            return "\\<" if not after or re.match(r"[A-Za-z/!?]", after) else sign
        if sign == "]":
            return "\\]" if in_link else sign
        if sign == "\\":
            return "\\\\"
        return "\\" + sign

    return SPECIAL.sub(escaped, text)


LINE_START = re.compile(r"(#{1,6}(?:\s|$)|[-+](?:\s|$)|(\d{1,9})[.)](?:\s|$)|>|~~~|=+\s*$|-+\s*$|-[-\s]*$|[|:])")


def _line(line: str) -> str:
    """A line that begins no block."""
    if found := LINE_START.match(line):
        at = len(found[2] or "")
        return f"{line[:at]}\\{line[at:]}"
    return line


BREAK = "\0"
"""Stands for a line break until lines are put together; no text holds it."""


def _inline(nodes: Sequence[Node], one_line: bool = False, cell: bool = False) -> str:
    if not nodes:
        return ""
    nodes = _bare(nodes)
    signed = any("marks" in node for node in nodes)
    text = _spans(nodes, SIGNS)
    if signed and _risky(nodes) and read_inline(_lines(text, one_line, cell), cell) != nodes:
        text = _spans(nodes, {})
    return _lines(text, one_line, cell)


def _bare(nodes: Sequence[Node]) -> list[Node]:
    """Without what Markdown does not keep: spaces at the ends, line breaks in texts, unsafe addresses."""
    bare: list[Node] = []
    for node in nodes:
        if node["type"] != "text":
            attrs = node.get("attrs", {})
            bare.append({"type": "hardBreak"} if node["type"] == "hardBreak" and not attrs else node)
            continue
        text = _spaces(node["text"])
        marks = [_bare_mark(mark) for mark in node.get("marks", ()) if _expressible(mark)]
        if text:
            bare.append({"type": "text", "text": text, "marks": sorted_marks(marks)} if marks else text_node(text))
    bare = join(bare)
    for at, step in ((0, str.lstrip), (-1, str.rstrip)):
        while (
            bare and bare[at]["type"] == "text" and "code" not in {mark["type"] for mark in bare[at].get("marks", ())}
        ):
            if text := step(bare[at]["text"]):
                bare[at] = {**bare[at], "text": text}
                break
            del bare[at]
    for at, node in enumerate(bare):
        if node["type"] == "hardBreak":
            for beside, step in ((at - 1, str.rstrip), (at + 1, str.lstrip)):
                if 0 <= beside < len(bare) and bare[beside]["type"] == "text":
                    bare[beside] = {**bare[beside], "text": step(bare[beside]["text"])}
    return join(node for node in bare if node["type"] != "text" or node["text"])


def _expressible(mark: Node) -> bool:
    href = mark.get("attrs", {}).get("href")
    return mark["type"] != "link" or (isinstance(href, str) and is_safe(href))


def _bare_mark(mark: Node) -> Node:
    """Of links, only what Markdown says of them."""
    if mark["type"] != "link":
        return mark
    attrs = mark["attrs"]
    kept = {"href": re.sub(r"[\r\n]", lambda found: "%0A" if found[0] == "\n" else "%0D", attrs["href"])}
    if isinstance(title := attrs.get("title"), str) and title.strip():
        kept["title"] = _spaces(title)
    return {"type": "link", "attrs": kept}


def _risky(nodes: Sequence[Node]) -> bool:
    """Not every mark stands alone around something that begins and ends with a letter."""
    before = ""
    for node in nodes:
        marks = node.get("marks", ())
        text = node.get("text", "")
        if marks and (
            len(marks) > 1 or marks[0]["type"] == "link" or not (text[:1].isalnum() and text[-1:].isalnum()) or before
        ):
            return True
        before = "mark" if marks else ""
    return False


def _spans(nodes: Sequence[Node], signs: dict[str, str]) -> str:
    """Texts with marks: a mark is opened once for all that follow each other with it, the longest outside."""
    out: list[str] = []
    at = 0
    while at < len(nodes):
        node = nodes[at]
        marks = [mark for mark in node.get("marks", ()) if mark["type"] != "code"]
        if not marks:
            out.append(_atom(node))
            at += 1
            continue
        reach = {dump(mark): _reach(nodes, at, mark) for mark in marks}
        mark = max(marks, key=lambda mark: (reach[dump(mark)], mark["type"] == "link"))
        end = reach[dump(mark)]
        inner = [_without(inside, mark) for inside in nodes[at:end]]
        if mark["type"] == "link" and out and out[-1].endswith("!"):
            out[-1] = out[-1][:-1] + "\\!"  # "![" begins an image
        out.append(_mark(mark, _spans(inner, signs), signs))
        at = end
    return "".join(out)


def _reach(nodes: Sequence[Node], at: int, mark: Node) -> int:
    while at < len(nodes) and mark in nodes[at].get("marks", ()):
        at += 1
    return at


def _without(node: Node, mark: Node) -> Node:
    return {**node, "marks": [other for other in node.get("marks", ()) if other != mark]}


def _mark(mark: Node, inner: str, signs: dict[str, str]) -> str:
    name, attrs = mark["type"], mark.get("attrs", {})
    if name == "link":
        return f"[{inner}]({_target(attrs['href'], attrs.get('title') or '')})"
    if not attrs and name in signs:
        return f"{signs[name]}{inner}{signs[name]}"
    if not attrs and name in TAGS:
        return f"<{TAGS[name]}>{inner}</{TAGS[name]}>"
    return f"<span data-mark='{_quoted(mark)}'>{inner}</span>"


def _quoted(value: Node) -> str:
    """JSON inside of an HTML attribute inside of Markdown, perhaps in a table."""
    text = html.escape(dump(value).decode()).replace("|", "&#124;")
    return text.replace("\u2028", "&#8232;").replace("\u2029", "&#8233;").replace("\x85", "&#133;")


def _atom(node: Node) -> str:
    match node["type"]:
        case "text":
            if any(mark["type"] == "code" for mark in node.get("marks", ())):
                return _code(node["text"], next(mark for mark in node["marks"] if mark["type"] == "code"))
            return _escape(node["text"], in_link=True)
        case "hardBreak" if "attrs" not in node:
            return BREAK
        case "image" if isinstance(src := node["attrs"].get("src"), str) and is_safe(src, image=True):
            return _image(node["attrs"])
    attrs = node.get("attrs", {})
    label = attrs.get("label") or attrs.get("id") or ""
    label = f"@{label}" if label and node["type"] == "mention" else label
    return f"<span data-node='{_quoted(node)}'>{_escape(_spaces(str(label)).strip(), in_link=True)}</span>"


def _code(text: str, mark: Node) -> str:
    if mark.get("attrs"):
        return f"<span data-mark='{_quoted(mark)}'>{_escape(text, in_link=True)}</span>"
    longest = {len(run) for run in re.findall(r"`+", text)}
    fence = "`" * next(length for length in range(1, len(text) + 2) if length not in longest)
    pad = " " if text[0] == "`" or text[-1] == "`" or (text[0] == text[-1] == " " and text.strip(" ")) else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def _lines(text: str, one_line: bool, cell: bool) -> str:
    lines = text.split(BREAK)
    if cell:
        return "<br>".join(lines).replace("|", "\\|")
    if one_line or not all(line.strip() for line in lines):
        text = "<br>".join(lines)
        if one_line:
            return re.sub(r"(^|\s)(#+)$", r"\1\\\2", text)
        return _line(text)
    return "\\\n".join(map(_line, lines))
