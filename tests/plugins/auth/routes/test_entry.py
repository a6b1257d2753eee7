"""Setting up, registering, logging in and out."""

import asyncio
import statistics
import time
from typing import Any

import pytest
from auth_people import FAST, PASSWORD, People, auth_server, token_of
from shim import running

from plugins.auth import throttle

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_register_and_login(people: People) -> None:
    """Whoever registers can log in, and the token says who they are."""
    ada = await people.register()
    status, me, _ = await people.call("GET", "/v1/me", token=ada["access_token"])
    assert (status, me["email"], me["role"]) == (200, ada["email"], "member")
    status, again = await people.login(ada["email"].upper())
    assert (status, again["user"]["id"]) == (200, me["id"])
    assert me["id"] in await people.events("user.registered")
    assert (await people.events("user.logged_in")).count(me["id"]) == 2


async def test_wrong_password_and_nobody(people: People) -> None:
    """A wrong password, an unknown address and what is no address are answered alike."""
    ada = await people.register()
    answers = [
        await people.login(ada["email"], "wrong password"),
        await people.login("nobody@example.com", "wrong password"),
        await people.login("no address \U0001f600 %", "wrong password"),
    ]
    for status, answer in answers:
        answer.pop("trace_id")
        assert (status, answer) == (401, answers[0][1])
    assert answers[0][1]["code"] == "wrong_password"


@pytest.mark.slow
async def test_timing(postgres_server, valkey) -> None:
    """An unknown address takes as long as a wrong password."""
    settings = {"argon2_time": 4, "argon2_memory": 8 << 20, "attempts_account": 1000}
    async with auth_server(postgres_server.create_database(), valkey.url, **settings) as people:
        ada = await people.register()
        took: dict[str, list[float]] = {ada["email"]: [], "nobody@example.com": []}
        for _ in range(15):
            for email, times in took.items():
                started = time.perf_counter()
                await people.login(email, "wrong password")
                times.append(time.perf_counter() - started)
        known, unknown = (statistics.median(times) for times in took.values())
        assert abs(known - unknown) < 0.35 * max(known, unknown)


async def test_throttled(people: People) -> None:
    """After some wrong attempts even the right password has to wait; an unknown account looks the same."""
    ada = await people.register()
    for email in (ada["email"], "nobody-throttled@example.com"):
        statuses = [(await people.login(email, "wrong password"))[0] for _ in range(6)]
        assert statuses == [401] * 5 + [429]
        status, answer = await people.login(email.upper())
        assert (status, answer["code"]) == (429, "too_many_requests")
    redis = people.server.context("auth").redis
    async for key in redis.scan_iter(f"{throttle.PREFIX}account:*"):
        await redis.hincrby(key, "until", -60_000)  # as if that time had passed
    assert (await people.login(ada["email"]))[0] == 200


async def test_one_address_registered_at_once(people: People) -> None:
    """Of many who register one address at the same time one gets it."""
    bodies = [
        {"email": email, "password": PASSWORD, "name": "Racer"}
        for email in ("race@example.com", "RACE@example.com", "ｒace@example.com", "Race@Example.COM") * 3
    ]
    answers = await asyncio.gather(*(people.call("POST", "/v1/auth/register", body) for body in bodies))
    assert sorted(answer[0] for answer in answers) == [201] + [409] * 11


@pytest.mark.parametrize(
    ("changes", "status", "pointer"),
    [
        ({"password": "x" * 1_100_000}, 413, None),
        ({"password": "x" * 1000}, 422, "/password"),
        ({"password": "short"}, 422, "/password"),
        ({"email": "аda@example.com"}, 422, "/email"),
        ({"email": "ada@example.com\u202e"}, 422, "/email"),
        ({"name": "\u202eada\n"}, 422, "/name"),
        ({"name": "a\0"}, 422, "/name"),
    ],
)
async def test_register_badly(people: People, changes: dict[str, str], status: int, pointer: str | None) -> None:
    """Bad values are refused and named."""
    body = {"email": "bad@example.com", "password": PASSWORD, "name": "Bad"} | changes
    found, answer, _ = await people.call("POST", "/v1/auth/register", body)
    assert found == status
    if pointer:
        assert [error["pointer"] for error in answer["errors"]] == [pointer]


@pytest.mark.parametrize("email", ["%@example.com", "_@example.com", "owner@example.co_", "' OR true--@x"])
async def test_wildcards(people: People, email: str) -> None:
    """Characters that mean something to SQL mean nothing."""
    assert (await people.login(email))[0] == 401


