"""What a format can't say, taken over from the document: a body in such a format changes only what it can say."""

from collections.abc import Callable, Mapping, Sequence

from plugins.documents.content.align import gaps, matching, pairs
from plugins.documents.content.schema import is_inline
from plugins.documents.content.tree import Node, canonical, document, text_of

__all__ = ["keep"]

Say = Callable[[Node], str]


def keep(old: Node, new: Node, say: Say, expressed: Mapping[str, frozenset[str]]) -> Node:
    """`new`, which was read from what the format says, with what `old` has beyond that.

    say: a node in that format; "" when it can't tell that the node is there, which then stays where it was.
    expressed: the attributes that it tells, by type of node; of other types it tells all.
    """
    return document(_content(old.get("content", ()), new.get("content", ()), say, expressed))


def _content(
    olds: Sequence[Node], news: Sequence[Node], say: Say, expressed: Mapping[str, frozenset[str]]
) -> list[Node]:
    silent = {at for at, node in enumerate(olds) if not say(node)}
    told = [at for at in range(len(olds)) if at not in silent]
    matched = matching([say(olds[at]) for at in told], [say(node) for node in news])
    result: list[Node] = []
    taken = {to: olds[told[at]] for at, to in matched}
    sources = {to: told[at] for at, to in matched}
    for low, high, left, right in gaps(matched, len(told), len(news)):
        for at, to in _alike([olds[told[at]] for at in range(low, high)], news[left:right]):
            source = told[low + at]
            taken[left + to] = _merged(olds[source], news[left + to], say, expressed)
            sources[left + to] = source
    after = 0  # old nodes up to here are done: what can't be told follows what it stood behind
    for to, node in enumerate(news):
        if to in sources:
            result.extend(olds[at] for at in range(after, sources[to]) if at in silent)
            after = max(after, sources[to] + 1)
        result.append(taken.get(to, node))
    result.extend(olds[at] for at in range(after, len(olds)) if at in silent)
    return result


def _alike(olds: Sequence[Node], news: Sequence[Node]) -> list[tuple[int, int]]:
    one = [frozenset(text_of(node).split()) for node in olds]
    other = [frozenset(text_of(node).split()) for node in news]

    def likeness(at: int, to: int) -> float:
        if olds[at]["type"] != news[to]["type"]:
            return 0.0
        both = len(one[at]) + len(other[to])
        return 0.1 + (2 * len(one[at] & other[to]) / both if both else 0.0)

    return pairs(len(olds), len(news), likeness)


def _merged(old: Node, new: Node, say: Say, expressed: Mapping[str, frozenset[str]]) -> Node:
    merged: Node = {"type": new["type"]}
    told = expressed.get(new["type"])
    attrs = new.get("attrs", {})
    if told is not None:
        attrs = {key: value for key, value in old.get("attrs", {}).items() if key not in told} | attrs
    if attrs:
        merged["attrs"] = attrs
    olds, news = old.get("content", []), new.get("content", [])
    content = news
    if new["type"] == "codeBlock" or any(map(is_inline, (*olds, *news))):
        content = _links(olds, news)
    elif told is not None:
        content = _content(olds, news, say, expressed)
    if content:
        merged["content"] = content
    return merged


def _links(olds: Sequence[Node], news: Sequence[Node]) -> list[Node]:
    """Links with the attributes, such as their target, that links to the same place had."""
    known = {
        mark["attrs"]["href"]: mark
        for node in olds
        for mark in node.get("marks", ())
        if mark["type"] == "link" and isinstance(mark.get("attrs", {}).get("href"), str)
    }
    if not known:
        return list(news)
    return [
        {**node, "marks": [_link(mark, known) for mark in node["marks"]]} if "marks" in node else node for node in news
    ]


def _link(mark: Node, known: Mapping[str, Node]) -> Node:
    before = known.get(mark.get("attrs", {}).get("href", "")) if mark["type"] == "link" else None
    if before is None:
        return mark
    attrs = {key: value for key, value in before["attrs"].items() if key != "title"} | mark["attrs"]
    return mark if canonical(attrs) == canonical(mark["attrs"]) else {"type": "link", "attrs": attrs}
