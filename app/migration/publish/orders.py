"""Ordering that a checkpoint is published."""

from app.contract.paging import Scope
from app.contract.resources.target import PublishOrder
from app.kit.database import UnitOfWork
from app.migration.launch.queries import find_checkpoint
from app.migration.publish.steps import SERVER_PUBLISH, Wanted
from app.migration.servers.service import find_in_scope
from app.migration.services import Services
from app.migration.targets.opening import limit_key, node_of
from app.migration.targets.service import find_publishing, require_own
from app.work.jobs import Order
from app.work.limits import Limit

AT_ONCE = 2
"""Jobs that publish at one target: each reads and writes as fast as the storage allows."""


async def order_publishing(
    services: Services, uow: UnitOfWork, scope: Scope, ref: str, wanted: PublishOrder, by: str
) -> str:
    """Order images of a server's checkpoint; the id of the job.

    Raises ServerNotFound, TargetNotFound, TargetUnfit, CheckpointNotFound, JobStands.
    """
    server = await find_in_scope(uow, scope, ref)
    target = require_own(await find_publishing(uow, server.project_id, wanted.target, wanted.formats))
    checkpoint = await find_checkpoint(uow, server, wanted.checkpoint) if wanted.checkpoint else None
    formats = tuple(each.value for each in wanted.formats) if wanted.formats else None
    order = Order(
        server.project_id,
        Wanted(target.id, checkpoint.id if checkpoint else None, formats),
        server_id=server.id,
        subject=f"publish:{server.id}",
        limits=(Limit(limit_key(target), AT_ONCE),),
        node=node_of(target),
        requested_by=by,
    )
    return await services.jobs.enqueue(uow, SERVER_PUBLISH, order)
