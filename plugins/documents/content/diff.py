"""Turns what a document holds into a tree by few operations, so that blocks that stay keep their identity: cursors and
comments in them survive, and so does what people type meanwhile.

Children that are equal on both sides stay; what lies between is paired by likeness and changed inside; the rest is
deleted and inserted. In a text, words are what is compared, then what they begin and end with.

A block that is deleted and that someone has typed into since (`Changes.typed`) keeps what was typed: only what was in
it before is deleted. A CRDT would hide the typed text with its block.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import pycrdt

from plugins.documents.content.align import gaps, matching, pairs
from plugins.documents.content.positions import utf8_length, utf16_length
from plugins.documents.content.tree import EMBED, Node, canonical, join, text_of
from plugins.documents.content.yjs import Element, Opened, Run, formatting, marks_of

__all__ = ["Changes", "Conflict", "Hunk", "change", "tokens"]

CJK = "\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
TOKEN = re.compile(rf"[{CJK}]|[^\W{CJK}]+|\s|[^\w\s]")
"""A word, or a character of a script that has no spaces between them."""
SHOWN = 400
"""Characters of a text that a hunk quotes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hunk:
    """One thing that changed.

    path: indices of children from the root down to the block, in the content before; texts side by side count as one.
    offset: in a block's text, in UTF-16 units; None when the block as a whole is meant.
    before, after: the text there, cut after 400 characters.
    """

    kind: Literal["insert", "delete", "replace", "format", "attributes"]
    path: tuple[int, ...]
    offset: int | None = None
    type: str = ""
    before: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """Where the body and people disagreed. `kept`: the body deleted this block, but someone had typed into it, so that
    what they typed stays. `gone`: the body changed this block, but someone had deleted it: the change is not seen."""

    kind: Literal["kept", "gone"]
    path: tuple[int, ...]
    text: str = ""


class Changes(Protocol):
    """What people have done since the content was read; places are indices of Yjs children from the root."""

    def typed(self, place: tuple[int, ...]) -> bool:
        """Something was inserted in it, or in something in it."""

    def deleted(self, place: tuple[int, ...]) -> bool:
        """It was deleted, or something that it is in."""


Item = Node | list[Node]
"""A node, or texts side by side."""


def change(opened: Opened, content: Sequence[Node], since: Changes | None = None) -> tuple[list[Hunk], list[Conflict]]:
    """Make the opened document hold `content`, in the transaction that is open. `opened` is stale afterwards."""
    edit = _Edit(opened, since)
    if opened.text is not None:
        edit.run([opened.text], opened.texts(opened.text.diff()), list(content), ())
    elif opened.root is not None:
        edit.children(opened.root, content, ())
    edit.hunks.sort(key=lambda hunk: (hunk.path, hunk.offset or 0))
    return edit.hunks, sorted(edit.conflicts, key=lambda conflict: conflict.path)


def _items(content: Sequence[Node]) -> list[Item]:
    items: list[Item] = []
    for node in content:
        if node["type"] not in ("text", EMBED):
            items.append(node)
        elif items and isinstance(items[-1], list):
            items[-1].append(node)
        else:
            items.append([node])
    return items


def _item(child: Element | Run) -> Item:
    return child.nodes if isinstance(child, Run) else child.node


def _words(item: Item) -> frozenset[str]:
    text = "".join(node.get("text", "") for node in item) if isinstance(item, list) else text_of(item)
    return frozenset(TOKEN.findall(text))


