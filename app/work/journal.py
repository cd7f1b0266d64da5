"""Writing in the rows of a job: under its lock, and where a worker does it, under its fence.

Every change of a job begins with an update of its row that names what must hold (the fence and the holder,
or the id alone for an operator). It matches no row where that does not hold any more, and locks the row for
the rest of the unit otherwise, so that what is read after it cannot change under the writer.
"""

from dataclasses import dataclass
from functools import partial

from sqlalchemy import delete, select, update

from app.contract.callbackwords import EventKind
from app.contract.words import JobEventLevel, WorkState
from app.kit.bus import Bus, Event
from app.kit.database import UnitOfWork
from app.kit.errors import Json
from app.work.errors import Fenced, JobNotFound
from app.work.states import (
    STANDING,
    TRANSITIONS,
    JobAction,
    Move,
    Run,
    StepStanding,
    Undo,
    Unwinding,
    next_move,
)
from app.work.tables import MOST_TEXT, JobEventRow, JobRow, JobStepRow

MOST_EVENTS = 10_000
"""Events that are kept of a job; older ones give way."""

JOB_EVENT = "job.updated"


@dataclass(frozen=True, slots=True)
class Claim:
    """A worker's right to a job, good as long as the row says the same."""

    job_id: str
    holder: str
    fence: int


@dataclass(frozen=True, slots=True)
class Note:
    """An event to be written down."""

    text: str
    level: JobEventLevel = JobEventLevel.INFO
    step: str | None = None
    server_id: str | None = None


async def hold(uow: UnitOfWork, claim: Claim) -> JobRow:
    """The claimed job, locked, with a beat more. Raises Fenced when the claim is good no longer."""
    held = await uow.changed(
        update(JobRow)
        .where(
            JobRow.id == claim.job_id,
            JobRow.fence == claim.fence,
            JobRow.holder == claim.holder,
            JobRow.state.in_(STANDING),
        )
        .values(beat=JobRow.beat + 1)
    )
    if not held:
        raise Fenced(f"job {claim.job_id} is no longer ours under fence {claim.fence}")
    return await _read(uow, claim.job_id)


async def lock(uow: UnitOfWork, job_id: str) -> JobRow:
    """The job, locked against its worker; a holder's sign of life it is not. Raises JobNotFound."""
    same = update(JobRow).where(JobRow.id == job_id).values(event_count=JobRow.event_count)
    if not await uow.changed(same):
        raise JobNotFound(f"there is no job {job_id}", remedy="list them with: go2cloud job list")
    return await _read(uow, job_id)


async def _read(uow: UnitOfWork, job_id: str) -> JobRow:
    return await uow.session.get_one(JobRow, job_id, populate_existing=True)


async def steps_of(uow: UnitOfWork, job_id: str) -> list[JobStepRow]:
    """The journal of a job in the order of its steps, as it is now."""
    query = select(JobStepRow).where(JobStepRow.job_id == job_id).order_by(JobStepRow.number)
    return list(await uow.session.scalars(query.execution_options(populate_existing=True)))


def change(row: JobRow, action: JobAction) -> None:
    """Change the state of a job by the table; raises KeyError for what the table has not."""
    row.state = TRANSITIONS[WorkState(row.state), action]


def unwinding_of(row: JobRow) -> Unwinding | None:
    """Why the job is being undone, if it is."""
    return Unwinding(row.unwinding) if row.unwinding else None


def move_of(row: JobRow, steps: list[JobStepRow]) -> Move:
    """What is to be done next of a job."""
    standings = [StepStanding(WorkState(step.state), step.undone_at is not None) for step in steps]
    return next_move(standings, unwinding_of(row))


def point(row: JobRow, steps: list[JobStepRow]) -> Move:
    """Let the job's row name its next step and the place where that has to run."""
    move = move_of(row, steps)
    if isinstance(move, Run | Undo):
        row.step = move.number
        row.place = steps[move.number].place
    return move


async def note(uow: UnitOfWork, row: JobRow, *notes: Note) -> None:
    """Write events of a job whose row is locked."""
    for each in notes:
        row.event_count += 1
        uow.session.add(
            JobEventRow(
                job_id=row.id,
                number=row.event_count,
                at=uow.now,
                level=each.level,
                step=each.step,
                server_id=each.server_id or row.server_id,
                text=each.text[:MOST_TEXT],
            )
        )
    await uow.session.flush()
    if notes and row.event_count > MOST_EVENTS:
        old = JobEventRow.number <= row.event_count - MOST_EVENTS
        await uow.session.execute(delete(JobEventRow).where(JobEventRow.job_id == row.id, old))


def tell(uow: UnitOfWork, bus: Bus, row: JobRow, *, frees: bool = False) -> None:
    """Say on the bus how a job stands, once the unit is committed.

    Workers look for work then, if the job waits for one at their place, or if its end `frees` others.
    """
    is_ready = row.state in STANDING and not row.holder
    data: dict[str, Json] = {
        "kind": row.kind,
        "state": row.state,
        "progress": row.progress,
        "server": row.server_id,
        "parent": row.parent_id,
        "ready": row.place if is_ready else None,
        "frees": frees,
    }
    event = Event(JOB_EVENT, uow.now, project=row.project_id, subject=row.id, data=data)
    uow.afterwards.append(partial(bus.publish, event))


def announce(uow: UnitOfWork, row: JobRow, kind: EventKind) -> None:
    """Tell those outside that a job began or ended: news of the unit itself, which subscriptions hear of."""
    data: dict[str, Json] = {
        "kind": row.kind,
        "state": row.state,
        "server": row.server_id,
        "parent": row.parent_id,
        "requestedBy": row.requested_by,
        "code": row.code,
    }
    uow.news.append(Event(kind, uow.now, project=row.project_id, subject=row.id, data=data))
