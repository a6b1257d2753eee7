"""The conventions around every request, over HTTP."""

import asyncio
import gzip
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import asyncpg
import pytest
import sample_api
from redis.asyncio import Redis
from sample_api import Sample, running

from api_shim.app import make_app
from api_shim.limits import Limit
from api_shim.metrics import Served
from api_shim.route import Route

TEXT = {"Content-Type": "text/plain"}
NARROW = {"Authorization": "Bearer narrow"}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
async def pool(postgres: str) -> AsyncIterator[asyncpg.Pool]:
    pool = await sample_api.prepare(postgres)
    yield pool
    await pool.close()


@pytest.fixture
async def sample(pool: asyncpg.Pool) -> AsyncIterator[Sample]:
    async with running(pool, origins=("https://app.example.com",)) as sample:
        yield sample


async def problem(answer: aiohttp.ClientResponse) -> dict[str, Any]:
    assert answer.headers["Content-Type"] == "application/problem+json"
    told: dict[str, Any] = await answer.json()
    assert told["status"] == answer.status
    assert told["type"].endswith(f"/problems/{told['code']}")
    assert f"-{told['trace_id']}-" in answer.headers["traceparent"]
    return told


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "code"),
    [
        ("GET", "/nothing", {}, 404, "not_found"),
        ("GET", "/v1/things/not-a-uuid", {}, 404, "not_found"),
        ("GET", "/v1/things/01890a5d-ac96-774b-bcce-b302099a8057", {}, 404, "not_found"),
        ("PATCH", "/v1/things", {}, 405, "method_not_allowed"),
        ("TRACE", "/v1/things", {}, 405, "method_not_allowed"),
        ("GET", "/v1/things", {"headers": {"Accept": "text/html"}}, 406, "not_acceptable"),
        ("GET", "/v1/things?limit=0", {}, 422, "invalid"),
        ("GET", "/v1/things?limt=3", {}, 422, "invalid"),
        ("GET", "/v1/things/01890a5d-ac96-774b-bcce-b302099a8057?x=1", {}, 422, "invalid"),
        ("GET", "/v1/things?cursor=AAAA", {}, 400, "bad_cursor"),
        ("POST", "/v1/things", {}, 400, "bad_request"),
        ("POST", "/v1/things", {"data": b"{", "headers": {"Content-Type": "application/json"}}, 400, "bad_json"),
        ("POST", "/v1/things", {"data": b"{}", "headers": TEXT}, 415, "unsupported_media_type"),
        ("POST", "/v1/things", {"json": {}}, 422, "invalid"),
        ("POST", "/v1/things", {"json": {"title": "full"}}, 409, "full"),
        ("POST", "/v1/things", {"json": {"title": "x" * 5000}}, 413, "too_large"),
        ("POST", "/v1/work", {"json": {"x": 1}}, 400, "unexpected_body"),
        ("POST", "/v1/work", {"data": b" " * 5000}, 400, "unexpected_body"),
        ("POST", "/v1/slow", {}, 504, "timed_out"),
        ("GET", "/v1/broken", {}, 500, "internal"),
        ("GET", "/v1/away", {}, 503, "try_later"),
        ("PUT", "/v1/files/x", {"data": b"x", "headers": TEXT}, 415, "unsupported_media_type"),
        ("PUT", "/v1/files/x", {"data": b"x" * 2000, "headers": {"Content-Type": "image/png"}}, 413, "too_large"),
        ("GET", "/v1/things", {"headers": {"Authorization": "Bearer wrong"}}, 401, "unauthorized"),
        ("GET", "/v1/things", {"headers": {"Authorization": "Basic eDp5"}}, 401, "unauthorized"),
        ("GET", "/v1/things", {"headers": {"Authorization": "Bearer"}}, 401, "unauthorized"),
        ("GET", "/v1/things", {"headers": {"Authorization": "Bearer banned"}}, 403, "forbidden"),
        ("GET", "/v1/things", {"headers": {"Authorization": "Bearer crash"}}, 503, "try_later"),
        ("GET", "/v1/things", {"headers": {"Authorization": "Bearer overload"}}, 503, "try_later"),
        ("GET", "/v1/flags", {"headers": {"Authorization": "Bearer overload"}}, 503, "try_later"),
        ("HEAD", "/v1/jobs/01890a5d-ac96-774b-bcce-b302099a8057/events", {}, 405, "method_not_allowed"),
        ("POST", "/v1/things", {"json": {"title": "a"}, "headers": NARROW}, 403, "scope_missing"),
        ("GET", "/problems/nothing", {}, 404, "not_found"),
    ],
)  # fmt: skip
async def test_every_error_is_a_problem(
    sample: Sample, method: str, path: str, options: dict[str, Any], status: int, code: str
) -> None:
    """Of RFC 9457, with its own code and address, and never what was inside."""
    async with sample.client.request(method, path, **options) as answer:
        assert answer.status == status
        told = await problem(answer) if method != "HEAD" else {"code": code}
        assert told["code"] == code
        assert "secret-password" not in str(told)
        assert "10.0.0.7" not in str(told)
    assert sample.metrics.problems[code] == 1


