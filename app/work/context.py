"""What a step has in hand while it runs."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from functools import partial
from typing import NoReturn, ParamSpec, TypeVar

from app.contract.words import JobEventLevel
from app.kit.database import Database, UnitOfWork
from app.kit.errors import Json
from app.work import children, journal
from app.work.children import Child
from app.work.course import Work
from app.work.errors import StepCancelled, StepParked
from app.work.jobs import Jobs, Order, Ordered
from app.work.journal import Note
from app.work.signals import Signals
from app.work.states import STANDING
from app.work.values import from_json

T = TypeVar("T")
P = ParamSpec("P")

_HALTED: ContextVar[threading.Event] = ContextVar("halted", default=threading.Event())  # noqa: B039  (never set)


@dataclass(frozen=True, slots=True)
class Known:
    """What stands in the journal when a step begins: the job's input, and the results of steps by name."""

    project_id: str
    server_id: str | None
    input: Json
    results: dict[str, Json]


@dataclass(frozen=True, slots=True)
class Workshop:
    """What steps work with in this process."""

    database: Database
    jobs: Jobs
    threads: Executor
    node: str


class Context:
    """The job, the step and its fence, and the ways to speak. Steps only hold it while they run."""

    def __init__(self, shop: Workshop, work: Work, known: Known, signals: Signals) -> None:
        """Made by the engine for each attempt."""
        self._shop = shop
        self._work = work
        self._known = known
        self._signals = signals
        self.job_id = work.claim.job_id
        self.project_id = known.project_id
        self.server_id = known.server_id
        self.step = work.step
        self.is_undo = work.is_undo
        self.attempt = work.attempt
        self.node = shop.node
        """The node of this process."""
        self.fence = work.claim.fence
        """Raised by every claim: who can compare numbers refuses what carries a lower one."""
        self.key = work.key
        """Names this step's effect: the same at each repetition and in its undo, another after that."""

    def input(self, kind: type[T]) -> T:
        """The input of the job. Raises StepFailed where it is no `kind`."""
        return from_json(kind, self._known.input, f"the input of job {self.job_id}")

    def result(self, step: str, kind: type[T]) -> T:
        """The result of a step that has succeeded. Raises StepFailed where it has not or is no `kind`."""
        return from_json(kind, self._known.results.get(step), f"the result of step {step}")

    def has_result(self, step: str) -> bool:
        """Whether a step has succeeded and is not undone; in `undo`, its own may have or not."""
        return step in self._known.results

    def log(
        self, text: str, level: JobEventLevel = JobEventLevel.INFO, *, server_id: str | None = None
    ) -> None:
        """Say something to the operator, as an event of the job. From any thread; written within seconds."""
        self._signals.say(Note(text, level, self.step, server_id))

    def progress(self, percent: int, text: str = "") -> None:
        """How far this step is, 0 to 100. From any thread; written within seconds."""
        self._signals.set_progress(percent, text)

    def check_cancelled(self) -> None:
        """Raises StepCancelled when the step is to stop: cancelled, out of time, drained, lease lost.

        Long work calls it every second or so; in a thread of `thread`, also when only that is to stop.
        """
        self._signals.check()
        if _HALTED.get().is_set():
            raise StepCancelled("the thread is to stop")

    async def thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run what blocks in a thread, and never leave it behind.

        When this is cancelled, `check_cancelled` raises in the thread, and this waits until the thread has
        ended: nothing of a step still runs when its undo begins.
        """
        halted = threading.Event()
        context = copy_context()
        context.run(_HALTED.set, halted)
        call = partial(context.run, partial(function, *args, **kwargs))
        running = asyncio.get_running_loop().run_in_executor(self._shop.threads, call)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            halted.set()
            await _ended(running)
            raise

    async def write(self, work: Callable[[UnitOfWork], Awaitable[T]]) -> T:
        """Do `work` in a unit under this step's fence. Raises Fenced when the lease is lost: let it pass."""

        async def fenced(uow: UnitOfWork) -> T:
            await journal.hold(uow, self._work.claim)
            return await work(uow)

        return await self._shop.database.run(fenced)

    async def pin(self) -> None:
        """From now on the steps at `volumes` of this job run on this node only, since its volumes are here.

        Call it before the first effect that stays on the node.
        """

        async def pinned(uow: UnitOfWork) -> None:
            row = await journal.hold(uow, self._work.claim)
            row.node = self.node

        await self._shop.database.run(pinned)

    async def spawn(self, kind: str, order: Order, name: str) -> str:
        """Enqueue a child job, once for each `name`; its id.

        Raises StepCancelled where the job is cancelled, JobStands.
        """

        async def spawned(uow: UnitOfWork) -> str:
            await self._hold_uncancelled(uow)
            return await children.spawn(uow, self._shop.jobs, self._work, kind, order, name)

        return await self._shop.database.run(spawned)

    async def spawn_made(self, make: Callable[[UnitOfWork], Awaitable[Ordered]], name: str) -> str:
        """As `spawn`, of what `make` makes in the same unit, under the fence; not called for a known `name`.

        So what `make` looks at, or changes, cannot be another's when the child is there. It may be called
        several times. Raises what it raises, too: then nothing has happened.
        """

        async def spawned(uow: UnitOfWork) -> str:
            await self._hold_uncancelled(uow)
            return await children.spawn_made(uow, self._shop.jobs, self._work, make, name)

        return await self._shop.database.run(spawned)

    async def _hold_uncancelled(self, uow: UnitOfWork) -> None:
        row = await journal.hold(uow, self._work.claim)
        if row.cancel_asked_at is not None and row.unwinding is None:
            self._signals.is_cancelled = True
            raise StepCancelled("the job is cancelled")

    async def children(self) -> tuple[Child, ...]:
        """The child jobs of this step, in the order of their names, as they stand."""
        async with self._shop.database.reading() as uow:
            return await children.children_of(uow, self._work)

    async def wait_for_children(self) -> tuple[Child, ...]:
        """The child jobs of this step, all over.

        Until they are, the worker is given back, and the step is run again then. So what stands before it in
        the step is repeated: `spawn` is made for that. Let StepParked pass.
        """
        found = await self.children()
        if any(child.state in STANDING for child in found):
            raise StepParked
        return found

    def wait_until_fewer(self, standing: int) -> NoReturn:
        """Give the worker back until fewer than `standing` child jobs of this job are not over.

        `standing` is the number that the step saw, so that one which ended since then is not waited for. The
        step is run again then, as after `wait_for_children`. Let StepParked pass.
        """
        raise StepParked(standing - 1)


async def _ended(running: "asyncio.Future[T]") -> None:
    """Wait for the end of a thread whatever else is cancelled; its outcome is of no use any more."""
    while not running.done():
        try:
            await asyncio.wait({running})
        except asyncio.CancelledError:
            continue
    if not running.cancelled():
        running.exception()
