"""Slow work: answered 202 at once, then followed, or cancelled, at `/v1/jobs/{job}`.

A job runs in the process that started it; its state is in PostgreSQL, so every process can tell. The process says every
few seconds that it is alive; a job whose process stopped saying so has failed.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeAlias
from uuid import UUID

import asyncpg
import orjson
from pydantic import Field
from pydantic_core import to_json

from api_shim.ids import uuid7
from api_shim.metrics import ApiMetrics
from api_shim.models import Model
from api_shim.paging import Page, PageQuery, Paging
from api_shim.problems import Internal, NotFound, Problem
from api_shim.route import Answer, Call, Route
from api_shim.sse import EventStream
from relay.grants import Principal
from relay.tasks import spawn

__all__ = ["Job", "JobState", "Jobs", "Progress", "Work", "accepted"]

log = logging.getLogger("api.jobs")

JobState: TypeAlias = Literal["running", "succeeded", "failed", "cancelled"]
Progress: TypeAlias = Callable[..., None]
"""`progress(share, note="")`: how far the work is, 0 to 1, and what it does just now. Cheap; call it often."""
Work: TypeAlias = Callable[[Progress], Awaitable[object]]


class Job(Model):
    """Work that goes on after it was asked for."""

    id: UUID
    kind: str = Field(examples=["export"])
    state: JobState
    progress: float = Field(description="0 to 1.")
    note: str = Field(description="What it does just now.")
    result: Any = Field(default=None, description="What it came to, when `succeeded`.")
    problem: dict[str, Any] | None = Field(default=None, description="Why it did not, when `failed`.")
    created: datetime
    updated: datetime
    finished: datetime | None = None


@dataclass(slots=True, eq=False)
class _Running:
    task: "asyncio.Task[None]"
    progress: float = 0.0
    note: str = ""
    dirty: bool = False
    cancelled: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class Jobs:
    """The jobs of every process, in `api_shim.job`.

    beat: seconds between signs of life.  dead: seconds without one after which a job has failed.
    tick: seconds in which progress reaches the database, and readers at other processes.  keep: seconds that an ended
    job can be looked up.
    """

    def __init__(
        self,
        database: asyncpg.Pool,
        metrics: ApiMetrics,
        *,
        beat: float = 3.0,
        dead: float = 15.0,
        tick: float = 0.5,
        keep: float = 7 * 86400.0,
        base: str = "",
    ) -> None:
        self._database = database
        self._metrics = metrics
        self._beat, self._dead, self._tick, self._keep = beat, dead, tick, keep
        self._base = base
        self._running: dict[UUID, _Running] = {}
        self._keeper: asyncio.Task[None] | None = None

    async def start(self, kind: str, work: Work, *, owner: Principal) -> Job:
        """Begin `work` and return its job, which `owner` alone can see. What it returns is JSON or a model.

        A Problem that it raises is the job's problem; anything else is logged and told as `internal`.
        """
        id = uuid7()
        row = await self._database.fetchrow(
            "INSERT INTO api_shim.job (id, kind, owner, state) VALUES ($1, $2, $3, 'running') RETURNING *",
            id, kind, owner.actor,
        )  # fmt: skip
        self._running[id] = running = _Running(spawn(f"job {kind}", self._work(id, kind, work)))
        self._metrics.jobs.add("started")
        self._metrics.jobs_running = len(self._running)
        if self._keeper is None or self._keeper.done():
            self._keeper = spawn("jobs", self._keep_alive())
        # A task that is cancelled before its first step never takes it, and its end would not be told.
        await asyncio.sleep(0)
        return _job(row, running)

    async def find(self, id: UUID, owner: Principal) -> Job:
        """A job of `owner`; raises NotFound (404)."""
        row = await self._database.fetchrow(
            "SELECT *, state = 'running' AND heartbeat < now() - make_interval(secs => $3) AS dead"
            " FROM api_shim.job WHERE id = $1 AND owner = $2",
            id, owner.actor, self._dead,
        )  # fmt: skip
        if row is None:
            raise NotFound("There is no such job of yours.")
        if row["dead"]:
            problem = Internal("The process that worked on it has ended.").details(self._base, id.hex)
            await self._finish(id, "failed", problem=problem)
            return await self.find(id, owner)
        return _job(row, self._running.get(id))

    async def list(self, owner: Principal, page: Paging) -> Page[Job]:
        """The jobs of `owner`, latest first."""
        keys = page.keyset({"created": "created"}, id="id", parameter=2, sort="-created")
        rows = await self._database.fetch(
            f"SELECT *, {keys.select} FROM api_shim.job WHERE owner = $1 AND {keys.where}"  # noqa: S608
            f" ORDER BY {keys.order} LIMIT {keys.limit}",
            owner.actor, *keys.arguments,
        )  # fmt: skip
        return keys.page(rows, lambda row: _job(row, self._running.get(row["id"])))

    async def cancel(self, id: UUID, owner: Principal) -> Job:
        """Stop a job, wherever it runs; one that has ended stays as it is. Raises NotFound (404)."""
        await self._database.execute(
            "UPDATE api_shim.job SET cancelling = true WHERE id = $1 AND owner = $2 AND state = 'running'",
            id, owner.actor,
        )  # fmt: skip
        job = await self.find(id, owner)
        if (running := self._running.get(id)) is not None and job.state == "running":
            running.cancelled = True
            running.task.cancel()
            await asyncio.wait([running.task], timeout=5)
            return await self.find(id, owner)
        return job

    async def changes(self, id: UUID, owner: Principal) -> AsyncIterator[Job]:
        """The job as it is, then whenever it has changed, until it has ended. Raises NotFound (404)."""
        told = None
        while True:
            running = self._running.get(id)
            if running is not None:
                running.changed.clear()
            job = await self.find(id, owner)
            told_of = (job.state, job.progress, job.note)
            if told_of != told:
                yield job
                told = told_of
            if job.state != "running":
                return
            if running is None:
                await asyncio.sleep(self._tick)
            else:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(running.changed.wait(), self._dead)

    async def purge(self) -> None:
        """Forget what ended long ago."""
        await self._database.execute(
            "DELETE FROM api_shim.job WHERE finished < now() - make_interval(secs => $1)", self._keep
        )

    async def close(self) -> None:
        """Stop what runs here; it has failed."""
        for running in list(self._running.values()):
            running.task.cancel()
        if self._running:
            await asyncio.wait([running.task for running in self._running.values()], timeout=5)
        if self._keeper is not None:
            self._keeper.cancel()

    def routes(self) -> tuple[Route, ...]:
        """The operations on jobs."""

        async def jobs(call: Call) -> Page[Job]:
            """Ended jobs are kept for a week."""
            return await self.list(call.who, call.page)

        async def job(call: Call) -> Job:
            return await self.find(call.path["job"], call.who)

        async def cancel(call: Call) -> Job:
            """A job that has ended stays as it is."""
            return await self.cancel(call.path["job"], call.who)

        async def events(call: Call) -> object:
            """Events `progress` while it runs, then one named by its end: `succeeded`, `failed` or `cancelled`."""
            await self.find(call.path["job"], call.who)
            async with EventStream(call) as stream:
                async for job in self.changes(call.path["job"], call.who):
                    await stream.send(job, event="progress" if job.state == "running" else job.state)
            return stream.response

        path = "/v1/jobs/{job:uuid}"
        return (
            Route(method="GET", path="/v1/jobs", handler=jobs, summary="List your jobs", query=PageQuery,
                  answer=Page[Job]),
            Route(method="GET", path=path, handler=job, summary="See how a job is doing", answer=Job),
            Route(method="DELETE", path=path, handler=cancel, summary="Cancel a job", answer=Job),
            Route(method="GET", path=f"{path}/events", handler=events, summary="Follow a job", raw=True, timeout=0,
                  produces=("text/event-stream",)),
        )  # fmt: skip

    async def _work(self, id: UUID, kind: str, work: Work) -> None:
        def progress(share: float, note: str = "") -> None:
            running = self._running[id]
            running.progress, running.note, running.dirty = min(1.0, max(0.0, share)), note[:1000], True
            running.changed.set()

        began = time.monotonic()
        state: JobState = "failed"
        result: object = None
        problem: Mapping[str, Any] | None = None
        try:
            result = await work(progress)
            body = to_json(result).decode() if result is not None else None
            state = "succeeded"
        except asyncio.CancelledError:
            body = None
            if self._running[id].cancelled:
                state = "cancelled"
            else:
                problem = Internal("The server was stopped before it was done.").details(self._base, id.hex)
        except Problem as error:
            body, problem = None, error.details(self._base, id.hex)
        except Exception as error:
            body, problem = None, Internal().details(self._base, id.hex)
            log.error("job failed", extra={"job": str(id), "kind": kind}, exc_info=error)
        log.info("job ended", extra={"job": str(id), "kind": kind, "state": state, "seconds": time.monotonic() - began})
        self._metrics.jobs.add(state)
        running = self._running[id]
        try:
            await self._finish(id, state, result=body, problem=problem, progress=running.progress, note=running.note)
        finally:
            del self._running[id]
            self._metrics.jobs_running = len(self._running)
            running.changed.set()

    async def _finish(
        self,
        id: UUID,
        state: JobState,
        *,
        result: str | None = None,
        problem: Mapping[str, Any] | None = None,
        progress: float | None = None,
        note: str | None = None,
    ) -> None:
        await self._database.execute(
            """UPDATE api_shim.job SET state = $2, result = $3, problem = $4, finished = now(), updated = now(),
                 progress = CASE WHEN $2 = 'succeeded' THEN 1 ELSE coalesce($5, progress) END, note = coalesce($6, note)
               WHERE id = $1 AND state = 'running'""",
            id, state, result, None if problem is None else orjson.dumps(problem, default=str).decode(), progress, note,
        )  # fmt: skip

    async def _keep_alive(self) -> None:
        """While jobs run here: write their progress, say that we live, hear who shall stop."""
        last = time.monotonic()
        while self._running:
            await asyncio.sleep(self._tick)
            beat = time.monotonic() - last >= self._beat
            told = [(id, one) for id, one in self._running.items() if beat or one.dirty]
            if not told:
                continue
            for _, one in told:
                one.dirty = False
            try:
                rows = await self._database.fetch(
                    """UPDATE api_shim.job j
                       SET heartbeat = now(), updated = now(), progress = n.progress, note = n.note
                       FROM unnest($1::uuid[], $2::float8[], $3::text[]) AS n (id, progress, note)
                       WHERE j.id = n.id AND j.state = 'running' RETURNING j.id, j.cancelling""",
                    [id for id, _ in told], [one.progress for _, one in told], [one.note for _, one in told],
                )  # fmt: skip
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
                log.warning("jobs can't be kept alive: the database is away", extra={"jobs": len(self._running)})
                continue
            alive = {row["id"]: row["cancelling"] for row in rows}
            for id, one in told:
                # Not among them any more: others gave it up as dead, so its end would not be told either.
                if alive.get(id, True) and id in self._running:
                    one.cancelled = True
                    one.task.cancel()
            if beat:
                last = time.monotonic()


def accepted(job: Job) -> Answer:
    """The answer to who asked for slow work: 202, and where to follow it."""
    return Answer(job, status=202, headers={"Location": f"/v1/jobs/{job.id}"})


def _job(row: Any, running: _Running | None) -> Job:
    values = {name: row[name] for name in Job.model_fields}
    values["id"] = UUID(int=row["id"].int)
    for name in ("result", "problem"):
        values[name] = None if row[name] is None else orjson.loads(row[name])
    if running is not None and row["state"] == "running":
        values["progress"], values["note"] = running.progress, running.note
    return Job.model_construct(**values)
