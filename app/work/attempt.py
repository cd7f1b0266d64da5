"""One attempt of a step: the step in a task of its own, and beside it a heart that keeps its lease.

The heart raises the row's beat, writes down what the step says, and hears of a cancellation. It stops the
step when the lease is lost, or may be, since no beat went through for `leases.OWN_SHARE` of it.
"""

import asyncio
import math
import time
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from app.kit.database import Database, UnitOfWork
from app.kit.errors import Go2CloudError
from app.kit.logging import get_logger
from app.work import journal, leases, settling
from app.work.context import Context
from app.work.course import Work
from app.work.errors import Fenced, StepCancelled, StepFailed, StepParked
from app.work.kinds import Kinds, Step
from app.work.leases import Ticks
from app.work.outcomes import Done, Failed, Interrupted, Outcome, Parked, Released
from app.work.signals import Said, Signals
from app.work.tables import MOST_TEXT, JobRow
from app.work.values import to_json

CANCEL_GRACE_SECONDS: Final = 10.0
"""From telling a step that its job is cancelled to interrupting it where it waits."""

TROUBLE = (Go2CloudError, SQLAlchemyError, OSError)
"""What a database that is away raises."""

_log = get_logger("go2cloud.jobs")


@dataclass(frozen=True, slots=True)
class Lease:
    """How long a lease lasts, how often the row is looked at, and the clock for both."""

    seconds: float
    look_seconds: float
    ticks: Ticks = time.monotonic
    grace_seconds: float = CANCEL_GRACE_SECONDS


