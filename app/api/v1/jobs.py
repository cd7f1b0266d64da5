"""Jobs: the long operations, their steps and events, and cancelling or retrying them."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Response, status

from app.api.audit import Audit, Auditor
from app.api.auth import Operator, Viewer
from app.api.bodies import UnitRoute
from app.api.context import Serving
from app.api.paging import Paging, listing
from app.contract.filters import JobFilter
from app.contract.paging import Scope
from app.contract.resources.base import Listing
from app.contract.resources.job import Job, JobEvent
from app.contract.words import WorkState
from app.kit.database import UnitOfWork
from app.kit.transaction import Uow
from app.migration.catalogue import jobs as catalogue
from app.work.service import list_events

router = APIRouter(route_class=UnitRoute)

MOST_NUMBER: Final = (1 << 31) - 1
"""Of an event: what its column holds."""


def _filters(
    project: Annotated[str | None, Query(description="Id or name")] = None,
    server: Annotated[str | None, Query(description="Id or name")] = None,
    state: WorkState | None = None,
    kind: Annotated[str | None, Query(description="Such as server.test")] = None,
    parent: Annotated[str | None, Query(description="Id of the job that owns them")] = None,
) -> JobFilter:
    return JobFilter(project, server, state, kind, parent)


Filters = Annotated[JobFilter, Depends(_filters)]


@router.get("/jobs")
async def list_jobs(uow: Uow, who: Viewer, page: Paging, filters: Filters) -> Listing[Job]:
    """The jobs of the caller's projects without their steps, the newest first."""
    return listing(Job, await catalogue.list_jobs(uow, who.scope, filters, page))


@router.get("/jobs/{job}")
async def get_job(uow: Uow, who: Viewer, job: str) -> Job:
    """One job with its steps."""
    return await catalogue.get_job(uow, who.scope, job)


@router.get("/jobs/{job}/events")
async def list_job_events(
    uow: Uow,
    who: Viewer,
    page: Paging,
    job: str,
    after: Annotated[
        int | None, Query(ge=0, le=MOST_NUMBER, description="Only events with a higher number")
    ] = None,
) -> Listing[JobEvent]:
    """What happened in a job, the oldest first."""
    return listing(JobEvent, await list_events(uow, who.scope, job, page, after))


@router.post("/jobs/{job}:cancel", status_code=status.HTTP_202_ACCEPTED)
async def cancel_job(
    uow: Uow, serving: Serving, who: Operator, record: Audit, response: Response, job: str
) -> Job:
    """Tell the running step to stop and undo what was done; a job that is being cancelled stays as it is."""
    await serving.jobs.cancel(uow, who.scope, job)
    return await _changed(uow, who.scope, record, response, job, "job.cancel")


@router.post("/jobs/{job}:retry", status_code=status.HTTP_202_ACCEPTED)
async def retry_job(
    uow: Uow, serving: Serving, who: Operator, record: Audit, response: Response, job: str
) -> Job:
    """Let a failed job go on at the step that failed."""
    await serving.jobs.retry(uow, who.scope, job)
    return await _changed(uow, who.scope, record, response, job, "job.retry")


async def _changed(
    uow: UnitOfWork, scope: Scope, record: Auditor, response: Response, job: str, action: str
) -> Job:
    found = await catalogue.get_job(uow, scope, job)
    await record(action, found.id, found.project_id, kind=found.kind)
    response.headers["Location"] = f"/api/v1/jobs/{found.id}"
    return found
