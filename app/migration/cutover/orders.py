"""What operators order about the last way of a server: cutover, revert, finalize, disconnect, archive."""

from datetime import datetime

from sqlalchemy import select, update

from app.contract.cutoverwords import CutoverState
from app.contract.paging import Scope
from app.contract.resources.cutover import CutoverOrder, RevertOrder
from app.contract.words import JobEventLevel, LifecycleState, ServerOperation
from app.kit.database import UnitOfWork
from app.kit.errors import Go2CloudError
from app.migration.access.agents import revoke_agent_credentials
from app.migration.cutover.cutovers import Wanted
from app.migration.cutover.doubts import doubts_of, require_none
from app.migration.cutover.errors import CutoverNotSucceeded, NoCutover, SourceHeard
from app.migration.cutover.finalizing import Finalizing, stop_replication
from app.migration.cutover.kinds import SERVER_CUTOVER, SERVER_FINALIZE, SERVER_REVERT
from app.migration.cutover.queries import live_cutover
from app.migration.cutover.reverting import Reverting
from app.migration.cutover.tables import CutoverRow
from app.migration.launch import orders as launching
from app.migration.launch.queries import live_tests
from app.migration.launch.settings import get_settings, machine_target
from app.migration.replication.standing import lease_of
from app.migration.replication.states import Lease
from app.migration.servers.lifecycle import change, require_allowed
from app.migration.servers.service import find_in_scope
from app.migration.servers.tables import ServerRow
from app.migration.services import Services
from app.migration.targets.opening import BUILT_IN, limit_key, node_of
from app.migration.targets.tables import TargetRow
from app.work.jobs import Order, Ordered
from app.work.limits import Limit
from app.work.tables import JobRow


async def order_cutover(
    services: Services, uow: UnitOfWork, scope: Scope, ref: str, wanted: CutoverOrder, by: str
) -> str:
    """Order the cutover of a server; the id of its job.

    Raises ServerNotFound, LifecycleNotAllowed, JobStands, TargetNotFound, and the doubts about its replica
    that the order does not pass over.
    """
    server = await find_in_scope(uow, scope, ref)
    require_allowed(server, ServerOperation.CUTOVER)
    require_none(await doubts_of(uow, server), wanted.override)
    order = await cutover_job(services, uow, server, wanted, by)
    return await services.jobs.enqueue(uow, SERVER_CUTOVER, order)


async def cutover_job(
    services: Services, uow: UnitOfWork, server: ServerRow, wanted: CutoverOrder, by: str
) -> Order:
    """The job that cuts a server over, to be enqueued or spawned as SERVER_CUTOVER.

    It runs where a test machine of the server is, which it ends. Nothing is looked at but the target: the
    job's first step refuses what `order_cutover` does. Raises TargetNotFound, TargetUnfit.
    """
    target = await find_machine_target(services, uow, server, wanted)
    tests = await live_tests(uow, server.id)
    return Order(
        server.project_id,
        Wanted(BUILT_IN if target is None else target.id, wanted.allow_active_source, wanted.override, by),
        server_id=server.id,
        subject=server.id,
        limits=(Limit(limit_key(target), services.settings.cutover.at_once),),
        priority=launching.FREEING,
        node=next((test.node for test in tests if test.node), None) or node_of(target),
        requested_by=by,
    )


async def find_machine_target(
    services: Services, uow: UnitOfWork, server: ServerRow, wanted: CutoverOrder
) -> TargetRow | None:
    """The target that the order, or else the launch settings of the server name; None for the built-in one.

    Raises TargetNotFound, TargetUnfit.
    """
    set_here = (await get_settings(uow, server, services.settings.launch)).settings
    named = set_here.model_copy(update={"target": wanted.target}) if wanted.target else set_here
    return await machine_target(uow, server, named)


async def revert(
    services: Services,
    uow: UnitOfWork,
    scope: Scope,
    ref: str,
    by: str,
    wanted: RevertOrder = RevertOrder(),  # noqa: B008  (frozen)
) -> str:
    """Take a server one stage back; the id of the job that does what this takes.

    One that was cut over is READY_FOR_CUTOVER when its machine is gone and the source has its services back;
    one that was tested is READY_FOR_TEST at once. Where the source is gone, a revert that waits for it waits
    no longer. Raises ServerNotFound, LifecycleNotAllowed, NoCutover, JobStands, SourceHeard.
    """
    server = await find_in_scope(uow, scope, ref)
    require_allowed(server, ServerOperation.REVERT)
    if wanted.reason is not None:
        require_not_heard(server, uow.now)
        standing = await _standing_revert(uow, server)
        if standing is not None:
            return await _give_up(services, uow, standing, server, wanted.reason, by)
    await services.jobs.require_free(uow, server.id)
    made = await order_of_revert(uow, server, by, wanted.reason)
    return await services.jobs.enqueue(uow, made.kind, made.order)


def require_not_heard(server: ServerRow, now: datetime) -> None:
    """Raises SourceHeard while the source's agent holds its lease, which a copy of it cannot."""
    if lease_of(server, now) is Lease.HELD and server.lease_until is not None:
        raise SourceHeard(
            f"the agent of the source of server {server.name!r} is heard: it can give the services back",
            remedy=f"let it: go2cloud server revert {server.name}; if its host was lost just now, wait until "
            f"{server.lease_until:%H:%M:%SZ} and order it again",
            leaseUntil=server.lease_until.isoformat(),
        )