async def test_refresh(people: People) -> None:
    """A refresh token gives the next ones; the access token of before stays good until it expires."""
    ada = await people.register()
    status, answer, _ = await people.call("POST", "/v1/auth/refresh", {"refresh_token": ada["refresh_token"]})
    assert status == 200
    assert answer["refresh_token"] != ada["refresh_token"]
    for token in (ada["access_token"], answer["access_token"]):
        assert (await people.call("GET", "/v1/me", token=token))[0] == 200


async def test_refresh_race(people: People) -> None:
    """Tabs that refresh at the same moment, and one whose answer got lost, all get the same refresh token."""
    ada = await people.register()
    body = {"refresh_token": ada["refresh_token"]}
    answers = await asyncio.gather(*(people.call("POST", "/v1/auth/refresh", body) for _ in range(6)))
    assert [status for status, _, _ in answers] == [200] * 6
    assert len({answer["refresh_token"] for _, answer, _ in answers}) == 1
    body = {"refresh_token": answers[0][1]["refresh_token"]}
    assert (await people.call("POST", "/v1/auth/refresh", body))[0] == 200


async def test_refresh_token_reused(people: People) -> None:
    """A token from before the last one ends the login for everybody who has it."""
    ada = await people.register()
    tokens = [ada]
    for _ in range(2):
        _, answer, _ = await people.call("POST", "/v1/auth/refresh", {"refresh_token": tokens[-1]["refresh_token"]})
        tokens.append(answer)
    status, answer, _ = await people.call("POST", "/v1/auth/refresh", {"refresh_token": ada["refresh_token"]})
    assert (status, answer["code"]) == (401, "bad_refresh_token")
    for one in tokens:
        assert (await people.call("GET", "/v1/me", token=one["access_token"]))[0] == 401
        body = {"refresh_token": one["refresh_token"]}
        assert (await people.call("POST", "/v1/auth/refresh", body))[0] == 401
    assert ada["user"]["id"] in await people.events("session.revoked")


async def test_refresh_token_after_the_grace(postgres_server, valkey) -> None:
    """The same token again after the grace is a copy."""
    async with auth_server(postgres_server.create_database(), valkey.url, refresh_grace=0.0) as people:
        ada = await people.register()
        body = {"refresh_token": ada["refresh_token"]}
        assert (await people.call("POST", "/v1/auth/refresh", body))[0] == 200
        assert (await people.call("POST", "/v1/auth/refresh", body))[0] == 401
        assert (await people.call("GET", "/v1/me", token=ada["access_token"]))[0] == 401


@pytest.mark.parametrize("change", ["empty", "truncated", "flipped", "other session"])
async def test_made_up_refresh_token(people: People, change: str) -> None:
    """A token that was not signed here is refused and ends nothing."""
    ada, bo = await people.register(), await people.register("Bo")
    token = ada["refresh_token"]
    bad = {
        "empty": "mr_",
        "truncated": token[:-2],
        "flipped": token[:-5] + ("A" if token[-5] != "A" else "B") + token[-4:],
        "other session": bo["refresh_token"][:20] + token[20:],
    }[change]
    assert (await people.call("POST", "/v1/auth/refresh", {"refresh_token": bad}))[0] == 401
    assert (await people.call("POST", "/v1/auth/refresh", {"refresh_token": token}))[0] == 200


async def test_logout(people: People) -> None:
    """Tokens of the login are void at once, those of others are not."""
    ada = await people.register()
    _, other = await people.login(ada["email"])
    assert (await people.call("POST", "/v1/auth/logout", token=ada["access_token"]))[0] == 204
    assert (await people.call("GET", "/v1/me", token=ada["access_token"]))[0] == 401
    assert (await people.call("POST", "/v1/auth/refresh", {"refresh_token": ada["refresh_token"]}))[0] == 401
    assert (await people.call("GET", "/v1/me", token=other["access_token"]))[0] == 200


async def test_revoke(people: People) -> None:
    """A refresh token ends its login; whatever else is sent is answered the same."""
    ada = await people.register()
    for token in (ada["refresh_token"], ada["refresh_token"], "junk"):
        assert (await people.call("POST", "/v1/auth/revoke", {"token": token}))[0] == 204
    assert (await people.call("GET", "/v1/me", token=ada["access_token"]))[0] == 401


