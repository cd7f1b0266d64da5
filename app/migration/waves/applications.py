"""Applications: making, reading, changing and removing them. What is outside of the scope is not found."""

from collections.abc import Iterable, Sequence

from sqlalchemy import delete, or_, select, update
from sqlalchemy.exc import IntegrityError

from app.contract.paging import Page, PageRequest, Scope
from app.contract.resources.wave import ApplicationCreate, ApplicationUpdate, ServerOfApplication
from app.kit.database import UnitOfWork
from app.kit.ids import new_id
from app.migration.projects.service import get_project, hold_project
from app.migration.servers.lifecycle import require_source
from app.migration.servers.service import find_in_scope
from app.migration.servers.tables import ServerRow
from app.migration.waves.errors import (
    ApplicationChanged,
    ApplicationNameTaken,
    ApplicationNotFound,
    ProjectsDiffer,
    ServerInApplication,
)
from app.migration.waves.ordering import sorted_parts
from app.migration.waves.parts import parts_of_project
from app.migration.waves.standing import require_no_run
from app.migration.waves.tables import ApplicationOrderRow, ApplicationRow, ApplicationServerRow


async def find_application(uow: UnitOfWork, scope: Scope, ref: str) -> ApplicationRow:
    """One application by id or name. Raises ApplicationNotFound, also where two projects have the name."""
    query = select(ApplicationRow).where(or_(ApplicationRow.id == ref, ApplicationRow.name == ref))
    if scope.project_ids is not None:
        query = query.where(ApplicationRow.project_id.in_(scope.project_ids))
    rows = (await uow.session.scalars(query.limit(2).execution_options(populate_existing=True))).all()
    if len(rows) == 1:
        return rows[0]
    if rows:
        raise ApplicationNotFound(f"several projects have an application {ref!r}", remedy="give its id")
    raise ApplicationNotFound(
        f"there is no application {ref!r}", remedy="list them with: go2cloud application list"
    )


async def page_of_applications(
    uow: UnitOfWork,
    scope: Scope,
    page: PageRequest,
    *,
    project: str | None,
    wave_id: str | None,
    q: str | None,
) -> Page[ApplicationRow]:
    """Applications in the order of their making. Raises ProjectNotFound."""
    query = select(ApplicationRow).order_by(ApplicationRow.id).limit(page.limit + 1)
    if scope.project_ids is not None:
        query = query.where(ApplicationRow.project_id.in_(scope.project_ids))
    if project is not None:
        query = query.where(ApplicationRow.project_id == (await get_project(uow, scope, project)).id)
    if wave_id is not None:
        query = query.where(ApplicationRow.wave_id == wave_id)
    if q:
        query = query.where(ApplicationRow.name.icontains(q, autoescape=True))
    if page.after is not None:
        query = query.where(ApplicationRow.id > page.after)
    rows = (await uow.session.scalars(query)).all()
    items = tuple(rows[: page.limit])
    return Page(items, items[-1].id if len(rows) > page.limit else None)


async def create_application(uow: UnitOfWork, scope: Scope, wanted: ApplicationCreate) -> ApplicationRow:
    """Create an application.

    Raises ProjectNotFound, ApplicationNameTaken, ServerNotFound, ServerInApplication, ProjectsDiffer,
    ApplicationNotFound, ApplicationOrderCircular.
    """
    project = await get_project(uow, scope, wanted.project)
    await hold_project(uow, project.id)
    row = ApplicationRow(
        id=new_id("app"),
        project_id=project.id,
        name=wanted.name,
        description=wanted.description,
        created_at=uow.now,
        version=1,
    )
    uow.session.add(row)
    try:
        await uow.session.flush()
    except IntegrityError as error:
        raise _taken(wanted.name) from error
    await _set_servers(uow, scope, row, wanted.servers)
    await _set_after(uow, scope, row, wanted.after)
    return row


