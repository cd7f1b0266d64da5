"""Ordering the way back: the launched machine replicates to a chain of its own, for the old disk."""

from datetime import timedelta
from typing import Final

from app.contract.cutoverwords import CutoverState
from app.contract.paging import Scope
from app.contract.words import LifecycleState, ServerOperation
from app.kit.database import UnitOfWork
from app.migration.access.install_tokens import InstallToken, create_install_token, revoke_reverse_tokens
from app.migration.cutover.errors import NotLaunched
from app.migration.cutover.queries import live_cutover
from app.migration.cutover.states import TARGET_RUNS
from app.migration.servers.lifecycle import require_allowed, require_source
from app.migration.servers.reverses import end_reverse, require_reversible
from app.migration.servers.service import find_in_scope
from app.migration.servers.tables import ServerRow
from app.migration.services import Services

LIFE: Final = timedelta(days=1)
"""How long the machine has to enrol."""


async def order_reverse(
    services: Services, uow: UnitOfWork, scope: Scope, ref: str
) -> tuple[ServerRow, InstallToken]:
    """The server, and a token that enrols its launched machine, once; earlier ones are worthless.

    Raises ServerNotFound, LifecycleNotAllowed, ServerIsReverse, ReverseRefused, NotLaunched, JobStands.
    """
    server = await find_in_scope(uow, scope, ref)
    require_allowed(server, ServerOperation.REVERSE)
    await services.jobs.require_free(uow, server.id)
    refusal = await not_launched(uow, server)
    if refusal is not None:
        raise refusal
    await revoke_reverse_tokens(uow, server.id)
    await require_reversible(uow, server.id)
    pin = services.settings.agent.cert_fingerprint
    name = f"way back of {server.name}"[:100]
    made = await create_install_token(uow, server.project_id, name, 1, LIFE, pin, server.id)
    return server, made


async def not_launched(uow: UnitOfWork, server: ServerRow) -> NotLaunched | None:
    """Why there is nothing to replicate back from: the machine does not run yet, or any more."""
    if server.lifecycle_state != LifecycleState.CUTTING_OVER:
        return None
    cutover = await live_cutover(uow, server.id)
    if cutover is not None and CutoverState(cutover.state) in TARGET_RUNS:
        return None
    state = cutover.state if cutover is not None else "over"
    return NotLaunched(
        f"the cutover of server {server.name!r} is {state}: its machine is not launched",
        remedy="wait until it is: go2cloud server cutovers",
    )


async def stop_reverse(uow: UnitOfWork, scope: Scope, ref: str) -> ServerRow:
    """End the way back of a server, whatever its state; checkpoints stay. Repeating it changes nothing.

    Raises ServerNotFound, ServerIsReverse.
    """
    server = await find_in_scope(uow, scope, ref)
    require_source(server, "reverse --stop")
    await end_reverse(uow, server.id)
    return server
