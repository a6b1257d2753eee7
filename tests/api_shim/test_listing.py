"""What `relay plugins` says, and the page made of it."""

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from api_shim.listing import listed, main, markdown
from api_shim.loader import GROUP, Found


def test_reference_page_is_current() -> None:
    """contrib/plugins.md says what the code says; `python -m api_shim.listing > contrib/plugins.md` writes it."""
    assert (Path(__file__).parents[2] / "contrib" / "plugins.md").read_text() == markdown()


def test_listing(capsys: pytest.CaptureFixture[str]) -> None:
    """All in short, one in full, an unknown one is an error that names those there are."""
    assert main([], json=False) == 0
    assert "auth " in capsys.readouterr().out
    assert main(["documents"], json=False) == 0
    shown = capsys.readouterr().out
    assert "requires Access" in shown
    assert "hooks ask_join" in shown
    assert main(["nothing"], json=False) == 1
    assert "'nothing' is not installed; there are auth, documents" in capsys.readouterr().err
    assert main(["auth"], json=True) == 0
    assert '"provides": [' in capsys.readouterr().out


def test_broken_plugin() -> None:
    """One that can't be imported is shown with the reason."""
    found = Found("broken", "x 1", EntryPoint("broken", "no.such.module:Thing", GROUP))
    assert listed(found).broken == "ModuleNotFoundError: No module named 'no'"
