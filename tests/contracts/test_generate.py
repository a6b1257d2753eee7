"""What is generated from the `.proto` files is checked in, and fresh."""

import re
from pathlib import Path

import orjson

from relay.contracts import EVENTS, TOPICS
from relay.contracts.asyncapi import document
from relay.contracts.compatible import breaks
from relay.contracts.generate import FOLDER, compiled, descriptors, released
from relay.contracts.reference import Comments, markdown

ROOT = Path(__file__).parent.parent.parent
STALE = "run `make contracts`"


def test_code_is_fresh() -> None:
    """The checked-in Python code is what the `.proto` files generate, no more and no less."""
    fresh = compiled()
    assert {str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*_pb2.py*") if path.suffix != ".pyc"} == set(fresh)
    assert [name for name, text in fresh.items() if (FOLDER / name).read_text("utf-8") != text] == [], STALE


def test_nothing_released_is_broken() -> None:
    """The contracts still serve who reads what was released."""
    assert released().file
    assert breaks(released(), descriptors()) == []


def test_reference_page_is_fresh() -> None:
    """contrib/events.md is what the `.proto` files say."""
    assert (ROOT / "contrib" / "events.md").read_text("utf-8") == markdown(), STALE


def test_asyncapi_is_fresh() -> None:
    """contrib/asyncapi.json is what the `.proto` files say."""
    assert orjson.loads((ROOT / "contrib" / "asyncapi.json").read_bytes()) == document(), STALE


def test_references_resolve() -> None:
    """Every `$ref` of the AsyncAPI document leads somewhere in it."""
    whole = document()
    for reference in set(re.findall(r'"\$ref":"#/([^"]+)"', orjson.dumps(whole).decode())):
        found = whole
        for step in reference.split("/"):
            found = found[step]


def test_everything_is_described() -> None:
    """Every message, field, enum and value has a comment."""
    missing = []
    for file in descriptors().file:
        if file.package != "materi.v1":
            continue
        comments = Comments.of(file)
        for index, message in enumerate(file.message_type):
            missing += [message.name] * (not comments.message(index))
            missing += [
                f"{message.name}.{each.name}" for n, each in enumerate(message.field) if not comments.field(index, n)
            ]
        for index, enum in enumerate(file.enum_type):
            missing += [enum.name] * (not comments.enum(index))
            missing += [f"{enum.name}.{each.name}" for n, each in enumerate(enum.value) if not comments.value(index, n)]
    assert missing == []


def test_types_are_unambiguous() -> None:
    """Each type is `noun.verb`, has a version, and is one message's alone."""
    assert TOPICS == ("users", "documents", "collaboration", "ai", "system")
    assert all(re.fullmatch(r"[a-z_]+\.[a-z_]+", kind.type) and kind.version >= 1 for kind in EVENTS.values())
    assert len({kind.name for kind in EVENTS.values()}) == len(EVENTS) > 60
