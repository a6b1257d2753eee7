"""yrs, through pycrdt, writes updates the codec reads, and reads what the codec makes of them."""

import random
from typing import Any

import pytest
from pycrdt import Array, Doc, Map, Text, XmlElement, XmlFragment, XmlText

from relay.yjs.compact import compact
from relay.yjs.diff import diff
from relay.yjs.known import Known
from relay.yjs.merge import merge
from relay.yjs.update import parse
from relay.yjs.vector import decode_vector


def new(client: int = 0) -> Doc[Any]:
    doc: Doc[Any] = Doc(client_id=client) if client else Doc()
    for name, kind in (("t", Text), ("m", Map), ("a", Array), ("x", XmlFragment)):
        doc.get(name, type=kind)
    return doc


def edit(doc: Doc[Any], dice: random.Random) -> None:
    text, mapping, array, xml = doc["t"], doc["m"], doc["a"], doc["x"]
    match dice.randrange(7):
        case 0 | 1:
            text.insert(len(str(text).encode()), dice.choice(["a", "é", "😀", "hello "]))
        case 2:
            if str(text):
                del text[: len(str(text)[0].encode())]
        case 3:
            mapping[dice.choice("kl")] = dice.choice([1, None, 1.5, {"a": [True]}, Map({"x": 1}), Array([1, 2])])
        case 4:
            array.append(dice.choice([1, "s", Text("nested"), Map({"y": "z"})]))
        case 5:
            if len(array):
                del array[0]
        case _:
            if len(xml.children) > 3:
                del xml.children[0]
            else:
                xml.children.append(XmlElement("p", {"k": "v"}, [XmlText("in")]))


def play(seed: int) -> list[bytes]:
    dice = random.Random(seed)
    docs = [new(1 + index * 100_000) for index in range(3)]
    log: list[bytes] = []
    for _ in range(60):
        doc = dice.choice(docs)
        if dice.random() < 0.2:
            other = dice.choice(docs)
            doc.apply_update(other.get_update(doc.get_state()))
            continue
        before = doc.get_state()
        edit(doc, dice)
        log.append(doc.get_update(before))
    return log


def read(*updates: bytes) -> tuple[Any, ...]:
    doc = new()
    for update in updates:
        doc.apply_update(update)
    return (
        str(doc["t"]),
        doc["m"].to_py(),
        doc["a"].to_py(),
        str(doc["x"]),
        sorted(decode_vector(doc.get_state()).items()),
    )


@pytest.mark.parametrize("seed", range(25))
def test_pycrdt_reads_what_pycrdt_wrote(seed: int) -> None:
    """Merged, compacted, in two steps, and as a diff: the same values and state vector."""
    log = play(seed)
    layouts = [parse(update) for update in log]
    expected = read(*log)
    whole = compact(log).state
    assert read(merge(layouts)) == expected
    assert read(whole) == expected
    assert read(compact([compact(log[:20]).state, *log[20:]]).state) == expected
    known = Known()
    for layout in layouts[:30]:
        known.add(layout)
    assert read(*log[:30], diff(whole, known.vector())) == expected
    assert sorted(known.vector().items()) == read(*log[:30])[-1]
