"""Below the application: what is no HTTP, and connections that dawdle."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import asyncpg
import pytest
import sample_api
from sample_api import Sample, running


@pytest.fixture
async def pool(postgres: str) -> AsyncIterator[asyncpg.Pool]:
    pool = await sample_api.prepare(postgres)
    yield pool
    await pool.close()


@pytest.fixture
async def sample(pool: asyncpg.Pool) -> AsyncIterator[Sample]:
    async with running(pool) as sample:
        yield sample


@pytest.mark.parametrize(
    "request_",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /v1/flags HTTP/1.1\r\nBad Header\r\n\r\n",
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
        b"POST /v1/things HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"POST /v1/things HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nX: \x00\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_a_problem(sample: Sample, request_: bytes) -> None:
    """400 as problem details without a trace of how it was read; the connection is closed."""
    said = await sample.raw(request_)
    assert said.startswith((b"HTTP/1.1 400", b"HTTP/1.0 400"))
    assert b"application/problem+json" in said
    assert b'"code":"bad_request"' in said
    assert b"Traceback" not in said


async def test_bad_chunks_are_a_problem(sample: Sample) -> None:
    """A body that is not encoded as it says."""
    head = b"POST /v1/things HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a\r\nContent-Type: application/json\r\n"
    said = await sample.raw(head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n")
    assert said.startswith((b"HTTP/1.1 400", b"HTTP/1.0 400"))
    assert b"application/problem+json" in said


async def test_unknown_expectation_is_a_problem(sample: Sample) -> None:
    """417, which aiohttp decides before the application is asked."""
    said = await sample.raw(b"GET /v1/flags HTTP/1.1\r\nHost: x\r\nExpect: tea\r\nConnection: close\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 4")
    assert b"application/problem+json" in said


async def test_slow_head_is_not_waited_for(pool: asyncpg.Pool) -> None:
    """A byte now and then does not keep a connection."""
    async with running(pool, head=0.3) as sample:
        reader, writer = await asyncio.open_connection("127.0.0.1", sample.port)
        closed = asyncio.ensure_future(reader.read())  # noqa: TID251
        writer.write(b"GET /v1/flags?")
        async with asyncio.timeout(10):
            while not closed.done():
                writer.write(b"x")
                await asyncio.sleep(0.05)
        with contextlib.suppress(ConnectionResetError):  # a byte too many met the closed connection
            assert await closed == b""
        writer.close()


async def test_pipelined_requests_are_answered_in_order(sample: Sample) -> None:
    """Two in one packet."""
    one = b"GET /v1/flags?flag=1 HTTP/1.1\r\nHost: x\r\n\r\n"
    other = b"GET /v1/flags HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    said = await sample.raw(one + other)
    assert said.index(b'"flag":true') < said.index(b'"flag":false')
