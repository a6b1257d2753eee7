"""One API process for all tests of documents, with documents and a stand-in for accounts and workspaces."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest_asyncio
from conftest import Valkey
from multidict import CIMultiDict
from shim import Running, running
from stub_rights import Rights

from plugins.documents.plugin import Documents
from plugins.documents.settings import DocumentsSettings


class Office:
    """Ada owns a workspace; Eve edits in it, Ken comments, Vic views, Mal knows nobody."""

    def __init__(self, shim: Running, rights: Rights, plugin: Documents, workspace: UUID) -> None:
        self.shim, self.rights, self.plugin, self.workspace = shim, rights, plugin, workspace

    async def call(self, method: str, path: str, body: Any = None, token: str = "ada", **headers: str) -> Any:
        status, answer, found = await self.shim.call(method, path, body, token=token, **headers)
        return status, answer, CIMultiDict(found)

    async def done(self, method: str, path: str, body: Any = None, token: str = "ada", **headers: str) -> Any:
        """The body of an answer that must be a yes."""
        status, answer, _ = await self.call(method, path, body, token, **headers)
        assert status < 300, (status, answer)
        return answer

    async def refused(self, method: str, path: str, body: Any = None, token: str = "ada", **headers: str) -> Any:
        """Status and code of an answer that must be a no."""
        status, answer, _ = await self.call(method, path, body, token, **headers)
        assert status >= 400, (status, answer)
        return status, answer["code"]

    async def document(self, markdown: str = "", token: str = "ada", **fields: Any) -> str:
        """A document's path."""
        body = {"workspace": str(self.workspace), "title": "Plan", **fields}
        if markdown:
            body["content"] = {"format": "md", "value": markdown}
        made = await self.done("POST", "/v1/documents", body, token)
        return f"/v1/documents/{made['id']}"

    async def folder(self, name: str = "Ideas", parent: str | None = None) -> str:
        """A folder's id."""
        body = {"workspace": str(self.workspace), "name": name, "parent": parent}
        found: str = (await self.done("POST", "/v1/folders", body))["id"]
        return found

    async def markdown(self, path: str) -> tuple[str, str]:
        """A document's content and its ETag."""
        status, body, headers = await self.call("GET", f"{path}/content?format=md")
        assert status == 200, body
        return (body or b"").decode(), headers["ETag"]

    async def events(self, subject: str) -> list[str]:
        """The types of the events about something, in order, from the outbox and the store."""
        rows = await self.rights.database.fetch(
            "SELECT type, event FROM bus.outbox WHERE subject = $1"
            " UNION SELECT type, id FROM bus.event WHERE subject = $1 ORDER BY 2",
            subject,
        )
        return [row["type"] for row in rows]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def office(postgres_server: Any) -> AsyncIterator[Office]:
    rights, plugin = Rights(), Documents()
    plugin.settings = DocumentsSettings(
        edited_every=0.1, attachment_size=1 << 20, attachment_quota=3 << 20, max_content=1 << 20, bases=5
    )
    # A Valkey of its own: the event bus's streams belong to one database.
    server = Valkey()
    try:
        server.start()
        # Ada alone asks more than a fast machine's clock gives back.
        given = {"postgres": postgres_server.create_database(), "redis": server.url, "api_burst": 1_000_000}
        async with running([rights, plugin], **given) as shim:
            workspace = await rights.workspace("ada")
            await rights.give(workspace, "eve", "editor")
            await rights.give(workspace, "ken", "commenter")
            await rights.give(workspace, "vic", "viewer")
            yield Office(shim, rights, plugin, workspace)
    finally:
        server.remove()
