"""Jobs as the contract shows them; the catalogue adds the names of projects and servers."""

from collections.abc import Sequence
from datetime import datetime

from app.contract.paging import Page, PageRequest, Scope
from app.contract.resources.job import Job, JobEvent, JobStep, JobWaiting
from app.contract.words import JobEventLevel, Place, WaitReason, WorkState
from app.kit.database import UnitOfWork
from app.work import pauses, queries
from app.work.jobs import allowed_for
from app.work.journal import steps_of
from app.work.states import STANDING
from app.work.tables import JobEventRow, JobLimitRow, JobRow, JobStepRow


async def get_job(uow: UnitOfWork, scope: Scope, job_id: str) -> Job:
    """One job with its steps. Raises JobNotFound."""
    row = await queries.find_job(uow, scope, job_id)
    (view,) = await _views(uow, [row])
    steps = await steps_of(uow, row.id)
    more = {"result": row.result, "steps": tuple(_step(step) for step in steps)}
    return view.model_copy(update=more)


async def list_jobs(
    uow: UnitOfWork,
    scope: Scope,
    page: PageRequest,
    *,
    project_id: str | None = None,
    server_id: str | None = None,
    state: WorkState | None = None,
    kind: str | None = None,
    parent_id: str | None = None,
) -> Page[Job]:
    """Jobs without their steps, the newest first."""
    found = await queries.page_of_jobs(
        uow,
        scope,
        page,
        project_id=project_id,
        server_id=server_id,
        state=state,
        kind=kind,
        parent_id=parent_id,
    )
    return Page(await _views(uow, found.items), found.next_after)


async def list_events(
    uow: UnitOfWork, scope: Scope, job_id: str, page: PageRequest, after: int | None = None
) -> Page[JobEvent]:
    """The events of a job after a number, the oldest first. Raises JobNotFound."""
    row = await queries.find_job(uow, scope, job_id)
    found = await queries.page_of_events(uow, row.id, page, after)
    return Page(tuple(_event(event) for event in found.items), found.next_after)


async def _views(uow: UnitOfWork, rows: Sequence[JobRow]) -> tuple[Job, ...]:
    names = await queries.step_names(uow, rows)
    waiting = [row for row in rows if row.state in STANDING and not row.holder]
    full = await queries.full_limits(uow, [row for row in waiting if not row.has_slots])
    waits = {row.id: _waiting(row, full.get(row.id), uow.now) for row in waiting}
    return tuple(_view(row, names.get(row.id, ""), waits.get(row.id)) for row in rows)


def _view(row: JobRow, step: str, waiting: JobWaiting | None) -> Job:
    return Job(
        id=row.id,
        kind=row.kind,
        project_id=row.project_id,
        server_id=row.server_id,
        parent_id=row.parent_id,
        state=WorkState(row.state),
        undoing=row.unwinding is not None or (row.cancel_asked_at is not None and row.state in STANDING),
        step=step,
        progress=row.progress,
        progress_text=row.progress_text,
        waiting=waiting,
        priority=row.priority,
        node=row.node,
        requested_by=row.requested_by,
        code=row.code,
        detail=row.detail,
        remedy=row.remedy,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        allowed_operations=allowed_for(row),
    )


def _waiting(row: JobRow, full: JobLimitRow | None, now: datetime) -> JobWaiting:
    if row.is_parked:
        return JobWaiting(reason=WaitReason.CHILDREN, detail="for the jobs that it has ordered")
    if row.not_before is not None and now < row.not_before <= now + pauses.MOST:
        at = f"{row.not_before:%H:%M:%S}Z"
        return JobWaiting(reason=WaitReason.RETRY, detail=f"until the step is tried again at {at}")
    if full is not None:
        text = f"for others: {full.key} lets {full.most} run at once"
        return JobWaiting(reason=WaitReason.LIMIT, detail=text)
    if row.node is not None and row.place == Place.VOLUMES:
        return JobWaiting(reason=WaitReason.NODE, detail=f"for a worker on node {row.node}")
    role = "agent" if row.place == Place.VOLUMES else "api"
    return JobWaiting(reason=WaitReason.WORKER, detail=f"for a free worker of role {role}")


def _step(row: JobStepRow) -> JobStep:
    return JobStep(
        name=row.name,
        place=Place(row.place),
        state=WorkState(row.state),
        attempts=row.attempts,
        result=row.result,
        code=row.code,
        detail=row.detail,
        remedy=row.remedy,
        started_at=row.started_at,
        finished_at=row.finished_at,
        undone_at=row.undone_at,
    )


def _event(row: JobEventRow) -> JobEvent:
    return JobEvent(
        number=row.number,
        time=row.at,
        level=JobEventLevel(row.level),
        step=row.step,
        server_id=row.server_id,
        text=row.text,
    )
