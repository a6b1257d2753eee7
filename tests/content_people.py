"""People who type into a document while someone else writes it as a whole, made from a seed."""

import json
import random
from typing import Any

from pycrdt import Doc, XmlElement, XmlFragment, XmlText

from plugins.documents.content import write
from plugins.documents.content.tree import normal

Node = dict[str, Any]
FIRST = 0xE100
"""What people type are characters from here on, each once."""


def stored(doc: Node) -> bytes:
    """The document that holds a tree, under Tiptap's name."""
    return write(b"\0\0", json.dumps(doc).encode(), "json", "default").update or b"\0\0"


def applied(state: bytes, update: bytes) -> bytes:
    doc: Doc[Any] = Doc()
    doc.apply_update(state)
    if update:
        doc.apply_update(update)
    return doc.get_update()


def document(chance: random.Random) -> Node:
    return normal({"type": "doc", "content": [_block(chance) for _ in range(chance.randint(0, 7))]})


def _block(chance: random.Random, depth: int = 0) -> Node:
    kind = chance.random()
    if depth < 2 and kind < 0.2:
        items = [
            {
                "type": "listItem",
                "content": [_paragraph(chance)] + [_block(chance, depth + 1)] * (chance.random() < 0.3),
            }
            for _ in range(chance.randint(1, 3))
        ]
        return {"type": "bulletList", "content": items}
    if depth < 2 and kind < 0.3:
        return {"type": "blockquote", "content": [_block(chance, depth + 1) for _ in range(chance.randint(1, 2))]}
    if kind < 0.4:
        content = _paragraph(chance).get("content", [])
        return {"type": "heading", "attrs": {"level": chance.randint(1, 3)}, "content": content}
    return _paragraph(chance)


def _paragraph(chance: random.Random) -> Node:
    content: list[Node] = []
    for _ in range(chance.randint(0, 8)):
        text: Node = {"type": "text", "text": chance.choice(["the ", "fox ", "quick ", "é😀 ", "x", "日本 "])}
        if chance.random() < 0.3:
            text["marks"] = [{"type": chance.choice(["bold", "italic"])}]
        content.append(text)
        if chance.random() < 0.1:
            content.append({"type": "hardBreak"})
    return {"type": "paragraph", "content": content}


def edited(chance: random.Random, doc: Node) -> Node:
    """The tree as somebody might send it back."""
    content = json.loads(json.dumps(doc.get("content", [])))
    for _ in range(chance.randint(1, 5)):
        kind, at = chance.random(), chance.randrange(len(content)) if content else 0
        if not content or kind < 0.25:
            content.insert(at, _block(chance))
        elif kind < 0.45:
            del content[at]
        elif kind < 0.6:
            content[at] = _block(chance)
        elif kind < 0.7:
            chance.shuffle(content)
        else:
            leaves, stack = [], [content[at]]
            while stack:
                node = stack.pop()
                if node["type"] in ("paragraph", "heading"):
                    leaves.append(node)
                else:
                    stack.extend(node.get("content", []))
            words = chance.choice(leaves).setdefault("content", []) if leaves else []
            if words and chance.random() < 0.5:
                words.pop(chance.randrange(len(words)))
            elif leaves:
                words.insert(
                    chance.randint(0, len(words)), {"type": "text", "text": chance.choice(["new ", "dog ", "🐕"])}
                )
    return normal({"type": "doc", "content": content})


class People:
    """Edits a document as editors do. typed: what they typed and have not deleted themselves."""

    def __init__(self, chance: random.Random, state: bytes) -> None:
        self.chance = chance
        self.doc: Doc[Any] = Doc()
        self.doc.apply_update(state)
        self.root = self.doc.get("default", type=XmlFragment)
        self.count = 0
        self.typed: set[str] = set()

    def state(self) -> bytes:
        return self.doc.get_update()

    def edit(self, times: int) -> None:
        for _ in range(times):
            texts: list[Any] = []
            elements: list[Any] = []
            self._scan(self.root, texts, elements)
            kind = self.chance.random()
            if texts and kind < 0.6:
                text = self.chance.choice(texts)
                letters = _letters(text)
                text.insert(len(letters[: self.chance.randint(0, len(letters))].encode()), self._character())
            elif kind < 0.75:
                parents = [self.root, *(element for element in elements if element.tag in ("blockquote", "listItem"))]
                self._paragraph(self.chance.choice(parents))
            elif kind < 0.85:
                empty = [e for e in elements if e.tag in ("paragraph", "heading") and not len(e.children)]
                if empty:
                    self.chance.choice(empty).children.append(XmlText(self._character()))
            elif kind < 0.93 and texts:
                text = self.chance.choice(texts)
                if letters := _letters(text):
                    at = self.chance.randrange(len(letters))
                    start = len(letters[:at].encode())
                    self.typed.discard(letters[at])
                    del text[start : start + len(letters[at].encode())]
            elif len(self.root.children):
                at = self.chance.randrange(len(self.root.children))
                self.typed -= set(str(self.root.children[at]))
                del self.root.children[at]

    def _paragraph(self, parent: Any) -> None:
        paragraph = XmlElement("paragraph")
        parent.children.insert(self.chance.randint(0, len(parent.children)), paragraph)
        paragraph.children.append(XmlText(self._character()))

    def _character(self) -> str:
        self.count += 1
        self.typed.add(chr(FIRST + self.count))
        return chr(FIRST + self.count)

    def _scan(self, parent: Any, texts: list[Any], elements: list[Any]) -> None:
        for child in parent.children:
            if isinstance(child, XmlText):
                texts.append(child)
            else:
                elements.append(child)
                self._scan(child, texts, elements)


def _letters(text: XmlText) -> str:
    return "".join(chunk for chunk, _ in text.diff())
