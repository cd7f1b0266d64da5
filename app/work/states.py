"""The states of a job as a pure table, and what comes next in its journal.

Steps go forward in their order. When a job is unwound, everything that was begun is undone in the reverse
order, a step that was interrupted or failed included: what such a step left behind is not known.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final, TypeAlias

from app.contract.words import JobOperation, WorkState

S = WorkState


class JobAction(StrEnum):
    """What changes the state of a job.

    `BEGIN`: a worker takes it up. `SUCCEED`: its last step is done. `FAIL`: a step failed for good. `DROP`:
    nothing of it is left to undo. `CANCEL` and `RETRY` are an operator's.
    """

    BEGIN = "BEGIN"
    SUCCEED = "SUCCEED"
    FAIL = "FAIL"
    DROP = "DROP"
    CANCEL = "CANCEL"
    RETRY = "RETRY"


A = JobAction

TRANSITIONS: Final[Mapping[tuple[WorkState, JobAction], WorkState]] = MappingProxyType(
    {
        (S.PENDING, A.BEGIN): S.RUNNING,
        (S.RUNNING, A.BEGIN): S.RUNNING,
        (S.RUNNING, A.SUCCEED): S.SUCCEEDED,
        (S.RUNNING, A.FAIL): S.FAILED,
        (S.PENDING, A.DROP): S.CANCELLED,
        (S.RUNNING, A.DROP): S.CANCELLED,
        (S.PENDING, A.CANCEL): S.PENDING,
        (S.RUNNING, A.CANCEL): S.RUNNING,
        (S.FAILED, A.CANCEL): S.PENDING,
        (S.FAILED, A.RETRY): S.PENDING,
    }
)

STANDING: Final = (S.PENDING, S.RUNNING)
ENDED: Final = (S.SUCCEEDED, S.FAILED, S.CANCELLED)


class Unwinding(StrEnum):
    """Why a job is being undone: it ends CANCELLED or FAILED accordingly."""

    CANCEL = "CANCEL"
    FAILURE = "FAILURE"


@dataclass(frozen=True, slots=True)
class StepStanding:
    """How a step stands in the journal."""

    state: WorkState
    is_undone: bool = False

    @property
    def is_to_undo(self) -> bool:
        """Whether it was begun and not undone since."""
        return self.state is not S.PENDING and not self.is_undone


@dataclass(frozen=True, slots=True)
class Run:
    """The step of this number is to be run."""

    number: int


@dataclass(frozen=True, slots=True)
class Undo:
    """The step of this number is to be undone."""

    number: int


@dataclass(frozen=True, slots=True)
class End:
    """Nothing is left to do; the job ends by this action."""

    action: JobAction


Move: TypeAlias = Run | Undo | End


def next_move(steps: Sequence[StepStanding], unwinding: Unwinding | None) -> Move:
    """What is to be done next; steps are in their order."""
    if unwinding is None:
        to_run = (number for number, step in enumerate(steps) if step.state is not S.SUCCEEDED)
        number = next(to_run, None)
        return End(A.SUCCEED) if number is None else Run(number)
    to_undo = (number for number in reversed(range(len(steps))) if steps[number].is_to_undo)
    number = next(to_undo, None)
    if number is not None:
        return Undo(number)
    return End(A.DROP if unwinding is Unwinding.CANCEL else A.FAIL)


def allowed(
    state: WorkState, unwinding: Unwinding | None, *, is_final: bool, is_cancelled: bool
) -> tuple[JobOperation, ...]:
    """What an operator can do now. `is_final`: a step was begun after which nothing is undone any more.

    `is_cancelled`: that was asked for already. A job that is being undone cannot be cancelled once more, but
    one whose undoing failed can be retried, which goes on undoing.
    """
    is_stoppable = not (is_final or is_cancelled) and (unwinding is None or state is S.FAILED)
    found = []
    if (state, A.CANCEL) in TRANSITIONS and is_stoppable:
        found.append(JobOperation.CANCEL)
    if (state, A.RETRY) in TRANSITIONS:
        found.append(JobOperation.RETRY)
    return tuple(found)
