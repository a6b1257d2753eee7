"""Trees of Tiptap's default schema, and others, for hypothesis."""

from typing import Any

from hypothesis import strategies as st

from plugins.documents.content.tree import join, sorted_marks

Node = dict[str, Any]
WORDS = (
    "one",
    "two",
    "fox",
    "dog",
    "ünï",
    "😀",
    "👩‍🚀",
    "שלום",
    "日本語",
    "a_b",
    "*x*",
    "<b>",
    "&amp;",
    "1.",
    "[x]",
    "|",
    "~~",
    "`q`",
    "#",
)
words = st.sampled_from(WORDS)
texts = st.lists(words, min_size=1, max_size=5).map(" ".join)
any_texts = texts | st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), min_size=1, max_size=8
)
hrefs = st.sampled_from(
    ("https://a.example/x?y=1&z=2", "/a b", "mailto:x@y.example", "#(frag)", "http://ü.example/\\q")
)
values = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(-1e9, 1e9) | any_texts
values = values | st.lists(values, max_size=2) | st.dictionaries(words, values, max_size=2)
plain_marks = st.sampled_from(("bold", "italic", "strike", "underline", "code", "highlight", "subscript"))
marks = st.lists(
    plain_marks.map(lambda name: {"type": name})
    | hrefs.map(lambda href: {"type": "link", "attrs": {"href": href}})
    | st.sampled_from(("red", "blue")).map(lambda color: {"type": "textStyle", "attrs": {"color": color}}),
    max_size=3,
    unique_by=lambda mark: mark["type"],
)


def text(value: str, some: list[Node]) -> Node:
    return {"type": "text", "text": value} | ({"marks": sorted_marks(some)} if some else {})


def node(name: str, content: list[Node] = (), **attrs: Any) -> Node:  # type: ignore[assignment]
    made: Node = {"type": name}
    if attrs:
        made["attrs"] = attrs
    if content:
        made["content"] = list(content)
    return made


def inlines(of: st.SearchStrategy[str]) -> st.SearchStrategy[list[Node]]:
    atoms = st.just({"type": "hardBreak"}) | words.map(lambda name: node("mention", id=name, label=name.upper()))
    return st.lists(st.builds(text, of, marks) | st.builds(text, of, st.just([])) | atoms, max_size=5).map(join)


def leaves(of: st.SearchStrategy[str]) -> st.SearchStrategy[Node]:
    line = inlines(of)
    return st.one_of(
        line.map(lambda content: node("paragraph", content)),
        st.builds(lambda content, level: node("heading", content, level=level), line, st.integers(1, 6)),
        of.map(lambda code: node("codeBlock", [text(code, [])], language="py")),
        st.just(node("horizontalRule")),
        st.just(node("image", src="https://a.example/i.png", alt="an image", title="T")),
    )


def documents(of: st.SearchStrategy[str] = texts, *, unknown: bool = True, most: int = 6) -> st.SearchStrategy[Node]:
    leaf = leaves(of)
    paragraph = inlines(of).map(lambda content: node("paragraph", content))

    def nest(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
        item = st.builds(lambda first, rest: node("listItem", [first, *rest]), paragraph, st.lists(inner, max_size=2))
        task = st.builds(
            lambda first, rest, checked: node("taskItem", [first, *rest], checked=checked),
            paragraph, st.lists(inner, max_size=1), st.booleans(),
        )  # fmt: skip
        cell = paragraph.map(lambda content: [content])
        table = st.builds(
            lambda head, body: node(
                "table",
                [node("tableRow", [node("tableHeader", content) for content in head])]
                + [node("tableRow", [node("tableCell", content) for content in row]) for row in body],
            ),
            st.lists(cell, min_size=2, max_size=2), st.lists(st.lists(cell, min_size=2, max_size=2), max_size=2),
        )  # fmt: skip
        options = [
            st.lists(inner, min_size=1, max_size=2).map(lambda content: node("blockquote", content)),
            st.lists(item, min_size=1, max_size=3).map(lambda content: node("bulletList", content)),
            st.builds(
                lambda items, start: node("orderedList", items, start=start),
                st.lists(item, min_size=1, max_size=2),
                st.integers(0, 9),
            ),
            st.lists(task, min_size=1, max_size=2).map(lambda content: node("taskList", content)),
            table,
        ]
        if unknown:
            options.append(
                st.builds(
                    lambda content, attrs: node("callout", content, **attrs),
                    st.lists(inner, max_size=2),
                    st.dictionaries(
                        st.sampled_from(("kind", "n", "deep")), values.filter(lambda v: v is not None), max_size=2
                    ),
                )
            )
        return st.one_of(options)

    block = st.recursive(leaf, nest, max_leaves=6)
    return st.lists(block, max_size=most).map(lambda content: node("doc", content))
