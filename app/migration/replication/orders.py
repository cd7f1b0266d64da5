"""Orders about replication: those that each answer to a poll repeats, and what operators do to them."""

from dataclasses import dataclass

from sqlalchemy import update

from app.contract.paging import Scope
from app.contract.words import (
    LifecycleState,
    ReplicationGoal,
    ReplicationOperation,
    ReplicationState,
)
from app.kit.database import UnitOfWork
from app.kit.ids import new_id
from app.migration.replication.errors import OperationNotAllowed
from app.migration.replication.standing import standing_of
from app.migration.replication.states import GOALS, allowed
from app.migration.servers.news import tell_ordered
from app.migration.servers.service import find_in_scope
from app.migration.servers.tables import ServerRow
from app.wire.heartbeat import Orders


@dataclass(frozen=True, slots=True)
class Ordered:
    """A server after an operation; `is_new` is False when it changed nothing."""

    server: ServerRow
    is_new: bool


def orders_of(server: ServerRow) -> Orders:
    """The standing orders about a server's replication; `direction` puts all features' together."""
    return Orders(
        goal=server.goal,
        wire_rate=server.wire_rate,
        rescan=server.rescan_request or "",
    )


def interval_of(server: ServerRow, default_seconds: int) -> int:
    """Seconds between two checkpoints: the server's own, else the installation's; 0: only on command."""
    own = server.checkpoint_interval_seconds
    return default_seconds if own is None else own


def allowed_for(server: ServerRow, state: ReplicationState) -> tuple[ReplicationOperation, ...]:
    """What may be ordered of a server whose replication is in `state`."""
    return allowed(ReplicationGoal(server.goal), state, LifecycleState(server.lifecycle_state))


async def order(uow: UnitOfWork, scope: Scope, ref: str, operation: ReplicationOperation) -> Ordered:
    """Carry out an operation; repeating it changes nothing. Raises ServerNotFound, OperationNotAllowed."""
    server = await find_in_scope(uow, scope, ref)
    if _is_done(server, operation):
        return Ordered(server, is_new=False)
    _require_allowed(uow, server, operation)
    if operation in GOALS:
        values: dict[str, object] = {"goal": GOALS[operation], "version": ServerRow.version + 1}
        values |= {} if operation is ReplicationOperation.RESUME else {"sync_requested": False}
    elif operation is ReplicationOperation.RESCAN:
        values = {"rescan_request": new_id("rsc")}
    else:
        values = {"sync_requested": True}
    await uow.session.execute(update(ServerRow).where(ServerRow.id == server.id).values(**values))
    tell_ordered(uow, server.id)
    return Ordered(await find_in_scope(uow, scope, server.id), is_new=True)


def _is_done(server: ServerRow, operation: ReplicationOperation) -> bool:
    """Whether the order stands already."""
    if operation in GOALS:
        return server.goal == GOALS[operation]
    if operation is ReplicationOperation.RESCAN:
        return server.rescan_request is not None
    return server.sync_requested


def _require_allowed(uow: UnitOfWork, server: ServerRow, operation: ReplicationOperation) -> None:
    state = standing_of(server, uow.now).state
    possible = allowed_for(server, state)
    if operation not in possible:
        names = [each.value for each in possible]
        raise OperationNotAllowed(
            f"{operation} of server {server.name!r} makes no sense: its goal is {server.goal}, "
            f"its replication {state}, its lifecycle {server.lifecycle_state}",
            remedy=f"allowed now: {', '.join(names) or 'nothing'}",
            operation=operation.value,
            goal=server.goal,
            replicationState=state.value,
            allowed=names,
        )


async def fulfil_rescan(uow: UnitOfWork, server_id: str, order_id: str) -> None:
    """The ordered rescan was committed. An order that was given meanwhile stands."""
    stands = (ServerRow.id == server_id, ServerRow.rescan_request == order_id)
    await uow.session.execute(update(ServerRow).where(*stands).values(rescan_request=None))
