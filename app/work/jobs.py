"""The front of the job engine for features and edges: enqueue, cancel, retry."""

from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from app.contract.paging import Scope
from app.contract.words import JobEventLevel, JobOperation, WorkState
from app.kit.bus import Bus
from app.kit.database import UnitOfWork
from app.kit.ids import new_id
from app.work import journal, limits
from app.work.course import Course
from app.work.errors import JobNotAllowed, JobNotFound, JobStands, JobSuperseded
from app.work.journal import Note, move_of, steps_of, unwinding_of
from app.work.kinds import Kinds
from app.work.limits import Limit
from app.work.states import STANDING, End, JobAction, allowed
from app.work.tables import JobRow, JobStepRow
from app.work.values import to_json


@dataclass(frozen=True, slots=True)
class Order:
    """A job to be done.

    `input` is a dataclass, text or None. `subject`, such as a server's id, has one standing job at a time.
    `limits` let it wait while too many others run. Higher `priority` comes first. `node`: its steps at
    `volumes` run there only. `requested_by` is the name of whoever asked, `reason` why, for its first event.
    """

    project_id: str
    input: object = None
    server_id: str | None = None
    subject: str | None = None
    limits: tuple[Limit, ...] = ()
    priority: int = 0
    node: str | None = None
    requested_by: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Ordered:
    """An order with the kind of job that it is for."""

    kind: str
    order: Order


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a child comes from: the parent, its step's key, and a name that is unique among those."""

    parent_id: str
    step_key: str
    name: str

    @property
    def key(self) -> str:
        """What makes the child once."""
        return f"{self.step_key}/{self.name}"


@dataclass(frozen=True)
class Jobs:
    """The jobs of a service. All calls take the caller's unit of work, and stand or fall with it."""

    bus: Bus
    kinds: Kinds = field(default_factory=Kinds)

    @property
    def course(self) -> Course:
        """What moves jobs on."""
        return Course(self.kinds, self.bus)

    async def enqueue(self, uow: UnitOfWork, kind: str, order: Order, origin: Origin | None = None) -> str:
        """Put a job of this kind into the queue; its id. Workers hear of it after the commit.

        Raises JobKindUnknown, and JobStands where the subject has a job that is not over.
        """
        steps = self.kinds.get(kind).steps
        await _require_free(uow, order.subject)
        row = JobRow(
            id=new_id("job"),
            kind=kind,
            project_id=order.project_id,
            server_id=order.server_id,
            parent_id=origin.parent_id if origin else None,
            origin=origin.key if origin else None,
            subject=order.subject,
            standing_for=order.subject,
            requested_by=order.requested_by[:200],
            priority=order.priority,
            input=to_json(order.input),
            place=steps[0].place,
            node=order.node,
            created_at=uow.now,
            event_count=0,
        )
        uow.session.add(row)
        await _flush(uow, order.subject)
        uow.session.add_all(
            JobStepRow(job_id=row.id, number=number, name=step.name, place=step.place)
            for number, step in enumerate(steps)
        )
        await limits.declare(uow, row.id, order.limits)
        by = f" by {order.requested_by}" if order.requested_by else ""
        why = f": {order.reason}" if order.reason else ""
        await journal.note(uow, row, Note(f"the job was ordered{by}{why}"))
        journal.tell(uow, self.bus, row)
        return row.id

    async def require_free(self, uow: UnitOfWork, subject: str) -> None:
        """Raises JobStands where the subject has a job that is not over."""
        await _require_free(uow, subject)

    async def note(self, uow: UnitOfWork, job_id: str, text: str, level: JobEventLevel) -> None:
        """Write an event of a job down, also of one that is over. Raises JobNotFound."""
        row = await journal.lock(uow, job_id)
        await journal.note(uow, row, Note(text, level))
        journal.tell(uow, self.bus, row)

    async def cancel(self, uow: UnitOfWork, scope: Scope, job_id: str) -> None:
        """Let a job be undone: the running step is told to stop, what was done is undone in reverse.

        A job that is being cancelled already, or was, stays as it is. A FAILED one gets its steps undone.
        Raises JobNotFound, JobNotAllowed, JobSuperseded, JobStands.
        """
        row = await _locked(uow, scope, job_id)
        is_asked = row.cancel_asked_at is not None and row.state in STANDING
        if is_asked or row.state == WorkState.CANCELLED:
            return
        _require(row, JobOperation.CANCEL)
        if row.state == WorkState.FAILED:
            await self._reopen(uow, row, JobAction.CANCEL)
        await self.course.cancel(uow, row)

    async def retry(self, uow: UnitOfWork, scope: Scope, job_id: str) -> None:
        """Let a FAILED job go on at the step that failed, or at its undoing if that failed.

        A job that stands already, as after a first retry, stays as it is. Raises JobNotFound, JobNotAllowed,
        JobSuperseded, JobStands.
        """
        row = await _locked(uow, scope, job_id)
        if row.state in STANDING and row.unwinding is None and row.cancel_asked_at is None:
            return
        _require(row, JobOperation.RETRY)
        await self._reopen(uow, row, JobAction.RETRY)
        journal.tell(uow, self.bus, row)

    async def _reopen(self, uow: UnitOfWork, row: JobRow, action: JobAction) -> None:
        """A FAILED job stands again: forward where nothing is left to undo, else it is undone further."""
        await _require_newest(uow, row)
        await _require_free(uow, row.subject)
        row.standing_for = row.subject
        journal.change(row, action)
        row.code = row.detail = row.remedy = row.finished_at = None
        steps = await steps_of(uow, row.id)
        if row.unwinding is None or isinstance(move_of(row, steps), End):
            _forward(row, steps)
        for step in steps:
            step.attempts = step.failures = 0
        journal.point(row, steps)
        word = "retried" if action is JobAction.RETRY else "reopened"
        await journal.note(uow, row, Note(f"the job is {word}", JobEventLevel.WARNING))
        await _flush(uow, row.subject)


