"""The course of a job through its journal: a step begins, its outcome is written, the job ends.

Each function works on a row that the unit has locked (`journal.hold`, `journal.lock`).
"""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import select

from app.contract.callbackwords import EventKind
from app.contract.words import JobEventLevel, WorkState
from app.kit.bus import Bus
from app.kit.database import UnitOfWork
from app.work import journal, limits, meters
from app.work.journal import Claim, Note, point, steps_of
from app.work.kinds import EndedJob, Kinds, OnFailure
from app.work.outcomes import Failed
from app.work.states import ENDED, STANDING, End, JobAction, Run, Undo, Unwinding
from app.work.tables import JobRow, JobStepRow

MOST_DEATHS: Final = 10
"""How often a step may take its worker with it before it counts as failed for good."""

DYING: Final = Failed(
    "STEP_KEEPS_DYING",
    f"the process that ran the step ended, or was lost, {MOST_DEATHS} times",
    "look into the logs of the workers for what ended them (memory?), then retry the job",
    is_for_good=True,
)


@dataclass(frozen=True, slots=True)
class Work:
    """A step to be run or undone now, by whoever has the claim."""

    claim: Claim
    kind: str
    step: str
    number: int
    is_undo: bool
    key: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Course:
    """What moves jobs on: the plans of their kinds, and the bus to tell of it."""

    kinds: Kinds
    bus: Bus

    async def begin(self, uow: UnitOfWork, row: JobRow, *, is_resumed: bool = False) -> Work | None:
        """Write down that the next step begins; None where there is none, or it may not begin.

        `is_resumed`: it waited for children and goes on, of which no event tells.
        """
        steps = await steps_of(uow, row.id)
        move = self.next(uow, row, steps)
        journal.change(row, JobAction.BEGIN)
        if row.started_at is None:
            row.started_at = uow.now
            journal.announce(uow, row, EventKind.JOB_STARTED)
        if isinstance(move, End):
            await self.end(uow, row, move.action)
            return None
        step = steps[move.number]
        if step.attempts - step.failures >= MOST_DEATHS:
            await self.fail_for_good(uow, row, step, DYING)
            row.holder = ""
            return None
        if isinstance(move, Run):
            self._mark_running(uow, row, step)
        step.attempts += 1
        if not is_resumed:
            await journal.note(uow, row, _beginning(step, move))
        journal.tell(uow, self.bus, row)
        return _work(row, step, is_undo=isinstance(move, Undo))

    def next(self, uow: UnitOfWork, row: JobRow, steps: list[JobStepRow]) -> Run | Undo | End:
        """What comes next, past steps that have nothing to undo; the row names it then."""
        move = point(row, steps)
        while isinstance(move, Undo):
            planned = self.kinds.get(row.kind).step(steps[move.number].name)
            if planned is None or planned.undo is not None:
                break
            undone(uow, steps[move.number])
            move = point(row, steps)
        return move

    def _mark_running(self, uow: UnitOfWork, row: JobRow, step: JobStepRow) -> None:
        planned = self.kinds.get(row.kind).step(step.name)
        row.is_final = row.is_final or (planned is not None and planned.is_final)
        step.state, step.undone_at = WorkState.RUNNING, None
        step.started_at = step.started_at or uow.now
        step.code = step.detail = step.remedy = step.finished_at = None

    async def fail_for_good(self, uow: UnitOfWork, row: JobRow, step: JobStepRow, failed: Failed) -> None:
        """A step failed and is not tried again: the job is undone, if its plan says so, or FAILED."""
        step.state, step.finished_at = WorkState.FAILED, uow.now
        step.code, step.detail, step.remedy = failed.code, failed.detail, failed.remedy
        what = "undoing" if row.unwinding else "step"
        text = f"{what} {step.name} failed for good: {failed.detail}"
        await journal.note(uow, row, Note(text, JobEventLevel.ERROR, step.name))
        if row.unwinding:
            row.code = "UNDO_FAILED"
            row.detail = f"step {step.name} could not be undone: {failed.detail}"
            row.remedy = f"{failed.remedy or 'remove the cause'}; then retry the job, which goes on undoing"
            await self.end(uow, row, JobAction.FAIL)
            return
        row.code, row.detail, row.remedy = failed.code, failed.detail, failed.remedy
        planned = self.kinds.get(row.kind).step(step.name)
        if planned is not None and planned.on_failure is OnFailure.UNDO and not row.is_final:
            await self.unwind(uow, row, Unwinding.FAILURE)
        else:
            await self.end(uow, row, JobAction.FAIL)

    async def unwind(self, uow: UnitOfWork, row: JobRow, cause: Unwinding) -> None:
        """From now on the job is undone; its children that stand are cancelled and waited for first."""
        row.unwinding, row.not_before = cause, None
        steps = await steps_of(uow, row.id)
        for step in steps:
            step.attempts = step.failures = 0
        row.is_parked, row.may_stand = await self._cancel_children(uow, row.id), 0
        if row.is_parked:
            await limits.give_slots_back(uow, row)
        point(row, steps)

    async def _cancel_children(self, uow: UnitOfWork, job_id: str) -> bool:
        standing = select(JobRow.id).where(JobRow.parent_id == job_id, JobRow.state.in_(STANDING))
        children = (await uow.session.scalars(standing.order_by(JobRow.id))).all()
        for name in children:
            child = await journal.lock(uow, name)
            if child.state in STANDING and child.cancel_asked_at is None and not child.is_final:
                await self.cancel(uow, child)
        return bool(children)

    async def cancel(self, uow: UnitOfWork, row: JobRow) -> None:
        """A standing job is to be undone: at once where nobody has it, else when its worker hears of it."""
        row.cancel_asked_at = uow.now
        await journal.note(uow, row, Note("cancelling was asked for", JobEventLevel.WARNING))
        journal.tell(uow, self.bus, row)
        if row.holder:
            return
        if row.unwinding:
            row.unwinding = Unwinding.CANCEL
        else:
            await self.unwind(uow, row, Unwinding.CANCEL)
        move = self.next(uow, row, await steps_of(uow, row.id))
        if isinstance(move, End) and not row.is_parked:
            await self.end(uow, row, move.action)

    async def end(self, uow: UnitOfWork, row: JobRow, action: JobAction) -> None:
        """The job is over; its slots are free and its kind is told."""
        journal.change(row, action)
        row.holder, row.finished_at, row.standing_for = "", uow.now, None
        row.is_parked, row.not_before = False, None
        frees = await limits.give_slots_back(uow, row) or row.parent_id is not None
        if row.state == WorkState.SUCCEEDED:
            row.progress, row.code, row.detail, row.remedy = 100, None, None, None
            row.result = (await steps_of(uow, row.id))[-1].result
        level = JobEventLevel.ERROR if row.state == WorkState.FAILED else JobEventLevel.INFO
        await journal.note(uow, row, Note(f"the job is {row.state}", level))
        kind = self.kinds.get(row.kind)
        if kind.ended is not None:
            await kind.ended(uow, _ended(row))
        journal.tell(uow, self.bus, row, frees=frees)
        journal.announce(uow, row, EventKind.JOB_ENDED)
        meters.count_end(uow, row)


