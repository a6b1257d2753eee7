"""The second factor."""

import asyncio
import base64
import time
from typing import Any
from uuid import UUID

import pytest
from auth_people import PASSWORD, People

from plugins.auth import totp

pytestmark = pytest.mark.asyncio(loop_scope="session")


class App:
    """An authenticator app, whose clock can be ahead by up to one step: each code is good once."""

    def __init__(self, secret: str) -> None:
        self.secret = base64.b32decode(secret)

    def code(self, ahead: int = 0) -> str:
        return totp.code_at(self.secret, int(time.time()) // totp.STEP + ahead)

    def wrong(self) -> str:
        """A code of no step near this one."""
        near = {self.code(ahead) for ahead in range(-3, 4)}
        return next(code for code in (f"{number:06}" for number in range(8)) if code not in near)


async def enrolled(people: People) -> tuple[dict[str, Any], App, list[str]]:
    """Somebody with a second factor."""
    ada = await people.register()
    token = ada["access_token"]
    status, answer, _ = await people.call("POST", "/v1/me/totp", {"password": PASSWORD}, token=token)
    assert status == 200
    app = App(answer["secret"])
    assert answer["uri"].startswith("otpauth://totp/Materi:")
    assert (await people.call("POST", "/v1/me/totp:confirm", {"code": app.wrong()}, token=token))[0] == 422
    assert (await people.login(ada["email"]))[0] == 200  # not on yet
    status, answer, _ = await people.call("POST", "/v1/me/totp:confirm", {"code": app.code()}, token=token)
    assert status == 200
    # As if it had been the code before, which is none any more if the step ends just now.
    database = people.server.context("auth").database
    await database.execute("UPDATE auth.totp SET step = step - 1 WHERE account = $1", UUID(ada["user"]["id"]))
    return ada, app, answer["recovery_codes"]


async def challenge(people: People, email: str) -> str:
    """The password is right: what goes with the code."""
    status, answer = await people.login(email)
    assert (status, answer["code"]) == (401, "second_factor_needed")
    return str(answer["challenge"])


async def verify(people: People, challenge: str, code: str) -> tuple[int, Any]:
    status, answer, _ = await people.call("POST", "/v1/auth/login:verify", {"challenge": challenge, "code": code})
    return status, answer


async def test_login_takes_a_code(people: People) -> None:
    """Password, then code; the challenge and the code are good once."""
    ada, app, _ = await enrolled(people)
    given, code = await challenge(people, ada["email"]), app.code()
    answers = await asyncio.gather(*(verify(people, given, code) for _ in range(3)))
    assert sorted(status for status, _ in answers) in ([200, 400, 400], [200, 400, 422], [200, 422, 422])
    login = next(answer for status, answer in answers if status == 200)
    assert login["user"]["second_factor"]
    assert (await verify(people, await challenge(people, ada["email"]), code))[0] == 422
    _, again = await verify(people, await challenge(people, ada["email"]), app.code(1))
    _, sessions, _ = await people.call("GET", "/v1/me/sessions", token=again["access_token"])
    assert [one["method"] for one in sessions["data"]] == ["register", "password", "totp", "totp"]


async def test_recovery_codes(people: People) -> None:
    """Each is good once, and new ones replace them."""
    ada, _, codes = await enrolled(people)
    typed = codes[0].upper().replace("-", " ")
    assert (await verify(people, await challenge(people, ada["email"]), typed))[0] == 200
    assert (await verify(people, await challenge(people, ada["email"]), codes[0]))[0] == 422
    body = {"password": PASSWORD}
    _, fresh, _ = await people.call("POST", "/v1/me/recovery-codes", body, token=ada["access_token"])
    assert (await verify(people, await challenge(people, ada["email"]), codes[1]))[0] == 422
    assert (await verify(people, await challenge(people, ada["email"]), fresh["recovery_codes"][1]))[0] == 200


async def test_guessing_codes(people: People) -> None:
    """Six digits are few: after some wrong codes nobody tries more, with new challenges neither."""
    ada, app, _ = await enrolled(people)
    for _ in range(5):
        assert (await verify(people, await challenge(people, ada["email"]), app.wrong()))[0] == 422
    assert (await verify(people, await challenge(people, ada["email"]), app.code()))[0] == 429


async def test_made_up_challenge(people: People) -> None:
    """A code without the password is nothing, and one's challenge is not another's."""
    _, app, _ = await enrolled(people)
    for bad in ("junk", "A" * 54):
        assert (await verify(people, bad, app.code()))[0] == 400
    bo, _, _ = await enrolled(people)
    assert (await verify(people, await challenge(people, bo["email"]), app.code(1)))[0] == 422


async def test_switched_off(people: People) -> None:
    """With the password; logging in takes no code then, and the old app is none to enrol again with."""
    ada, app, codes = await enrolled(people)
    token = ada["access_token"]
    assert (await people.call("POST", "/v1/me/totp", {"password": PASSWORD}, token=token))[0] == 409
    assert (await people.call("POST", "/v1/me/totp:disable", {"password": "wrong"}, token=token))[0] == 422
    given = await challenge(people, ada["email"])
    assert (await people.call("POST", "/v1/me/totp:disable", {"password": PASSWORD}, token=token))[0] == 204
    assert (await people.login(ada["email"]))[0] == 200
    assert (await verify(people, given, codes[0]))[0] == 422
    assert (await people.call("POST", "/v1/me/totp:confirm", {"code": app.code()}, token=token))[0] == 409
    assert (await people.call("POST", "/v1/me/recovery-codes", {"password": PASSWORD}, token=token))[0] == 409