def _forward(row: JobRow, steps: list[JobStepRow]) -> None:
    """What did not succeed is to be run (again); what was undone counts as never begun."""
    row.unwinding = row.cancel_asked_at = None
    for step in steps:
        if step.undone_at is not None:
            step.state = WorkState.PENDING


async def _locked(uow: UnitOfWork, scope: Scope, job_id: str) -> JobRow:
    row = await journal.lock(uow, job_id)
    if not scope.holds(row.project_id):
        raise JobNotFound(f"there is no job {job_id}", remedy="list them with: go2cloud job list")
    return row


def _require(row: JobRow, operation: JobOperation) -> None:
    can = allowed_for(row)
    if operation not in can:
        raise JobNotAllowed(
            f"job {row.id} is {row.state}" + (" and being undone" if row.unwinding else ""),
            remedy=f"allowed now: {', '.join(can) or 'nothing'}",
            state=row.state,
            allowedOperations=list(can),
        )


def allowed_for(row: JobRow) -> tuple[JobOperation, ...]:
    """What an operator can do with a job now."""
    return allowed(
        WorkState(row.state),
        unwinding_of(row),
        is_final=row.is_final,
        is_cancelled=row.cancel_asked_at is not None,
    )


async def _require_free(uow: UnitOfWork, subject: str | None) -> None:
    if subject is None:
        return
    standing = await uow.session.scalar(select(JobRow.id).where(JobRow.standing_for == subject))
    if standing is not None:
        raise _stands(subject, standing)


async def _flush(uow: UnitOfWork, subject: str | None) -> None:
    try:
        await uow.session.flush()
    except IntegrityError as error:
        if subject is None:
            raise
        raise _stands(subject, None) from error


def _stands(subject: str, job_id: str | None) -> JobStands:
    what = "another job" if job_id is None else f"job {job_id}"
    return JobStands(
        f"{what} of {subject} is not over",
        remedy="wait until it is: go2cloud job watch; or cancel it",
        job=job_id,
    )


async def _require_newest(uow: UnitOfWork, row: JobRow) -> None:
    if row.subject is None:
        return
    later = select(JobRow.id).where(JobRow.subject == row.subject, JobRow.id > row.id)
    found = await uow.session.scalar(later.order_by(JobRow.id.desc()).limit(1))
    if found is not None:
        raise JobSuperseded(
            f"{row.subject} had a later job, {found}", remedy="order a new job instead of going on with this"
        )
