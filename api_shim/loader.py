"""Plugins: found by entry point, checked, ordered. Whatever is wrong is said before anything starts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points

from pydantic import ValidationError

from api_shim.plugin import Plugin
from relay.errors import StartError
from relay.hooks import heard

__all__ = ["GROUP", "Found", "installed", "load", "starting_order"]

GROUP = "relay.plugins"


@dataclass(frozen=True, slots=True)
class Found:
    """An installed plugin. `distribution` is the package that brought it, with its version."""

    name: str
    distribution: str
    entry: EntryPoint


def installed() -> dict[str, Found]:
    """Every plugin that is installed, by name; none is imported for that."""
    found = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        made_by = f"{entry.dist.name} {entry.dist.version}" if entry.dist else ""
        found[entry.name] = Found(entry.name, made_by, entry)
    return found


def load(names: Sequence[str], settings: Mapping[str, Mapping[str, object]]) -> list[Plugin]:
    """The plugins of these names, in this order, each with its settings. Raises StartError naming plugin and fix."""
    known = installed()
    if unknown := [name for name in names if name not in known]:
        close = get_close_matches(unknown[0], known, 1)
        hint = f"did you mean {close[0]}?" if close else f"installed are: {', '.join(known) or 'none'}"
        raise StartError(f"plugin {unknown[0]!r} is not installed; {hint}")
    if len(set(names)) != len(names):
        raise StartError(f"a plugin is named twice: {', '.join(names)}")
    if strangers := [name for name in settings if name not in names]:
        raise StartError(f"settings for plugin {strangers[0]!r}, which is not enabled; see --plugins")
    plugins = [_make(known[name], settings.get(name, {})) for name in names]
    starting_order(plugins)
    return plugins


def _make(found: Found, settings: Mapping[str, object]) -> Plugin:
    name = found.name
    try:
        kind = found.entry.load()
    except Exception as error:
        raise StartError(f"plugin {name!r} can't be imported: {type(error).__name__}: {error}") from error
    if not (isinstance(kind, type) and issubclass(kind, Plugin)):
        raise StartError(f"plugin {name!r} is {found.entry.value}, which is no subclass of api_shim.plugin.Plugin")
    if kind.name != name:
        raise StartError(f"plugin {name!r} calls itself {kind.name!r}: its entry point needs the same name")
    plugin = kind()
    try:
        heard(plugin)
    except ValueError as error:
        raise StartError(str(error)) from None
    plugin.settings = _settings(name, kind, settings)
    return plugin


def _settings(name: str, kind: type[Plugin], given: Mapping[str, object]) -> object:
    if kind.settings_type is None:
        if given:
            raise StartError(f"plugin {name!r} has no settings, but was given {', '.join(given)}")
        return None
    if unknown := [key for key in given if key not in kind.settings_type.model_fields]:
        close = get_close_matches(unknown[0], kind.settings_type.model_fields, 1)
        hint = f"; did you mean {close[0]}?" if close else f"; see `relay plugins {name}`"
        raise StartError(f"plugin {name!r} has no setting {unknown[0]!r}{hint}")
    try:
        return kind.settings_type.model_validate(dict(given))
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'settings'}: {one['msg']}" for one in error.errors())
        raise StartError(f"plugin {name!r}, wrong settings: {wrong}") from None


def starting_order(plugins: Sequence[Plugin]) -> list[Plugin]:
    """Providers before those that require them, else as given. Raises StartError for what nobody provides, what two
    provide, and cycles."""
    providers: dict[type, Plugin] = {}
    for plugin in plugins:
        for service in plugin.provides:
            if service in providers:
                both = f"{providers[service].name!r} and {plugin.name!r}"
                raise StartError(f"plugins {both} both provide {service.__name__}: enable one of them")
            providers[service] = plugin
    ordered: list[Plugin] = []
    on_the_way: list[Plugin] = []

    def visit(plugin: Plugin) -> None:
        if plugin in ordered:
            return
        if plugin in on_the_way:
            circle = " -> ".join(one.name for one in [*on_the_way[on_the_way.index(plugin) :], plugin])
            raise StartError(f"plugins require each other in a circle: {circle}")
        on_the_way.append(plugin)
        for service in plugin.requires:
            if service not in providers:
                raise StartError(
                    f"plugin {plugin.name!r} needs {service.__name__}, which no enabled plugin provides"
                    f"{_who_would(service)}"
                )
            visit(providers[service])
        on_the_way.pop()
        ordered.append(plugin)

    for plugin in plugins:
        visit(plugin)
    return ordered


def _who_would(service: type) -> str:
    for found in installed().values():
        try:
            kind = found.entry.load()
        except Exception:  # noqa: S112  (a broken plugin that is not enabled is nobody's concern here)
            continue
        if isinstance(kind, type) and issubclass(kind, Plugin) and service in kind.provides:
            return f": add {found.name} to --plugins"
    return ""