async def test_problem_says_what_helps(sample: Sample) -> None:
    """405 lists methods, 401 how to say who you are, 503 when to come back, 413 how much; more members are kept."""
    async with sample.client.patch("/v1/things") as answer:
        assert answer.headers["Allow"] == "GET, HEAD, OPTIONS, POST"
    async with sample.client.get("/v1/things", headers={"Authorization": "Bearer wrong"}) as answer:
        assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
    async with sample.client.get("/v1/away") as answer:
        assert int(answer.headers["Retry-After"]) >= 1
    async with sample.client.post("/v1/things", json={"title": "x" * 5000}) as answer:
        assert (await answer.json())["limit"] == 4096
    async with sample.client.post("/v1/things", json={"title": "full"}) as answer:
        assert (await answer.json())["most"] == 3


async def test_problem_has_a_page(sample: Sample) -> None:
    """For programs and for people."""
    async with sample.client.get("/problems/full") as answer:
        assert (await answer.json())["description"] == "There are too many things. Delete some."
    async with sample.client.get("/problems/full", headers={"Accept": "text/html"}) as answer:
        assert "Delete some." in await answer.text()


async def test_body_without_end_is_cut_off(sample: Sample) -> None:
    """413 as soon as more came than is allowed, though no length was told."""

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(1000):
            yield b" " * 1024
            await asyncio.sleep(0)

    for method, path, kind in (("POST", "/v1/things", "application/json"), ("PUT", "/v1/files/x", "image/png")):
        try:
            async with sample.client.request(method, path, data=endless(), headers={"Content-Type": kind}) as answer:
                assert answer.status == 413
        except aiohttp.ClientConnectionError:
            pass  # closed while we were still sending, which a client may see first
    assert sample.metrics.problems["too_large"] == 2


async def test_body_is_waited_for_only_so_long(sample: Sample) -> None:
    """Who sends a head and never the body gets 408."""
    head = b"POST /v1/slow HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a\r\nContent-Length: 9\r\nConnection: close"
    assert b"request_too_slow" in await sample.raw(head + b"\r\n\r\n")


async def test_truncated_body_reaches_nobody(sample: Sample) -> None:
    """A connection that ends inside the body."""
    head = b"POST /v1/things HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a\r\nContent-Type: application/json\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", sample.port)
    writer.write(head + b'Content-Length: 100\r\n\r\n{"title": "a"')
    writer.write_eof()
    await asyncio.wait_for(reader.read(), 5)
    writer.close()
    assert sample.things.made == 0


