"""Targets by project; one outside of the caller's scope is not found."""

from collections.abc import Mapping, Sequence

from sqlalchemy import or_, select, update
from sqlalchemy.exc import IntegrityError

from app.contract.paging import Page, PageRequest, Scope
from app.contract.resources.target import Target, TargetCreate, TargetUpdate, TargetValidation
from app.contract.words import ImageFormat, TargetMakes
from app.kit.database import UnitOfWork
from app.kit.errors import Json
from app.kit.ids import new_id
from app.migration.projects.service import get_project
from app.migration.services import Services
from app.migration.targets.errors import (
    TargetBuiltIn,
    TargetChanged,
    TargetExists,
    TargetNotFound,
    TargetUnfit,
)
from app.migration.targets.kinds import KINDS
from app.migration.targets.opening import BUILT_IN, limit_key, node_of
from app.migration.targets.settings import checked
from app.migration.targets.tables import TargetRow
from app.migration.targets.validating import TARGET_VALIDATE, Validated
from app.work.jobs import Order
from app.work.limits import Limit

MANY = 100
"""Jobs that may look at one target at once."""


async def list_targets(uow: UnitOfWork, scope: Scope, page: PageRequest) -> Page[Target]:
    """The built-in target, then those of the scope in the order of their making."""
    query = select(TargetRow).order_by(TargetRow.id).limit(page.limit + 1)
    if scope.project_ids is not None:
        query = query.where(TargetRow.project_id.in_(scope.project_ids))
    if page.after is not None:
        query = query.where(TargetRow.id > page.after)
    rows = (await uow.session.scalars(query)).all()
    first = (view(None),) if page.after is None else ()
    items = tuple(view(row) for row in rows[: page.limit])
    return Page((*first, *items), items[-1].id if len(rows) > page.limit else None)


async def find_target(uow: UnitOfWork, scope: Scope, ref: str) -> TargetRow | None:
    """A target by id or name; None for the built-in one.

    Raises TargetNotFound, also where a name fits targets of two projects.
    """
    if ref == BUILT_IN:
        return None
    query = select(TargetRow).where(or_(TargetRow.id == ref, TargetRow.name == ref))
    if scope.project_ids is not None:
        query = query.where(TargetRow.project_id.in_(scope.project_ids))
    rows = (await uow.session.scalars(query.limit(2).execution_options(populate_existing=True))).all()
    if len(rows) == 1:
        return rows[0]
    if rows:
        raise TargetNotFound(f"several projects have a target {ref!r}", remedy="give the target's id")
    raise TargetNotFound(f"there is no target {ref!r}", remedy="list them with: go2cloud target list")


async def find_making(uow: UnitOfWork, project_id: str, ref: str, makes: TargetMakes) -> TargetRow | None:
    """A target for a server of the project that makes this; None for the built-in one.

    Raises TargetNotFound, TargetUnfit.
    """
    row = await find_target(uow, Scope(frozenset({project_id})), ref)
    found = view(row)
    if found.makes is not makes:
        raise TargetUnfit(
            f"target {found.name!r} is of kind {found.kind} and makes {found.makes}, not {makes}",
            remedy="name another target: go2cloud target list",
        )
    return row


async def find_publishing(
    uow: UnitOfWork, project_id: str, ref: str, formats: Sequence[ImageFormat] | None
) -> TargetRow | None:
    """A target for a server of the project that can be published to, in these formats where any are named.

    Raises TargetNotFound, TargetUnfit.
    """
    row = await find_target(uow, Scope(frozenset({project_id})), ref)
    found = view(row)
    if not KINDS[found.kind].publishes:
        return await find_making(uow, project_id, ref, TargetMakes.IMAGES)
    if formats:
        raise TargetUnfit(
            f"target {found.name!r} is of kind {found.kind}, whose images have no file format",
            remedy="publish without a format, or name another target: go2cloud target list",
        )
    return row


