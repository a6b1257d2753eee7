"""The shape of the tree: tests mirror modules, and modules say what is public."""

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
APART = {"contracts", "interop", "faults", "fidelity", "fuzz", "walkthrough"}
"""Folders of tests that hold several modules to one promise."""

TESTS = sorted(path.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("test_*.py"))
MODULES = sorted(
    path.relative_to(ROOT)
    for package in ("relay", "api_shim", "plugins")
    for path in (ROOT / package).rglob("*.py")
    if (not path.stem.startswith("_") or path.stem == "__init__") and not path.stem.endswith("_pb2")
)


def name(module: Path) -> str:
    return ".".join(module.with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("test", TESTS, ids=str)
def test_test_mirrors_a_module(test: Path) -> None:
    """tests/room/test_fanout.py tests relay/room/fanout.py, tests/room/test_room.py that or the package itself."""
    if test == Path("test_layout.py") or test.parts[0] in APART:
        return
    subject = test.with_name(test.name.removeprefix("test_"))
    package = test.parent if test.parent.name == subject.stem else subject.with_suffix("")
    mirrored = [subject, package / "__init__.py"]
    assert any((base / path).is_file() for base in (ROOT / "relay", ROOT) for path in mirrored)


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_module_says_what_is_public(module: Path) -> None:
    """Every module has a docstring and, unless it is an empty package, an `__all__` whose names exist."""
    tree = ast.parse((ROOT / module).read_text("utf-8"))
    assert ast.get_docstring(tree), "no docstring"
    if module.name == "__init__.py" and len(tree.body) == 1:
        return
    loaded = importlib.import_module(name(module))
    assert hasattr(loaded, "__all__"), "no __all__"
    assert [public for public in loaded.__all__ if not hasattr(loaded, public)] == []
    assert [public for public in loaded.__all__ if public.startswith("_") and public != "__version__"] == []