async def test_no_comes_before_the_body(sample: Sample) -> None:
    """`Expect: 100-continue` is not answered with 100 when the answer is no."""
    head = (
        b"POST /v1/things HTTP/1.1\r\nHost: x\r\n%sContent-Type: application/json\r\n"
        b"Content-Length: 14\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
    )
    assert (await sample.raw(head % b"")).startswith(b"HTTP/1.1 401")
    said = await sample.raw(head % b"Authorization: Bearer a\r\n" + b'{"title": "x"}')
    assert said.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201")


async def test_public_routes_need_nobody(sample: Sample) -> None:
    """Without a token, and with one that is no longer good."""
    for header in ("", "Bearer wrong"):
        async with sample.client.get("/v1/flags", headers={"Authorization": header}) as answer:
            assert answer.status == 200


async def test_compressed_bomb_is_cut_off(sample: Sample) -> None:
    """A body counts as large as it is when unpacked."""
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    async with sample.client.post("/v1/things", data=gzip.compress(b" " * 3_000_000), headers=headers) as answer:
        assert answer.status == 413


async def test_list_goes_on_by_link(sample: Sample, pool: asyncpg.Pool) -> None:
    """`Link` and `next_cursor` lead through all of it; a cursor of another sort is refused."""
    await pool.execute("TRUNCATE thing")
    ids = [sample_api.uuid7() for _ in range(5)]
    await pool.executemany("INSERT INTO thing VALUES ($1, $2)", [(id, "t") for id in ids])
    seen, path, cursor = [], "/v1/things?limit=2&sort=-title", ""
    while path:
        async with sample.client.get(path) as answer:
            page = await answer.json()
            seen += [thing["id"] for thing in page["data"]]
            path = str(answer.links["next"]["url"].relative()) if "next" in answer.links else ""
            assert bool(path) == (page["next_cursor"] is not None)
            cursor = page["next_cursor"] or cursor
    assert seen == [str(id) for id in reversed(ids)]
    async with sample.client.get("/v1/things", params={"cursor": cursor, "sort": "title"}) as answer:
        assert (await problem(answer))["code"] == "bad_cursor"


async def test_version_is_kept(sample: Sample) -> None:
    """ETag, 304 for who has it, 428 without If-Match, 412 with another, and the change with the right one."""
    async with sample.client.post("/v1/things", json={"title": "a"}) as answer:
        path = answer.headers["Location"]
    async with sample.client.get(path) as answer:
        assert answer.headers["ETag"] == '"1"'
        assert answer.headers["Cache-Control"] == "private, no-cache"
    async with sample.client.get(path, headers={"If-None-Match": 'W/"1"'}) as answer:
        assert (answer.status, await answer.read()) == (304, b"")
        assert answer.headers["ETag"] == '"1"'
    wrong: list[tuple[str, int]] = [("", 428), ('"7"', 412), ('W/"1"', 412), ('"1"', 200)]
    for tag, status in wrong:
        headers = {"If-Match": tag} if tag else {}
        async with sample.client.put(path, json={"title": "b"}, headers=headers) as answer:
            assert answer.status == status
    async with sample.client.get(path, headers={"If-None-Match": '"1"'}) as answer:
        assert (await answer.json())["version"] == 2
    async with sample.client.delete(path) as answer:
        assert (answer.status, await answer.read()) == (204, b"")


async def test_action_is_not_a_thing(sample: Sample) -> None:
    """`/things/{id}:copy` beside `/things/{id}`."""
    async with sample.client.post("/v1/things", json={"title": "a"}) as answer:
        path = answer.headers["Location"]
    async with sample.client.post(f"{path}:copy") as answer:
        assert answer.status == 201
    async with sample.client.get(f"{path}:copy") as answer:
        assert answer.status == 405


