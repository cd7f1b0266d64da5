"""Jobs with the names of their projects and servers; what lies outside of the caller's scope is not found."""

from collections.abc import Sequence

from app.contract.filters import JobFilter
from app.contract.paging import Page, PageRequest, Scope
from app.contract.resources.job import Job
from app.kit.database import UnitOfWork
from app.migration.projects.service import get_project, project_names
from app.migration.servers.service import find_in_scope, server_names
from app.work import service


async def list_jobs(uow: UnitOfWork, scope: Scope, wanted: JobFilter, page: PageRequest) -> Page[Job]:
    """Jobs without their steps, the newest first. Raises ProjectNotFound, ServerNotFound."""
    project = await get_project(uow, scope, wanted.project) if wanted.project else None
    server = await find_in_scope(uow, scope, wanted.server) if wanted.server else None
    found = await service.list_jobs(
        uow,
        scope,
        page,
        project_id=project.id if project else None,
        server_id=server.id if server else None,
        state=wanted.state,
        kind=wanted.kind,
        parent_id=wanted.parent,
    )
    return Page(await _named(uow, found.items), found.next_after)


async def get_job(uow: UnitOfWork, scope: Scope, job_id: str) -> Job:
    """One job with its steps. Raises JobNotFound."""
    (job,) = await _named(uow, [await service.get_job(uow, scope, job_id)])
    return job


async def _named(uow: UnitOfWork, jobs: Sequence[Job]) -> tuple[Job, ...]:
    projects = await project_names(uow, frozenset(job.project_id for job in jobs))
    servers = await server_names(uow, frozenset(job.server_id for job in jobs if job.server_id))
    return tuple(
        job.model_copy(
            update={
                "project_name": projects.get(job.project_id, ""),
                "server_name": servers.get(job.server_id or ""),
            }
        )
        for job in jobs
    )
