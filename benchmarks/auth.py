"""How long do logging in and checking a token take while both go on, and does anybody wait for a password's hash?

    python benchmarks/auth.py [--clients 20] [--logins 8] [--calls 100] [--seconds 10] [--json PATH]

A relay with the plugin `auth` in processes of their own, with the parameters of argon2id that it has by default. So
many clients log in so often a second altogether, while as many others call `GET /v1/me`, each with a token of its own;
`/v1/auth/methods`, which hashes and checks nothing, shows what the loop makes others wait. Then all log in at once.
"""

import argparse
import asyncio
import re
import time
import urllib.request
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

import aiohttp
import uvloop
from _relay import Relay
from _report import Report, parser

PASSWORD = "correct horse battery"
_BUCKET = re.compile(r'^auth_token_check_seconds_bucket\{le="([^"]+)"\} (\S+)$', re.MULTILINE)


class Client:
    """Comes from an address of its own each time: limits by address are another question."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http
        self._addresses = count(1)

    async def call(self, method: str, path: str, body: Any = None, token: str = "") -> tuple[float, Any]:
        """Milliseconds and answer."""
        number = next(self._addresses)
        headers = {"X-Forwarded-For": f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        started = time.perf_counter()
        async with self._http.request(method, path, json=body, headers=headers) as answer:
            said = await answer.json(content_type=None)
            assert answer.status in (200, 201), said
        return (time.perf_counter() - started) * 1e3, said


async def paced(
    times: list[float], each: float, until: float, call: Callable[[], Awaitable[tuple[float, Any]]]
) -> None:
    """Call every `each` seconds."""
    loop = asyncio.get_running_loop()
    at = loop.time() + each * (id(call) % 97) / 97
    while at < until:
        await asyncio.sleep(max(0.0, at - loop.time()))
        times.append((await call())[0])
        at += each


def share(times: list[float], part: float) -> float:
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def checks(port: int) -> dict[float, float]:
    """The server's own histogram: seconds to how many checks took no longer."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        return {float(bound): float(many) for bound, many in _BUCKET.findall(answer.read().decode())}


async def main(options: argparse.Namespace, port: int) -> None:
    report = Report("auth", options.json)

    def told(what: str, times: list[float]) -> None:
        report.row(
            what=what, calls=len(times), p50=share(times, 0.5), p95=share(times, 0.95), p99=share(times, 0.99),
            worst=max(times),
        )  # fmt: skip

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", connector=connector) as http:
        client = Client(http)
        everybody = []
        for number in range(options.clients):
            body = {"email": f"ada{number}@example.com", "password": PASSWORD, "name": "Ada"}
            everybody.append((await client.call("POST", "/v1/auth/register", body))[1]["login"])

        async def login(number: int) -> tuple[float, Any]:
            body = {"email": f"ada{number}@example.com", "password": PASSWORD}
            return await client.call("POST", "/v1/auth/login", body)

        one = [(await login(0))[0] for _ in range(10)]
        logins: list[float] = []
        calls: list[float] = []
        others: list[float] = []
        before = await asyncio.to_thread(checks, port)
        until = asyncio.get_running_loop().time() + options.seconds
        await asyncio.gather(
            *(paced(logins, options.clients / options.logins, until, lambda n=n: login(n))  # type: ignore[misc]
              for n in range(options.clients)),
            *(paced(calls, options.clients / options.calls, until,
                    lambda one=one: client.call("GET", "/v1/me", None, one["access_token"]))  # type: ignore[misc]
              for one in everybody),
            paced(others, 0.02, until, lambda: client.call("GET", "/v1/auth/methods")),
        )  # fmt: skip
        after = await asyncio.to_thread(checks, port)
        burst = [each[0] for each in await asyncio.gather(*map(login, range(options.clients)))]
    print("milliseconds")
    told("one login after another", one)
    told("logins, paced", logins)
    told("GET /v1/me meanwhile", calls)
    told("neither of both meanwhile", others)
    told("logins, all at once", burst)
    many = after[float("inf")] - before[float("inf")]
    within = {bound: (after[bound] - before[bound]) / many for bound in after}
    p95 = min(bound for bound, part in within.items() if part >= 0.95) * 1e3
    report.row(what="token checks, in the server", calls=int(many), p95_below=p95)
    report.aim("token check, p95 in ms", p95, 5.0)
    report.aim("login, p95 in ms", share(logins, 0.95), 100.0)
    report.aim("held up by neither, p99 in ms", share(others, 0.99), 50.0)
    report.write()


if __name__ == "__main__":
    made = parser(__doc__)
    made.add_argument("--clients", type=int, default=20)
    made.add_argument("--logins", type=float, default=8.0, help="a second, altogether")
    made.add_argument("--calls", type=float, default=100.0, help="a second, altogether")
    made.add_argument("--seconds", type=float, default=10.0)
    chosen = made.parse_args()
    started = Relay("--plugins", "auth", "--trusted-proxies", "127.0.0.0/8", "--config", "auth.toml")
    (started.directory / "auth.toml").write_text('[plugins.auth]\nregistration = "open"\n')
    with started as relay:
        uvloop.run(main(chosen, relay.port))