class _Edit:
    def __init__(self, opened: Opened, since: Changes | None) -> None:
        self.hashed = opened.hashed
        self.bare = opened.text is not None
        self.since = since
        self.hunks: list[Hunk] = []
        self.conflicts: list[Conflict] = []

    def children(self, parent: Element, content: Sequence[Node], path: tuple[int, ...]) -> None:
        olds, news = parent.children, _items(content)
        matched = matching([canonical(_item(child)) for child in olds], [canonical(item) for item in news])
        alike: list[tuple[int, int]] = []
        for low, high, left, right in gaps(matched, len(olds), len(news)):
            alike.extend(self.alike(olds, news, low, high, left, right))
        # From the end, so that the places before stay what they are.
        for low, high, left, right in reversed(gaps(sorted(matched + alike), len(olds), len(news))):
            for at in range(high - 1, low - 1, -1):
                self.delete(parent, olds[at], (*path, at))
            start = olds[low].place[-1] if low < len(olds) else len(parent.handle.children)
            for to in range(left, right):
                self.hunks.append(Hunk(kind="insert", path=(*path, low), type=_type(news[to]), after=_shown(news[to])))
                self.insert(parent.handle, start + to - left, news[to])
        for at, to in alike:
            child, item = olds[at], news[to]
            if isinstance(child, Run):
                self.run(child.handles, child.nodes, item if isinstance(item, list) else [], path, child.place)
            elif isinstance(item, dict):
                self.element(child, item, (*path, at))

    def alike(
        self, olds: Sequence[Element | Run], news: Sequence[Item], low: int, high: int, left: int, right: int
    ) -> list[tuple[int, int]]:
        if low == high or left == right:
            return []
        old_words = [_words(_item(child)) for child in olds[low:high]]
        new_words = [_words(item) for item in news[left:right]]
        old_types = [_type(_item(child)) for child in olds[low:high]]
        new_types = [_type(item) for item in news[left:right]]

        def likeness(at: int, to: int) -> float:
            if old_types[at] != new_types[to]:
                return 0.0
            one, other = old_words[at], new_words[to]
            return 0.1 + (2 * len(one & other) / (len(one) + len(other)) if one and other else 0.0)

        return [(low + at, left + to) for at, to in pairs(high - low, right - left, likeness)]

    # -- blocks --

    def delete(self, parent: Element, child: Element | Run, path: tuple[int, ...]) -> None:
        if isinstance(child, Run) and not child.nodes:
            return  # an empty text, which nobody sees: an editor may be typing into it
        self.hunks.append(Hunk(kind="delete", path=path, type=_type(_item(child)), before=_shown(_item(child))))
        if self.since is not None and any(self.since.typed(place) for place in _places(child)):
            self.conflicts.append(Conflict(kind="kept", path=path, text=_shown(_item(child))))
            self.empty(parent, child)
        else:
            _remove(parent, child)

    def empty(self, parent: Element, child: Element | Run) -> None:
        """Delete what was in it, but nothing that someone has typed into since."""
        assert self.since is not None
        if isinstance(child, Run):
            for handle in child.handles:
                handle.clear()
            return
        for below in reversed(child.children):
            if any(self.since.typed(place) for place in _places(below)):
                self.empty(child, below)
            else:
                _remove(child, below)

    def insert(self, parent: "pycrdt.XmlFragment | pycrdt.XmlElement", at: int, item: Item) -> None:
        if isinstance(item, list):
            text = parent.children.insert(at, pycrdt.XmlText(""))
            end = 0
            for node in item:
                attributes = formatting(node.get("marks", ()), {}, self.hashed)
                if node["type"] == EMBED:
                    text.insert_embed(end, node["attrs"]["value"], attributes)
                    end += 1
                else:
                    text.insert(end, node["text"], attributes)
                    end += utf8_length(node["text"])
            return
        element = parent.children.insert(at, pycrdt.XmlElement(item["type"]))
        for key, value in item.get("attrs", {}).items():
            element.attributes[key] = value
        for index, below in enumerate(_items(item.get("content", ()))):
            self.insert(element, index, below)

    def element(self, child: Element, item: Node, path: tuple[int, ...]) -> None:
        olds, news = child.node.get("attrs", {}), item.get("attrs", {})
        if canonical(olds) != canonical(news) and isinstance(child.handle, pycrdt.XmlElement):
            self.changed(Hunk(kind="attributes", path=path, type=item["type"]), child.place)
            for key in olds.keys() - news.keys():
                del child.handle.attributes[key]
            for key, value in news.items():
                if key not in olds or canonical(olds[key]) != canonical(value):
                    child.handle.attributes[key] = value
        self.children(child, item.get("content", ()), path)

    def changed(self, hunk: Hunk, place: tuple[int, ...]) -> None:
        self.hunks.append(hunk)
        gone = self.since is not None and self.since.deleted(place)
        if gone and not any(conflict.path == hunk.path for conflict in self.conflicts):
            self.conflicts.append(Conflict(kind="gone", path=hunk.path, text=hunk.after))

    # -- texts --

    def run(
        self,
        handles: "Sequence[pycrdt.XmlText | pycrdt.Text]",
        olds: list[Node],
        news: list[Node],
        path: tuple[int, ...],
        place: tuple[int, ...] = (),
    ) -> None:
        text = _Text(handles)
        before, after = tokens(olds), tokens(news)
        inserted: list[tuple[int, int]] = []
        for low, high, left, right in reversed(gaps(matching(before, after), len(before), len(after))):
            old, new, start = _trim(before[low:high], after[left:right])
            head = "".join(_letters(before[:low])) + start
            inserted.append((_length(after[:left]) + utf8_length(start), _length(new)))
            kind: Literal["insert", "delete", "replace"] = "replace" if old and new else "delete" if old else "insert"
            shown_before, shown_after = "".join(_letters(old)), "".join(_letters(new))
            hunk = Hunk(
                kind=kind,
                path=path,
                offset=utf16_length(head),
                type="text",
                before=shown_before[:SHOWN],
                after=shown_after[:SHOWN],
            )
            self.changed(hunk, place)
            text.replace(_length(before[:low]) + utf8_length(start), _length(old), new)
        if any("marks" in node for node in (*olds, *news)):
            self.format(text, news, inserted, path, place)

    def format(
        self,
        text: "_Text",
        news: Sequence[Node],
        inserted: Sequence[tuple[int, int]],
        path: tuple[int, ...],
        place: tuple[int, ...],
    ) -> None:
        wanted = [(_length(tokens([node])), node.get("marks", [])) for node in news]
        at = shown = 0
        rest, marks = wanted.pop(0) if wanted else (0, [])
        for handle, start, chunk, present in text.chunks():
            size = utf8_length(chunk) if isinstance(chunk, str) else 1
            done = 0
            while done < size:
                if not rest:
                    rest, marks = wanted.pop(0)
                step = min(rest, size - done)
                if marks_of(present) != marks:
                    target = formatting(marks, present, self.hashed, bare=self.bare)
                    changes: dict[str, Any] = {key: None for key in present if key not in target}
                    changes.update((key, value) for key, value in target.items() if present.get(key) != value)
                    if changes:
                        handle.format(start + done, start + done + step, changes)
                    if not any(low <= at and at + step <= low + length for low, length in inserted):
                        piece = chunk.encode()[done : done + step].decode() if isinstance(chunk, str) else "\ufffc"
                        hunk = Hunk(
                            kind="format",
                            path=path,
                            offset=shown,
                            type="text",
                            before=piece[:SHOWN],
                            after=piece[:SHOWN],
                        )
                        self.changed(hunk, place)
                piece_units = utf16_length(chunk.encode()[done : done + step].decode()) if isinstance(chunk, str) else 1
                done, rest, at, shown = done + step, rest - step, at + step, shown + piece_units


