"""Which target follows a server, and ordering what brings it up to date."""

from sqlalchemy import func, select

from app.contract.paging import Scope
from app.contract.resources.target import Follow
from app.contract.words import TargetMakes
from app.kit.database import UnitOfWork
from app.migration.follow.errors import FollowNotFound
from app.migration.follow.steps import TARGET_ADVANCE, Following
from app.migration.follow.tables import FollowRow
from app.migration.replication.tables import CheckpointRow
from app.migration.servers.service import find_in_scope
from app.migration.servers.tables import ServerRow
from app.migration.services import Services
from app.migration.targets.opening import limit_key, node_of
from app.migration.targets.service import find_making, require_own
from app.migration.targets.tables import TargetRow
from app.work.jobs import Order
from app.work.limits import Limit

LOW = -10
"""The priority of bringing targets up to date: whatever an operator ordered comes first."""


async def get_follow(uow: UnitOfWork, scope: Scope, ref: str) -> Follow:
    """What follows a server. Raises ServerNotFound, FollowNotFound."""
    server = await find_in_scope(uow, scope, ref)
    return await _view(uow, server, await _require(uow, server))


async def follow(uow: UnitOfWork, scope: Scope, ref: str, target: str) -> Follow:
    """From now on the target, of a kind that writes devices, is kept up to date with the server.

    Another target that did so is left as it is. Raises ServerNotFound, TargetNotFound, TargetUnfit.
    """
    server = await find_in_scope(uow, scope, ref)
    found = require_own(await find_making(uow, server.project_id, target, TargetMakes.DEVICES))
    row = await uow.session.get(FollowRow, server.id, populate_existing=True)
    if row is None or row.target_id != found.id:
        if row is not None:
            await uow.session.delete(row)
            await uow.session.flush()
        row = FollowRow(server_id=server.id, target_id=found.id, created_at=uow.now)
        uow.session.add(row)
        await uow.session.flush()
    return await _view(uow, server, row)


async def unfollow(uow: UnitOfWork, scope: Scope, ref: str) -> str:
    """Nothing follows the server any more; its id. What the target holds stays. Raises as `get_follow`."""
    server = await find_in_scope(uow, scope, ref)
    await uow.session.delete(await _require(uow, server))
    return server.id


async def _require(uow: UnitOfWork, server: ServerRow) -> FollowRow:
    row = await uow.session.get(FollowRow, server.id, populate_existing=True)
    if row is None:
        raise FollowNotFound(
            f"no target follows server {server.name!r}", remedy="go2cloud server follow --target TARGET"
        )
    return row


async def behind(uow: UnitOfWork) -> list[str]:
    """The servers whose target is behind, and whose newest checkpoint was not ordered yet."""
    query = (
        select(FollowRow.server_id)
        .join(ServerRow, ServerRow.id == FollowRow.server_id)
        .where(ServerRow.head_checkpoint_id.is_not(None))
        .where(ServerRow.head_checkpoint_id != func.coalesce(FollowRow.ordered_id, ""))
        .where(ServerRow.head_checkpoint_id != func.coalesce(FollowRow.checkpoint_id, ""))
        .order_by(FollowRow.server_id)
    )
    return list(await uow.session.scalars(query))


async def order_advance(services: Services, uow: UnitOfWork, server_id: str) -> None:
    """Order a job that brings the server's target to the newest checkpoint.

    Raises JobStands where one stands: it takes the newest checkpoint when it begins.
    """
    row = await uow.session.get(FollowRow, server_id, populate_existing=True)
    server = await uow.session.get_one(ServerRow, server_id, populate_existing=True)
    if row is None:
        return
    target = await uow.session.get_one(TargetRow, row.target_id)
    order = Order(
        server.project_id,
        Following(server.id, target.id),
        server_id=server.id,
        subject=f"follow:{server.id}",
        limits=(Limit(limit_key(target), 1),),
        priority=LOW,
        node=node_of(target),
    )
    row.job_id = await services.jobs.enqueue(uow, TARGET_ADVANCE, order)
    row.ordered_id = server.head_checkpoint_id


async def _view(uow: UnitOfWork, server: ServerRow, row: FollowRow) -> Follow:
    target = await uow.session.get_one(TargetRow, row.target_id)
    since = select(func.count()).where(
        CheckpointRow.server_id == server.id, CheckpointRow.number > (row.checkpoint_number or 0)
    )
    return Follow(
        server_id=server.id,
        target_id=target.id,
        target_name=target.name,
        checkpoint_id=row.checkpoint_id,
        checkpoint_number=row.checkpoint_number,
        behind=await uow.session.scalar(since) or 0,
        job_id=row.job_id,
        created_at=row.created_at,
        advanced_at=row.advanced_at,
    )
