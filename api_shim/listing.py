"""What `relay plugins` says: which plugins are installed, what each needs, gives, hears and can be told.

`python -m api_shim.listing` prints the reference page of the built-in ones, contrib/plugins.md.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from api_shim.loader import Found, installed
from api_shim.plugin import Plugin
from relay.hooks import heard

__all__ = ["Listed", "listed", "main", "markdown"]

BUILT_IN = "materi-relay"


@dataclass(frozen=True, slots=True)
class Listed:
    """One plugin, as it is shown. `settings`: name, default and help. `broken`: why it can't be used."""

    name: str
    distribution: str
    summary: str
    requires: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()
    hooks: tuple[str, ...] = ()
    settings: tuple[tuple[str, str, str], ...] = ()
    broken: str = ""


def listed(found: Found) -> Listed:
    """Import a plugin and look at it; what goes wrong with that is told, not raised."""
    try:
        kind = found.entry.load()
        if not issubclass(kind, Plugin):
            raise TypeError("no subclass of api_shim.plugin.Plugin")
        hooks = heard(kind())
    except Exception as error:
        return Listed(found.name, found.distribution, "", broken=f"{type(error).__name__}: {error}")
    summary = (kind.__doc__ or sys.modules[kind.__module__].__doc__ or "").strip().split("\n")[0]
    requires = tuple(service.__name__ for service in kind.requires)
    provides = tuple(service.__name__ for service in kind.provides)
    return Listed(found.name, found.distribution, summary, requires, provides, hooks, tuple(_settings(kind)))


def _settings(kind: type[Plugin]) -> Iterator[tuple[str, str, str]]:
    fields: dict[str, Any] = kind.settings_type.model_fields if kind.settings_type else {}
    for name, field in fields.items():
        default = "needed" if field.is_required() else str(field.get_default(call_default_factory=True))
        yield name, default, field.description or ""


def main(names: list[str], json: bool) -> int:
    """Print them, or those named; the exit status."""
    known = installed()
    if unknown := [name for name in names if name not in known]:
        print(f"relay: plugin {unknown[0]!r} is not installed; there are {', '.join(known)}", file=sys.stderr)
        return 1
    shown = [listed(known[name]) for name in names or known]
    if json:
        print(orjson.dumps(shown, option=orjson.OPT_INDENT_2).decode())
        return 0
    for one in shown:
        print(f"{one.name:12} {one.broken or one.summary}")
        if names and not one.broken:
            print(f"{'':12} from {one.distribution}")
            for title, words in (("requires", one.requires), ("provides", one.provides), ("hooks", one.hooks)):
                if words:
                    print(f"{'':12} {title} {', '.join(words)}")
            for name, default, help in one.settings:
                print(f"{'':12} {name} [{default}]  {help}")
    return 0


def markdown() -> str:
    """The reference page."""
    page = [
        "# Plugins",
        "",
        "Those that come along; `relay plugins` lists them and any other that is installed, `relay plugins NAME` shows",
        "one. Enable them with `--plugins auth,workspaces,documents` or in `relay.toml`:",
        "",
        "```toml",
        "[plugins]",
        'plugins = ["auth", "workspaces", "documents"]',
        "",
        "[plugins.auth]",
        'registration = "invited"',
        "```",
        "",
        "A setting is `RELAY_PLUGINS_<NAME>_<SETTING>` in the environment.",
        "",
        "Written by `python -m api_shim.listing`; do not edit.",
    ]
    for found in installed().values():
        if not found.distribution.startswith(BUILT_IN):
            continue
        one = listed(found)
        page += ["", f"## {one.name}", "", one.broken or one.summary]
        for title, words in (("Requires", one.requires), ("Provides", one.provides), ("Hooks", one.hooks)):
            if words:
                page += ["", f"{title}: {', '.join(f'`{word}`' for word in words)}"]
        if one.settings:
            page += ["", "| setting | default | what it does |", "|---|---|---|"]
            page += [f"| `{name}` | `{default}` | {help} |" for name, default, help in one.settings]
    return "\n".join(page) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")