async def update_application(
    uow: UnitOfWork, scope: Scope, ref: str, version: int, changes: ApplicationUpdate
) -> ApplicationRow:
    """Change an application that is at `version`; a run that stands goes on as it was ordered.

    Raises as `create_application`, and ApplicationChanged.
    """
    row = await find_application(uow, scope, ref)
    await hold_project(uow, row.project_id)
    values: dict[str, object] = changes.model_dump(include={"name", "description"}, exclude_none=True)
    values["version"] = version + 1
    same = update(ApplicationRow).where(ApplicationRow.id == row.id, ApplicationRow.version == version)
    try:
        changed = await uow.changed(same.values(**values))
    except IntegrityError as error:
        raise _taken(changes.name or "") from error
    if not changed:
        raise ApplicationChanged(
            f"application {row.name!r} is at version {row.version}, not {version}",
            remedy="read it again and repeat the change",
        )
    if changes.servers is not None:
        await _set_servers(uow, scope, row, changes.servers)
    if changes.after is not None:
        await _set_after(uow, scope, row, changes.after)
    return await find_application(uow, scope, row.id)


async def delete_application(uow: UnitOfWork, scope: Scope, ref: str, version: int) -> ApplicationRow:
    """Remove an application; its servers stay, and jobs of its runs, too. What it was.

    Raises ApplicationNotFound, ApplicationChanged, RunStands.
    """
    row = await find_application(uow, scope, ref)
    await hold_project(uow, row.project_id)
    await require_no_run(uow, row.wave_id, [row.id])
    if row.version != version:
        raise ApplicationChanged(
            f"application {row.name!r} is at version {row.version}, not {version}",
            remedy="read it again before you delete it",
        )
    orders = or_(ApplicationOrderRow.application_id == row.id, ApplicationOrderRow.after_id == row.id)
    await uow.session.execute(delete(ApplicationOrderRow).where(orders))
    mine = ApplicationServerRow.application_id == row.id
    await uow.session.execute(delete(ApplicationServerRow).where(mine))
    await uow.session.execute(delete(ApplicationRow).where(ApplicationRow.id == row.id))
    return row


async def _set_servers(
    uow: UnitOfWork, scope: Scope, row: ApplicationRow, wanted: Iterable[ServerOfApplication]
) -> None:
    groups = {
        (await _server(uow, scope, row, each.server)).id: each.group
        for each in wanted  # each by itself: a name may be wrong
    }
    mine = ApplicationServerRow.application_id == row.id
    await uow.session.execute(delete(ApplicationServerRow).where(mine))
    await _require_free(uow, list(groups))
    uow.session.add_all(
        ApplicationServerRow(server_id=server, application_id=row.id, priority_group=group)
        for server, group in groups.items()
    )
    await uow.session.flush()


async def _server(uow: UnitOfWork, scope: Scope, row: ApplicationRow, ref: str) -> ServerRow:
    server = await find_in_scope(uow, scope, ref)
    require_source(server, "being part of an application")
    if server.project_id != row.project_id:
        raise ProjectsDiffer(
            f"server {server.name!r} belongs to another project than application {row.name!r}",
            remedy="make an application in the server's project",
        )
    return server


async def _require_free(uow: UnitOfWork, servers: Sequence[str]) -> None:
    query = (
        select(ServerRow.name, ApplicationRow.name)
        .join(ApplicationServerRow, ApplicationServerRow.server_id == ServerRow.id)
        .join(ApplicationRow, ApplicationRow.id == ApplicationServerRow.application_id)
        .where(ServerRow.id.in_(servers))
        .order_by(ServerRow.name)
    )
    taken = (await uow.session.execute(query)).first()
    if taken is not None:
        raise ServerInApplication(
            f"server {taken[0]!r} belongs to application {taken[1]!r}",
            remedy=f"take it out first: go2cloud application remove {taken[1]} {taken[0]}",
        )


async def _set_after(uow: UnitOfWork, scope: Scope, row: ApplicationRow, wanted: Iterable[str]) -> None:
    others = [await find_application(uow, scope, ref) for ref in wanted]
    foreign = next((other for other in others if other.project_id != row.project_id), None)
    if foreign is not None:
        raise ProjectsDiffer(
            f"application {foreign.name!r} belongs to another project than {row.name!r}",
            remedy="name applications of one project",
        )
    mine = ApplicationOrderRow.application_id == row.id
    await uow.session.execute(delete(ApplicationOrderRow).where(mine))
    ids = dict.fromkeys(other.id for other in others)
    uow.session.add_all(ApplicationOrderRow(application_id=row.id, after_id=after) for after in ids)
    await uow.session.flush()
    sorted_parts(await parts_of_project(uow, row.project_id))


def _taken(name: str) -> ApplicationNameTaken:
    return ApplicationNameTaken(
        f"the project has an application {name!r} already", remedy="choose another name"
    )
