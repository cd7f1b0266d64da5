"""A job engine under test: kinds that the test registers, workers that it starts, kills and drains."""

import asyncio
import gc
import time
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from sqlalchemy import select

from app.contract.paging import EVERYTHING
from app.contract.words import Place, WorkState
from app.kit.bus import InProcessBus
from app.kit.database import Database
from app.work.attempt import Lease
from app.work.jobs import Jobs, Order
from app.work.journal import steps_of
from app.work.kinds import JobKind, Kinds
from app.work.tables import JobEventRow, JobRow, JobStepRow
from app.work.worker import Bench, Worker

PROJECT = "prj-1"
DEADLINE_SECONDS = 60.0
LEASE = Lease(seconds=0.6, look_seconds=0.05, grace_seconds=0.1)
LONG_LEASE = Lease(seconds=60.0, look_seconds=0.05, grace_seconds=0.1)


@dataclass
class Started:
    """A worker and the task that it runs in."""

    worker: Worker
    task: asyncio.Task[None]

    async def kill(self) -> None:
        """End it as SIGKILL would: nothing more is written."""
        self.task.cancel()
        await asyncio.wait({self.task})

    async def drain(self) -> None:
        """End it as SIGTERM does."""
        await self.worker.drain()
        await self.task


@dataclass
class Engine:
    """The jobs of a database."""

    database: Database
    jobs: Jobs
    started: list[Started] = field(default_factory=list)

    def add(self, kind: JobKind) -> None:
        """Register a kind."""
        self.jobs.kinds.add(kind)

    async def order(self, kind: str, **members: object) -> str:
        """Enqueue a job."""
        order = Order(PROJECT, **members)  # type: ignore[arg-type]  # members of the order
        return await self.database.run(lambda uow: self.jobs.enqueue(uow, kind, order))

    async def cancel(self, job_id: str) -> None:
        await self.database.run(lambda uow: self.jobs.cancel(uow, EVERYTHING, job_id))

    async def retry(self, job_id: str) -> None:
        await self.database.run(lambda uow: self.jobs.retry(uow, EVERYTHING, job_id))

    def start(
        self,
        *places: Place,
        seats: int = 4,
        lease: Lease = LONG_LEASE,
        node: str = "node",
        database: Database | None = None,
        drain_seconds: float = 5.0,
    ) -> Started:
        """Start a worker (of the place `control` if none is named); the first one started is returned."""
        before = len(self.started)
        for place in places or (Place.CONTROL,):
            bench = Bench(place, seats, node, lease, drain_seconds)
            worker = Worker(database or self.database, self.jobs, bench)
            self.started.append(Started(worker, asyncio.create_task(worker.run())))
        return self.started[before]

    async def row(self, job_id: str) -> JobRow:
        async with self.database.reading() as uow:
            return await uow.session.get_one(JobRow, job_id)

    async def steps(self, job_id: str) -> list[JobStepRow]:
        async with self.database.reading() as uow:
            return await steps_of(uow, job_id)

    async def states(self, job_id: str) -> list[str]:
        """The states of a job's steps."""
        return [step.state for step in await self.steps(job_id)]

    async def texts(self, job_id: str) -> list[str]:
        """The texts of a job's events."""
        query = select(JobEventRow).where(JobEventRow.job_id == job_id).order_by(JobEventRow.number)
        async with self.database.reading() as uow:
            rows = list(await uow.session.scalars(query))
        assert [row.number for row in rows] == list(range(1, len(rows) + 1))
        return [row.text for row in rows]

    async def ended(self, job_id: str, state: WorkState | None = None) -> JobRow:
        """The job when it is over, in the state that is expected."""
        row = await self.until(job_id, lambda row: row.finished_at is not None)
        if state is not None:
            assert row.state == state, (row.state, row.code, row.detail, await self.texts(job_id))
        return row

    async def until(self, job_id: str, is_so: Callable[[JobRow], bool]) -> JobRow:
        """The job as soon as something is true of it."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            row = await self.row(job_id)
            if is_so(row):
                return row
            for started in self.started:
                if started.task.done() and not started.task.cancelled():
                    started.task.result()
            assert time.monotonic() < deadline, (row.state, row.holder, await self.texts(job_id))
            await asyncio.sleep(0.01)


async def eventually(is_so: Callable[[], Awaitable[bool] | bool]) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        found = is_so()
        if found if isinstance(found, bool) else await found:
            return
        assert time.monotonic() < deadline, "it never came true"
        await asyncio.sleep(0.01)


@asynccontextmanager
async def running_engine(database: Database) -> AsyncIterator[Engine]:
    """An engine whose workers are killed at the end."""
    bus = InProcessBus()
    engine = Engine(database, Jobs(bus, Kinds()))
    try:
        yield engine
    finally:
        for started in engine.started:
            await started.kill()
        _bury()
        await bus.close()


def _bury() -> None:
    """What the killed had half opened is closed without a word: a process that dies does not warn either."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
async def engine(database: Database) -> AsyncIterator[Engine]:
    async with running_engine(database) as engine:
        yield engine
