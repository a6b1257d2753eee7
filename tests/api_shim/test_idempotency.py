"""A POST with a key is done once."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import aiohttp
import asyncpg
import pytest
import sample_api
from sample_api import Sample, running

from api_shim.idempotency import Idempotency
from api_shim.metrics import ApiMetrics
from api_shim.problems import KeyInFlight
from api_shim.reply import Reply


@pytest.fixture
async def pool(postgres: str) -> AsyncIterator[asyncpg.Pool]:
    pool = await sample_api.prepare(postgres)
    yield pool
    await pool.close()


@pytest.fixture
async def sample(pool: asyncpg.Pool) -> AsyncIterator[Sample]:
    async with running(pool) as sample:
        yield sample


async def post(
    sample: Sample, key: str, title: str = "a", path: str = "/v1/things", **headers: str
) -> tuple[int, dict[str, Any], aiohttp.ClientResponse]:
    sent = {"Idempotency-Key": key} | headers
    async with sample.client.post(path, json={"title": title}, headers=sent) as answer:
        return answer.status, await answer.json(), answer


async def test_repetition_gets_the_same_answer(sample: Sample) -> None:
    """Status, headers and body, marked as replayed; the work was done once."""
    key = str(uuid4())
    status, body, first = await post(sample, key)
    again = await post(sample, key)
    assert (status, again[0], body) == (201, 201, again[1])
    assert sample.things.made == 1
    assert "Idempotent-Replayed" not in first.headers
    assert again[2].headers["Idempotent-Replayed"] == "true"
    for name in ("Location", "ETag", "Content-Type"):
        assert again[2].headers[name] == first.headers[name]


async def test_key_is_one_requests(sample: Sample) -> None:
    """Another body: 422. Another principal, path or key: another request."""
    key = str(uuid4())
    await post(sample, key)
    status, body, _ = await post(sample, key, "b")
    assert (status, body["code"]) == (422, "idempotency_key_reused")
    assert (await post(sample, key, "b", Authorization="Bearer bob"))[0] == 201
    assert (await post(sample, str(uuid4())))[0] == 201
    assert sample.things.made == 3


async def test_concurrent_repetition_waits_its_turn(sample: Sample) -> None:
    """409 with Retry-After while the first is worked on, however many come; then the answer."""
    key = str(uuid4())
    first = asyncio.ensure_future(post(sample, key, "hold"))  # noqa: TID251
    await asyncio.wait_for(sample.things.entered.wait(), 5)
    others = await asyncio.gather(*(post(sample, key, "hold") for _ in range(10)))
    assert {(status, body["code"]) for status, body, _ in others} == {(409, "idempotency_key_in_flight")}
    assert others[0][2].headers["Retry-After"] == "1"
    sample.things.hold.set()
    assert (await first)[0] == 201
    assert (await post(sample, key, "hold"))[1] == (await first)[1]
    assert sample.things.made == 1


async def test_many_at_once_are_done_once(sample: Sample) -> None:
    """The race for a key nobody has used."""
    key = str(uuid4())
    told = await asyncio.gather(*(post(sample, key) for _ in range(20)))
    assert sample.things.made == 1
    assert {status for status, _, _ in told} <= {201, 409}
    assert len({body["id"] for status, body, _ in told if status == 201}) == 1


async def test_a_no_that_stands_is_kept(sample: Sample) -> None:
    """A conflict is replayed; a wrong body never uses the key up."""
    key = str(uuid4())
    assert (await post(sample, key, ""))[0] == 422
    first, again = await post(sample, key, "full"), await post(sample, key, "full")
    assert (first[0], again[0]) == (409, 409)
    assert first[1]["trace_id"] == again[1]["trace_id"]
    assert sample.things.made == 1


async def test_failure_frees_the_key(sample: Sample) -> None:
    """A timeout (504) is no answer to keep: the next try is a first one."""
    headers = {"Idempotency-Key": str(uuid4())}
    for _ in range(2):
        async with sample.client.post("/v1/slow", headers=headers) as answer:
            assert answer.status == 504
    assert sample.metrics.idempotency == {"first": 2}


@pytest.mark.parametrize("key", ["", " " * 3 + "\t", "x" * 256, "ä"])
async def test_strange_key_is_refused(sample: Sample, key: str) -> None:
    """Longer than 255, or not printable ASCII."""
    status, body, _ = await post(sample, key)
    assert (status, body["errors"][0]["header"]) == (400, "Idempotency-Key")


async def answer() -> Reply:
    return Reply(200, {}, b"secret-token")


async def never() -> Reply:
    raise AssertionError


def claim(**changes: Any) -> dict[str, Any]:
    return {"owner": "a:x", "operation": "POST /", "body": b"", "timeout": 0.2, "work": answer} | changes


async def test_dead_process_locks_a_key_only_so_long(pool: asyncpg.Pool) -> None:
    """Its lease lapses, another does the work, and what the dead one would still write is ignored."""
    keys = Idempotency(pool, b"s" * 32, ApiMetrics(), lease=60.0)
    key = str(uuid4())
    begun, hang = asyncio.Event(), asyncio.Event()

    async def stuck() -> Reply:
        begun.set()
        await hang.wait()
        return Reply(200, {}, b"late")

    dead = asyncio.ensure_future(keys.once(key, **claim(work=stuck)))  # noqa: TID251
    await asyncio.wait_for(begun.wait(), 10)
    with pytest.raises(KeyInFlight):
        await keys.once(key, **claim())
    # As if the time had passed: the claim's own and the lease.
    assert await pool.fetchval(
        "UPDATE api_shim.idempotency SET leased = leased - make_interval(secs => 60.2)"
        " WHERE status IS NULL AND leased < now() + make_interval(secs => 60.2) RETURNING leased < now()"
    )
    assert (await keys.once(key, **claim())).body == b"secret-token"
    hang.set()
    await dead
    assert (await keys.once(key, **claim(work=never))).body == b"secret-token"


async def test_key_expires(pool: asyncpg.Pool) -> None:
    """After the time it is kept it is free again, purged or not."""
    keys = Idempotency(pool, b"s" * 32, ApiMetrics(), keep=0.1)
    key = str(uuid4())
    await keys.once(key, **claim())
    await asyncio.sleep(0.15)
    reply = await keys.once(key, **claim(work=answer))
    assert "Idempotent-Replayed" not in reply.headers
    await asyncio.sleep(0.15)
    await keys.purge()
    assert await pool.fetchval("SELECT count(*) FROM api_shim.idempotency WHERE expires < now()") == 0


async def test_answers_are_kept_sealed(pool: asyncpg.Pool) -> None:
    """Whoever reads the table sees neither keys nor answers."""
    keys = Idempotency(pool, b"s" * 32, ApiMetrics())
    key = str(uuid4())
    await keys.once(key, **claim())
    rows = await pool.fetch("SELECT * FROM api_shim.idempotency")
    stored = b"".join(bytes(value) for row in rows for value in row.values() if isinstance(value, bytes))
    assert b"secret-token" not in stored
    assert key.encode() not in stored
