"""Documents with the real plugins for accounts and rights."""

from typing import Any

from auth_people import FAST, PASSWORD, set_up
from shim import running

from relay.errors import Deny
from relay.hooks import ConnectAsked, JoinAsked
from relay.types import RoomId


async def test_with_accounts_and_workspaces(postgres: str, valkey: Any) -> None:
    """An owner makes a workspace and a document, a member reads it and no more; a collab token opens that one room;
    what is purged is forgotten by rights too."""
    settings = {"auth": FAST}
    async with running(
        ["auth", "workspaces", "documents"], postgres=postgres, redis=valkey.url, settings=settings,
        trusted_proxies=("127.0.0.0/8",),
    ) as shim:  # fmt: skip
        auth, _, documents = shim.shim.plugins

        async def done(method: str, path: str, body: Any = None, token: str = "", **headers: str) -> Any:
            status, answer, _ = await shim.call(method, path, body, token=token, **headers)
            assert status < 300, (status, answer)
            return answer

        async def status(method: str, path: str, body: Any = None, token: str = "") -> int:
            return (await shim.call(method, path, body, token=token))[0]

        async def grant(token: str, room: str) -> Any:
            principal = await auth.ask_connect(ConnectAsked(token, "127.0.0.1", ""))
            assert principal is not None
            try:
                return await documents.ask_join(JoinAsked(principal, RoomId(room), "127.0.0.1"))
            except Deny as denied:
                return denied.code

        ada = (await set_up(shim))["access_token"]
        new = {"email": "bo@example.com", "password": PASSWORD, "name": "Bo"}
        login = (await done("POST", "/v1/auth/register", new))["login"]
        bo = login["access_token"]
        workspace = (await done("POST", "/v1/workspaces", {"name": "Works"}, ada))["id"]
        body = {"workspace": workspace, "title": "Plan", "content": {"format": "md", "value": "text"}}
        id = (await done("POST", "/v1/documents", body, ada))["id"]
        other = (await done("POST", "/v1/documents", {"workspace": workspace}, ada))["id"]
        path = f"/v1/documents/{id}"
        assert (await status("GET", path, token=bo), await grant(bo, id)) == (404, 4404)
        await done("PUT", f"/v1/workspaces/{workspace}/members/{login['user']['id']}", {"role": "viewer"}, ada)
        assert (await done("GET", path, token=bo))["role"] == "viewer"
        assert {one["id"] for one in (await done("GET", "/v1/documents", token=bo))["data"]} == {id, other}
        append = {"operations": [{"op": "append", "text": "more"}]}
        assert await status("PATCH", f"{path}/content", append, bo) == 403
        assert (await grant(bo, id)).readonly
        made = await done("POST", f"{path}/collab-token", {"lifetime": 60}, ada)
        assert (made["room"], made["readonly"]) == (id, False)
        assert made["url"].endswith(f"/ws/{id}")
        assert not (await grant(made["token"], id)).readonly
        assert await grant(made["token"], other) == 4404
        assert await status("GET", path, token=made["token"]) == 403
        reads = await done("POST", f"{path}/collab-token", {"readonly": True}, ada)
        assert (await grant(reads["token"], id)).readonly
        assert (await done("POST", f"{path}/collab-token", {}, bo))["readonly"]
        await done("DELETE", path, token=ada)
        assert await grant(made["token"], id) == 4410
        await done("POST", f"{path}:purge", token=ada)
        assert (await status("GET", path, token=ada), await grant(made["token"], id)) == (404, 4404)