async def test_head_and_options(sample: Sample) -> None:
    """HEAD is GET without the body; OPTIONS says what there is."""
    async with sample.client.get("/v1/flags") as answer:
        length = answer.headers["Content-Length"]
    async with sample.client.head("/v1/flags") as answer:
        assert (answer.status, answer.headers["Content-Length"], await answer.read()) == (200, length, b"")
    async with sample.client.options("/v1/things", headers={"Authorization": ""}) as answer:
        assert (answer.status, answer.headers["Allow"]) == (204, "GET, HEAD, OPTIONS, POST")
    async with sample.client.options("/nothing") as answer:
        assert answer.status == 404


async def test_pages_of_other_origins(sample: Sample) -> None:
    """One that is let in may ask, and see errors too; another may not."""
    async with sample.client.options(
        "/v1/things", headers={"Origin": "https://app.example.com", "Access-Control-Request-Method": "POST"}
    ) as answer:
        assert "POST" in answer.headers["Access-Control-Allow-Methods"]
        assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example.com"
    async with sample.client.get("/v1/things?limit=0", headers={"Origin": "https://app.example.com"}) as answer:
        assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example.com"
    async with sample.client.get("/v1/things", headers={"Origin": "https://evil.example"}) as answer:
        assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("path", ["/v1/flags", "/nothing", "/v1/page/x", "/docs", "/v1/jobs/x/events"])
async def test_every_answer_has_the_headers(sample: Sample, path: str) -> None:
    """Of security, and of tracing."""
    sent = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01", "X-Request-Id": "r-1"}
    async with sample.client.get(path, headers=sent) as answer:
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["traceparent"].startswith(f"00-{TRACE}-")
        assert answer.headers["X-Request-Id"] == "r-1"
        assert "aiohttp" not in answer.headers["Server"]


async def test_limit_is_told_and_held(pool: asyncpg.Pool, valkey: Any) -> None:
    """Headers count down, cost counts, 429 says when; a guesser of tokens is held too."""
    redis = Redis.from_url(valkey.url)
    limits = {"limit": Limit("default", 0.01, 50), "anonymous_limit": Limit("anonymous", 0.01, 3)}
    async with running(pool, redis, token=f"u{sample_api.uuid7()}", **limits) as sample:
        async with sample.client.get("/v1/flags?flag=1") as answer:
            assert answer.headers["RateLimit"].startswith('"default";r=49;t=')
            assert answer.headers["RateLimit-Policy"] == '"default";q=50;w=5000'
        for status in (200, 200, 429):
            async with sample.client.get("/v1/expensive") as answer:
                assert answer.status == status
                body = await answer.json()
        assert int(answer.headers["Retry-After"]) > 100
        assert body["code"] == "too_many_requests"
        await redis.delete("materi:limit:i:127.0.0.1")
        told = []
        for _ in range(5):
            async with sample.client.get("/v1/things", headers={"Authorization": "Bearer wrong"}) as answer:
                told.append(answer.status)
        assert told == [401, 401, 401, 429, 429]
        await redis.delete("materi:limit:i:127.0.0.1")
    await redis.aclose()


async def test_one_line_a_request_and_no_secrets(sample: Sample, caplog: pytest.LogCaptureFixture) -> None:
    """Route, ids, status, who; no token, no query, no text out of the path."""
    caplog.set_level(logging.INFO, "api.access")
    id = "01890a5d-ac96-774b-bcce-b302099a8057"
    for path in ("/v1/flags?flag=1&tags=hidden", f"/v1/things/{id}", "/v1/page/hidden", "/nothing?x=hidden"):
        async with sample.client.get(path, headers={"X-Request-Id": "r-1"}) as answer:
            await answer.read()
    lines = [vars(record) for record in caplog.records if record.name == "api.access"]
    assert [line["status"] for line in lines] == [200, 404, 200, 404]
    assert [line.get("route") for line in lines[:3]] == ["/v1/flags", "/v1/things/{thing}", "/v1/page/{name}"]
    assert (lines[1]["thing"], lines[1]["actor"], lines[1]["problem"]) == (id, "alice", "not_found")
    assert (lines[3]["path"], lines[0]["request_id"]) == ("/nothing", "r-1")
    assert "hidden" not in str(lines)
    assert "Bearer" not in str(lines)