class Attempt:
    """Runs a step, or its undo, once."""

    def __init__(self, database: Database, kinds: Kinds, work: Work, lease: Lease, since: float) -> None:
        """Nothing runs yet; the lease counts from the ticks `since`, before the claim was written."""
        self.work = work
        self.signals = Signals()
        self._database = database
        self._kinds = kinds
        self._lease = lease
        self._poked = asyncio.Event()
        self._beat_at = since
        self._told_at: float | None = None
        self._interrupted_at = -math.inf
        self._is_over = False
        self._task: asyncio.Task[Outcome] | None = None

    def poke(self) -> None:
        """There may be news of the job: look now."""
        self._poked.set()

    def release(self) -> None:
        """The process stops: interrupt the step, another worker begins it anew."""
        self.signals.is_released = True
        self._interrupt("the process stops")

    async def run(self, step: Step, context: Context) -> Outcome | None:
        """The outcome; None when the lease was lost and nothing may be written."""
        if self._left <= 0:
            return None
        self._task = asyncio.create_task(self._perform(step, context), name=f"step {self.work.key}")
        heart = asyncio.create_task(self._beat(), name=f"heart {self.work.key}")
        try:
            await asyncio.wait({self._task})
        finally:
            self._task.cancel()
            self._is_over = True
            self.poke()
            await asyncio.wait({self._task, heart})
        return None if self.signals.is_lost else self._task.result()

    async def _perform(self, step: Step, context: Context) -> Outcome:
        call = step.undo if self.work.is_undo else step.run
        assert call is not None, "a step without an undo is passed over"
        limit = asyncio.timeout(step.timeout.total_seconds())
        try:
            async with limit:
                result = await call(context)
            return Done(None if self.work.is_undo else to_json(result))
        except asyncio.CancelledError:
            if self._was_told:
                return self._stopped()
            raise
        except StepParked as parked:
            return Parked(parked.may_stand)
        except Fenced:
            self.signals.is_lost = True
            return Released()
        except Exception as error:  # noqa: BLE001  (whatever a step raises is its way to fail)
            if isinstance(error, StepCancelled) and self._was_told:
                return self._stopped()
            return _out_of_time(step) if limit.expired() else self._failed(error)

    @property
    def _was_told(self) -> bool:
        return self.signals.is_cancelled or self.signals.is_released or self.signals.is_lost

    def _stopped(self) -> Outcome:
        return Interrupted() if self.signals.is_cancelled else Released()

    def _failed(self, error: Exception) -> Failed:
        if isinstance(error, Go2CloudError):
            is_for_good = isinstance(error, StepFailed)
            return Failed(error.code, error.detail[:MOST_TEXT], error.remedy, is_for_good)
        facts = {"job": self.work.claim.job_id, "step": self.work.step}
        _log.error("step.broke", exc_info=error, **facts)
        return Failed(
            "STEP_BROKE",
            f"{type(error).__name__}: {error}"[:MOST_TEXT],
            f"look for the job's id in the service's log: {self.work.claim.job_id}",
        )

    async def _beat(self) -> None:
        """Look at the row until the step has ended; a beat is written when it is due or there is news."""
        while not self.signals.is_lost:
            await self._wait()
            if self._is_over:
                return
            try:
                async with asyncio.timeout(self._left):
                    is_cancelled = await self._look()
            except Fenced:
                self._lose("another worker has the job")
            except (*TROUBLE, TimeoutError) as error:
                if self._left <= 0:
                    self._lose(f"no sign of life went through: {error}")
            else:
                self._hear(is_cancelled=is_cancelled)

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(self._lease.look_seconds):
                await self._poked.wait()
        except TimeoutError:
            return
        self._poked.clear()

    @property
    def _left(self) -> float:
        """Seconds for which the lease is surely ours."""
        return self._beat_at + self._lease.seconds * leases.OWN_SHARE - self._lease.ticks()

    async def _look(self) -> bool:
        """Whether the job is cancelled; with it goes a beat if one is due, and what the step said."""
        now = self._lease.ticks()
        is_due = now - self._beat_at >= self._lease.seconds * leases.BEAT_SHARE
        if not is_due and not self.signals.has_news:
            async with self._database.reading() as uow:
                return await self._is_cancelled(uow)
        said = self.signals.take()
        try:
            is_cancelled = await self._database.run(lambda uow: self._write(uow, said))
        except BaseException:
            self.signals.put_back(said)
            raise
        self._beat_at = now
        return is_cancelled

    async def _is_cancelled(self, uow: UnitOfWork) -> bool:
        claim = self.work.claim
        mine = (JobRow.id == claim.job_id, JobRow.fence == claim.fence, JobRow.holder == claim.holder)
        found = (
            await uow.session.execute(select(JobRow.cancel_asked_at, JobRow.unwinding).where(*mine))
        ).first()
        if found is None:
            raise Fenced(f"job {claim.job_id} is no longer ours under fence {claim.fence}")
        return found[0] is not None and found[1] is None

    async def _write(self, uow: UnitOfWork, said: Said) -> bool:
        row = await journal.hold(uow, self.work.claim)
        await settling.write(uow, self._kinds, row, said)
        return row.cancel_asked_at is not None and row.unwinding is None

    def _hear(self, *, is_cancelled: bool) -> None:
        """Tell the step of a cancellation; one that does not listen is interrupted after its grace."""
        if not is_cancelled:
            return
        now = self._lease.ticks()
        if self._told_at is None:
            self._told_at = now
            self.signals.is_cancelled = True
            self.signals.stop("the job is cancelled")
        if now - self._told_at >= self._lease.grace_seconds:
            self._interrupt("the job is cancelled")

    def _lose(self, why: str) -> None:
        _log.warning("job.lease_lost", job=self.work.claim.job_id, step=self.work.step, why=why)
        self.signals.is_lost = True
        self._interrupt("the lease is lost")

    def _interrupt(self, reason: str) -> None:
        """Interrupt the step where it waits; once, as a second time would hit it while it cleans up."""
        self.signals.stop(reason)
        now = self._lease.ticks()
        if self._task is not None and now - self._interrupted_at >= self._lease.grace_seconds:
            self._interrupted_at = now
            self._task.cancel()


def _out_of_time(step: Step) -> Failed:
    return Failed(
        "STEP_TIMEOUT",
        f"step {step.name} took longer than {step.timeout.total_seconds():g} s",
        "look at its last events for what it waited for",
    )
