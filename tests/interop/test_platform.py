"""The walk through the platform: people, their editors and the API in one document, as users meet them."""

import asyncio
import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import pytest
from auth_people import FAST, PASSWORD
from oidc_provider import CLIENT, SECRET, oidc_provider
from relay_process import Relay
from typists import Typist, until

PLUGINS = ("--plugins", "auth,workspaces,documents,events")


class Site:
    """A relay with everything on, on services of its own, and its owner."""

    def __init__(self, directory: Path, postgres: str, redis: str, **settings: str) -> None:
        given = {f"RELAY_PLUGINS_AUTH_{name.upper()}": str(value) for name, value in FAST.items()}
        given |= {"DATABASE_URL": postgres, "REDIS_URL": redis} | settings
        self.relay = Relay(directory, PLUGINS, given)
        link = re.search(r"http://\S+/setup\?token=([^\s\"]+)", self.relay.log.read_text())
        assert link is not None, "the first start says how to become the owner"
        body = {"token": link[1], "email": "owner@example.com", "password": PASSWORD, "name": "Owner"}
        self.owner = self.done("POST", "/v1/auth/setup", body)

    def call(
        self, method: str, path: str, body: Any = None, token: str = "", **headers: str
    ) -> tuple[int, Any, dict[str, str]]:
        raw = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.relay.port}{path}", raw, method=method)
        request.add_header("Content-Type", "text/plain" if isinstance(body, bytes) else "application/json")
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        for name, value in headers.items():
            request.add_header(name.replace("_", "-"), value)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                status, said, about = answer.status, answer.read(), dict(answer.headers)
        except urllib.error.HTTPError as error:
            status, said, about = error.code, error.read(), dict(error.headers)
        return status, json.loads(said) if "json" in about.get("Content-Type", "") else said.decode(), about

    def done(self, method: str, path: str, body: Any = None, token: str = "", **headers: str) -> Any:
        status, answer, _ = self.call(method, path, body, token, **headers)
        assert status < 300, (method, path, status, answer)
        return answer

    def register(self, name: str) -> tuple[str, str]:
        """Account id and token."""
        body = {"email": f"{name}@example.com", "password": PASSWORD, "name": name.title()}
        login = self.done("POST", "/v1/auth/register", body)["login"]
        return login["user"]["id"], login["access_token"]


@pytest.fixture
def site(tmp_path: Path, postgres_server: Any, own_valkey: Any) -> Iterator[Site]:
    made = Site(tmp_path, postgres_server.create_database(), own_valkey.url)
    yield made
    made.relay.stop()


@pytest.mark.slow
def test_walk(site: Site, stage: Callable[..., Any]) -> None:
    """Register, workspace, document, editors of three kinds, a viewer and a guest who are refused, a stale body merged
    with live typing, rights that end while connected, move, trash, restore, an API key, the events of it all."""
    call, done = site.call, site.done
    (_, ada), (bo_id, bo), (vi_id, vi) = (site.register(name) for name in ("ada", "bo", "vi"))
    workspace = done("POST", "/v1/workspaces", {"name": "Animals"}, ada)["id"]
    done("PUT", f"/v1/workspaces/{workspace}/members/{bo_id}", {"role": "editor"}, ada)
    folder = done("POST", "/v1/folders", {"workspace": workspace, "name": "Foxes"}, ada)["id"]
    document = done("POST", "/v1/documents", {"workspace": workspace, "title": "A fox"}, ada)["id"]
    path = f"/v1/documents/{document}"
    assert call("GET", path, None, vi)[0] == 404, "nobody knows of it who may not read it"
    done("PUT", f"/v1/resources/{document}/grants/user/{vi_id}", {"role": "viewer"}, ada)
    link = done("POST", f"/v1/resources/{document}/links", {"role": "viewer"}, ada)
    guest = done("POST", "/v1/links:open", {"token": link["token"]})

    tokens = {
        "ada": done("POST", f"{path}/collab-token", {"lifetime": 300}, ada)["token"],
        "bo": bo,
        "viewer": vi,
        "guest": guest["token"],
    }
    play = stage("platform", "walk", site.relay, deadline=90, room=document, **tokens)
    play.meet("written")
    _, base, headers = call("GET", f"{path}/content?format=text", None, ada)
    assert base == "The quick brown fox\n\nsleeps"
    play.go()
    play.meet("typed")
    body = base.replace("brown", "red").encode()
    written = done("PUT", f"{path}/content", body, ada, If_Match=headers["ETag"])
    assert written["rebased"], "others had typed since"
    assert written["hunks"]
    play.go()
    merged = play.at("merged")["text"]
    assert merged == "The very quick red fox\nsleeps no more"

    play.go()
    started = time.time()
    done("DELETE", f"/v1/resources/{document}/grants/user/{vi_id}", None, ada)
    assert play.at("revoked")["at"] - started < 1.0
    play.go()
    started = time.time()
    done("DELETE", f"/v1/links/{link['id']}", None, ada)
    assert play.at("withdrawn")["at"] - started < 1.0
    assert call("GET", path, None, vi)[0] == 404
    done("POST", f"{path}:move", {"folder": folder}, ada)
    assert done("GET", path, None, bo)["folder"] == folder
    play.go()
    play.meet("trashing")
    assert call("DELETE", path, None, ada)[0] == 204
    play.go()
    play.meet("trashed")
    done("POST", f"{path}:restore", {}, ada)
    play.go()
    assert play.result()["text"] == "Still: The very quick red fox\nsleeps no more"

    key = done("POST", "/v1/me/api-keys", {"name": "robot", "scopes": ["documents:read"]}, ada)
    assert done("GET", path, None, key["token"])["title"] == "A fox"
    status, problem, _ = call("PATCH", path, {"title": "x"}, key["token"])
    assert (status, problem["code"]) == (403, "scope_missing")
    done("DELETE", f"/v1/me/api-keys/{key['key']['id']}", None, ada)
    assert call("GET", path, None, key["token"])[0] == 401
    seen = types(site, document)
    assert {"document.created", "document.trashed", "document.restored"} <= seen, seen