async def test_requests_are_counted(sample: Sample) -> None:
    """By method, route and status; unknown paths are one."""
    for path in ("/v1/flags", "/v1/flags", "/nothing", "/other"):
        async with sample.client.get(path) as answer:
            await answer.read()
    assert sample.metrics.requests[Served("GET", "/v1/flags", 200)] == 2
    assert sample.metrics.requests[Served("GET", "", 404)] == 2
    assert sample.metrics.request_seconds["/v1/flags"].count == 2
    assert sample.metrics.in_flight == 0


async def test_stopping_finishes_what_is_in_flight(pool: asyncpg.Pool) -> None:
    """A request that is being worked on is answered, a stream is ended, and nobody new is let in."""
    async with running(pool) as sample:
        post = asyncio.ensure_future(sample.client.post("/v1/things", json={"title": "hold"}))  # noqa: TID251
        await asyncio.wait_for(sample.things.entered.wait(), 5)
        async with sample.client.post("/v1/work") as answer:
            job = (await answer.json())["id"]
        stream = await sample.client.get(f"/v1/jobs/{job}/events")
        stopping = asyncio.ensure_future(sample.runner.cleanup())  # noqa: TID251
        await asyncio.wait_for(stream.read(), 10)
        sample.things.hold.set()
        answer = await post
        assert answer.status == 201
        await asyncio.wait_for(stopping, 10)
        with pytest.raises(aiohttp.ClientConnectionError):
            await sample.client.get("/v1/flags")


async def test_two_routes_on_one_path_are_refused(pool: asyncpg.Pool) -> None:
    """Two plugins that bring the same operation."""

    async def nothing(call: object) -> None: ...

    route = Route(method="GET", path="/v1/x/{a}", handler=nothing, summary="one")
    twin = Route(method="GET", path="/v1/x/{a:str}", handler=nothing, summary="two")
    with pytest.raises(ValueError, match="'one' and 'two'"):
        make_app([route, twin], identify=sample_api.identify, database=pool, redis=None, secret=b"s" * 32)


async def test_public_address_is_in_problems_and_links(pool: asyncpg.Pool) -> None:
    """With an address of their own, types and links are absolute; over https browsers are told to stay there."""
    async with running(pool, public_url="https://api.example.com") as sample, sample.client.get("/nothing") as answer:
        told = json.loads(await answer.read())
        assert told["type"] == "https://api.example.com/problems/not_found"
        assert "max-age" in answer.headers["Strict-Transport-Security"]


@pytest.mark.parametrize(
    ("path", "header", "status"),
    [
        ("/v1/page/%00", "X: x", 404), ("/v1/page/%ff", "X: x", 200), ("/v1/flags?tags=%00", "X: x", 422),
        ("/v1/flags?tags=%ff", "X: x", 200), ("/v1/flags?%00=1", "X: x", 422), ("//v1/flags", "X: x", 404),
        ("/v1/flags", "Authorization: Bearer \xff", 200), ("/v1/flags", "X-Request-Id: \xff", 200),
        ("/v1/flags", "If-None-Match: \xff", 200), ("/v1/flags", "Accept: \xff", 406),
        ("/v1/flags", "Origin: \xff", 200), ("/v1/flags?" + "x=1&" * 1000, "X: x", 422),
    ],
)  # fmt: skip
async def test_strange_bytes_are_no_failure(sample: Sample, path: str, header: str, status: int) -> None:
    """In paths, queries and headers: an answer or a problem, never 500."""
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\n{header}\r\nConnection: close\r\n\r\n"
    assert (await sample.raw(request.encode("latin-1"))).startswith(f"HTTP/1.1 {status}".encode())
