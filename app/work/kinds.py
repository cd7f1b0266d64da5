"""Kinds of jobs: a kind is a pure plan, a list of steps, each with what undoes it.

**Effects must be idempotent.** A step is run again whenever it is not known to have ended: its process was
killed or paused, its lease was lost, its time was over, its error may pass. So it may be run several times,
and in the worst case (a process that was paused and wakes up) for a moment beside its successor. Whatever it
does outside is therefore named by `Context.key`, which is the same at every repetition, and looked for before
it is made. Where the other side can compare numbers, give it `Context.fence` and let it refuse a lower one.
What it writes into our database goes through `Context.write`, which is refused once the lease is lost.

**Undoing is idempotent too**, and harmless where nothing was done: a step that was interrupted or failed is
undone like one that succeeded.

The engine writes down that a step begins before it is run, and its outcome before the next one begins.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeAlias

from app.contract.words import Place, WorkState
from app.kit.database import UnitOfWork
from app.kit.errors import Json
from app.work.errors import JobKindUnknown

if TYPE_CHECKING:
    from app.work.context import Context

HOUR: Final = timedelta(hours=1)


class OnFailure(StrEnum):
    """What becomes of a job when a step of it fails for good.

    `KEEP`: what was done stays; an operator retries from this step, or cancels, which undoes all. `UNDO`:
    everything that was begun is undone, then the job is FAILED; a retry begins from the first step.
    """

    KEEP = "KEEP"
    UNDO = "UNDO"


@dataclass(frozen=True, slots=True)
class EndedJob:
    """A job in the transaction that ends it; `input` as it was enqueued, `result` that of the last step."""

    id: str
    kind: str
    project_id: str
    server_id: str | None
    state: WorkState
    input: Json
    result: Json
    code: str | None
    detail: str | None


StepRun: TypeAlias = Callable[["Context"], Awaitable[object]]
StepUndo: TypeAlias = Callable[["Context"], Awaitable[None]]
Ended: TypeAlias = Callable[[UnitOfWork, EndedJob], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Step:
    """A step: `run` does it and answers what later steps need (None, text, or a dataclass); `undo` undoes it.

    `timeout` is for one attempt of either. After an error either is tried again up to `retries` times, with
    pauses that grow. `is_final`: once it begins, the job can neither be cancelled nor is it undone by itself.
    `weight` is its share of the job's progress.
    """

    name: str
    place: Place
    run: StepRun
    undo: StepUndo | None = None
    timeout: timedelta = HOUR
    retries: int = 3
    on_failure: OnFailure = OnFailure.KEEP
    is_final: bool = False
    weight: int = 1


@dataclass(frozen=True, slots=True)
class JobKind:
    """A kind of job. Its name and those of its steps stand in the database: they are never changed.

    `ended` is called in the transaction in which a job of the kind ends, in whatever state; what it raises
    leaves the job standing, so it only writes.
    """

    name: str
    steps: tuple[Step, ...]
    ended: Ended | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for a plan without steps or with two steps of one name."""
        names = [step.name for step in self.steps]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"the job kind {self.name} needs steps, each with a name of its own")

    def step(self, name: str) -> Step | None:
        """The step of this name; None where this version of the plan has none."""
        return next((step for step in self.steps if step.name == name), None)

    @property
    def weight(self) -> int:
        """The weight of all steps together."""
        return sum(step.weight for step in self.steps) or 1


class Kinds:
    """The kinds that this process knows; the composition root fills it before work begins."""

    def __init__(self, *kinds: JobKind) -> None:
        """Begin with these kinds."""
        self._kinds: dict[str, JobKind] = {}
        for kind in kinds:
            self.add(kind)

    def add(self, kind: JobKind) -> None:
        """Add a kind. Raises ValueError for a name in use."""
        if kind.name in self._kinds:
            raise ValueError(f"there is a job kind {kind.name} already: give each its own name")
        self._kinds[kind.name] = kind

    def get(self, name: str) -> JobKind:
        """The kind of this name. Raises JobKindUnknown."""
        kind = self._kinds.get(name)
        if kind is None:
            raise JobKindUnknown(
                f"this go2cloud has no job kind {name!r}",
                remedy="start a version of go2cloud that has it, or the role that registers it",
            )
        return kind

    @property
    def all(self) -> Mapping[str, JobKind]:
        """All kinds by name."""
        return self._kinds
