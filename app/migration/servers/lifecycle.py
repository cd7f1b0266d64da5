"""Changing the lifecycle state of a server: by the table in `states`, from the state that was read.

A change is told as `server.lifecycle`: on the bus once it is committed, and to subscriptions.
"""

from typing import Final

from sqlalchemy import update

from app.contract.callbackwords import EventKind
from app.contract.words import LifecycleState, ServerOperation
from app.kit.bus import Event
from app.kit.database import UnitOfWork
from app.migration.servers.errors import LifecycleNotAllowed, ServerIsReverse
from app.migration.servers.states import TRANSITIONS, allowed, taken_back
from app.migration.servers.tables import ServerRow

LIFECYCLE_EVENT: Final = EventKind.LIFECYCLE


def require_allowed(server: ServerRow, operation: ServerOperation) -> LifecycleState:
    """The state that the operation leads to. Raises LifecycleNotAllowed, ServerIsReverse."""
    require_source(server, operation)
    state = LifecycleState(server.lifecycle_state)
    if operation not in allowed(state):
        names = [each.value for each in allowed(state)]
        raise LifecycleNotAllowed(
            f"server {server.name!r} is {state}: {operation} is not possible",
            remedy=f"allowed now: {', '.join(names) or 'nothing'}",
            state=state.value,
            allowedOperations=names,
        )
    return TRANSITIONS[state, operation]


def require_source(server: ServerRow, doing: str) -> None:
    """Raise ServerIsReverse where the server is the way back of another one."""
    if server.reverse_of is not None:
        raise ServerIsReverse(
            f"server {server.name!r} is the way back of server {server.reverse_of}: {doing} is not possible",
            remedy="name the server itself; to end the way back: go2cloud server reverse SERVER --stop",
            reverseOf=server.reverse_of,
        )


def allowed_operations(server: ServerRow) -> tuple[ServerOperation, ...]:
    """What may be done to a server now; nothing to one that is the way back of another."""
    return () if server.reverse_of is not None else allowed(LifecycleState(server.lifecycle_state))


def announce(uow: UnitOfWork, server: ServerRow, before: LifecycleState, after: LifecycleState) -> None:
    """Tell of a change of state, if it is one, when the unit is committed."""
    if after is not before:
        data = {"before": before.value, "state": after.value}
        uow.news.append(
            Event(LIFECYCLE_EVENT, uow.now, project=server.project_id, subject=server.id, data=data)
        )


async def change(uow: UnitOfWork, server: ServerRow, operation: ServerOperation) -> None:
    """Lead the server on. Raises LifecycleNotAllowed, also where another unit changed its state meanwhile."""
    await _move(uow, server, require_allowed(server, operation), operation)


async def take_back(
    uow: UnitOfWork, server: ServerRow, operation: ServerOperation, came_from: LifecycleState
) -> None:
    """Undo an operation: the server is again what it was, unless something else led it on since."""
    after = taken_back(LifecycleState(server.lifecycle_state), operation, came_from)
    if after != server.lifecycle_state:
        await _move(uow, server, after, operation)


async def _move(
    uow: UnitOfWork, server: ServerRow, after: LifecycleState, operation: ServerOperation
) -> None:
    before = LifecycleState(server.lifecycle_state)
    same = (ServerRow.id == server.id, ServerRow.lifecycle_state == server.lifecycle_state)
    values = {"lifecycle_state": after, "version": ServerRow.version + 1}
    if not await uow.changed(update(ServerRow).where(*same).values(**values)):
        raise LifecycleNotAllowed(
            f"server {server.name!r} changed its state while {operation} was under way",
            remedy="look at it again: go2cloud server show",
        )
    await uow.session.refresh(server)
    announce(uow, server, before, after)
