"""What Markdown has for the nodes and marks of Tiptap's default schema."""

__all__ = ["EXPRESSED", "LISTS", "NODE_FENCE", "SIGNS", "TAGS"]

EXPRESSED: dict[str, frozenset[str]] = {
    "paragraph": frozenset(),
    "heading": frozenset(("level",)),
    "blockquote": frozenset(),
    "bulletList": frozenset(),
    "orderedList": frozenset(("start",)),
    "listItem": frozenset(),
    "taskList": frozenset(),
    "taskItem": frozenset(("checked",)),
    "codeBlock": frozenset(("language",)),
    "horizontalRule": frozenset(),
    "hardBreak": frozenset(),
    "image": frozenset(("src", "alt", "title")),
    "table": frozenset(),
    "tableRow": frozenset(),
    "tableCell": frozenset(),
    "tableHeader": frozenset(),
}
"""The attributes that Markdown has syntax for, of the nodes it has syntax for."""

NODE_FENCE = "json node"
LISTS = frozenset(("bulletList", "orderedList", "taskList"))
TAGS = {"bold": "strong", "italic": "em", "strike": "s", "underline": "u", "subscript": "sub", "superscript": "sup"}
TAGS |= {"highlight": "mark"}
SIGNS = {"bold": "**", "italic": "*", "strike": "~~"}
