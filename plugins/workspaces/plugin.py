"""The plugin: what its parts need, in which order they start and stop, its routes."""

from collections.abc import Sequence
from contextlib import AsyncExitStack

from api_shim.context import Context
from api_shim.plugin import Plugin
from api_shim.route import Route
from api_shim.services import Access, Mail, Users
from plugins.workspaces import workspaces
from plugins.workspaces.access import Rights
from plugins.workspaces.authz import Authz
from plugins.workspaces.changes import Changes
from plugins.workspaces.decisions import Decisions
from plugins.workspaces.desk import Desk
from plugins.workspaces.grants import Grants
from plugins.workspaces.groups import Groups
from plugins.workspaces.guests import Guests
from plugins.workspaces.invitations import Invitations
from plugins.workspaces.links import Links
from plugins.workspaces.members import Members
from plugins.workspaces.passwords import Passwords
from plugins.workspaces.rechecks import Expiry, Rechecks
from plugins.workspaces.requests import Requests
from plugins.workspaces.roles import Roles
from plugins.workspaces.settings import WorkspacesSettings
from relay.grants import Principal
from relay.hooks import ConnectAsked

__all__ = ["Workspaces"]


class Workspaces(Plugin):
    """Workspaces, and who may do what in them."""

    name = "workspaces"
    settings_type = WorkspacesSettings
    requires = (Users,)
    provides = (Access,)
    migrations = "plugins.workspaces.migrations"

    def __init__(self) -> None:
        self.settings = WorkspacesSettings()
        self._stack = AsyncExitStack()

    async def start(self, context: Context) -> None:
        """Rights are answered from now on, changes heard of, expiry and the trash looked after."""
        settings: WorkspacesSettings = self.settings
        database, clock = context.database, context.clock
        decisions = Decisions()
        changes = Changes(database, decisions, settings.lease)
        rechecks = Rechecks(context.rooms)
        self.access = access = Rights(database, decisions, changes, rechecks, context.outbox, clock)
        desk = Desk(database, context.outbox, access, decisions, changes, rechecks, clock)
        self.guests = Guests(database, access, await context.secret("guests"), clock)
        passwords = Passwords(time=settings.argon2_time, memory=settings.argon2_memory)
        self._stack.callback(passwords.close)

        def people() -> Users:
            return context.service(Users)  # type: ignore[type-abstract]

        def mail() -> Mail | None:
            try:
                return context.service(Mail)  # type: ignore[type-abstract]
            except LookupError:
                return None

        members = Members(desk, people)
        self._parts = (
            workspaces.Workspaces(desk, settings.trash_retention, settings.most_workspaces),
            members,
            Groups(desk, people),
            Roles(desk),
            Grants(desk, people),
            Links(
                desk, self.guests, passwords, context.cache, people, lifetime=settings.guest_lifetime,
                enabled=settings.guest_links, public_url=context.public_url,
            ),
            Invitations(
                desk, people, mail, lifetime=settings.invitation_lifetime, public_url=context.public_url
            ),
            Requests(desk, people),
            Authz(desk),
        )  # fmt: skip
        self.purge = workspaces.Purge(desk, settings.purge_every)
        for part in (changes, Expiry(database, rechecks, clock, settings.sweep), self.purge):
            part.start()
            self._stack.push_async_callback(part.close)
        await context.consume("rechecks", ["users", "documents"], rechecks.handle)
        await context.consume("accounts", ["users"], members.forget)
        context.provide(Access, access)  # type: ignore[type-abstract]

    async def stop(self) -> None:
        """Let go of connections and threads."""
        await self._stack.aclose()

    def routes(self) -> Sequence[Route]:
        """Its part of the REST API."""
        return [route for part in self._parts for route in part.routes()]

    async def ask_connect(self, ask: ConnectAsked) -> Principal | None:
        """Guests, by the token of a share link."""
        if not self.settings.guest_links:
            return None
        return await self.guests.connect(ask)
