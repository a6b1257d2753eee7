"""Where users go and what lets them in: rooms and tokens, made once for a run and sent to every generator."""

import gzip
import json
import os
import secrets
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from loadtests.target import Target

__all__ = ["Accounts", "Refused", "World", "prepare", "refresh"]

PATIENCE = 30.0
PASSWORD_BYTES = 18


class Refused(Exception):
    """The server did not let the run be prepared."""


@dataclass(frozen=True, slots=True)
class Accounts:
    """Who the users are, where the server has accounts. `token`: an access token or API key that is taken as it is."""

    token: str = ""
    email: str = ""
    password: str = ""
    register: int = 10

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Accounts":
        return cls(
            token=environment.get("LOADTEST_TOKEN", ""),
            email=environment.get("LOADTEST_EMAIL", ""),
            password=environment.get("LOADTEST_PASSWORD", ""),
            register=int(environment.get("LOADTEST_ACCOUNTS", "10")),
        )


@dataclass(frozen=True, slots=True)
class World:
    """Room i is opened with the token i modulo their number; with `documents` rooms are documents' ids, each in the
    workspace of its token. No tokens: the server is open. `lifetime`: seconds that tokens last, 0 for ever."""

    rooms: tuple[str, ...]
    tokens: tuple[str, ...] = ()
    workspaces: tuple[str, ...] = ()
    documents: bool = False
    lifetime: float = 0.0
    refresh_tokens: tuple[str, ...] = ()

    def token(self, room: int) -> str:
        """The token that opens the room with this number."""
        return self.tokens[room % len(self.tokens)] if self.tokens else ""

    def message(self) -> dict[str, Any]:
        """For the generators; refresh tokens stay with whoever uses them."""
        return asdict(replace(self, refresh_tokens=()))

    @classmethod
    def of(cls, message: Mapping[str, Any]) -> "World":
        given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in message.items()}
        return cls(**given)


def prepare(target: Target, rooms: int, accounts: Accounts) -> World:
    """Find out what the server has, register or log in, make documents. Raises Refused, OSError."""
    run = secrets.token_hex(4)
    names = tuple(f"load-{run}-{i}" for i in range(rooms))
    status, methods = _call(target, "GET", "/v1/auth/methods")
    if accounts.token:
        world = World(names, (accounts.token,))
    elif status == 200:
        logins = _logins(target, accounts, methods, run, rooms)
        world = World(
            names,
            tuple(login["access_token"] for login in logins),
            lifetime=float(logins[0]["expires_in"]),
            refresh_tokens=tuple(login["refresh_token"] for login in logins),
        )
    else:
        return World(names)
    status, _ = _call(target, "GET", "/v1/documents?limit=1", token=world.tokens[0])
    return _documents(target, world, run) if status == 200 else world


def refresh(target: Target, world: World) -> World:
    """The next tokens. Raises Refused, OSError."""
    logins = [
        _done(target, "POST", "/v1/auth/refresh", {"refresh_token": token}, status=200)
        for token in world.refresh_tokens
    ]
    return replace(
        world,
        tokens=tuple(login["access_token"] for login in logins),
        refresh_tokens=tuple(login["refresh_token"] for login in logins),
    )


def _logins(target: Target, accounts: Accounts, methods: Any, run: str, rooms: int) -> list[Any]:
    if accounts.email:
        body = {"email": accounts.email, "password": accounts.password}
        return [_done(target, "POST", "/v1/auth/login", body, status=200)]
    if methods["registration"] != "open":
        raise Refused("Nobody can register on this server: set LOADTEST_EMAIL and LOADTEST_PASSWORD, or LOADTEST_TOKEN")
    made = []
    for number in range(min(accounts.register, rooms)):
        body = {
            "email": f"load-{run}-{number}@example.com",
            "password": secrets.token_urlsafe(PASSWORD_BYTES),
            "name": f"Load {number}",
        }
        answer = _done(target, "POST", "/v1/auth/register", body)
        if answer.get("login") is None:
            raise Refused("The server verifies addresses: set LOADTEST_EMAIL and LOADTEST_PASSWORD, or LOADTEST_TOKEN")
        made.append(answer["login"])
    return made


def _documents(target: Target, world: World, run: str) -> World:
    workspaces = tuple(
        _done(target, "POST", "/v1/workspaces", {"name": f"Load {run}"}, token)["id"] for token in world.tokens
    )
    documents = []
    for number in range(len(world.rooms)):
        body = {"workspace": workspaces[number % len(workspaces)], "title": f"Load {run} {number}"}
        documents.append(_done(target, "POST", "/v1/documents", body, world.token(number))["id"])
    return replace(world, rooms=tuple(documents), workspaces=workspaces, documents=True)


def _done(target: Target, method: str, path: str, body: Any, token: str = "", *, status: int = 201) -> Any:
    got, answer = _call(target, method, path, body, token)
    if got != status:
        raise Refused(f"{method} {path} was answered {got}: {json.dumps(answer)[:300]}")
    return answer


def _call(target: Target, method: str, path: str, body: Any = None, token: str = "") -> tuple[int, Any]:
    request = urllib.request.Request(target.url + path, method=method)
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return response.status, _read(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, _read(error)


def _read(response: Any) -> Any:
    raw = response.read()
    if response.headers.get("Content-Encoding") == "gzip":
        raw = gzip.decompress(raw)
    try:
        return json.loads(raw)
    except ValueError:
        return None
