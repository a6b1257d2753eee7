"""Slow work, followed and cancelled."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
import sample_api
from sample_api import Sample, running

from api_shim.jobs import Job, Jobs, Progress
from api_shim.metrics import ApiMetrics
from api_shim.problems import Conflict, NotFound
from relay.grants import Principal
from relay.types import Actor

ALICE = Principal(Actor("alice"), "", None)
DEAD = 30.0


@pytest.fixture
async def pool(postgres: str) -> AsyncIterator[asyncpg.Pool]:
    pool = await sample_api.prepare(postgres)
    yield pool
    await pool.close()


@pytest.fixture
async def jobs(pool: asyncpg.Pool) -> AsyncIterator[Jobs]:
    jobs = made(pool)
    yield jobs
    await jobs.close()


@pytest.fixture
async def sample(pool: asyncpg.Pool) -> AsyncIterator[Sample]:
    async with running(pool) as sample:
        yield sample


def made(pool: asyncpg.Pool) -> Jobs:
    return Jobs(pool, ApiMetrics(), beat=0.05, dead=DEAD, tick=0.02)


async def ended(jobs: Jobs, job: Job) -> Job:
    async with asyncio.timeout(10):
        async for one in jobs.changes(job.id, ALICE):
            job = one
    assert job.state != "running"
    return job


async def time_passes(pool: asyncpg.Pool, job: Job) -> None:
    """As if the last sign of life were as old as a dead process's."""
    await pool.execute(
        "UPDATE api_shim.job SET heartbeat = heartbeat - make_interval(secs => $2) WHERE id = $1", job.id, DEAD
    )


async def test_result_is_kept(jobs: Jobs, pool: asyncpg.Pool) -> None:
    """Progress on the way, the result in the end, for other processes too."""
    seen = asyncio.Event()

    async def work(progress: Progress) -> object:
        progress(0.25, "a quarter")
        await seen.wait()
        return {"pages": 3}

    job = await jobs.start("export", work, owner=ALICE)
    assert (job.state, job.kind) == ("running", "export")
    other = made(pool)
    async with asyncio.timeout(10):
        async for one in other.changes(job.id, ALICE):
            if one.progress:
                assert (one.progress, one.note) == (0.25, "a quarter")
                break
    seen.set()
    assert (await ended(jobs, job)).result == {"pages": 3}
    found = await other.find(job.id, ALICE)
    assert (found.state, found.progress, found.result) == ("succeeded", 1.0, {"pages": 3})
    assert found.finished is not None


async def test_failure_is_told(jobs: Jobs) -> None:
    """A Problem as it is; anything else without what was inside."""

    async def refused(progress: Progress) -> object:
        raise Conflict("Not now.")

    async def broken(progress: Progress) -> object:
        raise RuntimeError("secret-password")

    async def no_json(progress: Progress) -> object:
        return object()

    job = await ended(jobs, await jobs.start("a", refused, owner=ALICE))
    assert job.problem is not None
    assert (job.state, job.problem["code"], job.problem["detail"]) == ("failed", "conflict", "Not now.")
    for work in (broken, no_json):
        job = await ended(jobs, await jobs.start("b", work, owner=ALICE))
        assert job.problem is not None
        assert (job.state, job.problem["code"]) == ("failed", "internal")
        assert "secret-password" not in str(job.problem)


async def test_other_process_cancels(jobs: Jobs, pool: asyncpg.Pool) -> None:
    """The one that works on it hears of it within a beat, and the work is stopped."""
    stopped = asyncio.Event()

    async def work(progress: Progress) -> object:
        try:
            await asyncio.sleep(60)
        finally:
            stopped.set()
        return None

    job = await jobs.start("a", work, owner=ALICE)
    await made(pool).cancel(job.id, ALICE)
    await asyncio.wait_for(stopped.wait(), 10)
    assert (await ended(jobs, job)).state == "cancelled"
    assert (await jobs.cancel(job.id, ALICE)).state == "cancelled"


async def test_dead_process_fails_its_jobs(jobs: Jobs, pool: asyncpg.Pool) -> None:
    """Whoever asks after the last sign of life is told so."""

    async def work(progress: Progress) -> object:
        await asyncio.sleep(60)
        return None

    job = await jobs.start("a", work, owner=ALICE)
    assert jobs._keeper is not None
    jobs._keeper.cancel()
    assert (await made(pool).find(job.id, ALICE)).state == "running"
    await time_passes(pool, job)
    found = await made(pool).find(job.id, ALICE)
    assert found.problem is not None
    assert (found.state, found.problem["code"]) == ("failed", "internal")


