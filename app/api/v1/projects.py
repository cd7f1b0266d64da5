"""Projects."""

from typing import Annotated

from fastapi import APIRouter, Query, Response, status

from app.api.audit import Audit
from app.api.auth import Administrator, Operator, Viewer
from app.api.bodies import UnitRoute
from app.api.conditional import IfMatch, tag
from app.api.paging import Paging, listing
from app.api.repeats import Once
from app.contract.resources.base import Listing
from app.contract.resources.project import Project, ProjectCreate, ProjectUpdate
from app.kit.transaction import Uow
from app.migration.projects import service

router = APIRouter(route_class=UnitRoute)


@router.get("/projects")
async def list_projects(
    uow: Uow,
    who: Viewer,
    page: Paging,
    q: Annotated[str | None, Query(description="Part of the name")] = None,
) -> Listing[Project]:
    """The projects that the caller sees."""
    return listing(Project, await service.list_projects(uow, who.scope, page, q))


@router.post("/projects", status_code=status.HTTP_201_CREATED)
async def create_project(
    uow: Uow, who: Administrator, once: Once, record: Audit, response: Response, body: ProjectCreate
) -> Project:
    """Create a project."""

    async def create() -> service.Project:
        made = await service.create_project(uow, body)
        await record("project.create", made.id, made.id, name=made.name)
        return made

    project = await once(body, create, lambda known: service.get_project(uow, who.scope, known))
    tag(response, project)
    return Project.model_validate(project)


@router.get("/projects/{project}")
async def get_project(uow: Uow, who: Viewer, response: Response, project: str) -> Project:
    """One project, by id or name."""
    found = await service.get_project(uow, who.scope, project)
    tag(response, found)
    return Project.model_validate(found)


@router.patch("/projects/{project}")
async def update_project(
    uow: Uow,
    who: Operator,
    record: Audit,
    response: Response,
    project: str,
    version: IfMatch,
    body: ProjectUpdate,
) -> Project:
    """Change the name, description or pace of a project; a null pace takes its limit away."""
    changed = await service.update_project(uow, who.scope, project, version, body)
    said = body.model_dump(mode="json", exclude_unset=True, by_alias=True)
    await record("project.update", changed.id, changed.id, **said)
    tag(response, changed)
    return Project.model_validate(changed)
