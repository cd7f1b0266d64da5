"""Orders to agents: what each answer to a poll repeats, and what operators do to change it."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.orm import load_only

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
from app.migration.servers.enrolment import take_command
from app.migration.servers.service import find_in_scope
from app.migration.servers.tables import ServerRow
from app.wire.heartbeat import Orders

_ORDERED = (
    ServerRow.goal,
    ServerRow.checkpoint_interval_seconds,
    ServerRow.rescan_request,
    ServerRow.wire_rate,
    ServerRow.sync_requested,
)


@dataclass(frozen=True, slots=True)
class Direction:
    """What an agent is told: a command once, the seconds between checkpoints and the orders every time."""

    command: str
    interval_seconds: int
    orders: Orders


@dataclass(frozen=True, slots=True)
class Ordered:
    """A server after an operation; `is_new` is False when it changed nothing."""

    server: ServerRow
    is_new: bool


def orders_of(server: ServerRow) -> Orders:
    """The standing orders of a server: the one place where they are put together."""
    return Orders(
        goal=server.goal,
        wire_rate=server.wire_rate,
        rescan=server.rescan_request or "",
    )


def interval_of(server: ServerRow, default_seconds: int) -> int:
    """Seconds between two checkpoints: the server's own, else the installation's; 0: only on command."""
    own = server.checkpoint_interval_seconds
    return default_seconds if own is None else own


def _direction(server: ServerRow, default_seconds: int, *, has_command: bool) -> Direction:
    command = "sync" if has_command else "none"
    return Direction(command, interval_of(server, default_seconds), orders_of(server))


async def direct(uow: UnitOfWork, server: ServerRow, default_seconds: int, *, takes: bool) -> Direction:
    """What to tell the server's agent now; its command is handed out if it `takes` one."""
    has_command = takes and await take_command(uow, server.id)
    return _direction(server, default_seconds, has_command=has_command)


async def directions(uow: UnitOfWork, default_seconds: int) -> Mapping[str, Direction]:
    """What the agents of all servers that hold a lease would be told, in one query; nothing is handed out."""
    alive = select(ServerRow).where(ServerRow.lease_until >= uow.now)
    rows = await uow.session.scalars(alive.options(load_only(*_ORDERED, raiseload=True)))
    return {row.id: _direction(row, default_seconds, has_command=row.sync_requested) for row in rows}


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
