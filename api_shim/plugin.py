"""The base of plugins: the hooks of `relay.hooks`, and what a plugin brings along besides."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel

from api_shim.route import Route
from relay import hooks

if TYPE_CHECKING:
    from api_shim.context import Context

__all__ = ["Plugin"]


class Plugin(hooks.Plugin):
    """Found by entry point `relay.plugins`, whose name is the plugin's; enabled and ordered by the setting `plugins`.

    name: also the name of its schema in PostgreSQL.
    settings_type: a pydantic model with a default for everything; `settings` is an instance of it before `start`.
    requires, provides: service protocols (`api_shim.services`, or a package that plugins share).
    migrations: an import package of `NNNN_name.sql` files, applied to its schema before `start`.
    """

    name: ClassVar[str] = ""
    settings_type: ClassVar[type[BaseModel] | None] = None
    requires: ClassVar[tuple[type, ...]] = ()
    provides: ClassVar[tuple[type, ...]] = ()
    migrations: ClassVar[str] = ""
    settings: Any = None

    async def start(self, context: "Context") -> None:
        """Get ready; the services it requires are there. What it provides it gives to `context.provide`."""

    async def stop(self) -> None:
        """Let go of everything; called once, also when starting failed half-way."""

    def routes(self) -> Sequence[Route]:
        """Its part of the REST API; asked for once, after `start`."""
        return ()
