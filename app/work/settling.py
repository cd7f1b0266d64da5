"""Writing the outcome of a step down, and what follows from it, in one unit under the worker's fence."""

from collections.abc import Callable
from dataclasses import dataclass

from app.contract.words import JobEventLevel, WorkState
from app.kit.database import UnitOfWork
from app.work import journal, limits, pauses
from app.work.course import Course, Work, undone
from app.work.journal import Note, steps_of
from app.work.kinds import JobKind, Kinds
from app.work.outcomes import Done, Failed, Interrupted, Outcome, Parked, Released
from app.work.signals import Said
from app.work.states import STANDING, End, Unwinding
from app.work.tables import MOST_PROGRESS_TEXT, JobRow, JobStepRow


@dataclass(frozen=True, slots=True)
class Reported:
    """An outcome with what the step said until then.

    `goes_on`: the worker would go on with the job's next step, if it is at the same place.
    """

    outcome: Outcome
    said: Said = Said()  # noqa: RUF009  (frozen)
    goes_on: bool = True


async def settle(
    uow: UnitOfWork, course: Course, work: Work, reported: Reported, draw: Callable[[], float]
) -> Work | None:
    """Write the outcome down; the next step, if this worker goes on with it.

    Raises Fenced when the lease is lost: then the outcome does not count.
    """
    row = await journal.hold(uow, work.claim)
    await write(uow, course.kinds, row, reported.said)
    step = (await steps_of(uow, row.id))[work.number]
    outcome = await _meant(uow, row, reported.outcome)
    pauses_now = await _apply(uow, course, work, row, step, outcome, draw)
    if row.state not in STANDING:
        return None
    if row.cancel_asked_at is not None and row.unwinding is None:
        await course.unwind(uow, row, Unwinding.CANCEL)
        pauses_now = False
    if row.is_parked or pauses_now:
        _put_back(uow, course, row)
        return None
    move = course.next(uow, row, await steps_of(uow, row.id))
    if isinstance(move, End) or (reported.goes_on and row.place == step.place):
        return await course.begin(uow, row)
    _put_back(uow, course, row)
    return None


async def write(uow: UnitOfWork, kinds: Kinds, row: JobRow, said: Said) -> None:
    """Write what a step says of itself into its job, whose row is locked."""
    await journal.note(uow, row, *said.notes)
    if said.progress is not None:
        if row.unwinding is None:
            row.progress = _overall(kinds.get(row.kind), row.step, said.progress)
        row.progress_text = said.text[:MOST_PROGRESS_TEXT]


def _overall(kind: JobKind, number: int, percent: int) -> int:
    """The progress of a job whose step of this number is so far."""
    done = sum(step.weight for step in kind.steps[:number]) * 100
    now = kind.steps[number].weight * percent if number < len(kind.steps) else 0
    return min((done + now) // kind.weight, 99)


async def _meant(uow: UnitOfWork, row: JobRow, outcome: Outcome) -> Outcome:
    """A step that fails while its job is being cancelled was interrupted: nobody wants it repeated."""
    if isinstance(outcome, Failed) and row.cancel_asked_at is not None and row.unwinding is None:
        await journal.note(uow, row, Note(f"stopped with an error: {outcome.detail}", JobEventLevel.WARNING))
        return Interrupted()
    return outcome


async def _apply(
    uow: UnitOfWork,
    course: Course,
    work: Work,
    row: JobRow,
    step: JobStepRow,
    outcome: Outcome,
    draw: Callable[[], float],
) -> bool:
    """Write the outcome into the step; whether the job has to pause before it goes on."""
    if isinstance(outcome, Done):
        await _done(uow, course.kinds.get(row.kind), row, step, outcome, is_undo=work.is_undo)
    elif isinstance(outcome, Failed):
        return await _failed(uow, course, row, step, outcome, draw)
    elif isinstance(outcome, Interrupted):
        step.state, step.finished_at = WorkState.CANCELLED, uow.now
    elif isinstance(outcome, Parked):
        step.attempts = step.failures = 0
        row.is_parked, row.may_stand = True, outcome.may_stand
        if await limits.give_slots_back(uow, row):
            journal.tell(uow, course.bus, row, frees=True)
    elif isinstance(outcome, Released):
        step.attempts -= 1
    return False


async def _done(
    uow: UnitOfWork, kind: JobKind, row: JobRow, step: JobStepRow, outcome: Done, *, is_undo: bool
) -> None:
    if is_undo:
        undone(uow, step)
    else:
        step.state, step.result, step.finished_at = WorkState.SUCCEEDED, outcome.result, uow.now
        step.attempts = step.failures = 0
        row.progress, row.progress_text = _overall(kind, step.number, 100), ""
    verb = "undone" if is_undo else "done"
    await journal.note(uow, row, Note(f"step {step.name} is {verb}", step=step.name))


async def _failed(
    uow: UnitOfWork,
    course: Course,
    row: JobRow,
    step: JobStepRow,
    failed: Failed,
    draw: Callable[[], float],
) -> bool:
    step.failures += 1
    step.code, step.detail, step.remedy = failed.code, failed.detail, failed.remedy
    planned = course.kinds.get(row.kind).step(step.name)
    if failed.is_for_good or planned is None or step.failures > planned.retries:
        await course.fail_for_good(uow, row, step, failed)
        return False
    pause = pauses.pause(step.failures, draw)
    row.not_before = uow.now + pause
    text = f"{failed.detail}; again in {pause.total_seconds():.0f} s ({step.failures} of {planned.retries})"
    await journal.note(uow, row, Note(text, JobEventLevel.WARNING, step.name))
    return True


def _put_back(uow: UnitOfWork, course: Course, row: JobRow) -> None:
    row.holder = ""
    journal.tell(uow, course.bus, row)