def types(site: Site, subject: str) -> set[str]:
    """The types of the events about something, once they are published, as a service account reads them."""
    owner = site.owner["access_token"]
    robot = site.done("POST", "/v1/service-accounts", {"name": "reader"}, owner)["id"]
    key = site.done("POST", f"/v1/service-accounts/{robot}/api-keys", {"name": "k"}, owner)["token"]
    found: set[str] = set()
    for _ in range(50):
        read = site.done("GET", f"/v1/events?subject={subject}&limit=200&wait=2", None, key)
        found = {event["type"] for event in read["data"]}
        if "document.restored" in found:
            break
        time.sleep(0.1)
    return found


@pytest.mark.slow
async def test_login_at_a_provider(tmp_path: Path, postgres_server: Any, own_valkey: Any) -> None:
    """Somebody logs in at an OpenID provider, and gets an account whose tokens open the API."""
    async with oidc_provider() as provider:
        told = [{"name": "work", "issuer": provider.issuer, "client_id": CLIENT, "client_secret": SECRET}]
        settings = {"RELAY_PLUGINS_AUTH_PROVIDERS": json.dumps(told)}
        url, redis = postgres_server.create_database(), own_valkey.url
        site = await asyncio.to_thread(lambda: Site(tmp_path, url, redis, **settings))
        try:
            provider.person = {"sub": "w-1", "email": "eve@work.example", "email_verified": True, "name": "Eve"}
            base = f"http://127.0.0.1:{site.relay.port}"
            async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
                async with browser.get(f"{base}/v1/auth/oidc/work/start", allow_redirects=False) as answer:
                    away = answer.headers["Location"]
                async with browser.get(away, allow_redirects=False) as answer:
                    back = answer.headers["Location"]
                async with browser.get(back, allow_redirects=False) as answer:
                    fragment = urllib.parse.urlsplit(answer.headers["Location"]).fragment
                code = urllib.parse.parse_qs(fragment)["login_code"][0]
                async with browser.post(f"{base}/v1/auth/oidc:exchange", json={"code": code}) as answer:
                    assert answer.status == 200
                    token = (await answer.json())["access_token"]
            me = await asyncio.to_thread(site.done, "GET", "/v1/me", None, token)
            assert (me["name"], me["email"]) == ("Eve", "eve@work.example")
        finally:
            await asyncio.to_thread(site.relay.stop)


@pytest.mark.slow
async def test_keys_rotate_under_traffic(site: Site) -> None:
    """Signing keys are replaced while people type and call: nobody is turned away."""
    _, ada = await asyncio.to_thread(site.register, "ada")
    owner = site.owner["access_token"]
    workspace = (await asyncio.to_thread(site.done, "POST", "/v1/workspaces", {"name": "W"}, ada))["id"]
    made = await asyncio.to_thread(site.done, "POST", "/v1/documents", {"workspace": workspace, "title": "D"}, ada)
    room = str(UUID(made["id"]))
    typist = await Typist.join(site.relay.port, room, 7, token=ada)
    for turn in range(3):
        await asyncio.to_thread(site.done, "POST", "/v1/auth/keys:rotate", None, owner)
        for _ in range(20):
            typist.type()
            assert (await asyncio.to_thread(site.call, "GET", "/v1/me", None, ada))[0] == 200
        fresh = (
            await asyncio.to_thread(
                site.done, "POST", "/v1/auth/login", {"email": "ada@example.com", "password": PASSWORD}
            )
        )["access_token"]
        late = await Typist.join(site.relay.port, room, 100 + turn, token=fresh)
        assert late.synced
    await until(lambda: typist.saved == 60, 20, "everything is saved")
    assert typist.closed is None
