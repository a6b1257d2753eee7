"""Trees as Markdown, and back: CommonMark with GFM's tables, strikethrough and task lists.

What Markdown has no syntax for is kept where that can be done without noise: marks as HTML tags (`<u>`, or
`<span data-mark='{...}'>`), inline nodes as `<span data-node='{...}'>label</span>`, other blocks as a fenced block
"json node" that holds them. Not kept: empty paragraphs, spaces around a block's text, line breaks inside of texts, and
attributes of known nodes that Markdown lacks (`content.keep` puts these back when a body is written).

Reading what was written, and writing that, says the same again.
"""

from plugins.documents.content.markdown.reader import loads
from plugins.documents.content.markdown.syntax import EXPRESSED
from plugins.documents.content.markdown.writer import dumps, render

__all__ = ["EXPRESSED", "dumps", "loads", "render"]
