"""Passwords that are forgotten or changed, and addresses that are verified."""

import asyncio
import time
from base64 import b32decode

import pytest
from auth_people import PASSWORD, People, token_of

from plugins.auth.totp import code_at

pytestmark = pytest.mark.asyncio(loop_scope="session")
ANOTHER = "battery staple horse"


async def reset_link(people: People, email: str, count: int = 1) -> str:
    """The newest link, once `count` letters have come."""
    async with asyncio.timeout(10):
        while True:
            letters = [one for one in await people.letters(email) if one["kind"] == "reset_password"]
            if len(letters) >= count:
                return token_of(letters[0]["link"])
            await asyncio.sleep(0.01)


async def test_change(people: People) -> None:
    """With the present password; every other login ends, this one goes on."""
    ada = await people.register()
    _, other = await people.login(ada["email"])
    token = ada["access_token"]
    body = {"password": "wrong password", "new_password": ANOTHER}
    assert (await people.call("POST", "/v1/auth/password:change", body, token=token))[0] == 422
    body["password"] = PASSWORD
    assert (await people.call("POST", "/v1/auth/password:change", body, token=token))[0] == 204
    assert (await people.call("GET", "/v1/me", token=token))[0] == 200
    assert (await people.call("GET", "/v1/me", token=other["access_token"]))[0] == 401
    assert (await people.login(ada["email"]))[0] == 401
    assert (await people.login(ada["email"], ANOTHER))[0] == 200
    assert ada["user"]["id"] in await people.events("password.changed")


async def test_guessing_with_a_stolen_token(people: People) -> None:
    """Who has a token but not the password can't try many."""
    ada = await people.register()
    body = {"password": "wrong password", "new_password": ANOTHER}
    statuses = [
        (await people.call("POST", "/v1/auth/password:change", body, token=ada["access_token"]))[0] for _ in range(7)
    ]
    assert statuses == [422] * 5 + [429] * 2


async def test_forgotten(people: People) -> None:
    """A link sets another password, once; every login ends, and the address is verified by it."""
    ada = await people.register()
    status, answer, _ = await people.call("POST", "/v1/auth/password:forgot", {"email": ada["email"].upper()})
    assert (status, answer) == (202, None)
    token = await reset_link(people, ada["email"])
    assert (await people.call("POST", "/v1/auth/password:reset", {"token": token, "password": "short"}))[0] == 422
    body = {"token": token, "password": ANOTHER}
    answers = await asyncio.gather(*(people.call("POST", "/v1/auth/password:reset", body) for _ in range(3)))
    assert sorted(answer[0] for answer in answers) == [204, 400, 400]
    assert (await people.call("GET", "/v1/me", token=ada["access_token"]))[0] == 401
    status, login = await people.login(ada["email"], ANOTHER)
    assert (status, login["user"]["email_verified"]) == (200, True)


