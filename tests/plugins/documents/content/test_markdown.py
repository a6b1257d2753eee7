"""Markdown."""

from contextlib import suppress

import pytest
from content_trees import any_texts, documents, node, text
from hypothesis import given, settings

from plugins.documents.content.markdown import dumps, loads
from plugins.documents.content.tree import BadContent, Node, normal, text_of

SAMPLE = """# Title *x*

Para with **bold**, *it*, ***both***, ~~st~~ ``co`de``, [link **b**](http://x.y "t") <u>u</u> & a\\
b snake_case <span data-node='{&quot;type&quot;:&quot;mention&quot;}'></span>

- one

- two
  - nested

    more

1. a
2. b

- [ ] todo
- [x] done

> quote
>
> - x

```py
x = 1

y
```

| a | b |
| --- | --- |
| 1 \\| | **x** |

![alt](http://i/p.png "T")

---

```json node
{"type":"callout","attrs":{"kind":"warn"},"content":[{"type":"paragraph"}]}
```
"""


def test_sample() -> None:
    """Markdown in the form that is written is read and written again as it is."""
    assert dumps(loads(SAMPLE)) == SAMPLE


@settings(max_examples=120, deadline=None)
@given(documents(any_texts))
def test_normal_form(doc: Node) -> None:
    """What is written of any document is read, and written again, the same."""
    written = dumps(normal(doc))
    assert dumps(loads(written)) == written


@pytest.mark.parametrize("kind", ["bulletList", "taskList"])
def test_empty_paragraph_at_the_start_of_an_item(kind: str) -> None:
    """It is not kept: what follows is written as if it began the item."""
    below = node("bulletList", [node("listItem", [node("paragraph", [text("x", [])])])])
    content = [node("paragraph"), node("paragraph", [text("0", [])]), below]
    item = node("taskItem", content, checked=False) if kind == "taskList" else node("listItem", content)
    written = dumps(normal(node("doc", [node(kind, [item])])))
    assert written == f"- {'[ ] ' if kind == 'taskList' else ''}0\n  - x\n"
    assert dumps(loads(written)) == written


def test_exclamation_mark_before_a_link() -> None:
    """It makes no image of the link."""
    link = {"type": "link", "attrs": {"href": "https://a.example/"}}
    doc = node("doc", [node("paragraph", [text("see!", []), text("here", [link])])])
    assert dumps(doc) == "see\\![here](https://a.example/)\n"
    assert loads(dumps(doc)) == doc


@settings(max_examples=80, deadline=None)
@given(documents())
def test_no_word_is_lost(doc: Node) -> None:
    """Every word of a document is in what its Markdown says again."""
    again = text_of(loads(dumps(normal(doc)))).split()
    assert sorted(again) == sorted(text_of(normal(doc)).split())


@pytest.mark.parametrize(
    "line",
    [
        "# no heading",
        "- no item",
        "+ no item",
        "1. no item",
        "12) no",
        "> no quote",
        "--- ",
        "===",
        "``` no",
        "~~~ no",
        "[x] no box",
        "[no](link)",
        "![no](image)",
        "*no*",
        "__no__",
        "~~no~~",
        "<b>no</b>",
        "<!-- no -->",
        "&amp; no",
        "\\ no",
        "| a |",
        "`no`",
        "[no]: /def",
        "https://a.example/a_b_c",
        "a  b",
        "**",
        "-",
        "#",
        "<https://x.example>",
        "a * b * c",
        "$x_1$",
    ],
)
def test_text_that_looks_like_markup_stays_text(line: str) -> None:
    """A paragraph that reads like Markdown is escaped, alone, in an item, after a line break and in a cell."""
    line = line.strip()
    paragraph = node("paragraph", [text(line, [])])
    broken = node("paragraph", [text("a", []), node("hardBreak"), text(line, [])])
    row = node("tableRow", [node("tableHeader", [paragraph])])
    doc = node("doc", [paragraph, broken, node("bulletList", [node("listItem", [paragraph])]), node("table", [row])])
    assert loads(dumps(doc)) == doc


def test_html_in_markdown_is_read_as_html() -> None:
    """Blocks of HTML become nodes, scripts nothing, unknown tags in a line text."""
    doc = loads("<div>hi <b>there</b></div>\n\n<script>alert(1)</script>\n\na <blink>b</blink>\n")
    assert dumps(doc) == "hi **there**\n\na \\<blink>b\\</blink>\n"
    assert "alert" not in text_of(doc)


def test_images_are_blocks_unless_the_document_has_them_in_lines() -> None:
    """Tiptap's schema has images as blocks and deletes paragraphs that hold one."""
    assert [block["type"] for block in loads("a ![b](/c.png) d")["content"]] == ["paragraph", "image", "paragraph"]
    assert len(loads("a ![b](/c.png) d", inline_images=True)["content"]) == 1


@pytest.mark.parametrize(
    "href", ["javascript:alert(1)", "JaVa\tScript:x", "vbscript:x", "data:text/html,x", "file:///etc"]
)
def test_addresses_that_run_code_are_no_links(href: str) -> None:
    """Neither read nor written."""
    link = node("paragraph", [text("x", [{"type": "link", "attrs": {"href": href}}])])
    assert dumps(node("doc", [link])) == "x\n"
    assert "marks" not in str(loads(f"[x](<{href}>)"))


def test_a_block_that_holds_no_node_is_refused() -> None:
    """A "json node" block must be a valid node; the fault names its line."""
    with pytest.raises(BadContent, match="line 3"):
        loads('a\n\n```json node\n{"type": 1}\n```\n')


def test_deep_markdown_is_bounded() -> None:
    """Nesting beyond the limit ends in a fault or in text, not in a RecursionError."""
    for deep in (">" * 3000 + " x", "- " * 3000 + "x", "[" * 20_000, "*" * 5000 + "x", "\\*" * 20_000):
        with suppress(BadContent):
            loads(deep)
