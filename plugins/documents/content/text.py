"""Trees as plain text, as Tiptap's `getText()`: an empty line between blocks of text, a line break for a hard break.

Written back, text changes the text blocks it says: what it leaves alone keeps its formatting, and lists stay lists.
"""

from collections.abc import Iterator, Sequence

from plugins.documents.content.align import gaps, matching, pairs
from plugins.documents.content.diff import TOKEN
from plugins.documents.content.schema import LEAVES, is_inline
from plugins.documents.content.tree import MAX_BYTES, BadContent, Fault, Node, document, join

__all__ = ["dumps", "leaves", "line", "loads", "merge", "spoken"]

BETWEEN = "\n\n"


def spoken(node: Node) -> str:
    """What an inline node says: a text itself, a mention its name."""
    if node["type"] == "text":
        return str(node["text"])
    if node["type"] == "hardBreak":
        return "\n"
    attrs = node.get("attrs", {})
    if node["type"] == "mention":
        return f"@{attrs.get('label') or attrs.get('id') or ''}"
    return ""


def line(nodes: Sequence[Node]) -> str:
    return "".join(map(spoken, nodes))


def is_leaf(node: Node) -> bool:
    """A block of text."""
    content = node.get("content", ())
    return node["type"] in LEAVES or any(map(is_inline, content))


def leaves(node: Node) -> Iterator[Node]:
    """The blocks of text in it, in order."""
    stack = [node]
    while stack:
        node = stack.pop()
        if node["type"] != "doc" and is_leaf(node):
            yield node
        else:
            stack.extend(reversed([child for child in node.get("content", ()) if not is_inline(child)]))


def dumps(doc: Node) -> str:
    return BETWEEN.join(line(leaf.get("content", ())) for leaf in leaves(doc))


def loads(body: bytes) -> str:
    """A body as text. Raises BadContent when it is no UTF-8, holds a NUL or is too large."""
    if len(body) > MAX_BYTES:
        raise BadContent([Fault("", f"{len(body)} bytes; at most {MAX_BYTES} are taken")])
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise BadContent([Fault("", f"no UTF-8: byte {error.start}")]) from None
    if "\0" in text:
        raise BadContent([Fault(f"line {text.count(chr(10), 0, text.index(chr(0))) + 1}", "holds a NUL character")])
    return text.replace("\r\n", "\n")


def merge(doc: Node, text: str) -> Node:
    """The document with its text changed to `text`. A line break at the very end is the file's, not the text's."""
    if text == dumps(doc):
        return doc
    old = list(leaves(doc))
    text = text.removesuffix("\n")
    pieces = [(at, piece) for at, leaf in enumerate(old) for piece in line(leaf.get("content", ())).split(BETWEEN)]
    news = text.split(BETWEEN) if text else []
    owners = _owners(pieces, news)
    changed: dict[int, Node | None] = {id(leaf): None for leaf in old}
    behind: dict[int, list[Node]] = {}
    place = 0  # the leaf that what is new stands behind; 0 the beginning
    to = 0
    while to < len(news):
        owner = owners[to]
        if owner is None:
            behind.setdefault(place, []).append(_paragraph(news[to]))
            to += 1
            continue
        end = max(at for at in range(to, len(news)) if owners[at] == owner) + 1
        leaf = old[owner]
        changed[id(leaf)] = _with(leaf, inline(leaf.get("content", ()), BETWEEN.join(news[to:end])))
        place, to = id(leaf), end
    return document(behind.get(0, []) + _rebuilt(doc, changed, behind))


def _owners(pieces: Sequence[tuple[int, str]], news: Sequence[str]) -> list[int | None]:
    """For each new piece the leaf it belongs to."""
    matched = matching([piece for _, piece in pieces], news)
    for low, high, left, right in gaps(matched, len(pieces), len(news)):
        one = [frozenset(TOKEN.findall(piece)) for _, piece in pieces[low:high]]
        other = [frozenset(TOKEN.findall(piece)) for piece in news[left:right]]

        def likeness(at: int, to: int, one: list[frozenset[str]] = one, other: list[frozenset[str]] = other) -> float:
            both = len(one[at]) + len(other[to])
            return 0.1 + (2 * len(one[at] & other[to]) / both if both else 0.0)

        matched = matched + [(low + at, left + to) for at, to in pairs(high - low, right - left, likeness)]
    owners: list[int | None] = [None] * len(news)
    for at, to in matched:
        owners[to] = pieces[at][0]
    return owners


def _paragraph(text: str) -> Node:
    return _with({"type": "paragraph"}, inline([], text))


def _with(leaf: Node, content: list[Node]) -> Node:
    bare = {key: value for key, value in leaf.items() if key != "content"}
    if leaf["type"] == "codeBlock":
        content = join({"type": "text", "text": spoken(node)} for node in content)
    return {**bare, "content": content} if content else bare


def _rebuilt(node: Node, changed: dict[int, Node | None], behind: dict[int, list[Node]]) -> list[Node]:
    result: list[Node] = []
    for child in node.get("content", ()):
        if id(child) in changed:
            new = changed[id(child)]
            result.extend([new] if new else [])
            result.extend(behind.get(id(child), ()))
        elif any(True for _ in leaves(child)):
            content = _rebuilt(child, changed, behind)
            if content:
                result.append({**child, "content": content})
            elif child["type"] in ("tableCell", "tableHeader"):
                result.append({**child, "content": [{"type": "paragraph"}]})
        else:
            result.append(child)
    return result


def inline(nodes: Sequence[Node], text: str) -> list[Node]:
    """Inline nodes that say `text`, with what `nodes` are where they say the same."""
    said: list[tuple[str, int]] = []  # a word and the node it is of
    sizes = []
    for at, each in enumerate(nodes):
        words = TOKEN.findall(spoken(each))
        sizes.append(len(words))
        said.extend((word, at) for word in words)
    news = TOKEN.findall(text)
    source: dict[int, int] = {to: said[at][1] for at, to in matching([word for word, _ in said], news)}
    result: list[Node] = []
    to = 0
    silent = -1  # nodes that say nothing stay behind what they follow
    while to < len(news):
        at = source.get(to, -1)
        if at > silent:
            result.extend(nodes[between] for between in range(silent + 1, at) if not sizes[between])
            silent = at
        node = nodes[at] if at >= 0 else None
        if (
            node is not None
            and node["type"] != "text"
            and [source.get(to + n) for n in range(sizes[at])] == [at] * sizes[at]
        ):
            result.append(node)
            to += sizes[at]
            continue
        marks = node.get("marks", []) if node is not None else _around(nodes, source, to, len(news))
        if news[to] == "\n" and (node is None or node["type"] != "text"):
            result.append({"type": "hardBreak"})
        else:
            result.append(
                {"type": "text", "text": news[to], "marks": marks} if marks else {"type": "text", "text": news[to]}
            )
        to += 1
    result.extend(nodes[between] for between in range(silent + 1, len(nodes)) if not sizes[between])
    return join(result)


def _around(nodes: Sequence[Node], source: dict[int, int], to: int, news: int) -> list[Node]:
    """The marks that new text between texts has: those that both its neighbours have."""
    before = next((source[at] for at in range(to - 1, -1, -1) if at in source), None)
    after = next((source[at] for at in range(to + 1, news) if at in source), None)
    if before is None or after is None:
        return []
    others = nodes[after].get("marks", [])
    return [mark for mark in nodes[before].get("marks", []) if mark in others]
