"""A worker: takes up jobs of one place, as many at once as it has seats, until its process stops.

It looks for work every `look` seconds, and at once when the bus says that a job changed; the bus is a hint
and the database the truth. When the process stops, it takes up nothing more, lets running steps end for a
while, then interrupts them and gives their leases back, so that another process goes on at once.
"""

import asyncio
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from sqlalchemy.exc import IntegrityError

from app.contract.words import Place
from app.kit.bus import Event, Gap
from app.kit.database import Database
from app.kit.ids import new_id
from app.kit.logging import get_logger
from app.work import claims, meters, settling
from app.work.attempt import TROUBLE, Attempt, Lease
from app.work.claims import Blocked, Candidate, Seat
from app.work.context import Context, Workshop
from app.work.course import Work
from app.work.errors import Fenced
from app.work.jobs import Jobs
from app.work.journal import JOB_EVENT
from app.work.leases import Watch
from app.work.outcomes import Outcome, Parked, Released
from app.work.queries import known_of
from app.work.settling import Reported

HINT_SECONDS: Final = 0.01
"""Hints that come within this time are one."""

_log = get_logger("go2cloud.jobs")


@dataclass(frozen=True, slots=True)
class Bench:
    """How a worker works; `seats` steps at once, which may take `drain_seconds` to end when it stops."""

    place: Place
    seats: int
    node: str
    lease: Lease
    drain_seconds: float = 15.0


