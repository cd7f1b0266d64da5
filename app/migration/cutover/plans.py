"""What an operation on a server would do, and what it would meet now. Nothing is done."""

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Final

from app.contract.paging import Scope
from app.contract.resources.cutover import CutoverOrder, OperationPlan, PlanFinding
from app.contract.words import FindingSeverity, LifecycleState, ServerOperation
from app.kit.database import UnitOfWork
from app.kit.errors import Go2CloudError
from app.migration.cutover.doubts import Doubt, doubts_of
from app.migration.cutover.orders import find_machine_target, not_succeeded
from app.migration.cutover.queries import live_cutover, said_of_chain
from app.migration.cutover.reversing import not_launched
from app.migration.launch.queries import live_tests
from app.migration.replication.standing import lease_of
from app.migration.replication.states import Lease
from app.migration.servers.lifecycle import require_allowed
from app.migration.servers.reverses import has_ended, newest_reverse, stands
from app.migration.servers.service import find_in_scope
from app.migration.servers.tables import ServerRow
from app.migration.services import Services
from app.migration.verification.service import newest_proof

O = ServerOperation  # noqa: E741  (reads as a table below)

STEPS: Final[Mapping[ServerOperation, tuple[str, ...]]] = MappingProxyType(
    {
        O.CUTOVER: (
            "compare the running source with its replica, unless that was done lately (v2)",
            "end the server's test machine, if there is one",
            "write the newest checkpoint to the target while the source runs",
            "stop the source's services by the owner's hooks",
            "bring the last changes over: the final checkpoint (v3)",
            "bring the target's disks to it, verified from their own bytes (v4), and make the machine",
            "have the source keep its services stopped",
            "launch the machine; from here on only a revert leads back",
            "watch the machine until its checks passed",
        ),
        O.FINALIZE: (
            "end the replication of the source, which stays held",
            "write the ledger of what was removed, kept and left",
        ),
        O.REVERT: (
            "end the machine, see that it is gone, and remove its volumes",
            "give the source its services back",
        ),
        O.DISCONNECT: (
            "end the replication of the source",
            "make the credential of its agent worthless",
            "end the server's test machine, if there is one",
        ),
        O.ARCHIVE: ("leave the server out of lists",),
        O.REVERSE: (
            "make a token that enrols the launched machine, once, within a day",
            "keep its checkpoints as a chain of their own, from which the old disk can be made",
        ),
    }
)


async def plan(
    services: Services,
    uow: UnitOfWork,
    scope: Scope,
    ref: str,
    operation: ServerOperation,
    wanted: CutoverOrder,
) -> OperationPlan:
    """The plan of an operation. Raises ServerNotFound."""
    server = await find_in_scope(uow, scope, ref)
    doubts = await _general(services, uow, server, operation)
    findings = [_finding(doubt, wanted) for doubt in doubts]
    if operation is O.CUTOVER:
        findings += [_finding(doubt, wanted) for doubt in await _of_cutover(services, uow, server, wanted)]
        findings += await _notes(services, uow, server)
    if operation is O.REVERT:
        kept = await said_of_chain(uow, await newest_reverse(uow, server.id))
        findings += [_note("REVERSE_CHAIN", kept)] if kept is not None else []
        findings += _of_revert(uow, server)
    return OperationPlan(
        operation=operation,
        server_id=server.id,
        possible=all(each.severity is not FindingSeverity.BLOCKER for each in findings),
        steps=STEPS.get(operation, ()),
        findings=tuple(findings),
    )


async def _general(
    services: Services, uow: UnitOfWork, server: ServerRow, operation: ServerOperation
) -> list[Doubt]:
    """What the lifecycle, a standing job, or the server's cutover have against it."""
    found = []
    try:
        require_allowed(server, operation)
        await services.jobs.require_free(uow, server.id)
    except Go2CloudError as error:
        found.append(Doubt(error))
    cutover = await live_cutover(uow, server.id)
    if operation is O.FINALIZE and cutover is not None:
        refusal = not_succeeded(server, cutover)
        found += [Doubt(refusal)] if refusal is not None else []
    if operation is O.REVERSE and not found:
        found += [Doubt(error) for error in await _of_reverse(uow, server)]
    return found


async def _of_reverse(uow: UnitOfWork, server: ServerRow) -> list[Go2CloudError]:
    found: list[Go2CloudError] = [each for each in (await not_launched(uow, server),) if each is not None]
    standing = await newest_reverse(uow, server.id)
    if standing is not None and not has_ended(standing):
        found.append(stands(server, standing))
    return found


async def _of_cutover(
    services: Services, uow: UnitOfWork, server: ServerRow, wanted: CutoverOrder
) -> list[Doubt]:
    found = []
    try:
        await find_machine_target(services, uow, server, wanted)
    except Go2CloudError as error:
        found.append(Doubt(error))
    if server.head_checkpoint_id is not None:
        found += await doubts_of(uow, server)
    return found


def _finding(doubt: Doubt, wanted: CutoverOrder) -> PlanFinding:
    is_passed_over = doubt.can_be_overridden and wanted.override is not None
    return PlanFinding(
        severity=FindingSeverity.WARNING if is_passed_over else FindingSeverity.BLOCKER,
        code=doubt.refusal.code,
        text=doubt.refusal.detail,
        remedy=doubt.refusal.remedy,
        can_be_overridden=doubt.can_be_overridden,
    )


async def _notes(services: Services, uow: UnitOfWork, server: ServerRow) -> list[PlanFinding]:
    """What an operator should know before."""
    found = []
    since = uow.now - timedelta(hours=services.settings.cutover.verify_hours)
    if await newest_proof(uow, server.id, since) is None:
        text = "the source is compared with its replica first, which reads all of its disks"
        found.append(_note("VERIFICATION_DUE", text))
    if await live_tests(uow, server.id):
        text = "the server's test machine is ended"
        found.append(_note("TEST_MACHINE_ENDS", text))
    return found


def _of_revert(uow: UnitOfWork, server: ServerRow) -> list[PlanFinding]:
    if server.lifecycle_state != LifecycleState.CUTTING_OVER or lease_of(server, uow.now) is Lease.HELD:
        return []
    text = "the agent of the source is not heard: the revert waits until it is, and has the services back"
    remedy = f"where its host is lost for good: go2cloud server revert {server.name} --source-gone --reason …"
    return [_note("SOURCE_NOT_HEARD", text).model_copy(update={"remedy": remedy})]


def _note(code: str, text: str) -> PlanFinding:
    return PlanFinding(severity=FindingSeverity.NOTE, code=code, text=text)
