"""What a run does with one server: a table of operations, each with the job that it orders.

A run looks at a server when its turn comes, in the unit that orders the job, so nothing can change in
between. A plan looks at it with the same function, and orders nothing.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from app.contract.cutoverwords import CutoverState
from app.contract.resources.cutover import CutoverOrder
from app.contract.resources.launch import ReadyMark, TestOrder
from app.contract.wavewords import WaveOperation
from app.contract.words import LifecycleState, ServerOperation
from app.kit.database import UnitOfWork
from app.migration.cutover.doubts import doubts_of, require_none
from app.migration.cutover.kinds import SERVER_CUTOVER
from app.migration.cutover.orders import cutover_job, order_of_finalize, order_of_revert, require_succeeded
from app.migration.cutover.queries import live_cutover
from app.migration.launch.orders import order_of_termination, order_of_test, require_ready
from app.migration.launch.queries import live_tests
from app.migration.servers.lifecycle import require_allowed
from app.migration.servers.tables import ServerRow
from app.migration.services import Services
from app.migration.waves.ordering import Direction
from app.work.jobs import Ordered

S = LifecycleState


@dataclass(frozen=True)
class Wish:
    """The input of a run: who ordered it, the limit that its servers share, and how to cut them over."""

    requested_by: str = ""
    limit_key: str = ""
    cutover: CutoverOrder = field(default_factory=CutoverOrder)


Make = Callable[[Services, UnitOfWork, ServerRow, Wish], Awaitable[Ordered]]
"""The job for a server; it may change the server in the same unit."""

Require = Callable[[Services, UnitOfWork, ServerRow, Wish], Awaitable[object]]
"""Raises what refuses the job of a server, beyond what its state allows; changes nothing."""

Nothing = Callable[[UnitOfWork, ServerRow], Awaitable[str | None]]
"""Why there is nothing to do; None where there is."""


async def _nothing_more(_services: Services, _uow: UnitOfWork, _server: ServerRow, _wish: Wish) -> None:
    return None


@dataclass(frozen=True)
class Operation:
    """An operation of runs. `needs`: what a server's state has to allow. Its runs are `wave.{word}` jobs."""

    word: str
    direction: Direction
    needs: ServerOperation | None
    nothing: Nothing
    make: Make
    require: Require = _nothing_more

    async def idle(self, services: Services, uow: UnitOfWork, server: ServerRow, wish: Wish) -> str | None:
        """Why there is nothing to do with a server that may take part; None where its job can be ordered.

        Raises JobStands, LifecycleNotAllowed, and what `require` does.
        """
        await services.jobs.require_free(uow, server.id)
        why = await self.nothing(uow, server)
        if why is None and self.needs is not None:
            require_allowed(server, self.needs)
        if why is None:
            await self.require(services, uow, server, wish)
        return why


async def _always(_uow: UnitOfWork, _server: ServerRow) -> None:
    return None


def done_in(*states: LifecycleState) -> Nothing:
    """Nothing is to be done with servers in these states."""

    async def nothing(_uow: UnitOfWork, server: ServerRow) -> str | None:
        return f"it is {server.lifecycle_state} already" if server.lifecycle_state in states else None

    return nothing


async def _has_no_machine(uow: UnitOfWork, server: ServerRow) -> str | None:
    return None if await live_tests(uow, server.id) else "it has no test machine"


async def _test(services: Services, uow: UnitOfWork, server: ServerRow, wish: Wish) -> Ordered:
    return await order_of_test(services, uow, server, TestOrder(), wish.requested_by)


async def _terminate(_services: Services, uow: UnitOfWork, server: ServerRow, wish: Wish) -> Ordered:
    return await order_of_termination(uow, server, wish.requested_by)


async def _is_cut_over(uow: UnitOfWork, server: ServerRow) -> str | None:
    if server.lifecycle_state == S.CUTOVER:
        return f"it is {S.CUTOVER} already"
    cutover = await live_cutover(uow, server.id)
    succeeded = cutover is not None and cutover.state == CutoverState.SUCCEEDED
    return "it is cut over already" if succeeded else None


async def _no_doubts(_services: Services, uow: UnitOfWork, server: ServerRow, wish: Wish) -> None:
    require_none(await doubts_of(uow, server), wish.cutover.override)


async def _cut_over(services: Services, uow: UnitOfWork, server: ServerRow, wish: Wish) -> Ordered:
    order = await cutover_job(services, uow, server, wish.cutover, wish.requested_by)
    return Ordered(SERVER_CUTOVER, order)


async def _can_be_finalized(_services: Services, uow: UnitOfWork, server: ServerRow, _wish: Wish) -> None:
    await require_succeeded(uow, server)


async def _finalize(_services: Services, uow: UnitOfWork, server: ServerRow, wish: Wish) -> Ordered:
    return await order_of_finalize(uow, server, wish.requested_by)


async def _revert(_services: Services, uow: UnitOfWork, server: ServerRow, wish: Wish) -> Ordered:
    return await order_of_revert(uow, server, wish.requested_by)


OPERATIONS: Final[Mapping[WaveOperation, Operation]] = MappingProxyType(
    {
        WaveOperation.TEST: Operation("test", Direction.FORWARD, ServerOperation.TEST, _always, _test),
        WaveOperation.TERMINATE_TEST: Operation(
            "terminate-test", Direction.NONE, None, _has_no_machine, _terminate
        ),
        WaveOperation.CUTOVER: Operation(
            "cutover", Direction.FORWARD, ServerOperation.CUTOVER, _is_cut_over, _cut_over, _no_doubts
        ),
        WaveOperation.FINALIZE: Operation(
            "finalize",
            Direction.FORWARD,
            ServerOperation.FINALIZE,
            done_in(S.CUTOVER),
            _finalize,
            _can_be_finalized,
        ),
        WaveOperation.REVERT: Operation(
            "revert",
            Direction.BACKWARD,
            ServerOperation.REVERT,
            done_in(S.NOT_READY, S.READY_FOR_TEST),
            _revert,
        ),
    }
)
"""The operations whose runs this version carries out."""


def passed_over(operation: WaveOperation, states: Mapping[str, LifecycleState]) -> dict[str, str]:
    """Servers that a run leaves as they are, whatever their state allows, with the reason; by their ids.

    While a server is being cut over, a revert takes back cutovers alone: the tests of the others count on.
    """
    if operation is not WaveOperation.REVERT or S.CUTTING_OVER not in states.values():
        return {}
    return {
        server: f"it is {state}, and while others are {S.CUTTING_OVER} a revert takes back cutovers alone"
        for server, state in states.items()
        if state is not S.CUTTING_OVER
    }


async def require_markable(services: Services, uow: UnitOfWork, server: ServerRow) -> None:
    """Raises LifecycleNotAllowed, JobStands, TestNotPassed, TestTooOld."""
    await require_ready(services, uow, server, ReadyMark())
