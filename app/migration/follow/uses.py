"""Deleting a target, which nothing may use, and changing one, at which nothing may live."""

from collections.abc import Sequence

from sqlalchemy import delete, select

from app.contract.paging import Scope
from app.contract.resources.launch import LaunchSettingsUpdate
from app.contract.resources.target import Target, TargetUpdate
from app.kit.database import UnitOfWork
from app.migration.cutover.states import OVER
from app.migration.cutover.tables import CutoverRow
from app.migration.follow.tables import FollowRow
from app.migration.launch.tables import LaunchSettingsRow, TestRow
from app.migration.servers.tables import ServerRow
from app.migration.targets import service
from app.migration.targets.errors import TargetInUse
from app.migration.targets.opening import limit_key, settings_of
from app.migration.targets.service import (
    changed_meanwhile,
    find_target,
    require_own,
    view,
)
from app.migration.targets.settings import checked
from app.migration.targets.tables import TargetRow
from app.work.limits import standing_on

MOST_NAMED = 5


async def delete_target(uow: UnitOfWork, scope: Scope, ref: str, version: int) -> Target:
    """Delete a target that is at `version`; as it was. What it wrote stays where it is.

    Raises TargetNotFound, TargetBuiltIn, TargetInUse, TargetChanged.
    """
    row = require_own(await find_target(uow, scope, ref))
    _require_unused(row, await uses(uow, row))
    gone = delete(TargetRow).where(TargetRow.id == row.id, TargetRow.version == version)
    was = view(row)
    if not await uow.changed(gone):
        raise changed_meanwhile(row, version)
    return was


async def update_target(
    uow: UnitOfWork, scope: Scope, ref: str, version: int, changes: TargetUpdate
) -> Target:
    """Change a target that is at `version`. Its settings stay as they are while something lives there.

    A machine that is looked for at another place passes for one that is gone, and a revert would start the
    source beside it. Raises TargetInUse, and as `app.migration.targets.service.update_target`.
    """
    row = require_own(await find_target(uow, scope, ref))
    if changes.settings is not None and checked(row.kind, changes.settings) != settings_of(row):
        _require_unused(row, await _living(uow, row))
    return await service.update_target(uow, scope, row.id, version, changes)


def _require_unused(row: TargetRow, users: Sequence[str]) -> None:
    if users:
        more = f" and {len(users) - MOST_NAMED} more" if len(users) > MOST_NAMED else ""
        raise TargetInUse(
            f"target {row.name!r} is used by {', '.join(users[:MOST_NAMED])}{more}",
            remedy="end these first",
        )


async def uses(uow: UnitOfWork, row: TargetRow) -> list[str]:
    """What uses a target, in words."""
    return [*await _living(uow, row), *await _followed(uow, row), *await _named(uow, row)]


async def _living(uow: UnitOfWork, row: TargetRow) -> list[str]:
    """What works with a target, or has something there."""
    jobs = [f"job {each}" for each in await standing_on(uow, limit_key(row))]
    return [*jobs, *await _tests(uow, row), *await _cutovers(uow, row)]


async def _tests(uow: UnitOfWork, row: TargetRow) -> list[str]:
    live = select(TestRow.id).where(TestRow.target == row.id, TestRow.terminated_at.is_(None))
    return [f"test {each}" for each in await uow.session.scalars(live)]


async def _cutovers(uow: UnitOfWork, row: TargetRow) -> list[str]:
    live = select(CutoverRow.id).where(CutoverRow.target == row.id, CutoverRow.state.not_in(OVER))
    return [f"cutover {each}" for each in await uow.session.scalars(live)]


async def _followed(uow: UnitOfWork, row: TargetRow) -> list[str]:
    query = select(ServerRow.name).join(FollowRow, FollowRow.server_id == ServerRow.id)
    found = await uow.session.scalars(query.where(FollowRow.target_id == row.id))
    return [f"server {each}, which it follows" for each in found]


async def _named(uow: UnitOfWork, row: TargetRow) -> Sequence[str]:
    query = select(ServerRow.name, LaunchSettingsRow.settings).join(
        LaunchSettingsRow, LaunchSettingsRow.server_id == ServerRow.id
    )
    found = await uow.session.execute(query.where(ServerRow.project_id == row.project_id))
    return [
        f"the launch settings of server {name}"
        for name, settings in found
        if LaunchSettingsUpdate.model_validate(settings).target in (row.id, row.name)
    ]