async def _standing_revert(uow: UnitOfWork, server: ServerRow) -> str | None:
    """The job that takes the server's cutover back and is not over."""
    mine = select(JobRow.id).where(JobRow.standing_for == server.id, JobRow.kind == SERVER_REVERT)
    found: str | None = await uow.session.scalar(mine)
    return found


async def _give_up(
    services: Services, uow: UnitOfWork, job_id: str, server: ServerRow, reason: str, by: str
) -> str:
    """Let a revert that stands wait for its source no longer; the id of its job."""
    (await _live(uow, server)).source_gone = reason
    text = f"{by} says that the source is gone, so it is not waited for: {reason}"
    await services.jobs.note(uow, job_id, text, JobEventLevel.WARNING)
    return job_id


async def order_of_revert(
    uow: UnitOfWork, server: ServerRow, by: str, source_gone: str | None = None
) -> Ordered:
    """The job that takes a server one stage back; see `revert`. `source_gone`: why the source counts as gone.

    Raises LifecycleNotAllowed, NoCutover.
    """
    if server.lifecycle_state != LifecycleState.CUTTING_OVER and source_gone is not None:
        raise NoCutover(
            f"server {server.name!r} is {server.lifecycle_state}: its source holds nothing back",
            remedy=f"order it without that: go2cloud server revert {server.name}",
        )
    if server.lifecycle_state != LifecycleState.CUTTING_OVER:
        return await launching.order_of_revert(uow, server, by)
    cutover = await _live(uow, server)
    cutover.source_gone = source_gone
    order = Order(
        server.project_id,
        Reverting(cutover.id),
        server_id=server.id,
        subject=server.id,
        node=cutover.node,
        priority=launching.FREEING,
        requested_by=by,
        reason="" if source_gone is None else f"the source is gone: {source_gone}",
    )
    return Ordered(SERVER_REVERT, order)


async def finalize(services: Services, uow: UnitOfWork, scope: Scope, ref: str, by: str) -> str:
    """Order the end of a server's replication, whose cutover succeeded; the id of the job.

    Raises ServerNotFound, LifecycleNotAllowed, NoCutover, CutoverNotSucceeded, JobStands.
    """
    server = await find_in_scope(uow, scope, ref)
    require_allowed(server, ServerOperation.FINALIZE)
    await services.jobs.require_free(uow, server.id)
    made = await order_of_finalize(uow, server, by)
    return await services.jobs.enqueue(uow, made.kind, made.order)


async def require_succeeded(uow: UnitOfWork, server: ServerRow) -> CutoverRow:
    """The cutover of a server that can be finalized. Raises NoCutover, CutoverNotSucceeded."""
    cutover = await _live(uow, server)
    refusal = not_succeeded(server, cutover)
    if refusal is not None:
        raise refusal
    return cutover


async def order_of_finalize(uow: UnitOfWork, server: ServerRow, by: str) -> Ordered:
    """The job that ends a server's replication. Raises NoCutover, CutoverNotSucceeded."""
    cutover = await require_succeeded(uow, server)
    order = Order(
        server.project_id, Finalizing(cutover.id), server_id=server.id, subject=server.id, requested_by=by
    )
    return Ordered(SERVER_FINALIZE, order)


async def _live(uow: UnitOfWork, server: ServerRow) -> CutoverRow:
    found = await live_cutover(uow, server.id)
    if found is None:
        raise NoCutover(f"server {server.name!r} has no cutover that stands")
    return found


def not_succeeded(server: ServerRow, cutover: CutoverRow) -> Go2CloudError | None:
    """Why a cutover cannot be finalized; None where it can."""
    if cutover.state == CutoverState.SUCCEEDED:
        return None
    return CutoverNotSucceeded(
        f"cutover {cutover.id} of server {server.name!r} is {cutover.state}",
        remedy="let its job succeed: go2cloud job retry; or take it back: go2cloud server revert",
        cutover=cutover.id,
    )


async def disconnect(services: Services, uow: UnitOfWork, scope: Scope, ref: str, by: str) -> ServerRow:
    """End all dealings with a source: replication stops, its agent's credential is worthless from now on.

    A test machine of the server is ended by a job. Checkpoints stay. Raises ServerNotFound,
    LifecycleNotAllowed, JobStands.
    """
    server = await find_in_scope(uow, scope, ref)
    require_allowed(server, ServerOperation.DISCONNECT)
    await services.jobs.require_free(uow, server.id)
    if await live_tests(uow, server.id):
        await launching.order_termination(services, uow, scope, server.id, by)
    await change(uow, server, ServerOperation.DISCONNECT)
    await stop_replication(uow, server.id)
    await revoke_agent_credentials(uow, server.id)
    return server


async def archive(services: Services, uow: UnitOfWork, scope: Scope, ref: str) -> ServerRow:
    """Let lists leave a server out that nothing more happens to; repeating it changes nothing.

    Raises ServerNotFound, LifecycleNotAllowed, JobStands.
    """
    server = await find_in_scope(uow, scope, ref)
    require_allowed(server, ServerOperation.ARCHIVE)
    await services.jobs.require_free(uow, server.id)
    if not server.archived:
        await change(uow, server, ServerOperation.ARCHIVE)
        await uow.session.execute(update(ServerRow).where(ServerRow.id == server.id).values(archived=True))
        await uow.session.refresh(server)
    return server
