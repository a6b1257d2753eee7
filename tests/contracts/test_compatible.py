"""Changes to the contracts that would break a reader, one of each kind, are refused."""

import re
import shutil
from pathlib import Path

import pytest

from relay.contracts.compatible import breaks
from relay.contracts.generate import FOLDER, descriptors

V1 = """syntax = "proto3";
package test.v1;
import "materi/v1/envelope.proto";
option (materi.v1.topic) = "tests";
enum Colour { COLOUR_UNSPECIFIED = 0; COLOUR_RED = 1; COLOUR_BLUE = 2; }
message Painted {
  option (materi.v1.type) = "wall.painted";
  reserved 7 to 8;
  reserved "smell";
  message Coat { string name = 1; }
  string wall = 1;
  uint32 layers = 2;
  Colour colour = 3;
  repeated Coat coats = 4;
}
"""


def compile(folder: Path, text: str):  # type: ignore[no-untyped-def]
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "materi" / "v1").mkdir(parents=True)
    shutil.copy(FOLDER / "materi" / "v1" / "envelope.proto", folder / "materi" / "v1")
    (folder / "materi" / "v1" / "test.proto").write_text(text)
    return descriptors(folder)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("uint32 layers = 2", "uint32 layers = 5", "Painted.layers = 2 is gone and its number not reserved"),
        ("uint32 layers = 2;", "reserved 2; uint32 layers = 5;", "Painted.layers = 2 has another number, 5"),
        ("uint32 layers = 2", "string layers = 2", "Painted.layers = 2 has another type"),
        ("uint32 layers = 2", "repeated uint32 layers = 2", "repeated"),
        ("uint32 layers = 2", "optional uint32 layers = 2", "optional"),
        ("uint32 layers = 2;", "oneof how { uint32 layers = 2; }", "oneof"),
        ("uint32 layers = 2", "uint32 thickness = 2", "Painted.layers = 2 is called thickness now"),
        ("uint32 layers = 2;", "", "Painted.layers = 2 is gone and its number not reserved"),
        ("uint32 layers = 2;", "reserved 2;", "Painted.layers = 2 is gone and its name not reserved"),
        ("Colour colour = 3", "Coat colour = 3", "Painted.colour = 3 has another type"),
        ("COLOUR_BLUE = 2;", "", "Colour.COLOUR_BLUE = 2 is gone and its number not reserved"),
        ("COLOUR_BLUE = 2;", "COLOUR_BLUE = 3;", "COLOUR_BLUE = 2 is gone"),
        ("COLOUR_BLUE = 2", "COLOUR_GREEN = 2", "COLOUR_BLUE = 2 is called COLOUR_GREEN now"),
        ("message Painted", "message Daubed", "message test.v1.Painted is gone"),
        ("Coat", "Skin", "message test.v1.Painted.Coat is gone"),
        ("Colour", "Hue", "enum test.v1.Colour is gone"),
        ("wall.painted", "wall.daubed", "was event 'wall.painted' and is 'wall.daubed'"),
        ('"tests"', '"others"', "moved from topic 'tests' to 'others'"),
        ("reserved 7 to 8;", "reserved 7;", "reserves the number 8 no more"),
        ('reserved "smell";', "", "reserves the name smell no more"),
    ],
)
def test_break(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    """Each of these would break somebody, and the refusal says what and where."""
    changed = re.sub(re.escape(old), new, V1)
    assert changed != V1
    found = breaks(compile(tmp_path / "a", V1), compile(tmp_path / "b", changed))
    assert any(sentence in each for each in found), found


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", ""),
        ("uint32 layers = 2;", "uint32 layers = 2; string brush = 5;"),
        ("uint32 layers = 2;", 'reserved 2; reserved "layers";'),
        ("COLOUR_BLUE = 2;", "COLOUR_BLUE = 2; COLOUR_GREEN = 3;"),
        ("COLOUR_BLUE = 2;", 'reserved 2; reserved "COLOUR_BLUE";'),
        ("message Painted", "message Washed { string wall = 1; } message Painted"),
        ("uint32 layers = 2;", "oneof more { string a = 9; } uint32 layers = 2;"),
    ],
)
def test_no_break(tmp_path: Path, old: str, new: str) -> None:
    """Adding is allowed, and so is removing what is reserved from then on."""
    changed = V1.replace(old, new) if old else V1
    assert breaks(compile(tmp_path / "a", V1), compile(tmp_path / "b", changed)) == []


def test_extension_gone(tmp_path: Path) -> None:
    """The options that say type and topic are part of the contract."""
    before = (
        V1 + 'extend google.protobuf.FieldOptions { string unit = 50703; }\nimport "google/protobuf/descriptor.proto";'
    )
    found = breaks(compile(tmp_path / "a", before), compile(tmp_path / "b", V1))
    assert found == ["extension unit is gone"]
