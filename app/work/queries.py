"""Reading jobs, their steps and events."""

from collections.abc import Sequence

from sqlalchemy import func, select

from app.contract.paging import Page, PageRequest, Scope
from app.contract.words import WorkState
from app.kit.database import UnitOfWork
from app.work.context import Known
from app.work.errors import JobNotFound
from app.work.tables import JobEventRow, JobLimitRow, JobRow, JobSlotRow, JobStepRow


async def known_of(uow: UnitOfWork, job_id: str) -> Known:
    """What a step has to know of its job: input, and the results of steps that have succeeded."""
    row = await uow.session.get_one(JobRow, job_id)
    query = select(JobStepRow.name, JobStepRow.result).where(
        JobStepRow.job_id == job_id, JobStepRow.state == WorkState.SUCCEEDED
    )
    results = {name: result for name, result in await uow.session.execute(query)}  # noqa: C416  (typed rows)
    return Known(row.project_id, row.server_id, row.input, results)


async def find_job(uow: UnitOfWork, scope: Scope, job_id: str) -> JobRow:
    """One job of the scope. Raises JobNotFound."""
    row = await uow.session.get(JobRow, job_id, populate_existing=True)
    if row is None or not scope.holds(row.project_id):
        raise JobNotFound(f"there is no job {job_id!r}", remedy="list them with: go2cloud job list")
    return row


async def page_of_jobs(
    uow: UnitOfWork, scope: Scope, page: PageRequest, **members: str | None
) -> Page[JobRow]:
    """Jobs of the scope, the newest first; `members` are columns that must have a value (None: any)."""
    query = select(JobRow).order_by(JobRow.id.desc()).limit(page.limit + 1)
    if scope.project_ids is not None:
        query = query.where(JobRow.project_id.in_(scope.project_ids))
    for name, value in members.items():
        if value is not None:
            query = query.where(getattr(JobRow, name) == value)
    if page.after is not None:
        query = query.where(JobRow.id < page.after)
    rows = (await uow.session.scalars(query)).all()
    items = tuple(rows[: page.limit])
    return Page(items, items[-1].id if len(rows) > page.limit else None)


async def page_of_events(
    uow: UnitOfWork, job_id: str, page: PageRequest, after: int | None
) -> Page[JobEventRow]:
    """The events of a job after the number `after`, the oldest first; a cursor wins over `after`."""
    number = after if page.after_number is None else page.after_number
    query = select(JobEventRow).where(JobEventRow.job_id == job_id, JobEventRow.number > (number or 0))
    rows = (await uow.session.scalars(query.order_by(JobEventRow.number).limit(page.limit + 1))).all()
    items = tuple(rows[: page.limit])
    return Page(items, str(items[-1].number) if len(rows) > page.limit else None)


async def step_names(uow: UnitOfWork, rows: Sequence[JobRow]) -> dict[str, str]:
    """The name of the step that each job stands at, by the job's id."""
    ids = [row.id for row in rows]
    query = select(JobStepRow.job_id, JobStepRow.name).join(JobRow, JobRow.id == JobStepRow.job_id)
    found = await uow.session.execute(query.where(JobRow.id.in_(ids), JobStepRow.number == JobRow.step))
    return {job_id: name for job_id, name in found}  # noqa: C416  (typed rows)


async def full_limits(uow: UnitOfWork, rows: Sequence[JobRow]) -> dict[str, JobLimitRow]:
    """The first limit of each job that lets it wait, by the job's id."""
    ids = [row.id for row in rows]
    limits = (await uow.session.scalars(select(JobLimitRow).where(JobLimitRow.job_id.in_(ids)))).all()
    keys = {limit.key for limit in limits}
    counted = select(JobSlotRow.key, func.count()).where(JobSlotRow.key.in_(keys)).group_by(JobSlotRow.key)
    taken = {key: count for key, count in await uow.session.execute(counted)}  # noqa: C416  (typed rows)
    full = [limit for limit in limits if taken.get(limit.key, 0) >= limit.most]
    return {limit.job_id: limit for limit in sorted(full, key=lambda limit: limit.key, reverse=True)}