async def test_set_up_once(postgres_server, valkey, caplog: pytest.LogCaptureFixture) -> None:
    """A server without an owner says a link at each start, the same one; it makes the owner, once."""
    postgres, links = postgres_server.create_database(), []
    for _ in range(2):
        caplog.clear()
        async with running(["auth"], postgres=postgres, redis=valkey.url, settings={"auth": FAST}) as server:
            links += [record.getMessage() for record in caplog.records if "nobody owns" in record.message]
            if len(links) < 2:
                continue
            body: dict[str, Any] = {"token": "A" * 54, "email": "o@x.org", "password": PASSWORD, "name": "O"}
            assert (await server.call("POST", "/v1/auth/setup", body))[0] == 400
            body["token"] = token_of(links[0].split()[6])
            answers = await asyncio.gather(*(server.call("POST", "/v1/auth/setup", body) for _ in range(3)))
            assert sorted(answer[0] for answer in answers) == [201, 400, 400]
            _, methods, _ = await server.call("GET", "/v1/auth/methods")
            assert methods["set_up"]
    assert links[0] == links[1]
    caplog.clear()
    async with running(["auth"], postgres=postgres, redis=valkey.url, settings={"auth": FAST}):
        assert not [record for record in caplog.records if "nobody owns" in record.message]


async def test_by_invitation(postgres_server, valkey) -> None:
    """Where people are invited nobody else registers; an invitation is for its address, once."""
    postgres = postgres_server.create_database()
    async with auth_server(postgres, valkey.url, registration="invited") as people:
        body = {"email": "guest@example.com", "password": PASSWORD, "name": "Guest"}
        status, answer, _ = await people.call("POST", "/v1/auth/register", body)
        assert (status, answer["code"]) == (403, "registration_closed")
        invite = {"email": "Guest@example.com"}
        assert (await people.call("POST", "/v1/auth/invitations", invite, token=people.admin))[0] == 202
        invitation = token_of((await people.letters("Guest@example.com"))[0]["link"])
        other = {**body, "email": "other@example.com", "invitation": invitation}
        assert (await people.call("POST", "/v1/auth/register", other))[0] == 422
        status, answer, _ = await people.call("POST", "/v1/auth/register", {**body, "invitation": invitation})
        assert (status, answer["login"]["user"]["email_verified"]) == (201, True)
        assert (await people.call("POST", "/v1/auth/register", {**body, "invitation": invitation}))[0] == 400


async def test_verified_addresses(postgres_server, valkey) -> None:
    """Where addresses are verified nobody learns whether one has an account, and nobody is in before."""
    postgres = postgres_server.create_database()
    async with auth_server(postgres, valkey.url, verify_email=True) as people:
        body = {"email": "ada@example.com", "password": PASSWORD, "name": "Ada"}
        answers = [(await people.call("POST", "/v1/auth/register", body))[:2] for _ in range(2)]
        assert answers == [(201, {"verify_email": True, "login": None})] * 2
        status, answer = await people.login("ada@example.com")
        assert (status, answer["code"]) == (403, "email_not_verified")
        letters = await people.letters("ada@example.com")
        assert [letter["kind"] for letter in letters] == ["address_taken", "verify_email"]
        token = {"token": token_of(letters[1]["link"])}
        assert (await people.call("POST", "/v1/auth/email:verify", token))[0] == 204
        assert (await people.call("POST", "/v1/auth/email:verify", token))[0] == 400
        assert (await people.login("ada@example.com"))[0] == 200


@pytest.mark.slow
async def test_rehashed(postgres_server, valkey) -> None:
    """A login makes a hash of today's parameters out of a weaker one."""
    postgres = postgres_server.create_database()
    async with auth_server(postgres, valkey.url) as people:
        database = people.server.context("auth").database
        query = "SELECT password FROM auth.account WHERE email_key = 'owner@example.com'"
        assert "t=1," in await database.fetchval(query)
    stronger = {"auth": FAST | {"argon2_time": 3}}
    async with running(["auth"], postgres=postgres, redis=valkey.url, settings=stronger) as server:
        body = {"email": "owner@example.com", "password": PASSWORD}
        assert (await server.call("POST", "/v1/auth/login", body))[0] == 200
        assert "t=3," in await server.context("auth").database.fetchval(query)
        assert (await server.call("POST", "/v1/auth/login", body))[0] == 200


async def test_owner_is_owner(people: People) -> None:
    """Setting up makes the owner."""
    assert people.owner["user"]["role"] == "owner"