def undone(uow: UnitOfWork, step: JobStepRow) -> None:
    """Nothing of the step is left; its next run is another round."""
    if step.state != WorkState.FAILED:
        step.state = WorkState.CANCELLED
    step.undone_at, step.finished_at = uow.now, uow.now
    step.round += 1
    step.attempts = step.failures = 0
    step.result = None


def _beginning(step: JobStepRow, move: Run | Undo) -> Note:
    verb = "undoing" if isinstance(move, Undo) else "step"
    again = f", attempt {step.attempts}" if step.attempts > 1 else ""
    return Note(f"{verb} {step.name} begins{again}", step=step.name)


def _work(row: JobRow, step: JobStepRow, *, is_undo: bool) -> Work:
    return Work(
        claim=Claim(row.id, row.holder, row.fence),
        kind=row.kind,
        step=step.name,
        number=step.number,
        is_undo=is_undo,
        key=f"{row.id}.{step.name}.{step.round}",
        attempt=step.attempts,
    )


def _ended(row: JobRow) -> EndedJob:
    assert row.state in ENDED
    return EndedJob(
        id=row.id,
        kind=row.kind,
        project_id=row.project_id,
        server_id=row.server_id,
        state=WorkState(row.state),
        input=row.input,
        result=row.result,
        code=row.code,
        detail=row.detail,
    )