async def test_registered_by_another(people: People) -> None:
    """Who registers with another's address keeps neither keys nor codes once its owner sets the password."""
    ada = await people.register()
    token = ada["access_token"]
    _, key, _ = await people.call("POST", "/v1/me/api-keys", {"name": "mine"}, token=token)
    assert (await people.call("GET", "/v1/me", token=key["token"]))[0] == 200
    _, totp, _ = await people.call("POST", "/v1/me/totp", {"password": PASSWORD}, token=token)
    code = code_at(b32decode(totp["secret"]), int(time.time()) // 30)
    assert (await people.call("POST", "/v1/me/totp:confirm", {"code": code}, token=token))[0] == 200
    await people.call("POST", "/v1/auth/password:forgot", {"email": ada["email"]})
    body = {"token": await reset_link(people, ada["email"]), "password": ANOTHER}
    assert (await people.call("POST", "/v1/auth/password:reset", body))[0] == 204
    assert (await people.call("GET", "/v1/me", token=key["token"]))[0] == 401
    status, login = await people.login(ada["email"], ANOTHER)
    assert status == 200
    # From now on it is theirs: a further link leaves keys and codes.
    _, key, _ = await people.call("POST", "/v1/me/api-keys", {"name": "k"}, token=login["access_token"])
    await people.call("POST", "/v1/auth/password:forgot", {"email": ada["email"]})
    body = {"token": await reset_link(people, ada["email"], 2), "password": PASSWORD}
    assert (await people.call("POST", "/v1/auth/password:reset", body))[0] == 204
    assert (await people.call("GET", "/v1/me", token=key["token"]))[0] == 200


async def test_changed_password_voids_links(people: People) -> None:
    """A link from before the password was changed does nothing."""
    ada = await people.register()
    await people.call("POST", "/v1/auth/password:forgot", {"email": ada["email"]})
    token = await reset_link(people, ada["email"])
    body = {"password": PASSWORD, "new_password": ANOTHER}
    assert (await people.call("POST", "/v1/auth/password:change", body, token=ada["access_token"]))[0] == 204
    status, answer, _ = await people.call("POST", "/v1/auth/password:reset", {"token": token, "password": PASSWORD})
    assert (status, answer["code"]) == (400, "bad_link")


async def test_look_alike_address(people: People) -> None:
    """A letter goes to the address that is kept, whatever way it was typed."""
    ada = await people.register()
    typed = ada["email"].replace("example", "ＥＸＡＭＰＬＥ")
    assert (await people.call("POST", "/v1/auth/password:forgot", {"email": typed}))[0] == 202
    await reset_link(people, ada["email"])
    assert await people.letters(typed) == []


async def test_nobody_forgets(people: People) -> None:
    """An unknown address is answered the same, and nothing is sent; an account is not flooded."""
    for email in ("nobody@example.com", "junk", ""):
        assert (await people.call("POST", "/v1/auth/password:forgot", {"email": email}))[0] == 202
    ada = await people.register()
    for _ in range(8):
        assert (await people.call("POST", "/v1/auth/password:forgot", {"email": ada["email"]}))[0] == 202
    await reset_link(people, ada["email"], 5)
    await asyncio.sleep(0.1)
    assert len(await people.letters(ada["email"])) == 5
    assert await people.letters("nobody@example.com") == []


@pytest.mark.parametrize("purpose", ["password:reset", "email:verify"])
async def test_link_for_something_else(people: People, purpose: str) -> None:
    """A link is good for what it was made for, and nobody makes one up."""
    ada = await people.register()
    token = ada["access_token"]
    await people.call("POST", "/v1/auth/email:send", token=token)
    await people.call("POST", "/v1/auth/password:forgot", {"email": ada["email"]})
    await reset_link(people, ada["email"])
    letters = {one["kind"]: token_of(one["link"]) for one in await people.letters(ada["email"])}
    other = letters["verify_email" if purpose == "password:reset" else "reset_password"]
    for bad in (other, "junk", "A" * 54, other[:-1]):
        body = {"token": bad} | ({"password": ANOTHER} if purpose == "password:reset" else {})
        assert (await people.call("POST", f"/v1/auth/{purpose}", body))[0] == 400


async def test_letters_are_the_owners(people: People) -> None:
    """Links open accounts: members, admins and keys read none."""
    ada = await people.register()
    path = f"/v1/users/{ada['user']['id']}"
    assert (await people.call("GET", "/v1/auth/letters", token=ada["access_token"]))[0] == 403
    assert (await people.call("PATCH", path, {"role": "admin"}, token=people.admin))[0] == 200
    assert (await people.call("GET", "/v1/auth/letters", token=ada["access_token"]))[0] == 403
    _, key, _ = await people.call("POST", "/v1/me/api-keys", {"name": "k"}, token=people.admin)
    assert (await people.call("GET", "/v1/auth/letters", token=key["token"]))[0] == 403