class Worker:
    """Takes up jobs of one place; `run` it in a task, and `drain` it before that is cancelled."""

    def __init__(self, database: Database, jobs: Jobs, bench: Bench) -> None:
        """Nothing is taken up yet."""
        self._database = database
        self._jobs = jobs
        self._bench = bench
        self._seat = Seat(bench.place, bench.node, new_id("wrk"))
        self._watch = Watch(bench.lease.seconds, bench.lease.ticks)
        self._threads = ThreadPoolExecutor(2 * bench.seats, thread_name_prefix=f"step-{bench.place}")
        self._shop = Workshop(database, jobs, self._threads, bench.node)
        self._attempts: dict[str, Attempt] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._news = asyncio.Event()
        self._is_draining = False
        self._is_failing = False

    async def run(self) -> None:
        """Work until drained."""
        listening = asyncio.create_task(self._listen(), name=f"hints {self._bench.place}")
        try:
            while not self._is_draining:
                await self._look()
                await self._wait()
            while self._tasks:
                await asyncio.wait(tuple(self._tasks.values()))
        finally:
            listening.cancel()
            await asyncio.wait({listening, *self._killed()})
            self._threads.shutdown(wait=False)

    def _killed(self) -> list[asyncio.Task[None]]:
        """What still runs when `run` ends is stopped as a dying process would: nothing is written."""
        for task in self._tasks.values():
            task.cancel()
        return list(self._tasks.values())

    async def drain(self) -> None:
        """Take up nothing more and return when no step runs here; those that do not end are interrupted."""
        self._is_draining = True
        self._news.set()
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=self._bench.drain_seconds)
        while self._tasks:
            for attempt in tuple(self._attempts.values()):
                attempt.release()
            await asyncio.wait(tuple(self._tasks.values()), timeout=1.0)

    async def _listen(self) -> None:
        async for item in self._jobs.bus.subscribe():
            if isinstance(item, Gap):
                self._news.set()
            elif item.event.type == JOB_EVENT:
                self._hear(item.event)

    def _hear(self, event: Event) -> None:
        """Look at a job that runs here, and for work if there may be some."""
        attempt = self._attempts.get(event.subject or "")
        if attempt is not None:
            attempt.poke()
        if event.data.get("frees") or event.data.get("ready") == self._bench.place:
            self._news.set()

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(self._bench.lease.look_seconds):
                await self._news.wait()
        except TimeoutError:
            return
        await asyncio.sleep(HINT_SECONDS)
        self._news.clear()

    async def _look(self) -> None:
        """Take up what can be, if there is a seat; a database that is away is said once."""
        if len(self._tasks) >= self._bench.seats or not self._jobs.kinds.all:
            return
        try:
            await self._fill()
        except TROUBLE as error:
            if not self._is_failing:
                _log.warning("jobs.look_failed", place=self._bench.place, error=str(error))
            self._is_failing = True
        else:
            self._is_failing = False

    async def _fill(self) -> None:
        async with self._database.reading() as uow:
            kinds = self._jobs.kinds
            held = await claims.held(uow, kinds, self._seat)
            ready = await claims.candidates(uow, kinds, self._seat)
            meters.WAITING.labels(self._bench.place).set(len(ready))
        silent = self._watch.abandoned(each.sign for each in held if each.sign.job_id not in self._tasks)
        dead = [each for each in held if each.sign.job_id in silent]
        for candidate in (*dead, *ready):
            if len(self._tasks) >= self._bench.seats or self._is_draining:
                return
            if candidate.sign.job_id not in self._tasks:
                await self._take(candidate)

    async def _take(self, candidate: Candidate) -> None:
        since = self._bench.lease.ticks()
        try:
            work = await self._database.run(
                lambda uow: claims.claim(uow, self._jobs.course, candidate, self._seat)
            )
        except (Blocked, IntegrityError):
            return
        except TROUBLE:
            raise
        except Exception as error:  # noqa: BLE001  (one job that cannot be taken up must not stop all others)
            _log.error("job.take_broke", job=candidate.sign.job_id, exc_info=error)
            return
        if candidate.holder:
            meters.TAKEN_OVER.inc()
            _log.warning("job.taken_over", job=candidate.sign.job_id, fence=candidate.sign.fence + 1)
        if work is not None:
            self._start(work, since)

    def _start(self, work: Work, since: float) -> None:
        job_id = work.claim.job_id
        task = asyncio.create_task(self._pursue(work, since), name=f"job {job_id}")
        self._tasks[job_id] = task
        meters.RUNNING.labels(self._bench.place).inc()
        task.add_done_callback(lambda done: self._over(job_id, done))

    def _over(self, job_id: str, task: asyncio.Task[None]) -> None:
        self._tasks.pop(job_id, None)
        meters.RUNNING.labels(self._bench.place).dec()
        self._news.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("job.worker_broke", job=job_id, exc_info=error)

    async def _pursue(self, first: Work, since: float) -> None:
        """Run the job's steps one after the other, as long as they are here and the lease is ours.

        `since` are the ticks from which the lease counts.
        """
        work: Work | None = first
        try:
            while work is not None:
                work, since = await self._one(work, since)
        except (Fenced, *TROUBLE) as error:
            _log.warning("job.let_go", job=first.claim.job_id, error=str(error))

    async def _one(self, work: Work, since: float) -> tuple[Work | None, float]:
        """Run one step and write its outcome down; the next one, and from when its lease counts."""
        attempt = Attempt(self._database, self._jobs.kinds, work, self._bench.lease, since)
        self._attempts[work.claim.job_id] = attempt
        try:
            outcome = await self._attempt(attempt, work)
            since = self._bench.lease.ticks()
            return None if outcome is None else await self._settle(attempt, work, outcome), since
        finally:
            del self._attempts[work.claim.job_id]

    async def _attempt(self, attempt: Attempt, work: Work) -> Outcome | None:
        step = self._jobs.kinds.get(work.kind).step(work.step)
        assert step is not None, "only steps of the plan are taken up"
        async with self._database.reading() as uow:
            known = await known_of(uow, work.claim.job_id)
        began = self._bench.lease.ticks()
        outcome = await attempt.run(step, Context(self._shop, work, known, attempt.signals))
        meters.STEP_SECONDS.labels(work.kind, work.step).observe(self._bench.lease.ticks() - began)
        name = "lost" if outcome is None else type(outcome).__name__.lower()
        meters.STEPS.labels(work.kind, work.step, name).inc()
        return outcome

    async def _settle(self, attempt: Attempt, work: Work, outcome: Outcome) -> Work | None:
        """Write the outcome down. Where the database is away, the job is let go and its lease runs out."""
        goes_on = not self._is_draining and not isinstance(outcome, Parked | Released)
        reported = Reported(outcome, attempt.signals.take(), goes_on)
        return await self._database.run(
            lambda uow: settling.settle(uow, self._jobs.course, work, reported, random.random)
        )
