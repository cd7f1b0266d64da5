"""Reading jobs."""

from sqlalchemy import select

from app.kit.database import UnitOfWork
from app.work.context import Known
from app.work.tables import JobRow, JobStepRow


async def known_of(uow: UnitOfWork, job_id: str) -> Known:
    """What a step has to know of its job: input, and the results of steps that have succeeded."""
    row = await uow.session.get_one(JobRow, job_id)
    query = select(JobStepRow.name, JobStepRow.result).where(
        JobStepRow.job_id == job_id, JobStepRow.state == "SUCCEEDED"
    )
    results = {name: result for name, result in await uow.session.execute(query)}  # noqa: C416
    return Known(row.project_id, row.server_id, row.input, results)
