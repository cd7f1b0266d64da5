"""Projects: the boundary that servers, tokens and quotas belong to.

A project outside of the caller's scope is not found, like one that does not exist.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from app.contract.paging import EVERYTHING, Page, PageRequest, Scope
from app.contract.resources.pace import Pace
from app.contract.resources.project import ProjectCreate, ProjectUpdate
from app.contract.words import DedupScope
from app.kit.database import UnitOfWork
from app.kit.ids import is_id, new_id
from app.migration.projects.errors import ProjectChanged, ProjectExists, ProjectNotFound
from app.migration.projects.tables import ProjectRow

DEFAULT_PROJECT = "default"


@dataclass(frozen=True, slots=True)
class Project:
    """A project; `version` counts its changes."""

    id: str
    name: str
    description: str
    dedup_scope: DedupScope
    pace: Pace | None
    created_at: datetime
    version: int


async def ensure_default_project(uow: UnitOfWork) -> Project:
    """The project named `default`, created if it is not there."""
    row = await uow.session.scalar(select(ProjectRow).where(ProjectRow.name == DEFAULT_PROJECT))
    if row is not None:
        return _project(row)
    return await create_project(uow, ProjectCreate(name=DEFAULT_PROJECT, description="The first project"))


async def create_project(uow: UnitOfWork, wanted: ProjectCreate) -> Project:
    """Create a project; raises ProjectExists when the name is taken."""
    row = ProjectRow(
        id=new_id("prj"),
        name=wanted.name,
        description=wanted.description,
        dedup_scope=wanted.dedup_scope.value,
        created_at=uow.now,
        version=1,
    )
    uow.session.add(row)
    try:
        await uow.session.flush()
    except IntegrityError as error:
        raise _taken(wanted.name) from error
    return _project(row)


async def list_projects(
    uow: UnitOfWork, scope: Scope, page: PageRequest, q: str | None = None
) -> Page[Project]:
    """Projects of the scope in the order of their making; `q` is a part of the name."""
    query = select(ProjectRow).order_by(ProjectRow.id).limit(page.limit + 1)
    if scope.project_ids is not None:
        query = query.where(ProjectRow.id.in_(scope.project_ids))
    if q:
        query = query.where(ProjectRow.name.contains(q.lower(), autoescape=True))
    if page.after is not None:
        query = query.where(ProjectRow.id > page.after)
    rows = (await uow.session.scalars(query)).all()
    items = tuple(_project(row) for row in rows[: page.limit])
    return Page(items, items[-1].id if len(rows) > page.limit else None)


async def get_project(uow: UnitOfWork, scope: Scope, ref: str) -> Project:
    """One project by id or name; raises ProjectNotFound.

    MariaDB takes a text with trailing blanks for equal to the one without; here it is not.
    """
    query = select(ProjectRow).where((ProjectRow.id if is_id(ref, "prj") else ProjectRow.name) == ref)
    row = await uow.session.scalar(query.execution_options(populate_existing=True))
    if row is None or ref not in (row.id, row.name) or not scope.holds(row.id):
        raise ProjectNotFound(f"there is no project {ref!r}", remedy="list them with: go2cloud project list")
    return _project(row)


async def project_names(uow: UnitOfWork, ids: frozenset[str]) -> dict[str, str]:
    """The names of projects by their ids; unknown ids are left out."""
    rows = await uow.session.execute(select(ProjectRow.id, ProjectRow.name).where(ProjectRow.id.in_(ids)))
    return {row.id: row.name for row in rows}


async def dedup_scope(uow: UnitOfWork, project_id: str) -> DedupScope:
    """Among which servers of the project equal chunks are stored once."""
    value = await uow.session.scalar(select(ProjectRow.dedup_scope).where(ProjectRow.id == project_id))
    return DedupScope(value) if value else DedupScope.SERVER


async def pace_of(uow: UnitOfWork, project_id: str) -> Pace | None:
    """The pace of a project; None for no limit."""
    return _pace(await uow.session.scalar(select(ProjectRow.pace).where(ProjectRow.id == project_id)))


async def hold_project(uow: UnitOfWork, project_id: str) -> None:
    """Let other units that hold the project wait until this one ends: names within it are chosen in turn."""
    row = select(ProjectRow.id).where(ProjectRow.id == project_id).with_for_update()
    await uow.session.execute(row)


async def update_project(
    uow: UnitOfWork, scope: Scope, ref: str, version: int, changes: ProjectUpdate
) -> Project:
    """Change a project that is at `version`.

    Raises ProjectNotFound, ProjectChanged when it is at another version, ProjectExists when the new name is
    taken.
    """
    project = await get_project(uow, scope, ref)
    values = changes.model_dump(exclude_none=True, exclude={"pace"}) | {"version": version + 1}
    if "pace" in changes.model_fields_set:
        values["pace"] = changes.pace and changes.pace.model_dump(mode="json", by_alias=True)
    same = update(ProjectRow).where(ProjectRow.id == project.id, ProjectRow.version == version)
    try:
        changed = await uow.changed(same.values(**values))
    except IntegrityError as error:
        raise _taken(changes.name or "") from error
    if not changed:
        raise ProjectChanged(
            f"project {project.name!r} is at version {project.version}, not {version}",
            remedy="read it again and repeat the change",
        )
    return await get_project(uow, EVERYTHING, project.id)


def _taken(name: str) -> ProjectExists:
    return ProjectExists(f"there is a project {name!r} already", remedy="choose another name")


def _pace(kept: object) -> Pace | None:
    return None if kept is None else Pace.model_validate(kept)


def _project(row: ProjectRow) -> Project:
    return Project(
        id=row.id,
        name=row.name,
        description=row.description,
        dedup_scope=DedupScope(row.dedup_scope),
        pace=_pace(row.pace),
        created_at=row.created_at,
        version=row.version,
    )