async def get_target(uow: UnitOfWork, scope: Scope, ref: str) -> Target:
    """One target by id or name. Raises TargetNotFound."""
    return view(await find_target(uow, scope, ref))


async def create_target(uow: UnitOfWork, scope: Scope, wanted: TargetCreate) -> Target:
    """Create a target. Raises ProjectNotFound, TargetInvalid, TargetExists."""
    project = await get_project(uow, scope, wanted.project)
    row = TargetRow(
        id=new_id("tgt"),
        project_id=project.id,
        name=wanted.name,
        kind=wanted.kind,
        settings=_kept(wanted.kind, wanted.settings),
        created_at=uow.now,
        updated_at=uow.now,
        version=1,
    )
    if wanted.name == BUILT_IN:
        raise _taken(wanted.name)
    uow.session.add(row)
    try:
        await uow.session.flush()
    except IntegrityError as error:
        raise _taken(wanted.name) from error
    return view(row)


async def update_target(
    uow: UnitOfWork, scope: Scope, ref: str, version: int, changes: TargetUpdate
) -> Target:
    """Change a target that is at `version`.

    Raises TargetNotFound, TargetBuiltIn, TargetInvalid, TargetChanged, TargetExists.
    """
    row = require_own(await find_target(uow, scope, ref))
    values: dict[str, object] = {"version": version + 1, "updated_at": uow.now}
    if changes.name is not None:
        values["name"] = changes.name
    if changes.settings is not None:
        values["settings"] = _kept(row.kind, changes.settings)
    if changes.name == BUILT_IN:
        raise _taken(BUILT_IN)
    same = update(TargetRow).where(TargetRow.id == row.id, TargetRow.version == version)
    try:
        changed = await uow.changed(same.values(**values))
    except IntegrityError as error:
        raise _taken(changes.name or row.name) from error
    if not changed:
        raise changed_meanwhile(row, version)
    return await get_target(uow, scope, row.id)


def require_own(row: TargetRow | None) -> TargetRow:
    """Raises TargetBuiltIn for the built-in target."""
    if row is None:
        raise TargetBuiltIn(
            f"the target {BUILT_IN} is built in", remedy="create one of your own of the same kind"
        )
    return row


def changed_meanwhile(row: TargetRow, version: int) -> TargetChanged:
    """The target is not at this version."""
    return TargetChanged(
        f"target {row.name!r} is at version {row.version}, not {version}",
        remedy="read it again and repeat the change",
    )


async def order_validation(
    services: Services, uow: UnitOfWork, scope: Scope, ref: str, wanted: TargetValidation, by: str
) -> str:
    """Let a node look whether the target works there; the id of the job, whose result are the findings.

    Raises TargetNotFound, ProjectNotFound.
    """
    row = await find_target(uow, scope, ref)
    project = row.project_id if row is not None else (await get_project(uow, scope, wanted.project)).id
    order = Order(
        project,
        Validated(BUILT_IN if row is None else row.id),
        limits=(Limit(limit_key(row), MANY),),
        node=wanted.node or node_of(row),
        requested_by=by,
    )
    return await services.jobs.enqueue(uow, TARGET_VALIDATE, order)


def _kept(kind: str, settings: Mapping[str, object]) -> dict[str, Json]:
    return checked(kind, settings).model_dump(mode="json", by_alias=True, exclude_unset=True)


def _taken(name: str) -> TargetExists:
    return TargetExists(f"there is a target {name!r} already", remedy="choose another name")


def view(row: TargetRow | None) -> Target:
    """A target as the API shows it."""
    if row is None:
        makes = KINDS[BUILT_IN].makes
        return Target(
            id=BUILT_IN, name=BUILT_IN, kind=BUILT_IN, makes=makes, settings={}, built_in=True, version=0
        )
    return Target(
        id=row.id,
        project_id=row.project_id,
        name=row.name,
        kind=row.kind,
        makes=KINDS[row.kind].makes,
        settings=row.settings,
        created_at=row.created_at,
        updated_at=row.updated_at,
        version=row.version,
    )
