"""HTML."""

from contextlib import suppress

import pytest
from content_trees import any_texts, documents, node, text
from hypothesis import given, settings

from plugins.documents.content.html import dumps, is_safe, loads
from plugins.documents.content.tree import BadContent, Node, normal, text_of


@settings(max_examples=150, deadline=None)
@given(documents(any_texts))
def test_identity(doc: Node) -> None:
    """Any document is read from what was written of it."""
    assert loads(dumps(normal(doc))) == normal(doc)


def test_is_written_like_tiptap_writes_it() -> None:
    """The elements of Tiptap's default schema."""
    doc = node(
        "doc",
        [
            node("heading", [text("H", [{"type": "bold"}])], level=2),
            node("taskList", [node("taskItem", [node("paragraph", [text("a", [])])], checked=True)]),
            node("codeBlock", [text("<x>", [])], language="py"),
            node("orderedList", [node("listItem", [node("paragraph")])], start=3),
            node(
                "paragraph",
                [text("a", [{"type": "link", "attrs": {"href": "/?a=1&b", "target": "_blank"}}]), node("hardBreak")],
            ),
            node("callout", kind="x"),
        ],
    )
    assert dumps(doc) == (
        "<h2><strong>H</strong></h2>"
        '<ul data-type="taskList"><li data-checked="true" data-type="taskItem"><label>'
        '<input type="checkbox" checked="checked">'
        "<span></span></label><div><p>a</p></div></li></ul>"
        '<pre><code class="language-py">&lt;x&gt;</code></pre>'
        '<ol start="3"><li><p></p></li></ol>'
        '<p><a href="/?a=1&amp;b" target="_blank">a</a><br></p>'
        '<div data-node="callout" data-attrs="{&quot;kind&quot;:&quot;x&quot;}"></div>'
    )


ATTACKS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<a href='javascript:alert(1)'>x</a>",
    "<svg onload=alert(1)>",
    "<iframe src=//evil></iframe>",
    "<style>*{}</style>",
    "<form action=//evil><input></form>",
    "<math><mtext><script>alert(1)",
    "<p style='background:url(javascript:alert(1))' onclick=alert(1)>x</p>",
    "<a href='java&#10;script:alert(1)'>x</a>",
    "<object data=x></object>",
    "<img src='data:text/html,<script>alert(1)</script>'>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    """<span data-mark='textStyle' data-attrs='{"color":"red;background:url(javascript:alert(1))"}'>x</span>""",
    """<div data-node='"><script>alert(1)</script>'>x</div>""",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_that_runs_comes_out(attack: str) -> None:
    """Whatever is read, what is written of it has no script, handler, frame or address that runs code."""
    import lxml.html

    written = dumps(loads(f"<p>before</p>{attack}<p>after</p>"))
    for element in lxml.html.fromstring(f"<div>{written}</div>").iter():
        assert element.tag not in ("script", "style", "iframe", "object", "svg", "math", "form")
        for name, value in element.attrib.items():
            assert not name.startswith("on")
            assert name == "data-attrs" or "javascript:" not in value.replace("\n", "")
            assert name not in ("src", "href") or is_safe(value, image=True)


def test_foreign_html_fits_the_schema() -> None:
    """Loose text stands in paragraphs, spaces collapse, blocks leave paragraphs, items begin with a paragraph."""
    doc = loads(
        "\n loose <b> bold </b>\n text<div>in <em>a</em> div</div>\n"
        "<ul>\n <li>one\n<li><h2>two</h2></ul><blockquote></blockquote>"
    )
    paragraph = node("paragraph", [text("loose ", []), text("bold ", [{"type": "bold"}]), text("text", [])])
    heading = node("heading", [text("two", [])], level=2)
    items = [node("listItem", [node("paragraph", [text("one", [])])]), node("listItem", [node("paragraph"), heading])]
    assert doc["content"] == [
        paragraph,
        node("paragraph", [text("in ", []), text("a", [{"type": "italic"}]), text(" div", [])]),
        node("bulletList", items),
        node("blockquote", [node("paragraph")]),
    ]


def test_deep_and_broken_html_is_bounded() -> None:
    """Elements beyond the limit are a fault; unclosed ones are read."""
    for deep in ("<blockquote>" * 5000 + "x", "<b>" * 5000 + "x", "<div>" * 5000 + "x", "<" * 10_000):
        with suppress(BadContent):
            assert "x" in text_of(loads(deep)) or "<" in deep
    with pytest.raises(BadContent, match="NUL"):
        loads("a\0b")
