"""Plugins are checked before anything starts, and what is wrong is said with the plugin's name and the fix."""

import sys
from importlib.metadata import EntryPoint
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel, Field

from api_shim import loader
from api_shim.loader import Found, load, starting_order
from api_shim.plugin import Plugin
from relay.errors import StartError
from relay.hooks import RoomOpened


class Books:
    """A service."""


class Shelf:
    """Another."""


class LibrarySettings(BaseModel):
    loans: int = Field(3, ge=1)
    motto: str = "read"


class Library(Plugin):
    name = "library"
    settings_type = LibrarySettings
    provides = (Books,)


class Reader(Plugin):
    name = "reader"
    requires = (Books,)


class Rival(Plugin):
    name = "rival"
    provides = (Books,)


class Egg(Plugin):
    name = "egg"
    requires, provides = (Books,), (Shelf,)


class Hen(Plugin):
    name = "hen"
    requires, provides = (Shelf,), (Books,)


class Typo(Plugin):
    name = "typo"

    async def on_room_opend(self, fact: RoomOpened) -> None: ...


class Misnamed(Plugin):
    name = "other"


NotAPlugin = dict
KINDS = {kind.name: kind.__name__ for kind in (Library, Reader, Rival, Egg, Hen, Typo)}


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    names = KINDS | {"misnamed": "Misnamed", "dictionary": "NotAPlugin", "missing": "Nowhere"}
    entries = {name: EntryPoint(name, f"{__name__}:{kind}", loader.GROUP) for name, kind in names.items()}
    made = {name: Found(name, "test 1.0", entry) for name, entry in entries.items()}
    monkeypatch.setattr(loader, "installed", lambda: made)
    # Tests are imported by their path; an entry point is found by name.
    monkeypatch.setitem(sys.modules, __name__, SimpleNamespace(**globals()))


def test_settings() -> None:
    """A plugin has its settings, read from text as well, before it starts; what was not given has its default."""
    (library,) = load(["library"], {"library": {"loans": "5"}})
    assert library.settings == LibrarySettings(loans=5, motto="read")
    assert library.settings_type is LibrarySettings


def test_order() -> None:
    """Asked in the order given, started after what they require."""
    plugins = load(["reader", "library"], {})
    assert [plugin.name for plugin in plugins] == ["reader", "library"]
    assert [plugin.name for plugin in starting_order(plugins)] == ["library", "reader"]


@pytest.mark.parametrize(
    ("names", "settings", "said"),
    [
        (["libary"], {}, "'libary' is not installed; did you mean library?"),
        (["zzz"], {}, "installed are: library, reader"),
        (["library", "library"], {}, "named twice"),
        (["library"], {"reader": {}}, "settings for plugin 'reader', which is not enabled"),
        (["library"], {"library": {"lons": 5}}, "no setting 'lons'; did you mean loans?"),
        (["library"], {"library": {"loans": 0}}, "'library', wrong settings: loans: Input should be greater"),
        (["library", "reader"], {"reader": {"x": 1}}, "'reader' has no settings, but was given x"),
        (["reader"], {}, "'reader' needs Books, which no enabled plugin provides: add library to --plugins"),
        (["library", "rival"], {}, "'library' and 'rival' both provide Books"),
        (["egg", "hen"], {}, "in a circle: egg -> hen -> egg"),
        (["typo"], {}, "'typo' has a hook 'on_room_opend' that nobody calls"),
        (["misnamed"], {}, "'misnamed' calls itself 'other'"),
        (["dictionary"], {}, "no subclass of api_shim.plugin.Plugin"),
        (["missing"], {}, "'missing' can't be imported: AttributeError"),
    ],
)
def test_refused(names: list[str], settings: dict[str, dict[str, object]], said: str) -> None:
    """Each mistake has its own words."""
    with pytest.raises(StartError) as error:
        load(names, settings)
    assert said in str(error.value)


def test_entry_points_of_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The built-in plugins are found as anybody's are."""
    monkeypatch.undo()
    found: dict[str, Any] = loader.installed()
    assert {"auth", "workspaces", "documents", "events"} <= set(found)
    assert found["auth"].distribution.startswith("materi-relay ")