async def test_living_process_keeps_its_jobs(jobs: Jobs, pool: asyncpg.Pool) -> None:
    """Work that takes many times longer than a dead process is waited for."""
    done = asyncio.Event()

    async def work(progress: Progress) -> object:
        await done.wait()
        return 1

    job = await jobs.start("a", work, owner=ALICE)
    alive = "SELECT heartbeat > now() - make_interval(secs => $2) FROM api_shim.job WHERE id = $1"
    for _ in range(3):
        await time_passes(pool, job)
        async with asyncio.timeout(10):
            while not await pool.fetchval(alive, job.id, DEAD):
                await asyncio.sleep(0.01)
    assert (await made(pool).find(job.id, ALICE)).state == "running"
    done.set()
    assert (await ended(jobs, job)).result == 1


async def test_stopping_fails_what_runs(pool: asyncpg.Pool) -> None:
    """Told at once, not only when it is missed."""

    async def work(progress: Progress) -> object:
        await asyncio.sleep(60)
        return None

    one = made(pool)
    job = await one.start("a", work, owner=ALICE)
    await asyncio.sleep(0)
    await one.close()
    assert (await made(pool).find(job.id, ALICE)).state == "failed"


async def test_jobs_are_their_owners(sample: Sample) -> None:
    """Nobody else sees, follows or cancels one, or learns that it is there."""
    async with sample.client.post("/v1/work") as answer:
        assert answer.status == 202
        path = answer.headers["Location"]
    bob = {"Authorization": "Bearer bob"}
    for method, at in (("GET", path), ("DELETE", path), ("GET", f"{path}/events")):
        async with sample.client.request(method, at, headers=bob) as answer:
            assert answer.status == 404
    async with sample.client.get("/v1/jobs", headers=bob) as answer:
        assert (await answer.json())["data"] == []
    with pytest.raises(NotFound):
        await sample.jobs.find(uuid4(), ALICE)


async def events(sample: Sample, path: str) -> list[tuple[str, dict[str, Any]]]:
    found, kind = [], ""
    async with asyncio.timeout(10), sample.client.get(path) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        async for line in answer.content:
            if line.startswith(b"event: "):
                kind = line[7:].strip().decode()
            elif line.startswith(b"data: "):
                found.append((kind, json.loads(line[6:])))
                sample.things.hold.set()
    return found


async def test_events_tell_progress_and_end(sample: Sample) -> None:
    """A stream that ends with the job; of one that has ended, only that."""
    async with sample.client.post("/v1/work") as answer:
        path = answer.headers["Location"]
    told = await events(sample, f"{path}/events")
    assert [kind for kind, _ in told[-1:]] == ["succeeded"]
    assert (told[0][0], told[-1][1]["result"]) == ("progress", {"made": 3})
    assert [kind for kind, _ in await events(sample, f"{path}/events")] == ["succeeded"]


async def test_cancelling_is_told(sample: Sample) -> None:
    """DELETE answers with the job as it then is."""
    async with sample.client.post("/v1/work") as answer:
        path = answer.headers["Location"]
    async with sample.client.delete(path) as answer:
        assert (await answer.json())["state"] == "cancelled"
    async with sample.client.get(path) as answer:
        assert (await answer.json())["state"] == "cancelled"


async def test_reader_who_leaves_frees_the_stream(sample: Sample) -> None:
    """Nothing is kept for somebody who hung up."""
    async with sample.client.post("/v1/work") as answer:
        path = answer.headers["Location"]
    stream = await sample.client.get(f"{path}/events")
    await stream.content.readline()
    assert sample.metrics.in_flight == 1
    stream.close()
    sample.things.hold.set()
    async with asyncio.timeout(5):
        while sample.metrics.in_flight:
            await asyncio.sleep(0.01)


async def test_old_jobs_are_forgotten(pool: asyncpg.Pool) -> None:
    """Some time after they ended."""

    async def work(progress: Progress) -> object:
        return None

    jobs = Jobs(pool, ApiMetrics(), tick=0.02, keep=0.0)
    job = await ended(jobs, await jobs.start("a", work, owner=ALICE))
    await jobs.purge()
    with pytest.raises(NotFound):
        await jobs.find(job.id, ALICE)
    await jobs.close()
