"""What operators order about launching a server: tests, their end, and the lifecycle around them."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from app.contract.paging import Scope
from app.contract.resources.launch import ReadyMark, TestOrder
from app.contract.words import ServerOperation
from app.kit.database import UnitOfWork
from app.kit.errors import Conflict
from app.migration.launch.errors import NoTestMachine, TestNotPassed, TestTooOld
from app.migration.launch.kinds import SERVER_TEST, TERMINATE_TEST
from app.migration.launch.queries import find_checkpoint, live_tests, newest_verdict
from app.migration.launch.settings import get_settings, machine_target
from app.migration.launch.tests import Wanted
from app.migration.servers.lifecycle import change, require_allowed
from app.migration.servers.service import find_in_scope
from app.migration.servers.tables import ServerRow
from app.migration.services import Services
from app.migration.targets.opening import BUILT_IN, limit_key, node_of
from app.work.jobs import Order, Ordered
from app.work.limits import Limit

FREEING: Final = 10
"""The priority of what gives a node's memory and disk back: before what takes more of them."""


@dataclass(frozen=True)
class Marked:
    """A server that was marked as ready: by which test, and what an override passed over."""

    server_id: str
    project_id: str
    test_id: str | None
    passed_over: str | None


async def order_test(
    services: Services, uow: UnitOfWork, scope: Scope, ref: str, wanted: TestOrder, by: str
) -> str:
    """Order a test; the id of its job.

    It runs where an earlier test machine of the server still is, which it replaces. Raises ServerNotFound,
    LifecycleNotAllowed, CheckpointNotFound, TargetNotFound, TargetUnfit, JobStands.
    """
    server = await find_in_scope(uow, scope, ref)
    made = await order_of_test(services, uow, server, wanted, by)
    return await services.jobs.enqueue(uow, made.kind, made.order)


async def order_of_test(
    services: Services, uow: UnitOfWork, server: ServerRow, wanted: TestOrder, by: str
) -> Ordered:
    """The job that tests a server. Raises LifecycleNotAllowed, CheckpointNotFound."""
    require_allowed(server, ServerOperation.TEST)
    checkpoint = await find_checkpoint(uow, server, wanted.checkpoint) if wanted.checkpoint else None
    caps = services.settings.launch
    set_here = (await get_settings(uow, server, caps)).settings
    target = await machine_target(uow, server, set_here)
    order = Order(
        server.project_id,
        Wanted(checkpoint.id if checkpoint else None, by, BUILT_IN if target is None else target.id),
        server_id=server.id,
        subject=server.id,
        limits=(
            Limit(limit_key(target), caps.tests_at_once),
            Limit(f"project:{server.project_id}:tests", caps.project_tests_at_once),
        ),
        node=await _node(uow, server) or node_of(target),
        requested_by=by,
    )
    return Ordered(SERVER_TEST, order)


async def _node(uow: UnitOfWork, server: ServerRow) -> str | None:
    """Where a test machine of the server is."""
    return next((test.node for test in await live_tests(uow, server.id) if test.node), None)


async def order_termination(services: Services, uow: UnitOfWork, scope: Scope, ref: str, by: str) -> str:
    """Order the end of a server's test machine; the id of the job.

    Raises ServerNotFound, NoTestMachine, JobStands.
    """
    server = await find_in_scope(uow, scope, ref)
    await require_machine(uow, server)
    made = await order_of_termination(uow, server, by)
    return await services.jobs.enqueue(uow, made.kind, made.order)


async def require_machine(uow: UnitOfWork, server: ServerRow) -> None:
    """Raises NoTestMachine where nothing of a test can be there any more."""
    if not await live_tests(uow, server.id):
        raise NoTestMachine(
            f"server {server.name!r} has no test machine", remedy="look: go2cloud server tests"
        )


async def order_of_termination(uow: UnitOfWork, server: ServerRow, by: str) -> Ordered:
    """The job that ends whatever test machine a server has."""
    order = Order(
        server.project_id,
        server_id=server.id,
        subject=server.id,
        node=await _node(uow, server),
        priority=FREEING,
        requested_by=by,
    )
    return Ordered(TERMINATE_TEST, order)


async def revert(services: Services, uow: UnitOfWork, scope: Scope, ref: str, by: str) -> str:
    """The server is READY_FOR_TEST again at once; the id of the job that ends its test machine.

    Raises ServerNotFound, LifecycleNotAllowed, JobStands.
    """
    server = await find_in_scope(uow, scope, ref)
    await services.jobs.require_free(uow, server.id)
    made = await order_of_revert(uow, server, by)
    return await services.jobs.enqueue(uow, made.kind, made.order)


async def order_of_revert(uow: UnitOfWork, server: ServerRow, by: str) -> Ordered:
    """Let a server be READY_FOR_TEST again; the job that ends its machine. Raises LifecycleNotAllowed."""
    require_allowed(server, ServerOperation.REVERT)
    made = await order_of_termination(uow, server, by)
    await change(uow, server, ServerOperation.REVERT)
    return made


async def mark_ready(services: Services, uow: UnitOfWork, scope: Scope, ref: str, mark: ReadyMark) -> Marked:
    """Let a server be READY_FOR_CUTOVER: its newest verdict is a pass, of a checkpoint that is not too old.

    An override passes over both, not over the state. Raises ServerNotFound, LifecycleNotAllowed, JobStands,
    TestNotPassed, TestTooOld.
    """
    server = await find_in_scope(uow, scope, ref)
    return await mark_server(services, uow, server, mark)


async def mark_server(services: Services, uow: UnitOfWork, server: ServerRow, mark: ReadyMark) -> Marked:
    """As `mark_ready`; what is refused is refused before anything is changed."""
    refusal = await require_ready(services, uow, server, mark)
    await change(uow, server, ServerOperation.MARK_READY)
    test = await newest_verdict(uow, server.id)
    passed_over = refusal.code if refusal else None
    return Marked(server.id, server.project_id, test.id if test else None, passed_over)


async def require_ready(
    services: Services, uow: UnitOfWork, server: ServerRow, mark: ReadyMark
) -> Conflict | None:
    """What an override passes over. Raises LifecycleNotAllowed, JobStands, TestNotPassed, TestTooOld."""
    require_allowed(server, ServerOperation.MARK_READY)
    await services.jobs.require_free(uow, server.id)
    refusal = await _doubt(uow, server, timedelta(days=services.settings.launch.test_days))
    if refusal is not None and mark.override is None:
        raise refusal
    return refusal


async def _doubt(uow: UnitOfWork, server: ServerRow, most: timedelta) -> Conflict | None:
    """Why the server's tests are no proof; None where they are."""
    test = await newest_verdict(uow, server.id)
    if test is None or not test.passed:
        what = "was never tested to the end" if test is None else f"did not pass its newest test, {test.id}"
        return TestNotPassed(
            f"server {server.name!r} {what}",
            remedy=f"test it: go2cloud server test {server.name}; or override with a reason",
            test=test.id if test else None,
        )
    age = uow.now - test.source_time
    if age > most:
        return TestTooOld(
            f"the tested checkpoint {test.checkpoint_number} of server {server.name!r} is {age.days} days "
            f"old; LAUNCH.TEST_DAYS allows {most.days}",
            remedy=f"test a newer one: go2cloud server test {server.name}; or override with a reason",
            test=test.id,
        )
    return None
