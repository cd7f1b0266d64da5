"""Many jobs under workers that are killed and paused, and a clock that jumps."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy import func, select

from app.contract.words import Place, WorkState
from app.kit.clock import ManualClock
from app.kit.database import UnitOfWork
from app.kit.errors import Unavailable
from app.work.attempt import Lease
from app.work.context import Context
from app.work.errors import JobNotAllowed, StepFailed
from app.work.jobs import Order
from app.work.kinds import JobKind, OnFailure, Step
from app.work.limits import Limit
from app.work.states import STANDING
from app.work.tables import JobLimitRow, JobRow, JobSlotRow
from tests.work.engine import PROJECT, Engine, Started
from tests.work.killing import PausingDatabase
from tests.work.ledger import Ledger

S = WorkState
LEASE = Lease(seconds=3.0, look_seconds=0.2, grace_seconds=0.5)
ROUND_SECONDS = 0.2
PLACES = (Place.CONTROL, Place.CONTROL, Place.CONTROL, Place.VOLUMES, Place.VOLUMES)
LIMITS = tuple(Limit(f"project:{number}", 3) for number in range(4))
CHILDREN = 3


@dataclass
class Process:
    """A worker in a process of its own, which can be paused."""

    started: Started
    database: PausingDatabase
    wakes_at: int = 0
    is_dead: bool = False

    async def kill(self) -> None:
        """It never goes on, whether it is paused or not."""
        self.is_dead = True
        await self.database.die()
        await self.started.kill()


@dataclass
class Chaos:
    """Orders the jobs, hurts the workers, and looks at what is left."""

    engine: Engine
    clock: ManualClock
    draw: random.Random
    ledger: Ledger = field(default_factory=Ledger)
    processes: dict[str, Process] = field(default_factory=dict)
    failed_once: set[str] = field(default_factory=set)
    kinds: dict[str, str] = field(default_factory=dict)
    """The kind of each job that was ordered, by its id."""
    hurt: Counter[str] = field(default_factory=Counter)
    born: int = 0

    def register(self) -> None:
        """Shapes of jobs, each with its own right end."""
        one, two = self._step("one", Place.CONTROL), self._step("two", Place.CONTROL)
        far = self._step("far", Place.VOLUMES)
        for name, steps in {
            "good": (one, two),
            "placed": (one, far, two),
            "flaky": (one, self._step("flaky", Place.CONTROL)),
            "undone": (one, two, self._step("hopeless", Place.CONTROL)),
            "kept": (one, self._step("once", Place.CONTROL, OnFailure.KEEP), two),
            "cancelled": (one, far, two),
            "wave": (one, Step("children", Place.CONTROL, self._spawn, self._undo, retries=8)),
        }.items():
            self.engine.add(JobKind(name, steps))

    def _step(self, name: str, place: Place, on_failure: OnFailure = OnFailure.UNDO) -> Step:
        return Step(name, place, self._run, self._undo, on_failure=on_failure, retries=8)

    async def _run(self, context: Context) -> str:
        async with self._alive(context):
            self.ledger.make(context)
        await asyncio.sleep(self.draw.random() * 0.004)
        is_first = context.job_id not in self.failed_once
        if context.step in ("flaky", "once"):
            self.failed_once.add(context.job_id)
        if context.step == "flaky" and is_first:
            raise Unavailable("not yet")
        if context.step == "once" and is_first:
            raise StepFailed("wants an operator", code="ONCE")
        if context.step == "hopeless":
            raise StepFailed("never", code="NEVER")
        return context.key

    async def _undo(self, context: Context) -> None:
        async with self._alive(context):
            self.ledger.take_back(context)

    async def _spawn(self, context: Context) -> str:
        async with self._alive(context):
            self.ledger.make(context)
        for number in range(CHILDREN):
            await context.spawn("good", Order(PROJECT), str(number))
        ended = await context.wait_for_children()
        assert {child.state for child in ended} == {S.SUCCEEDED}
        return f"{len(ended)} children"

    @asynccontextmanager
    async def _alive(self, context: Context) -> AsyncIterator[None]:
        """A paused process does nothing; when it wakes, its effect comes late, before it hears anything."""
        process, heard = self.processes[context.node], False
        while not process.database.going.is_set():
            try:
                await process.database.going.wait()
            except asyncio.CancelledError:
                heard = True
        if process.is_dead:
            raise asyncio.CancelledError
        yield
        if heard:
            raise asyncio.CancelledError

    async def order(self, count: int) -> None:
        """Order so many jobs of all shapes, some under limits, in a few units."""
        shapes = ("good", "good", "good", "placed", "flaky", "undone", "kept", "cancelled", "wave")
        wanted = [self.draw.choice(shapes) for _ in range(count)]
        for start in range(0, count, 100):
            part = wanted[start : start + 100]

            async def unit(uow: UnitOfWork, part: list[str] = part) -> list[str]:
                return [await self.engine.jobs.enqueue(uow, kind, self._order(kind)) for kind in part]

            self.kinds |= dict(zip(await self.engine.database.run(unit), part, strict=True))

    def _order(self, kind: str) -> Order:
        limits = (self.draw.choice(LIMITS),) if kind != "wave" and self.draw.random() < 0.25 else ()
        return Order(PROJECT, limits=limits, priority=self.draw.choice((0, 0, 5)))

    def give_birth(self, place: Place) -> None:
        """Start a process."""
        self.born += 1
        name = f"{place}-{self.born}"
        database = PausingDatabase.of(self.engine.database)
        started = self.engine.start(place, seats=4, lease=LEASE, node=name, database=database)
        self.processes[name] = Process(started, database)

    async def run(self, most_rounds: int) -> None:
        """Hurt the workers until no job stands."""
        for place in PLACES:
            self.give_birth(place)
        for number in range(most_rounds):
            await asyncio.sleep(ROUND_SECONDS)
            self.clock.advance(timedelta(seconds=3))
            await self._hurt(number)
            await self._operate()
            await self.check_limits()
            if not await self._standing():
                return
        raise AssertionError(f"{await self._standing()} jobs are not over")

    async def _hurt(self, number: int) -> None:
        for process in self.processes.values():
            if process.wakes_at <= number and not process.database.going.is_set():
                process.database.going.set()
        fate = self.draw.random()
        name = self.draw.choice([name for name, process in self.processes.items() if not process.is_dead])
        if fate < 0.15:
            self.hurt["killed"] += 1
            await self.processes[name].kill()
            self.give_birth(Place(name.partition("-")[0]))
        elif fate < 0.25:
            self.hurt["paused"] += 1
            self.processes[name].database.going.clear()
            self.processes[name].wakes_at = number + self.draw.randint(1, 25)
        elif fate < 0.5:
            self.hurt["jumped"] += 1
            self.clock.advance(timedelta(hours=self.draw.uniform(-48, 48)))

    async def _operate(self) -> None:
        """What operators do: cancel some, retry what wants them."""
        query = select(JobRow.id).where(JobRow.state == S.FAILED, JobRow.code == "ONCE")
        async with self.engine.database.reading() as uow:
            failed = list(await uow.session.scalars(query.limit(50)))
            doomed = select(JobRow.id).where(JobRow.kind == "cancelled", JobRow.cancel_asked_at.is_(None))
            standing = doomed.where(JobRow.state.in_(STANDING))
            wanted = list(await uow.session.scalars(standing.order_by(JobRow.started_at.desc()).limit(5)))
        for job in failed:
            await self.engine.retry(job)
        for job in wanted:
            try:
                await self.engine.cancel(job)
            except JobNotAllowed:
                self.hurt["cancelled too late"] += 1

    async def _standing(self) -> int:
        is_open = JobRow.state.in_(STANDING) | (JobRow.code == "ONCE")
        async with self.engine.database.reading() as uow:
            return await uow.session.scalar(select(func.count()).where(is_open)) or 0

    async def check_limits(self) -> None:
        """No limit is exceeded, and who has a slot has it rightly."""
        slot = select(JobSlotRow.key, func.count()).group_by(JobSlotRow.key)
        running = (
            select(JobLimitRow.key, func.count())
            .join(JobRow, JobRow.id == JobLimitRow.job_id)
            .where(JobRow.holder != "")
            .group_by(JobLimitRow.key)
        )
        astray = select(func.count()).select_from(JobSlotRow).join(JobRow, JobRow.id == JobSlotRow.job_id)
        async with self.engine.database.reading() as uow:
            for query in (slot, running):
                for key, count in await uow.session.execute(query):
                    assert count <= 3, (key, count)
            assert await uow.session.scalar(astray.where(JobRow.state.not_in(STANDING))) == 0

    async def judge(self) -> Counter[tuple[str, str]]:
        """Look at every job and all effects; how many ended how, by kind."""
        async with self.engine.database.reading() as uow:
            rows = list(await uow.session.scalars(select(JobRow)))
        effects = Counter(self.ledger.there.values())
        found: Counter[tuple[str, str]] = Counter()
        for row in rows:
            found[row.kind, row.state] += 1
            assert row.state in _right(row.kind), (row.kind, row.state, row.code, row.detail)
            steps = len(self.engine.jobs.kinds.get(row.kind).steps)
            expected = steps if row.state == S.SUCCEEDED else 0
            assert effects[row.id] == expected, (row.id, row.kind, row.state, self.ledger.of(row.id))
        assert {row.id for row in rows} >= set(self.kinds), "a job was lost"
        waves = sum(1 for kind in self.kinds.values() if kind == "wave")
        assert len(rows) == len(self.kinds) + CHILDREN * waves, "children are there once"
        assert set(self.ledger.made.values()) <= {1}, "an effect was made twice"
        return found


def _right(kind: str) -> tuple[WorkState, ...]:
    """The states in which a job of the kind may end."""
    ends = {"undone": (S.FAILED,), "cancelled": (S.CANCELLED, S.SUCCEEDED)}
    return ends.get(kind, (S.SUCCEEDED,))