class _Text:
    """Texts side by side as one; positions in UTF-8 bytes."""

    def __init__(self, handles: "Sequence[pycrdt.XmlText | pycrdt.Text]") -> None:
        self.handles = handles

    def replace(self, start: int, length: int, new: Sequence["Token"]) -> None:
        begin = 0
        place: tuple[pycrdt.XmlText | pycrdt.Text, int] | None = None
        for handle in self.handles:
            size = len(handle) if len(self.handles) > 1 else start + length
            low, high = max(start - begin, 0), min(start + length - begin, size)
            if place is None and start <= begin + size:
                place = (handle, low)
            if low < high:
                del handle[low:high]
            begin += size
        if not new:
            return
        assert place is not None
        handle, at = place
        if all(isinstance(token, str) for token in new):
            handle.insert(at, "".join(_letters(new)))
            return
        for token in new:
            if isinstance(token, str):
                handle.insert(at, token)
            else:
                handle.insert_embed(at, token.value)
            at += _length([token])

    def chunks(self) -> "list[tuple[pycrdt.XmlText | pycrdt.Text, int, Any, dict[str, Any]]]":
        """Handle, position in it, text or embed, formatting attributes."""
        found = []
        for handle in self.handles:
            at = 0
            for chunk, attributes in handle.diff():
                found.append((handle, at, chunk, attributes or {}))
                at += utf8_length(chunk) if isinstance(chunk, str) else 1
        return found


class _Embed:
    __slots__ = ("key", "value")

    def __init__(self, value: Any) -> None:
        self.value = value
        self.key = canonical(value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Embed) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


Token = str | _Embed


def tokens(nodes: Sequence[Node]) -> list[Token]:
    """The words of texts, wherever their marks begin and end, and what they embed."""
    found: list[Token] = []
    for node in join({key: value for key, value in node.items() if key != "marks"} for node in nodes):
        if node["type"] == EMBED:
            found.append(_Embed(node["attrs"]["value"]))
        else:
            found.extend(TOKEN.findall(node["text"]))
    return found


def _letters(some: Sequence[Token]) -> list[str]:
    return [token if isinstance(token, str) else "\ufffc" for token in some]


def _length(some: Sequence[Token]) -> int:
    """In bytes of UTF-8; an embed counts one."""
    return sum(utf8_length(token) if isinstance(token, str) else 1 for token in some)


def _trim(old: Sequence[Token], new: Sequence[Token]) -> tuple[Sequence[Token], Sequence[Token], str]:
    """What differs once a common start and end are taken away, and that start."""
    if not all(isinstance(token, str) for token in (*old, *new)):
        return old, new, ""
    one, other = "".join(_letters(old)), "".join(_letters(new))
    start = 0
    while start < min(len(one), len(other)) and one[start] == other[start]:
        start += 1
    end = 0
    while end < min(len(one), len(other)) - start and one[-1 - end] == other[-1 - end]:
        end += 1
    kept, put = one[start : len(one) - end], other[start : len(other) - end]
    return [kept] if kept else [], [put] if put else [], one[:start]


def _places(child: Element | Run) -> list[tuple[int, ...]]:
    if isinstance(child, Element):
        return [child.place]
    return [(*child.place[:-1], child.place[-1] + at) for at in range(len(child.handles))]


def _remove(parent: Element, child: Element | Run) -> None:
    start = child.place[-1]
    del parent.handle.children[start : start + (len(child.handles) if isinstance(child, Run) else 1)]


def _type(item: Item) -> str:
    return "text" if isinstance(item, list) else str(item["type"])


def _shown(item: Item) -> str:
    text = "".join(node.get("text", "\ufffc") for node in item) if isinstance(item, list) else text_of(item)
    return text[:SHOWN]
