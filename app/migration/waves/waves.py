"""Waves: making, reading, changing and removing them. What is outside of the scope is not found."""

from collections.abc import Iterable

from sqlalchemy import or_, select, update
from sqlalchemy.exc import IntegrityError

from app.contract.paging import Page, PageRequest, Scope
from app.contract.resources.wave import WaveCreate, WaveUpdate
from app.kit.database import UnitOfWork
from app.kit.ids import new_id
from app.migration.projects.service import get_project, hold_project
from app.migration.waves.applications import find_application
from app.migration.waves.errors import (
    ApplicationInWave,
    ProjectsDiffer,
    WaveChanged,
    WaveNameTaken,
    WaveNotFound,
)
from app.migration.waves.standing import require_no_run
from app.migration.waves.tables import ApplicationRow, WaveRow


async def find_wave(uow: UnitOfWork, scope: Scope, ref: str) -> WaveRow:
    """One wave by id or name. Raises WaveNotFound, also where two projects have the name."""
    query = select(WaveRow).where(or_(WaveRow.id == ref, WaveRow.name == ref))
    if scope.project_ids is not None:
        query = query.where(WaveRow.project_id.in_(scope.project_ids))
    rows = (await uow.session.scalars(query.limit(2).execution_options(populate_existing=True))).all()
    if len(rows) == 1:
        return rows[0]
    if rows:
        raise WaveNotFound(f"several projects have a wave {ref!r}", remedy="give its id")
    raise WaveNotFound(f"there is no wave {ref!r}", remedy="list them with: go2cloud wave list")


async def page_of_waves(
    uow: UnitOfWork, scope: Scope, page: PageRequest, *, project: str | None, q: str | None
) -> Page[WaveRow]:
    """Waves in the order of their making. Raises ProjectNotFound."""
    query = select(WaveRow).order_by(WaveRow.id).limit(page.limit + 1)
    if scope.project_ids is not None:
        query = query.where(WaveRow.project_id.in_(scope.project_ids))
    if project is not None:
        query = query.where(WaveRow.project_id == (await get_project(uow, scope, project)).id)
    if q:
        query = query.where(WaveRow.name.icontains(q, autoescape=True))
    if page.after is not None:
        query = query.where(WaveRow.id > page.after)
    rows = (await uow.session.scalars(query)).all()
    items = tuple(rows[: page.limit])
    return Page(items, items[-1].id if len(rows) > page.limit else None)


async def applications_of(uow: UnitOfWork, wave_id: str) -> list[str]:
    """The ids of a wave's applications."""
    query = select(ApplicationRow.id).where(ApplicationRow.wave_id == wave_id)
    return list(await uow.session.scalars(query.order_by(ApplicationRow.name)))


async def create_wave(uow: UnitOfWork, scope: Scope, wanted: WaveCreate) -> WaveRow:
    """Create a wave.

    Raises ProjectNotFound, WaveNameTaken, ApplicationNotFound, ApplicationInWave, ProjectsDiffer.
    """
    project = await get_project(uow, scope, wanted.project)
    await hold_project(uow, project.id)
    row = WaveRow(
        id=new_id("wav"),
        project_id=project.id,
        name=wanted.name,
        description=wanted.description,
        planned_at=wanted.planned_at,
        servers_at_once=wanted.servers_at_once,
        stop_after_failures=wanted.stop_after_failures,
        created_at=uow.now,
        version=1,
    )
    uow.session.add(row)
    try:
        await uow.session.flush()
    except IntegrityError as error:
        raise _taken(wanted.name) from error
    await _set_applications(uow, scope, row, wanted.applications)
    return row


async def update_wave(uow: UnitOfWork, scope: Scope, ref: str, version: int, changes: WaveUpdate) -> WaveRow:
    """Change a wave that is at `version`; a run that stands goes on as it was ordered.

    Raises WaveNotFound, WaveChanged, WaveNameTaken, ApplicationNotFound, ApplicationInWave, ProjectsDiffer.
    """
    row = await find_wave(uow, scope, ref)
    await hold_project(uow, row.project_id)
    same = update(WaveRow).where(WaveRow.id == row.id, WaveRow.version == version)
    try:
        changed = await uow.changed(same.values(**_values(changes), version=version + 1))
    except IntegrityError as error:
        raise _taken(changes.name or "") from error
    if not changed:
        raise _changed(row, version)
    if changes.applications is not None:
        await _set_applications(uow, scope, row, changes.applications)
    return await find_wave(uow, scope, row.id)


def _values(changes: WaveUpdate) -> dict[str, object]:
    """The columns to be set. The planned date and the failures may be set to null, the others may not."""
    always = {"name", "description", "servers_at_once"}
    values: dict[str, object] = changes.model_dump(include=always, exclude_none=True)
    for name in ("planned_at", "stop_after_failures"):
        if name in changes.model_fields_set:
            values[name] = getattr(changes, name)
    return values


async def delete_wave(uow: UnitOfWork, scope: Scope, ref: str, version: int) -> WaveRow:
    """Remove a wave; its applications stay, and jobs of its runs, too. What it was.

    Raises WaveNotFound, WaveChanged, RunStands.
    """
    row = await find_wave(uow, scope, ref)
    await hold_project(uow, row.project_id)
    await require_no_run(uow, row.id, await applications_of(uow, row.id))
    if row.version != version:
        raise _changed(row, version)
    await _set_applications(uow, scope, row, ())
    await uow.session.delete(row)
    await uow.session.flush()
    return row


async def _set_applications(uow: UnitOfWork, scope: Scope, row: WaveRow, wanted: Iterable[str]) -> None:
    found = [await find_application(uow, scope, ref) for ref in wanted]
    for application in found:
        await _require_free(uow, row, application)
    ids = [application.id for application in found]
    left = update(ApplicationRow).where(ApplicationRow.wave_id == row.id, ApplicationRow.id.not_in(ids))
    await uow.session.execute(left.values(wave_id=None, version=ApplicationRow.version + 1))
    new = update(ApplicationRow).where(ApplicationRow.id.in_(ids), ApplicationRow.wave_id.is_(None))
    await uow.session.execute(new.values(wave_id=row.id, version=ApplicationRow.version + 1))


async def _require_free(uow: UnitOfWork, row: WaveRow, application: ApplicationRow) -> None:
    if application.project_id != row.project_id:
        raise ProjectsDiffer(
            f"application {application.name!r} belongs to another project than wave {row.name!r}",
            remedy="make a wave in the application's project",
        )
    if application.wave_id not in (None, row.id):
        other = await uow.session.scalar(select(WaveRow.name).where(WaveRow.id == application.wave_id))
        raise ApplicationInWave(
            f"application {application.name!r} belongs to wave {other!r}",
            remedy=f"take it out first: go2cloud wave remove {other} {application.name}",
        )


def _changed(row: WaveRow, version: int) -> WaveChanged:
    return WaveChanged(
        f"wave {row.name!r} is at version {row.version}, not {version}",
        remedy="read it again and repeat the change",
    )


def _taken(name: str) -> WaveNameTaken:
    return WaveNameTaken(f"the project has a wave {name!r} already", remedy="choose another name")
